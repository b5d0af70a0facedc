"""Known answers of the estimator: textbook data, missing and failed trainings, and the CSV that gives the same again."""

import itertools
import json
import math
import random
from dataclasses import replace

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from nas.errors import UserError
from nas.measuring.capacity import matched_width
from nas.measuring.estimates import estimate
from nas.measuring.power import detectable, power_of, replicates_needed
from nas.measuring.statistics import (
    clopper_pearson,
    clopper_pearson_low,
    holm,
    mcnemar_p,
    newcombe_paired,
    sign_flip_p,
    t_interval,
    wilson,
)
from nas.measuring.table import parse_scalar, read_results, write_results, write_scalar
from nas.plugin import above_chance
from nas.values.effects import Result

SLEEP_1 = (0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0)
SLEEP_2 = (1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4)
MAIZE = (49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48)
DEPTH = "architecture.staged.depth"
LAYERS = {1: 8, 3: 20, 5: 32, 9: 56}


def twins(differences, *, reference=0.9, level="identity", by=()):
    """Return results whose arm differs from the reference by the given amounts, one a replicate."""
    pairs = [(Result(k, "none", by, reference), Result(k, level, by, reference + d)) for k, d in enumerate(differences)]
    return [result for pair in pairs for result in pair]


def by_depth(differences, *, level="identity", reference=0.8, seed=0):
    """Return results for `differences[k][d]` at depths 1, 3, 5, 9 over a reference that varies by replicate and depth."""
    rng = random.Random(seed)
    results = []
    for k, row in enumerate(differences):
        for depth, difference in zip(LAYERS, row, strict=False):
            base = reference + rng.gauss(0, 0.01)
            for arm, value in (("none", base), (level, base + difference)):
                layers = LAYERS[depth]
                results.append(Result(k, arm, (depth,), value, num_layers=layers, parameters=1000 * layers, macs=10**6 * layers))
    return results


def noisy(num_replicates, gains=(0.0, 0.01, 0.02, 0.06), sd=0.012, seed=1):
    rng = np.random.default_rng(seed)
    return rng.normal(np.array(gains), sd, (num_replicates, len(gains))).tolist()


def shortcut(results, **how):
    options = {"factor": "architecture.staged.shortcut", "reference": "none", "smallest_effect": 0.01} | how
    return estimate(results, **options)


# --- textbook answers -------------------------------------------------------------------------------------------------


def test_student_sleep_data_give_the_known_t_p_and_interval():
    results = [Result(k, drug, (), hours) for drug, row in (("2", SLEEP_2), ("1", SLEEP_1)) for k, hours in enumerate(row)]
    (found,) = estimate(results, factor="drug", reference="2", smallest_effect=0.5).overall
    t = found.mean / (found.sd / math.sqrt(found.n))
    assert t == pytest.approx(-4.0621, abs=5e-5)
    assert found.p == pytest.approx(0.002833, abs=5e-7)
    assert (found.interval.low, found.interval.high) == (pytest.approx(-2.4599, abs=5e-5), pytest.approx(-0.7001, abs=5e-5))
    assert found.verdict == "harms materially"


def test_darwin_maize_gives_the_known_t_and_sign_flip():
    (found,) = estimate(twins(MAIZE, reference=0.0), factor="cross", reference="none", smallest_effect=1).overall
    assert found.mean / (found.sd / math.sqrt(15)) == pytest.approx(2.148, abs=5e-4)
    assert found.p == pytest.approx(0.0497, abs=5e-5)
    assert found.p_sign_flip == pytest.approx(0.05267, abs=5e-6)
    assert sign_flip_p(MAIZE, alternative="greater") == 863 / 32768


def test_maize_notes_that_t_and_sign_flip_disagree():
    found = estimate(twins(MAIZE, reference=0.0), factor="cross", reference="none", smallest_effect=1)
    assert any("p = 0.050" in note and "p = 0.053" in note for note in found.notes)


