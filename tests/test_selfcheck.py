"""The estimator on data whose truth is known: cover, error rates, power, and why other ways are not taken."""

import math

import numpy as np
import pytest

from nas.measuring.estimates import estimate
from nas.measuring.rivals import mixed_model_rejects
from nas.measuring.simulate import DEPTHS, GAINS, Figure, bootstraps, draw, run_simulations
from nas.measuring.slopes import slope_weights
from nas.values.effects import Result


@pytest.fixture(scope="module")
def figures():
    return run_simulations(quick=True)


def named(figures, name):
    return {figure.setting: figure for figure in figures if figure.name == name}


def test_every_simulated_figure_lies_in_its_bounds(figures):
    assert [str(figure) for figure in figures if not figure.holds] == []


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [("theta covered", 0.94, 0.96), ("beta covered", 0.94, 0.96), ("all theta_d covered at once", 0.94, 0.97)],
)
def test_intervals_cover_in_both_noises_at_every_size(figures, name, low, high):
    found = named(figures, name)
    assert set(found) == {f"{noise} noise, {k} replicates" for noise in ("normal", "t3") for k in (6, 10, 20)}
    assert all(low <= figure.value <= high for figure in found.values())


@pytest.mark.parametrize("name", ["theta rejected", "beta rejected"])
def test_no_effect_is_rejected_at_the_nominal_rate(figures, name):
    found = named(figures, name)
    assert len(found) == 6
    assert all(0.044 <= figure.value <= 0.056 for figure in found.values())


def test_the_holm_family_errs_at_most_at_the_nominal_rate(figures):
    found = named(figures, "any of two arms rejected after Holm")
    assert len(found) == 6
    assert all(figure.value <= 0.05 for figure in found.values())


def test_the_monte_carlo_error_is_small_against_the_bounds(figures):
    assert all(figure.error < (figure.high - figure.low) / 8 for figure in figures)


def test_pooling_seeds_errs_several_times_too_often_and_replicate_means_do_not(figures):
    setting = "no effect, 4 replicates of 5 seeds"
    assert named(figures, "pooled t rejects")[setting].value == pytest.approx(0.278, abs=0.01)
    assert named(figures, "cluster bootstrap rejects")[setting].value == pytest.approx(0.197, abs=0.01)
    assert named(figures, "mixed model, Wald rejects")[setting].value == pytest.approx(0.134, abs=0.01)
    assert named(figures, "t of replicate means rejects")[setting].value == pytest.approx(0.05, abs=0.005)


def test_the_percentile_bootstrap_covers_too_seldom(figures):
    found = named(figures, "mean covered by percentile bootstrap")
    assert [found[f"{k} values"].value for k in (3, 5, 10)] == pytest.approx([0.756, 0.836, 0.896], abs=0.012)


def test_peeking_errs_three_times_too_often_and_planned_looks_do_not(figures):
    (peeking,) = named(figures, "no effect rejected at some peek").values()
    (planned,) = named(figures, "no effect rejected at some planned look").values()
    assert peeking.value == pytest.approx(0.168, abs=0.005)
    assert planned.value == pytest.approx(0.05, abs=0.003)


def test_t_alone_covers_too_seldom_where_trainings_diverge(figures):
    found = named(figures, "theta covered by t alone")
    values = [found[f"15% diverge in one arm, {k} replicates"].value for k in (5, 10, 20)]
    assert values == pytest.approx([0.56, 0.80, 0.94], abs=0.02)


def test_the_rule_for_failures_lowers_false_claims(figures):
    alone = named(figures, "effect claimed by t alone")
    ruled = named(figures, "effect claimed with the rule for failures")
    assert all(ruled[setting].value < alone[setting].value for setting in alone)


def test_the_simulated_truth_is_the_documented_one():
    assert np.mean(GAINS) == pytest.approx(0.0225)
    many = draw(np.random.default_rng(0), 20_000, num_replicates=2, noise="normal", gains=GAINS)
    assert many.mean() == pytest.approx(0.0225, abs=3e-4)


@pytest.mark.parametrize("noise", ["normal", "t3"])
def test_simulated_noise_has_the_documented_spread(noise):
    many = draw(np.random.default_rng(1), 200_000, num_replicates=1, noise=noise)[:, 0]
    x = np.log2(DEPTHS) - np.log2(DEPTHS).mean()
    expected = np.sqrt(0.01**2 + 0.005**2 * x**2 + 0.012**2)
    assert many.std(axis=0) == pytest.approx(expected, rel=0.03)


def test_estimate_gives_what_the_simulation_counts():
    rows = draw(np.random.default_rng(7), 5, num_replicates=10, noise="t3", gains=GAINS)
    for differences in rows:
        results = [
            Result(k, arm, (depth,), 0.8 + (value if arm == "identity" else 0.0), num_layers=depth)
            for k, row in enumerate(differences)
            for depth, value in zip(DEPTHS, row, strict=True)
            for arm in ("none", "identity")
        ]
        found = estimate(results, factor="shortcut", reference="none", by=["depth"], smallest_effect=0.01)
        slope = differences @ slope_weights([math.log2(depth) for depth in DEPTHS])
        assert found.overall[0].mean == pytest.approx(differences.mean())
        assert found.slopes[0].mean == pytest.approx(slope.mean())
        assert found.slopes[0].sd == pytest.approx(slope.std(ddof=1))


def test_simulated_measurements_through_estimate_cover_theta_and_seldom_claim_harm():
    covered, verdicts = 0, []
    for differences in draw(np.random.default_rng(11), 120, num_replicates=6, noise="normal", gains=GAINS):
        results = [
            Result(k, arm, (depth,), 0.8 + (value if arm == "identity" else 0.0))
            for k, row in enumerate(differences)
            for depth, value in zip(DEPTHS, row, strict=True)
            for arm in ("none", "identity")
        ]
        theta = estimate(results, factor="shortcut", reference="none", by=["depth"], smallest_effect=0.01).overall[0]
        covered += theta.interval.low <= 0.0225 <= theta.interval.high
        verdicts.append(theta.verdict)
    assert 105 <= covered <= 120  # 114 expected, sd 2.4
    assert not any(words.startswith("harms") for words in verdicts)
    assert verdicts.count("helps materially") > 60


def test_the_closed_form_of_the_mixed_model_is_what_a_fit_gives():
    import statsmodels.api as sm

    values = np.random.default_rng(2).normal(0.9, 0.5, (1, 6, 1)) + np.random.default_rng(3).normal(0, 1, (1, 6, 4))
    groups = np.repeat(np.arange(6), 4)
    fit = sm.MixedLM(values.ravel(), np.ones(24), groups).fit(reml=True)
    z = fit.params[0] / fit.bse[0]
    assert bool(mixed_model_rejects(values)[0]) == (abs(z) > 1.96)
    # The borderline: shifted so that z is just above and just below the limit, the closed form must follow.
    edge = 1.959964 * fit.bse[0] - values.mean()
    assert mixed_model_rejects(values + edge * 1.0001 + 1e-4)[0]
    assert not mixed_model_rejects(values + edge - 1e-3)[0]


def test_a_figure_out_of_its_bounds_is_told():
    figure = Figure("theta covered", "6 replicates", 0.93, 0.001, 0.94, 0.96)
    assert not figure.holds
    assert "OUT OF BOUNDS" in str(figure)


def test_equal_seeds_give_equal_figures():
    one, other = (list(bootstraps(3_000, np.random.default_rng(5))) for _ in range(2))
    assert one == other
