"""Layer 3: trains several networks of one architecture as one program, each from its own seed, and says what each came to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.core.optimizer import LightningOptimizer
from torch import Tensor, nn

from nas.plugin import Network
from nas.recipe import Recipe
from nas.training.augmenting import Augmenter
from nas.training.checkpoint import Checkpoint, random_state, set_random_state, stopwatch
from nas.training.course import Course, Figures, Goal
from nas.training.data import Batches, Part, Split
from nas.training.fit import evaluation_batch, quiet, trainer_for
from nas.training.loading import Stretches
from nas.training.stacking import Stack
from nas.values.outcome import Cost, Outcome
from nas.values.seeds import derive

OnEpoch = Callable[[int], None]

ELEMENTWISE = (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW, torch.optim.NAdam, torch.optim.RAdam, torch.optim.RMSprop)
"""Optimizers that move each value by its own gradients alone: one over stacked tensors does what one a network does."""


@dataclass(frozen=True)
class Member:
    """One network of a group: its split, its seed and its recipe, which may differ from the others' in the optimizer's parameters."""

    network: Network
    recipe: Recipe
    split: Split
    seed: int


def train_together(
    members: Sequence[Member], cost: Cost, goal: Goal, *, alike: bool = False, on_epoch: OnEpoch = lambda _epoch: None,
    checkpoint: Checkpoint | None = None,
) -> tuple[Outcome, ...]:  # fmt: skip
    """Train networks of one architecture in place, as one program, and return the outcome of each.

    Each has its own initial values, order of examples, augmentation, split and optimizer, from the streams that it would have
    alone, and comes to the same figures but for rounding. One that diverges does not touch the others. Neither prunes nor
    watches steps: `goal` may not ask for that. A member's time is its share of the group's.

    `alike` says that the members' optimizers have the same parameters, so that one may serve all where it is elementwise.
    With a `checkpoint` they go on behind the last epoch that is in it, and come to what they would have come to undisturbed.
    """
    module = _Module(members, goal, on_epoch, checkpoint, alike=alike)
    with torch.random.fork_rng(), quiet():
        torch.manual_seed(derive(members[0].seed, "noise"))
        trainer_for(members[0].recipe, max_epochs=members[0].recipe.epochs - module.epoch).fit(module)
    seconds = module.seconds() / len(members)
    return tuple(course.outcome(cost, duration_s=seconds, device=module.trained_on) for course in module.courses)


class _Module(pl.LightningModule):
    """The loop's body: a batch of indices for each network, one forward and one backward pass of all of them, an optimizer each."""

    def __init__(
        self, members: Sequence[Member], goal: Goal, on_epoch: OnEpoch, checkpoint: Checkpoint | None, *, alike: bool
    ) -> None:  # fmt: skip
        super().__init__()
        self.automatic_optimization = False
        self.members, self.goal, self.on_epoch = tuple(members), goal, on_epoch
        self.recipe, self.alike = members[0].recipe, alike
        self.courses = [Course(goal) for _ in members]
        self.epoch, self.step = 0, 0
        self.checkpoint, self.resumed = checkpoint, checkpoint.read() if checkpoint else None
        if self.resumed is not None:
            self.epoch, self.step = self.resumed["epoch"], self.resumed["step"]
            for member, course, state in zip(members, self.courses, self.resumed["members"], strict=True):
                member.network.load_state_dict(state["network"])
                course.curves = {name: list(values) for name, values in state["curves"].items()}
                course.failure = state["failure"]
        self.stack = Stack([member.network for member in members])
        self.seconds = stopwatch(self.resumed["seconds"] if self.resumed else 0.0)

    def on_fit_start(self) -> None:
        self.stack.bind()
        names = ("train", "val", "test")
        self.parts: dict[str, list[Part]] = {n: [getattr(m.split, n).to(self.device) for m in self.members] for n in names}
        self.num_steps = self.recipe.epochs * len(self._batches())
        self.augmented = [Augmenter([make() for make in m.recipe.augment], seed=m.seed) for m in self.members]

    def train_dataloader(self) -> Stretches[tuple[Tensor, ...]]:
        batches = self._batches()
        for order in batches.orders:
            order.skip(self.epoch)
        return Stretches(batches, self.trainer)

    def _batches(self) -> _Together:
        pairs = zip(self.members, self.parts["train"], strict=True)
        return _Together([Batches(len(part), m.recipe.batch_size, seed=m.seed, device=part.rows.device) for m, part in pairs])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        recipes = [member.recipe for member in self.members]
        optimizer, self.views, self.hands_out = optimizer_over(self.stack, recipes, alike=self.alike)
        self.base_rates = [group["lr"] for group in optimizer.param_groups]
        self.schedule = self.recipe.schedule()
        if self.resumed is not None:
            optimizer.load_state_dict(self.resumed["optimizer"])
        return optimizer

    def on_train_start(self) -> None:
        if self.resumed is None:
            return
        set_random_state(self.resumed["random"], self.device)
        for augmenter, state in zip(self.augmented, self.resumed["members"], strict=True):
            augmenter.generator.set_state(state["augment"])
        for course, state, member in zip(self.courses, self.resumed["members"], self.members, strict=True):
            if state["final"]:
                loss, tally, shape = state["final"]
                course.final = Figures(loss, tally, getattr(member.split, self.goal.final_part).targets, tuple(shape))

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        return batch  # the parts know where their inputs lie

    def on_train_epoch_start(self) -> None:
        self.totals, self.count = torch.zeros(len(self.members), device=self.device), 0
        self.tallies: Tensor | None = None

    def training_step(self, batch: Iterable[tuple[Tensor, ...]], batch_idx: int) -> None:
        for one in batch:
            self._take_step(one)

    def _take_step(self, batch: tuple[Tensor, ...]) -> None:
        parts, task = self.parts["train"], self.goal.task
        given = [change(*part.take(index)) for change, part, index in zip(self.augmented, parts, batch, strict=True)]
        taken = self.trainer.precision_plugin.convert_input(given)
        optimizer = self.optimizers()
        assert isinstance(optimizer, LightningOptimizer)  # one optimizer was configured
        factor = self.schedule.factor(self.step, self.num_steps)
        for group, rate in zip(optimizer.param_groups, self.base_rates, strict=True):
            group["lr"] = rate * factor
        self.stack.zero_grad()
        outputs = self.stack(torch.stack([inputs for inputs, _ in taken], 1))
        answered = [(own, targets) for own, (_, targets) in zip(outputs, taken, strict=True)]
        losses = torch.stack([task.loss(own, targets, label_smoothing=self.recipe.label_smoothing) for own, targets in answered])
        self.manual_backward(losses.sum())
        if self.hands_out:
            self.stack.hand_out(self.views)
        if self.recipe.gradient_clip_val is not None:
            for own in self.views:
                nn.utils.clip_grad_norm_(own, self.recipe.gradient_clip_val)
        optimizer.step()
        self.step += 1
        with torch.no_grad():
            tally = torch.stack([task.tally(own.float(), targets) for own, (_, targets) in zip(outputs, given, strict=True)])
            self.tallies = tally if self.tallies is None else self.tallies + tally
            self.totals += losses.detach() * len(batch[0])
            self.count += len(batch[0])

    def on_train_epoch_end(self) -> None:
        self.epoch += 1
        assert self.tallies is not None  # an epoch has at least one step
        open_ = [k for k, course in enumerate(self.courses) if not course.failure]
        totals, tallies = self.totals.tolist(), self.tallies.cpu()
        lost = [k for k in open_ if self.courses[k].diverged(totals[k] / self.count, tallies[k])]
        if lost:
            # As it stands where it diverged: the others go on.
            self._finish(lost)
        going_on = [k for k in open_ if k not in lost]
        if not going_on:
            self.trainer.should_stop = True
            return
        val = self.evaluate_part("val")
        for k in going_on:
            self.courses[k].note("val", val[k].loss, val[k].tally)
        if self.checkpoint and self.epoch < self.recipe.epochs:
            self.checkpoint.write(self._state())
        self.on_epoch(self.epoch)

    def _state(self) -> dict[str, Any]:
        """All that the rest of the training depends on."""
        optimizer = self.optimizers()
        assert isinstance(optimizer, LightningOptimizer)  # one optimizer was configured
        self.stack.take_apart()
        return {
            "optimizer": optimizer.optimizer.state_dict(),
            "epoch": self.epoch,
            "step": self.step,
            "random": random_state(self.device),
            "seconds": self.seconds(),
            "members": [self._state_of(place) for place in range(len(self.members))],
        }

    def _state_of(self, place: int) -> dict[str, Any]:
        course = self.courses[place]
        final = course.final if course.failure else None
        return {
            "network": self.members[place].network.state_dict(),
            "curves": course.curves,
            "failure": course.failure,
            "final": [final.loss, final.tally, list(final.output_shape)] if final else None,
            "augment": self.augmented[place].generator.get_state(),
        }

    def on_train_end(self) -> None:
        # Before Lightning takes the networks back to the CPU, away from the data.
        self._finish([k for k, course in enumerate(self.courses) if not course.failure])
        self.trained_on = str(self.device)
        self.stack.take_apart()

    def _finish(self, which: Sequence[int]) -> None:
        figures = self.evaluate_part(self.goal.final_part) if which else ()
        for k in which:
            self.courses[k].final = figures[k]

    @torch.no_grad()
    def evaluate_part(self, name: str) -> tuple[Figures, ...]:
        """Return each network's loss and figures on one part of its split, with the networks in eval mode."""
        parts, task = self.parts[name], self.goal.task
        losses, tallies, size = [], [], len(parts[0])
        self.stack.eval()
        rows = torch.arange(size, device=parts[0].rows.device)
        for index in rows.split(evaluation_batch(parts[0], self.recipe.batch_size, together=len(parts))):
            taken = [part.take(index) for part in parts]
            with self.trainer.precision_plugin.val_step_context():
                inputs = self.trainer.precision_plugin.convert_input(torch.stack([inputs for inputs, _ in taken], 1))
                outputs = [own.float() for own in self.stack(inputs)]
            answered = [(own, targets) for own, (_, targets) in zip(outputs, taken, strict=True)]
            losses.append(torch.stack([task.loss(own, targets) for own, targets in answered]) * (len(index) / size))
            tallies.append(torch.stack([task.tally(own, targets) for own, targets in answered]))
        self.stack.train()
        loss, tally = torch.stack(losses).sum(0).tolist(), torch.stack(tallies).sum(0).cpu()
        targets = [getattr(member.split, name).targets for member in self.members]
        return tuple(Figures(loss[k], tally[k], targets[k], tuple(outputs[k].shape[1:])) for k in range(len(parts)))