def test_holm_gives_the_known_adjusted_p_values():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_holm_agrees_with_statsmodels_row_by_row():
    rows = np.random.default_rng(3).random((5, 6)) ** 3
    rows[0] = [0.02, 0.02, 0.5, 0.5, 1.0, 1.0]
    assert np.allclose(holm(rows), [multipletests(row, method="holm")[1] for row in rows])


def test_he_table_2_gives_both_effects_and_the_interaction_and_refuses_an_interval():
    errors = {("plain", 18): 0.2794, ("plain", 34): 0.2854, ("residual", 18): 0.2788, ("residual", 34): 0.2503}
    results = [Result(0, arm, (layers,), error, num_layers=layers) for (arm, layers), error in errors.items()]
    found = estimate(results, factor="net", reference="plain", by=["layers"], smallest_effect=0.01, maximize=False)
    shallow, deep = found.effect("residual", (18,)), found.effect("residual", (34,))
    assert shallow.mean == pytest.approx(0.0006)
    assert deep.mean == pytest.approx(0.0351)
    assert deep.mean - shallow.mean == pytest.approx(0.0345)
    for refused in (shallow, deep, *found.overall, *found.slopes):
        assert refused.interval is None
        assert refused.p is None
        assert refused.verdict == "no verdict"
        assert refused.reason.startswith("1 replicate: no spread, so no interval")


def test_mcnemar_of_1_against_8_is_known():
    assert mcnemar_p(1, 8) == pytest.approx(0.0391, abs=5e-5)
    assert mcnemar_p(0, 0) == 1.0


def test_wilson_of_14_in_20_is_known():
    found = wilson(14, 20)
    assert (found.low, found.high) == (pytest.approx(0.481, abs=5e-4), pytest.approx(0.855, abs=5e-4))


def test_newcombe_of_the_airway_data_is_known():
    # Bentur et al. 2009 as worked in Fagerland, Lydersen and Laake (2014): -0.507 to -0.026.
    found = newcombe_paired(both=1, only_first=1, only_second=7, neither=12)
    assert (found.low, found.high) == (pytest.approx(-0.507, abs=5e-4), pytest.approx(-0.026, abs=5e-4))


def test_newcombe_turns_round_with_its_arms():
    one = newcombe_paired(both=14, only_first=5, only_second=0, neither=22)
    other = newcombe_paired(both=14, only_first=0, only_second=5, neither=22)
    assert (one.low, one.high) == (pytest.approx(-other.high), pytest.approx(-other.low))


def test_fractional_clopper_pearson_is_the_exact_limit_at_whole_counts():
    for wins in range(11):
        assert clopper_pearson_low(wins, 10) == pytest.approx(clopper_pearson(wins, 10).low)


def test_sign_flip_draws_above_15_and_is_never_zero():
    clear = [1 + 0.01 * k for k in range(24)]
    assert sign_flip_p(clear) == pytest.approx(1 / 20_001)
    exact = [1 + 0.01 * k for k in range(15)]
    assert sign_flip_p(exact) == 2 / 2**15


def test_sign_flip_draws_come_close_to_the_exact_walk():
    values = [*MAIZE, 20.0]
    signs = np.array(list(itertools.product((1, -1), repeat=16)))
    exact = np.mean(np.abs(signs @ np.array(values)) >= abs(sum(values)) - 1e-9)
    assert sign_flip_p(values) == pytest.approx(exact, abs=0.006)


def test_t_interval_is_the_one_behind_an_estimate():
    values = [0.01, 0.02, 0.04, 0.01, 0.03, 0.02]
    (found,) = shortcut(twins(values)).overall
    by_hand = t_interval(values)
    assert (found.interval.low, found.interval.high) == (pytest.approx(by_hand.low), pytest.approx(by_hand.high))


# --- power ------------------------------------------------------------------------------------------------------------


def test_replicates_needed_for_power_are_known():
    assert [replicates_needed(ratio) for ratio in (0.5, 0.75, 1, 1.5, 2)] == [34, 16, 10, 6, 5]


