"""A search with several seeds a trial: what it trains, tells and records, and what ends a trial before its last seed."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from in_process import nas_here
from mlflow.tracking import MlflowClient
from scipy.stats import wilcoxon

from nas.cli.lines import details
from nas.errors import SpaceError
from nas.keeping import read_network
from nas.measuring.retraining import Retraining, retest_of
from nas.plugin import NetworkContext
from nas.registry import Registry
from nas.report.retest import page_table
from nas.sampling import first_choice, sample
from nas.space import Space, parse_space
from nas.space.sections import WILCOXON_P, WILCOXON_SEEDS
from nas.study.jobs.job import Job, run_job
from nas.study.jobs.kept import keep_best_alone, network_file
from nas.study.jobs.materials import context_of, study_key
from nas.study.jobs.seeds import run_seeds, seeds_of
from nas.study.jobs.together import Measures
from nas.study.origins import study_to_train
from nas.study.preview import preview
from nas.study.rerunning import rerun
from nas.study.searching.samplers import make_pruner
from nas.study.study import Study
from nas.study.worker.desk import open_desk
from nas.values.outcome import SCORE_SD, Cost, Outcome, Status
from nas.values.records import TrainingRecord
from nas.values.seeds import derive

LR = "train.optimizer.sgd.lr"
TEXT = """\
name: seeds
architecture: {staged: {widths: [8], depth: 1}}
train: {epochs: 1, batch_size: 48, optimizer: {sgd: {lr: {choices: [0.3, 0.2, 0.1]}}}}
"""
GOOD, WORSE, OTHER = 0.3, 0.1, 0.2
STARTS = ", ".join(f"{{{LR}: {lr}}}" for lr in (GOOD, WORSE, GOOD, OTHER, WORSE))
PRUNING = f"trials: 5, workers: 1, seeds: 5, pruner: wilcoxon, start: [{STARTS}]"


def space_with(registry: Registry, search: str) -> Space:
    return parse_space(f"{TEXT}search: {{{search}}}\n", "s.yaml", registry)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search that tries a good configuration, a worse one, the good one once more, another, and the worse one once more."""
    place = tmp_path_factory.mktemp("seeds")
    (place / "s.yaml").write_text(f"{TEXT}search: {{{PRUNING}}}\n")
    done = nas_here(place, "search", "s.yaml")
    assert done.returncode == 0, done.stderr
    return place


@pytest.fixture(scope="module")
def study(folder: Path) -> Study:
    return Study.reopen(None, f"sqlite:///{folder / 'mlflow' / 'optuna.db'}")


def trials(study: Study) -> tuple[TrainingRecord, ...]:
    return study.search.records()


def outcome_of(trial: TrainingRecord) -> Outcome:
    assert trial.outcome is not None
    return trial.outcome


def test_a_trial_is_told_at_the_mean_of_its_seeds_and_each_is_recorded(study: Study) -> None:
    for trial, frozen in zip(trials(study), study.search.study.get_trials(), strict=True):
        outcome = outcome_of(trial)
        assert frozen.value == outcome.score == statistics.fmean(outcome.seed_scores)
        assert outcome.metrics[SCORE_SD] == pytest.approx(statistics.stdev(outcome.seed_scores))
        assert frozen.intermediate_values == dict(enumerate(outcome.seed_scores, start=1))
        assert outcome.metrics["val_accuracy"] == outcome.curves["val_accuracy"][-1] == pytest.approx(outcome.score)
    assert len(set(outcome_of(trials(study)[0]).seed_scores)) > 1


def test_wilcoxon_ends_a_trial_that_is_worse_over_the_same_seeds_and_spares_the_best(study: Study) -> None:
    good, worse, *_ = trials(study)
    assert (good.state, worse.state) == ("complete", "pruned")
    assert len(outcome_of(worse).seed_scores) == WILCOXON_SEEDS
    assert all(a > b for a, b in zip(outcome_of(good).seed_scores, outcome_of(worse).seed_scores, strict=False))
    assert study.search.best_number() == 0


