"""Layer 4: the configurations that a search tries first: those of its space file, then the best of an earlier study."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nas.building import cost_of
from nas.errors import SpaceError, UserError, Where
from nas.sampling import fixing, recognise, sample
from nas.space import Decision, Space
from nas.study.jobs.materials import context_of
from nas.study.ledger.known import find_study
from nas.study.ledger.ledger import Ledger
from nas.study.ledger.storage import open_storage
from nas.values.domains import Scalar
from nas.values.records import TrainingRecord

Decisions = Mapping[str, Scalar]
MOST_EARLIER = 5
"""How many configurations are taken from an earlier study."""


class _OpenError(Exception):
    """A configuration leaves a decision open."""


def starts_of(space: Space, storage_url: str) -> dict[str, list[Decisions]]:
    """Return what a new search of `space` tries first, for the ledger: decisions by path; those left open are the sampler's.

    Raises SpaceError for a configuration of the file that breaks the constraints, UserError where there is no earlier study of
    that name, or none of its finished trials lies in the space.
    """
    own: list[Decisions] = [dict(start) for start in space.starts]
    for i, start in enumerate(own):
        if not _keeps_constraints(space, start):
            limits = " or ".join(map(str, space.constraints))
            raise SpaceError(f"breaks {limits}; take it out, or loosen the constraint", Where(space.file, path=f"search.start.{i}"))
    earlier = _earlier(space, space.search.start_from, storage_url) if space.search.start_from else []
    room = space.search.trials or len(own) + len(earlier)
    starts = [*own, *(start for start in earlier if start not in own)][:room]
    return {"starts": starts} if starts else {}


def decisions_of(space: Space, training: TrainingRecord) -> dict[str, Scalar]:
    """Return the decisions of `space` that make a training's architecture, with its recipe where `space` has it.

    Raises SpaceError, at the place that differs, where `space` does not hold the architecture.
    """
    assert training.configuration is not None, "a finished training has its configuration"
    made = recognise(space.architecture, training.configuration.architecture.network, "architecture")
    known = {p: value for p, value in training.decisions if p in space.decisions and space.decisions[p].domain.contains(value)}
    outside = {path: value for path, value in known.items() if not path.startswith("architecture.")}
    return {**outside, **made}


def _earlier(space: Space, title: str, storage_url: str) -> list[Decisions]:
    """Return the best configurations of an earlier study that lie in the space, best first, each once."""
    found = find_study(title, storage_url)
    ledger = Ledger(open_storage(storage_url), found["title"])
    done = _ranked(ledger)
    starts: list[Decisions] = []
    why = "" if done else "it has no finished trial"
    for training in done:
        try:
            start = decisions_of(space, training)
        except SpaceError as error:
            why = why or f"its best trial, {training.number}, does not fit: {error}"
            continue
        if start and start not in starts and _keeps_constraints(space, start):
            starts.append(start)
        if len(starts) == MOST_EARLIER:
            break
    if not starts:
        raise UserError(
            f"{space.file}: search.start_from: nothing of {title} lies in this space: {why or 'all of it breaks its constraints'}"
        )
    return starts


def _ranked(ledger: Ledger) -> list[TrainingRecord]:
    """Return the completed trials of a search, best first; of one with several objectives those of its front."""
    done = [t for t in ledger.records() if t.state == "complete" and t.outcome and t.configuration]
    if ledger.costs:
        front = ledger.front_numbers()
        return sorted((t for t in done if t.number in front), key=lambda t: front.index(t.number))
    sign = -1 if ledger.study.direction.name == "MAXIMIZE" else 1
    return sorted(done, key=lambda t: sign * (t.outcome.score if t.outcome else 0.0))


def _keeps_constraints(space: Space, start: Decisions) -> bool:
    """Say whether a configuration keeps the constraints; one that is not decided whole may, with what the sampler adds."""

    def refuse(decision: Decision) -> Any:
        raise _OpenError(decision.path)

    try:
        configuration = sample(space, fixing(start, refuse)).configuration
    except _OpenError:
        return True
    if not space.constraints:
        return True
    cost = cost_of(configuration.architecture, space.registry, context_of(space, configuration))
    return all(constraint.holds(cost) for constraint in space.constraints)
