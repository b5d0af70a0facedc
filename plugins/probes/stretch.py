"""Stretching: a trained network made deeper by layers that do nothing."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from nas.plugin import Count, Figure, Network, Probe, Reading, Subject, Unit, plugin
from nas.probes import outputs_of, put, trace

EXACT = 1e-3


@plugin("stretch")
class Stretch(Probe):
    """Deepen the trained network by units that are the identity, and see that its answers stay (He et al. 2015, 1512.03385, §1).

    "A solution by construction": behind each unit that keeps its shape stand `copies` more of the same kind, which hand their
    input on. A residual one has its branch's last layers at zero; a plain one has Dirac convolutions and norms that do nothing,
    which is the identity as far as activations keep what is not negative. The same depth trained from scratch is what a plain
    network fails at: so where it does, optimisation is at fault, not capacity. Raises where no unit can be made an identity
    (a plain bottleneck is too narrow, a plain pre-activation unit loses what is negative).
    """

    figures = (
        Figure("intact_error", "the error of the network as it is"),
        Figure("error", "the error of the deeper network"),
        Figure("difference", "the largest difference of an output, over the largest output"),
        Figure("layers", "the weight layers of the network as it is"),
        Figure("layers_after", "the weight layers of the deeper network"),
    )

    def __init__(self, *, copies: Count = 1, examples: Count = 256) -> None:
        self.copies, self.num_examples = copies, examples

    @torch.no_grad()
    def measure(self, subject: Subject) -> Reading:
        """Stretch and evaluate."""
        network, test = subject.network(), subject.examples("test", self.num_examples)
        before, layers = outputs_of(network, test.inputs), network.num_layers
        added = stretch(network, test.inputs, copies=self.copies)
        after = outputs_of(network, test.inputs)
        figures = {
            "intact_error": subject.error(before, test.targets),
            "error": subject.error(after, test.targets),
            "difference": float((after - before).abs().max() / before.abs().max().clamp_min(torch.finfo(before.dtype).tiny)),
            "layers": layers,
            "layers_after": layers + added,
        }
        words = (
            f"{added} layers of identity behind the {layers} trained ones: error {figures['intact_error']:.1%}, then {figures['error']:.1%}"
        )
        return Reading(figures, {}, words)


@torch.no_grad()
def stretch(network: Network, inputs: Tensor, *, copies: int = 1) -> int:
    """Put `copies` identity units behind each unit that keeps its shape; return how many weight layers were added.

    Raises ValueError where no unit of the network can be made an identity.
    """
    added = 0
    for visit in trace(network, inputs)[1]:
        if not visit.keeps_shape:
            continue
        twin = as_identity(visit.unit)
        if twin is None or float((twin(visit.y) - visit.y).norm()) > EXACT * float(visit.y.norm()):
            continue
        put(network, visit.path, nn.Sequential(visit.unit, *(copy.deepcopy(twin) for _ in range(copies))))
        added += copies * visit.unit.block.num_layers
    if not added:
        raise ValueError("none of its units can be made an identity: a branch that is too narrow, or one that loses what is negative")
    return added


def as_identity(unit: Unit) -> Unit | None:
    """Return a copy of a unit with weights that make it hand its input on, or None where it has no such weights."""
    twin = copy.deepcopy(unit).eval()
    if twin.shortcut.connects:
        for layer in twin.block.last_layers():
            for parameter in layer.parameters():
                nn.init.zeros_(parameter)
        return twin
    for module in twin.block.modules():
        if isinstance(module, nn.Conv2d):
            if module.in_channels != module.out_channels or module.stride != (1, 1):
                return None
            nn.init.dirac_(module.weight, groups=module.groups)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, _BatchNorm):
            module.reset_parameters()
            if module.running_var is not None:
                module.running_var.fill_(1 - module.eps)  # the norm divides by the root of variance plus eps
    return twin
