"""Layer 4: a search's trial with several seeds: its trainings, one after another or in stacks, and the one outcome they come to."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from optuna.trial import Trial, TrialState

from nas.space import Space
from nas.study.jobs.grouping import balanced, grouping_in
from nas.study.jobs.job import Job
from nas.study.jobs.together import Measures
from nas.study.ledger.ledger import Ledger
from nas.study.ledger.trials import SEEDS
from nas.values.architecture import Configuration
from nas.values.outcome import SCORE_SD, SEED_SCORES, Outcome, Status, is_of_a_probe
from nas.values.seeds import derive

RunOne = Callable[[Job], Outcome]
RunStack = Callable[[Sequence[Job], Measures], Sequence[Outcome]]
"""Trains jobs as one program; what `Measures` says of each is measured and kept of it (`nas.study.jobs.together.run_jobs`)."""
Note = Callable[[Sequence[Outcome]], None]
"""Told, while there are seeds left, what those came to that are done."""
IsWorse = Callable[[int, float], bool]
"""Told after each seed its number, counted from 1, and its score; True ends the trial before its other seeds."""


def seeds_of(space: Space) -> tuple[int, ...]:
    """Return the seeds of every trial of a space's search, () where each trial has one of its own.

    All trials have the same: what one scored with seed k and what another did differ in nothing but what they decided.
    """
    count = space.search.seeds
    return tuple(derive(space.seed, "trial seed", k) for k in range(1, count + 1)) if count > 1 else ()


def first_seed(space: Space, own: int) -> int:
    """Return the seed that a trial's slot names: the first of those that all trials share, or its `own` where it has one alone."""
    return next(iter(seeds_of(space)), own)


def stacks_of(space: Space, configuration: Configuration) -> tuple[tuple[int, ...], ...]:
    """Return the seeds of a space's trials in the parts that are trained as one program, in order; each on its own by default.

    That hangs on the space and on what the trial decided alone, so that every worker, and every rerun, comes to the same parts.
    """
    seeds, vectorise = seeds_of(space), space.search.together
    most = 1 if vectorise == 1 else grouping_in(space, vectorise).most_seeds(configuration)
    return tuple(tuple(part) for part in balanced(seeds, most)) if most > 1 else tuple((seed,) for seed in seeds)


def run_seeds(
    job: Job, parts: Sequence[Sequence[int]], run_one: RunOne, run_stack: RunStack, is_worse: IsWorse = lambda _seed, _score: False, *,
    done: Sequence[Outcome] = (), note: Note = lambda _outcomes: None,
) -> Outcome:  # fmt: skip
    """Train a job's architecture with each of several seeds, and return what they come to together.

    The seeds of one of the `parts` are trained as one program, the parts one after another. Probes measure, and `keep` keeps, the
    network of the first seed that did not fail. What the first seeds came to, where they are `done`, is taken as it is.
    """
    outcomes: list[Outcome] = []
    planned = sum(map(len, parts))
    first = parts[0][0]
    for part in parts:
        before = tuple(outcomes)
        jobs = [replace(job, seed=seed, is_timed=job.is_timed and seed == first, checkpoint="") for seed in part]
        found = done[len(before) : len(before) + len(part)]
        if len(found) < len(part):
            found = (run_one(_shown(before, jobs[0])),) if len(part) == 1 else run_stack(jobs, partial(_shown, before))
            if len(before) + len(part) < planned:  # what the last ones come to is told at once
                note((*before, *found))
        for outcome in found:
            outcomes.append(outcome)
            if is_worse(len(outcomes), outcome.score) and len(outcomes) < planned:
                return combined(outcomes, planned=planned)
    return combined(outcomes, planned=planned)


def _shown(before: Sequence[Outcome], job: Job, earlier: Sequence[Outcome] = ()) -> Job:
    """Return a seed's training, with probes and a place to be kept where every seed before it failed, `earlier` in its own stack too."""
    return job if all(outcome.status == "failed" for outcome in (*before, *earlier)) else replace(job, probes=(), keep="")


