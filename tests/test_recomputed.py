"""Every number of the effects table again from the CSV alone, by formulas written out here; the twins' equal footing."""

import csv
import itertools
import json
import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from scipy import stats
from statsmodels.stats.multitest import multipletests

from nas.building import build
from nas.cli.effects import command
from nas.errors import NasError
from nas.measuring.estimates import estimate
from nas.measuring.table import write_results
from nas.plugin import NetworkContext
from nas.registry import Registry
from nas.sampling import first_choice, fixing, sample
from nas.space import parse_space
from nas.training.data import Batches
from nas.values.effects import Result

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

    def there(self, level: str, depth: int) -> list[str]:
        return [k for k in self.replicates if not math.isnan(self.value(level, depth, k) + self.value("none", depth, k))]

    def differences(self, level: str, depth: int) -> np.ndarray:
        return np.array([self.value(level, depth, k) - self.value("none", depth, k) for k in self.there(level, depth)])

    def combined(self, level: str, weights: np.ndarray) -> np.ndarray:
        whole = [k for k in self.replicates if all(k in self.there(level, depth) for depth in DEPTHS)]
        rows = [[self.value(level, d, k) - self.value("none", d, k) for d in DEPTHS] for k in whole]
        return np.array(rows) @ weights

    def slope(self, level: str) -> np.ndarray:
        x = np.log2([float(self.of[level, d, "0"]["num_layers"]) for d in DEPTHS])
        return self.combined(level, (x - x.mean()) / ((x - x.mean()) ** 2).sum())

    def failures(self, level: str, depth: int) -> np.ndarray:
        return np.array([self.of[level, depth, k]["failed"] == "true" for k in self.there(level, depth)])

    def cost(self, level: str, depth: int, what: str) -> float:
        pairs = self.there(level, depth)
        return float(np.mean([float(self.of[level, depth, k][what]) - float(self.of["none", depth, k][what]) for k in pairs]))


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
    interval = (estimate_row["interval"]["low"], estimate_row["interval"]["high"])
    assert interval == pytest.approx(t_interval(values, alpha), abs=1e-12)


def test_theta_and_beta_with_their_family_come_again_from_the_csv(told: tuple[dict[str, Any], Recomputed]) -> None:
    found, again = told
    by_level = {e["level"]: e for e in found["overall"]}, {e["level"]: e for e in found["slopes"]}
    raw = []
    for estimates, values_of in zip(by_level, (lambda v: again.combined(v, np.full(3, 1 / 3)), again.slope), strict=True):
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


def test_means_counts_failures_wins_and_costs_come_again_from_the_csv(told: tuple[dict[str, Any], Recomputed]) -> None:
    found, again = told
    for cell in found["cells"]:
        level, depth = cell["level"], cell["at"][0]
        values = [again.value(level, depth, k) for k in again.replicates]
        assert cell["mean"] == pytest.approx(np.nanmean(values), abs=1e-12)
        assert (cell["n"], cell["missing"]) == (np.isfinite(values).sum(), np.isnan(values).sum())
        assert cell["failures"] == sum(again.of[level, depth, k]["failed"] == "true" for k in again.replicates)
        if level == "none":
            continue
        pairs = again.there(level, depth)
        arm, reference = again.failures(level, depth), again.failures("none", depth)[[again.there("none", depth).index(k) for k in pairs]]
        rank = [(-1.0 if f else again.value(level, depth, k)) for f, k in zip(arm, pairs, strict=True)]
        other = [(-1.0 if f else again.value("none", depth, k)) for f, k in zip(reference, pairs, strict=True)]
        wins = [1.0 if a > b else 0.5 if a == b else 0.0 for a, b in zip(rank, other, strict=True)]
        assert cell["wins"] == pytest.approx(np.mean(wins))
        assert cell["failure_difference"] == pytest.approx(arm.mean() - reference.mean())
        discordant = int((arm != reference).sum())
        mcnemar = stats.binomtest(int((arm & ~reference).sum()), discordant).pvalue if discordant else 1.0
        assert cell["failure_p"] == pytest.approx(mcnemar)
        assert cell["parameter_difference"] == pytest.approx(again.cost(level, depth, "parameters"))
        assert cell["mac_difference"] == pytest.approx(again.cost(level, depth, "macs"))
        scores = [[again.value(v, depth, k) for k in pairs] for v in (level, "none")]
        assert cell["correlation"] == pytest.approx(np.corrcoef(scores)[0, 1])


def test_the_command_and_the_estimator_say_the_same_of_the_planted_trainings(told: tuple[dict[str, Any], Recomputed]) -> None:
    direct = estimate(planted(), factor="level", reference="none", by=[DEPTH], smallest_effect=DELTA).to_dict()
    assert told[0] == json.loads(json.dumps(direct))


# --- twins


SPACE = "architecture: {staged: {widths: [8, 16], depth: 2, shortcut: {choices: [%s]}}}\ntrain: {epochs: 1}\n"


def test_every_pair_of_shortcuts_starts_from_equal_shared_tensors(registry: Registry) -> None:
    names = list(registry.names("shortcut"))
    starts: dict[str, dict[str, torch.Tensor]] = {}
    for name in names:
        try:
            space = parse_space(SPACE % name, "twins.yaml", registry)
            architecture = sample(space, fixing({}, first_choice)).configuration.architecture
            starts[name] = dict(build(architecture, registry, NetworkContext((3, 16, 16), 10), seed=5).named_parameters())
        except NasError:  # a shortcut that needs parameters, or equal shapes, is refused in this network
            continue
    assert {"none", "identity", "projection", "gated", "scaled"} <= starts.keys()
    for one, other in itertools.combinations(starts, 2):
        # A layer is shared where all its tensors have equal shapes: a bias scales with its weight's inputs.
        common = starts[one].keys() & starts[other].keys()
        unlike = {path.rpartition(".")[0] for path in common if starts[one][path].shape != starts[other][path].shape}
        shared = [path for path in common if path.rpartition(".")[0] not in unlike]
        assert len(shared) >= 10, (one, other)
        for path in shared:
            assert torch.equal(starts[one][path], starts[other][path]), (one, other, path)


def test_the_order_of_the_batches_moves_with_nothing_but_its_seed() -> None:
    torch.manual_seed(0)
    first = [batch.tolist() for batch in Batches(103, 16, seed=3)]
    torch.manual_seed(1)
    torch.rand(1000)
    assert [batch.tolist() for batch in Batches(103, 16, seed=3)] == first
    assert [batch.tolist() for batch in Batches(103, 16, seed=4)] != first
