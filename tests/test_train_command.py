"""`nas train`: what is trained anew, from which seeds; killed in the middle and resumed; what it says and keeps."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from conftest import clean_environment
from mlflow.tracking import MlflowClient
from rich.console import Console

import nas
from nas.building import cost_of
from nas.cli.best import command as best_command
from nas.cli.export import command as export_command
from nas.cli.probe import command as probe_command
from nas.cli.report import command as report_command
from nas.cli.sync import command as sync_command
from nas.cli.train import show_training
from nas.concluding import StudyResult, conclude
from nas.errors import UserError
from nas.keeping import read_about
from nas.measuring.retraining import Figure, Origin, Retest, Retraining
from nas.registry import Registry, discover
from nas.report.retest import lines, sentence
from nas.space import parse_space
from nas.space.written_out import written_out
from nas.study.crew.crew import threads_for
from nas.study.jobs.job import Job, run_job
from nas.study.jobs.materials import context_of, load_split
from nas.study.ledger.storage import default_storage
from nas.study.origins import study_to_train
from nas.study.study import Study
from nas.study.worker.worker import work
from nas.values.effects import Interval
from nas.values.plans import Cell
from nas.values.seeds import derive

DEPTH, RATE = "architecture.mlp.depth", "train.optimizer.sgd.lr"
TEXT = """\
name: tiny
data: {mixture: {dimension: 4, count: 300}}
architecture: {mlp: {widths: [8], depth: {int: [1, 3]}}}
train: {epochs: 20, batch_size: 32, schedule: counted, optimizer: {sgd: {lr: {float: [0.02, 0.1], log: true}}}}
search: {trials: 2, workers: 1, pruner: none}
seed: 5
"""
COUNTED = """\
import time
from pathlib import Path

from nas.plugin import Schedule, plugin


@plugin("counted")
class Counted(Schedule):
    \"\"\"Constant; notes every step in the current directory, and takes its time.\"\"\"

    def factor(self, step: int, num_steps: int) -> float:
        with Path("steps.txt").open("a") as file:
            file.write(f"{step}\\n")
        time.sleep(0.006)
        return 1.0
"""
STEPS = 20 * 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a space and the plugin that it needs."""
    place = tmp_path_factory.mktemp("train")
    (place / "plugins").mkdir()
    (place / "plugins" / "counted.py").write_text(COUNTED)
    (place / "tiny.yaml").write_text(TEXT)
    return place


@pytest.fixture(scope="module")
def searched(folder: Path) -> StudyResult:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        store = folder / "mlflow"
        study = Study.open(nas.load_space("tiny.yaml"), default_storage(store))
        study.search.ensure(study.search_slots(ahead=0))
        work(study.storage_url, [study.search.name], emit=lambda _event: None, networks=store / "networks")
        study.refresh()
        return conclude(study, store=store)


