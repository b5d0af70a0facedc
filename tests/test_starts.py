"""Warm starts: what a search tries first, from its file and from an earlier study, on a real ledger."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from in_process import nas_here

from nas.cli.check import sentences
from nas.errors import SpaceError, UserError
from nas.registry import Registry
from nas.sampling import sample
from nas.space import Space, parse_space
from nas.study.ledger.ledger import Ledger
from nas.study.ledger.trials import suggest
from nas.study.preview import preview
from nas.study.study import Study
from nas.values.domains import Scalar
from nas.values.outcome import Cost, Outcome

NETWORK = "architecture.staged"
DEPTH, SHORTCUT, EXPANSION = f"{NETWORK}.depth", f"{NETWORK}.shortcut", f"{NETWORK}.block.bottleneck.expansion"
RATE = "train.optimizer.sgd.lr"
TEXT = """\
name: warm
architecture:
  staged:
    widths: [4]
    depth: {int: [1, 5]}
    block: {choices: [basic, {bottleneck: {expansion: {choices: [2, 4]}}}]}
    shortcut: {choices: [none, identity]}
train: {epochs: 1, optimizer: {sgd: {lr: {float: [0.01, 0.2]}}}}
"""
PROBED = "probes: [gradient_norm, synflow, naswot]\n"


def space_with(registry: Registry, search: str, text: str = TEXT) -> Space:
    return parse_space(f"{text}search: {{{search}}}\n", "s.yaml", registry)


def url(folder: Path) -> str:
    return f"sqlite:///{folder / 'optuna.db'}"


def run(study: Study, count: int, score: Callable[[dict[str, Scalar]], float]) -> list[dict[str, Scalar]]:
    """Tell `count` of the search's trials without training; return what was decided."""
    study.search.ensure(study.search_slots(ahead=0))
    found = []
    for _ in range(count):
        trial = study.search.claim()
        assert trial is not None
        sampled = sample(study.space, lambda decision, trial=trial: suggest(trial, decision))  # type: ignore[misc]
        found.append(dict(sampled.decisions))
        outcome = Outcome("complete", score(found[-1]), {}, {}, Cost(1, 1, 1), 1, 0.0, "cpu")
        study.search.finish(trial, sampled.configuration, outcome)
    return found


@pytest.mark.parametrize(
    ("start", "told"),
    [
        ("{}", r"s\.yaml:9: search\.start: must be a list like"),
        ("[]", r"must be a list like"),
        ("[3]", r"search\.start\.0: must be decisions by their paths"),
        ("[{architecture.staged.dept: 3}]", r"search\.start\.0\.\S+dept: .*did you mean 'architecture\.staged\.depth'"),
        ("[{architecture.staged.widths: 3}]", "the space fixes it"),
        ("[{architecture.staged.depth: 9}]", r"search\.start\.0\.architecture\.staged\.depth: must be in .*got '9'"),
        ("[{architecture.staged.depth: {int: [1, 2]}}]", "as `nas check` prints it"),
        ("[{architecture.staged.block.bottleneck.expansion: 2}]", r"exists only with architecture\.staged\.block: bottleneck"),
        ("[{architecture.staged.block: basic, architecture.staged.block.bottleneck.expansion: 2}]", "exists only with"),
        (
            "[{architecture.staged.depth: 1}, {architecture.staged.depth: 2}], trials: 1",
            "has 2 configurations, and the search has 1 trials",
        ),
    ],
)
def test_a_start_outside_the_space_is_refused_with_its_place(start: str, told: str, registry: Registry) -> None:
    with pytest.raises(SpaceError, match=told):
        space_with(registry, f"start: {start}")


def test_a_start_makes_another_study_and_a_space_without_one_keeps_its_key(registry: Registry) -> None:
    bare, one, two = (space_with(registry, given) for given in ("trials: 3", f"start: [{{{DEPTH}: 3}}]", f"start: [{{{DEPTH}: 4}}]"))
    assert len({bare.key, one.key, two.key, space_with(registry, "start_from: other-12345678").key}) == 4
    assert not [key for key in bare.identity() if "start" in key]


def test_the_starts_are_the_first_trials_and_count_as_such(registry: Registry, tmp_path: Path) -> None:
    given = f"trials: 4, start: [{{{DEPTH}: 3, {NETWORK}.block: bottleneck, {EXPANSION}: 4}}, {{{SHORTCUT}: identity, {RATE}: 0.05}}]"
    study = Study.open(space_with(registry, given), url(tmp_path))
    found = run(study, 4, lambda _: 0.5)
    assert (found[0][DEPTH], found[0][EXPANSION]) == (3, 4)
    assert (found[1][SHORTCUT], found[1][RATE]) == ("identity", 0.05)
    assert study.search.ensure(study.search_slots(ahead=0)) == 0


def test_an_interrupted_start_is_tried_again(registry: Registry, tmp_path: Path) -> None:
    study = Study.open(space_with(registry, f"trials: 2, start: [{{{DEPTH}: 3, {SHORTCUT}: none}}]"), url(tmp_path))
    study.search.ensure(study.search_slots(ahead=0))
    trial = study.search.claim()
    assert trial is not None
    study.search.fail(trial, "interrupted")
    again = Study.open(study.space, url(tmp_path))
    found = run(again, 2, lambda _: 0.5)
    assert [d for d in found if (d[DEPTH], d[SHORTCUT]) == (3, "none")]
    assert again.search.count_told() == 2