def note_seeds(ledger: Ledger, trial: Trial, outcomes: Sequence[Outcome]) -> None:
    """Keep with a running trial what its first seeds came to: they are not trained again where its worker dies."""
    ledger.storage.set_trial_user_attr(trial._trial_id, SEEDS, [outcome.to_dict() for outcome in outcomes])


def done_before(trial: Trial, job: Job) -> tuple[Outcome, ...]:
    """Return what the first seeds of a claimed trial came to in a worker that died.

    Nothing where one of them left a network that is not here, but on another machine: that has to be trained again.
    """
    done = tuple(map(Outcome.from_dict, trial.user_attrs.get(SEEDS, ())))
    is_here = not job.keep or Path(job.keep).exists() or all(outcome.status == "failed" for outcome in done)
    return done if is_here else ()


def told_before(ledger: Ledger, configuration: Configuration) -> Outcome | None:
    """Return what an earlier trial of the same configuration came to, with all its seeds or pruned; None where there is none.

    With the same seeds it would come to the same again. Nothing is trained for it, and so it has taken no time.
    """
    document = configuration.to_dict()
    for frozen in ledger.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        if frozen.user_attrs.get("configuration") == document and "outcome" in frozen.user_attrs:
            return replace(Outcome.from_dict(frozen.user_attrs["outcome"]), duration_s=0.0)
    return None


def combined(outcomes: Sequence[Outcome], *, planned: int) -> Outcome:
    """Return the outcomes of one architecture with several seeds, of so many planned, as one.

    Score, metrics and curves are means, a curve's points over the seeds that came so far; the duration is the sum. A failed seed counts
    with its failure score, and the whole has failed where every seed did. What a probe says is that of the seed it measured.
    """
    shown = next((outcome for outcome in outcomes if outcome.status != "failed"), outcomes[0])
    has_failed = all(outcome.status == "failed" for outcome in outcomes)
    status: Status = "pruned" if len(outcomes) < planned else "failed" if has_failed else "complete"
    scores = tuple(outcome.score for outcome in outcomes)
    spread = {SCORE_SD: statistics.stdev(scores)} if len(scores) > 1 and all(map(math.isfinite, scores)) else {}
    probed = {name: value for name, value in shown.metrics.items() if is_of_a_probe(name)}
    return replace(
        shown,
        status=status,
        score=_mean(scores),
        metrics={**_means([outcome.metrics for outcome in outcomes]), **probed, **spread},
        curves=dict(_mean_curves([outcome.curves for outcome in outcomes])),
        num_epochs=max(outcome.num_epochs for outcome in outcomes),
        duration_s=sum(outcome.duration_s for outcome in outcomes),
        failure="; ".join(_failures(outcomes, planned)),
        series={**shown.series, SEED_SCORES: scores},
    )


def _failures(outcomes: Sequence[Outcome], planned: int) -> Iterator[str]:
    """Yield what failed with which seeds, each failure once: `seeds 1, 3 of 5: diverged`."""
    failed = {place: outcome.failure for place, outcome in enumerate(outcomes, 1) if outcome.failure}
    for failure in dict.fromkeys(failed.values()):
        places = [str(place) for place, other in failed.items() if other == failure]
        yield f"seed{'s' * (len(places) > 1)} {', '.join(places)} of {planned}: {failure}"


def _means(found: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of each figure over those that have it, but for those of probes."""
    names = dict.fromkeys(name for figures in found for name in figures if not is_of_a_probe(name))
    return {name: _mean([figures[name] for figures in found if name in figures]) for name in names}


def _mean_curves(found: Sequence[Mapping[str, tuple[float, ...]]]) -> Iterator[tuple[str, tuple[float, ...]]]:
    for name in dict.fromkeys(name for curves in found for name in curves):
        own = [curves[name] for curves in found if name in curves]
        yield name, tuple(_mean([values[epoch] for values in own if epoch < len(values)]) for epoch in range(max(map(len, own))))


def _mean(values: Sequence[float]) -> float:
    # Of infinities of both signs there is no sum, and `fmean` would raise.
    return statistics.fmean(values) if all(map(math.isfinite, values)) else math.nan