def test_detectable_effects_are_known():
    assert [round(detectable(k), 2) for k in (3, 5, 10, 20)] == [3.26, 1.68, 1.0, 0.66]


def test_power_of_no_effect_is_the_error_rate():
    assert power_of(0.0, 12) == pytest.approx(0.05)


def test_power_refuses_one_replicate_and_no_effect():
    with pytest.raises(UserError, match="2 or more replicates, got 1"):
        detectable(1)
    with pytest.raises(UserError, match="not zero, got 0"):
        replicates_needed(0)


# --- theta, theta_d, beta ---------------------------------------------------------------------------------------------


def test_theta_is_the_mean_over_depths_and_beta_the_slope_per_doubling():
    found = shortcut(by_depth(noisy(8)), by=[DEPTH])
    means = [found.effect("identity", (depth,)).mean for depth in LAYERS]
    x = np.log2(list(LAYERS.values()))
    assert found.overall[0].mean == pytest.approx(np.mean(means))
    assert found.slopes[0].mean == pytest.approx(np.polyfit(x, means, 1)[0])
    assert found.slope_axis == "num_layers"
    assert found.num_layers == (8, 20, 32, 56)


def test_beta_is_a_t_of_slopes_within_replicates():
    results = by_depth(noisy(8))
    found = shortcut(results, by=[DEPTH]).slopes[0]
    value = {(r.replicate, r.level, r.by[0]): r.value for r in results}
    slopes = [
        np.polyfit(np.log2(list(LAYERS.values())), [value[k, "identity", d] - value[k, "none", d] for d in LAYERS], 1)[0] for k in range(8)
    ]
    by_hand = t_interval(slopes)
    assert (found.interval.low, found.interval.high) == (pytest.approx(by_hand.low), pytest.approx(by_hand.high))


def test_beta_reads_the_decision_where_num_layers_varies_or_does_not_tell_apart():
    results = by_depth(noisy(7))
    varying = [replace(r, num_layers=r.num_layers + (r.replicate == 3)) for r in results]
    equal = [replace(r, num_layers=20) for r in results]
    for changed in (varying, equal, [replace(r, num_layers=None) for r in results]):
        found = shortcut(changed, by=[DEPTH])
        means = [found.effect("identity", (depth,)).mean for depth in LAYERS]
        assert found.slope_axis == DEPTH
        assert found.slopes[0].mean == pytest.approx(np.polyfit(np.log2(list(LAYERS)), means, 1)[0])


@pytest.mark.parametrize(
    ("by", "cells", "why"),
    [
        ((), [()], None),
        (("depth",), [(3,)], "two values"),
        (("block",), [("basic",), ("bottleneck",)], "has names"),
        (("depth", "width"), [(1, 8), (3, 8)], "one `by` decision"),
        (("dropout",), [(0.0,), (0.5,)], "above zero"),
    ],
)
def test_beta_needs_a_single_numeric_by_of_several_values(by, cells, why):
    found = shortcut([r for cell in cells for r in twins((0.1, 0.2, 0.3), by=cell)], by=by)
    assert found.slopes == ()
    assert found.slope_axis == ""
    assert len(found.overall) == 1
    assert (why is None and found.notes == ()) or any(why in note for note in found.notes)


def test_declared_weights_move_theta():
    results = by_depth([(0.0, 0.02, 0.04, 0.08), (0.0, 0.02, 0.04, 0.10)])
    weights = {(1,): 3.0, (3,): 1.0, (5,): 0.0, (9,): 0.0}
    assert shortcut(results, by=[DEPTH], weights=weights).overall[0].mean == pytest.approx(0.005)


def test_weights_that_miss_a_cell_are_refused():
    with pytest.raises(UserError, match="one for each cell"):
        shortcut(by_depth(noisy(2)), by=[DEPTH], weights={(1,): 1.0})


