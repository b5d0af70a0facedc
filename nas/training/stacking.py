"""Layer 3: several equal networks stacked into one, taken apart again, and whether that comes to the same as each alone."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

import nas.training.stacked_rules  # noqa: F401  (what stacked tensors do, function by function)
from nas.training.stacked_tensor import Stacked

TOLERANCE = 1e-8
"""How far figures of a stack may lie from those of its networks alone in float64, of the largest of them."""


class Stack(nn.Module):
    """Networks of one architecture as one: `forward` answers for all of them, each with its own values.

    The networks' code runs once, that of the first; their parameters and buffers are stacked beside each other.
    """

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.networks, self.count = tuple(networks), len(networks)  # a tuple: they are no part of this module
        body = copy.deepcopy(networks[0])
        self.body = (body,)
        self.places: list[tuple[dict[str, Any], str, str, list[dict[str, Any]]]] = []
        seen: dict[int, str] = {}
        for module, own in zip(body.modules(), zip(*(network.modules() for network in networks), strict=True), strict=True):
            for table in ("_parameters", "_buffers"):
                tables = [getattr(one, table) for one in own]
                for name, value in getattr(module, table).items():
                    if value is not None:
                        key = seen.setdefault(id(value), f"value{len(seen)}")
                        self.places.append((getattr(module, table), name, key, tables))
                        if not hasattr(self, key):
                            self._add(key, [t[name] for t in tables])

    def _add(self, key: str, values: Sequence[Tensor]) -> None:
        stacked = torch.stack([value.detach() for value in values])
        if isinstance(values[0], nn.Parameter):
            self.register_parameter(key, nn.Parameter(stacked, requires_grad=values[0].requires_grad))
        else:
            self.register_buffer(key, stacked)

    def bind(self) -> None:
        """Let the body work on the stacked values, where they lie now: again after they were moved to a device."""
        made = {key: Stacked(getattr(self, key), self.count) for key in {key for _, _, key, _ in self.places}}
        for table, name, key, _ in self.places:
            table[name] = made[key]

    def views(self) -> tuple[list[nn.Parameter], ...]:
        """Return each network's own parameters, which share their memory with the stacked ones; `hand_out` gives them gradients."""
        with torch.no_grad():
            return tuple([nn.Parameter(p[k], requires_grad=p.requires_grad) for p in self.parameters()] for k in range(self.count))

    def hand_out(self, views: Sequence[Sequence[nn.Parameter]]) -> None:
        """Give each network's parameters their share of the gradients."""
        for place, parameter in enumerate(self.parameters()):
            shares = [None] * self.count if parameter.grad is None else parameter.grad.unbind()
            for own, share in zip(views, shares, strict=True):
                own[place].grad = share

    def forward(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Each network's inputs (B, K, …) -> each one's outputs (B, …)."""
        outputs = self.body[0](Stacked.features(inputs))
        if not isinstance(outputs, Stacked):
            raise TypeError(f"the network answers with {type(outputs).__name__}, which does not depend on its input alone")
        return outputs.replicas()

    def train(self, mode: bool = True) -> Stack:
        """Set whether the networks train or answer."""
        self.body[0].train(mode)
        super().train(mode)
        return self

    @torch.no_grad()
    def take_apart(self) -> None:
        """Give the networks the values that they have come to."""
        for table, name, _, tables in self.places:
            value = table[name]
            own = value.replicas() if isinstance(value, Stacked) else [value] * self.count
            for one, found in zip(tables, own, strict=True):
                one[name].data = found.detach().to(one[name].device).clone()


Loss = Callable[[Tensor, Tensor], Tensor]


def why_not_stacked(make: Callable[[int], nn.Module], inputs: Tensor, targets: Tensor, loss: Loss) -> str:
    """Say why two networks of `make(seed)` are not to be trained as one; '' where they may be.

    They are tried on `inputs` (N, …) and `targets` (N, …): outputs, gradients and buffers in float64 have to be those of each network
    alone, while they train and when they answer, and nothing may be drawn at random.
    """
    with torch.random.fork_rng(devices=[]):  # on the CPU, whatever else there is
        alone = [make(seed).train() for seed in (0, 1)]
        shares = [(inputs[k::2].double(), targets[k::2]) for k in (0, 1)]
        torch.default_generator.manual_seed(0)
        before = torch.get_rng_state()
        try:
            stack = Stack([copy.deepcopy(network).double() for network in alone])
            stack.bind()
            expected = [value for network, (x, y) in zip(alone, shares, strict=True) for value in _figures(network.double(), x, y, loss)]
            if not torch.equal(before, torch.get_rng_state()):
                return "it draws random numbers while it trains (dropout, stochastic depth, noise)"
            found = _figures_of_stack(stack, shares, loss)
        except Exception as error:  # a network is somebody's code, and torch's own errors are of many kinds
            return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'without a message'}"
    if not all(_alike(a, b) for a, b in zip(expected, found, strict=True)):
        return "its networks do not come to the same as each alone"
    return ""


def _figures(network: nn.Module, inputs: Tensor, targets: Tensor, loss: Loss) -> list[Tensor | None]:
    """Return what one network comes to in a step: its outputs in both modes, its gradients and its buffers."""
    outputs = network(inputs)
    loss(outputs, targets).backward()
    answers = network.eval()(inputs)
    return [outputs, answers, *(p.grad for p in network.parameters()), *network.buffers()]


def _figures_of_stack(stack: Stack, shares: Sequence[tuple[Tensor, Tensor]], loss: Loss) -> list[Tensor | None]:
    inputs = torch.stack([x for x, _ in shares], 1)
    outputs = stack.train()(inputs)
    cast(Tensor, sum(loss(own, y) for own, (_, y) in zip(outputs, shares, strict=True))).backward()
    answers, views = stack.eval()(inputs), stack.views()
    stack.hand_out(views)
    stack.take_apart()
    return [
        value
        for k, network in enumerate(stack.networks)
        for value in (outputs[k], answers[k], *(p.grad for p in views[k]), *network.buffers())
    ]


def _alike(a: Tensor | None, b: Tensor | None) -> bool:
    if a is None or b is None:
        # A parameter that is not used has no gradient alone, and may have zeros in a stack.
        return all(value is None or not bool(value.any()) for value in (a, b))
    a, b = a.detach().double(), b.detach().double()
    return a.shape == b.shape and bool((a - b).abs().max() <= TOLERANCE * a.abs().max().clamp_min(1e-3)) if a.numel() else True
