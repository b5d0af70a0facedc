"""What one would write by hand for pictures: Optuna, Lightning and MLflow as their pages show them; and a bare loop that records nothing.

Both train ResNets of 20 layers with and without shortcuts on whatever accelerator is there, for `gpu.py`.
"""

from __future__ import annotations

import logging
import os
import random
import tempfile
import time
import warnings
from collections.abc import Mapping
from typing import Any

import optuna
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from handwritten import Classifier, resnet
from pytorch_lightning.loggers import MLFlowLogger
from sklearn.model_selection import train_test_split
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

BATCH, LR, PADDING = 128, 0.1, 4
WIDTHS = (16, 32, 64)
ReadIn = tuple[Tensor, Tensor, list[int], list[int]]


class Pictures(Dataset[tuple[Tensor, int]]):
    """Pictures as a data set gives them, one at a time, changed as transforms change them."""

    def __init__(self, inputs: Tensor, targets: Tensor, mean: Tensor, std: Tensor, augment: bool) -> None:
        self.inputs, self.targets, self.mean, self.std, self.augment = inputs, targets, mean, std, augment

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        picture = (self.inputs[index].float() / 255 - self.mean) / self.std
        if self.augment:
            padded, (top, left) = F.pad(picture, [PADDING] * 4), random.choices(range(2 * PADDING + 1), k=2)
            picture = padded[:, top : top + picture.shape[1], left : left + picture.shape[2]]
            picture = picture.flip(2) if random.random() < 0.5 else picture
        return picture, int(self.targets[index])


def read(data: Mapping[str, Mapping[str, Any]]) -> ReadIn:
    """Return all pictures of a space's data set, their classes, and the rows of the training and the validation part."""
    from nas.registry import discover
    from nas.study.jobs.materials import ready_data
    from nas.testing.subject import completed
    from nas.values.architecture import PluginNode

    ((name, parameters),) = data.items()
    registry = discover([])
    found = ready_data(completed(registry, "data", PluginNode(name, tuple(parameters.items()))), registry)
    inputs, targets, own = found.inputs[torch.arange(len(found.targets))], found.targets, len(found.targets) - found.num_test
    train, val = train_test_split(range(own), train_size=0.8, stratify=targets[:own], random_state=0)
    return inputs, targets, train, val


def handwritten(read_in: ReadIn, *, epochs: int, replicates: int) -> dict[str, Any]:
    """Train under Optuna and Lightning, logged to MLflow."""
    inputs, targets, train, val = read_in
    mean, std = (value.view(-1, 1, 1) for value in channel_figures(inputs[train]))
    parts = [Pictures(inputs[rows], targets[rows], mean, std, rows is train) for rows in (train, val)]
    processes = min(8, os.cpu_count() or 1) if torch.cuda.is_available() else 0
    with tempfile.TemporaryDirectory() as folder:
        study = optuna.create_study(direction="maximize", storage=f"sqlite:///{folder}/optuna.db")
        for seed in range(replicates):
            for shortcut in ("none", "identity"):
                study.enqueue_trial({"shortcut": shortcut, "seed": seed})

        def objective(trial: optuna.Trial) -> float:
            shortcut, seed = trial.suggest_categorical("shortcut", ["none", "identity"]), trial.suggest_int("seed", 0, 1000)
            pl.seed_everything(seed, verbose=False)
            spread = {"num_workers": processes, "pin_memory": torch.cuda.is_available(), "persistent_workers": processes > 0}
            loaders = [DataLoader(parts[0], BATCH, shuffle=True, **spread), DataLoader(parts[1], 512, **spread)]
            logger = MLFlowLogger("handwritten", tracking_uri=f"sqlite:///{folder}/mlflow.db")
            trainer = pl.Trainer(max_epochs=epochs, devices=1, logger=logger, default_root_dir=folder)
            module = Classifier(resnet(3, shortcut == "identity", WIDTHS, inputs.shape[1]), LR, epochs * len(loaders[0]))
            trainer.fit(module, *loaders)
            return float(trainer.callback_metrics["val_accuracy"])

        started = time.perf_counter()
        study.optimize(objective, n_trials=2 * replicates)
        durations = [t.duration.total_seconds() for t in study.trials if t.duration]
        return {"seconds": time.perf_counter() - started, "durations": durations, "scores": [t.value for t in study.trials]}


def bare(read_in: ReadIn, *, epochs: int, replicates: int) -> dict[str, Any]:
    """Train in bare loops, one after another, the data on the device."""
    inputs, targets, train, val = read_in
    mean, std = (value.view(-1, 1, 1) for value in channel_figures(inputs[train]))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    mean, std = mean.to(device), std.to(device)
    x, y, val_x, val_y = (t.to(device) for t in (inputs[train], targets[train], inputs[val], targets[val]))
    scores, durations, started = [], [], time.perf_counter()
    for seed in range(replicates):
        for shortcut in (False, True):
            torch.manual_seed(seed)
            began = time.perf_counter()
            network = resnet(3, shortcut, WIDTHS, x.shape[1]).to(device)
            optimizer = torch.optim.SGD(network.parameters(), LR, momentum=0.9, weight_decay=5e-4)
            num_steps = epochs * -(-len(x) // BATCH)
            schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LR, total_steps=num_steps, pct_start=0.1)
            for _ in range(epochs):
                network.train()
                for rows in torch.randperm(len(x), device=device).split(BATCH):
                    optimizer.zero_grad()
                    F.cross_entropy(network(changed((x[rows].float() / 255 - mean) / std)), y[rows]).backward()
                    optimizer.step()
                    schedule.step()
                network.eval()
                with torch.no_grad():
                    pairs = zip(val_x.split(1024), val_y.split(1024), strict=True)
                    right = sum((network((a.float() / 255 - mean) / std).argmax(1) == b).sum() for a, b in pairs)
            scores.append(float(right) / len(val_y))  # it waits for the device
            durations.append(time.perf_counter() - began)
    return {"seconds": time.perf_counter() - started, "durations": durations, "scores": scores}


def changed(batch: Tensor) -> Tensor:
    """Crop and flip a whole batch (B, C, H, W), each picture for itself."""
    count, side = len(batch), batch.shape[-1]
    padded = F.pad(batch, [PADDING] * 4)
    top, left = torch.randint(0, 2 * PADDING + 1, (2, count, 1, 1, 1), device=batch.device)
    span = torch.arange(side, device=batch.device)
    columns = torch.where(torch.rand(count, 1, 1, 1, device=batch.device) < 0.5, span, span.flip(0)) + left
    rows = span.view(-1, 1) + top
    channels = torch.arange(batch.shape[1], device=batch.device).view(1, -1, 1, 1)
    return padded[torch.arange(count, device=batch.device).view(-1, 1, 1, 1), channels, rows, columns]


def channel_figures(inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean and the deviation of each channel of pictures that are bytes."""
    values = inputs[:10_000].float() / 255
    return values.mean((0, 2, 3)), values.std((0, 2, 3))


def main(side: str, data: Mapping[str, Mapping[str, Any]], *, epochs: int, replicates: int) -> dict[str, Any]:
    """Train each of two networks so often, by `handwritten` or `bare`; return seconds, each training's own, and scores."""
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.filterwarnings("ignore")
    return {"handwritten": handwritten, "bare": bare}[side](read(data), epochs=epochs, replicates=replicates)
