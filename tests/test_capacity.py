"""References of equal cost: how they are widened, planned, trained and told."""

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from in_process import nas_here
from mlflow.tracking import MlflowClient

from nas.errors import UserError
from nas.measuring.capacity import matched_configuration, widths_of, with_widths
from nas.measuring.design import Twins
from nas.measuring.estimates import estimate
from nas.measuring.table import read_results
from nas.registry import Registry, discover
from nas.sampling import first_choice, fixing, sample
from nas.space import Space, load_space, parse_space
from nas.study.ledger.storage import default_storage
from nas.study.study import Study
from nas.values.architecture import Configuration
from nas.values.outcome import Cost

SHORTCUT = "architecture.staged.shortcut"
SPACE = """\
name: capacity
architecture:
  staged:
    widths: [6, 12]
    depth: 1
    shortcut: {choices: [none, identity, projection]}
train: {epochs: 1, batch_size: 256}
search: {trials: 1, workers: 2}
measure:
  factor: architecture.staged.shortcut
  reference: none
  match: [parameters, macs]
  replicates: 2
"""
PARAMETERS, MACS = "none with the parameters of projection", "none with the MACs of projection"


@pytest.fixture
def space(registry: Registry) -> Space:
    return parse_space(SPACE, "capacity.yaml", registry)


def study_of(space: Space, folder: Path) -> Study:
    return Study.open(space, default_storage(folder))


def counting(study: Study) -> Callable[[Configuration], int]:
    return lambda configuration: study.cost(configuration).parameters


def configuration(space: Space, **widths: list[int]) -> Configuration:
    found = sample(space, fixing({SHORTCUT: "none"}, first_choice)).configuration
    return with_widths(found, widths["widths"]) if widths else found


@pytest.mark.parametrize(("widths", "more"), [([16, 32, 64], 1.1), ([16, 32, 64], 1.37), ([16, 32, 64], 4.0), ([16, 32, 64], 0.6)])
def test_the_width_grid_of_a_usual_network_comes_within_one_percent(
    widths: list[int], more: float, registry: Registry, tmp_path: Path
) -> None:
    text = SPACE.replace("[6, 12]", str(widths))
    study = study_of(parse_space(text, "capacity.yaml", registry), tmp_path)
    start, count = configuration(study.space), counting(study)
    target = round(more * count(start))
    found = matched_configuration(start, target, cost=count)
    assert count(found.configuration) == pytest.approx(target, rel=0.01)
    assert found.mismatch == (count(found.configuration) - target) / target
    assert widths_of(found.configuration.architecture.network) == found.widths


def test_a_target_that_is_the_cost_leaves_the_widths_alone(space: Space, tmp_path: Path) -> None:
    study = study_of(space, tmp_path)
    start, count = configuration(space), counting(study)
    assert matched_configuration(start, count(start), cost=count).widths == (6, 12)


