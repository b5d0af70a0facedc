"""What a training takes besides its forward passes, backward passes and optimizer steps, in one process of one thread.

A ResNet of 20 layers is trained on digits by the framework, as a worker trains it, and by turns by a loop of the same network, batches,
rates and evaluations with nothing else in it. In both, torch's own hooks time the three kinds of work. What is left of the framework's
time beside them, and beyond what is left of the loop's, is the framework's own. All is processor time.

Run:  python benchmarks/overhead.py --rounds 5
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import torch
import torch.nn.functional as F
from machine import write
from together import Side
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from nas.training.data import Batches
from nas.training.fit import train
from nas.training.stacked import Member

WIDTHS = ([8, 16, 32], [16, 32, 64])
KINDS = ("forward", "backward", "step")


class Stopwatch:
    """Processor time by kind, each from its beginning to its end."""

    def __init__(self) -> None:
        self.seconds, self.began = dict.fromkeys(KINDS, 0.0), 0.0

    def begin(self, *_: Any) -> None:
        self.began = time.process_time()

    def end(self, kind: str) -> Callable[..., None]:
        def ended(*_: Any) -> None:
            self.seconds[kind] += time.process_time() - self.began

        return ended


@contextmanager
def timed(network: nn.Module, watch: Stopwatch) -> Iterator[None]:
    """Time a network's forward passes, all backward passes and all optimizer steps."""
    hooks = [
        network.register_forward_pre_hook(watch.begin),
        network.register_forward_hook(watch.end("forward")),
        register_optimizer_step_pre_hook(watch.begin),
        register_optimizer_step_post_hook(watch.end("step")),
    ]
    backward, ended = Tensor.backward, watch.end("backward")

    def timed_backward(tensor: Tensor, *args: Any, **kwargs: Any) -> None:
        watch.begin()
        backward(tensor, *args, **kwargs)
        ended()

    Tensor.backward = timed_backward  # type: ignore[method-assign,assignment]  # torch has no hook for it
    try:
        yield
    finally:
        Tensor.backward = backward  # type: ignore[method-assign]
        for hook in hooks:
            hook.remove()


def seconds_of(side: Side, seed: int, work: Callable[[Side, Member], object]) -> dict[str, float]:
    """Return the seconds of each kind of work, of all of it, and of what is outside."""
    member, watch = side.member(seed), Stopwatch()
    with timed(member.network, watch):
        started = time.process_time()
        work(side, member)
        whole = time.process_time() - started
    return {**watch.seconds, "whole": whole, "outside": whole - sum(watch.seconds.values())}


def framework(side: Side, member: Member) -> None:
    """Train one network as a worker does."""
    train(member.network, member.recipe, member.split, side.cost, side.goal, seed=member.seed)


def bare(side: Side, member: Member) -> None:
    """Train the same network on the same batches, evaluated as often, with nothing else."""
    network, recipe, parts = member.network, member.recipe, member.split
    optimizer = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9, weight_decay=5e-4, fused=True)
    x, y = parts.train.take(torch.arange(len(parts.train)))
    held = [part.take(torch.arange(len(part))) for part in (parts.val, parts.test)]
    batches = Batches(len(y), recipe.batch_size, seed=member.seed)
    schedule, steps, step = recipe.schedule(), recipe.epochs * len(batches), 0
    for _ in range(recipe.epochs):
        for index in batches:
            optimizer.param_groups[0]["lr"] = 0.1 * schedule.factor(step, steps)
            optimizer.zero_grad()
            F.cross_entropy(network(x[index]), y[index]).backward()
            optimizer.step()
            step += 1
        accuracy(network, *held[0])
    accuracy(network, *held[1])


@torch.no_grad()
def accuracy(network: nn.Module, inputs: Tensor, targets: Tensor) -> float:
    """Return the share of inputs that a network gets right."""
    right = (network.eval()(inputs).argmax(1) == targets).float().mean().item()
    network.train()
    return right


def compare(widths: list[int], *, rounds: int, epochs: int) -> dict[str, Any]:
    """Train by turns and return the figures of one network, medians over the rounds."""
    side = Side({"widths": widths, "depth": 3, "block": "basic", "batch": 128}, epochs)
    rows = [(seconds_of(side, seed, framework), seconds_of(side, seed, bare)) for seed in (0, *range(rounds))][1:]
    own, loop = ({kind: statistics.median(row[place][kind] for row in rows) for kind in rows[0][0]} for place in (0, 1))
    return {
        "widths": widths, "epochs": epochs, "rounds": rounds, "framework_seconds": own, "bare_seconds": loop,
        "framework_outside": statistics.median(row[0]["outside"] / row[0]["whole"] for row in rows),
        "bare_outside": statistics.median(row[1]["outside"] / row[1]["whole"] for row in rows),
        "own_share": statistics.median((row[0]["outside"] - row[1]["outside"]) / row[0]["whole"] for row in rows),
        "ratio": statistics.median(row[0]["whole"] / row[1]["whole"] for row in rows),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for widths in WIDTHS:
        rows.append(found := compare(widths, rounds=arguments.rounds, epochs=arguments.epochs))
        for side in ("framework", "bare"):
            seconds = ", ".join(f"{kind} {spent:.2f}" for kind, spent in found[f"{side}_seconds"].items())
            print(f"widths {widths}, {side}: seconds {seconds}: {found[f'{side}_outside']:.1%} outside", flush=True)
        print(f"the framework's own share {found['own_share']:.1%}; {found['ratio']:.3f} × the time of the bare loop", flush=True)
    write(arguments.out, {"rows": rows})


if __name__ == "__main__":
    main()
