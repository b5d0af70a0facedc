"""Layer 3: trains one network with one seed through a Lightning Trainer, and says what it came to."""

from __future__ import annotations

import logging
import math
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from pytorch_lightning.core.optimizer import LightningOptimizer
from torch import nn

from nas.recipe import LIGHTNING_OPTIONS, Recipe
from nas.training.augmenting import Augmenter
from nas.training.data import Batch, Batches, Part, Split
from nas.training.loading import loader
from nas.values.outcome import Cost, Outcome, Status
from nas.values.seeds import derive

ShouldStop = Callable[[int, float], bool]
"""Told the objective's value after each epoch (counted from 1); True ends the training as pruned."""

OnStep = Callable[[int], None]
"""Told after each optimizer step how many there were."""

LearnedNothing = Callable[[int, int, float], bool]
"""(num_correct, num_examples, majority_share) -> whether the network is not above chance."""

EVALUATION_BATCH = 1024


@dataclass(frozen=True)
class Goal:
    """What a training is judged by: its metric (`val_accuracy`, `test_accuracy`, `val_loss` …) and what counts as failed.

    A metric of the test part is taken once, after the last epoch.
    """

    metric: str
    learned_nothing: LearnedNothing
    should_stop: ShouldStop = lambda _epoch, _value: False
    on_step: OnStep = lambda _step: None


METRICS = tuple(f"{part}_{figure}" for part in ("train", "val", "test") for figure in ("accuracy", "loss"))


def train(network: nn.Module, recipe: Recipe, split: Split, cost: Cost, goal: Goal, *, seed: int) -> Outcome:
    """Train `network` in place for `recipe.epochs` and return its outcome.

    Separate streams, each keyed by `seed`, drive the order of the examples and the noise inside the network (dropout).
    Deterministic on one machine for one thread count. The global random state is left as it was.
    """
    started = time.perf_counter()
    module = _Module(network, recipe, split, goal, seed)
    with torch.random.fork_rng(), _quiet():
        torch.manual_seed(derive(seed, "noise"))
        trainer = pl.Trainer(
            max_epochs=recipe.epochs,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
            **{option: getattr(recipe, option) for option in LIGHTNING_OPTIONS},
        )
        trainer.fit(module)
        final = module.evaluate_part("test" if goal.metric.startswith("test") else "val")
    return module.outcome(final, cost, duration_s=time.perf_counter() - started)


