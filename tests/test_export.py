"""Exported networks: run by another process without nas and without plugins, bit-equal; what cannot be exported is said."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import clean_environment

import nas
from nas.building import cost_of
from nas.errors import StudyError, UserError
from nas.exporting import example_of, export_network
from nas.keeping import KeptNetwork
from nas.registry import Registry
from nas.sampling import first_choice, sample
from nas.space import parse_space
from nas.study.jobs.job import Job, run_job
from nas.study.jobs.materials import context_of

SPACES = {
    "digits": "architecture: {staged: {widths: [4, 8], depth: 1}}\ntrain: {epochs: 2, batch_size: 128, optimizer: {adamw: {lr: 0.01}}}\n",
    "mixture": """\
data: {mixture: {dimension: 4, count: 300}}
architecture: {mlp: {widths: [16], depth: 1}}
train: {epochs: 5, batch_size: 32, optimizer: {sgd: {lr: 0.05}}}
""",
    "scenes": """\
data: {noisy_scenes: {count: 40}}
architecture: {unet: {widths: [4, 8], depth: 1}}
train: {epochs: 1, batch_size: 16}
task: {segmentation: {chance: 0.0}}
""",
}


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory, registry: Registry) -> dict[str, Path]:
    """A kept network's file for each of the spaces."""
    folder, files = tmp_path_factory.mktemp("kept"), {}
    for name, text in SPACES.items():
        space = parse_space(text, f"{name}.yaml", registry)
        configuration = sample(space, first_choice).configuration
        context = context_of(space, configuration)
        cost = cost_of(configuration.architecture, registry, context)
        files[name] = folder / f"{name}.pt"
        run_job(Job(configuration, cost, context, f"val_{space.metrics[0].name}", 3, split_seed=1, keep=str(files[name])), registry)
        assert files[name].exists(), name
    return files


@pytest.fixture(scope="module")
def exported(kept: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, KeptNetwork], Path]:
    folder = tmp_path_factory.mktemp("exported")
    networks = {name: nas.load_network(file) for name, file in kept.items()}
    for name, network in networks.items():
        export_network(network, folder / name)
    return networks, folder


def test_an_exported_program_answers_bit_equally_in_a_process_that_has_only_torch(
    exported: tuple[dict[str, KeptNetwork], Path], tmp_path: Path
) -> None:
    networks, folder = exported
    program = f"""\
import sys, torch
torch.set_num_threads(1)
for name in {list(networks)!r}:
    network = torch.export.load({str(folder)!r} + "/" + name + "/network.pt2").module()
    inputs = torch.load({str(tmp_path)!r} + "/" + name + ".inputs")
    torch.save([network(x).detach() for x in inputs], {str(tmp_path)!r} + "/" + name + ".answers")
assert not any(module.split(".")[0] == "nas" for module in sys.modules)
"""
    inputs = {name: [example_of(network, count) for count in (1, 7)] for name, network in networks.items()}
    for name, batches in inputs.items():
        torch.save(batches, tmp_path / f"{name}.inputs")
    environment = {key: value for key, value in clean_environment().items() if key != "PYTHONPATH"}
    subprocess.run([sys.executable, "-c", program], check=True, timeout=170, env=environment, cwd=tmp_path)
    for name, network in networks.items():
        answers = torch.load(tmp_path / f"{name}.answers", weights_only=True)
        for x, answer in zip(inputs[name], answers, strict=True):
            with torch.no_grad():
                assert torch.equal(answer, network(x)), f"{name}, a batch of {len(x)}"


def test_weights_and_architecture_are_enough_to_build_the_network_again(exported: tuple[dict[str, KeptNetwork], Path]) -> None:
    networks, folder = exported
    document = json.loads((folder / "mixture" / "architecture.json").read_text())
    state = torch.load(folder / "mixture" / "state_dict.pt", weights_only=True)
    network, about = networks["mixture"], networks["mixture"].about
    assert document["architecture"] == about.configuration.architecture.to_dict()
    assert state.keys() == network.network.state_dict().keys()
    assert all(torch.equal(tensor, network.network.state_dict()[name]) for name, tensor in state.items())
    assert network.target_mean is not None
    assert document["target_mean_and_std"][0] == [float(value) for value in network.target_mean.flatten()]


def test_an_unknown_format_names_the_nearest(exported: tuple[dict[str, KeptNetwork], Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="export: 'torchexport' is no format; did you mean 'torch_export'"):
        export_network(exported[0]["mixture"], tmp_path, formats=["torchexport"])


def test_onnx_without_its_packages_says_what_to_install(
    exported: tuple[dict[str, KeptNetwork], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name.startswith("onnx") else object())
    with pytest.raises(UserError, match=r"needs onnx and onnxscript: pip install 'nas-ablation\[onnx\]'"):
        export_network(exported[0]["mixture"], tmp_path, formats=["onnx"])
    assert not list(tmp_path.iterdir())


def test_onnx_answers_as_the_network_does(exported: tuple[dict[str, KeptNetwork], Path], tmp_path: Path) -> None:
    pytest.importorskip("onnxscript", reason="pip install 'nas-ablation[onnx]'")
    runtime = pytest.importorskip("onnxruntime", reason="pip install onnxruntime")
    for name, network in exported[0].items():
        (file,) = export_network(network, tmp_path / name, formats=["onnx"])
        x = example_of(network, 5)
        (answers,) = runtime.InferenceSession(str(file)).run(None, {"inputs": x.numpy()})
        with torch.no_grad():
            assert torch.allclose(torch.from_numpy(answers), network(x), atol=1e-4, rtol=1e-4), name


def test_a_network_that_torch_cannot_export_is_answered_in_one_line(
    exported: tuple[dict[str, KeptNetwork], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = exported[0]["mixture"]

    def decide_by_values(_self: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
        return x if float(x.sum()) > 0 else -x

    monkeypatch.setattr(type(network.network), "forward", decide_by_values)
    with pytest.raises(StudyError, match=r"export: torch\.export cannot take this network") as caught:
        export_network(network, tmp_path, formats=["torch_export"])
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())
