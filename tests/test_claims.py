"""Claims: the files, the rule's grammar, what a record decides, and the command from file to verdict."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from nas.claims.binding import bind
from nas.claims.deciding import decide
from nas.claims.files import claim_files, load_claims, parse_claim
from nas.claims.rules import place_of
from nas.errors import SpaceError, UserError, Where
from nas.measuring.readings import Cells
from nas.registry import Registry
from nas.report.claims_page import render_claims
from nas.report.claims_text import claims_table
from nas.settling import find, settle
from nas.values.claims import CONTRADICTED, NO_VERDICT, SUPPORTED, UNDETERMINED, Claim, Finding
from nas.values.outcome import Cost, Outcome
from nas.values.plans import Cell, MeasurePlan
from nas.values.records import StudyRecord, TrainingRecord

TEXT = """\
statement: Shortcuts lower the training error of deep networks.
source: somebody, 2015
published: ["28 against 25 %"]
topic: Depth
explain: In plain words.

study:
  data: digits
  architecture:
    staged:
      widths: [4, 4]
      depth: {choices: [1, 2]}
      shortcut: {choices: [none, identity]}
  train:
    epochs: 1
    batch_size: 256
  measure:
    factor: architecture.staged.shortcut
    reference: none
    by: {architecture.staged.depth: [1, 2]}
    replicates: 2

rule:
  supported_when:
    - {compare: identity - none at deepest, metric: train_error, is: below -0.01}
  contradicted_when:
    any:
      - {compare: identity - none at deepest, metric: train_error, is: above -0.01}
      - {compare: identity at shallowest, metric: train_error, is: above 0.9}