def test_where_the_proportions_miss_by_more_than_a_percent_uneven_widths_come_nearer(
    space: Space, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = study_of(space, tmp_path)
    start, count = configuration(space), counting(study)
    targets = [round(times / 100 * count(start)) for times in range(105, 160, 5)]
    found = [matched_configuration(start, target, cost=count).mismatch for target in targets]
    monkeypatch.setattr("nas.measuring.capacity.MOST_STAGES", 0)
    in_proportion = [matched_configuration(start, target, cost=count).mismatch for target in targets]
    assert all(abs(one) <= abs(other) for one, other in zip(found, in_proportion, strict=True))
    assert sum(abs(mismatch) <= 0.01 for mismatch in found) > sum(abs(mismatch) <= 0.01 for mismatch in in_proportion)


def test_a_norm_of_groups_takes_widths_in_its_own_steps(registry: Registry, tmp_path: Path) -> None:
    text = SPACE.replace("widths: [6, 12]", "widths: [8, 16]\n    block: {basic: {norm: {group: {groups: 4}}}}")
    study = study_of(parse_space(text, "capacity.yaml", registry), tmp_path)
    start, count = configuration(study.space), counting(study)
    found = matched_configuration(start, 2 * count(start), cost=count)
    assert all(width % 4 == 0 for width in found.widths)


def test_a_network_without_widths_is_refused(space: Space) -> None:
    network = replace(configuration(space).architecture.network, name="other", parameters=())
    with pytest.raises(UserError, match="network 'other' has neither `widths` nor `width`"):
        widths_of(network)


def test_only_arms_that_cost_more_have_a_wider_reference(space: Space, tmp_path: Path) -> None:
    study = study_of(space, tmp_path)
    assert study.design is not None
    assert [(m.level, m.quantity, m.label) for m in study.design.plan.matched] == [
        ("projection", "parameters", PARAMETERS), ("projection", "macs", MACS),
    ]  # fmt: skip
    assert study.planned_measure == 2 * (3 + 2)


def test_a_wider_reference_is_a_twin_of_its_replicate(space: Space, tmp_path: Path) -> None:
    study = study_of(space, tmp_path)
    assert study.design is not None
    first = {p.cell.level: p for p in study.design.trainings(space, study.fits, [0])}
    assert {p.seed for p in first.values()} == {first["none"].seed}
    assert first[PARAMETERS].sample.decisions == first["none"].sample.decisions
    count = counting(study)
    wide, arm, plain = (count(first[level].sample.configuration) for level in (PARAMETERS, "projection", "none"))
    assert plain < arm
    assert abs(wide - arm) <= abs(plain - arm)


def test_matching_adds_trainings_to_a_design_and_changes_none(space: Space, tmp_path: Path) -> None:
    assert space.measure is not None
    plain = replace(space, measure=replace(space.measure, match=()))
    assert plain.measure is not None
    assert Twins(plain.measure).name == Twins(space.measure).name
    before = study_of(plain, tmp_path).measure_slots()
    after = study_of(space, tmp_path).measure_slots()
    assert [slot for slot in after if not slot.widths] == before
    assert len(after) == len(before) + 4


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("capacity")
    (folder / "capacity.yaml").write_text(SPACE.replace("reference: none", "reference: none\n  levels: [projection]"))
    done = nas_here(folder, "measure", "capacity.yaml", "--json")
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return folder, document


def test_the_command_trains_the_wider_networks_and_gives_both_contrasts(finished: tuple[Path, Any]) -> None:
    folder, document = finished
    assert document["measured_trainings"] == 8
    assert document["effects"]["estimand"] == "effect"
    assert document["effects"]["levels"] == ["projection"]
    found = {c["effects"]["estimand"]: c for c in document["effects"]["contrasts"]}
    assert list(found) == ["parameter-matched effect", "MAC-matched effect"]
    study = Study.open(load_space(folder / "capacity.yaml", discover()), default_storage(folder / "mlflow"))
    costs: dict[Any, Cost] = {t.cell.level: t.outcome.cost for t in study.record().measured if t.cell and t.outcome}
    (mismatch,) = found["parameter-matched effect"]["mismatches"]
    assert mismatch["worst"] == pytest.approx(costs[PARAMETERS].parameters / costs["projection"].parameters - 1)
    trained = next(t for t in study.record().measured if t.cell and t.cell.level == PARAMETERS and t.configuration)
    assert trained.configuration is not None
    assert study.cost(trained.configuration) == costs[PARAMETERS]


def test_a_contrast_can_be_computed_again_from_the_raw_replicates(finished: tuple[Path, Any]) -> None:
    _, document = finished
    results, _ = read_results(Path(document["report"]).parent / "replicates.csv")
    again = estimate(results, factor=SHORTCUT, reference=MACS, levels=["projection"], smallest_effect=0.01)
    (contrast,) = [c for c in document["effects"]["contrasts"] if c["quantity"] == "macs"]
    assert json.loads(json.dumps(again.overall[0].__dict__ | {"interval": None})) == contrast["effects"]["overall"][0] | {"interval": None}


def test_page_terminal_and_mlflow_name_each_contrast(finished: tuple[Path, Any]) -> None:
    folder, document = finished
    page = Path(document["report"]).read_text()
    assert 'id="capacity"' in page
    shown = nas_here(folder, "report", document["study"]).stdout
    table = shown[shown.index("against none of equal cost") :]
    assert [line.split()[0] for line in table.splitlines()[2:5]] == ["total", "parameter-matched", "MAC-matched"]
    assert all(len(line) <= 80 for line in table.splitlines()[:5])
    client = MlflowClient(tracking_uri=document["tracking_uri"])
    (parent,) = client.search_runs([e.experiment_id for e in client.search_experiments()], "tags.`nas.phase` = 'study'")
    (contrast,) = [c for c in document["effects"]["contrasts"] if c["quantity"] == "parameters"]
    mean = contrast["effects"]["overall"][0]["mean"]
    assert parent.data.metrics["parameter_matched_effect_overall/projection"] == pytest.approx(100 * mean)
    assert parent.data.metrics["parameters_mismatch/projection"] == pytest.approx(100 * contrast["mismatches"][0]["worst"])
    assert "parameter-matched effect" in parent.data.tags["nas.verdict.parameter_matched_effect"]
    with (Path(document["report"]).parent / "replicates.csv").open() as file:
        assert {row["level"] for row in csv.DictReader(file)} == {"none", "projection", PARAMETERS, MACS}
