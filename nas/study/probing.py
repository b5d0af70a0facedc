"""Layer 4: one probe on one network of a space, trained for it here and now, outside any study."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from nas.building import cost_of
from nas.sampling import Sample, first_choice, fixing, refuse_unused, sample
from nas.space import Space
from nas.study.job import Job, run_job
from nas.study.materials import context_of, load_task, refuse_without_data
from nas.study.preview import saying_the_decisions
from nas.study.subjects import built_probes
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
