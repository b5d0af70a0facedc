"""The words of a verdict: one table, first match wins; corrections, failures, looks, and the sentence."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from nas.measuring.estimates import estimate
from nas.measuring.verdicts import Evidence, slope_verdict, verdict
from nas.values.effects import Result

SHOWN = Evidence(
    mean=0.03,
    sd=0.01,
    n=10,
    alpha=0.05,
    family_alpha=0.05,
    p_holm=1e-4,
    smallest_effect=0.01,
    better=10,
    worse=0,
    any_failed=False,
)


def spread(mean, sd, n):
    """Return n values with exactly this mean and sample standard deviation."""
    raw = np.linspace(-1, 1, n)
    return (mean + sd * raw / raw.std(ddof=1)).tolist()


def effects(values, *, failed=(), level="identity", reference="none", factor="architecture.staged.shortcut", **how):
    """Return the effects of one arm that differs from the reference by `values`; its replicates in `failed` failed."""
    pairs = [(Result(k, reference, (), 0.5), Result(k, level, (), 0.5 + v, k in failed)) for k, v in enumerate(values)]
    how = {"smallest_effect": 0.01} | how
    return estimate([r for pair in pairs for r in pair], factor=factor, reference=reference, **how)


def theta(values, **how):
    return effects(values, **how).overall[0]


# --- the table --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mean", "sd", "words"),
    [
        (0.030, 0.010, "helps materially"),
        (-0.030, 0.010, "harms materially"),
        (0.001, 0.005, "practically equivalent"),
        (0.005, 0.005, "practically equivalent, not zero"),
        (-0.005, 0.005, "practically equivalent, not zero"),
        (0.012, 0.010, "helps, size unclear"),
        (-0.012, 0.010, "harms, size unclear"),
        (0.004, 0.020, "undetermined"),
    ],
)
def test_each_row_of_the_table_gives_its_word(mean, sd, words):
    assert theta(spread(mean, sd, 10)).verdict == words
    side = SHOWN if mean > 0 else replace(SHOWN, better=0, worse=10)
    assert verdict(replace(side, mean=mean, sd=sd)) == words


def test_equivalence_takes_the_interval_at_twice_the_error_rate():
    half_95, half_90 = (stats.t.ppf(q, 9) * 0.01 / math.sqrt(10) for q in (0.975, 0.95))
    between = replace(SHOWN, mean=0.0, sd=0.01, smallest_effect=(half_95 + half_90) / 2)
    assert verdict(between) == "practically equivalent"
    assert verdict(replace(between, smallest_effect=half_90 * 0.999)) == "undetermined"


def test_limits_that_touch_the_smallest_effect_do_not_pass_it():
    low, _ = SHOWN.interval()
    assert verdict(replace(SHOWN, smallest_effect=low)) == "helps, size unclear"
    assert verdict(replace(SHOWN, smallest_effect=low * (1 - 1e-9))) == "helps materially"


@pytest.mark.parametrize("mean", [0.03, -0.03, 0.012, -0.012])
def test_where_only_holm_is_missing_the_word_says_so(mean):
    missed = replace(SHOWN, mean=mean, p_holm=0.05)
    assert verdict(missed) == "undetermined after correction"
    assert verdict(replace(missed, p_holm=0.0499)) != "undetermined after correction"


def test_equivalence_needs_no_correction():
    assert verdict(replace(SHOWN, mean=0.001, sd=0.005, p_holm=1.0)) == "practically equivalent"


def test_holm_over_many_depths_takes_a_verdict_back():
    values = spread(0.012, 0.0145, 10)  # p of about .03 alone
    results = []
    for depth in range(1, 5):
        for k, value in enumerate(values if depth == 1 else spread(0.0001, 0.05, 10)):
            results += [Result(k, "none", (depth,), 0.5), Result(k, "identity", (depth,), 0.5 + value)]
    found = estimate(results, factor="shortcut", reference="none", by=["depth"], smallest_effect=0.01)
    alone = theta(values)
    assert alone.verdict == "helps, size unclear"
    assert found.effect("identity", (1,)).p == pytest.approx(alone.p)
    assert found.effect("identity", (1,)).p_holm == pytest.approx(4 * alone.p)
    assert found.effect("identity", (1,)).verdict == "undetermined"  # the simultaneous interval holds zero as well


def test_the_primary_family_can_take_theta_back_while_its_interval_excludes_zero():
    rng = np.random.default_rng(0)
    results = []
    for k, value in enumerate(spread(0.012, 0.0155, 10)):
        tilt = rng.normal(0, 0.05)
        for depth, lever in ((1, -1), (2, 1)):
            results += [Result(k, "none", (depth,), 0.5), Result(k, "identity", (depth,), 0.5 + value + lever * tilt)]
    found = estimate(results, factor="shortcut", reference="none", by=["depth"], smallest_effect=0.01)
    assert found.overall[0].interval.low > 0
    assert 0.05 < found.overall[0].p_holm < 0.1
    assert found.overall[0].verdict == "undetermined after correction"
    assert "whether adding the identity shortcut helps is undetermined after correction" in found.sentence


@pytest.mark.parametrize(
    ("mean", "p_holm", "words"),
    [(0.03, 0.01, "grows"), (-0.03, 0.01, "shrinks"), (0.03, 0.06, "no change shown"), (0.001, 0.01, "no change shown")],
)
def test_a_slope_has_words_of_its_own(mean, p_holm, words):
    assert slope_verdict(replace(SHOWN, mean=mean, p_holm=p_holm)) == words


def test_five_replicates_are_too_few_and_six_are_enough():
    assert theta(spread(0.03, 0.005, 5)).verdict == "no verdict"
    assert theta(spread(0.03, 0.005, 5)).reason == "5 replicates; a verdict needs 6"
    assert theta(spread(0.03, 0.005, 6)).verdict == "helps materially"


# --- what would decide ------------------------------------------------------------------------------------------------


def test_undetermined_names_the_smallest_number_of_replicates_that_would_decide():
    found = theta(spread(0.006, 0.02, 10))
    needed = found.replicates_to_decide
    assert found.verdict == "undetermined"
    assert found.reason == f"{needed} replicates would decide it at today's mean and spread"
    assert theta(spread(0.006, 0.02, needed)).verdict != "undetermined"
    assert theta(spread(0.006, 0.02, needed - 1)).verdict == "undetermined"


def test_undetermined_says_where_no_number_up_to_200_would_decide():
    # The mean sits at the smallest effect, so neither equivalence nor materiality comes near, and noise hides the sign.
    found = theta(spread(0.01, 0.2, 10))
    assert found.replicates_to_decide is None
    assert found.reason == "no number of replicates up to 200 would decide it at today's mean and spread"


def test_what_would_decide_reckons_with_the_correction():
    def two_depths(n):
        results = []
        for k, value in enumerate(spread(0.012, 0.0155, n)):
            tilt = 0.05 * (-1) ** k
            for depth, lever in ((1, -1), (2, 1)):
                results += [Result(k, "none", (depth,), 0.5), Result(k, "identity", (depth,), 0.5 + value + lever * tilt)]
        return estimate(results, factor="shortcut", reference="none", by=["depth"], smallest_effect=0.01).overall[0]

    found = two_depths(10)
    assert found.verdict == "undetermined after correction"
    assert two_depths(found.replicates_to_decide).verdict == "helps, size unclear"


def test_what_would_decide_belongs_to_its_own_arm():
    def arms(n):
        results = []
        for k, (weak, none) in enumerate(zip(spread(0.0115, 0.0155, n), spread(0.0, 0.06, n), strict=True)):
            results += [Result(k, "none", (), 0.5), Result(k, "a", (), 0.5 + none), Result(k, "b", (), 0.5 + weak)]
        return estimate(results, factor="shortcut", reference="none", smallest_effect=0.01).overall[1]

    needed = arms(10).replicates_to_decide
    assert arms(10).verdict == "undetermined after correction"
    assert arms(needed).verdict == "helps, size unclear"
    assert arms(needed - 1).verdict == "undetermined after correction"


# --- failures ---------------------------------------------------------------------------------------------------------


def test_after_a_failure_the_sign_must_stand_by_count_as_well():
    values = [0.35, 0.3, 0.4, 0.3, 0.35, 0.4, -0.02, -0.01]
    assert theta(values).verdict == "helps materially"
    found = theta(values, failed={6})
    assert found.verdict == "undetermined"
    assert found.reason.startswith("trainings failed, and 6 replicates against 2 do not show the sign on their own;")


def test_after_a_failure_a_clear_count_keeps_the_verdict():
    values = [0.35, 0.3, 0.4, 0.3, 0.35, 0.4, 0.3, 0.4, 0.2, -0.01]  # 9 of 10: lower limit .555
    assert theta(values, failed={9}).verdict == "helps materially"
    assert theta([-v for v in values], failed={3}).verdict == "harms materially"


def test_ties_are_left_out_of_the_count_of_sides():
    assert verdict(replace(SHOWN, any_failed=True, better=6, worse=0)) == "helps materially"  # .541
    assert verdict(replace(SHOWN, any_failed=True, better=5, worse=0)) == "undetermined"  # .478
    assert verdict(replace(SHOWN, any_failed=True, better=0, worse=0)) == "undetermined"
    tied = [0.35, 0.4, 0.45, 0.4, 0.38, 0.0, 0.0, 0.0]
    assert theta(tied).verdict == "helps materially"
    assert theta(tied, failed={5}).verdict == "undetermined"


def test_failures_do_not_stand_in_the_way_of_equivalence():
    assert verdict(replace(SHOWN, mean=0.0, sd=0.003, any_failed=True, better=5, worse=5)) == "practically equivalent"


def test_a_failed_plain_network_is_the_finding():
    values = [0.6, 0.62, 0.58, 0.61, 0.6, 0.63, 0.59, 0.6]
    pairs = [(Result(k, "none", (), 0.1, failed=True), Result(k, "identity", (), 0.1 + v)) for k, v in enumerate(values)]
    found = estimate([r for p in pairs for r in p], factor="shortcut", reference="none", smallest_effect=0.01)
    assert found.overall[0].verdict == "helps materially"
    assert found.cell("identity", ()).failure_difference == -1.0
    assert found.cell("identity", ()).mean_where_both_trained is None


# --- planned looks ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "alpha"), [(10, 0.0052), (20, 0.0471)])
def test_a_planned_look_uses_its_own_error_rate_for_interval_and_verdict(n, alpha):
    found = theta(spread(0.03, 0.01, n), planned_looks=True)
    half = stats.t.ppf(1 - alpha / 2, n - 1) * 0.01 / math.sqrt(n)
    assert found.interval.confidence == pytest.approx(1 - alpha)
    assert found.interval.low == pytest.approx(0.03 - half)
    assert found.verdict == "helps materially"


def test_the_first_look_asks_for_more_than_a_single_measurement_does():
    values = spread(0.012, 0.012, 10)  # p of about .011
    assert theta(values).verdict == "helps, size unclear"
    looked = theta(values, planned_looks=True)
    assert looked.verdict == "undetermined"
    assert looked.replicates_to_decide == 20
    assert looked.reason == "the look at 20 replicates would decide it at today's mean and spread"


@pytest.mark.parametrize("n", [7, 11, 19, 21])
def test_between_planned_looks_there_is_no_verdict(n):
    found = theta(spread(0.03, 0.01, n), planned_looks=True)
    assert found.verdict == "no verdict"
    assert found.reason.endswith("planned looks only, at 10 and 20 complete replicates")


def test_after_the_last_look_nothing_more_is_promised():
    found = theta(spread(0.004, 0.03, 20), planned_looks=True)
    assert found.replicates_to_decide is None
    assert found.reason == "no planned look still ahead would decide it at today's mean and spread"


# --- the sentence -----------------------------------------------------------------------------------------------------


def test_the_sentence_names_scope_figures_and_estimand():
    assert effects(spread(0.0225, 0.005, 10), scope="digits").sentence == (
        "On digits, adding the identity shortcut helps materially: +2.25 points (95% interval +1.89 to +2.61, 10 replicates); "
        "the figure is the mean paired difference at an equal, fixed training budget."
    )


def test_the_sentence_says_removing_where_the_arm_is_nothing():
    told = effects(spread(-0.03, 0.005, 10), level="none", reference="identity").sentence
    assert told.startswith("In this measurement, removing the identity shortcut harms materially: \N{MINUS SIGN}3.00 points")


def test_the_sentence_says_choosing_between_two_things():
    told = effects(spread(0.03, 0.005, 10), level=32, reference=16, factor="architecture.width").sentence
    assert "choosing width 32 instead of 16 helps materially" in told


def test_the_sentence_tells_the_slope_and_the_depths_it_averages_over():
    results = []
    for k, value in enumerate(spread(0.0, 0.004, 8)):
        for depth, layers, gain in ((1, 8, 0.01), (3, 20, 0.03), (9, 56, 0.06)):
            results += [Result(k, "none", (depth,), 0.5, num_layers=layers)]
            results += [Result(k, "identity", (depth,), 0.5 + gain + value * depth, num_layers=layers)]
    found = estimate(results, factor="a.shortcut", reference="none", by=["a.depth"], smallest_effect=0.01, scope="digits")
    slope = 100 * np.polyfit(np.log2([8, 20, 56]), [0.01, 0.03, 0.06], 1)[0]
    assert f", growing by {slope:.2f} points with each doubling of layers; " in found.sentence
    assert found.sentence.endswith("averaged evenly over 8, 20 and 56 layers.")


def test_the_sentence_of_an_undetermined_effect_says_what_would_decide():
    found = effects(spread(0.006, 0.02, 10), scope="digits")
    assert found.sentence.startswith("On digits, whether adding the identity shortcut helps is undetermined: +0.60 points")
    assert f"; {found.overall[0].replicates_to_decide} replicates would decide it" in found.sentence


def test_the_sentence_of_too_few_replicates_gives_the_reason():
    told = effects(spread(0.03, 0.005, 3), scope="digits").sentence
    assert told.startswith("On digits, there is no verdict on adding the identity shortcut (3 replicates; a verdict needs 6):")


def test_the_sentence_of_equivalence_names_the_bound():
    told = effects(spread(0.005, 0.005, 10)).sentence
    assert "is practically equivalent to not doing so, within 1.00 points either way, and not zero: +0.50 points" in told


def test_a_metric_that_is_no_share_keeps_its_own_unit():
    told = effects(spread(0.25, 0.05, 10), unit="nats", smallest_effect=0.1).sentence
    assert "helps materially: +0.25 nats (95% interval +0.214 to +0.286" in told