def test_a_loss_is_turned_round_but_its_cells_are_not():
    differences = [-0.02, -0.03, -0.025, -0.02, -0.04, -0.03]
    found = shortcut(twins(differences), maximize=False)
    assert found.overall[0].mean == pytest.approx(0.0275)
    assert found.overall[0].verdict == "helps materially"
    assert found.cell("identity", ()).mean == pytest.approx(0.8725)
    assert found.cell("identity", ()).wins == 1.0


def test_intervals_by_depth_hold_at_once():
    found = shortcut(by_depth(noisy(8)), by=[DEPTH])
    assert [effect.interval.confidence for effect in found.at_each] == [pytest.approx(1 - 0.05 / 4)] * 4
    assert found.overall[0].interval.confidence == pytest.approx(0.95)


def test_holm_families_are_theta_with_beta_and_all_depths():
    rows = noisy(8)
    results = by_depth(rows) + [r for r in by_depth(noisy(8, seed=5), level="projection") if r.level != "none"]
    found = shortcut(results, by=[DEPTH])
    primary = (*found.overall, *found.slopes)
    assert [e.p_holm for e in primary] == pytest.approx(list(multipletests([e.p for e in primary], method="holm")[1]))
    secondary = found.at_each
    assert len(secondary) == 8
    assert secondary[0].interval.confidence == pytest.approx(1 - 0.05 / 8)
    assert [e.p_holm for e in secondary] == pytest.approx(list(multipletests([e.p for e in secondary], method="holm")[1]))


def test_several_seeds_of_a_replicate_are_averaged_first():
    rng = random.Random(4)
    seeds = {(k, arm): [rng.gauss(0.9, 0.02) for _ in range(3)] for k in range(8) for arm in ("none", "identity")}
    many = [Result(k, arm, (), value) for (k, arm), values in seeds.items() for value in values]
    averaged = [Result(k, arm, (), math.fsum(values) / 3) for (k, arm), values in seeds.items()]
    found = shortcut(many)
    assert found.overall == shortcut(averaged).overall
    assert found.overall[0].n == 8
    assert any("3 trainings of one replicate" in note for note in found.notes)


def test_the_order_of_results_changes_nothing():
    results = by_depth(noisy(17)) + [r for r in by_depth(noisy(17, seed=9), level="projection") if r.level != "none"]
    results += [replace(results[5], value=0.5, failed=True), replace(results[40], replicate="extra", value=None)]
    told = shortcut(results, by=[DEPTH])
    for seed in range(3):
        shuffled = random.Random(seed).sample(results, len(results))
        assert shortcut(shuffled, by=[DEPTH]) == told


# --- missing, failed, degenerate --------------------------------------------------------------------------------------


def test_a_missing_pair_leaves_its_depth_and_its_replicate_leaves_theta_and_beta():
    rows = noisy(8)
    results = [replace(r, value=None) if (r.replicate, r.level, r.by) == (2, "identity", (5,)) else r for r in by_depth(rows)]
    found = shortcut(results, by=[DEPTH])
    assert [found.effect("identity", (depth,)).n for depth in LAYERS] == [8, 8, 7, 8]
    assert (found.overall[0].n, found.slopes[0].n, found.replicates) == (7, 7, 8)
    kept = [row for k, row in enumerate(rows) if k != 2]
    assert found.overall[0].mean == pytest.approx(np.mean(kept))
    assert found.effect("identity", (1,)).mean == pytest.approx(np.mean([row[0] for row in rows]))
    assert found.cell("identity", (5,)).missing == 1
    assert found.notes[0] == (
        "identity: 1 of 32 pairs is missing and leaves the effect of its cell (θ_d); "
        "1 of 8 replicates leaves the overall effect (θ) and the slope (β)."
    )


def test_a_row_that_is_not_there_is_as_missing_as_one_without_a_value():
    results = by_depth(noisy(8))
    without = [r for r in results if (r.replicate, r.level, r.by) != (2, "none", (5,))]
    empty = [replace(r, value=None) if r not in without else r for r in results]
    found = shortcut(without, by=[DEPTH])
    assert found.overall == shortcut(empty, by=[DEPTH]).overall
    assert found.cells == shortcut(empty, by=[DEPTH]).cells


