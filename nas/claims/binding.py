"""Layer 4: a claim becomes a study: its space parsed, on other data or with other replicates where that is asked for."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from nas.claims.deciding import check_rule
from nas.claims.rules import place_of
from nas.errors import SpaceError, Where, nearest
from nas.measuring.design import Twins
from nas.measuring.readings import cells_of
from nas.plugin import Probe
from nas.registry import Registry
from nas.space import Space, parse_space
from nas.space.task_section import figures_of
from nas.space.yaml_tree import MappingTree, read_yaml
from nas.values.claims import Claim, FigureSpec
from nas.values.domains import written
from nas.values.metrics import ACCURACY, ERROR
from nas.values.records import MeasurePlan


def bind(claim: Claim, registry: Registry, *, data: str | None = None, replicates: int | None = None) -> Space:
    """Return the space of a claim's study, its rule checked against it.

    Args:
        claim: the claim.
        registry: the plugins.
        data: the name of a data set to test the claim on, in place of the file's own.
        replicates: how many; by default as the study's `measure:` section says.

    Raises:
        SpaceError: with file and line, for a study, a rule or a figure that does not fit.
    """
    if data is not None and data not in registry.names("data"):
        raise SpaceError(f"--data: unknown data set '{data}'{nearest(data, registry.names('data'))}")
    text = claim.study if data is None else _with_data(claim.study, data, claim.study_file)
    space = parse_space(text, claim.study_file, registry)
    if space.measure is None:
        line = next((i for i, row in enumerate(text.split("\n"), 1) if row.strip()), 0)
        raise SpaceError("a claim's study needs a `measure:` section with factor and reference", Where(claim.study_file, line, "study"))
    measure = replace(space.measure, replicates=replicates or space.measure.replicates)
    plan = Twins(measure).plan
    check_rule(claim, plan, (*metrics_of(space), *series_in(space)))
    for figure in claim.figures:
        _check_figure(figure, space, plan, claim.file)
    return replace(space, measure=measure)


def metrics_of(space: Space) -> tuple[str, ...]:
    """Return every metric that the trainings of a space record, and the errors that are read from accuracies."""
    own = (*space.metrics, *((ERROR,) if ACCURACY in space.metrics else ()))
    return (*(name for metric in own for name in metric.on_parts), *figures_of(space.probes, space.registry))


def series_in(space: Space) -> tuple[str, ...]:
    """Return every series that the probes of a space give, `PROBE.SERIES`."""
    classes = ((probe.name, space.registry.find("probe", probe.name).cls) for probe in space.probes)
    return tuple(f"{name}.{series.name}" for name, cls in classes for series in cast(type[Probe], cls).series)


def _check_figure(figure: FigureSpec, space: Space, plan: MeasurePlan, file: str) -> None:
    """Raise SpaceError where a figure shows what the study does not record, or names an arm or a cell it does not have."""
    cells, known = cells_of(plan), (*metrics_of(space), *series_in(space))
    for name in figure.show:
        if name not in known:
            raise SpaceError(f"'{name}' is recorded by nothing in the study{nearest(name, known)}", Where(file, figure.line, "figure.show"))
    for arm in figure.arms or (written(plan.reference),):
        place_of(f"{arm} at {figure.at or 'all'}", cells, Where(file, figure.line, "figure"))


def _with_data(text: str, data: str, file: str) -> str:
    """Put another data set into a study's text, every other line where it was."""
    tree = read_yaml(text, file)
    assert isinstance(tree, MappingTree), "the study's block was cut out as a mapping"
    lines = text.split("\n")
    entry = next((entry for entry in tree if entry.key == "data"), None)
    if entry is None:
        lines[min(other.line for other in tree) - 2] = f"data: {data}"  # the line of `study:`, which is empty here
    else:
        end = min((other.line for other in tree if other.line > entry.line), default=len(lines) + 1)
        lines[entry.line - 1 : end - 1] = [f"data: {data}", *[""] * (end - 1 - entry.line)]
    return "\n".join(lines)
