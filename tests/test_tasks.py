"""Tasks: their losses, figures and failure rules, and the spaces that name them."""

import math

import pytest
import torch

from nas.errors import PluginError, SpaceError
from nas.measuring.of_record import effects_of
from nas.plugin import Task
from nas.registry import Registry, discover
from nas.sampling import first_choice, sample
from nas.space import Space, parse_space
from nas.space.task_section import metrics_of
from nas.study.jobs.job import Job, run_job
from nas.study.jobs.materials import context_of, describe_data, load_split, load_task
from nas.values.architecture import PluginNode
from nas.values.metrics import Metric, metric_of
from nas.values.outcome import Cost, Outcome
from nas.values.plans import Cell, MeasurePlan
from nas.values.records import StudyRecord, TrainingRecord

DATA_SETS = """
import torch
from nas.plugin import Data, DataSet, plugin


def pictures(count=60):
    return torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(0))


@plugin("bright_pixels")
class BrightPixels(DataSet):
    '''Pixels that are bright.'''

    tasks = ("segmentation",)

    def load(self):
        x = pictures()
        return Data(x, (x[:, 0] > 0.7).long(), ("dark", "bright"))


@plugin("means")
class Means(DataSet):
    '''The mean and its double, or whether it is large.'''

    tasks = ("regression", "classification")

    def load(self):
        x = pictures()
        mean = x.mean((1, 2, 3))
        if self.task == "classification":
            return Data(x, (mean > mean.median()).long(), ("small", "large"))
        return Data(x, torch.stack((100 + 9 * mean, 2 * mean), 1))


@plugin("lies")
class Lies(DataSet):
    '''Says segmentation, gives one class a picture.'''

    tasks = ("segmentation",)

    def load(self):
        return Data(pictures(), torch.arange(60) % 2, ("a", "b"))
"""

TEXT = """\
data: {data}
architecture: {network}
train: {{epochs: {epochs}, batch_size: 16, optimizer: {{sgd: {{lr: 0.05}}}}}}
search: {{trials: 2}}
"""


