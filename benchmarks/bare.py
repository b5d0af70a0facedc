"""The ceiling: bare torch loops over the same list of trainings, one process a core, one thread each, nothing recorded.

Prints the seconds that the processes took together, from the first training's start to the last one's end.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import time

os.environ["OMP_NUM_THREADS"] = "1"

import torch
import torch.nn.functional as F
from handwritten import resnet
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor

Job = tuple[int, str, int]


def train(inputs: Tensor, targets: Tensor, job: Job, epochs: int) -> float:
    """Train one network; return its accuracy on the validation part, which it looks at after every epoch."""
    depth, shortcut, seed = job
    torch.manual_seed(seed)
    indices, rest = train_test_split(range(len(targets)), train_size=0.6, stratify=targets, random_state=seed)
    val, _ = train_test_split(rest, train_size=0.5, stratify=targets[rest], random_state=seed)
    x, y = inputs[indices], targets[indices]
    network = resnet(depth, shortcut == "identity")
    optimizer = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9, weight_decay=5e-4, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=epochs * len(y.split(128)), pct_start=0.1)
    accuracy = 0.0
    for _ in range(epochs):
        for batch in torch.randperm(len(y)).split(128):
            loss = F.cross_entropy(network(x[batch]), y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        network.eval()
        with torch.no_grad():
            accuracy = float((network(inputs[val]).argmax(1) == targets[val]).float().mean())
        network.train()
    return accuracy


def work(jobs: multiprocessing.Queue[Job | None], spans: multiprocessing.Queue[tuple[float, float]], epochs: int) -> None:
    """Train jobs until None comes; tell when the first began and the last ended."""
    torch.set_num_threads(1)
    bunch = load_digits()
    inputs, targets = torch.tensor(bunch.images, dtype=torch.float32).unsqueeze(1) / 16, torch.tensor(bunch.target)
    started = time.time()
    while job := jobs.get():
        train(inputs, targets, job, epochs)
    spans.put((started, time.time()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=json.loads, help="[[depth, shortcut, seed], …]")
    parser.add_argument("--epochs", type=int, default=10)
    arguments = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    jobs, spans, size = context.Queue(), context.Queue(), os.cpu_count() or 1
    for job in [*arguments.jobs, *[None] * size]:
        jobs.put(tuple(job) if job else None)
    crew = [context.Process(target=work, args=(jobs, spans, arguments.epochs)) for _ in range(size)]
    for process in crew:
        process.start()
    told = [spans.get() for _ in crew]
    for process in crew:
        process.join()
    print(json.dumps({"seconds": max(end for _, end in told) - min(start for start, _ in told)}))


if __name__ == "__main__":
    main()