class _Together:
    """The batches of several training orders, step by step."""

    def __init__(self, orders: Sequence[Batches]) -> None:
        self.orders = orders

    def __len__(self) -> int:
        return len(self.orders[0])

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        return zip(*self.orders, strict=True)


def optimizer_over(
    stack: Stack, recipes: Sequence[Recipe], *, alike: bool
) -> tuple[torch.optim.Optimizer, tuple[list[nn.Parameter], ...], bool]:
    """Return one optimizer for the networks of a stack, by their recipes; each network's parameters; whether these need gradients.

    `alike` is as for `train_together`.
    """
    views = stack.views()
    own = [recipe.optimizer().build(parameters) for recipe, parameters in zip(recipes, views, strict=True)]
    shared = alike and type(own[0]) in ELEMENTWISE
    # Each network needs its own gradients for an optimizer of its own, and where they are clipped, network by network.
    hands_out = not shared or recipes[0].gradient_clip_val is not None
    return _over(stack.parameters(), own[0], views[0]) if shared else _Each(own), views, hands_out


def _over(parameters: Iterable[nn.Parameter], optimizer: torch.optim.Optimizer, own: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
    """Let the optimizer of one network work on the stacked parameters instead, in the groups that it has put its own into."""
    stacked = {id(one): all_ for one, all_ in zip(own, parameters, strict=True)}
    for group in optimizer.param_groups:
        group["params"] = [stacked[id(one)] for one in group["params"]]
    return optimizer


class _Each(torch.optim.Optimizer):
    """One optimizer a network, each over that network's own parameters, as one."""

    def __init__(self, optimizers: Sequence[torch.optim.Optimizer]) -> None:
        super().__init__([parameter for optimizer in optimizers for group in optimizer.param_groups for parameter in group["params"]], {})
        self.optimizers = optimizers
        self.param_groups = [group for optimizer in optimizers for group in optimizer.param_groups]

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Let every network's optimizer take its step."""
        if closure is not None:
            closure()
        for optimizer in self.optimizers:
            optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        """Return the state of each."""
        return {"each": [optimizer.state_dict() for optimizer in self.optimizers]}

    def load_state_dict(self, state_dict: Any) -> None:
        """Set what `state_dict` returned."""
        for optimizer, state in zip(self.optimizers, state_dict["each"], strict=True):
            optimizer.load_state_dict(state)
        self.param_groups = [group for optimizer in self.optimizers for group in optimizer.param_groups]