@pytest.fixture(scope="module")
def plugged(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    folder = tmp_path_factory.mktemp("plugins")
    (folder / "sets.py").write_text(DATA_SETS)
    return discover([folder])


def task(registry: Registry, name: str, **parameters: float | str) -> Task:
    return load_task(PluginNode(name, tuple(parameters.items())), registry)


def space_of(registry: Registry, data: str, network: str, more: str = "", *, epochs: int = 3) -> Space:
    return parse_space(TEXT.format(data=data, network=network, epochs=epochs) + more, "s.yaml", registry)


def trained(space: Space, metric: str) -> Outcome:
    configuration = sample(space, first_choice).configuration
    context = context_of(space, configuration)
    return run_job(Job(configuration, Cost(1, 1, 1), context, metric, seed=1, split_seed=1), space.registry)


def test_mean_iou_is_the_mean_over_the_classes_that_occur(registry: Registry) -> None:
    targets = torch.tensor([[[0, 0], [0, 1]]])
    given = torch.tensor([[[0, 0], [1, 1]]])
    scores = torch.nn.functional.one_hot(given, 3).movedim(-1, 1).float()
    segmentation = task(registry, "segmentation")
    # class 0: 2 of 3 pixels; class 1: 1 of 2; class 2 occurs nowhere
    assert segmentation.figures(segmentation.tally(scores, targets))["iou"] == pytest.approx((2 / 3 + 1 / 2) / 2)


def test_the_constant_answer_of_a_segmentation_is_one_class_everywhere(registry: Registry) -> None:
    targets = torch.tensor([[[0, 0], [0, 1]]])
    segmentation = task(registry, "segmentation")
    scores = torch.tensor([5.0, 0.0, 0.0]).view(1, 3, 1, 1).expand(1, 3, 2, 2)
    level = segmentation.constant(targets, (3, 2, 2))
    assert level["iou"] == pytest.approx(3 / 4 / 2)
    assert level["iou"] == pytest.approx(segmentation.figures(segmentation.tally(scores, targets))["iou"])
    assert level["loss"] == pytest.approx(math.log(3))


def test_r2_and_mse_agree_with_scikit_learn_however_the_batches_are_cut(registry: Registry) -> None:
    from sklearn.metrics import mean_squared_error, r2_score

    generator = torch.Generator().manual_seed(1)
    targets = torch.randn(50, 3, generator=generator)
    outputs = targets + 0.5 * torch.randn(50, 3, generator=generator)
    regression = task(registry, "regression")
    tally = sum((regression.tally(outputs[i : i + 20], targets[i : i + 20]) for i in (0, 20, 40)), torch.zeros(7))
    figures = regression.figures(tally)
    assert figures["mse"] == pytest.approx(mean_squared_error(targets, outputs), rel=1e-5)
    assert figures["r2"] == pytest.approx(r2_score(targets, outputs, multioutput="variance_weighted"), rel=1e-5)


@pytest.mark.parametrize("name", ["classification", "segmentation", "regression"])
def test_the_constant_answer_has_learned_nothing(registry: Registry, name: str) -> None:
    one = task(registry, name)
    targets, outputs = {
        "classification": (torch.tensor([0] * 30 + [1] * 10), torch.tensor([[1.0, 0.0]]).expand(40, 2)),
        "segmentation": (torch.tensor([[[0, 0], [0, 1]]]), torch.tensor([1.0, 0.0]).view(1, 2, 1, 1).expand(1, 2, 2, 2)),
        "regression": (torch.tensor([[1.0], [2.0], [6.0]]), torch.full((3, 1), 3.0)),
    }[name]
    level = one.constant(targets, tuple(outputs.shape[1:]))[one.metrics[0].name]
    assert one.learned_nothing(one.tally(outputs, targets), level)
    if name != "classification":
        assert not one.learned_nothing(one.tally(outputs, targets), level - 0.01)


def test_a_segmentation_is_trained_and_scored_by_iou(plugged: Registry) -> None:
    space = space_of(plugged, "bright_pixels", "{unet: {widths: [4, 8]}}", epochs=8)
    outcome = trained(space, "test_iou")
    assert outcome.status == "complete"
    assert outcome.score == outcome.metrics["test_iou"] > 0.6
    assert {"train_iou", "val_iou", "val_loss"} <= set(outcome.curves)


def test_a_regression_is_trained_on_standardised_targets(plugged: Registry) -> None:
    space = space_of(plugged, "means", "{mlp: {widths: [16], depth: 1}}", epochs=30)
    outcome = trained(space, "test_r2")
    assert outcome.status == "complete", outcome.failure
    assert outcome.score > 0.3
    assert outcome.metrics["val_mse"] == pytest.approx(outcome.metrics["val_loss"], rel=1e-4)


def test_a_failed_regression_scores_what_the_mean_scores(plugged: Registry) -> None:
    text = TEXT.format(data="means", network="{mlp: {widths: [8]}}", epochs=2).replace("lr: 0.05", "lr: 1.0e+30")
    space = parse_space(text, "s.yaml", plugged)
    outcome = trained(space, "val_r2")
    assert (outcome.status, outcome.score) == ("failed", 0.0)
    configuration = sample(space, first_choice).configuration
    targets = load_split(configuration.data, plugged, 1, configuration.task).val.targets
    outcome = trained(space, "val_mse")
    assert outcome.status == "failed"
    assert outcome.score == pytest.approx(float(targets.var(0, unbiased=False).mean()), rel=1e-4)


def test_chance_and_failure_score_can_be_set(plugged: Registry) -> None:
    space = space_of(plugged, "bright_pixels", "{unet: {widths: [4, 8]}}", "task: {segmentation: {chance: 1.0, failure_score: 0.25}}")
    outcome = trained(space, "test_iou")
    assert (outcome.status, outcome.score) == ("failed", 0.25)
    assert outcome.failure.startswith("learned nothing: iou")


def test_the_task_follows_from_the_data_and_can_be_chosen_where_there_are_several(plugged: Registry) -> None:
    first = space_of(plugged, "means", "mlp")
    assert (first.task.name, first.search.objective) == ("regression", "val_r2")
    other = space_of(plugged, "means", "mlp", "task: classification")
    assert (other.task.name, other.search.objective) == ("classification", "val_accuracy")
    assert describe_data(other)["num_outputs"] == 2
    assert first.key != other.key


@pytest.mark.parametrize(
    ("data", "more", "message"),
    [
        ("bright_pixels", "task: regression", "s.yaml:5: task: the data set 'bright_pixels' is for segmentation, got 'regression'"),
        ("{choices: [bright_pixels, digits]}", "", "s.yaml:1: data: its data sets share no task"),
        ("bright_pixels", "task: {segmentation: {loss: {choices: [dice, cross_entropy]}}}", "s.yaml:5: task: must be decided"),
        ("digits", "task: classificaton", "did you mean 'classification'?"),
    ],
)
def test_a_task_that_does_not_fit_is_refused_with_its_line(plugged: Registry, data: str, more: str, message: str) -> None:
    with pytest.raises(SpaceError, match=r"^s\.yaml:") as caught:
        space_of(plugged, data, "mlp", more)
    assert message in str(caught.value)


def test_a_metric_that_the_task_lacks_is_refused_with_what_there_is(plugged: Registry) -> None:
    text = TEXT.format(data="bright_pixels", network="unet", epochs=1).replace("{trials: 2}", "{maximize: val_accuracy}")
    with pytest.raises(SpaceError) as caught:
        parse_space(text, "s.yaml", plugged)
    assert str(caught.value).startswith("s.yaml:4: search.maximize: must be a metric of segmentation, got 'val_accuracy'")
    assert "iou, loss" in str(caught.value)


def test_minimising_r2_would_look_for_the_worst(plugged: Registry) -> None:
    text = TEXT.format(data="means", network="mlp", epochs=1).replace("{trials: 2}", "{minimize: val_r2}")
    with pytest.raises(SpaceError, match="write `maximize: val_r2`"):
        parse_space(text, "s.yaml", plugged)


def test_label_smoothing_is_refused_where_it_would_be_ignored(plugged: Registry) -> None:
    text = TEXT.format(data="means", network="mlp", epochs=1).replace("batch_size", "label_smoothing: 0.1, batch_size")
    with pytest.raises(SpaceError, match=r"s.yaml:3: train.label_smoothing: regression does not smooth labels"):
        parse_space(text, "s.yaml", plugged)


def test_a_network_whose_answer_does_not_fit_the_task_is_refused(plugged: Registry) -> None:
    from nas.building import cost_of

    space = space_of(plugged, "bright_pixels", "staged")
    configuration = sample(space, first_choice).configuration
    with pytest.raises(PluginError, match=r"answers an input with \(2,\), but the task needs \(2, 8, 8\)"):
        cost_of(configuration.architecture, plugged, context_of(space, configuration))


def test_a_data_set_whose_targets_do_not_fit_its_task_is_named(plugged: Registry) -> None:
    with pytest.raises(PluginError, match=r"sets.py: data set 'lies': segmentation needs one class index for each pixel"):
        describe_data(space_of(plugged, "lies", "unet"))


def record_of(scores: dict[str, list[float]], *, metrics: tuple[Metric, ...], metric: str) -> StudyRecord:
    """A measurement of two arms that came to these scores."""

    def training(number: int, replicate: int, arm: str) -> TrainingRecord:
        score = scores[arm][replicate]
        outcome = Outcome("complete", score, {metric: score}, {}, Cost(1, 1, 1), 1, 1.0, "cpu")
        return TrainingRecord(number, "measure", "complete", (), cell=Cell(replicate, arm), outcome=outcome)

    arms = tuple(scores)
    measured = [training(2 * k + i, k, arm) for k in range(len(scores[arms[0]])) for i, arm in enumerate(arms)]
    direction = metric_of(metric, metrics).direction
    plan = MeasurePlan("f", arms[0], arms[1:], (), len(scores[arms[0]]), 0.01, metric, direction)
    named = {"objective": f"val_{metrics[0].name}", "direction": metrics[0].direction}
    return StudyRecord("s", "k", "s.yaml", "", **named, search=(), measured=tuple(measured), planned_search=0, plan=plan,
                       environment={}, data={"name": "means"}, metrics=metrics)  # fmt: skip


def test_an_effect_is_signed_so_that_positive_is_better(registry: Registry) -> None:
    scores = {"none": [0.50, 0.52, 0.49, 0.51, 0.50, 0.53], "identity": [0.40, 0.43, 0.39, 0.42, 0.40, 0.41]}
    for name, metric, gain in (("regression", "test_mse", 0.1), ("regression", "test_r2", -0.1), ("segmentation", "test_iou", -0.1)):
        effects = effects_of(record_of(scores, metrics=metrics_of(registry, name), metric=metric))
        assert effects is not None
        assert effects.overall[0].mean == pytest.approx(gain, abs=0.002)
        assert ("points" in effects.sentence) == (name == "segmentation")
        assert "accuracy" not in effects.sentence


def test_the_measured_metric_follows_from_the_task_with_its_direction(plugged: Registry) -> None:
    text = TEXT.format(data="means", network="{mlp: {depth: {choices: [1, 2]}}}", epochs=1)
    measure = "measure: {factor: architecture.mlp.depth, reference: 1"
    by_default = parse_space(text + measure + "}", "s.yaml", plugged).measure
    given = parse_space(text + measure + ", metric: test_mse}", "s.yaml", plugged).measure
    assert by_default is not None
    assert given is not None
    assert (by_default.metric, by_default.direction) == ("test_r2", "maximize")
    assert (given.metric, given.direction) == ("test_mse", "minimize")
