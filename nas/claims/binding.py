"""Layer 4: a claim becomes a study: its space parsed, on other data or with other replicates where that is asked for."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from nas.claims.deciding import check_rule
from nas.claims.rules import place_of
from nas.errors import SpaceError, Where, nearest
from nas.measuring.design import Twins
from nas.measuring.readings import cells_of
from nas.plugin import DataSet, Probe
from nas.registry import Registry
from nas.space import Space, name_of_data, parse_space, with_data
from nas.space.task_section import figures_of
from nas.values.claims import Claim, FigureSpec
from nas.values.domains import written
from nas.values.metrics import ACCURACY, ERROR
from nas.values.plans import MeasurePlan


def bind(claim: Claim, registry: Registry, *, data: str | None = None, replicates: int | None = None) -> Space:
    """Return the space of a claim's study, its rule checked against it.

    Args:
        claim: the claim.
        registry: the plugins.
        data: a data set to test the claim on in place of the file's own, a name or YAML; see `serves`.
        replicates: how many; by default as the study's `measure:` section says.

    Raises:
        SpaceError: with file and line, for a study, a rule or a figure that does not fit.
    """
    text = claim.study
    space = parse_space(text, claim.study_file, registry)
    if data is not None and serves(data, space):
        space = with_data(space, data=data)
    if space.measure is None:
        line = next((i for i, row in enumerate(text.split("\n"), 1) if row.strip()), 0)
        raise SpaceError("a claim's study needs a `measure:` section with factor and reference", Where(claim.study_file, line, "study"))
    measure = replace(space.measure, replicates=replicates or space.measure.replicates)
    plan = Twins(measure).plan
    check_rule(claim, plan, (*metrics_of(space), *series_in(space)))
    for figure in claim.figures:
        _check_figure(figure, space, plan, claim.file)
    return replace(space, measure=measure)


def serves(data: str, space: Space) -> bool:
    """Say whether a data set is meant for the task of a claim's study: a claim of another task keeps its own data.

    Raises SpaceError where there is no such data set.
    """
    name, known = name_of_data(data), space.registry.names("data")
    if name not in known:
        raise SpaceError(f"--data: unknown data set '{name or data}'{nearest(name, known)}")
    return space.task.name == cast(type[DataSet], space.registry.find("data", name).cls).tasks[0]


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
