"""Layer 2: whether the sampler that `search:` names can search the space at all."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Mapping

from nas.space.parser import Parser
from nas.space.sections import SearchOptions
from nas.space.templates import Decision
from nas.space.yaml_tree import MappingTree
from nas.values.domains import Choices


def refuse_misfit(parser: Parser, tree: MappingTree, search: SearchOptions, decisions: Mapping[str, Decision]) -> None:
    """Raise SpaceError, at the line that names it, where the sampler does not fit the decisions or lacks its package."""
    section = tree.get("search")
    given = section.get("sampler") if isinstance(section, MappingTree) else None
    if given is None:
        return
    domains = {path: decision.domain for path, decision in decisions.items()}
    endless = [path for path, domain in domains.items() if math.isinf(domain.size)]
    if search.sampler == "grid" and endless:
        rule = f"grid tries every combination, and {endless[0]} is a range of real numbers; give it `choices`"
        raise parser.fail(rule, given, "search.sampler")
    if search.sampler == "cmaes" and all(isinstance(domain, Choices) for domain in domains.values()):
        raise parser.fail("cmaes searches ranges of numbers, and this space has none; take tpe or evolution", given, "search.sampler")
    if search.sampler == "cmaes" and importlib.util.find_spec("cmaes") is None:
        rule = "cmaes needs a package that is not installed: pip install 'nas-ablation[cmaes]'"
        raise parser.fail(rule, given, "search.sampler")
