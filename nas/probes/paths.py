"""Layer 3: a residual network unravelled: how long its 2ⁿ paths are, and how much gradient each length carries."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nas.plugin import Network, Unit
from nas.probes.tracing import trace

CHUNK = 8  # vectors that one unit carries back at once
AGREES = 1e-3


def length_distribution(num_units: int) -> tuple[float, ...]:
    """Return the share of paths of each length 0 … n: Binomial(n, ½) (Veit et al. 2016, 1605.06431, §3)."""
    return tuple(math.comb(num_units, k) / 2**num_units for k in range(num_units + 1))


def mean_length(weights: Sequence[float]) -> float:
    """Return the mean length where length k weighs `weights[k]`; NaN where all weigh nothing."""
    total = sum(weights)
    return sum(k * weight for k, weight in enumerate(weights)) / total if total > 0 else math.nan


def effective_lengths(weights: Sequence[float], *, share: float = 0.95) -> tuple[int, int]:
    """Return the lengths between which the middle `share` of the weight lies."""
    total, below, low, high = sum(weights), 0.0, 0, len(weights) - 1
    for k, weight in enumerate(weights):
        below += weight
        if below <= (1 - share) / 2 * total:
            low = k + 1
        if below >= (1 + share) / 2 * total:
            high = k
            break
    return low, high


@dataclass(frozen=True)
class Way:
    """The way back from the loss to the input of the first unit, at fixed activations.

    `arriving` is the gradient at the last unit's output; `links` carry a gradient (V, B, C, H, W) back through what stands
    between two units, `units` through a unit; `whole` is autograd's gradient at the first unit's input.
    """

    arriving: Tensor
    links: tuple[Callable[[Tensor], Tensor], ...]
    units: tuple[UnitBack, ...]
    whole: Tensor


class UnitBack:
    """A unit's two transposed Jacobians at x: through its shortcut alone and through its branch alone.

    By the chain rule over the two arguments of `merge` they add up to the unit's own, whatever the merge.
    """

    def __init__(self, unit: Unit, x: Tensor) -> None:
        self.x = x.detach().requires_grad_()
        h = unit.block.before(self.x)
        carried, residual = unit.shortcut(self.x, h), unit.block.branch(h)
        self._by_shortcut = unit.block.after(unit.shortcut.merge(carried, residual.detach()))
        self._by_branch = unit.block.after(unit.shortcut.merge(carried.detach(), residual))

    def shortcut(self, v: Tensor) -> Tensor:
        """Sᵀv for each of V vectors: (V, B, C', H', W') -> (V, B, C, H, W)."""
        return _transposed(self._by_shortcut, self.x, v)

    def branch(self, v: Tensor) -> Tensor:
        """Jᵀv for each of V vectors: (V, B, C', H', W') -> (V, B, C, H, W)."""
        return _transposed(self._by_branch, self.x, v)


def way_back(network: Network, inputs: Tensor, loss: Callable[[Tensor], Tensor]) -> Way:
    """Run the network once, in the mode that it is in, and return the way back from its loss.

    Raises ValueError where the units do not stand in a row, so that paths past other things than shortcuts exist.
    """
    outputs, visits = trace(network, inputs.clone().requires_grad_())
    value = loss(outputs)
    arriving, whole = torch.autograd.grad(value, [visits[-1].y, visits[0].x], retain_graph=True, allow_unused=True)
    links = [_link(before.y, after.x) for before, after in itertools.pairwise(visits)]
    if arriving is None or whole is None or not all(links):
        raise ValueError("its units do not stand in a row, each fed by the one before: paths cannot be counted by unit")
    return Way(arriving, tuple(link for link in links if link), tuple(UnitBack(visit.unit, visit.x) for visit in visits), whole)


def gradient_by_length(way: Way) -> tuple[Tensor, ...]:
    """Return, for each length 0 … n, the sum of the gradients of all paths of that length, exactly, in O(n²).

    Going back through the units, v_k ← Sᵀv_k + Jᵀv_{k−1}: (B, C, H, W) each, at the first unit's input. They add up to
    autograd's gradient. Raises ValueError where they do not: the units are then not all there is.
    """
    vectors = way.arriving[None]
    for i in reversed(range(len(way.units))):
        by_shortcut, by_branch = way.units[i].shortcut(vectors), way.units[i].branch(vectors)
        none = torch.zeros_like(by_shortcut[:1])
        vectors = torch.cat((by_shortcut, none)) + torch.cat((none, by_branch))
        vectors = way.links[i - 1](vectors) if i else vectors
    difference = float((vectors.sum(0) - way.whole).norm())
    if difference > AGREES * float(way.whole.norm()):
        raise ValueError("the paths' gradients do not add up to the network's: something beside its units carries gradient too")
    return tuple(vectors)


def sampled_norms(way: Way, *, samples: int, generator: torch.Generator) -> tuple[float, ...]:
    """Return, for each length 0 … n, the mean norm of the gradient through one path of that length, over random paths.

    Veit et al. 2016, 1605.06431, §5, take it times the number of such paths, which ignores that they cancel each other.
    """
    n = len(way.units)
    draws = [torch.randperm(n, generator=generator)[:k] for k in range(n + 1) for _ in range(samples)]
    through = torch.zeros(len(draws), n, dtype=torch.bool)
    for row, chosen in enumerate(draws):
        through[row, chosen] = True
    vectors = way.arriving.expand(len(draws), *way.arriving.shape)
    for i in reversed(range(n)):
        by_branch = through[:, i].to(vectors.device)
        unit, nxt = way.units[i], torch.empty(len(draws), *way.units[i].x.shape, dtype=vectors.dtype, device=vectors.device)
        nxt[by_branch], nxt[~by_branch] = unit.branch(vectors[by_branch]), unit.shortcut(vectors[~by_branch])
        vectors = way.links[i - 1](nxt) if i else nxt
    norms = vectors.flatten(1).norm(dim=1).reshape(n + 1, samples).mean(1)
    return tuple(norms.tolist())


def _link(y: Tensor, x: Tensor) -> Callable[[Tensor], Tensor] | None:
    if y is x:
        return lambda v: v
    probe = torch.autograd.grad(x, y, torch.zeros_like(x), retain_graph=True, allow_unused=True)[0]
    return None if probe is None else lambda v: _transposed(x, y, v)


def _transposed(made: Tensor, given: Tensor, v: Tensor) -> Tensor:
    """Return the transposed Jacobian of `made` by `given` times each of the vectors v: (V, *made) -> (V, *given)."""
    if not len(v) or not made.requires_grad:
        return v.new_zeros(len(v), *given.shape)
    parts = []
    for chunk in v.split(CHUNK):
        back = torch.autograd.grad(made, given, chunk, retain_graph=True, allow_unused=True, is_grads_batched=True)[0]
        parts.append(v.new_zeros(len(chunk), *given.shape) if back is None else back)
    return torch.cat(parts)
