"""What a recipe may ask for so that a step takes less time: compiled programs, channels last."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from torch._dynamo.utils import counters

from nas.building import build_recipe
from nas.recipe import Recipe
from nas.registry import Registry
from nas.sampling import first_choice, sample
from nas.space import Space, parse_space
from nas.study.jobs.materials import load_data, load_task
from nas.training import speeding
from nas.training.course import Goal
from nas.training.data import split_data
from nas.training.fit import train
from nas.training.speeding import compiled, lay_out
from nas.values.outcome import Cost, Outcome


@pytest.fixture
def own_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiled programs of other tests and of other runs are neither used nor left."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    torch.compiler.reset()
    counters.clear()


def trained(space: Space, *, seed: int, **changes: object) -> Outcome:
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))
    decided = sample(space, first_choice).configuration
    recipe = replace(build_recipe(decided.train, space.registry), epochs=1, batch_size=400, **changes)  # type: ignore[arg-type]
    goal = Goal("val_accuracy", load_task(decided.task, space.registry))
    return train(network, recipe, split_data(load_data(decided.data, space.registry), seed=1), Cost(1, 1, 1), goal, seed=seed)


@pytest.mark.usefixtures("own_programs")
def test_a_compiled_training_differs_by_rounding_and_networks_built_alike_share_its_program(small: Space) -> None:
    for seed in (1, 2):
        own, plain = trained(small, seed=seed, compile="default"), trained(small, seed=seed)
        assert own.curves["train_loss"] == pytest.approx(plain.curves["train_loss"], rel=1e-4)
    # 1,078 examples in batches of 400: the last batch is shorter, and goes through the network itself.
    assert counters["stats"]["unique_graphs"] == 1


@pytest.mark.usefixtures("own_programs")
def test_more_networks_than_torch_compiles_a_function_for_are_compiled_all_the_same() -> None:
    class Scaled(nn.Module):
        def __init__(self, times: int) -> None:
            super().__init__()
            self.times = times

        def extra_repr(self) -> str:
            return str(self.times)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for _ in range(self.times):
                x = x + 1
            return x

    for times in range(1, 11):
        step = compiled(Scaled(times), Recipe(compile="default"))
        assert torch.equal(step(torch.zeros(3)), torch.full((3,), float(times)))
    assert counters["stats"]["unique_graphs"] == 10


@pytest.mark.parametrize(("mode", "resets"), [("reduce-overhead", 2), ("default", 0)])
def test_recorded_graphs_are_let_go_before_there_are_too_many(mode: str, resets: int, monkeypatch: pytest.MonkeyPatch) -> None:
    let_go: list[bool] = []
    monkeypatch.setattr(torch, "compile", lambda network, **_: network)
    monkeypatch.setattr(torch.compiler, "reset", lambda: let_go.append(True))
    monkeypatch.setattr(speeding, "_built", set())
    monkeypatch.setattr(speeding, "_recorded", [])
    for _ in range(2 * speeding.MOST_RECORDED + 1):
        compiled(nn.Linear(1, 1), Recipe(compile=mode))  # type: ignore[arg-type]
    assert len(let_go) == resets


class Strided(nn.Module):
    """A strided convolution as a function, which no list of modules shows."""

    def __init__(self, kernel: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(8, 3, kernel, kernel))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.conv2d(x, self.weight, stride=2)


@pytest.mark.parametrize("network", [nn.Conv2d(3, 8, 3), nn.Conv2d(3, 8, 3, 2), nn.Conv2d(3, 8, 1), Strided(3)])
def test_networks_and_pictures_have_their_channels_last_where_it_is_asked_for(network: nn.Module) -> None:
    pictures, tokens = torch.zeros(2, 3, 8, 8), torch.zeros(2, 5, 8)
    laid_out = lay_out(network, Recipe(memory_format="channels_last"), lambda: pictures)
    assert all(p.is_contiguous(memory_format=torch.channels_last) for p in network.parameters() if p.dim() == 4)
    assert laid_out(pictures).is_contiguous(memory_format=torch.channels_last)
    assert laid_out(tokens) is tokens
    assert network.training


@pytest.mark.parametrize("network", [nn.Conv2d(3, 8, 1, 2), nn.Conv2d(3, 8, 1, (1, 2)), Strided(1)])
def test_a_network_with_a_strided_pointwise_convolution_stays_as_it_is_on_a_cpu(network: nn.Module) -> None:
    pictures = torch.zeros(2, 3, 8, 8)
    laid_out = lay_out(network, Recipe(memory_format="channels_last"), lambda: pictures)
    assert laid_out(pictures) is pictures


def test_what_came_later_changes_the_key_of_no_study_that_does_without_it(registry: Registry) -> None:
    written = "name: s\narchitecture: {staged: {depth: 1}}\ntrain: {epochs: 1%s}\n"
    keys = [parse_space(written % more, "s.yaml", registry).key for more in ("", ", compile: none", ", compile: default")]
    assert keys[0] == keys[1] != keys[2]
