"""Kept networks: written with their preparation, read again in another process, bit-equal; trainings that go on after a kill."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from mlflow.tracking import MlflowClient

import nas
from nas.building import cost_of
from nas.concluding import conclude
from nas.errors import UserError
from nas.keeping import read_about
from nas.registry import Registry
from nas.sampling import first_choice, sample
from nas.space import Space, parse_space
from nas.study.jobs.job import Job, run_job
from nas.study.jobs.kept import best_file, keep_best_alone, network_file
from nas.study.jobs.materials import context_of, load_data, load_split
from nas.study.ledger.ledger import Ledger
from nas.study.ledger.slots import Slot
from nas.study.ledger.storage import default_storage, open_storage
from nas.study.study import Study
from nas.study.worker.worker import work
from nas.training.checkpoint import Checkpoint
from nas.values.outcome import Cost, Outcome

DIGITS = """\
architecture: {staged: {widths: [4, 8], depth: 1, shortcut: {dropout: {rate: 0.1}}}}
train: {epochs: 3, batch_size: 128, augment: [{pad_crop: {padding: 1}}], optimizer: {adamw: {lr: 0.01}}}
"""
MIXTURE = """\
data: {mixture: {dimension: 4, count: 300}}
architecture: {mlp: {widths: [16], depth: 1}}
train: {epochs: 5, batch_size: 32, optimizer: {sgd: {lr: 0.05}}}
"""


def job_of(space: Space, **changes: object) -> Job:
    configuration = sample(space, first_choice).configuration
    context = context_of(space, configuration)
    cost = cost_of(configuration.architecture, space.registry, context)
    job = Job(configuration, cost, context, f"val_{space.metrics[0].name}", seed=3, split_seed=1)
    return replace(job, **changes)  # type: ignore[arg-type]


@pytest.fixture
def digits(registry: Registry) -> Space:
    return parse_space(DIGITS, "digits.yaml", registry)


def plain(outcome: Outcome) -> Outcome:
    return replace(outcome, duration_s=0.0)


def test_a_kept_network_scores_what_its_training_scored(digits: Space, tmp_path: Path) -> None:
    file = tmp_path / "kept" / "one.pt"
    job = job_of(digits, keep=str(file))
    job = replace(job, configuration=replace(job.configuration, train=with_epochs(job, 8)))
    outcome = run_job(job, digits.registry)
    assert outcome.status == "complete"
    network = nas.load_network(file)
    data, split = load_data(job.configuration.data, digits.registry), load_split(job.configuration.data, digits.registry, 1)
    with torch.no_grad():
        right = network(data.inputs[split.val.rows]).argmax(1) == data.targets[split.val.rows]
    assert float(right.double().mean()) == pytest.approx(outcome.score, abs=1e-12)
    assert read_about(file).classes == data.classes


def with_epochs(job: Job, epochs: int):  # type: ignore[no-untyped-def]
    parameters = tuple((name, epochs if name == "epochs" else value) for name, value in job.configuration.train.parameters)
    return replace(job.configuration.train, parameters=parameters)


def test_a_network_kept_by_one_process_answers_bit_equally_in_another(digits: Space, tmp_path: Path) -> None:
    file, answers = tmp_path / "one.pt", tmp_path / "answers.pt"
    job = job_of(digits, keep=str(file))
    run_job(replace(job, configuration=replace(job.configuration, train=with_epochs(job, 8))), digits.registry)
    program = (
        "import sys, torch, nas; torch.set_num_threads(1); x = torch.linspace(0, 1, 640).view(10, 1, 8, 8);"
        f"torch.save(nas.load_network({str(file)!r})(x).detach(), {str(answers)!r})"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=170)
    x = torch.linspace(0, 1, 640).view(10, 1, 8, 8)
    assert torch.equal(nas.load_network(file)(x), torch.load(answers, weights_only=True))


def test_a_kept_file_holds_plain_data_and_tensors_alone(registry: Registry, tmp_path: Path) -> None:
    space, file = parse_space(MIXTURE, "m.yaml", registry), tmp_path / "one.pt"
    run_job(job_of(space, keep=str(file)), registry)
    document = torch.load(file, weights_only=True)
    assert json.loads(document["architecture"]) == sample(space, first_choice).configuration.architecture.to_dict()
    assert all(isinstance(tensor, torch.Tensor) for tensor in document["state"].values())


def test_a_kept_regression_answers_in_the_targets_own_units(registry: Registry, tmp_path: Path) -> None:
    space, file = parse_space(MIXTURE, "m.yaml", registry), tmp_path / "one.pt"
    job = job_of(space, keep=str(file))
    outcome = run_job(job, registry)
    data = load_data(job.configuration.data, registry, job.configuration.task)
    split = load_split(job.configuration.data, registry, 1, job.configuration.task)
    with torch.no_grad():
        answers = nas.load_network(file)(data.inputs[split.val.rows])
    assert split.target_scale is not None
    (_, std), targets = split.target_scale, data.targets[split.val.rows]
    assert float(std.max()) < 0.95
    r2 = 1 - ((answers - targets) / std).square().sum() / ((targets - targets.mean(0)) / std).square().sum()
    assert float(r2) == pytest.approx(outcome.score, abs=1e-5)


def test_what_is_no_kept_network_is_refused(tmp_path: Path) -> None:
    text, other = tmp_path / "text.pt", tmp_path / "other.pt"
    text.write_text("no network")
    torch.save({"weights": torch.zeros(2)}, other)
    with pytest.raises(UserError, match=r"text.pt: cannot be read as a kept network"):
        nas.load_network(text)
    with pytest.raises(UserError, match=r"other.pt: must be a network that nas kept, of format 1, got None"):
        nas.load_network(other)


class Killed(Exception):
    pass


@pytest.mark.parametrize("after", [1, 2])
def test_a_training_that_was_killed_goes_on_bit_equally(digits: Space, tmp_path: Path, after: int) -> None:
    undisturbed = run_job(job_of(digits), digits.registry)
    file = tmp_path / "middle.checkpoint"

    def kill(epoch: int, _value: float) -> bool:
        if epoch == after + 1:
            raise Killed
        return False

    job = job_of(digits, checkpoint=str(file))
    try:
        run_job(job, digits.registry, kill)
    except Killed:
        middle = Checkpoint(file).read()
        assert middle is not None
        assert middle["epoch"] == after
    else:
        assert after == 2, "after the last epoch nobody is asked"
    resumed = run_job(job, digits.registry)
    assert plain(resumed) == plain(undisturbed)
    assert not file.exists()


def test_of_a_search_the_best_completed_network_alone_is_kept(tmp_path: Path, digits: Space) -> None:
    ledger = Ledger.create(open_storage(f"sqlite:///{tmp_path / 'o.db'}"), "s", direction="maximize", about={"phase": "search"})
    configuration = sample(digits, first_choice).configuration
    for number, (score, status) in enumerate([(0.5, "complete"), (0.9, "failed"), (0.7, "complete"), (0.6, "complete")]):
        ledger.queue(Slot(f"t{number}", number, {}), {})
        trial = ledger.claim()
        assert trial is not None
        file = network_file(tmp_path, "s", str(number))
        file.parent.mkdir(exist_ok=True)
        file.write_text("weights")
        outcome = Outcome(status, score, {}, {"train_loss": (1.0,)}, Cost(1, 1, 1), 1, 1.0, "cpu")  # type: ignore[arg-type]
        ledger.finish(trial, configuration, outcome)
        keep_best_alone(tmp_path, ledger)
    waiting = network_file(tmp_path, "s", "9")
    waiting.write_text("of a training that is not told yet")
    keep_best_alone(tmp_path, ledger)
    assert best_file(tmp_path, ledger) == network_file(tmp_path, "s", "2")
    assert sorted(file.name for file in (tmp_path / "s").iterdir()) == ["2.pt", "9.pt"]


MEASURED = """\
name: kept
data: {mixture: {dimension: 4, count: 300}}
architecture: {mlp: {widths: [8], depth: 1, shortcut: {choices: [none, identity]}}}
train: {epochs: 3, batch_size: 32, optimizer: {sgd: {lr: 0.05}}}
measure: {factor: architecture.mlp.shortcut, reference: none, levels: [identity], replicates: 1}
"""


def test_measured_networks_are_kept_where_that_is_asked_for_and_nothing_else_changes(registry: Registry, tmp_path: Path) -> None:
    space = parse_space(MEASURED, "kept.yaml", registry)
    study = Study.open(space, default_storage(tmp_path / "plain"))
    assert study.measured is not None
    study.measured.ensure(study.measure_slots())
    work(study.storage_url, [study.measured.name], emit=lambda _event: None, networks=tmp_path / "plain" / "networks")
    study.refresh()
    plain = conclude(study, store=tmp_path / "plain")
    kept = nas.measure(space, store=tmp_path / "kept", workers=1, keep=True)
    assert plain.networks == ()
    assert kept.record.title == plain.record.title
    assert [t.seed for t in kept.record.measured] == [t.seed for t in plain.record.measured]
    assert len(kept.networks) == 2
    about = {read_about(file).configuration: read_about(file) for file in kept.networks}
    for training in kept.record.measured:
        assert training.outcome is not None
        assert training.configuration is not None
        assert dict(about[training.configuration].figures)["test_r2"] == training.outcome.score
    client = MlflowClient(tracking_uri=kept.tracking_uri)
    (experiment,) = [e for e in client.search_experiments() if e.name == "kept"]
    runs = client.search_runs([experiment.experiment_id], "tags.`nas.phase` = 'measure'")
    network = nas.load_network(runs[0].info.run_id, store=tmp_path / "kept")
    assert network.about.configuration in about