def test_every_trial_has_the_same_seeds(study: Study) -> None:
    space, seeds = study.space, seeds_of(study.space)
    assert {trial.seed for trial in trials(study)} == {seeds[0]}
    for trial in trials(study)[:2]:
        configuration = trial.configuration
        assert configuration is not None
        context = context_of(space, configuration)
        job = Job(configuration, outcome_of(trial).cost, context, "val_accuracy", seeds[2], split_seed=space.seed)
        assert run_job(job, space.registry).score == outcome_of(trial).seed_scores[2]


def test_a_configuration_that_is_proposed_again_is_told_and_not_trained(study: Study) -> None:
    good, _, again, other, _ = trials(study)
    assert replace(outcome_of(again), duration_s=outcome_of(good).duration_s) == outcome_of(good)
    assert outcome_of(again).duration_s == 0 < outcome_of(other).duration_s
    first, second = (study.search.study.get_trials()[number].intermediate_values for number in (0, 2))
    assert first == second


def test_a_pruned_configuration_that_is_proposed_again_is_told_pruned_and_not_trained(study: Study) -> None:
    _, worse, *_, again = trials(study)
    assert (worse.state, again.state) == ("pruned", "pruned")
    assert replace(outcome_of(again), duration_s=outcome_of(worse).duration_s) == outcome_of(worse)
    assert outcome_of(again).duration_s == 0 < outcome_of(worse).duration_s
    first, second = (study.search.study.get_trials()[number] for number in (1, 4))
    assert (first.value, first.intermediate_values) == (second.value, second.intermediate_values)


def test_the_best_trials_are_listed_without_those_that_repeat_them(study: Study) -> None:
    assert [trial.number for trial in study.record().best()] == [0, 3]
    assert details(trials(study)[2]).endswith("known, not trained again")
    assert "5 seeds of 1 epoch in" in details(trials(study)[0])


def test_a_trial_with_several_seeds_comes_back_bit_for_bit(study: Study) -> None:
    best = trials(study)[0]
    assert rerun(study, best, on_epoch=lambda _: None).came_back
    outcome = outcome_of(best)
    forged = replace(outcome, series={**outcome.series, "seeds.score": (*outcome.seed_scores[:-1], 0.0)})
    assert set(rerun(study, replace(best, outcome=forged), on_epoch=lambda _: None).differences) == {"score of seed 5"}


def test_the_network_of_the_first_seed_is_kept_of_the_best_alone(study: Study, folder: Path) -> None:
    files = list((folder / "mlflow" / "networks" / study.search.name).glob("*.pt"))
    assert [file.stem for file in files] == ["0"]
    about = read_network(files[0], study.space.registry).about
    assert about.seed == seeds_of(study.space)[0]
    assert dict(about.figures)["val_accuracy"] == outcome_of(trials(study)[0]).seed_scores[0]


