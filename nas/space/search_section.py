"""Layer 2: reads `search:`: how long, for what, with which sampler and pruner."""

from __future__ import annotations

from dataclasses import replace

from nas.errors import listed, shown
from nas.registry.signature import parameters_of
from nas.space.parser import Parser
from nas.space.section_reader import read_constants, read_mapping
from nas.space.sections import WILCOXON_P, WILCOXON_SEEDS, SearchOptions
from nas.space.task_section import metrics_of, read_objective
from nas.space.yaml_tree import MappingTree, SequenceTree, Tree
from nas.values.metrics import Direction
from nas.values.outcome import COSTS

APART = ("start", "gate")
"""What is read for itself: once all decisions are known, and all probes."""
SERVE_SEVERAL = ("tpe", "gp", "nsga2", "qmc", "grid", "random")
"""The samplers that can search for several objectives at once."""


def read_search(parser: Parser, tree: MappingTree, task: str) -> SearchOptions:
    """Read `search:`; 30 trials where neither trials nor minutes are given, and the task's first metric where no metric is."""
    inner = read_mapping(parser, tree, "search")
    settings = replace(inner, entries=tuple(entry for entry in inner if entry.key not in APART)) if inner else None
    options = SearchOptions(**read_constants(parser, settings, parameters_of(SearchOptions, "search"), "search"))
    if inner:
        options = _with_objectives(parser, inner, options, task)
    if not options.metrics:
        first = metrics_of(parser.registry, task)[0]
        name, larger = f"val_{first.name}", first.direction == "maximize"
        options = replace(options, maximize=name) if larger else replace(options, minimize=(name, *options.costs))
    if inner and options.costs:
        options = _serving_several(parser, inner, options)
    if inner:
        options = _pruning_seeds(parser, inner, options)
        _refuse_together(parser, inner, options)
    return options if options.trials or options.minutes else replace(options, trials=30)


def _with_objectives(parser: Parser, section: MappingTree, options: SearchOptions, task: str) -> SearchOptions:
    """Check what is searched for; what costs is kept in one order, so that two files that mean the same are one study."""
    found: dict[str, Direction] = {}
    directions: tuple[Direction, ...] = ("maximize", "minimize")
    for key in directions:
        given = section.get(key)
        if isinstance(given, SequenceTree) and not given.items:
            raise parser.fail("must name at least one objective, got an empty list", given, f"search.{key}")
        for place, name, tree in _names(given, getattr(options, key), f"search.{key}"):
            if name in found:
                raise parser.fail(f"'{name}' stands here twice", tree, place)
            if name not in COSTS:
                read_objective(parser, tree, key, task, place)
            elif key == "maximize":
                raise parser.fail(f"would look for the networks that cost most; write `minimize: {name}`", tree, place)
            found[name] = key
    metrics = [name for name in found if name not in COSTS]
    if len(metrics) > 1:
        what = "both" if len(metrics) == 2 and not options.costs else listed(metrics)
        rule = "give one of `maximize` and `minimize`" if what == "both" else f"one metric is searched for, beside any of {listed(COSTS)}"
        raise parser.fail(f"{rule}, got {what}", section, "search")
    minimized = tuple(name for name in (*metrics, *COSTS) if found.get(name) == "minimize")
    return replace(options, minimize=minimized or None)


def _names(given: Tree | None, read: str | tuple[str, ...] | None, place: str) -> list[tuple[str, str, Tree]]:
    """Return the names of objectives under one key, each with its path and where it stands."""
    if given is None or read is None:
        return []
    if isinstance(given, SequenceTree):
        return [(f"{place}.{i}", name, item) for i, (name, item) in enumerate(zip(read, given.items, strict=True))]
    return [(place, str(read), given)]


def _serving_several(parser: Parser, section: MappingTree, options: SearchOptions) -> SearchOptions:
    """Refuse a sampler and a pruner that need one objective; without a pruner named, there is none."""
    told = f"this search has {1 + len(options.costs)} objectives"
    if options.sampler not in SERVE_SEVERAL:
        rule = f"{shown(options.sampler)} searches for one objective, and {told}; take {listed(SERVE_SEVERAL)}"
        raise parser.fail(rule, section.get("sampler") or section, "search.sampler")
    given = section.get("pruner")
    if given is not None and options.pruner != "none":
        rule = f"{options.pruner} judges a trial by one objective, and {told}; write `pruner: none`, or leave it out"
        raise parser.fail(rule, given, "search.pruner")
    return replace(options, pruner="none")


def _pruning_seeds(parser: Parser, section: MappingTree, options: SearchOptions) -> SearchOptions:
    """Refuse a pruner that cannot judge trials of so many seeds; without one named, trials of several seeds have none."""
    least, given = WILCOXON_SEEDS + 1, section.get("pruner")
    told = f"{options.seeds} seed{'s' * (options.seeds > 1)}"
    if options.pruner == "wilcoxon" and options.seeds < least:
        rule = (
            f"wilcoxon compares a trial with the best one seed by seed; its test cannot fall below p {WILCOXON_P} before seed "
            f"{WILCOXON_SEEDS}, and ends a trial early only where one is left: write `seeds: {least}` or more, or another pruner; "
            f"a trial has {told} here"
        )
        raise parser.fail(rule, section.get("seeds") or given or section, "search.seeds" if section.get("seeds") else "search.pruner")
    if options.seeds == 1 or options.pruner in ("wilcoxon", "none"):
        return options
    if given is not None:
        rule = (
            f"{options.pruner} ends one training by its epochs, and a trial has {told} here, of which it is told the mean; "
            f"write `pruner: none`, or `pruner: wilcoxon` with `seeds: {least}` or more"
        )
        raise parser.fail(rule, given, "search.pruner")
    return replace(options, pruner="none")


def _refuse_together(parser: Parser, section: MappingTree, options: SearchOptions) -> None:
    """Refuse to train a trial's seeds as one program where it has one, or where the pruner looks after each."""
    given = section.get("vectorise")
    if given is None or options.together == 1:
        return
    rule = "trains the seeds of a trial as one program"
    if options.seeds == 1:
        told = f"{rule}, and a trial has 1 seed here; write `seeds: 2` or more, or leave it out"
        raise parser.fail(told, given, "search.vectorise")
    if options.pruner != "none":
        told = f"{rule}, and {options.pruner} ends a trial after any of them; write `pruner: none`, or leave out one of the two"
        raise parser.fail(told, given, "search.vectorise")