class _Module(pl.LightningModule):
    """The loop's body: batches by index from tensors that lie on the training device, figures kept there until the epoch ends."""

    def __init__(self, network: nn.Module, recipe: Recipe, split: Split, goal: Goal, seed: int) -> None:
        super().__init__()
        self.automatic_optimization = False
        # Channels last would take 0.8 of the time on a CPU, but torch 2.13 corrupts memory there with 4 channels.
        self.network, self.recipe, self.split, self.goal, self.seed = network, recipe, split, goal, seed
        self.curves: dict[str, list[float]] = {}
        self.failure, self.pruned = "", False

    def on_fit_start(self) -> None:
        self.parts: dict[str, Part] = {name: getattr(self.split, name).to(self.device) for name in ("train", "val", "test")}
        self.num_steps = self.recipe.epochs * len(self._batches())
        self.augmented = Augmenter([make() for make in self.recipe.augment], seed=self.seed, rank=self.global_rank)

    def train_dataloader(self) -> Iterable[Batch]:
        return loader(self.parts["train"], self._batches())

    def _batches(self) -> Batches:
        # Every process of a distributed run has the same order; each takes its own share of the batch.
        return Batches(
            len(self.split.train), self.recipe.batch_size, seed=self.seed, rank=self.global_rank, num_ranks=self.trainer.world_size
        )

    def configure_optimizers(self) -> torch.optim.Optimizer:
        optimizer = self.recipe.optimizer().build(self.network.parameters())
        self.base_rates = [group["lr"] for group in optimizer.param_groups]
        self.schedule = self.recipe.schedule()
        return optimizer

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        return batch  # the part knows where its inputs lie

    def on_train_epoch_start(self) -> None:
        self.totals = torch.zeros(3, device=self.device)

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        inputs, targets = self.augmented(*self.parts["train"].take(batch))
        optimizer = self.optimizers()
        assert isinstance(optimizer, LightningOptimizer)  # one optimizer was configured
        factor = self.schedule.factor(self.global_step, self.num_steps)
        for group, rate in zip(optimizer.param_groups, self.base_rates, strict=True):
            group["lr"] = rate * factor
        logits = self.network(inputs)
        loss = F.cross_entropy(logits, targets, label_smoothing=self.recipe.label_smoothing)
        optimizer.zero_grad()
        self.manual_backward(loss)
        if self.recipe.gradient_clip_val is not None:
            self.clip_gradients(optimizer.optimizer, self.recipe.gradient_clip_val, "norm")
        optimizer.step()
        self.goal.on_step(self.global_step)
        with torch.no_grad():
            correct = (logits.argmax(1) == targets).sum()
            self.totals += torch.stack((loss.detach() * len(targets), correct, correct.new_tensor(len(targets))))

    def on_train_epoch_end(self) -> None:
        loss, correct, count = self.totals.tolist()
        self._note("train_loss", loss / count)
        self._note("train_accuracy", correct / count)
        if not math.isfinite(loss):
            self.failure = f"diverged: the training loss is {loss / count} in epoch {self.current_epoch + 1}"
            self.trainer.should_stop = True
            return
        val = self.evaluate_part("val")
        self._note("val_loss", val.loss)
        self._note("val_accuracy", val.accuracy)
        watched = self.goal.metric.replace("test_", "val_")
        if self.current_epoch + 1 < self.recipe.epochs and self.goal.should_stop(self.current_epoch + 1, self.curves[watched][-1]):
            self.pruned = True
            self.trainer.should_stop = True

    @torch.no_grad()
    def evaluate_part(self, name: str) -> _Figures:
        """Return loss and accuracy on one part, with the network in eval mode."""
        part = self.parts[name]
        self.network.eval()
        with self.trainer.precision_plugin.val_step_context():
            in_order = torch.arange(len(part)).split(EVALUATION_BATCH)
            batches = [self.network(part.take(batch)[0]).float() for batch in loader(part, in_order)]
        self.network.train()
        logits = torch.cat(batches)
        correct = int((logits.argmax(1) == part.targets).sum())
        return _Figures(float(F.cross_entropy(logits, part.targets)), correct, len(part.targets), part.majority_share)

    def _note(self, name: str, value: float) -> None:
        self.curves.setdefault(name, []).append(value)

    def outcome(self, final: _Figures, cost: Cost, *, duration_s: float) -> Outcome:
        metrics = {name: values[-1] for name, values in self.curves.items()}
        scored = self.goal.metric.partition("_")[0]
        if scored != "train":
            metrics |= {f"{scored}_loss": final.loss, f"{scored}_accuracy": final.accuracy}
        if not self.failure and not math.isfinite(metrics[self.goal.metric]):
            self.failure = f"diverged: {self.goal.metric} is {metrics[self.goal.metric]}"
        if not self.failure and not self.pruned and self.goal.learned_nothing(final.correct, final.count, final.majority_share):
            share = f"{final.majority_share:.1%}"
            self.failure = f"learned nothing: {final.correct} of {final.count} right is not above the majority class's {share}"
        status: Status = "failed" if self.failure else "pruned" if self.pruned else "complete"
        return Outcome(
            status=status,
            score=self._failure_score(final) if self.failure else metrics[self.goal.metric],
            metrics=metrics,
            curves={name: tuple(values) for name, values in self.curves.items()},
            cost=cost,
            num_epochs=len(self.curves["train_loss"]),
            duration_s=duration_s,
            device=str(self.device),
            failure=self.failure,
        )

    def _failure_score(self, final: _Figures) -> float:
        """What a network scores that ignores its input: the majority class's share, or the loss of a uniform guess."""
        return final.majority_share if self.goal.metric.endswith("accuracy") else math.log(self.split.num_classes)


@dataclass(frozen=True)
class _Figures:
    loss: float
    correct: int
    count: int
    majority_share: float

    @property
    def accuracy(self) -> float:
        return self.correct / self.count


@contextmanager
def _quiet() -> Iterator[None]:
    """Lightning announces devices and gives advice at every Trainer; a study makes hundreds."""
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="pytorch_lightning")
        yield
