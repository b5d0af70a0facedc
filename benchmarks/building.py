"""How long building takes, and what a pass through our networks costs against the same network of torchvision or timm.

Building: every architecture of `search_spaces/reference`, with initial values (`build`) and counted without weights
(`cost_of`), median of the rounds. Passes: forward in evaluation, and forward and backward in training, on one thread, in
seconds of the processor (what other programs take away from it does not count). Ours and theirs take turns within one round,
the first of the two changes from round to round, and what is reported is the median of the rounds' ratios, so that a machine
whose speed wanders disturbs both alike. Their activations overwrite their input where ours leave it to be read by probes; so a
third pass is forward against theirs with that switched off, everything else alike. Freed memory is kept, as in the framework's
workers: without that, which of the two gets fresh pages from the system decides some passes of large tensors.

Run:  python benchmarks/building.py --rounds 25 --out benchmarks/results/building.json
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from machine import write
from torch import nn

from nas.building import build, cost_of
from nas.paths import shipped
from nas.plugin import NetworkContext
from nas.registry import Registry, discover
from nas.sampling import first_choice, sample
from nas.space import load_space
from nas.study.crew.early import KEEP_MEMORY
from nas.values.architecture import Architecture

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))  # the networks that the tests compare
from known_networks import architecture_of
from test_against_torchvision import NETWORKS

BATCH, SIDE = 2, 64


def references(registry: Registry) -> dict[str, tuple[Architecture, NetworkContext]]:
    """Return the shipped reference networks, each with its input."""
    found = {}
    for file in sorted(Path(shipped("search_spaces"), "reference").glob("*.yaml")):
        space = load_space(file, registry)
        assert space.input is not None
        context = NetworkContext(space.input.shape, space.input.classes)
        found[file.stem] = sample(space, first_choice).configuration.architecture, context
    return found


def seconds(action: Callable[[], Any]) -> float:
    """Time one call, in seconds of the processor."""
    started = time.process_time()
    action()
    return time.process_time() - started


def building(registry: Registry, rounds: int) -> dict[str, dict[str, float]]:
    """Build and count every reference network `rounds` times."""
    rows = {}
    for name, (architecture, context) in references(registry).items():
        layers = cost_of(architecture, registry, context).num_layers  # the first call pays for what is loaded late
        built = [seconds(partial(build, architecture, registry, context)) for _ in range(rounds)]
        counted = [seconds(partial(cost_of, architecture, registry, context)) for _ in range(rounds)]
        rows[name] = {"layers": layers, "build_s": statistics.median(built), "count_s": statistics.median(counted)}
        told = f"built in {rows[name]['build_s']:.3f} s, counted in {rows[name]['count_s']:.3f} s"
        print(f"{name:20} {layers:4} layers  {told}", flush=True)
    return rows


def forward(network: nn.Module, x: torch.Tensor) -> Callable[[], Any]:
    """A pass in evaluation, without gradients."""
    network.eval()

    def action() -> None:
        with torch.no_grad():
            network(x)

    return action


def backward(network: nn.Module, x: torch.Tensor) -> Callable[[], Any]:
    """A pass forward and backward, in training."""
    network.train()

    def action() -> None:
        for parameter in network.parameters():
            parameter.grad = None
        network(x).square().mean().backward()

    return action


def out_of_place(network: nn.Module) -> nn.Module:
    """Let its activations write their answers beside their input."""
    for module in network.modules():
        if hasattr(module, "inplace"):
            module.inplace = False
    return network


def ratio(ours: Callable[[], Any], theirs: Callable[[], Any], rounds: int) -> dict[str, float]:
    """Time both by turns; return medians in seconds, and the median of the rounds' ratios with its quartiles."""
    for warm in (ours, theirs):
        warm()
    pairs = []
    for turn in range(rounds):
        first = seconds(ours) if turn % 2 == 0 else 0.0
        second = seconds(theirs)
        pairs.append((first or seconds(ours), second))
    ratios = [a / b for a, b in pairs]
    low, middle, high = statistics.quantiles(ratios, n=4)
    ours_s, theirs_s = (statistics.median(side) for side in zip(*pairs, strict=True))
    return {"ours_s": ours_s, "theirs_s": theirs_s, "ratio": middle, "lower_quartile": low, "upper_quartile": high}


def passes(registry: Registry, rounds: int, only: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Compare every network that the tests compare; none where torchvision or timm is not installed."""
    x = torch.randn(BATCH, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    for name, (make, text) in NETWORKS.items():
        if only and not any(part in name for part in only):
            continue
        try:
            theirs = make()
        except BaseException as error:  # pytest's own skip, where the package is missing, is no Exception
            print(f"{name}: left out, {error}")
            continue
        ours = build(architecture_of(text, registry), registry, NetworkContext((3, SIDE, SIDE), 7))
        row = {way.__name__: ratio(way(ours, x), way(theirs, x), rounds) for way in (forward, backward)}
        row["forward, out of place"] = ratio(forward(ours, x), forward(out_of_place(theirs), x), rounds)
        print(f"{name:30} ours/theirs: {', '.join(told(way, times) for way, times in row.items())}", flush=True)
        yield name, row


def told(way: str, row: dict[str, float]) -> str:
    return f"{way} {row['ratio']:.3f} [{row['lower_quartile']:.3f}, {row['upper_quartile']:.3f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--only", nargs="*", default=[], help="parts of names of the networks to compare")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    arguments = parser.parse_args()
    if not KEEP_MEMORY.keys() <= os.environ.keys():  # glibc reads them when a process starts
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **KEEP_MEMORY})
    torch.set_num_threads(1)
    registry = discover()
    document: dict[str, Any] = {
        "input": [BATCH, 3, SIDE, SIDE],
        "rounds": arguments.rounds,
        "building": building(registry, 3) if not arguments.only else {},
        "passes": {},
    }
    for name, row in passes(registry, arguments.rounds, arguments.only):
        document["passes"][name] = row
        if arguments.out:  # after every network: a long run that is ended early leaves what it has
            write(arguments.out, document)


if __name__ == "__main__":
    main()
