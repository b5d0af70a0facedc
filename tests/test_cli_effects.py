"""`nas effects`: from a CSV table to table, sentence and JSON; what the sentence of several arms says; errors with their place."""

import json
import random
from pathlib import Path

import pytest
from click.testing import CliRunner

from nas.cli.effects import command
from nas.errors import UserError
from nas.measuring.estimates import estimate
from nas.measuring.from_table import effects
from nas.measuring.table import write_results
from nas.values.effects import Result

# Hours of extra sleep under two drugs, ten patients (Student 1908).
SLEEP = ((0.7, 1.9), (-1.6, 0.8), (-0.2, 1.1), (-1.2, 0.1), (-0.1, -0.1), (3.4, 4.4), (3.7, 5.5), (0.8, 1.6), (0.0, 4.6), (2.0, 3.4))
GAINS = {"identity": (0.01, 0.03, 0.06), "projection": (0.0, 0.01, 0.01)}
DEPTH = "architecture.staged.depth"


def run(*arguments: object) -> str:
    """Run the command, which must succeed, and return what it printed."""
    done = CliRunner(env={"COLUMNS": "80"}).invoke(command, [str(a) for a in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def plain(text: str) -> str:
    """Undo the folding at 80 columns."""
    return " ".join(text.split())


def write(path: Path, *rows: object, header: str = "replicate,level,value") -> Path:
    path.write_text("\n".join((header, *map(str, rows))) + "\n")
    return path


def twins(gains=GAINS, *, replicates=10, reference="none", noise=0.01, base=0.8):
    """Return trainings at three depths whose true gains are given, with seeded noise."""
    rng = random.Random(5)
    results = []
    for k in range(replicates):
        for i, (depth, layers) in enumerate(((1, 8), (3, 20), (9, 56))):
            results.append(Result(k, reference, (depth,), base + rng.gauss(0, noise), num_layers=layers))
            for level, gain in gains.items():
                results.append(Result(k, level, (depth,), base + gain[i] + rng.gauss(0, noise), num_layers=layers))
    return results


@pytest.fixture
def sleep(tmp_path: Path) -> Path:
    rows = (f"{k},{level},{value}" for k, pair in enumerate(SLEEP) for level, value in zip("ab", pair, strict=True))
    return write(tmp_path / "sleep.csv", *rows)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    write_results(tmp_path / "replicates.csv", twins(), by=[DEPTH])
    return tmp_path / "replicates.csv"


# --- figures ----------------------------------------------------------------------------------------------------------


def test_students_sleep_data_give_students_answer(sleep: Path) -> None:
    found = json.loads(run(sleep, "--reference", "b", "--smallest-effect", 0.5, "--json"))
    (theta,) = found["overall"]
    assert theta["p"] == pytest.approx(0.002833, abs=5e-7)
    assert [theta["interval"]["low"], theta["interval"]["high"]] == pytest.approx([-2.4599, -0.7001], abs=5e-5)
    assert theta["verdict"] == "harms materially"


def test_json_is_what_the_estimator_says_of_the_same_trainings(table: Path) -> None:
    options = ("--reference", "none", "--smallest-effect", 0.01, "--factor", "a.shortcut", "--scope", "digits")
    found = json.loads(run(table, *options, "--json"))
    told = estimate(twins(), factor="a.shortcut", reference="none", by=[DEPTH], smallest_effect=0.01, scope="digits")
    assert found == json.loads(json.dumps(told.to_dict()))


def test_python_and_the_command_say_the_same(table: Path) -> None:
    assert plain(effects(table, reference="none", smallest_effect=0.01).sentence) in plain(
        run(table, "--reference", "none", "--smallest-effect", 0.01)
    )


def test_table_and_sentence_fit_eighty_columns(table: Path) -> None:
    printed = run(table, "--reference", "none", "--smallest-effect", 0.01)
    assert max(map(len, printed.splitlines())) <= 80
    for level in ("none", "identity", "projection"):
        assert len([line for line in printed.splitlines() if line.split()[1:2] == [level] and line[0].isdigit()]) == 3
    assert "identity helps materially" in plain(printed)


def test_levels_chooses_the_arms_and_the_others_are_told(table: Path) -> None:
    found = json.loads(run(table, "--reference", "none", "--smallest-effect", 0.01, "--levels", "identity", "--json"))
    assert found["levels"] == ["identity"]
    assert "Left out, as the declared levels do not name them: projection." in found["notes"]


def test_several_levels_stand_behind_one_option(table: Path) -> None:
    found = json.loads(run(table, "--reference", "none", "--smallest-effect", 0.01, "--levels", "projection,identity", "--json"))
    assert found["levels"] == ["projection", "identity"]


def test_a_level_that_holds_commas_is_taken_whole(tmp_path: Path) -> None:
    named = "gated(bias=-6, scale=2)"
    write_results(tmp_path / "t.csv", twins({named: (0.1, 0.1, 0.1), "other": (0, 0, 0)}), by=["depth"])
    found = json.loads(run(tmp_path / "t.csv", "--reference", "none", "--smallest-effect", 0.01, "--levels", named, "--json"))
    assert found["levels"] == [named]


def test_numbers_are_levels_too(tmp_path: Path) -> None:
    write_results(tmp_path / "t.csv", twins({32: (0.1, 0.1, 0.1)}, reference=16), by=["depth"])
    printed = plain(run(tmp_path / "t.csv", "--reference", 16, "--smallest-effect", 0.01, "--factor", "width"))
    assert "choosing width 32 instead of 16 helps materially" in printed


def test_minimize_turns_the_difference_round_and_keeps_the_losses_own_unit(tmp_path: Path) -> None:
    write_results(tmp_path / "t.csv", twins({"identity": (-0.1, -0.2, -0.3)}), by=["depth"])
    printed = plain(run(tmp_path / "t.csv", "--reference", "none", "--smallest-effect", 0.01, "--minimize"))
    assert "adding identity helps materially: +0.2" in printed
    assert "points" not in printed


def test_values_beyond_a_share_are_not_called_points(sleep: Path) -> None:
    printed = plain(run(sleep, "--reference", "a", "--smallest-effect", 0.5))
    assert "+1.58 (95% interval +0.7 to +2.46, 10 replicates)" in printed
    assert "points" not in printed
    assert "points" in run(sleep, "--reference", "a", "--smallest-effect", 0.5, "--unit", "points")


def test_planned_looks_use_the_looks_own_error_rate(table: Path) -> None:
    found = json.loads(run(table, "--reference", "none", "--smallest-effect", 0.01, "--planned-looks", "--json"))
    assert found["overall"][0]["interval"]["confidence"] == pytest.approx(1 - 0.0052)


def test_a_missing_arm_is_unmeasured_and_not_zero(table: Path) -> None:
    printed = plain(run(table, "--reference", "none", "--smallest-effect", 0.01, "--levels", "identity,dense"))
    assert "dense is unmeasured" in printed


def test_the_help_has_an_example_in_eighty_columns() -> None:
    text = run("--help")
    assert "nas effects replicates.csv --reference none --smallest-effect 0.01" in text
    assert max(map(len, text.splitlines())) <= 80


# --- the sentence of several arms -------------------------------------------------------------------------------------


def several(gains, *, replicates=10, noise=0.01, **how):
    how = {"factor": "architecture.staged.shortcut", "reference": "none", "by": [DEPTH], "smallest_effect": 0.01, "scope": "digits"} | how
    return estimate(twins(gains, replicates=replicates, reference=how["reference"], noise=noise), **how)


def test_several_arms_have_a_clause_each_and_say_what_they_share_once() -> None:
    found = several(GAINS, noise=0.003)
    identity, projection = found.overall
    assert projection.verdict == "practically equivalent, not zero"
    half, slope = 50 * (identity.interval.high - identity.interval.low), 100 * found.slopes[0].mean
    assert found.sentence.startswith(
        f"On digits, against no shortcut, identity helps materially: {100 * identity.mean:+.2f} ± {half:.2f} points, growing by "
        f"{slope:.2f} points with each doubling of layers; projection is practically equivalent, not zero (within ±1.00 points): "
    )
    assert found.sentence.endswith(
        "; each the mean paired difference and its 95% interval from 10 replicates at an equal, fixed training budget, "
        "averaged evenly over 8, 20 and 56 layers."
    )
    assert len(found.sentence) < 375


def test_several_arms_without_a_verdict_share_the_reason() -> None:
    told = several(GAINS, replicates=3).sentence
    assert told.startswith("On digits, there is no verdict (3 replicates; a verdict needs 6): against no shortcut, identity +")
    assert told.count("a verdict needs 6") == 1


def test_an_undetermined_arm_among_others_says_what_would_decide() -> None:
    found = several({"identity": (0.09, 0.09, 0.09), "projection": (0.005, 0.005, 0.005)}, noise=0.03)
    projection = found.overall[1]
    assert projection.verdict == "undetermined"
    assert projection.replicates_to_decide
    assert f"projection is undetermined ({projection.replicates_to_decide} replicates would decide it): " in found.sentence


def test_an_arm_with_fewer_replicates_tells_its_own_count() -> None:
    results = [r for r in twins() if (r.replicate, r.level) != (3, "projection")]
    told = estimate(results, factor="a.shortcut", reference="none", by=[DEPTH], smallest_effect=0.01).sentence
    assert "10 replicates), growing" in told
    assert "9 replicates)" in told


def test_an_equivalent_arm_among_others_names_the_bound() -> None:
    told = several({"identity": (0.06, 0.06, 0.06), "projection": (0.0, 0.0, 0.0)}).sentence
    assert "projection is practically equivalent (within ±1.00 points): " in told


def test_several_widths_are_named_by_what_they_are() -> None:
    told = several({64: (0.05, 0.05, 0.05), 128: (0.06, 0.06, 0.06)}, reference=16, factor="a.width").sentence
    assert "against width 16, width 64 helps materially: +" in told
    assert "; width 128 helps materially: +" in told


def test_a_slope_under_a_harm_says_which_way_the_harm_goes() -> None:
    lessens = several({"identity": (-0.09, -0.06, -0.02)}).sentence
    assert "harms materially" in lessens
    assert "the difference growing by " in lessens
    assert "so that the harm lessens" in lessens
    assert "so that the harm deepens" in several({"identity": (-0.02, -0.06, -0.09)}).sentence


# --- notes ------------------------------------------------------------------------------------------------------------


def test_one_failed_training_is_one() -> None:
    results = twins()
    results[0] = Result(0, "none", (1,), 0.1, failed=True, num_layers=8)
    (note,) = (n for n in estimate(results, factor="s", reference="none", by=["depth"], smallest_effect=0.01).notes if "failed" in n)
    assert note.startswith("1 training failed (1 of none). It is an outcome and stays in the effect at its failure score")


def test_missing_pairs_are_counted_in_plain_words() -> None:
    results = [r for r in twins() if (r.replicate, r.level) not in ((3, "projection"), (4, "projection"))]
    found = estimate(results, factor="s", reference="none", by=["depth"], smallest_effect=0.01)
    assert found.notes[0] == (
        "projection: 6 of 30 pairs are missing and leave the effect of their cells (θ_d); "
        "2 of 10 replicates leave the overall effect (θ) and the slope (β)."
    )


# --- errors -----------------------------------------------------------------------------------------------------------


def test_a_wrong_value_is_answered_with_file_and_line_and_exit_code_2(nas_command, tmp_path: Path) -> None:
    write(tmp_path / "r.csv", "0,none,0.9", "0,identity,high")
    done = nas_command("effects", "r.csv", "--reference", "none", "--smallest-effect", "0.01")
    assert done.returncode == 2
    assert done.stderr.startswith("Error: r.csv:3: 'value' must be a number, got 'high'")
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--reference", "nnoe", "--smallest-effect", "0.01"), r"replicates.csv: the reference 'nnoe' is not .* did you mean 'none'\?"),
        (("--reference", "none", "--smallest-effect", "1"), "smallest effect: 1 cannot be reached, .* in which 0.01 is one point"),
        (("--reference", "none", "--smallest-effect", "0"), "smallest_effect: must be a number above 0"),
        (("--reference", "none", "--smallest-effect", "nan"), "smallest_effect: must be a number above 0"),
        (("--reference", "none", "--smallest-effect", "0.01", "--levels", "none"), "replicates.csv: nothing to compare"),
    ],
)
def test_a_wrong_option_says_what_is_wrong_with_it(table: Path, arguments: tuple[str, ...], told: str) -> None:
    with pytest.raises(UserError, match=told):
        CliRunner().invoke(command, [str(table), *arguments], catch_exceptions=False)


def test_reference_and_smallest_effect_must_be_given(table: Path) -> None:
    for arguments in (("--reference", "none"), ("--smallest-effect", "0.01")):
        done = CliRunner().invoke(command, [str(table), *arguments])
        assert done.exit_code == 2
        assert "Missing option" in done.output


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    options = ("--reference", "a", "--smallest-effect", "1")
    with pytest.raises(UserError, match=r"absent\.csv: cannot be read"):
        CliRunner().invoke(command, [str(tmp_path / "absent.csv"), *options], catch_exceptions=False)
