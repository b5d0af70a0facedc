"""Layer 3: runs probes after a training: their readings become parts of the outcome, what they raise becomes its errors."""

from __future__ import annotations

import math
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import nn

from nas.plugin import Figure, Moment, Probe, Reading, Subject
from nas.values.outcome import Outcome, is_of_a_probe
from nas.values.seeds import derive

Named = Sequence[tuple[str, Probe]]
"""Probes with the names that their figures are recorded under."""


class Snapshots:
    """Keeps the state of a network after the optimizer steps that probes ask for."""

    def __init__(self, network: nn.Module, probes: Named) -> None:
        self.network = network
        self.wanted = {moment for _, probe in probes for moment in probe.at if isinstance(moment, int)}
        self.states: dict[Moment, dict[str, torch.Tensor]] = {}

    def keep(self, step: int) -> None:
        """Keep a copy of the state where step `step` is one of the wanted; called after every step."""
        if step in self.wanted:
            self.states[step] = {path: tensor.detach().clone() for path, tensor in self.network.state_dict().items()}


def with_readings(outcome: Outcome, probes: Named, subject: Subject, *, metric: str) -> Outcome:
    """Return the outcome with what the probes measured. One that raises is recorded in `errors`, and the others go on.

    Where `metric` is a probe's figure, it becomes the score. A figure that is missing or not finite leaves no score: the
    training counts as failed, without a value that could stand for it.
    """
    found: dict[str, Reading] = {}
    errors: dict[str, str] = {}
    for name, probe in probes:
        try:
            found[name] = measured(name, probe, subject)
        except ValueError as error:
            errors[name] = str(error)
        except Exception as error:  # a probe is somebody's code: the training is not lost by it
            errors[name] = "".join(traceback.format_exception(error))
    figures = {f"{name}.{key}": float(value) for name, reading in found.items() for key, value in reading.figures.items()}
    outcome = replace(
        outcome,
        metrics={**outcome.metrics, **{key: value for key, value in figures.items() if math.isfinite(value)}},
        series={f"{name}.{key}": tuple(map(float, values)) for name, reading in found.items() for key, values in reading.series.items()},
        words={name: reading.words for name, reading in found.items() if reading.words},
        errors=errors,
    )
    return _scored(outcome, metric) if is_of_a_probe(metric) else outcome


def measured(name: str, probe: Probe, subject: Subject) -> Reading:
    """Measure with one probe: what it draws comes from the training's seed. Raises what the probe does."""
    with torch.random.fork_rng():
        torch.manual_seed(derive(subject.seed, "probe", name))
        reading = probe.measure(subject)
    _refuse_undeclared(name, "figures", reading.figures, probe.figures)
    _refuse_undeclared(name, "series", reading.series, probe.series)
    return reading


def _refuse_undeclared(name: str, what: str, got: Mapping[str, object], declared: Sequence[Figure]) -> None:
    unknown = sorted(set(got) - {figure.name for figure in declared})
    if unknown:
        raise ValueError(f"probe '{name}' gives {what} that it does not declare: {', '.join(unknown)}; add them to its `{what}`")


def _scored(outcome: Outcome, metric: str) -> Outcome:
    if metric in outcome.metrics:
        return replace(outcome, score=outcome.metrics[metric])
    name = metric.partition(".")[0]
    why = outcome.errors.get(name, "").strip().splitlines()
    reason = f"{metric} was not measured: {why[-1] if why else 'it is not finite, or does not exist for this network'}"
    failure = f"{outcome.failure}; {reason}" if outcome.failure else reason
    return replace(outcome, status="failed", score=math.nan, failure=failure)
