"""Layer 5: what probes have to keep: declared names, equal answers for equal networks, hands off what is not theirs."""

from __future__ import annotations

import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from nas.building import build
from nas.plugin import Examples, Moment, Network, NetworkContext, Probe, Reading
from nas.plugin import Subject as Probed
from nas.probes import recompute_batch_norm
from nas.registry import Registry
from nas.testing.subject import Subject, broken, completed, quiet_random
from nas.values.architecture import Architecture, PluginNode

SMALL = PluginNode("staged", (("widths", (4, 8)), ("depth", 2)))
CLASSES, EXAMPLES = 10, 48


def probed(
    registry: Registry, network: PluginNode = SMALL, *, moments: tuple[Moment, ...] = ("start", "end"), seed: int = 1, num: int = EXAMPLES
) -> Probed:
    """Return a network to measure: not trained, but with weights a little moved at every moment after the start.

    Its inputs are noise (N, 1, 8, 8), and its batch-norm statistics theirs.
    """
    generator = torch.Generator().manual_seed(seed)
    parts = {
        name: Examples(torch.randn(num, 1, 8, 8, generator=generator), torch.randint(CLASSES, (num,), generator=generator))
        for name in ("train", "val", "test")
    }
    architecture = Architecture(completed(registry, "network", network))

    def at(moment: Moment) -> Network:
        built = build(architecture, registry, NetworkContext((1, 8, 8), CLASSES), seed=seed)
        if moment != "start":
            _move(built, seed)
            recompute_batch_norm(built, parts["train"].inputs)
        return built

    return Probed(parts, F.cross_entropy, _error, CLASSES, seed, moments, at)


def check_names_are_declared_once(subject: Subject) -> None:
    """Figures and series have names of their own, words that can follow the probe's name and a full stop."""
    probe = cast(type[Probe], subject.info.cls)
    names = [declared.name for declared in (*probe.figures, *probe.series)]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        broken(f"declares more than one figure or series of the name {', '.join(twice)}")
    wrong = [name for name in names if not name.isidentifier()]
    if wrong:
        broken(f"declares {', '.join(wrong)}; a name has letters, digits and _ alone")
    if not probe.figures:
        broken("declares no figures: list each with `figures = (Figure(name, told), …)`")


def check_measures_what_it_declares(subject: Subject) -> None:
    """Measuring a small residual network gives declared figures and series, at least one figure finite."""
    reading, probe = _measured(subject), cast(type[Probe], subject.info.cls)
    for what, got, declared in (("figures", reading.figures, probe.figures), ("series", reading.series, probe.series)):
        unknown = sorted(set(got) - {figure.name for figure in declared})
        if unknown:
            broken(f"gives {what} that it does not declare: {', '.join(unknown)}; add them to its `{what}`")
    if not any(math.isfinite(value) for value in reading.figures.values()):
        broken(f"gives no finite figure for a small residual network: {dict(reading.figures)}")


def check_measures_alike_twice(subject: Subject) -> None:
    """The same network gives the same reading, whatever torch's random state is: draw from `subject.generator`."""
    with quiet_random(1):
        one = _measured(subject)
    with quiet_random(2):
        other = _measured(subject)
    differing = sorted(name for name in one.figures if repr(one.figures[name]) != repr(other.figures.get(name)))
    if differing:
        broken(f"gives another {differing[0]} for the same network: {one.figures[differing[0]]!r}, then {other.figures[differing[0]]!r}")


def check_leaves_the_examples_alone(subject: Subject) -> None:
    """What it is given beside copies of the network stays as it was."""
    given = probed(subject.registry)
    before = {name: part.inputs.clone() for name, part in given.parts.items()}
    subject.built().measure(given)
    changed = [name for name, inputs in before.items() if not torch.equal(inputs, given.parts[name].inputs)]
    if changed:
        broken(f"changes the {changed[0]} examples in place")


PROBE = (
    check_names_are_declared_once,
    check_measures_what_it_declares,
    check_measures_alike_twice,
    check_leaves_the_examples_alone,
)


def _measured(subject: Subject) -> Reading:
    reading: Reading = subject.built().measure(probed(subject.registry))
    return reading


def _error(outputs: Tensor, targets: Tensor) -> float:
    return float((outputs.argmax(1) != targets).double().mean())


@torch.no_grad()
def _move(network: Network, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        parameter.add_(0.01 * torch.randn(parameter.shape, generator=generator))