def test_a_start_that_breaks_a_constraint_is_refused(registry: Registry, tmp_path: Path) -> None:
    whole = f"{{{DEPTH}: 5, {NETWORK}.block: basic, {SHORTCUT}: none, {RATE}: 0.1}}"
    space = space_with(registry, f"start: [{whole}]", f"{TEXT}constraints: [num_layers <= 6]\n")
    with pytest.raises(SpaceError, match=r"s\.yaml: search\.start\.0: breaks num_layers <= 6; take it out"):
        Study.open(space, url(tmp_path))


def test_an_earlier_study_gives_its_best_that_lie_in_the_space(registry: Registry, tmp_path: Path) -> None:
    earlier = Study.open(space_with(registry, "trials: 12, sampler: random"), url(tmp_path))
    tried = run(earlier, 12, lambda decided: float(str(decided[DEPTH])) + float(str(decided[RATE])))
    narrow = TEXT.replace("name: warm", "name: later").replace("{int: [1, 5]}", "{int: [1, 3]}").replace("[0.01, 0.2]", "[0.01, 0.1]")
    study = Study.open(space_with(registry, f"trials: 9, start_from: {earlier.title}", narrow), url(tmp_path))
    ranked = sorted(tried, key=lambda decided: -float(str(decided[DEPTH])) - float(str(decided[RATE])))
    # A learning rate that is not in the space is the sampler's.
    fitting = [{p: v for p, v in d.items() if p != RATE or float(str(v)) <= 0.1} for d in ranked if int(str(d[DEPTH])) <= 3]
    once = [d for i, d in enumerate(fitting) if d not in fitting[:i]]
    assert [dict(slot.fixed) for slot in study.search_slots(ahead=0) if slot.fixed] == once[:5]


def test_what_was_taken_from_an_earlier_study_stays_when_that_grows(registry: Registry, tmp_path: Path) -> None:
    earlier = Study.open(space_with(registry, "trials: 4"), url(tmp_path))
    run(earlier, 2, lambda _: 0.5)
    later = space_with(registry, f"trials: 6, start_from: {earlier.title}", TEXT.replace("name: warm", "name: later"))
    before = Study.open(later, url(tmp_path)).search_slots(ahead=0)
    run(earlier, 2, lambda _: 0.9)
    assert Study.open(later, url(tmp_path)).search_slots(ahead=0) == before
    assert sum(bool(slot.fixed) for slot in Study.open(later, url(tmp_path), new=True).search_slots(ahead=0)) >= 3


@pytest.mark.parametrize(
    ("text", "trials", "told"),
    [
        (TEXT, 0, "it has no finished trial"),
        (TEXT.replace("widths: [4]", "widths: [8]"), 2, r"its best trial, \d, does not fit: architecture\.staged\.widths"),
    ],
)
def test_an_earlier_study_of_which_nothing_fits_is_an_error(text: str, trials: int, told: str, registry: Registry, tmp_path: Path) -> None:
    earlier = Study.open(space_with(registry, "trials: 2"), url(tmp_path))
    run(earlier, trials, lambda _: 0.5)
    later = space_with(registry, f"start_from: {earlier.title}", text.replace("name: warm", "name: later"))
    with pytest.raises(UserError, match=f"search.start_from: nothing of {earlier.title} lies in this space: {told}"):
        Study.open(later, url(tmp_path))


def test_an_unknown_earlier_study_is_answered_with_the_nearest(registry: Registry, tmp_path: Path) -> None:
    earlier = Study.open(space_with(registry, "trials: 2"), url(tmp_path))
    with pytest.raises(UserError, match=f"did you mean '{earlier.title}'"):
        Study.open(space_with(registry, f"start_from: {earlier.title}x", TEXT.replace("name: warm", "name: later")), url(tmp_path))


def test_check_says_what_the_search_starts_from(registry: Registry) -> None:
    seen = preview(space_with(registry, f"trials: 4, start_from: other-12345678, start: [{{{DEPTH}: 3}}]"), samples=1)
    assert "The search trains 4; first the 1 configuration of `start`, then the best of other-12345678." in sentences(seen)


def test_a_start_is_trained_until_the_rest_meets_the_constraints_and_zero_cost_scores_are_logged(tmp_path: Path) -> None:
    text = TEXT.replace("lr: {float: [0.01, 0.2]}", "lr: 0.1").replace("{int: [1, 5]}", "{choices: [1, 2, 30]}")
    search = f"search: {{trials: 2, sampler: random, start: [{{{SHORTCUT}: identity, {NETWORK}.block: basic}}]}}\n"
    (tmp_path / "s.yaml").write_text(f"{text}{search}constraints: [num_layers <= 4]\n{PROBED}", encoding="utf-8")
    done = nas_here(tmp_path, "search", "s.yaml", "--json")
    assert done.returncode == 0, done.stderr
    title = json.loads(done.stdout)["study"]
    ledger = Ledger(Study.reopen(title, url(tmp_path / "mlflow")).storage, title)
    first = [t for t in ledger.study.trials if t.user_attrs["slot"] == "t0"]
    assert all(t.params[SHORTCUT] == "identity" and t.params[f"{NETWORK}.block"] == "basic" for t in first)
    assert ledger.count_told() == 2
    logged = [t.user_attrs["outcome"]["metrics"] for t in ledger.study.trials if "outcome" in t.user_attrs]
    assert all({"gradient_norm.score", "synflow.log_score", "naswot.rank"} <= set(metrics) for metrics in logged)
    assert {entry["number"] for entry in json.loads(done.stdout)["front"]["parameters"]} <= {t.number for t in ledger.study.trials}
