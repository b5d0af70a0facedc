"""Every number of the effects table again from the CSV alone, by formulas written out here."""

import csv
import itertools
import json
import math
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from scipy import stats
from statsmodels.stats.multitest import multipletests

from nas.cli.effects import command
from nas.measuring.estimates import estimate
from nas.measuring.of_record import effects_of, results_of
from nas.measuring.table import write_results
from nas.values.effects import Result
from nas.values.outcome import Cost, Outcome, Status
from nas.values.plans import Cell, MatchedReference, MeasurePlan
from nas.values.records import StudyRecord, TrainingRecord

DEPTHS, LEVELS, K, DELTA = (1, 3, 9), ("identity", "gated"), 9, 0.01
LAYERS = {1: 8, 3: 20, 9: 56}
DEPTH = "architecture.staged.depth"


def planted() -> list[Result]:
    """Twins with failures, one missing training, and arms that cost more than the reference."""
    draw, results = random.Random(7), []
    for k, depth, level in itertools.product(range(K), DEPTHS, ("none", *LEVELS)):
        gain = {"none": 0.0, "identity": 0.01 * math.log2(depth), "gated": -0.004}[level]
        failed = (k, depth, level) in {(2, 9, "none"), (5, 9, "none"), (4, 1, "gated")}
        value = 0.11 if failed else round(0.8 + gain + draw.gauss(0, 0.01), 4)
        missing = (k, depth, level) == (7, 3, "gated")
        extra = {"none": 0, "identity": 0, "gated": 40 * depth}[level]
        results.append(
            Result(k, level, (depth,), None if missing else value, failed, 1000 * depth + extra, 9000 * depth + 5 * extra, LAYERS[depth])
        )
    return results


class Recomputed:
    """The table's numbers from its rows, with numpy, scipy and statsmodels only."""

    def __init__(self, rows: list[dict[str, str]]) -> None:
        self.of = {(row["level"], int(row["by"]), row["replicate"]): row for row in rows}
        self.replicates = sorted({row["replicate"] for row in rows})

    def value(self, level: str, depth: int, k: str) -> float:
        return float(self.of[level, depth, k]["value"] or "nan")

    def there(self, level: str, depth: int, against: str = "none") -> list[str]:
        return [k for k in self.replicates if not math.isnan(self.value(level, depth, k) + self.value(against, depth, k))]

    def differences(self, level: str, depth: int, against: str = "none") -> np.ndarray:
        return np.array([self.value(level, depth, k) - self.value(against, depth, k) for k in self.there(level, depth, against)])

    def combined(self, level: str, weights: np.ndarray, against: str = "none") -> np.ndarray:
        whole = [k for k in self.replicates if all(k in self.there(level, depth, against) for depth in DEPTHS)]
        rows = [[self.value(level, d, k) - self.value(against, d, k) for d in DEPTHS] for k in whole]
        return np.array(rows) @ weights

    def mean(self, level: str, against: str = "none") -> np.ndarray:
        return self.combined(level, np.full(len(DEPTHS), 1 / len(DEPTHS)), against)

    def slope(self, level: str, against: str = "none") -> np.ndarray:
        x = np.log2([float(self.of[level, d, "0"]["num_layers"]) for d in DEPTHS])
        return self.combined(level, (x - x.mean()) / ((x - x.mean()) ** 2).sum(), against)

    def failed(self, level: str, depth: int, replicates: list[str]) -> np.ndarray:
        return np.array([self.of[level, depth, k]["failed"] == "true" for k in replicates])

    def cost(self, level: str, depth: int, what: str) -> float:
        pairs = self.there(level, depth)
        return float(np.mean([float(self.of[level, depth, k][what]) - float(self.of["none", depth, k][what]) for k in pairs]))


def sign_flip(values: np.ndarray) -> float:
    """All 2^K signs: how many have a mean as far from zero (Fisher 1935)."""
    signs = np.array(list(itertools.product((1, -1), repeat=len(values))))
    means = np.abs(signs @ values) / len(values)
    return float(np.mean(means >= abs(values.mean()) * (1 - 1e-12)))


def newcombe(arm: np.ndarray, reference: np.ndarray) -> tuple[float, float]:
    """Method 10 of Newcombe 1998, Statistics in Medicine 17:2635, Table II: Wilson limits, less what the correlation explains."""
    n, e, f = len(arm), int((arm & reference).sum()), int((arm & ~reference).sum())
    g, h = int((~arm & reference).sum()), int((~arm & ~reference).sum())
    (l1, u1), (l2, u2) = (stats.binomtest(count, n).proportion_ci(method="wilson") for count in (e + f, e + g))
    p1, p2, below = (e + f) / n, (e + g) / n, (e + f) * (g + h) * (e + g) * (f + h)
    numerator = e * h - f * g
    numerator = max(numerator - n / 2, 0) if numerator > 0 else numerator
    phi = numerator / math.sqrt(below) if below else 0.0
    low = math.sqrt((p1 - l1) ** 2 - 2 * phi * (p1 - l1) * (u2 - p2) + (u2 - p2) ** 2)
    high = math.sqrt((u1 - p1) ** 2 - 2 * phi * (u1 - p1) * (p2 - l2) + (p2 - l2) ** 2)
    return p1 - p2 - low, p1 - p2 + high


