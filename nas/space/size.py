"""Layer 2: counts how many different ways there are to decide a template, shared decisions once."""

from __future__ import annotations

import math
from collections import Counter
from functools import cache

from nas.space.templates import Decision, Template, children, decisions_in


def size_of(*roots: Template) -> float:
    """Return the number of ways to decide all `roots` together; infinite with a real range.

    A decision that is used in several places is made once, so its uses cannot be counted apart. Everything else is
    independent: options of a choice add up, what stands side by side multiplies.
    """
    uses = Counter(placed.decision.path for root in roots for placed in decisions_in(root))
    shared = {path for path, count in uses.items() if count > 1}

    @cache
    def entangled(template: Template) -> bool:
        return (isinstance(template, Decision) and template.path in shared) or any(entangled(c) for c in children(template))

    @cache
    def count(work: tuple[Template, ...], made: frozenset[tuple[str, int]]) -> float:
        """Count the ways to decide `work` once the shared decisions `made` (path, place of the label) are made."""
        if not work:
            return 1
        first, rest = work[0], work[1:]
        if not isinstance(first, Decision):
            if not entangled(first):
                return math.prod(count((c,), frozenset()) for c in children(first)) * count(rest, made)
            return count((*children(first), *rest), made)
        if not first.options:
            known = first.path in dict(made)
            now = made | {(first.path, 0)} if first.path in shared else made
            return (1 if known else first.domain.size) * count(rest, now)
        if not entangled(first):
            return sum(count((o,), frozenset()) for o in first.options) * count(rest, made)
        chosen = dict(made).get(first.path)
        places = range(len(first.options)) if chosen is None else (chosen,)
        note = first.path in shared
        return sum(count((first.options[i], *rest), made | {(first.path, i)} if note else made) for i in places)

    return count(roots, frozenset())
