"""Training: deterministic by seed, twins on equal footing, failures as outcomes."""

import math
import signal
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.model_selection import train_test_split
from torch import nn

from nas.building import build, build_recipe, cost_of
from nas.errors import UserError
from nas.plugin import Data, NetworkContext
from nas.recipe import Recipe
from nas.registry import Registry
from nas.sampling import first_choice, fixing, sample
from nas.space import Space, parse_space
from nas.study.jobs.job import Job, run_in_processes
from nas.study.jobs.materials import context_of, load_data, load_task
from nas.training import fit
from nas.training.course import Goal
from nas.training.data import Batches, split_data
from nas.training.dividing import divide
from nas.training.fit import train
from nas.values.outcome import Cost, Outcome


def run(space: Space, *, seed: int = 1, goal: Goal | None = None, level: str = "identity", **changes: object) -> Outcome:
    decided = sample(space, fixing({"architecture.staged.shortcut": level}, first_choice)).configuration
    data = load_data(decided.data, space.registry)
    context = NetworkContext(data.input_shape, data.num_classes)
    network = build(decided.architecture, space.registry, context, seed=seed)
    recipe = replace(build_recipe(decided.train, space.registry), **changes)  # type: ignore[arg-type]
    return train(
        network, recipe, split_data(data, seed=1), cost_of(decided.architecture, space.registry, context), goal or goal_of(space), seed=seed
    )


def goal_of(space: Space) -> Goal:
    return Goal("val_accuracy", load_task(sample(space, first_choice).configuration.task, space.registry))


def plain(outcome: Outcome) -> Outcome:
    return replace(outcome, duration_s=0.0)


def test_the_same_seed_gives_the_same_numbers_bit_for_bit(small: Space) -> None:
    assert plain(run(small, seed=5)) == plain(run(small, seed=5))


def test_another_seed_gives_other_numbers(small: Space) -> None:
    assert run(small, seed=5).curves != run(small, seed=6).curves


def test_the_last_evaluation_comes_before_lightning_takes_the_network_off_its_device(small: Space) -> None:
    class Moved(nn.Module):
        """Cannot be run once it was moved after its first step, as a network on the CPU cannot be run on a GPU's data."""

        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(64, 10)
            self.was_run = self.was_moved = False

        def _apply(self, fn: Any, recurse: bool = True) -> Any:
            self.was_moved = self.was_run
            return super()._apply(fn, recurse)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            assert not self.was_moved
            self.was_run = True
            return self.layer(x.flatten(1))

    network = Moved()
    decided = sample(small, first_choice).configuration
    split = split_data(load_data(decided.data, small.registry), seed=1)
    train(
        network, build_recipe(decided.train, small.registry), split, Cost(1, 1, 1), replace(goal_of(small), metric="test_accuracy"), seed=1
    )
    assert network.was_moved


def test_training_leaves_the_global_random_state_alone(small: Space) -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    run(small)
    assert torch.equal(torch.rand(1), expected)


def test_digits_are_learned_above_chance_and_every_epoch_is_recorded(small: Space) -> None:
    outcome = run(small, epochs=6, batch_size=64)
    assert outcome.status == "complete"
    assert outcome.score > 0.5
    assert {len(curve) for curve in outcome.curves.values()} == {6}
    assert outcome.score == outcome.metrics["val_accuracy"] == outcome.curves["val_accuracy"][-1]


def test_the_test_part_is_scored_only_when_it_is_the_goal(small: Space) -> None:
    assert "test_accuracy" not in run(small).metrics
    outcome = run(small, goal=replace(goal_of(small), metric="test_accuracy"), epochs=6, batch_size=64)
    assert outcome.score == outcome.metrics["test_accuracy"]
    assert "test_accuracy" not in outcome.curves


def test_a_loss_that_is_not_finite_is_a_failed_outcome_scored_at_the_majority_share(small: Space) -> None:
    class Bomb(torch.optim.SGD):
        def step(self, closure: object = None) -> None:  # type: ignore[override]
            for group in self.param_groups:
                for parameter in group["params"]:
                    parameter.data.fill_(math.nan)

    class Optimizer:
        def build(self, parameters: object) -> torch.optim.Optimizer:
            return Bomb(parameters, lr=0.1)  # type: ignore[arg-type]

    outcome = run(small, optimizer=Optimizer)
    assert outcome.status == "failed"
    assert outcome.failure.startswith("diverged")
    assert outcome.score == pytest.approx(36 / 359, abs=0.003)
    assert Outcome.from_dict(outcome.to_dict()).status == "failed"


def test_a_network_that_learned_nothing_is_a_failed_outcome(small: Space) -> None:
    outcome = run(small, schedule=type("Zero", (), {"factor": lambda *_: 0.0}), epochs=1)
    assert outcome.status == "failed"
    assert outcome.failure.startswith("learned nothing")


def test_should_stop_ends_a_training_as_pruned(small: Space) -> None:
    seen: list[int] = []

    def stop(epoch: int, value: float) -> bool:
        seen.append(epoch)
        return epoch == 2

    outcome = run(small, goal=replace(goal_of(small), should_stop=stop), epochs=5)
    assert (outcome.status, outcome.num_epochs, seen) == ("pruned", 2, [1, 2])


def test_a_training_that_is_interrupted_says_so_and_hears_a_second_ctrl_c(small: Space) -> None:
    def interrupt(_epoch: int, _value: float) -> bool:
        raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run(small, goal=replace(goal_of(small), should_stop=interrupt), epochs=2)
    assert signal.getsignal(signal.SIGINT) is before is signal.default_int_handler