def t_interval(values: np.ndarray, alpha: float) -> tuple[float, float]:
    found = stats.ttest_1samp(values, 0.0).confidence_interval(1 - alpha)
    return float(found.low), float(found.high)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Recomputed]:
    table: Path = tmp_path_factory.mktemp("csv") / "replicates.csv"
    write_results(table, planted(), by=[DEPTH])
    done = CliRunner().invoke(command, [str(table), "--reference", "none", "--smallest-effect", str(DELTA), "--json"])
    assert done.exit_code == 0, done.output
    with table.open() as file:
        return json.loads(done.output), Recomputed(list(csv.DictReader(file)))


def same(estimate_row: dict[str, Any], values: np.ndarray, alpha: float) -> None:
    assert estimate_row["n"] == len(values)
    assert estimate_row["mean"] == pytest.approx(values.mean(), abs=1e-12)
    assert estimate_row["sd"] == pytest.approx(values.std(ddof=1), abs=1e-12)
    assert estimate_row["p"] == pytest.approx(stats.ttest_1samp(values, 0.0).pvalue, rel=1e-9)
    assert estimate_row["p_sign_flip"] == pytest.approx(sign_flip(values), rel=1e-9)
    assert ends(estimate_row["interval"]) == pytest.approx(t_interval(values, alpha), abs=1e-12)


def ends(interval: dict[str, float]) -> tuple[float, float]:
    return interval["low"], interval["high"]


def test_theta_and_beta_with_their_family_come_again_from_the_csv(told: tuple[dict[str, Any], Recomputed]) -> None:
    found, again = told
    by_level = {e["level"]: e for e in found["overall"]}, {e["level"]: e for e in found["slopes"]}
    raw = []
    for estimates, values_of in zip(by_level, (again.mean, again.slope), strict=True):
        for level in LEVELS:
            same(estimates[level], values_of(level), 0.05)
            raw.append((estimates[level]["p_holm"], stats.ttest_1samp(values_of(level), 0.0).pvalue))
    assert [shown for shown, _ in raw] == pytest.approx(multipletests([p for _, p in raw], method="holm")[1], rel=1e-9)


def test_effects_by_depth_with_simultaneous_intervals_come_again_from_the_csv(told: tuple[dict[str, Any], Recomputed]) -> None:
    found, again = told
    assert len(found["at_each"]) == len(LEVELS) * len(DEPTHS)
    for row in found["at_each"]:
        same(row, again.differences(row["level"], row["at"][0]), 0.05 / len(found["at_each"]))
    p_values = [stats.ttest_1samp(again.differences(row["level"], row["at"][0]), 0.0).pvalue for row in found["at_each"]]
    assert [row["p_holm"] for row in found["at_each"]] == pytest.approx(multipletests(p_values, method="holm")[1], rel=1e-9)


def test_means_counts_spread_and_costs_come_again_from_the_csv(told: tuple[dict[str, Any], Recomputed]) -> None:
    found, again = told
    for cell in found["cells"]:
        level, depth = cell["level"], cell["at"][0]
        values = np.array([again.value(level, depth, k) for k in again.replicates])
        assert cell["mean"] == pytest.approx(np.nanmean(values), abs=1e-12)
        assert cell["sd"] == pytest.approx(np.nanstd(values, ddof=1), abs=1e-12)
        assert (cell["n"], cell["missing"]) == (np.isfinite(values).sum(), np.isnan(values).sum())
        assert cell["failures"] == again.failed(level, depth, again.replicates).sum()
        if level != "none":
            assert cell["parameter_difference"] == pytest.approx(again.cost(level, depth, "parameters"))
            assert cell["mac_difference"] == pytest.approx(again.cost(level, depth, "macs"))


