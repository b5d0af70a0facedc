"""Layer 2: a space file as a typed value: what may vary, how it is trained, searched and measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from nas.errors import SpaceError, Where, listed, nearest, shown
from nas.registry.registry import Registry
from nas.space.scalars import read_float, read_int
from nas.space.sections import Constraint, Gate, InputOptions, MeasureOptions, SearchOptions
from nas.space.task_section import metrics_of
from nas.space.templates import Decision, NodeTemplate, Placed, Template, decisions_in, document_of, plugins_in
from nas.values.architecture import PluginNode, key_of
from nas.values.domains import Choices, IntRange, Scalar, Setting, written
from nas.values.metrics import Metric, metric_of


@dataclass(frozen=True)
class Space:
    """One space file, parsed and checked against the plugins' signatures."""

    name: str
    file: str
    text: str
    data: Template
    task: NodeTemplate
    architecture: Template
    train: NodeTemplate
    search: SearchOptions
    measure: MeasureOptions | None
    constraints: tuple[Constraint, ...]
    seed: int
    input: InputOptions | None
    registry: Registry
    probes: tuple[PluginNode, ...] = ()
    starts: tuple[tuple[tuple[str, Scalar], ...], ...] = ()
    """The configurations that the search tries first, as (path, value) pairs."""
    gate: Gate | None = None
    """What each sample of the search is looked at for before it is trained."""

    @property
    def roots(self) -> Mapping[str, Template]:
        """The sections that can hold decisions, in the order in which they are decided."""
        return {"architecture": self.architecture, "train": self.train, "data": self.data}

    @cached_property
    def metrics(self) -> tuple[Metric, ...]:
        """The metrics of its task, the one that is meant where none is named first, the loss last."""
        return metrics_of(self.registry, self.task.name)

    def metric(self, full_name: str) -> Metric:
        """Return what a full name such as `val_accuracy` is taken for by its task."""
        return metric_of(full_name, self.metrics)

    @cached_property
    def placed(self) -> tuple[Placed, ...]:
        """Every decision with its conditions, in the order in which they are made; one that is used twice comes twice."""
        return tuple(p for root in self.roots.values() for p in decisions_in(root))

    @cached_property
    def decisions(self) -> Mapping[str, Decision]:
        """Every decision by its path."""
        return {placed.decision.path: placed.decision for placed in self.placed}

    def identity(self) -> dict[str, Any]:
        """Return what makes this a study of its own, as flat plain data: all but how long it is searched and measured.

        Two files that mean the same have the same identity, whatever their comments, spaces, order of keys and place on
        disk; plugins count by their sources. What differs between two identities is what makes two studies different.
        """
        used = {plugin for root in (*self.roots.values(), self.task) for plugin in plugins_in(root)} - {("train", "train")}
        used |= {("probe", probe.name) for probe in (*self.probes, *((self.gate.probe,) if self.gate else ()))}
        return {
            **self._places(),
            # Nothing stands here without probes: the studies of spaces that have none keep their keys.
            **{f"probes.{probe.name}": probe.to_dict()[probe.name] for probe in self.probes},
            "constraints": sorted(str(c) for c in self.constraints),
            "search": f"{self.search.sought}, {self.search.sampler}, {self.search.pruner}",
            **({"search.seeds": self.search.seeds} if self.search.seeds > 1 else {}),
            **({"search.vectorise": self.search.together} if self.search.together != 1 else {}),
            **({"search.start": [dict(start) for start in self.starts]} if self.starts else {}),
            **({"search.start_from": self.search.start_from} if self.search.start_from else {}),
            **({"search.gate": [str(self.gate), self.gate.probe.to_dict()]} if self.gate else {}),
            "seed": self.seed,
            "plugins": dict(self.registry.sources(used)),
        }

    @cached_property
    def key(self) -> str:
        """The hash of `identity`, 8 digits."""
        return key_of(self.identity())[:8]

    def with_settings(self, settings: Mapping[str, Setting]) -> dict[str, Scalar]:
        """Read `PATH=VALUE` settings as values of decisions. Raises SpaceError, with the nearest name, for a wrong one."""
        return {path: self.value_of(path, _text(value), where=Where(path=path)) for path, value in settings.items()}

    def decision(self, path: str, where: Where) -> Decision:
        """Return a decision by its path. Raises SpaceError, at `where`, that says what there is."""
        decision = self.decisions.get(path)
        if decision is not None:
            return decision
        told = "" if where.path == path else f"'{shown(path)}' "
        if path in self._places():
            raise SpaceError(f"{told}is no decision: the space fixes it; give it `{{choices: [...]}}` or a range there", where)
        hint = nearest(path, self.decisions) if self.decisions else "; it has none: give a parameter `{choices: [...]}` or a range"
        raise SpaceError(f"{told}is no decision of this space{hint}", where)

    def _places(self) -> dict[str, Any]:
        """Return what stands at each place of the sections that can hold decisions, as plain data."""
        parts = {f"train.{name}": inner for name, inner in self.train.parameters}
        found: dict[str, Any] = {}
        for place, template in {"architecture": self.architecture, "data": self.data, "task": self.task, **parts}.items():
            found |= document_of(template, place)
        return found

    def value_of(self, path: str, text: str, where: Where) -> Scalar:
        """Read `text` as a value of the decision `path`. Raises SpaceError, at `where`, if either does not fit."""
        domain = self.decision(path, where).domain
        if isinstance(domain, Choices):
            found = [label for label in domain.labels if _says(text, label)]
        else:
            number = read_int(text) if isinstance(domain, IntRange) else read_float(text)
            found = [number] if domain.contains(number) else []
        if not found:
            close = nearest(text, map(written, domain.labels)) if isinstance(domain, Choices) else ""
            hint = close if "did you mean" in close else ""
            if text.count("(") > text.count(")"):
                hint = "; put a value that has a comma in quotes"
            rule = f"one of {listed([written(label) for label in domain.labels])}" if isinstance(domain, Choices) else f"in {domain}"
            raise SpaceError(f"must be {rule}, got '{shown(text)}'{hint}", where)
        return found[0]


def _text(value: Setting) -> str:
    """Write a setting as the command line has it: a list by its items with hyphens, as it is called among choices."""
    if isinstance(value, str):
        return value
    return "-".join(map(written, value)) if isinstance(value, Sequence) else written(value)


def _says(text: str, label: Scalar) -> bool:
    """Whether `text` is a way to write `label`; Python's own words count, since settings may come from Python."""
    if text in (written(label), str(label)):
        return True
    if label is None:
        return text in ("~", "")
    number = read_float(text)
    return number is not None and not isinstance(label, bool | str) and number == label
