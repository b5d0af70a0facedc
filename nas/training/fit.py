"""Layer 3: trains one network with one seed through a Lightning Trainer, and says what it came to."""

from __future__ import annotations

import logging
import math
import signal
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.core.optimizer import LightningOptimizer
from pytorch_lightning.plugins.precision import MixedPrecision
from torch import Tensor, nn

from nas.recipe import LIGHTNING_OPTIONS, Recipe
from nas.training.augmenting import Augmenter
from nas.training.checkpoint import Checkpoint, random_state, set_random_state, stopwatch
from nas.training.course import Course, Figures, Goal
from nas.training.data import Batch, Batches, Part, Split
from nas.training.loading import Counted, Stretches, end_decoding, loader
from nas.training.speeding import compiled, lay_out
from nas.values.outcome import Cost, Outcome
from nas.values.seeds import derive

EVALUATION_BATCH = 1024
"""How many inputs are evaluated at once, at most."""
EVALUATION_PIXELS, EVALUATION_PIXELS_CPU = 2**20, 2**17
"""And how many pixels, but a training batch at least. On a CPU more takes longer, and much memory: what is between two layers
does not lie in its caches any more."""


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
    with torch.random.fork_rng(), quiet():
        torch.manual_seed(derive(seed, "noise"))
        try:
            trainer_for(recipe, max_epochs=recipe.epochs - module.epoch).fit(module)
        finally:
            end_decoding(module.loaders)
    return module.course.outcome(cost, duration_s=module.seconds(), device=module.trained_on)


