"""`nas probe` on a network that was kept: the numbers of its training's own probes, and what it says of moments nobody kept."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import nas
from nas.building import build, cost_of
from nas.cli.probe import command
from nas.errors import StudyError, UserError
from nas.keeping import About, keep_network
from nas.registry import Registry, discover
from nas.sampling import first_choice, sample
from nas.space import parse_space
from nas.study.jobs.job import Job, run_job
from nas.study.jobs.materials import context_of, load_split
from nas.study.probing import probe_kept
from nas.values.architecture import PluginNode
from nas.values.outcome import Outcome

TEXT = """\
architecture: {staged: {widths: [4, 8], depth: 2, shortcut: identity}}
train: {epochs: 8, batch_size: 128, optimizer: {sgd: {lr: 0.1}}}
probes: [{lesion: {counts: [1, 2], draws: 3}}, gradients, weights_moved]
"""


@pytest.fixture(scope="module")
def registry() -> Registry:
    return discover()


@pytest.fixture(scope="module")
def trained(registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome, tuple[PluginNode, ...]]:
    """A network with what three probes said of it when its training ended."""
    space = parse_space(TEXT, "kept.yaml", registry)
    configuration = sample(space, first_choice).configuration
    context = context_of(space, configuration)
    file = tmp_path_factory.mktemp("kept") / "one.pt"
    cost = cost_of(configuration.architecture, registry, context)
    outcome = run_job(Job(configuration, cost, context, "test_accuracy", 3, 1, space.probes, str(file)), registry)
    assert outcome.status == "complete", outcome
    return file, outcome, space.probes


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(command, arguments)


def test_lesion_of_a_kept_network_gives_the_numbers_of_its_training(
    registry: Registry, trained: tuple[Path, Outcome, tuple[PluginNode, ...]]
) -> None:
    file, outcome, (lesion, *_) = trained
    reading, without = probe_kept(nas.load_network(file), lesion, registry)
    assert {f"lesion.{name}": value for name, value in reading.figures.items()} == {
        name: value for name, value in outcome.metrics.items() if name.startswith("lesion.")
    }
    assert reading.series["error"] == outcome.series["lesion.error"]
    assert reading.series["by_count"] == outcome.series["lesion.by_count"]
    assert reading.words == outcome.words["lesion"]
    assert without == ()


def test_the_start_is_built_again_and_a_step_of_the_training_is_said_to_be_missing(
    registry: Registry, trained: tuple[Path, Outcome, tuple[PluginNode, ...]]
) -> None:
    file, outcome, (_, gradients, _) = trained
    reading, without = probe_kept(nas.load_network(file), gradients, registry)
    assert reading.series["norms"] == outcome.series["gradients.norms"]
    assert reading.figures["orders_end"] == outcome.metrics["gradients.orders_end"]
    assert "gradients.orders_step" in outcome.metrics
    assert "orders_step" not in reading.figures
    assert without == (10,)


def test_the_command_reads_a_kept_file_and_says_what_it_cannot_know(trained: tuple[Path, Outcome, tuple[PluginNode, ...]]) -> None:
    file, outcome, _ = trained
    told = invoke("weights_moved", str(file))
    assert told.exit_code == 0, told.output
    assert "every weight layer inside a block moved" in told.output
    assert "what belongs to step 10 needs `probes:` in the space file" in told.output
    document = json.loads(invoke("weights_moved", str(file), "--json").output)
    assert document["metrics"]["weights_moved.least"] == outcome.metrics["weights_moved.least"]
    assert document["without"] == [10]


def test_a_kept_network_takes_no_decisions_and_no_seed(trained: tuple[Path, Outcome, tuple[PluginNode, ...]]) -> None:
    for option in (("--seed", "1"), ("--set", "a=1")):
        error = invoke("lesion", str(trained[0]), *option).exception
        assert isinstance(error, UserError)
        assert "go with a space file" in str(error)


def test_other_data_than_the_trainings_are_refused(registry: Registry, trained: tuple[Path, Outcome, tuple[PluginNode, ...]]) -> None:
    kept = nas.load_network(trained[0])
    kept.mean += 0.1
    with pytest.raises(UserError, match="the data set 'digits' is not what the network was trained on"):
        probe_kept(kept, trained[2][0], registry)


def test_a_probe_that_cannot_measure_a_kept_network_says_why(registry: Registry, tmp_path: Path) -> None:
    plain = TEXT.replace("shortcut: identity", "shortcut: none, block: bottleneck")
    space, file = parse_space(plain, "plain.yaml", registry), tmp_path / "plain.pt"
    configuration = sample(space, first_choice).configuration
    context = context_of(space, configuration)
    network = build(configuration.architecture, registry, context, seed=1)
    keep_network(file, network, About(configuration, context, 1, 1), load_split(configuration.data, registry, 1, configuration.task))
    error = invoke("stretch", str(file)).exception
    assert isinstance(error, StudyError)
    assert "the probe 'stretch' could not measure this network: " in str(error)
