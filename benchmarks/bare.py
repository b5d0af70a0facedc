"""The ceiling: bare torch loops over the same list of trainings, one process a core, one thread each, nothing recorded.

With `--group 8`, networks that differ in their seed alone are trained eight at a time as one program, their channels stacked by hand
and last in memory.
Prints the seconds that the processes took together, from the first training's start to the last one's end.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import time
from collections.abc import Sequence

os.environ["OMP_NUM_THREADS"] = "1"

import torch
import torch.nn.functional as F
from handwritten import resnet
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

Job = tuple[int, str, tuple[int, ...]]
"""Depth, shortcut, the seeds that are trained together."""


class StackedBlock(nn.Module):
    """A block of K networks, (B, K·C, H, W) -> (B, K·width, H', W')."""

    def __init__(self, count: int, channels: int, width: int, stride: int, shortcut: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(count * channels, count * width, 3, stride, 1, groups=count, bias=False)
        self.conv2 = nn.Conv2d(count * width, count * width, 3, 1, 1, groups=count, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(count * width), nn.BatchNorm2d(count * width)
        self.count, self.stride, self.grow, self.shortcut = count, stride, width - channels, shortcut

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.shortcut:
            skip = x[:, :, :: self.stride, :: self.stride]
            if self.grow:
                apart = skip.unflatten(1, (self.count, -1))
                skip = F.pad(apart, (0, 0, 0, 0, self.grow // 2, self.grow - self.grow // 2)).flatten(1, 2)
            y = y + skip
        return F.relu(y)


class StackedHead(nn.Module):
    """Pooling and a linear layer for each of K networks, (B, K·C, H, W) -> (K, B, 10)."""

    def __init__(self, count: int, channels: int) -> None:
        super().__init__()
        own = [nn.Linear(channels, 10) for _ in range(count)]
        self.weight = nn.Parameter(torch.stack([one.weight.detach().t() for one in own]))
        self.bias = nn.Parameter(torch.stack([one.bias.detach()[None] for one in own]))

    def forward(self, x: Tensor) -> Tensor:
        return torch.baddbmm(self.bias, x.mean((2, 3)).unflatten(1, (len(self.weight), -1)).transpose(0, 1), self.weight)


def stacked_resnet(count: int, depth: int, shortcut: bool, widths: tuple[int, ...] = (8, 16, 32)) -> nn.Module:
    """Return `handwritten.resnet` `count` times as one network: K convolutions are one of K groups."""
    layers: list[nn.Module] = [nn.Conv2d(count, count * widths[0], 3, 1, 1, groups=count, bias=False), nn.BatchNorm2d(count * widths[0])]
    layers.append(nn.ReLU())
    channels = widths[0]
    for stage, width in enumerate(widths):
        for position in range(depth):
            layers.append(StackedBlock(count, channels, width, 2 if stage and not position else 1, shortcut))
            channels = width
    return nn.Sequential(*layers, StackedHead(count, channels))


def split(targets: Tensor, seed: int) -> tuple[list[int], list[int]]:
    """Return the rows of the training and the validation part."""
    train, rest = train_test_split(range(len(targets)), train_size=0.6, stratify=targets, random_state=seed)
    val, _ = train_test_split(rest, train_size=0.5, stratify=targets[rest], random_state=seed)
    return train, val


def train(inputs: Tensor, targets: Tensor, job: Job, epochs: int) -> list[float]:
    """Train one network or a group; return the accuracies on the validation part, which is looked at after every epoch."""
    depth, shortcut, seeds = job
    torch.manual_seed(seeds[0])
    parts, alone, count = [split(targets, seed) for seed in seeds], len(seeds) == 1, len(seeds)
    rows, held = torch.tensor([train for train, _ in parts]), torch.tensor([val for _, val in parts])
    network = resnet(depth, shortcut == "identity") if alone else stacked_resnet(count, depth, shortcut == "identity")
    if not alone:
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9, weight_decay=5e-4, fused=True)
    size = rows.shape[1]
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=epochs * -(-size // 128), pct_start=0.1)
    accuracies: list[float] = []

    def answers(chosen: Tensor) -> Tensor:
        """Inputs by index (K, B) -> answers (K, B, 10)."""
        return (
            network(inputs[chosen[0]])[None]
            if alone
            else network(inputs[chosen.t()].flatten(1, 2).contiguous(memory_format=torch.channels_last))
        )

    for _ in range(epochs):
        order = torch.stack([own[torch.randperm(size)] for own in rows])
        for batch in order.split(128, dim=1):
            losses = F.cross_entropy(answers(batch).flatten(0, 1), targets[batch].flatten(), reduction="none")
            loss = losses.sum() / batch.shape[1]  # the sum over the networks of each one's mean
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        network.eval()
        with torch.no_grad():
            accuracies = (answers(held).argmax(2) == targets[held]).float().mean(1).tolist()
        network.train()
    return accuracies


def work(jobs: multiprocessing.Queue[Job | None], spans: multiprocessing.Queue[tuple[float, float]], epochs: int) -> None:
    """Train jobs until None comes; tell when the first began and the last ended."""
    torch.set_num_threads(1)
    bunch = load_digits()
    inputs, targets = torch.tensor(bunch.images, dtype=torch.float32).unsqueeze(1) / 16, torch.tensor(bunch.target)
    started = time.time()
    while job := jobs.get():
        train(inputs, targets, job, epochs)
    spans.put((started, time.time()))


def grouped(jobs: Sequence[tuple[int, str, int]], size: int) -> list[Job]:
    """Put trainings that differ in their seed alone together, at most `size` of them, the deepest first."""
    alike: dict[tuple[int, str], list[int]] = {}
    for depth, shortcut, seed in jobs:
        alike.setdefault((depth, shortcut), []).append(seed)
    return [(*kind, tuple(seeds[i : i + size])) for kind, seeds in alike.items() for i in range(0, len(seeds), size)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=json.loads, help="[[depth, shortcut, seed], …]")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--group", type=int, default=1, help="trainings in one program")
    arguments = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    jobs, spans, size = context.Queue(), context.Queue(), os.cpu_count() or 1
    alone = [(depth, shortcut, (seed,)) for depth, shortcut, seed in arguments.jobs]
    for job in [*(alone if arguments.group == 1 else grouped(arguments.jobs, arguments.group)), *[None] * size]:
        jobs.put(job)
    crew = [context.Process(target=work, args=(jobs, spans, arguments.epochs)) for _ in range(size)]
    for process in crew:
        process.start()
    told = [spans.get() for _ in crew]
    for process in crew:
        process.join()
    print(json.dumps({"seconds": max(end for _, end in told) - min(start for start, _ in told)}))


if __name__ == "__main__":
    main()