class _Module(pl.LightningModule):
    """The loop's body: batches by index from tensors that lie on the training device, figures kept there until the epoch ends."""

    def __init__(self, network: nn.Module, recipe: Recipe, split: Split, goal: Goal, seed: int, checkpoint: Checkpoint | None) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.network, self.recipe, self.split, self.goal, self.seed = network, recipe, split, goal, seed
        self.course = Course(goal)
        self.loaders: list[Counted[Batch]] = []
        # Epochs and steps are counted here, since Lightning's own counts begin anew where a training goes on.
        self.epoch, self.step = 0, 0
        self.checkpoint, self.resumed = checkpoint, checkpoint.read() if checkpoint else None
        if self.resumed is not None:
            network.load_state_dict(self.resumed["network"])
            self.epoch, self.step = self.resumed["epoch"], self.resumed["step"]
            self.course.curves = {name: list(values) for name, values in self.resumed["curves"].items()}
        self.seconds = stopwatch(self.resumed["seconds"] if self.resumed else 0.0)

    def on_fit_start(self) -> None:
        self.parts: dict[str, Part] = {name: getattr(self.split, name).to(self.device) for name in ("train", "val", "test")}
        self.evaluated = {name: self._evaluated(part) for name, part in self.parts.items()}
        self.num_steps = self.recipe.epochs * len(self._batches())
        self.laid_out = lay_out(self.network, self.recipe, self._sample)
        self.compute = compiled(self.network, self.recipe)
        self.augmented = Augmenter([make() for make in self.recipe.augment], seed=self.seed, rank=self.global_rank)

    def _sample(self) -> Tensor:
        inputs, _ = self.parts["train"].take(torch.arange(2))
        converted: Tensor = self.trainer.precision_plugin.convert_input(inputs)
        return converted

    def train_dataloader(self) -> Stretches[Batch]:
        batches = self._batches()
        batches.skip(self.epoch)
        return Stretches(self._loader(self.parts["train"], batches), self.trainer)

    def _batches(self) -> Batches:
        # Every process of a distributed run has the same order; each takes its own share of the batch.
        part, ranks = self.parts["train"], {"rank": self.global_rank, "num_ranks": self.trainer.world_size}
        return Batches(len(part), self.recipe.batch_size, seed=self.seed, device=part.rows.device, **ranks)

    def _evaluated(self, part: Part) -> Counted[Batch]:
        """Return all of a part, batch by batch."""
        rows = torch.arange(len(part), device=part.rows.device)
        return self._loader(part, rows.split(evaluation_batch(part, self.recipe.batch_size)))

    def _loader(self, part: Part, batches: Counted[Tensor]) -> Counted[Batch]:
        self.loaders.append(loader(part, batches))
        return self.loaders[-1]

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

    def transfer_batch_to_device(self, batch: Iterable[Batch], device: torch.device, dataloader_idx: int) -> Iterable[Batch]:
        return batch  # the part knows where its inputs lie

    def on_train_epoch_start(self) -> None:
        self.total, self.count = torch.zeros((), device=self.device), 0
        self.tallies: Tensor | None = None

    def training_step(self, batch: Iterable[Batch], batch_idx: int) -> None:
        for one in batch:
            self._take_step(one)

    def _take_step(self, batch: Batch) -> None:
        # Nothing here may wait for an accelerator: it is told of steps ahead of those that it computes.
        taken = self.augmented(*self.parts["train"].take(batch))
        inputs, targets = self.trainer.precision_plugin.convert_input(taken)
        optimizer = self.optimizers()
        assert isinstance(optimizer, LightningOptimizer)  # one optimizer was configured
        factor = self.schedule.factor(self.step, self.num_steps)
        for group, rate in zip(optimizer.param_groups, self.base_rates, strict=True):
            group["lr"] = rate * factor
        optimizer.zero_grad()
        outputs = self.compute(self.laid_out(inputs))
        loss = self.goal.task.loss(outputs, targets, label_smoothing=self.recipe.label_smoothing)
        self.manual_backward(loss)
        if self.recipe.gradient_clip_val is not None:
            self._clip(optimizer.optimizer, self.recipe.gradient_clip_val)
        optimizer.step()
        self.step += 1
        self.goal.on_step(self.step)
        with torch.no_grad():
            tally = self.goal.task.tally(outputs.float(), taken[1])
            self.tallies = tally if self.tallies is None else self.tallies + tally
            self.total += loss.detach() * len(targets)
            self.count += len(targets)

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
        assert self.tallies is not None  # an epoch has at least one step
        if self.course.diverged(self.total.item() / self.count, self.tallies.cpu()):
            self.trainer.should_stop = True
            return
        val = self.evaluate_part("val")
        self.course.note("val", val.loss, val.tally)
        if self.epoch < self.recipe.epochs and self.goal.should_stop(self.epoch, self.course.watched):
            self.course.pruned = True
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
            "curves": self.course.curves,
            "augment": self.augmented.generator.get_state(),
            "random": random_state(self.device),
            "seconds": self.seconds(),
        }

    def on_train_end(self) -> None:
        # Before Lightning takes the network back to the CPU, away from the data.
        self.course.final = self.evaluate_part(self.goal.final_part)
        self.trained_on = str(self.device)

    @torch.no_grad()
    def evaluate_part(self, name: str) -> Figures:
        """Return loss and figures on one part, with the network in eval mode."""
        part, task = self.parts[name], self.goal.task
        losses, tallies = [], []
        self.network.eval()
        for batch in self.evaluated[name]:
            inputs, targets = part.take(batch)
            with self.trainer.precision_plugin.val_step_context():
                outputs = self.network(self.laid_out(self.trainer.precision_plugin.convert_input(inputs))).float()
            losses.append(task.loss(outputs, targets) * (len(targets) / len(part)))
            tallies.append(task.tally(outputs, targets))
        self.network.train()
        tally, targets = torch.stack(tallies).sum(0).cpu(), getattr(self.split, name).targets
        return Figures(float(torch.stack(losses).sum()), tally, targets, tuple(outputs.shape[1:]))


def evaluation_batch(part: Part, at_least: int, *, together: int = 1) -> int:
    """Return how many inputs of a part to evaluate at once, in each of so many networks."""
    pixels = EVALUATION_PIXELS_CPU if part.mean.device.type == "cpu" else EVALUATION_PIXELS
    most = min(EVALUATION_BATCH, pixels // math.prod(part.source.shape[2:]))
    return min(EVALUATION_BATCH, max(at_least, most // together))


def trainer_for(recipe: Recipe, *, max_epochs: int) -> pl.Trainer:
    """Return Lightning's trainer as a recipe asks for it, without all that a study brings itself."""
    return pl.Trainer(
        max_epochs=max_epochs,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        **{option: getattr(recipe, option) for option in LIGHTNING_OPTIONS},
    )


@contextmanager
def quiet() -> Iterator[None]:
    """Lightning announces devices and gives advice at every Trainer; a study makes hundreds.

    At Ctrl-C it ends the process with status 1, without a word, and lets it hear no second one: here that stays KeyboardInterrupt.
    """
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="pytorch_lightning")
        try:
            yield
        except SystemExit as end:
            if not isinstance(end.__context__, KeyboardInterrupt):
                raise
            signal.signal(signal.SIGINT, signal.default_int_handler)
            raise KeyboardInterrupt from end