def test_mlflow_has_the_mean_the_spread_and_each_seed_in_one_run(study: Study, folder: Path) -> None:
    client = MlflowClient(f"sqlite:///{folder / 'mlflow' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("seeds")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id], "tags.`nas.phase` = 'search' and tags.`nas.number` = '0'")
    outcome = outcome_of(trials(study)[0])
    assert (run.data.metrics["score"], run.data.metrics[SCORE_SD]) == (outcome.score, outcome.metrics[SCORE_SD])
    points = client.get_metric_history(run.info.run_id, "seeds.score")
    assert [p.value for p in sorted(points, key=lambda p: p.step)] == list(outcome.seed_scores)


def test_one_seed_is_the_study_that_it_was_without_the_word(registry: Registry, tmp_path: Path) -> None:
    plain, one, two = (space_with(registry, f"trials: 2{more}") for more in ("", ", seeds: 1", ", seeds: 2"))
    assert study_key(plain) == study_key(one) != study_key(two)
    assert plain.identity()["search"] == "maximize val_accuracy, tpe, median"
    assert "search.seeds" not in one.identity()
    study = Study.open(one, f"sqlite:///{tmp_path / 'optuna.db'}")
    assert [slot.seed for slot in study.search_slots(ahead=0)] == [derive(0, "trial", 0), derive(0, "trial", 1)]


def test_seeds_multiply_what_a_search_takes(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.study.pace.Pace.seconds_per_layer", 1.0)
    one, four = (preview(space_with(registry, f"trials: 4, seeds: {seeds}")) for seeds in (1, 4))
    assert one.minutes is not None
    assert four.minutes == pytest.approx(4 * one.minutes)


@pytest.mark.parametrize(("seeds", "can"), [(WILCOXON_SEEDS - 1, False), (WILCOXON_SEEDS, True)])
def test_the_signed_rank_test_cannot_fall_below_its_threshold_before_the_fewest_seeds(seeds: int, can: bool) -> None:
    # All of them point one way: of distinct sizes, equal ones, and one that is none.
    cases = ([-1.0 - i for i in range(seeds)], [-1.0] * seeds, [0.0, *[-1.0] * (seeds - 1)])
    least = min(float(wilcoxon(differences, alternative="less", zero_method="zsplit").pvalue) for differences in cases)
    assert least == 2.0**-seeds
    assert (least < WILCOXON_P) == can


@pytest.mark.parametrize(
    ("search", "told"),
    [
        ("pruner: wilcoxon", r"s\.yaml:4: search\.pruner: wilcoxon .*write `seeds: 5` or more, or another pruner; a trial has 1 seed here"),
        ("pruner: wilcoxon, seeds: 4", r"s\.yaml:4: search\.seeds: wilcoxon .*before seed 4.*a trial has 4 seeds here"),
        ("pruner: median, seeds: 3", r"s\.yaml:4: search\.pruner: median ends one training by its epochs.*3 seeds.*`pruner: none`"),
        ("seeds: 0", r"s\.yaml:4: search\.seeds: .*>= 1, got '0'"),
        ("seeds: 5, pruner: wilcoxon, minimize: parameters", r"search\.pruner: wilcoxon judges a trial by one objective"),
    ],
)
def test_seeds_and_pruners_that_do_not_go_together_are_refused(search: str, told: str, registry: Registry) -> None:
    with pytest.raises(SpaceError, match=told):
        space_with(registry, search)


def test_without_a_pruner_named_a_trial_with_several_seeds_has_none(registry: Registry) -> None:
    assert space_with(registry, "seeds: 2").search.pruner == "none"
    assert space_with(registry, "seeds: 1").search.pruner == "median"
    assert type(make_pruner(space_with(registry, "seeds: 5, pruner: wilcoxon"))).__name__ == "WilcoxonPruner"


def made(status: Status, score: float, *curve: float, failure: str = "", **metrics: float) -> Outcome:
    return Outcome(status, score, metrics, {"train_loss": curve}, Cost(1, 1, 1), len(curve), 2.0, "cpu", failure)


def job_of(space: Space) -> Job:
    cost, context = Cost(1, 1, 1), NetworkContext((1, 8, 8), 10)
    return Job(sample(space, first_choice).configuration, cost, context, "val_accuracy", 0, 0, keep="0.pt", is_timed=True)


def never_stacked(jobs: Sequence[Job], _: Measures) -> Sequence[Outcome]:
    raise AssertionError(f"{len(jobs)} seeds in a stack")


def test_a_failed_seed_counts_at_its_failure_score_and_the_next_ones_network_is_kept(registry: Registry) -> None:
    given = iter([made("failed", 0.1, math.nan, failure="diverged"), made("complete", 0.8, 2.0, 1.0), made("complete", 0.6, 4.0, 3.0)])
    ran: list[Job] = []

    def run(job: Job) -> Outcome:
        ran.append(job)
        return next(given)

    outcome = run_seeds(job_of(space_with(registry, "")), ((7,), (8,), (9,)), run, never_stacked)
    assert [(job.seed, bool(job.keep), job.is_timed) for job in ran] == [(7, True, True), (8, True, False), (9, False, False)]
    assert (outcome.status, outcome.failure) == ("complete", "seed 1 of 3: diverged")
    assert outcome.score == pytest.approx(0.5)
    assert outcome.curves["train_loss"][1:] == (2.0,)
    assert (outcome.num_epochs, outcome.duration_s) == (2, 6.0)


def test_a_trial_has_failed_where_every_seed_did_and_says_each_failure_once(registry: Registry) -> None:
    why = iter(["diverged", "learned nothing", "diverged"])
    parts = ((7,), (8,), (9,))
    outcome = run_seeds(job_of(space_with(registry, "")), parts, lambda _: made("failed", 0.1, math.nan, failure=next(why)), never_stacked)
    assert (outcome.status, outcome.failure) == ("failed", "seeds 1, 3 of 3: diverged; seed 2 of 3: learned nothing")


def test_a_baseline_and_the_searches_of_a_tuned_effect_have_the_seeds_of_the_search(registry: Registry, tmp_path: Path) -> None:
    measure = "measure: {factor: train.batch_size, reference: 48, levels: [64], tune: {trials: 2}}\n"
    text = TEXT.replace("batch_size: 48", "batch_size: {choices: [48, 64]}") + "search: {trials: 2, seeds: 3}\n" + measure
    study = Study.open(parse_space(text, "s.yaml", registry), f"sqlite:///{tmp_path / 'optuna.db'}").with_baseline()
    assert study.tuning is not None
    slots = [*study.search_slots(ahead=0), *study.baseline_slots(), *(s for one in study.tuning.searches for s in study.tuning.slots(one))]
    assert len(slots) == 8
    assert {slot.seed for slot in slots} == {seeds_of(study.space)[0]}
    for search in study.tuning.searches:
        assert open_desk(study.storage, search.ledger.name, registry, (), None).seeds == seeds_of(study.space)


def test_what_is_measured_has_one_seed_a_training(registry: Registry, tmp_path: Path) -> None:
    text = TEXT + f"search: {{trials: 2, seeds: 3}}\nmeasure: {{factor: {LR}, reference: 0.1, levels: [0.2]}}\n"
    study = Study.open(parse_space(text, "s.yaml", registry), f"sqlite:///{tmp_path / 'optuna.db'}")
    assert study.measured is not None
    assert open_desk(study.storage, study.measured.name, registry, (), None).seeds == ()


def test_the_network_of_a_trial_that_was_interrupted_between_two_seeds_goes(registry: Registry, tmp_path: Path) -> None:
    study = Study.open(space_with(registry, "trials: 2, seeds: 2"), f"sqlite:///{tmp_path / 'optuna.db'}")
    study.search.ensure(study.search_slots(ahead=0))
    ended, running = study.search.claim(), study.search.claim()
    assert ended is not None
    assert running is not None
    files = [network_file(tmp_path, study.search.name, str(trial.number)) for trial in (ended, running)]
    files[0].parent.mkdir()
    for file in files:
        file.touch()
    study.search.fail(ended, "interrupted")
    keep_best_alone(tmp_path, study.search)
    assert [file.exists() for file in files] == [False, True]


def test_a_retraining_says_over_how_many_seeds_the_score_before_was_the_mean(study: Study) -> None:
    url, nothing = study.storage_url, ()
    opened = study_to_train(study.title, url, store=Path(), settings={}, architecture=None, seeds=2, epochs=None, plugins=nothing)
    assert isinstance(opened.design, Retraining)
    (before, *_) = page_table(retest_of(opened.record(), opened.design)).rows
    assert before.cells[:2] == ("val_accuracy, before", "5")


def test_best_says_over_how_many_seeds_its_score_is_the_mean(folder: Path, study: Study) -> None:
    told = nas_here(folder, "best").stdout
    assert "(mean of 5 seeds, sd " in told
    page = next((folder / "mlflow" / "reports").rglob("*.html")).read_text()
    assert "mean of 5 seeds, sd " in page
    assert "the mean of 5 trainings each" in page