def test_planted_failures_stay_in_theta_as_scored_and_are_counted_beside_it():
    values = {
        "none": [0.90, 0.10, 0.91, 0.90, 0.10, 0.92, 0.90, 0.91],
        "identity": [0.92, 0.93, 0.10, 0.91, 0.10, 0.93, 0.91, 0.92],
    }
    results = [Result(k, arm, (), v, failed=v == 0.1) for arm, row in values.items() for k, v in enumerate(row)]
    found = shortcut(results)
    differences = np.subtract(values["identity"], values["none"])
    cell = found.cell("identity", ())
    assert found.overall[0].mean == pytest.approx(differences.mean())
    assert (cell.failures, found.cell("none", ()).failures) == (2, 2)
    assert cell.mean_where_both_trained == pytest.approx(differences[[0, 3, 5, 6, 7]].mean())
    assert cell.wins == pytest.approx((6 + 0.5) / 8)  # one loss, one tie of two failures
    assert (cell.wins_interval.low, cell.wins_interval.high) == (clopper_pearson(6, 7).low, clopper_pearson(6, 7).high)
    assert cell.failure_difference == 0.0
    assert cell.failure_p == 1.0
    assert cell.failure_difference_interval == newcombe_paired(both=1, only_first=1, only_second=1, neither=5)
    assert any(note.startswith("4 trainings failed (2 of none, 2 of identity)") for note in found.notes)


def test_a_failed_training_ranks_below_a_worse_value():
    results = [r for k in range(6) for r in (Result(k, "none", (), 0.1, failed=True), Result(k, "identity", (), 0.05))]
    assert shortcut(results).cell("identity", ()).wins == 1.0


def test_failures_in_one_arm_only_give_phi_and_mcnemar():
    rows = [(0.1, True)] * 8 + [(0.9, False)] * 2
    results = [Result(k, "none", (), v, failed) for k, (v, failed) in enumerate(rows)]
    results += [Result(k, "identity", (), 0.1 if k == 9 else 0.9, k == 9) for k in range(10)]
    cell = shortcut(results).cell("identity", ())
    assert cell.failure_difference == pytest.approx(-0.7)
    assert cell.failure_p == pytest.approx(0.0391, abs=5e-5)
    assert cell.failure_difference_interval.high < 0


def test_equal_differences_are_told_to_be_degenerate():
    found = shortcut(twins([0.02] * 8))
    (theta,) = found.overall
    assert theta.reason.startswith("degenerate variance: all 8 replicates")
    assert (theta.verdict, theta.interval, theta.p, theta.sd) == ("no verdict", None, None, 0.0)
    assert theta.mean == pytest.approx(0.02)
    assert theta.p_sign_flip == 2 / 2**8


def test_no_difference_at_all_is_degenerate_and_not_significant():
    found = shortcut(by_depth([(0.0,) * 4] * 7), by=[DEPTH])
    for degenerate in (*found.overall, *found.slopes, *found.at_each):
        assert degenerate.reason.startswith("degenerate variance")
        assert degenerate.p_sign_flip == 1.0
    assert found.cell("identity", (1,)).wins == 0.5
    assert found.cell("identity", (1,)).wins_interval is None


def test_three_replicates_show_figures_but_no_verdict():
    found = shortcut(by_depth(noisy(3)), by=[DEPTH])
    for estimated in (*found.overall, *found.slopes, *found.at_each):
        assert (estimated.verdict, estimated.reason) == ("no verdict", "3 replicates; a verdict needs 6")
        assert estimated.interval is not None
        assert 0 < estimated.p < 1


def test_two_replicates_have_an_interval_and_one_has_none():
    assert shortcut(twins([0.01, 0.03])).overall[0].interval.high > 0.03
    assert shortcut(twins([0.01])).overall[0].interval is None
    assert shortcut(twins([0.01])).overall[0].p_sign_flip is None


