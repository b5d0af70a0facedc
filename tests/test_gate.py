"""The gate of a search: what it refuses, what passes whatever it scores, what is recorded of it."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

import pytest
from in_process import nas_here
from mlflow.tracking import MlflowClient
from scipy.stats import kendalltau

from nas.errors import SpaceError
from nas.registry import Registry
from nas.report.gate_text import kendall_tau
from nas.space import Space, parse_space
from nas.study.ledger.finished import Scores
from nas.study.ledger.trials import GATE_SCORE as SCORE
from nas.study.searching.gating import is_poor
from nas.study.study import Study
from nas.study.worker.deciding import decide
from nas.study.worker.desk import Desk, open_desk
from nas.values.outcome import Outcome

DEPTH = "architecture.staged.depth"
TEXT = """\
name: gated
architecture: {staged: {widths: {choices: [[4], [8]]}, depth: {int: [1, 4]}, shortcut: {choices: [none, identity]}}}
train: {epochs: 1, batch_size: 64, optimizer: {sgd: {lr: {float: [0.05, 0.2]}}}}
"""
GATE = "gate: {score: synflow.log_score, keep: 0.4, warm_up: 3}"


def space_with(registry: Registry, search: str, more: str = "") -> Space:
    return parse_space(f"{TEXT}search: {{{search}}}\n{more}", "s.yaml", registry)


def url(folder: Path) -> str:
    return f"sqlite:///{folder / 'optuna.db'}"


def opened(space: Space, folder: Path) -> tuple[Study, Desk]:
    study = Study.open(space, url(folder))
    study.search.ensure(study.search_slots(ahead=0))
    return study, open_desk(study.storage, study.search.name, space.registry, (), None)


def go_through(study: Study, desk: Desk) -> int:
    """Look at samples, without training, until the search has all that it is to train; return how many were looked at."""
    count, rng = 0, random.Random(2)
    while trial := desk.ledger.claim():
        sampled, cost = decide(desk, trial, study.space.registry)
        count += 1
        if sampled:
            desk.ledger.finish(trial, sampled.configuration, Outcome("complete", rng.random(), {}, {}, cost, 1, 0.0, "cpu"))
    return count


def seen(*scores: float | None) -> Scores:
    found = Scores()
    for score in scores:
        found.add(score)
    return found


def gate_of(space: Space) -> Any:
    assert space.gate is not None
    return space.gate


def test_a_score_below_the_share_that_is_kept_is_poor(registry: Registry) -> None:
    gate = gate_of(space_with(registry, GATE))
    ten = seen(*range(10))
    assert [is_poor(gate, score, ten) for score in (5.9, 6.0, 9.5)] == [True, False, False]
    assert not is_poor(gate, -1.0, seen(0, 1))  # of the first ones all pass
    assert is_poor(gate, None, ten)
    assert not is_poor(gate, None, seen(*[None] * 10))
    assert not is_poor(gate, 1.0, seen(*[1.0] * 10))


@pytest.mark.parametrize("figure", ["synflow.log_score", "lesion.intact_error"])
def test_the_share_that_is_refused_is_the_worst_of_those_seen_in_order(figure: str, registry: Registry) -> None:
    gate, rng = gate_of(space_with(registry, f"gate: {{score: {figure}, keep: 0.4, warm_up: 1}}")), random.Random(0)
    better = 1 if gate.direction == "maximize" else -1
    for _ in range(200):
        scores = [rng.choice([None, rng.randint(0, 5)]) for _ in range(rng.randint(1, 12))]
        ranked = sorted(-math.inf if score is None else better * score for score in scores)
        least = ranked[min(int(0.6 * len(ranked)), len(ranked) - 1)]
        for score in (None, *range(6)):
            assert is_poor(gate, score, seen(*scores)) == ((-math.inf if score is None else better * score) < least)


def test_a_figure_that_is_better_when_lower_is_poor_when_high(registry: Registry) -> None:
    gate = gate_of(space_with(registry, "gate: {score: lesion.intact_error, warm_up: 1}"))
    assert gate.direction == "minimize"
    assert [is_poor(gate, score, seen(1, 2, 3, 4)) for score in (1.5, 3.5)] == [False, True]


@pytest.mark.parametrize(
    ("gate", "told"),
    [
        ("0.5", r"s\.yaml:4: search\.gate: must be a mapping like `\{score: naswot\.score, keep: 0\.5\}`"),
        ("{keep: 0.5}", r"search\.gate\.score"),
        ("{score: naswo.score}", r"search\.gate\.score: must be a probe's figure, PROBE\.FIGURE, .*did you mean 'naswot'"),
        ("{score: naswot.scor}", r"must be a figure of the probe 'naswot', one of naswot\.score, naswot\.rank, got 'naswot\.scor'"),
        ("{score: naswot.score, keep: 1.5}", r"search\.gate\.keep: must be float in 0\.01\.\.0\.99"),
        ("{score: naswot.score, kep: 0.5}", r"search\.gate\.kep: unknown parameter .*did you mean 'keep'"),
    ],
)
def test_a_gate_that_cannot_be_is_refused_with_its_place(gate: str, told: str, registry: Registry) -> None:
    with pytest.raises(SpaceError, match=told):
        space_with(registry, f"gate: {gate}")


def test_a_probe_of_the_midst_of_a_training_cannot_gate(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(SpaceError, match=r"search\.gate\.score: the probe 'weights_moved' looks at the network after \d+ steps"):
        Study.open(space_with(registry, "gate: {score: weights_moved.least}"), url(tmp_path))


def test_a_gate_makes_another_study_and_takes_the_parameters_that_its_probe_has(registry: Registry) -> None:
    bare, gated = space_with(registry, "trials: 3"), space_with(registry, f"trials: 3, {GATE}")
    assert bare.key != gated.key != space_with(registry, GATE.replace("0.4", "0.5")).key
    assert "search.gate" not in bare.identity()
    probed = space_with(registry, "gate: {score: naswot.rank}", "probes: [{naswot: {examples: 7}}]\n")
    assert dict(gate_of(probed).probe.parameters)["examples"] == 7


def test_a_gated_sample_uses_up_no_budget_and_each_score_is_kept(registry: Registry, tmp_path: Path) -> None:
    study, desk = opened(space_with(registry, f"trials: 8, sampler: random, {GATE}"), tmp_path)
    looked = go_through(study, desk)
    trials = study.search.study.trials
    gated = [trial for trial in trials if trial.user_attrs.get("end") == "gated"]
    assert study.search.count_told() == 8
    assert len(gated) == looked - 8 > 0
    assert len({trial.user_attrs["slot"] for trial in trials}) == 8
    assert all(isinstance(trial.user_attrs[SCORE], float) for trial in trials)
    for trial in trials:
        before = Scores.of(trials[: trial.number])
        if trial in gated:
            assert is_poor(gate_of(study.space), trial.user_attrs[SCORE], before)
    study.refresh()
    assert sum(record.state == "gated" for record in study.record().search) == len(gated)


def test_what_was_asked_for_passes_whatever_it_scores(registry: Registry, tmp_path: Path) -> None:
    starts = ", ".join(f"{{{DEPTH}: {depth}, architecture.staged.widths: 4}}" for depth in (4, 4, 4, 1))
    study, desk = opened(space_with(registry, f"trials: 4, start: [{starts}], {GATE}"), tmp_path)
    assert go_through(study, desk) == 4
    scores = [trial.user_attrs[SCORE] for trial in study.search.study.trials]
    assert is_poor(gate_of(study.space), scores[3], seen(*scores[:3]))


def test_an_interrupted_training_does_not_have_to_pass_again(registry: Registry, tmp_path: Path) -> None:
    study, desk = opened(space_with(registry, f"trials: 5, sampler: random, {GATE}"), tmp_path)
    trial = desk.ledger.claim()
    assert trial is not None
    assert decide(desk, trial, registry)[0]
    desk.ledger.fail(trial, "interrupted")
    go_through(study, desk)
    study.search.ensure(study.search_slots(ahead=0))
    # By now it might be poor: that no longer matters.
    again = desk.ledger.claim()
    assert again is not None
    assert decide(desk, again, registry)[0]
    assert again.params == trial.params
    assert len(Scores.of(study.search.study.trials)) == len(study.search.study.trials) - 1


def test_a_training_whose_worker_died_does_not_have_to_pass_again(registry: Registry, tmp_path: Path) -> None:
    study, desk = opened(space_with(registry, f"trials: 5, sampler: random, {GATE}"), tmp_path)
    trial = desk.ledger.claim()
    assert trial is not None
    assert decide(desk, trial, registry)[0]
    assert desk.ledger.release(trial._trial_id, {})
    for number in range(60):
        desk.ledger.study.add_trial(trial_of(study, 1e9, number))
    again = desk.ledger.claim()
    assert again is not None
    assert again.number == trial.number
    assert decide(desk, again, registry)[0]
    assert again.params == trial.params


def test_a_gate_that_nothing_passes_still_lets_the_search_end(registry: Registry, tmp_path: Path) -> None:
    study, desk = opened(space_with(registry, f"trials: 2, sampler: random, {GATE}"), tmp_path)
    trial = desk.ledger.claim()
    assert trial is not None
    decide(desk, trial, registry)
    trial.set_user_attr(SCORE, 1e9)  # out of reach for whatever follows
    for number in range(60):  # so many that what is refused in between moves no quantile
        desk.ledger.study.add_trial(trial_of(study, 1e9, number))
    assert go_through(study, desk) == gate_of(study.space).patience + 1
    assert study.search.count_told() == 1


def trial_of(study: Study, score: float, number: int) -> Any:
    import optuna

    attrs = {SCORE: score, "slot": f"x{number}", "end": "gated"}
    return optuna.trial.create_trial(state=optuna.trial.TrialState.FAIL, user_attrs=attrs)


def test_nothing_that_is_measured_or_tuned_is_gated(registry: Registry, tmp_path: Path) -> None:
    measure = "measure: {factor: architecture.staged.shortcut, reference: none, replicates: 2, tune: {trials: 2}}\n"
    study, desk = opened(space_with(registry, f"trials: 2, {GATE}", measure), tmp_path)
    assert desk.gate
    ledgers = [ledger for ledger in study.ledgers if ledger.phase != "search"]
    assert {ledger.phase for ledger in ledgers} == {"measure", "tune"}
    assert not [name for name in ledgers if open_desk(study.storage, name.name, registry, (), None).gate]


def test_tau_is_that_of_scipy() -> None:
    rng = random.Random(5)
    pairs = [(float(rng.randint(0, 5)), float(rng.randint(0, 5))) for _ in range(30)]
    assert kendall_tau(pairs) == pytest.approx(kendalltau(*zip(*pairs, strict=True)).statistic)
    assert kendall_tau([(1.0, 2.0), (1.0, 3.0)]) is None


def test_a_gated_search_logs_the_scores_and_says_what_was_refused(tmp_path: Path) -> None:
    search = f"search: {{trials: 6, workers: 1, sampler: random, pruner: none, {GATE}}}\n"
    (tmp_path / "s.yaml").write_text(TEXT.replace("batch_size: 64", "batch_size: 16") + search, encoding="utf-8")
    done = nas_here(tmp_path, "search", "s.yaml", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["told_trials"] == 6
    assert told["gate"] == "synflow.log_score, keep 0.4, warm_up 3"
    page = Path(told["report"]).read_text(encoding="utf-8")
    assert f"refused {told['gated']} sample" in page
    client = MlflowClient(told["tracking_uri"])
    (experiment,) = [e for e in client.search_experiments() if e.name == "gated"]
    runs = client.search_runs([experiment.experiment_id], "tags.`nas.phase` = 'search'")
    assert len(runs) == 6
    assert all("gate.synflow.log_score" in run.data.metrics for run in runs)
