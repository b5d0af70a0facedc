"""Layer 3: trains one network with one seed through a Lightning Trainer, and says what it came to."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.core.optimizer import LightningOptimizer
from pytorch_lightning.plugins.precision import MixedPrecision
from torch import Tensor, nn

from nas.plugin import Task
from nas.recipe import LIGHTNING_OPTIONS, Recipe
from nas.training.augmenting import Augmenter
from nas.training.checkpoint import Checkpoint, random_state, set_random_state, stopwatch
from nas.training.data import Batch, Batches, Part, Split
from nas.training.loading import loader
from nas.values.outcome import Cost, Outcome, Status
from nas.values.seeds import derive

ShouldStop = Callable[[int, float], bool]
"""Told the objective's value after each epoch (counted from 1); True ends the training as pruned."""

OnStep = Callable[[int], None]
"""Told after each optimizer step how many there were."""

EVALUATION_BATCH, EVALUATION_PIXELS = 1024, 2**20
"""How many inputs are evaluated at once: fewer of large pictures."""


@dataclass(frozen=True)
class Goal:
    """What a training is for and judged by: its task, and one of the task's metrics (`val_accuracy`, `test_iou`, `val_loss` …).

    A metric of the test part is taken once, after the last epoch.
    """

    metric: str
    task: Task
    should_stop: ShouldStop = lambda _epoch, _value: False
    on_step: OnStep = lambda _step: None


def train(
    network: nn.Module, recipe: Recipe, split: Split, cost: Cost, goal: Goal, *, seed: int, checkpoint: Checkpoint | None = None
) -> Outcome:
    """Train `network` in place for `recipe.epochs` and return its outcome.

    Separate streams, each keyed by `seed`, drive the order of the examples and the noise inside the network (dropout).
    Deterministic on one machine for one thread count. The global random state is left as it was.

    With a `checkpoint`, a training on one device goes on behind the last epoch that is in it, and comes to the same outcome
    as one that was never interrupted.
    """
    module = _Module(network, recipe, split, goal, seed, checkpoint)
    with torch.random.fork_rng(), _quiet():
        torch.manual_seed(derive(seed, "noise"))
        trainer = pl.Trainer(
            max_epochs=recipe.epochs - module.epoch,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
            **{option: getattr(recipe, option) for option in LIGHTNING_OPTIONS},
        )
        trainer.fit(module)
    return module.outcome(cost, duration_s=module.seconds())