def test_an_arm_without_data_is_unmeasured_and_the_other_keeps_its_verdict():
    results = by_depth(noisy(8))
    found = shortcut(results, by=[DEPTH], levels=["identity", "projection"])
    alone = shortcut(results, by=[DEPTH])
    identity, projection = found.overall
    assert (projection.verdict, projection.n, projection.mean) == ("unmeasured", 0, None)
    assert "no finished training" in projection.reason
    assert identity.verdict == alone.overall[0].verdict
    assert identity.p_holm >= alone.overall[0].p_holm
    cell = found.cell("projection", (1,))
    assert (cell.n, cell.mean, cell.wins, cell.missing) == (0, None, None, 8)


def test_an_arm_whose_trials_were_all_pruned_is_unmeasured_and_not_scored_0():
    pruned = [replace(r, level="projection", value=None) for r in by_depth(noisy(8)) if r.level == "identity"]
    found = shortcut(by_depth(noisy(8)) + pruned, by=[DEPTH])
    assert [e.verdict for e in found.overall] != ["unmeasured", "unmeasured"]
    assert all(e.verdict == "unmeasured" and e.mean is None for e in found.at_each if e.level == "projection")
    assert "projection is unmeasured: none of its trainings finished." in found.notes
    assert "unmeasured" in found.sentence


def test_an_arm_without_data_at_one_depth_says_where():
    results = [r for r in by_depth(noisy(8)) if not (r.level == "identity" and r.by == (9,))]
    found = shortcut(results, by=[DEPTH])
    assert found.overall[0].verdict == "unmeasured"
    assert found.overall[0].reason == "it has no finished training at 9"
    assert found.effect("identity", (3,)).n == 8


def test_a_level_that_was_not_declared_is_left_out_and_told():
    results = by_depth(noisy(8)) + [r for r in by_depth(noisy(8), level="dense") if r.level == "dense"]
    found = shortcut(results, by=[DEPTH], levels=["identity"])
    assert found.levels == ("identity",)
    assert any("dense" in note for note in found.notes)


def test_results_of_a_search_get_no_interval_p_or_verdict():
    found = shortcut(by_depth(noisy(10)), by=[DEPTH], from_search=True)
    for estimated in (*found.overall, *found.slopes, *found.at_each):
        assert (estimated.interval, estimated.p, estimated.p_holm, estimated.p_sign_flip) == (None,) * 4
        assert estimated.verdict == "no verdict"
        assert estimated.reason.startswith("exploratory: adaptive sampling")


def test_costs_and_correlation_stand_in_the_cells():
    results = [replace(r, parameters=r.parameters + 40) if r.level == "identity" else r for r in by_depth(noisy(8))]
    cell = shortcut(results, by=[DEPTH]).cell("identity", (3,))
    value = {(r.replicate, r.level): r.value for r in results if r.by == (3,)}
    arms = [[value[k, arm] for k in range(8)] for arm in ("identity", "none")]
    assert (cell.parameter_difference, cell.mac_difference) == (40.0, 0.0)
    assert cell.correlation == pytest.approx(np.corrcoef(arms)[0, 1])
    assert shortcut(twins([0.1, 0.2])).cell("identity", ()).correlation is None


# --- refusals ---------------------------------------------------------------------------------------------------------


def test_a_reference_that_is_not_there_names_the_levels():
    with pytest.raises(UserError, match=r"'non' is not among the levels of the results \(identity, none\); did you mean 'none'"):
        shortcut(twins([0.1, 0.2]), reference="non")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_is_refused_with_its_place(value):
    results = [*by_depth(noisy(2)), Result(1, "identity", (3,), value)]
    with pytest.raises(UserError, match=r"replicate 1, level identity, by \[3\]: a value must be finite"):
        shortcut(results, by=[DEPTH])


