"""Probes: parsed with the space, run after the training, recorded with it; each one's known answer on a small network."""

import json
import math
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import mlflow
import optuna
import pytest
import torch
import torch.nn.functional as F

from nas.building import build, cost_of, make
from nas.errors import SpaceError
from nas.plugin import Examples, Figure, NetworkContext, Probe, Reading, Subject, plugin
from nas.probes import outputs_of, recompute_batch_norm, units_of, without
from nas.probes.running import with_readings
from nas.registry import Registry
from nas.sampling import first_choice, sample
from nas.space import Space, parse_space
from nas.study.jobs.job import Job, run_job
from nas.study.jobs.materials import context_of
from nas.study.jobs.subjects import share_wrong
from nas.study.ledger.ledger import Ledger
from nas.study.ledger.storage import default_storage, open_storage
from nas.testing.subject import completed
from nas.tracking.entries import training_entry
from nas.tracking.place import store_uri
from nas.values.architecture import PluginNode
from nas.values.outcome import Cost, Outcome
from nas.values.records import StudyRecord, TrainingRecord

LINE = """\
architecture: {{staged: {{widths: [4, 8], depth: {depth}, shortcut: {shortcut}, block: {block}}}}}
train: {{epochs: 2, batch_size: 128, optimizer: {{sgd: {{lr: 0.05}}}}}}
{more}
"""


def space_of(registry: Registry, *, shortcut: str = "identity", block: str = "basic", depth: int = 2, more: str = "") -> Space:
    return parse_space(LINE.format(shortcut=shortcut, block=block, depth=depth, more=more), "line.yaml", registry)


def subject_of(space: Space, *, seed: int = 1, num: int = 64, steps: int = 0) -> Subject:
    """A network on random images that all moments share, its weights moved a little at the end."""
    configuration = sample(space, first_choice).configuration
    generator = torch.Generator().manual_seed(seed)
    parts = {
        name: Examples(torch.randn(num, 1, 8, 8, generator=generator), torch.randint(10, (num,), generator=generator))
        for name in ("train", "val", "test")
    }

    def at(moment: object) -> object:
        network = build(configuration.architecture, space.registry, NetworkContext((1, 8, 8), 10), seed=seed)
        if moment == "end":
            recompute_batch_norm(network, parts["train"].inputs)
        return network

    return Subject(parts, F.cross_entropy, share_wrong, 10, seed, ("start", "end"), at)  # type: ignore[arg-type]


def probe_of(registry: Registry, name: str, **parameters: object) -> Probe:
    node = completed(registry, "probe", PluginNode(name, tuple(parameters.items())))  # type: ignore[arg-type]
    built: Probe = make("probe", node, registry)
    return built


def outcome_of(space: Space, *, metric: str = "val_accuracy", seed: int = 1) -> Outcome:
    configuration = sample(space, first_choice).configuration
    context = context_of(space, configuration)
    job = Job(configuration, cost_of(configuration.architecture, space.registry, context), context, metric, seed, seed, space.probes)
    return run_job(Job.from_dict(job.to_dict()), space.registry)


# --- the section ----------------------------------------------------------------------------------------------------


def test_a_space_without_probes_keeps_its_key(registry: Registry) -> None:
    assert space_of(registry).key == space_of(registry, more="probes: []").key
    assert not [place for place in space_of(registry).identity() if "probe" in place]


def test_probes_and_their_parameters_are_part_of_the_study(registry: Registry) -> None:
    keys = {
        space_of(registry, more=more).key for more in ("", "probes: [lesion]", "probes: [gradients]", "probes: [{gradients: {step: 5}}]")
    }
    assert len(keys) == 4


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("probes: [leison]", "line.yaml:3: probes.0: unknown probe 'leison'; did you mean 'lesion'?"),
        ("probes: lesion", "line.yaml:3: probes: must be a list like `[lesion, gradients]`, got 'lesion'"),
        ("probes: [lesion, lesion]", "line.yaml:3: probes.1: the probe 'lesion' stands here twice"),
        ("probes: [{gradients: {stp: 3}}]", "unknown parameter of probe 'gradients'; did you mean 'step'?"),
        ("probes: [{gradients: {step: {int: [1, 9]}}}]", "probes.0.gradients.step: must be a constant"),
        ("search: {maximize: lesion.median_error}", "is a figure of the probe 'lesion'"),
    ],
)
def test_a_wrong_probe_is_answered_with_its_place(registry: Registry, more: str, message: str) -> None:
    with pytest.raises(SpaceError) as caught:
        space_of(registry, more=more)
    assert message in str(caught.value)


