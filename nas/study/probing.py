"""Layer 4: one probe on one network, outside any study: one of a space, trained for it here and now, or one that was kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from nas.building import cost_of
from nas.errors import StudyError, UserError
from nas.keeping import KeptNetwork
from nas.plugin import Moment, Reading
from nas.probes.running import measured
from nas.registry import Registry
from nas.sampling import Sample, first_choice, fixing, refuse_unused, sample
from nas.space import Space
from nas.study.jobs.job import Job, run_job
from nas.study.jobs.materials import context_of, load_split, load_task, refuse_without_data
from nas.study.jobs.subjects import built_probes, subject_of
from nas.study.preview import saying_the_decisions
from nas.values.architecture import PluginNode
from nas.values.domains import Scalar
from nas.values.outcome import Outcome


def probe_space(
    space: Space,
    probe: PluginNode,
    *,
    settings: Mapping[str, Scalar] | None = None,
    seed: int = 0,
    on_epoch: Callable[[int], None] = lambda _epoch: None,
) -> tuple[Sample, Outcome]:
    """Train one network of a space and measure it with one probe; return what was decided and what it came to.

    `settings` gives decisions by path; the others take what stands first. `seed` is that of the training and of the split, so
    the same call gives the same numbers. Raises UserError for a space without data, PluginError for what cannot be built.
    """
    refuse_without_data(space)
    built_probes((probe,), space.registry)
    fixed = dict(settings or {})
    decided = sample(space, fixing(fixed, first_choice))
    refuse_unused(fixed, decided, space)
    context = context_of(space, decided.configuration)
    with saying_the_decisions(space, decided):
        cost = cost_of(decided.configuration.architecture, space.registry, context)
    metric = f"test_{load_task(decided.configuration.task, space.registry).metrics[0].name}"
    job = Job(decided.configuration, cost, context, metric, seed, seed, (probe,))

    def never_stop(epoch: int, _value: float) -> bool:
        on_epoch(epoch)
        return False

    return decided, run_job(job, space.registry, never_stop)


def probe_kept(kept: KeptNetwork, probe: PluginNode, registry: Registry) -> tuple[Reading, tuple[Moment, ...]]:
    """Measure a kept network with one probe, on the split that it was trained on; also return the moments it had to do without.

    The start of the training is built again from its seed; a state from the midst of it was kept by nobody. Raises UserError
    where the data are no longer those of the training, StudyError where the probe cannot measure the network.
    """
    about = kept.about
    ((name, built),) = built_probes((probe,), registry)
    configuration = about.configuration
    split = load_split(configuration.data, registry, about.split_seed, configuration.task)
    if split.train.mean.shape != kept.mean.shape or not torch.equal(split.train.mean, kept.mean):
        raise UserError(
            f"the data set '{configuration.data.name}' is not what the network was trained on: its training part has another mean; "
            "what was measured on it would say nothing about the training"
        )
    subject = subject_of(about, registry, kept.network, split, {}, device="cpu")
    try:
        reading = measured(name, built, subject)
    except ValueError as error:
        raise StudyError(f"the probe '{name}' could not measure this network: {error}") from error
    return reading, tuple(moment for moment in built.at if moment not in subject.moments)