def test_a_failed_training_without_its_score_is_refused():
    with pytest.raises(UserError, match="needs its failure score"):
        shortcut([*twins([0.1]), Result(1, "none", (), None, failed=True)])


def test_no_results_one_level_or_a_wrong_cell_are_refused():
    with pytest.raises(UserError, match="no results"):
        shortcut([])
    with pytest.raises(UserError, match="nothing to compare"):
        shortcut([Result(0, "none", (), 0.9)])
    with pytest.raises(UserError, match="needs one value for each"):
        shortcut(twins([0.1]), by=[DEPTH])


@pytest.mark.parametrize("size", [0, -0.01, math.nan, math.inf])
def test_a_smallest_effect_must_be_a_positive_number(size):
    with pytest.raises(UserError, match="smallest_effect"):
        shortcut(twins([0.1, 0.2]), smallest_effect=size)


# --- failures by the chance rule, capacity ----------------------------------------------------------------------------


def test_the_chance_rule_is_the_exact_binomial_tail_at_one_percent():
    def tail(correct):
        return sum(math.comb(100, k) * 0.1**k * 0.9 ** (100 - k) for k in range(correct, 101))

    least = next(correct for correct in range(101) if tail(correct) < 0.01)
    assert above_chance(least, 100, 0.1)
    assert not above_chance(least - 1, 100, 0.1)


def test_always_answering_the_majority_class_is_not_above_chance():
    assert not above_chance(600, 1000, 0.6)
    assert not above_chance(10, 10, 1.0)
    with pytest.raises(UserError, match="11 of 10"):
        above_chance(11, 10, 0.5)


def test_the_matched_width_is_the_nearest_integer_and_shows_what_is_left():
    def cost(width):
        return 9 * width * width + 10 * width

    best = min(range(8, 200), key=lambda width: abs(cost(width) - 50_000))
    found = matched_width(50_000, cost=cost, low=8, high=200)
    assert found.width == best
    assert found.mismatch == pytest.approx((cost(best) - 50_000) / 50_000)
    assert found.close
    assert not matched_width(1_300, cost=cost, low=8, high=200).close
    with pytest.raises(UserError, match="widen the range"):
        matched_width(10, cost=cost, low=8, high=200)


def test_arms_with_a_reference_each_are_one_holm_family():
    results = [
        Result(k, level, (), value + 0.003 * ((k * shift) % 4))
        for k in range(8)
        for level, value, shift in (("a", 0.92, 3), ("b", 0.95, 1), ("wide a", 0.915, 2), ("wide b", 0.93, 3))
    ]
    how = {"factor": "shortcut", "smallest_effect": 0.001, "reference": "none"}
    both = estimate(results, references={"a": "wide a", "b": "wide b"}, **how)
    alone = estimate([r for r in results if r.level in ("a", "wide a")], references={"a": "wide a"}, **how)
    assert both.levels == ("a", "b")
    assert both.overall[0].mean == pytest.approx(np.mean([r.value for r in results if r.level == "a"]) - np.mean(
        [r.value for r in results if r.level == "wide a"]))  # fmt: skip
    assert (both.overall[0].mean, both.overall[0].p) == (alone.overall[0].mean, alone.overall[0].p)
    assert [e.p_holm for e in both.overall] == list(holm([e.p for e in both.overall]))
    assert both.overall[1].p < both.overall[0].p
    assert both.overall[1].p_holm == pytest.approx(2 * both.overall[1].p)


# --- the table of raw replicates --------------------------------------------------------------------------------------


def test_effects_from_the_csv_equal_the_original(tmp_path):
    results = by_depth(noisy(9))
    results[3] = replace(results[3], value=0.1, failed=True)
    results[8] = replace(results[8], value=None)
    results = [replace(r, replicate=f"r{r.replicate}") if r.replicate == 4 else r for r in results]
    write_results(tmp_path / "replicates.csv", results, by=[DEPTH])
    again, by = read_results(tmp_path / "replicates.csv")
    assert again == tuple(results)
    assert by == (DEPTH,)
    assert shortcut(again, by=by) == shortcut(results, by=[DEPTH])


