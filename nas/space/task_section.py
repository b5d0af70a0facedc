"""Layer 2: reads `task:`, which follows from the data set unless it is given, and the metrics that there are for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

from nas.errors import SpaceError, Where, listed, nearest, shown
from nas.plugin import Probe, Task
from nas.registry.registry import Registry
from nas.registry.signature import ScalarType
from nas.space.parser import Parser
from nas.space.templates import Decision, Fixed, ListTemplate, NodeTemplate, Template, decisions_in
from nas.space.yaml_tree import MappingTree, ScalarTree, Tree
from nas.values.architecture import PluginNode
from nas.values.metrics import PARTS, Direction, Metric, metric_of
from nas.values.outcome import COSTS


def read_task(parser: Parser, tree: MappingTree, data: Template) -> NodeTemplate:
    """Return the task of a space: that of `task:`, else the first one that all its data sets serve.

    Raises SpaceError for a task that a data set does not serve, and for a decision in it: what is scored must stay the same.
    """
    given, place = tree.get("task"), tree.get("data")
    served = tuple(_served(parser.registry, data))
    common = [task for task in served[0][1] if all(task in tasks for _, tasks in served)]
    if given is None:
        if not common:
            told = " and ".join(f"{name} is for {listed(tasks)}" for name, tasks in served)
            raise SpaceError(f"its data sets share no task: {told}", Where(parser.file, place.line if place else 0, "data"))
        return parser.node(ScalarTree(common[0], place.line if place else tree.line), "task", "task")
    task = parser.node(given, "task", "task")
    if next(decisions_in(task), None):
        raise parser.fail("must be decided: what is scored has to stay the same over a study", given, "task")
    if tree.get("input") is None and task.name not in common:
        unfit = next((name, tasks) for name, tasks in served if task.name not in tasks)
        raise parser.fail(f"the data set '{unfit[0]}' is for {listed(unfit[1])}, got '{task.name}'", given, "task")
    return task


def metrics_of(registry: Registry, task: str) -> tuple[Metric, ...]:
    """Return the metrics of a task, its own first, the loss last."""
    cls = registry.find("task", task).cls
    assert issubclass(cls, Task), "its kind says so"
    return cls.all_metrics()


def read_metric(
    parser: Parser, tree: Tree, path: str, task: str, probes: Mapping[str, Direction] | None = None, *, beside: Sequence[str] = ()
) -> str:
    """Read the full name of one of a task's metrics; `probes` are the figures of probes that may stand for one.

    `beside` are the words that may stand there as well, for the message.
    """
    name: str = parser.constant(tree, ScalarType(str), path)
    metrics = metrics_of(parser.registry, task)
    names = [full for metric in metrics for full in metric.on_parts]
    if name in names or name in (probes or {}):
        return name
    probe, _, figure = name.partition(".")
    if figure and probe in parser.registry.names("probe"):
        told = figures_of([PluginNode(probe)], parser.registry)
        if name in told:
            what = f"write `probes: [{probe}]` too" if probes is not None else "a search is for a metric of the training itself"
            raise parser.fail(f"is a figure of the probe '{probe}', got '{shown(name)}'; {what}", tree, path)
        raise parser.fail(f"must be a metric, got '{shown(name)}'{nearest(name, told)}", tree, path)
    hint = nearest(name, (*names, *(probes or ()), *beside))
    if "did you mean" not in hint:
        hint = f"; there are {listed([metric.name for metric in metrics])}, each behind {', '.join(f'{p}_' for p in PARTS)}"
    others = f", or one of {listed(beside)}" if beside else ""
    raise parser.fail(f"must be a metric of {task}{others}, got '{shown(name)}'{hint}", tree, path)


def figures_of(probes: Sequence[PluginNode], registry: Registry) -> dict[str, Direction]:
    """Return the figures of some probes, `PROBE.FIGURE`, with the way each is better."""
    classes = {probe.name: cast(type[Probe], registry.find("probe", probe.name).cls) for probe in probes}
    return {f"{name}.{figure.name}": figure.direction for name, cls in classes.items() for figure in cls.figures}


def read_objective(parser: Parser, tree: Tree, key: str, task: str, path: str) -> str:
    """Read the metric at `path` that a search is to maximise or minimise, as `key` says."""
    name = read_metric(parser, tree, path, task, beside=COSTS if key == "minimize" else ())
    if name.startswith("test"):
        other = name.replace("test", "val", 1)
        raise parser.fail(f"the test split is for measuring alone, so a search cannot use {name}; write {other}", tree, path)
    wanted = metric_of(name, metrics_of(parser.registry, task)).direction
    if key != wanted:
        raise parser.fail(f"would look for the worst networks; write `{wanted}: {name}`", tree, path)
    return name


def refuse_smoothing(parser: Parser, tree: MappingTree | None, task: str) -> None:
    """Raise SpaceError for a `label_smoothing` that the task's loss would ignore."""
    given = tree.get("label_smoothing") if tree else None
    cls = parser.registry.find("task", task).cls
    if given is not None and not getattr(cls, "smooths_labels", False):
        raise parser.fail(f"{task} does not smooth labels; remove it", given, "train.label_smoothing")


def _served(registry: Registry, data: Template) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield each data set that a template can stand for, with its tasks."""
    if isinstance(data, NodeTemplate):
        yield data.name, tuple(registry.find("data", data.name).cls.tasks)  # type: ignore[attr-defined]  # its kind is data
    elif isinstance(data, Decision):
        for option in data.options:
            yield from _served(registry, option)
    assert not isinstance(data, Fixed | ListTemplate), "the section takes a data set"