figure: {show: train_error, y: "training error, %"}
"""


def claim_of(supported: str, contradicted: str) -> Claim:
    head, _, _ = TEXT.partition("rule:")
    return parse_claim(f"{head}rule:\n  supported_when: [{supported}]\n  contradicted_when: [{contradicted}]\n", "depth.yaml")


def record_of(errors: dict[tuple[str, int], Sequence[float]], *, failed: Sequence[tuple[str, int, int]] = ()) -> StudyRecord:
    """A record of trainings whose training errors by arm and depth are given, one a replicate."""
    trainings = []
    for (level, depth), values in errors.items():
        for replicate, error in enumerate(values):
            state = "failed" if (level, depth, replicate) in failed else "complete"
            outcome = Outcome(
                status=state, score=1 - error, metrics={"train_accuracy": 1 - error, "test_accuracy": 1 - error}, curves={},
                cost=Cost(10, 10, 2 + 4 * depth), num_epochs=1, duration_s=1.0, device="cpu",
            )  # fmt: skip
            cell = Cell(replicate, level, (("architecture.staged.depth", depth),))
            trainings.append(TrainingRecord(len(trainings), "measure", state, (), seed=replicate, cell=cell, outcome=outcome))
    plan = MeasurePlan(
        "architecture.staged.shortcut", "none", ("identity",), (("architecture.staged.depth", (1, 2)),), 10, 0.01, "test_accuracy"
    )
    return StudyRecord(
        name="depth", key="0", space_file="", space_text="", objective="val_accuracy", direction="maximize", search=(),
        measured=tuple(trainings), planned_search=0, plan=plan, environment={}, data={"name": "digits"},
    )  # fmt: skip


SMALL = [0.01, 0.02, 0.015, 0.012, 0.018, 0.011, 0.014]
LARGE = [0.41, 0.52, 0.455, 0.432, 0.478, 0.461, 0.444]
DEGRADED = {("none", 1): SMALL, ("none", 2): LARGE, ("identity", 1): SMALL[::-1], ("identity", 2): SMALL}
BELOW = "{compare: identity - none at deepest, metric: train_error, is: below -0.01}"
ABOVE = "{compare: identity - none at deepest, metric: train_error, is: above -0.01}"


def test_a_rule_that_holds_supports_its_claim_with_the_interval_of_all_its_comparisons() -> None:
    decision = decide(claim_of(BELOW, ABOVE), record_of(DEGRADED))
    assert decision.verdict == SUPPORTED
    found = decision.supporting[0]
    assert found.mean == pytest.approx(sum(SMALL) / 7 - sum(LARGE) / 7)
    # Both conditions are one test, against the same value: the family has one member.
    assert found.interval is not None
    assert found.interval.confidence == pytest.approx(0.95)
    assert found.interval.low < found.mean < found.interval.high < -0.01


def test_the_opposite_finding_contradicts_it() -> None:
    swapped = {("none" if arm == "identity" else "identity", depth): values for (arm, depth), values in DEGRADED.items()}
    assert decide(claim_of(BELOW, ABOVE), record_of(swapped)).verdict == CONTRADICTED


def test_noise_leaves_it_undetermined_and_says_how_many_replicates_would_decide() -> None:
    noisy = {**DEGRADED, ("identity", 2): [v + d for v, d in zip(LARGE, (-0.2, 0.15, -0.25, 0.1, -0.1, 0.05, -0.1), strict=True)]}
    decision = decide(claim_of(BELOW, ABOVE), record_of(noisy))
    assert decision.verdict == UNDETERMINED
    assert "replicates would show it" in decision.reason


def test_five_replicates_give_no_verdict() -> None:
    decision = decide(claim_of(BELOW, ABOVE), record_of({key: values[:5] for key, values in DEGRADED.items()}))
    assert decision.verdict == NO_VERDICT
    assert "a verdict needs 6" in decision.reason


def test_a_comparison_of_two_depths_of_one_arm_is_paired_by_replicate() -> None:
    rises = "{compare: none at deepest, minus: none at shallowest, metric: train_error, is: above 0.3}"
    falls = "{compare: none at deepest, minus: none at shallowest, metric: train_error, is: below 0}"
    decision = decide(claim_of(rises, falls), record_of(DEGRADED))
    assert decision.verdict == SUPPORTED
    assert decision.supporting[0].mean == pytest.approx(sum(b - a for a, b in zip(SMALL, LARGE, strict=True)) / 7)


def test_within_needs_the_whole_interval_inside() -> None:
    same = "{compare: identity - none at shallowest, metric: train_error, is: within 0.01}"
    differs = "{compare: identity - none at shallowest, metric: train_error, is: above 0.01}"
    assert decide(claim_of(same, differs), record_of(DEGRADED)).verdict == SUPPORTED
    tight = same.replace("0.01", "0.0001")
    assert decide(claim_of(tight, differs), record_of(DEGRADED)).verdict == UNDETERMINED


def test_a_change_per_doubling_is_read_over_the_layers() -> None:
    grows = "{compare: none - identity per doubling, metric: train_error, is: above 0}"
    decision = decide(claim_of(grows, grows.replace("above", "below")), record_of(DEGRADED))
    # 6 and 10 layers: the effect's rise over log2(10/6) doublings.
    rise = [(n2 - i2) - (n1 - i1) for n1, n2, i1, i2 in zip(SMALL, LARGE, SMALL[::-1], SMALL, strict=True)]
    assert decision.supporting[0].mean == pytest.approx(sum(rise) / 7 / 0.7369655941662062)


def test_equal_differences_are_said_to_be_degenerate() -> None:
    same = {key: [0.25] * 7 for key in DEGRADED}
    decision = decide(claim_of(BELOW.replace("-0.01", "0"), ABOVE.replace("-0.01", "0")), record_of(same))
    assert decision.verdict == UNDETERMINED
    assert "degenerate" in decision.reason


def test_replicates_that_all_show_the_same_are_decided_by_the_sign_test() -> None:
    worse = {key: [0.9 if key == ("none", 2) else 0.0] * 7 for key in DEGRADED}
    decision = decide(claim_of(BELOW, ABOVE), record_of(worse))
    assert decision.verdict == SUPPORTED
    assert decision.supporting[0].interval is None
    assert decision.supporting[0].p_holm == pytest.approx(2 / 2**7)
    assert decide(claim_of(ABOVE, BELOW), record_of(worse)).verdict == CONTRADICTED
    few = {key: values[:5] for key, values in worse.items()}
    assert decide(claim_of(BELOW, ABOVE), record_of(few)).verdict == NO_VERDICT


def test_equal_scores_are_practically_equivalent_unless_the_trainings_failed() -> None:
    within = BELOW.replace("below -0.01", "within 0.05")
    same = {key: [0.25] * 7 for key in DEGRADED}
    assert decide(claim_of(within, ABOVE.replace("-0.01", "0.05")), record_of(same)).verdict == SUPPORTED
    failed = record_of(same, failed=[(level, 2, k) for level in ("none", "identity") for k in range(7)])
    assert decide(claim_of(within, ABOVE.replace("-0.01", "0.05")), failed).verdict == UNDETERMINED


def test_a_missing_arm_is_said_to_be_unmeasured() -> None:
    decision = decide(claim_of(BELOW, ABOVE), record_of({key: v for key, v in DEGRADED.items() if key[0] == "none"}))
    assert decision.verdict == NO_VERDICT
    assert "nothing was measured" in decision.reason


def test_two_conditions_share_one_family() -> None:
    both = f"{BELOW}, {{compare: none at deepest, metric: train_error, is: above 0.1}}"
    decision = decide(claim_of(both, ABOVE), record_of(DEGRADED))
    assert decision.supporting[0].interval is not None
    assert decision.supporting[0].interval.confidence == pytest.approx(1 - 0.05 / 2)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("is: below -0.01}", "is: under 0}", "depth.yaml:25: rule.supported_when.is: must read like `above 0`"),
        ("metric: train_error, is: below", "metrik: train_error, is: below", "unknown key of a condition; did you mean 'metric'?"),
        ("statement:", "statment:", "depth.yaml:1: statment: unknown key; did you mean 'statement'?"),
        ("  supported_when:", "  supported:", "unknown key; did you mean 'supported_when'?"),
        ("source: somebody, 2015\n", "", "source: must be given"),
        ("    any:\n", "    any:\n      []\n    other:\n", "stands beside `any:`"),
    ],
)
def test_a_wrong_file_is_answered_with_line_and_nearest_name(old: str, new: str, told: str) -> None:
    assert old in TEXT
    with pytest.raises(SpaceError) as caught:
        parse_claim(TEXT.replace(old, new, 1), "depth.yaml")
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("identity - none at deepest, metric: train_error, is: below", "identty - none at deepest, is: below",
         "depth.yaml:25: rule: 'identty' is no arm of the study; did you mean 'identity'?"),
        ("none at deepest, metric", "none at 3, metric", "'3' is no value of architecture.staged.depth"),
        ("metric: train_error, is: below", "metric: train_eror, is: below", "did you mean 'train_error'?"),
        ("      depth: {choices", "      dept: {choices", "depth.yaml:12: architecture.staged.dept: unknown parameter"),
        ("none at deepest, metric: train_error, is: below", "none, metric: train_error, is: below", "must say which cell"),
    ],
)  # fmt: skip
def test_a_rule_that_does_not_fit_its_study_is_refused(registry: Registry, old: str, new: str, told: str) -> None:
    assert old in TEXT
    with pytest.raises(SpaceError) as caught:
        bind(parse_claim(TEXT.replace(old, new, 1), "depth.yaml"), registry)
    assert told in str(caught.value)


def test_a_place_may_name_one_decision_of_several() -> None:
    at = tuple((depth, epochs) for depth in (4, 9) for epochs in (15, 45))
    cells = Cells(("none", "gated(bias=-6)"), (("architecture.staged.depth", (4, 9)), ("train.epochs", (15, 45))), at)
    found = place_of("gated(bias=-6) - none at epochs=45", cells, Where("f"))
    assert found.arms == (("gated(bias=-6)", 1.0), ("none", -1.0))
    assert found.at == ((4, 45), (9, 45))
    assert place_of("none at depth=9, epochs=15", cells, Where("f")).at == ((9, 15),)
    with pytest.raises(SpaceError, match="must say of which decision"):
        place_of("none at 9", cells, Where("f"))


def test_other_data_take_the_place_of_the_studys_own(registry: Registry) -> None:
    with pytest.raises(SpaceError, match="unknown data set 'digts'; did you mean 'digits'"):
        bind(parse_claim(TEXT, "depth.yaml"), registry, data="digts")
    without = TEXT.replace("  data: digits\n", "")
    assert bind(parse_claim(without, "depth.yaml"), registry, data="digits").key == bind(parse_claim(TEXT, "depth.yaml"), registry).key


def test_every_shipped_claim_takes_pictures_of_another_size_or_keeps_its_own_data(registry: Registry) -> None:
    other = "{folder: {path: pictures, size: 32}}"
    kept = {claim.name for claim in load_claims() if "folder" not in str(bind(claim, registry, data=other).data)}
    assert kept == {"generators", "identity-is-hard", "near-the-identity", "long-skips-segmentation"}


def test_every_shipped_claim_fits_its_study(registry: Registry) -> None:
    claims = load_claims()
    for claim in claims:
        space = bind(claim, registry)
        assert space.measure is not None
        assert space.measure.replicates >= 6, f"{claim.name} would never have a verdict"
        assert claim.figures, f"{claim.name} shows nothing"
        assert claim.explain, f"{claim.name} explains nothing"


def test_an_unknown_claim_names_the_nearest() -> None:
    with pytest.raises(UserError, match="'degredation' is no claim; did you mean 'degradation'"):
        load_claims(["degredation"])


def test_two_differing_files_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "degradation.yaml").write_text(TEXT)
    with pytest.raises(UserError, match="two claims are called 'degradation'"):
        claim_files([tmp_path])


def test_the_page_shows_claims_with_their_figures_and_no_foreign_address() -> None:
    claim, record = parse_claim(TEXT, "depth.yaml"), record_of(DEGRADED)
    page = render_claims([(claim, find(claim, record), record)])
    assert "Supported" in page
    assert "training error, %" in page
    assert "28 against 25 %" in page
    assert "6 layers" in page
    assert "http" not in page.replace("http://www.w3.org", "")


def test_a_claim_may_share_the_study_of_another(tmp_path: Path, registry: Registry) -> None:
    head, _, rule = TEXT.partition("study:")
    (tmp_path / "deep.yaml").write_text(TEXT)
    (tmp_path / "shared.yaml").write_text(f"{head}study: deep\n\nrule:{rule.partition('rule:')[2]}")
    own, shared = load_claims(["deep", "shared"], [tmp_path])
    assert bind(own, registry).key == bind(shared, registry).key
    assert bind(own, registry).name == bind(shared, registry).name == "deep"
    (tmp_path / "lost.yaml").write_text(f"{head}study: depe\n\nrule:{rule.partition('rule:')[2]}")
    with pytest.raises(SpaceError, match="no claim whose study could be shared; did you mean 'deep'"):
        load_claims(["lost"], [tmp_path])


def test_an_entry_of_a_series_can_be_compared() -> None:
    record = record_of(DEGRADED)
    series = [{"lesion.error": (0.5 + t.seed / 100, 0.3, 0.1)} for t in record.measured]
    lesioned = tuple(replace(t, outcome=replace(t.outcome, series=s)) for t, s in zip(record.measured, series, strict=True) if t.outcome)
    sides = 'compare: identity at deepest, metric: "lesion.error[first]", minus: identity at deepest, minus_metric: "lesion.error[3]"'
    falls = f"{{{sides}, is: above 0.1}}"
    decision = decide(claim_of(falls, falls.replace("above", "below")), replace(record, measured=lesioned))
    assert decision.verdict == SUPPORTED
    assert decision.supporting[0].mean == pytest.approx(0.43)


@pytest.fixture
def own_claims(tmp_path: Path) -> Path:
    folder = tmp_path / "claims"
    folder.mkdir()
    # A probe that is called like a shortcut makes no other training of it.
    (folder / "depth.yaml").write_text(TEXT.replace("  measure:\n", "  probes: [identity]\n  measure:\n"))
    # Another claim on the same trainings, judged by another metric and with one cell less.
    second = TEXT.replace("depth: [1, 2]}", "depth: [1]}").replace("    replicates: 2", "    replicates: 2\n    metric: train_accuracy")
    (folder / "shallow.yaml").write_text(second.replace("at deepest", "at shallowest"))
    return folder


def test_claims_run_end_to_end_share_their_trainings_and_train_nothing_twice(
    own_claims: Path, tmp_path: Path, nas_command: Callable[..., object]
) -> None:
    done = nas_command("claims", "run", "depth", "shallow", "--json", "--workers", "2")
    assert done.returncode == 0, done.stderr  # type: ignore[attr-defined]
    first, second = json.loads(done.stdout)  # type: ignore[attr-defined]
    assert first["verdict"] == second["verdict"] == NO_VERDICT
    assert (first["finding"]["trainings"], first["finding"]["shared"]) == (8, 0)
    assert (second["finding"]["trainings"], second["finding"]["shared"]) == (4, 4)
    # Another run of finished claims changes nothing.
    kept = {file.name: file.read_text() for file in (tmp_path / "mlflow" / "claims").iterdir()}
    again = list(settle(["shallow", "depth"], folders=[own_claims], store=tmp_path / "mlflow"))
    assert {one.finding.shared for one in again} == {0, 4}
    assert {f"{one.claim.name}.json": json.dumps(one.finding.to_dict(), indent=2) + "\n" for one in again} == kept
    listed = nas_command("claims", "--json")
    told = {claim["name"]: claim.get("verdict") for claim in json.loads(listed.stdout)}  # type: ignore[attr-defined]
    assert told["depth"] == NO_VERDICT
    assert told["degradation"] is None


def test_the_claim_that_the_page_writes_fits_its_study(registry: Registry) -> None:
    page = (Path(__file__).parent.parent / "docs" / "claims.md").read_text()
    text = page.partition("```yaml\n")[2].partition("```")[0]
    space = bind(parse_claim(text, "wider-is-better.yaml"), registry)
    assert space.measure is not None
    assert len(space.measure.levels) == 1


def test_a_legend_must_name_each_of_what_is_shown() -> None:
    with pytest.raises(SpaceError, match=r"figure.names: must name each of `show`: 1, got 2"):
        parse_claim(TEXT.replace("{show: train_error,", "{show: train_error, names: [a, b],"), "depth.yaml")


def test_the_table_of_findings_loses_nothing_in_80_columns() -> None:
    claim = claim_of(BELOW, ABOVE)
    decision = decide(claim, record_of(DEGRADED))
    finding = Finding(
        claim.name, decision.verdict, decision.reason, decision.supporting, decision.contradicting, replicates=7, depth="6/10",
        budget="15 epochs", trainings=28, shared=0, failed=0, seconds=27, study=f"{claim.name}-0123", data="digits", mode="",
        claim_key=claim.key,
    )  # fmt: skip
    shown = StringIO()
    Console(width=80, file=shown).print(claims_table([(claim, finding)]))
    assert max(map(len, shown.getvalue().splitlines())) <= 80
    last_column = " ".join(line[62:].strip() for line in shown.getvalue().splitlines())
    assert "6/10 layers, 15 epochs, K 7, 27 s" in " ".join(last_column.split())