class _Module(pl.LightningModule):
    """The loop's body: batches by index from tensors that lie on the training device, figures kept there until the epoch ends."""

    def __init__(self, network: nn.Module, recipe: Recipe, split: Split, goal: Goal, seed: int, checkpoint: Checkpoint | None) -> None:
        super().__init__()
        self.automatic_optimization = False
        # Channels last would take 0.8 of the time on a CPU, but torch 2.13 corrupts memory there with 4 channels.
        self.network, self.recipe, self.split, self.goal, self.seed = network, recipe, split, goal, seed
        self.curves: dict[str, list[float]] = {}
        self.failure, self.pruned = "", False
        # Epochs and steps are counted here, since Lightning's own counts begin anew where a training goes on.
        self.epoch, self.step = 0, 0
        self.checkpoint, self.resumed = checkpoint, checkpoint.read() if checkpoint else None
        if self.resumed is not None:
            network.load_state_dict(self.resumed["network"])
            self.epoch, self.step = self.resumed["epoch"], self.resumed["step"]
            self.curves = {name: list(values) for name, values in self.resumed["curves"].items()}
        self.seconds = stopwatch(self.resumed["seconds"] if self.resumed else 0.0)

    def on_fit_start(self) -> None:
        self.parts: dict[str, Part] = {name: getattr(self.split, name).to(self.device) for name in ("train", "val", "test")}
        self.num_steps = self.recipe.epochs * len(self._batches())
        self.augmented = Augmenter([make() for make in self.recipe.augment], seed=self.seed, rank=self.global_rank)

    def train_dataloader(self) -> Iterable[Batch]:
        batches = self._batches()
        batches.skip(self.epoch)
        return loader(self.parts["train"], batches)

    def _batches(self) -> Batches:
        # Every process of a distributed run has the same order; each takes its own share of the batch.
        return Batches(
            len(self.split.train), self.recipe.batch_size, seed=self.seed, rank=self.global_rank, num_ranks=self.trainer.world_size
        )

    def configure_optimizers(self) -> torch.optim.Optimizer:
        optimizer = self.recipe.optimizer().build(self.network.parameters())
        self.base_rates = [group["lr"] for group in optimizer.param_groups]
        self.schedule = self.recipe.schedule()
        if self.resumed is not None:
            optimizer.load_state_dict(self.resumed["optimizer"])
        return optimizer

    def on_train_start(self) -> None:
        if self.resumed is None:
            return
        self.augmented.generator.set_state(self.resumed["augment"])
        set_random_state(self.resumed["random"], self.device)
        if (scaler := self._scaler()) is not None:
            scaler.load_state_dict(self.resumed["scaler"])

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        return batch  # the part knows where its inputs lie

    def on_train_epoch_start(self) -> None:
        self.totals = torch.zeros(2, device=self.device)
        self.tallies: Tensor | None = None

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        inputs, targets = self.augmented(*self.parts["train"].take(batch))
        optimizer = self.optimizers()
        assert isinstance(optimizer, LightningOptimizer)  # one optimizer was configured
        factor = self.schedule.factor(self.step, self.num_steps)
        for group, rate in zip(optimizer.param_groups, self.base_rates, strict=True):
            group["lr"] = rate * factor
        outputs = self.network(inputs)
        loss = self.goal.task.loss(outputs, targets, label_smoothing=self.recipe.label_smoothing)
        optimizer.zero_grad()
        self.manual_backward(loss)
        if self.recipe.gradient_clip_val is not None:
            self._clip(optimizer.optimizer, self.recipe.gradient_clip_val)
        optimizer.step()
        self.step += 1
        self.goal.on_step(self.step)
        with torch.no_grad():
            tally = self.goal.task.tally(outputs, targets)
            self.tallies = tally if self.tallies is None else self.tallies + tally
            self.totals += torch.stack((loss.detach() * len(targets), self.totals.new_tensor(len(targets))))

    def _clip(self, optimizer: torch.optim.Optimizer, norm: float) -> None:
        if not isinstance(self.trainer.precision_plugin, MixedPrecision):
            self.clip_gradients(optimizer, norm, "norm")
            return
        # Here gradients may be scaled still, and Lightning refuses to clip those of a fused optimizer, which unscales them itself.
        scaler = self._scaler()
        nn.utils.clip_grad_norm_(self.network.parameters(), norm * (scaler.get_scale() if scaler is not None else 1.0))

    def _scaler(self) -> Any:
        return getattr(self.trainer.precision_plugin, "scaler", None)

    def on_train_epoch_end(self) -> None:
        self.epoch += 1
        loss, count = self.totals.tolist()
        assert self.tallies is not None  # an epoch has at least one step
        self._note("train", loss / count, self.tallies)
        if not math.isfinite(loss):
            self.failure = f"diverged: the training loss is {loss / count} in epoch {self.epoch}"
            self.trainer.should_stop = True
            return
        val = self.evaluate_part("val")
        self._note("val", val.loss, val.tally)
        watched = self.goal.metric.replace("test_", "val_")
        if self.epoch < self.recipe.epochs and self.goal.should_stop(self.epoch, self.curves[watched][-1]):
            self.pruned = True
            self.trainer.should_stop = True
        elif self.checkpoint and self.epoch < self.recipe.epochs and self.trainer.world_size == 1:
            self.checkpoint.write(self._state())

    def _state(self) -> dict[str, Any]:
        """All that the rest of the training depends on."""
        optimizer, scaler = self.optimizers(), self._scaler()
        assert isinstance(optimizer, LightningOptimizer)  # one optimizer was configured
        return {
            "network": self.network.state_dict(),
            "optimizer": optimizer.optimizer.state_dict(),
            "scaler": scaler.state_dict() if scaler is not None else {},
            "epoch": self.epoch,
            "step": self.step,
            "curves": self.curves,
            "augment": self.augmented.generator.get_state(),
            "random": random_state(self.device),
            "seconds": self.seconds(),
        }

    def on_train_end(self) -> None:
        # Before Lightning takes the network back to the CPU, away from the data.
        self.final = self.evaluate_part("test" if self.goal.metric.startswith("test") else "val")
        self.trained_on = str(self.device)

    @torch.no_grad()
    def evaluate_part(self, name: str) -> _Figures:
        """Return loss and figures on one part, with the network in eval mode."""
        part, task = self.parts[name], self.goal.task
        losses, tallies = [], []
        self.network.eval()
        for batch in loader(part, torch.arange(len(part)).split(_evaluation_batch(part, self.recipe.batch_size))):
            inputs, targets = part.take(batch)
            with self.trainer.precision_plugin.val_step_context():
                outputs = self.network(inputs).float()
            losses.append(task.loss(outputs, targets) * (len(targets) / len(part)))
            tallies.append(task.tally(outputs, targets))
        self.network.train()
        return _Figures(float(torch.stack(losses).sum()), torch.stack(tallies).sum(0), part.targets, tuple(outputs.shape[1:]))

    def _note(self, part: str, loss: float, tally: Tensor) -> None:
        for name, value in {"loss": loss, **self.goal.task.figures(tally)}.items():
            self.curves.setdefault(f"{part}_{name}", []).append(value)

    def outcome(self, cost: Cost, *, duration_s: float) -> Outcome:
        final = self.final
        metrics = {name: values[-1] for name, values in self.curves.items()}
        task, (part, _, figure) = self.goal.task, self.goal.metric.partition("_")
        if part != "train":
            metrics |= {f"{part}_{name}": value for name, value in {"loss": final.loss, **task.figures(final.tally)}.items()}
        levels = self._levels(final)
        if not self.failure and not math.isfinite(metrics[self.goal.metric]):
            self.failure = f"diverged: {self.goal.metric} is {metrics[self.goal.metric]}"
        if not self.failure and not self.pruned and (why := task.learned_nothing(final.tally, levels[task.metrics[0].name])):
            self.failure = f"learned nothing: {why}"
        status: Status = "failed" if self.failure else "pruned" if self.pruned else "complete"
        if task.failure_score is not None:
            levels[task.metrics[0].name] = task.failure_score
        return Outcome(
            status=status,
            score=levels[figure] if self.failure else metrics[self.goal.metric],
            metrics=metrics,
            curves={name: tuple(values) for name, values in self.curves.items()},
            cost=cost,
            num_epochs=len(self.curves["train_loss"]),
            duration_s=duration_s,
            device=self.trained_on,
            failure=self.failure,
        )

    def _levels(self, final: _Figures) -> dict[str, float]:
        """What a network scores that ignores its input, by metric, on the part that is scored."""
        task = self.goal.task
        levels = dict(task.constant(final.targets, final.output_shape))
        if task.chance is not None:
            levels[task.metrics[0].name] = task.chance
        return levels


@dataclass(frozen=True)
class _Figures:
    """Loss and summed tally over the part with these targets, from answers of this shape."""

    loss: float
    tally: Tensor
    targets: Tensor
    output_shape: tuple[int, ...]


def _evaluation_batch(part: Part, at_least: int) -> int:
    """Return how many inputs of a part to evaluate at once."""
    pixels = math.prod(part.source.shape[2:])
    return min(EVALUATION_BATCH, max(at_least, EVALUATION_PIXELS // pixels))


@contextmanager
def _quiet() -> Iterator[None]:
    """Lightning announces devices and gives advice at every Trainer; a study makes hundreds."""
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="pytorch_lightning")
        yield
