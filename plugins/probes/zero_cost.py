"""Zero-cost scores: what a network's initial values alone say of it, before it is trained."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from nas.plugin import Activation, Count, Figure, Moment, Network, Probe, Reading, Subject, plugin
from nas.probes import recompute_batch_norm, weight_layers
from nas.probes.tracing import NORMS

from .gradients import gradient_norms

RECTIFIERS = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, Activation)


@plugin("gradient_norm")
class GradientNorm(Probe):
    """The norm of the loss's gradient before training, added up over weight layers (Abdelfattah et al. 2021, 2101.08134, §3.1).

    The loss is the mean over `examples` training examples, the network in training mode. `gradients` has the layers one by one.
    """

    figures = (Figure("score", "the sum over weight layers of the gradient's norm, before training", "maximize"),)

    def __init__(self, *, examples: Count = 64) -> None:
        self.num_examples = examples

    @property
    def at(self) -> tuple[Moment, ...]:
        """The start."""
        return ("start",)

    def measure(self, subject: Subject) -> Reading:
        """Take the gradient at the start."""
        norms = gradient_norms(subject.network("start"), subject.examples("train", self.num_examples), subject)
        score = math.fsum(norms)
        return Reading({"score": score}, {}, f"the gradient's norms add up to {score:.3g} over {len(norms)} weight layers")


@plugin("synflow")
class Synflow(Probe):
    """Synaptic flow before training: Σ |w · ∂R/∂w| over weights, R the sum of outputs at an input of ones, all parameters |θ|.

    Tanaka et al. 2020, 2006.05467, eq. 2; as a score of networks Abdelfattah et al. 2021, 2101.08134, §3.2, without the norms, as
    there. It looks at no example. For L layers in a row without biases it is L times 1ᵀ|W_L| … |W_1|1. It grows by orders of
    magnitude with depth and width: compare by `log_score`. In float64.
    """

    figures = (
        Figure("score", "the sum over weights of |w · ∂R/∂w|", "maximize"),
        Figure("log_score", "log10 of score, whose differences can be averaged", "maximize"),
    )
    series = (Figure("layers", "the sum of each weight layer, in the order of use"),)

    @property
    def at(self) -> tuple[Moment, ...]:
        """The start."""
        return ("start",)

    def measure(self, subject: Subject) -> Reading:
        """Send ones through the network of absolute values, and take the gradient."""
        shape = subject.parts["train"].inputs.shape[1:]
        layers = synaptic_flow(subject.network("start"), shape)
        score = math.fsum(layers)
        log_score = math.log10(score) if score > 0 else -math.inf
        words = f"10^{log_score:.1f} flow through" if score > 0 else "nothing flows through: a layer of zeros is on every way"
        return Reading({"score": score, "log_score": log_score}, {"layers": layers}, words)


@plugin("naswot")
class Naswot(Probe):
    """How unlike the examples' patterns of active units are, before training (Mellor et al. 2021, 2006.04647, §3).

    Each of `examples` training examples has a code: which activations are positive. K holds the number of units in which two
    codes agree; the score is log|det K|. Where K is singular, as for two examples of one code, there is no score; `rank` says
    how far from it K is. Batch-norm statistics are those of the examples.
    """

    figures = (
        Figure("score", "log of the determinant of the kernel of agreeing units", "maximize"),
        Figure("rank", "the kernel's rank over the number of examples: 1 where no code follows from the others", "maximize"),
    )

    def __init__(self, *, examples: Count = 64) -> None:
        self.num_examples = examples

    @property
    def at(self) -> tuple[Moment, ...]:
        """The start."""
        return ("start",)

    def measure(self, subject: Subject) -> Reading:
        """Compare the codes of the examples."""
        inputs = subject.examples("train", self.num_examples).inputs
        kernel = agreement(recompute_batch_norm(subject.network("start"), inputs), inputs)
        values = torch.linalg.eigvalsh(kernel)
        rank = int((values > len(values) * torch.finfo(values.dtype).eps * values[-1]).sum())
        figures = {"rank": rank / len(values)}
        if rank < len(values):
            return Reading(figures, {}, f"the codes of {len(values)} examples span {rank} dimensions: the kernel is singular")
        figures["score"] = float(values.log().sum())
        return Reading(figures, {}, f"log|det K| = {figures['score']:.1f} for {len(values)} examples")


def synaptic_flow(network: nn.Module, shape: torch.Size) -> tuple[float, ...]:
    """Return Σ |w · ∂R/∂w| of each weight layer, in the order of use; the network's parameters become their absolute values."""
    network = network.double().eval()
    ones = torch.ones(1, *shape, dtype=torch.float64, device=next(network.parameters()).device)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.abs_()
    with _without_norms(network):
        weights = [weight for _, weight in weight_layers(network, ones)]
        total = network(ones).sum()
        gradients = torch.autograd.grad(total, weights, allow_unused=True)
    pairs = zip(weights, gradients, strict=True)
    return tuple(0.0 if gradient is None else float((weight.detach() * gradient).abs().sum()) for weight, gradient in pairs)


@torch.no_grad()
def agreement(network: Network, inputs: Tensor) -> Tensor:
    """Return the number of rectified units in which two inputs agree, (N, N) in float64, the network in the mode that it is in.

    Raises ValueError for a network without such units.
    """
    codes: list[Tensor] = []

    def note(_module: nn.Module, _given: tuple[Tensor, ...], made: Tensor) -> None:
        codes.append((made > 0).flatten(1).double())

    handles = [m.register_forward_hook(note) for m in network.modules() if isinstance(m, RECTIFIERS)]
    try:
        network(inputs)
    finally:
        for handle in handles:
            handle.remove()
    if not codes:
        raise ValueError("the network has no activations of which one could say whether they are active")
    code = torch.cat(codes, 1)
    return code @ code.T + (1 - code) @ (1 - code).T


@contextmanager
def _without_norms(network: nn.Module) -> Iterator[None]:
    """Have every norm hand on what it is given for a while."""
    norms = [module for module in network.modules() if isinstance(module, NORMS)]
    handles = [norm.register_forward_hook(lambda _m, given, _made: given[0]) for norm in norms]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