@pytest.fixture(scope="module")
def killed_and_resumed(folder: Path, searched: StudyResult) -> tuple[list[int], dict[str, Any]]:
    """Train the study's best from two seeds, SIGKILL in the middle of the first training, the same again: (steps, JSON)."""
    steps = folder / "steps.txt"
    steps.unlink()
    command = [sys.executable, "-m", "nas", "train", searched.record.title, "--seeds", "2", "--workers", "1", "--json"]
    running = subprocess.Popen(command, cwd=folder, env=clean_environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = time.time() + 120
    while not (middle := next(folder.glob("mlflow/networks/*/train-*/s0.checkpoint"), None)) and time.time() < until:
        time.sleep(0.02)
    assert middle, "the first training came as far as its first epoch"
    running.send_signal(signal.SIGKILL)
    running.wait(timeout=30)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        result = nas.train(searched.record.title, seeds=2, workers=1, store=folder / "mlflow")
    told = io.StringIO()
    with contextlib.redirect_stdout(told):
        show_training(result, Console(), as_json=True)
    return [int(line) for line in steps.read_text().split()], json.loads(told.getvalue())


def test_a_training_that_was_killed_goes_on_in_the_middle(killed_and_resumed: tuple[list[int], dict[str, Any]]) -> None:
    steps, _ = killed_and_resumed
    often = Counter(steps)
    assert often[0] == 2, "each seed begins once"
    assert len(often) == STEPS
    assert sum(count - 2 for count in often.values()) <= 6, "at most the epoch that was cut short is trained twice"


def test_what_was_killed_comes_to_what_an_undisturbed_training_does(
    folder: Path, searched: StudyResult, killed_and_resumed: tuple[list[int], dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    (before,) = searched.record.best(1)
    registry, configuration = discover(), before.configuration
    assert configuration is not None
    context = context_of(parse_space(TEXT, "tiny.yaml", registry), configuration)
    cost = cost_of(configuration.architecture, registry, context)
    seed = derive(5, "retraining", 0)
    before_threads = torch.get_num_threads()
    torch.set_num_threads(threads_for(1))  # as one worker alone has
    try:
        undisturbed = run_job(Job(configuration, cost, context, "test_r2", seed, split_seed=5), registry)
    finally:
        torch.set_num_threads(before_threads)
    found = killed_and_resumed[1]
    assert found["seeds"][0] == seed
    assert found["trainings"][0]["metrics"] == undisturbed.metrics


def test_nothing_finished_is_trained_twice_and_more_seeds_add_to_those_there(
    folder: Path, searched: StudyResult, killed_and_resumed: tuple[list[int], dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    before = len((folder / "steps.txt").read_text().split())
    again = nas.train(searched.record.title, seeds=2, store=folder / "mlflow")
    assert len((folder / "steps.txt").read_text().split()) == before
    assert again.retest.test is not None
    assert list(again.retest.test.values) == killed_and_resumed[1]["test"]["values"]
    url = default_storage(folder / "mlflow")
    more = plan(searched.record.title, url, seeds=4)
    assert more.title == again.record.title
    assert [t.slot for t in more.owed_trainings()] == ["s0", "s1", "s2", "s3"]
    plan(searched.record.title, url, seeds=2)


def test_the_score_before_stands_beside_what_fresh_seeds_give(
    searched: StudyResult, killed_and_resumed: tuple[list[int], dict[str, Any]]
) -> None:
    (before,), found = searched.record.best(1), killed_and_resumed[1]
    assert before.outcome is not None
    assert found["origin"]["score"] == before.outcome.score
    assert found["origin"]["chosen_from"] == 2
    test, again = found["test"], found["again"]
    assert (test["metric"], again["metric"]) == ("test_r2", "val_r2")
    assert test["values"] == [t["metrics"]["test_r2"] for t in found["trainings"]]
    assert again["values"] == [t["metrics"]["val_r2"] for t in found["trainings"]]
    assert test["interval"]["low"] < test["mean"] < test["interval"]["high"]


def test_the_report_has_the_retest_beside_the_best_architecture(
    folder: Path, searched: StudyResult, killed_and_resumed: tuple[list[int], dict[str, Any]], url: str
) -> None:
    before = searched.report.read_text()
    assert f"nas train {searched.record.title}" in before
    again = conclude(Study.reopen(searched.record.title, url), store=folder / "mlflow").report.read_text()
    assert "What fresh seeds give" in again
    assert f">{killed_and_resumed[1]['test']['mean']:.3f}<".replace("-", "\N{MINUS SIGN}") in again
    assert "all share one split" in again


def test_the_searchs_own_network_is_scored_once_on_the_test_split(
    searched: StudyResult, killed_and_resumed: tuple[list[int], dict[str, Any]], url: str
) -> None:
    title, found = searched.record.title, killed_and_resumed[1]
    study = Study.reopen(title, url)
    network = nas.load_network(title)
    about = network.about
    split = load_split(about.configuration.data, discover(), about.split_seed, about.configuration.task)
    with torch.no_grad():
        answers = network.network(split.test.inputs)
    r2 = 1 - (answers - split.test.targets).square().sum() / (split.test.targets - split.test.targets.mean(0)).square().sum()
    assert found["kept"] == pytest.approx(float(r2), abs=1e-5)
    study.search.note(test_of_best={"number": study.search.best_number(), "figures": {"test_r2": 0.125}})
    again = nas.train(title, seeds=2)
    assert again.retest.kept == 0.125, "what the ledger has is not measured again"
    study.search.note(test_of_best={"number": study.search.best_number(), "figures": {"test_r2": found["kept"]}})


def test_each_seed_has_its_network_in_the_store_and_with_its_run(
    folder: Path, killed_and_resumed: tuple[list[int], dict[str, Any]]
) -> None:
    found = killed_and_resumed[1]
    files = [Path(network["file"]) for network in found["networks"]]
    assert [network["seed"] for network in found["networks"]] == [0, 1]
    assert not list(files[0].parent.glob("*.checkpoint"))
    client = MlflowClient(tracking_uri=found["tracking_uri"])
    (experiment,) = [e for e in client.search_experiments() if e.name == "tiny"]
    runs = client.search_runs([experiment.experiment_id], "tags.`nas.phase` = 'train'")
    assert sorted(run.data.tags["nas.seed"] for run in runs) == sorted(map(str, found["seeds"]))
    assert {run.data.tags["nas.split_seed"] for run in runs} == {"5"}, "all share the split of the search"
    first = next(run for run in runs if run.data.tags["nas.replicate"] == "0")
    x = torch.linspace(-1, 1, 40).view(10, 4)
    one = nas.load_network(first.info.run_id, store=folder / "mlflow", plugins=[folder / "plugins"])
    assert torch.equal(one(x), nas.load_network(files[0], plugins=[folder / "plugins"])(x))


def plan(target: Any, url: str, **changes: Any) -> Study:
    options: dict[str, Any] = {"store": Path(), "settings": {}, "architecture": None, "seeds": 2, "epochs": None, "plugins": (), **changes}
    return study_to_train(target, url, **options)


@pytest.fixture
def url(folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(folder)
    return default_storage(folder / "mlflow")


def test_a_run_is_trained_anew_as_its_training_was_even_where_the_ledger_is_not(
    folder: Path, searched: StudyResult, url: str, tmp_path: Path
) -> None:
    client = MlflowClient(tracking_uri=searched.tracking_uri)
    (experiment,) = [e for e in client.search_experiments() if e.name == "tiny"]
    tag = f"tags.`nas.study` = '{searched.record.title}'"
    runs = {run.data.tags.get("nas.number", ""): run.info.run_id for run in client.search_runs([experiment.experiment_id], tag)}
    for trial in searched.record.search:
        study = plan(runs[str(trial.number)], url, store=folder / "mlflow")
        (planned, _) = study.owed_trainings()
        assert planned.sample.configuration == trial.configuration
    best = plan(runs[""], url, store=folder / "mlflow")
    assert best.title == plan(searched.record.title, url).title
    elsewhere = plan(runs[""], f"sqlite:///{tmp_path / 'other.db'}", store=folder / "mlflow")
    assert next(elsewhere.owed_trainings()).sample.configuration == searched.record.best(1)[0].configuration
    with pytest.raises(UserError, match="a run and a kept network have decided everything"):
        plan(runs[""], url, store=folder / "mlflow", settings={DEPTH: "2"})


def test_a_kept_networks_file_is_enough_to_train_it_anew(folder: Path, searched: StudyResult, url: str) -> None:
    (file,) = (folder / "mlflow" / "networks" / searched.record.title).glob("*.pt")
    study, about = plan(file, url), read_about(file)
    (planned, _) = study.owed_trainings()
    assert planned.sample.configuration == about.configuration
    assert study.space.seed == about.split_seed == 5
    assert isinstance(study.design, Retraining)
    assert study.design.origin.score == dict(about.figures)["val_r2"]


def test_of_a_space_what_stands_first_is_trained_with_what_is_set(url: str) -> None:
    space = nas.load_space("tiny.yaml")
    study = plan(space, url, settings={DEPTH: "3"})
    (planned, _) = study.owed_trainings()
    assert dict(planned.sample.decisions) == {DEPTH: 3, RATE: 0.02}
    with pytest.raises(UserError, match=r"did you mean 'architecture\.mlp\.depth'"):
        plan(space, url, settings={"architecture.mlp.dept": "3"})
    with pytest.raises(UserError, match="--architecture goes with a space file"):
        plan("tiny", url, architecture="one.json")


def test_an_architecture_that_breaks_a_constraint_is_refused(url: str, registry: Registry) -> None:
    space = parse_space(TEXT.replace("counted", "linear") + "constraints: [parameters <= 10]\n", "small.yaml", registry)
    with pytest.raises(UserError, match=r"what stands first in small.yaml: breaks parameters <= 10"):
        plan(space, url)


def test_other_epochs_are_another_retraining_that_trains_so_long(url: str) -> None:
    space = nas.load_space("tiny.yaml")
    short, own = plan(space, url, epochs=2), plan(space, url)
    assert short.title != own.title
    for study, epochs in ((short, 2), (own, 20)):
        (planned, _) = study.owed_trainings()
        assert dict(planned.sample.configuration.train.parameters)["epochs"] == epochs


def test_fresh_seeds_are_none_of_the_searchs_and_none_of_a_measurements(searched: StudyResult, url: str) -> None:
    fresh = {t.seed for t in plan(searched.record.title, url, seeds=50).owed_trainings()}
    used = {derive(5, kind, number) for kind in ("trial", "replicate") for number in range(1000)}
    assert {trial.seed for trial in searched.record.search} <= used
    assert len(fresh) == 50
    assert not fresh & used
    plan(searched.record.title, url, seeds=2)


def test_a_configuration_written_out_is_read_back_as_it_was(registry: Registry) -> None:
    space = parse_space("architecture: {unet: {}}\ndata: noisy_scenes\ntask: {segmentation: {loss: dice}}\n", "s.yaml", registry)
    configuration = nas.api.decide(space).configuration  # type: ignore[attr-defined]  # a submodule that `import nas` loads late
    text = written_out(configuration, name="unet", seed=2**62, objective="val_iou", maximize=True)
    again = parse_space(text, "again", registry)
    assert nas.api.decide(again).configuration == configuration  # type: ignore[attr-defined]
    assert again.search.objective == "val_iou"


def test_a_failed_seed_and_a_score_above_fresh_seeds_are_said() -> None:
    found = Retest(
        Origin("trial 7, the best of 30 in s", "val_accuracy", 0.97, chosen_from=30, epochs=10),
        epochs=10,
        test=Figure("test_accuracy", (0.9, 0.94), 0.92, 0.028, Interval(0.66, 1.18, 0.95)),
        again=Figure.of("val_accuracy", [0.94, 0.96]),
        failures=1,
        missing=1,
    )
    told = "\n".join(lines(found))
    assert "The score before, the best of 30 trials, is 2.0 points above the mean of fresh seeds." in told
    assert "1 training of 2 failed" in told
    assert "1 seed without an outcome yet" in told
    assert sentence(found).startswith("Over 2 fresh seeds, test_accuracy is 92.0% [66.0, 118.0]; the score before")
    assert max(map(len, told.splitlines())) <= 100


def test_the_interval_of_a_share_ends_where_shares_do_and_that_of_a_loss_does_not() -> None:
    low_to_high = [(figure.interval.low, figure.interval.high) for name in ("test_accuracy", "test_error", "test_loss")
                   if (figure := Figure.of(name, [0.01, 0.03])) and figure.interval]  # fmt: skip
    (low, high), *others = low_to_high
    assert (low, high) == (0.0, pytest.approx(0.02 + 12.706 * 0.01, abs=1e-4))
    assert others == [(0.0, high), (pytest.approx(0.02 - 12.706 * 0.01, abs=1e-4), high)]
    above = Figure.of("test_accuracy", [0.97, 0.99]).interval
    assert above is not None
    assert above.high == 1.0


def test_one_seed_has_no_interval() -> None:
    assert Figure.of("test_accuracy", [0.9]).interval is None
    assert Figure.of("test_accuracy", [0.9, 0.9, 0.9]).sd == 0


def test_a_cell_of_a_retraining_names_its_files(url: str) -> None:
    (planned, _) = plan(nas.load_space("tiny.yaml"), url).owed_trainings()
    assert planned.cell == Cell(0, "retrained")
    assert planned.slot == "s0"


def test_best_shows_the_searchs_score_beside_fresh_seeds(
    searched: StudyResult, killed_and_resumed: tuple[list[int], dict[str, Any]], url: str
) -> None:
    title, retrained = searched.record.title, killed_and_resumed[1]
    plan(title, url, seeds=2)
    found = nas.best(title)
    (best,) = searched.record.best(1)
    assert found.best.number == best.number
    assert found.network is not None
    assert found.network.stem == str(best.number)
    one = next(r for r in found.retrained if r.title == retrained["study"])
    assert one.retest.test is not None
    assert list(one.retest.test.values) == retrained["test"]["values"]
    assert [str(file) for file in one.networks] == [network["file"] for network in retrained["networks"]]
    told = CliRunner().invoke(best_command, [title]).output
    assert f"Trial {best.number} of {title}" in told
    assert "test_r2, fresh seeds" in told
    assert str(found.network) in told


def test_a_retraining_is_reported_and_synced_by_its_title(killed_and_resumed: tuple[list[int], dict[str, Any]], url: str) -> None:
    title = killed_and_resumed[1]["study"]
    assert json.loads(CliRunner().invoke(report_command, [title, "--json"]).output)["test"] == killed_and_resumed[1]["test"]
    assert "0 pending" in CliRunner().invoke(sync_command, [title]).output
    with pytest.raises(UserError, match="has a network a seed; name the file of one"):
        nas.load_network(title)
    for command in (nas.ablate, nas.measure):
        with pytest.raises(UserError, match="is a retraining; give the study tiny-"):
            command(title)


def test_a_search_without_a_retest_says_how_to_get_one(url: str, tmp_path: Path) -> None:
    study = Study.open(nas.load_space("tiny.yaml"), default_storage(tmp_path))
    with pytest.raises(UserError, match="has no finished trial"):
        nas.best(study.title, store=tmp_path)
    study.search.ensure(study.search_slots(ahead=0)[:1])
    work(study.storage_url, [study.search.name], emit=lambda _event: None)
    told = CliRunner().invoke(best_command, [study.title, "--store", str(tmp_path)]).output
    assert f"What fresh seeds give: nas train {study.title}" in told
    assert "not kept in this store" in told


def test_a_network_is_a_model_of_mlflows_that_another_process_loads_without_nas(searched: StudyResult, url: str, tmp_path: Path) -> None:
    title = searched.record.title
    last = CliRunner().invoke(export_command, ["--to", str(tmp_path / "last"), "--format", "state_dict"], catch_exceptions=False)
    assert str(tmp_path / "last") in last.output, "the study that ran last"
    told = CliRunner().invoke(export_command, [title, "--to", str(tmp_path / "out"), "--format", "torch_export", "--mlflow", "--json"])
    assert told.exit_code == 0, told.output
    assert "MLFLOW_TRACKING_URI" not in os.environ, "records of this process go where they went before"
    document = json.loads(told.output)
    x, answers = torch.linspace(-1, 1, 40).view(10, 4), tmp_path / "answers.pt"
    program = f"""\
import sys, mlflow, mlflow.pytorch, torch
torch.set_num_threads(1)
mlflow.set_tracking_uri({searched.tracking_uri!r})
model = mlflow.pytorch.load_model({document["model"]!r})
torch.save(model(torch.linspace(-1, 1, 40).view(10, 4)).detach(), {str(answers)!r})
assert not any(module.split(".")[0] == "nas" for module in sys.modules)
"""
    environment = {key: value for key, value in clean_environment().items() if key != "PYTHONPATH"}
    subprocess.run([sys.executable, "-P", "-c", program], check=True, timeout=170, env=environment, cwd=tmp_path)
    with torch.no_grad():
        assert torch.equal(torch.load(answers, weights_only=True), nas.load_network(title)(x))
    run = MlflowClient(tracking_uri=searched.tracking_uri).search_runs(
        [e.experiment_id for e in MlflowClient(tracking_uri=searched.tracking_uri).search_experiments()],
        f"tags.`nas.study` = '{title}' and tags.`nas.phase` = 'study'",
    )[0]
    assert run.info.status == "FINISHED"


def test_the_best_of_a_study_is_probed_by_title_by_run_and_by_file(
    folder: Path, searched: StudyResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    title = searched.record.title
    (file,) = (folder / "mlflow" / "networks" / title).glob("*.pt")
    runs = MlflowClient(f"sqlite:///{folder / 'mlflow' / 'mlflow.db'}")
    (experiment,) = [e.experiment_id for e in runs.search_experiments() if e.name != "Default"]
    (parent,) = runs.search_runs([experiment], f"attributes.run_name = '{title}'")
    readings = []
    for target in (title, parent.info.run_id, str(file)):
        done = CliRunner().invoke(probe_command, ["gradients", target, "--json"], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        readings.append(json.loads(done.output))
    assert readings[0] == readings[1] == readings[2]
    assert readings[0]["metrics"]["gradients.first_norm"] > 0