def test_twins_see_the_same_batches_in_the_same_order() -> None:
    first, second = (list(Batches(100, 32, seed=4)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert sorted(torch.cat(first).tolist()) == list(range(100))


def test_the_batch_order_does_not_depend_on_what_the_network_draws() -> None:
    torch.manual_seed(0)
    first = list(Batches(64, 16, seed=4))
    torch.rand(1000)
    assert all(torch.equal(a, b) for a, b in zip(first, list(Batches(64, 16, seed=4)), strict=True))


def test_a_last_batch_of_one_joins_the_one_before() -> None:
    assert [len(batch) for batch in Batches(65, 32, seed=0)] == [32, 33]
    assert [len(batch) for batch in Batches(66, 32, seed=0)] == [32, 32, 2]


def test_the_split_is_stratified_disjoint_and_seeded(registry: Registry) -> None:
    labels = torch.arange(10).repeat_interleave(20)
    data = Data(torch.arange(200.0).view(200, 1, 1, 1), labels, tuple("0123456789"))
    first, again, other = split_data(data, seed=1), split_data(data, seed=1), split_data(data, seed=2)
    assert [part.targets.bincount().tolist() for part in (first.train, first.val, first.test)] == [[12] * 10, [4] * 10, [4] * 10]
    assert torch.equal(first.train.inputs, again.train.inputs)
    assert not torch.equal(first.train.inputs, other.train.inputs)
    pictures = torch.cat([part.inputs.flatten() for part in (first.train, first.val, first.test)])
    assert len(pictures.unique()) == 200


@pytest.mark.parametrize(("share", "state"), [(0.6, 0), (0.8, 7), (0.5, 2**32 - 1)])
def test_examples_are_divided_as_scikit_learn_divides_them(share: float, state: int) -> None:
    labels = np.random.default_rng(state).permutation(np.repeat([0, 2, 3, 9], [5, 61, 17, 40]))
    for classes in (labels, None):
        expected = train_test_split(range(len(labels)), train_size=share, stratify=classes, random_state=state)
        assert [part.tolist() for part in divide(len(labels), share, state=state, labels=classes)] == expected


def test_figures_hardly_depend_on_how_many_inputs_are_evaluated_at_once(small: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run(small)
    monkeypatch.setattr(fit, "EVALUATION_BATCH", 7)
    parts = run(small)
    assert parts.score == whole.score
    assert parts.curves == {name: pytest.approx(values, rel=1e-5) for name, values in whole.curves.items()}


def test_normalisation_uses_the_training_part_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    data = Data(torch.rand(200, 3, 2, 2, generator=generator), torch.arange(200) % 4, tuple("abcd"))
    split = split_data(data, seed=3)
    assert torch.allclose(split.train.inputs.mean((0, 2, 3)), torch.zeros(3), atol=1e-5)
    assert not torch.allclose(split.test.inputs.mean((0, 2, 3)), torch.zeros(3), atol=1e-5)


def test_too_few_examples_of_a_class_are_refused() -> None:
    data = Data(torch.zeros(9, 1, 2, 2), torch.tensor([0] * 6 + [1] * 3), ("a", "b"))
    with pytest.raises(UserError, match="3 examples in the smallest"):
        split_data(data, seed=0)


def test_gradient_clipping_reaches_the_optimizer(small: Space) -> None:
    norms: list[float] = []

    class Watching(torch.optim.SGD):
        def step(self, closure: object = None) -> None:  # type: ignore[override]
            gradients = [p.grad for group in self.param_groups for p in group["params"] if p.grad is not None]
            norms.append(float(nn.utils.get_total_norm(gradients)))
            super().step()

    class Optimizer:
        def build(self, parameters: object) -> torch.optim.Optimizer:
            return Watching(parameters, lr=0.1)  # type: ignore[arg-type]

    run(small, optimizer=Optimizer, gradient_clip_val=0.05, epochs=1)
    assert norms
    assert max(norms) <= 0.05 + 1e-5


def test_a_recipe_is_built_with_lightnings_options(small: Space) -> None:
    recipe = build_recipe(sample(small, first_choice).configuration.train, small.registry)
    assert isinstance(recipe, Recipe)
    assert (recipe.accelerator, recipe.devices, recipe.precision) == ("auto", 1, "32-true")


def test_bfloat16_precision_passes_through_to_lightning(small: Space) -> None:
    assert run(small, precision="bf16-mixed").curves != run(small).curves


def test_sigterm_ends_a_training_in_the_midst_of_an_epoch(small: Space) -> None:
    steps = list[int]()

    def on_step(step: int) -> None:
        steps.append(step)
        signal.raise_signal(signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, lambda *_: None)  # so that no more than this test fails where Lightning does not listen
    try:
        with pytest.raises(SystemExit):
            run(small, batch_size=32, goal=replace(goal_of(small), on_step=on_step))
    finally:
        signal.signal(signal.SIGTERM, before)
    assert steps == [1]


def test_one_network_trains_on_several_devices(small: Space) -> None:
    changed = parse_space(
        small.text.replace("epochs: 2", "epochs: 4\n  accelerator: cpu\n  devices: 2\n  strategy: ddp"), "two.yaml", small.registry
    )
    configuration = sample(changed, first_choice).configuration
    context = context_of(changed, configuration)
    job = Job(configuration, cost_of(configuration.architecture, small.registry, context), context, "val_accuracy", 1, 1)
    assert job.needs_processes(small.registry)
    outcome = run_in_processes(job, ())
    assert outcome.status == "complete"
    assert outcome.num_epochs == 4
    assert outcome.score > 0.2
