"""Layer 4: the gate of a search: an architecture is looked at before it is trained, and poor ones are not."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from optuna.trial import Trial

from nas.building import build, build_recipe
from nas.errors import SpaceError, Where
from nas.probes.running import measured
from nas.registry import Registry
from nas.space import Space
from nas.space.sections import Gate
from nas.study.jobs.job import Job
from nas.study.jobs.materials import load_split
from nas.study.jobs.subjects import built_probes, subject_of
from nas.study.ledger.finished import Scores
from nas.study.ledger.ledger import Ledger
from nas.study.ledger.trials import GATE_SCORE
from nas.values.outcome import Outcome


def check_probes(space: Space) -> None:
    """Build the probes of a space, and refuse a gate whose probe looks at the midst of a training: there is none yet.

    Raises PluginError for parameters that one refuses, SpaceError for such a gate.
    """
    built_probes(space.probes, space.registry)
    for name, probe in built_probes([space.gate.probe], space.registry) if space.gate else ():
        if steps := [moment for moment in probe.at if isinstance(moment, int)]:
            told = f"the probe '{name}' looks at the network after {steps[0]} steps of training, and a gate looks before the first"
            raise SpaceError(f"{told}; take another", Where(space.file, path="search.gate.score"))


def refuses(gate: Gate, ledger: Ledger, trial: Trial, job: Job, registry: Registry) -> bool:
    """Score a network at its initial values, note that with its trial, and say whether it is not to be trained.

    What was not freely sampled passes: a person asked for it, or it has passed before. So does the sample of a slot of which
    so many were refused that there is no end in sight.
    """
    if GATE_SCORE in trial.user_attrs:
        return False  # its worker died, and it was looked at before
    score = _score(gate, job, registry)
    trial.set_user_attr(GATE_SCORE, score)
    still_open, finished = ledger.now()
    if any(t.number == trial.number and t.system_attrs.get("fixed_params") for t in still_open):
        return False
    seen = finished.gate_scores.copy()
    seen.take_up(t for t in still_open if t.number != trial.number)
    return finished.num_gated[trial.user_attrs["slot"]] < gate.patience and is_poor(gate, score, seen)


def is_poor(gate: Gate, score: float | None, seen: Scores) -> bool:
    """Say whether a score lies below the share of those seen that the gate keeps; a network without a score lies below all others."""
    if len(seen) < gate.warm_up:
        return False
    # Those without a score stand first, then the others, the worst first.
    place = min(int((1 - gate.keep) * len(seen)), len(seen) - 1) - seen.num_without
    least = None if place < 0 else seen.ordered[place] if gate.direction == "maximize" else seen.ordered[-1 - place]
    return _height(gate, score) < _height(gate, least)


def with_score(outcome: Outcome, gate: Gate, trial: Trial) -> Outcome:
    """Return an outcome with the gate's score among its figures, as `gate.PROBE.FIGURE`."""
    score = trial.user_attrs.get(GATE_SCORE)
    return outcome if score is None else replace(outcome, metrics={**outcome.metrics, f"gate.{gate.score}": score})


def _height(gate: Gate, score: float | None) -> float:
    return -math.inf if score is None else score if gate.direction == "maximize" else -score


def _score(gate: Gate, job: Job, registry: Registry) -> float | None:
    """Return the probe's figure of a network that was just built; None where it has none."""
    ((name, probe),) = built_probes([gate.probe], registry)
    configuration = job.configuration
    split = load_split(configuration.data, registry, job.split_seed, configuration.task)
    network = build(configuration.architecture, registry, job.context, seed=job.seed)
    on_gpu = torch.cuda.is_available() and build_recipe(configuration.train, registry).accelerator in ("auto", "gpu", "cuda")
    subject = subject_of(job, registry, network, split, {}, device="cuda" if on_gpu else "cpu")
    try:
        score = measured(name, probe, subject).figures.get(gate.figure)
    except ValueError:
        # What a probe says of a network that it cannot measure.
        return None
    return float(score) if score is not None and math.isfinite(score) else None