MEASURED = "measure: {{factor: architecture.staged.shortcut, reference: none, replicates: 2, metric: {metric}{rest}}}\n{more}"
EITHER = "{choices: [none, identity]}"


def test_a_listed_probes_figure_is_a_metric_with_the_direction_it_declares(registry: Registry) -> None:
    more = MEASURED.format(metric="lesion.median_error", rest="", more="probes: [lesion]")
    measure = space_of(registry, shortcut=EITHER, more=more).measure
    assert measure
    assert (measure.metric, measure.direction) == ("lesion.median_error", "minimize")
    turned = space_of(registry, shortcut=EITHER, more=more.replace("_error}", "_error, direction: maximize}")).measure
    assert turned
    assert turned.direction == "maximize"


@pytest.mark.parametrize(
    ("metric", "more", "message"),
    [
        ("lesion.median_error", "", "write `probes: [lesion]` too"),
        ("lesion.median_eror", "probes: [lesion]", "did you mean 'lesion.median_error'?"),
        ("test_accuracy, direction: minimize", "", "would take the worst test_accuracy for the best"),
    ],
)
def test_a_metric_that_no_probe_gives_is_refused(registry: Registry, metric: str, more: str, message: str) -> None:
    with pytest.raises(SpaceError) as caught:
        space_of(registry, shortcut=EITHER, more=MEASURED.format(metric=metric, rest="", more=more))
    assert message in str(caught.value)


# --- after a training -----------------------------------------------------------------------------------------------


def test_a_training_records_figures_series_and_words(registry: Registry) -> None:
    space = space_of(registry, more="probes: [lesion, {gradients: {step: 3}}]")
    outcome = outcome_of(space, metric="gradients.orders_step")
    assert not outcome.errors
    assert outcome.score == outcome.metrics["gradients.orders_step"]
    assert len(outcome.series["lesion.error"]) == 4
    assert len(outcome.series["gradients.norms"]) == 10  # 4 units of two, stem and head
    assert "deleting one of 4 units" in outcome.words["lesion"]
    assert Outcome.from_dict(outcome.to_dict()) == outcome


def test_probes_leave_the_training_as_it_was(registry: Registry) -> None:
    bare, probed = outcome_of(space_of(registry)), outcome_of(space_of(registry, more="probes: [lesion, gradients]"))
    assert bare.curves == probed.curves
    assert bare.score == probed.score


def test_an_outcome_recorded_before_there_were_probes_is_read(registry: Registry) -> None:
    document = outcome_of(space_of(registry)).to_dict()
    for name in ("series", "words", "errors"):
        del document[name]
    assert Outcome.from_dict(document).series == {}


@plugin("faulty")
class Faulty(Probe):
    """Raises."""

    figures = (Figure("one", "a figure"),)

    def measure(self, subject: Subject) -> Reading:
        raise RuntimeError("out of ideas")


@plugin("partial")
class Partial(Probe):
    """Gives a figure that is not finite, and one that is."""

    figures = (Figure("fine", "finite"), Figure("not_fine", "not"))

    def measure(self, subject: Subject) -> Reading:
        return Reading({"fine": 1.5, "not_fine": math.nan})


DONE = Outcome("complete", 0.9, {"test_accuracy": 0.9}, {}, Cost(1, 1, 1), 1, 1.0, "cpu")


def test_a_probe_that_raises_loses_neither_the_training_nor_the_other_probes(registry: Registry) -> None:
    probes = [("faulty", Faulty()), ("partial", Partial())]
    outcome = with_readings(DONE, probes, subject_of(space_of(registry)), metric="test_accuracy")
    assert (outcome.status, outcome.score) == ("complete", 0.9)
    assert "out of ideas" in outcome.errors["faulty"]
    assert outcome.metrics == {"test_accuracy": 0.9, "partial.fine": 1.5}


def test_a_score_that_was_not_measured_is_a_failure_that_says_why(registry: Registry) -> None:
    outcome = with_readings(DONE, [("faulty", Faulty())], subject_of(space_of(registry)), metric="faulty.one")
    assert outcome.status == "failed"
    assert math.isnan(outcome.score)
    assert "RuntimeError: out of ideas" in outcome.failure
    assert math.isnan(Outcome.from_dict(outcome.to_dict()).score)


