"""`nas selfcheck`: what it prints and answers, and the trap of adaptive sampling that it replays."""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import clean_environment

from nas.cli import selfcheck
from nas.measuring import simulate
from nas.measuring.simulate import Figure
from nas.study import trap
from nas.study.trap import EFFECT, Reading, accuracy, difference_of_means, linear_model, replay, search

FIGURE = Figure("theta covered", "normal noise, 6 replicates", 0.95, 0.001, 0.94, 0.96)
READING = Reading("TPE: linear model", 40, 0.02, 0.001, 0.05, 0.04, 0.0, 0.5)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    """The quick form, through the installed command."""
    return subprocess.run(
        [sys.executable, "-m", "nas", "selfcheck"], cwd=tmp_path_factory.mktemp("check"), env=clean_environment(),
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def readings() -> dict[str, Reading]:
    return {reading.name: reading for reading in replay(10)}


def answer(monkeypatch: pytest.MonkeyPatch, figures: Sequence[Figure], readings: Sequence[Reading], *arguments: str) -> Any:
    """Run the command on made-up figures."""
    monkeypatch.setattr(simulate, "run_simulations", lambda *, quick: tuple(figures))
    monkeypatch.setattr(trap, "replay", lambda num_searches: tuple(readings))
    return CliRunner().invoke(selfcheck.command, arguments, catch_exceptions=False)


# --- the command ------------------------------------------------------------------------------------------------------


def test_the_quick_form_finds_every_figure_in_its_bounds(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 0, done.stdout + done.stderr
    assert " figures lie in their bounds" in done.stdout
    assert " OUT" not in done.stdout


def test_every_line_fits_eighty_columns(done: subprocess.CompletedProcess[str]) -> None:
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_cover_false_positives_power_and_the_trap_have_a_group_each(done: subprocess.CompletedProcess[str]) -> None:
    titles = [line for line in done.stdout.splitlines() if line and not line.startswith(" ")]
    assert [title.split(":")[0] for title in titles[:5]] == [*(name.split(":")[0] for name in selfcheck.GROUPS), "Adaptive sampling"]


def test_every_simulated_figure_belongs_to_a_group() -> None:
    found = {f.name for part in (simulate.covers, simulate.nulls, simulate.powers, simulate.failures, simulate.peeking, simulate.pooled,
             simulate.bootstraps) for f in part(50, np.random.default_rng(0))}  # fmt: skip
    assert found == {name for names in selfcheck.GROUPS.values() for name in names}


def test_a_simulated_figure_out_of_its_bounds_is_marked_and_ends_with_exit_code_1(monkeypatch: pytest.MonkeyPatch) -> None:
    told = answer(monkeypatch, [FIGURE, replace(FIGURE, setting="wrong", value=0.93)], [READING])
    assert told.exit_code == 1
    assert [line for line in told.stdout.splitlines() if line.endswith(" OUT")] == [
        f"  {'wrong':<51}.9300 ± .0010   .94-.96 OUT",
    ]
    assert "1 of 3 figures out of bounds" in told.stdout


def test_a_reading_out_of_its_bounds_ends_with_exit_code_1_too(monkeypatch: pytest.MonkeyPatch) -> None:
    told = answer(monkeypatch, [FIGURE], [replace(READING, cover=0.6)])
    assert told.exit_code == 1
    assert "1 of 2 figures out of bounds" in told.stdout


def test_figures_in_their_bounds_end_with_exit_code_0(monkeypatch: pytest.MonkeyPatch) -> None:
    assert answer(monkeypatch, [FIGURE], [READING]).exit_code == 0


def test_a_figure_of_no_group_is_shown_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "something new" in answer(monkeypatch, [replace(FIGURE, name="something new")], []).stdout


def test_json_is_one_document_with_every_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    told = answer(monkeypatch, [FIGURE], [replace(READING, cover=0.6)], "--json")
    document = json.loads(told.stdout)
    assert told.exit_code == 1
    assert document["holds"] is False
    assert document["simulations"][0]["value"] == 0.95
    assert document["adaptive_sampling"]["true_effect"] == pytest.approx(EFFECT)
    assert document["adaptive_sampling"]["readings"][0]["holds"] is False


def test_full_asks_for_more_of_both(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(simulate, "run_simulations", lambda *, quick: asked.append(quick) or (FIGURE,))
    monkeypatch.setattr(trap, "replay", lambda num_searches: asked.append(num_searches) or (READING,))
    CliRunner().invoke(selfcheck.command, ["--full"], catch_exceptions=False)
    assert asked == [False, trap.FULL]


# --- the trap ---------------------------------------------------------------------------------------------------------


def test_the_known_effect_is_the_surfaces_own() -> None:
    rng = np.random.default_rng(0)
    others = np.stack([rng.uniform(-2, 0, 4000), rng.integers(3, size=4000), rng.uniform(3, 5, 4000)], axis=-1)
    depth = np.log2(np.repeat(trap.LAYERS, 1000))
    with_it, without = (accuracy(np.column_stack([np.full(4000, s), depth, others])) for s in (1.0, 0.0))
    assert (with_it - without).mean() == pytest.approx(EFFECT)
    assert round(100 * EFFECT, 1) == 2.8


def test_tpe_misleads_both_readings_and_random_search_does_not(readings: dict[str, Reading]) -> None:
    for estimator in ("difference of means", "linear model"):
        misled, fair = readings[f"TPE: {estimator}"], readings[f"random: {estimator}"]
        assert misled.bias > 0.01
        assert misled.bias > 5 * misled.bias_error
        assert misled.cover < 0.5
        assert abs(fair.bias) < 4 * fair.bias_error
        assert fair.cover >= 0.8


def test_twins_are_unbiased_and_cover_as_they_say(readings: dict[str, Reading]) -> None:
    twins = readings["twins, 60 pairs"]
    assert abs(twins.bias) < 4 * twins.bias_error
    assert twins.cover == pytest.approx(0.95, abs=0.01)


def test_a_cover_of_zero_still_has_a_monte_carlo_error(readings: dict[str, Reading]) -> None:
    assert readings["TPE: difference of means"].cover_error > 0


def test_equal_seeds_replay_equal_searches() -> None:
    one, other, third = (search("tpe", seed=seed) for seed in (3, 3, 4))
    assert np.array_equal(one[0], other[0])
    assert np.array_equal(one[1], other[1])
    assert not np.array_equal(one[0], third[0])


def test_both_readings_find_an_effect_that_holds_everywhere() -> None:
    rng = np.random.default_rng(1)
    trials = np.column_stack(
        [rng.integers(2, size=500), rng.uniform(3, 6, 500), rng.uniform(-2, 0, 500), rng.integers(3, size=500), rng.uniform(3, 5, 500)]
    ).astype(float)
    scores = 0.8 + 0.03 * trials[:, 0] + 0.01 * trials[:, 1] + rng.normal(0, 0.001, 500)
    for read in (difference_of_means, linear_model):
        estimate, low, high = read(trials, scores)
        assert low < 0.03 < high
        assert low < estimate < high
    assert linear_model(trials, scores)[0] == pytest.approx(0.03, abs=3e-4)
