"""What one would write by hand: Optuna, Lightning and MLflow glued together as their documentation shows, in one process.

It trains the networks that it is given, by the same recipe as the framework does, and prints the seconds they took. Lightning's
defaults are left as they are (a checkpoint an epoch, a progress bar); `--lean` turns them off.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
import warnings
from pathlib import Path

import optuna
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from pytorch_lightning.loggers import MLFlowLogger
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset


class Block(nn.Module):
    def __init__(self, channels: int, width: int, stride: int, shortcut: bool) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(channels, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        self.stride, self.grow, self.shortcut = stride, width - channels, shortcut

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.shortcut:
            skip = x[:, :, :: self.stride, :: self.stride]
            y = y + F.pad(skip, (0, 0, 0, 0, self.grow // 2, self.grow - self.grow // 2))
        return F.relu(y)


def resnet(depth: int, shortcut: bool, widths: tuple[int, ...] = (8, 16, 32), inputs: int = 1) -> nn.Module:
    layers: list[nn.Module] = [nn.Conv2d(inputs, widths[0], 3, 1, 1, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU()]
    channels = widths[0]
    for stage, width in enumerate(widths):
        for position in range(depth):
            layers.append(Block(channels, width, 2 if stage and not position else 1, shortcut))
            channels = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10))


class Classifier(pl.LightningModule):
    def __init__(self, network: nn.Module, lr: float, num_steps: int) -> None:
        super().__init__()
        self.network, self.lr, self.num_steps = network, lr, num_steps

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        x, y = batch
        logits = self.network(x)
        loss = F.cross_entropy(logits, y)
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        self.log("train_accuracy", (logits.argmax(1) == y).float().mean(), on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        x, y = batch
        logits = self.network(x)
        self.log("val_loss", F.cross_entropy(logits, y))
        self.log("val_accuracy", (logits.argmax(1) == y).float().mean())

    def configure_optimizers(self) -> dict[str, object]:
        optimizer = torch.optim.SGD(self.parameters(), self.lr, momentum=0.9, weight_decay=5e-4)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.lr, total_steps=self.num_steps, pct_start=0.1)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--jobs", type=json.loads, help="[[depth, shortcut, seed], …]")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--lean", action="store_true", help="without the checkpoints, progress bar and summary of Lightning's defaults")
    arguments = parser.parse_args()
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.filterwarnings("ignore")

    bunch = load_digits()
    inputs, targets = torch.tensor(bunch.images, dtype=torch.float32).unsqueeze(1) / 16, torch.tensor(bunch.target)
    study = optuna.create_study(direction="maximize", storage=f"sqlite:///{arguments.folder}/optuna.db")
    for depth, shortcut, seed in arguments.jobs:
        study.enqueue_trial({"depth": depth, "shortcut": shortcut, "seed": seed})

    def objective(trial: optuna.Trial) -> float:
        depth = trial.suggest_int("depth", 1, 9)
        shortcut = trial.suggest_categorical("shortcut", ["none", "identity"])
        seed = trial.suggest_int("seed", 0, 1000)
        pl.seed_everything(seed, verbose=False)
        train, rest = train_test_split(range(len(targets)), train_size=0.6, stratify=targets, random_state=seed)
        val, _ = train_test_split(rest, train_size=0.5, stratify=targets[rest], random_state=seed)
        mean, std = inputs[train].mean(), inputs[train].std()
        parts = [TensorDataset((inputs[i] - mean) / std, targets[i]) for i in (train, val)]
        loaders = [DataLoader(parts[0], batch_size=128, shuffle=True), DataLoader(parts[1], batch_size=512)]
        logger = MLFlowLogger("handwritten", tracking_uri=f"sqlite:///{arguments.folder}/mlflow.db")
        logger.log_hyperparams({"depth": depth, "shortcut": shortcut, "seed": seed})
        spared = {"enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
        trainer = pl.Trainer(
            max_epochs=arguments.epochs, accelerator="cpu", logger=logger, log_every_n_steps=5,
            default_root_dir=arguments.folder, **spared if arguments.lean else {},
        )  # fmt: skip
        module = Classifier(resnet(depth, shortcut == "identity"), 0.1, arguments.epochs * len(loaders[0]))
        trainer.fit(module, *loaders)
        return float(trainer.callback_metrics["val_accuracy"])

    started = time.perf_counter()
    study.optimize(objective, n_trials=len(arguments.jobs))
    print(json.dumps({"seconds": time.perf_counter() - started, "scores": [t.value for t in study.trials]}))


if __name__ == "__main__":
    main()