def test_a_failed_training_keeps_its_finite_figures(registry: Registry) -> None:
    failed = replace(DONE, status="failed", failure="learned nothing")
    outcome = with_readings(failed, [("partial", Partial())], subject_of(space_of(registry)), metric="partial.fine")
    assert (outcome.status, outcome.score, outcome.failure) == ("failed", 1.5, "learned nothing")


def test_a_series_is_a_metric_with_the_unit_as_its_step(registry: Registry) -> None:
    outcome = replace(DONE, series={"lesion.error": (0.1, 0.2, 0.3)}, metrics={"lesion.median_error": 0.2})
    record = StudyRecord("s", "k", "s.yaml", "", "val_accuracy", "maximize", (), (), 0, None, {}, {})
    entry = training_entry(TrainingRecord(0, "search", "complete", (), outcome=outcome), record)
    assert [(p.value, p.step) for p in entry.points if p.key == "lesion.error"] == [(0.1, 0), (0.2, 1), (0.3, 2)]
    assert [p.value for p in entry.points if p.key == "lesion.median_error"] == [0.2]


# --- lesion ---------------------------------------------------------------------------------------------------------


def test_a_deleted_residual_unit_is_its_shortcut_and_what_follows_it(registry: Registry) -> None:
    network = subject_of(space_of(registry)).network()
    (path, unit), x = units_of(network)[1], torch.randn(3, 4, 8, 8)
    with without(network, [path]):
        assert torch.equal(network.get_submodule(path)(x), x.relu())
    assert network.get_submodule(path) is unit


def test_deleting_equals_a_last_norm_of_zeros(registry: Registry) -> None:
    subject = subject_of(space_of(registry))
    inputs = subject.parts["test"].inputs
    network, other = subject.network(), subject.network()
    path, unit = units_of(other)[2]
    for parameter in unit.block.last_layers()[0].parameters():
        torch.nn.init.zeros_(parameter)
    with without(network, [path]):
        assert torch.equal(outputs_of(network, inputs), outputs_of(other, inputs))


def test_a_deleted_plain_unit_hands_its_input_on_in_the_next_shape(registry: Registry) -> None:
    network = subject_of(space_of(registry, shortcut="none")).network()
    path, unit = units_of(network)[2]
    x = torch.rand(3, 4, 8, 8)
    with without(network, [path]):
        y = network.get_submodule(path)(x)
    assert y.shape == unit(x).shape == (3, 8, 4, 4)
    assert torch.equal(y[:, 2:6], x[:, :, ::2, ::2])
    assert not y[:, :2].any()


@pytest.mark.parametrize("shortcut", ["identity", "none", "dense", "gated", "projection", "rezero", "stochastic_depth"])
def test_lesion_measures_every_unit_under_every_shortcut(registry: Registry, shortcut: str) -> None:
    reading = probe_of(registry, "lesion", counts=(1, 3)).measure(subject_of(space_of(registry, shortcut=shortcut)))
    assert len(reading.series["error"]) == len(reading.series["error_recomputed"]) == 4
    assert len(reading.series["by_stage"]) == 2
    assert len(reading.series["by_count"]) == 2


def test_a_unit_that_adds_nothing_can_be_deleted_without_a_trace(registry: Registry) -> None:
    reading = probe_of(registry, "lesion").measure(subject_of(space_of(registry, shortcut="rezero")))  # α = 0
    assert set(reading.series["error"]) == {reading.figures["intact_error"]}


def test_recomputed_statistics_are_those_of_the_data(registry: Registry) -> None:
    network = build(sample(space_of(registry), first_choice).configuration.architecture, registry, NetworkContext((1, 8, 8), 10))
    inputs = 5 + 3 * torch.randn(256, 1, 8, 8)
    norm = next(m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d))
    seen: list[torch.Tensor] = []
    norm.register_forward_pre_hook(lambda _m, given: seen.append(given[0].detach()))
    recompute_batch_norm(network, inputs, batch=256)
    torch.testing.assert_close(norm.running_mean, seen[0].mean((0, 2, 3)))
    assert norm.momentum == 0.1
    assert not network.training


# --- gradients ------------------------------------------------------------------------------------------------------