@pytest.mark.parametrize("by", [(), ("depth",), ("depth", "block.name")])
def test_a_table_keeps_levels_of_every_type(tmp_path, by):
    levels = ["none", "null", "1", 'a, "b"', " padded", "", 1, 0.1, True, None, "True", "3.0"]
    cells = ((), (3,), (3, "basic"))[len(by)]
    results = tuple(Result(k, level, cells, 0.5 + k / 7, parameters=k) for k, level in enumerate(levels))
    write_results(tmp_path / "r.csv", results, by=by)
    again, names = read_results(tmp_path / "r.csv")
    assert again == results
    assert [type(r.level) for r in again] == [type(level) for level in levels]
    assert names == by


@pytest.mark.parametrize("value", ["none", "1e-3", "nan", "NaN", "Infinity", "-1", "[1]", "{}", 'a"b', "01", "true", 1e-3, -5])
def test_a_scalar_survives_being_written(value):
    assert parse_scalar(write_scalar(value)) == value
    assert type(parse_scalar(write_scalar(value))) is type(value)


def test_a_plain_table_made_by_hand_is_read(tmp_path):
    (tmp_path / "r.csv").write_text(
        "replicate,level,by,value,failed,comment\n0,none,3,0.5,False,first\n0,identity,3,0.75,,\n\n1,none,3,,0,\n1,identity,3,.1,TRUE,\n"
    )
    results, by = read_results(tmp_path / "r.csv")
    assert by == ("by",)
    assert results == (
        Result(0, "none", (3,), 0.5),
        Result(0, "identity", (3,), 0.75),
        Result(1, "none", (3,), None),
        Result(1, "identity", (3,), 0.1, failed=True),
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("replicate,level,valu,failed\n0,none,1,\n", r"r\.csv:1: needs the column 'value'.*did you mean 'valu'"),
        ("replicate,level,value,faild\n0,none,1,\n", r"r\.csv:1: unknown column 'faild'; did you mean 'failed'"),
        ("replicate,level,value,value\n0,none,1,1\n", r"r\.csv:1: the column 'value' stands twice"),
        ("replicate,level,value\n0,none,1\n0,identity,high\n", r"r\.csv:3: 'value' must be a number, got 'high'"),
        ("replicate,level,value\n0,none,nan\n", r"r\.csv:2: 'value' must be finite, got 'nan'"),
        ("replicate,level,value\n0,none\n", r"r\.csv:2: needs 3 fields like the header, got 2"),
        ("replicate,level,value,failed\n0,none,.5,perhaps\n", r"r\.csv:2: 'failed' must be true or false, got 'perhaps'"),
        ("replicate,level,value,failed\n0,none,,true\n", r"r\.csv:2: a failed training is an outcome"),
        ("replicate,level,value\n0,,.5\n", r"r\.csv:2: 'level' is empty"),
        ("replicate,level,value,macs\n0,none,.5,1.5\n", r"r\.csv:2: 'macs' must be a whole number, got '1\.5'"),
        ("replicate,level,value\n", r"r\.csv: has no rows"),
        ("", r"r\.csv:1: needs the column 'replicate', got none"),
    ],
)
def test_a_wrong_table_names_file_line_and_rule(tmp_path, text, told):
    (tmp_path / "r.csv").write_text(text)
    with pytest.raises(UserError, match=told):
        read_results(tmp_path / "r.csv")


def test_a_table_that_is_not_there_is_told(tmp_path):
    with pytest.raises(UserError, match=r"gone\.csv: cannot be read"):
        read_results(tmp_path / "gone.csv")


def test_effects_are_plain_json_data():
    found = shortcut(by_depth(noisy(6)), by=[DEPTH], levels=["identity", "projection"])
    told = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert told["overall"][0]["interval"]["confidence"] == pytest.approx(0.95)