def test_wins_failures_correlation_and_the_selected_mean_come_again_from_the_csv(told: tuple[dict[str, Any], Recomputed]) -> None:
    found, again = told
    for cell in (cell for cell in found["cells"] if cell["level"] != "none"):
        level, depth = cell["level"], cell["at"][0]
        pairs = again.there(level, depth)
        arm, reference = again.failed(level, depth, pairs), again.failed("none", depth, pairs)
        scores = np.array([[again.value(v, depth, k) for k in pairs] for v in (level, "none")])
        rank = np.where([arm, reference], -1.0, scores)  # a failed training ranks last
        won, lost = int((rank[0] > rank[1]).sum()), int((rank[0] < rank[1]).sum())
        assert cell["wins"] == pytest.approx((won + 0.5 * (len(pairs) - won - lost)) / len(pairs))
        exact = stats.binomtest(won, won + lost).proportion_ci(method="exact")  # Clopper and Pearson
        assert ends(cell["wins_interval"]) == pytest.approx((exact.low, exact.high))
        assert cell["failure_difference"] == pytest.approx(arm.mean() - reference.mean())
        assert ends(cell["failure_difference_interval"]) == pytest.approx(newcombe(arm, reference), abs=1e-12)
        discordant = int((arm != reference).sum())
        mcnemar = stats.binomtest(int((arm & ~reference).sum()), discordant).pvalue if discordant else 1.0
        assert cell["failure_p"] == pytest.approx(mcnemar)
        assert cell["correlation"] == pytest.approx(np.corrcoef(scores)[0, 1])
        assert cell["mean_where_both_trained"] == pytest.approx((scores[0] - scores[1])[~arm & ~reference].mean())


def test_the_command_and_the_estimator_say_the_same_of_the_planted_trainings(told: tuple[dict[str, Any], Recomputed]) -> None:
    direct = estimate(planted(), factor="level", reference="none", by=[DEPTH], smallest_effect=DELTA).to_dict()
    assert told[0] == json.loads(json.dumps(direct))


# --- references of equal cost

WIDER = {"identity": "none with the parameters of identity", "gated": "none with the parameters of gated"}


def training(number: int, told: Result) -> TrainingRecord:
    cell = Cell(int(told.replicate), told.level, ((DEPTH, told.by[0]),))
    if told.value is None:
        return TrainingRecord(number, "measure", "broken", (), cell=cell)
    status: Status = "failed" if told.failed else "complete"
    cost = Cost(told.parameters or 0, told.macs or 0, told.num_layers or 0)
    outcome = Outcome(status, told.value, {}, {}, cost, 1, 0.1, "cpu")
    return TrainingRecord(number, "measure", status, (), cell=cell, outcome=outcome)


def matched_record() -> StudyRecord:
    """The planted trainings with a wider reference for each arm, a little better than the plain one."""
    wider = [
        replace(r, level=label, value=r.value + 0.003 * (1 + r.replicate % 3), failed=False, parameters=(r.parameters or 0) + 37)
        for r in planted()
        if r.level == "none" and r.value is not None and isinstance(r.replicate, int)
        for label in WIDER.values()
    ]
    trainings = tuple(training(number, r) for number, r in enumerate([*planted(), *wider]))
    plan = MeasurePlan(
        "shortcut", "none", LEVELS, ((DEPTH, DEPTHS),), K, DELTA, match=("parameters",),
        matched=tuple(MatchedReference(level, "parameters", label) for level, label in WIDER.items()),
    )  # fmt: skip
    return StudyRecord("matched", "0", "m.yaml", "", "val_accuracy", "maximize", (), trainings, 0, plan, {}, {})


def test_matched_contrasts_with_their_one_family_come_again_from_the_csv(tmp_path: Path) -> None:
    record = matched_record()
    effects = effects_of(record)
    assert effects is not None
    (contrast,) = json.loads(json.dumps(effects.to_dict()))["contrasts"]
    write_results(tmp_path / "replicates.csv", results_of(record), by=[DEPTH])
    with (tmp_path / "replicates.csv").open() as file:
        again = Recomputed(list(csv.DictReader(file)))
    found, primary = contrast["effects"], []
    for part, values_of in (("overall", again.mean), ("slopes", again.slope)):
        assert [row["level"] for row in found[part]] == list(LEVELS)
        for row in found[part]:
            values = values_of(row["level"], WIDER[row["level"]])
            same(row, values, 0.05)
            primary.append((row["p_holm"], stats.ttest_1samp(values, 0.0).pvalue))
    assert [shown for shown, _ in primary] == pytest.approx(multipletests([p for _, p in primary], method="holm")[1], rel=1e-9)
    for row in found["at_each"]:
        same(row, again.differences(row["level"], row["at"][0], WIDER[row["level"]]), 0.05 / len(found["at_each"]))
    for mismatch in contrast["mismatches"]:
        level = mismatch["level"]
        shares = [
            float(again.of[WIDER[level], d, k]["parameters"]) / float(again.of[level, d, k]["parameters"]) - 1
            for d in DEPTHS
            for k in again.there(level, d, WIDER[level])
        ]
        assert mismatch["worst"] == pytest.approx(max(shares, key=abs))