def test_gradient_norms_are_autograds(registry: Registry) -> None:
    subject = subject_of(space_of(registry))
    reading = probe_of(registry, "gradients", examples=64).measure(subject)
    network = subject.network("start").train()
    F.cross_entropy(network(subject.parts["train"].inputs), subject.parts["train"].targets).backward()
    expected = [float(p.grad.norm()) for p in network.parameters() if p.dim() > 1 and p.grad is not None]
    torch.testing.assert_close(list(reading.series["norms"]), expected)
    assert reading.figures["orders"] == pytest.approx(math.log10(expected[0] / expected[-1]))
    assert not [name for name in reading.figures if name.endswith("_step")]  # the training never got there


def test_gradients_of_a_deep_plain_network_explode_and_of_a_residual_one_are_healthy(registry: Registry) -> None:
    plain, residual = (
        probe_of(registry, "gradients").measure(subject_of(space_of(registry, shortcut=shortcut, depth=14), num=128))
        for shortcut in ("none", "identity")
    )
    assert "at the start exploding" in plain.words
    assert "at the start healthy" in residual.words


# --- from the command line ------------------------------------------------------------------------------------------

STUDY = """\
name: probed
architecture: {staged: {widths: [4, 8], depth: 1, shortcut: {choices: [none, identity]}}}
train: {epochs: 1, batch_size: 128, optimizer: {sgd: {lr: 0.05}}}
probes: [{lesion: {recompute: false}}, gradients]
search: {workers: 1}
measure: {factor: architecture.staged.shortcut, reference: none, replicates: 2, metric: lesion.median_error, smallest_effect: 0.01}
"""


def test_twins_are_compared_by_a_probes_figure_and_the_tracker_has_all_of_them(
    nas_command: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    (tmp_path / "probed.yaml").write_text(STUDY)
    done = nas_command("measure", "probed.yaml", "--workers", "1", "--json", timeout=600)
    assert done.returncode == 0, done.stderr
    storage = open_storage(default_storage(tmp_path / "mlflow"))
    (name,) = [name for name in optuna.get_all_study_names(storage) if "/measure" in name]
    outcomes = {(r.cell.replicate, r.cell.level): r.outcome for r in Ledger(storage, name).records() if r.cell and r.outcome}
    assert len(outcomes) == 4
    assert all(outcome.score == outcome.metrics["lesion.median_error"] for outcome in outcomes.values())
    # positive is better, and a smaller error is
    differences = [outcomes[i, "none"].score - outcomes[i, "identity"].score for i in range(2)]
    (overall,) = json.loads(done.stdout)["effects"]["overall"]
    assert overall["mean"] == pytest.approx(sum(differences) / 2)
    runs = mlflow.tracking.MlflowClient(store_uri(tmp_path / "mlflow")).search_runs(["1"], "tags.`nas.phase` = 'measure'")
    assert len(runs) == 4
    assert all({"lesion.median_error", "lesion.error", "gradients.norms_end"} <= set(run.data.metrics) for run in runs)
    assert all("deleting one of 2 units" in run.data.tags["nas.probe.lesion"] for run in runs)


def test_check_says_what_every_training_is_measured_by(
    nas_command: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    (tmp_path / "probed.yaml").write_text(STUDY)
    done = nas_command("check", "probed.yaml", "--samples", "1")
    assert "Every training is measured by lesion, gradients" in " ".join(done.stdout.split()), done.stderr


def test_one_network_is_probed_from_the_command_line(nas_command: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path) -> None:
    (tmp_path / "probed.yaml").write_text(STUDY)
    done = nas_command("probe", "{lesion: {recompute: false}}", "probed.yaml", "--set", "architecture.staged.shortcut=identity", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["decisions"] == {"architecture.staged.shortcut": "identity"}
    assert len(document["series"]["lesion.error"]) == 2
    assert "lesion.error_recomputed" not in document["series"]


@pytest.mark.parametrize(
    ("probe", "message"),
    [
        ("lezion", "did you mean 'lesion'?"),
        ("{shattering: {points: 5}}", "points must be more than twice the lag"),
        ("{lesion: [}", "probe"),
    ],
)
def test_a_wrong_probe_on_the_command_line_is_a_users_mistake(
    nas_command: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path, probe: str, message: str
) -> None:
    (tmp_path / "probed.yaml").write_text(STUDY)
    done = nas_command("probe", probe, "probed.yaml")
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
