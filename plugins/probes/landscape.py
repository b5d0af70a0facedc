"""The loss landscape around a trained network."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from statistics import median
from typing import Annotated

import torch
from torch import Tensor, nn

from nas.plugin import Bounds, Count, Examples, Figure, Network, Probe, Reading, Subject, plugin
from nas.probes import outputs_of

FEWEST = 5


@plugin("landscape")
class Landscape(Probe):
    """The loss on a plane through the trained weights, along two random filter-normalised directions (Li et al. 2018, 1712.09913, §4).

    In a direction, every filter has the norm of the network's own, so that networks of different scales can be compared; biases
    and norms' parameters stay where they are. The grid has `points` × `points` values over [−`radius`, `radius`]², on
    `examples` training examples, in evaluation. Where a first evaluation says that it would take more than `seconds`, the grid
    gets fewer points: `{landscape: {points: 51, examples: 512}}` is the picture that a minute affords. Li et al. show that
    landscapes of deep networks turn chaotic without shortcuts.
    """

    figures = (
        Figure("loss", "the loss in the middle, of the trained network"),
        Figure("rise", "the median loss on the edge of the plane less that in the middle"),
        Figure("basin", "the share of the plane where the loss is at most 1 above the middle", "maximize"),
        Figure("convex", "the share of inner points where the second differences are those of a convex function", "maximize"),
        Figure("points", "how many points a side of the grid has"),
    )
    series = (Figure("grid", "the loss at each point, row by row"),)

    def __init__(
        self,
        *,
        points: Annotated[int, Bounds(FEWEST)] = 11,
        radius: Annotated[float, Bounds(1e-6)] = 1.0,
        examples: Count = 128,
        seconds: Annotated[float, Bounds(0.1)] = 60.0,
    ) -> None:
        self.points, self.radius, self.num_examples, self.seconds = points, radius, examples, seconds

    def measure(self, subject: Subject) -> Reading:
        """Evaluate the loss on the plane."""
        network, batch = subject.network(), subject.examples("train", self.num_examples)
        started = time.perf_counter()
        middle = _loss(network, batch, subject)
        affordable = math.isqrt(int(self.seconds / max(time.perf_counter() - started, 1e-9)))
        count = max(FEWEST, min(self.points, affordable))
        directions = [filter_normalised(network, subject.generator("landscape", axis)) for axis in (0, 1)]
        centre = {path: parameter.detach().clone() for path, parameter in network.named_parameters()}
        steps = torch.linspace(-self.radius, self.radius, count).tolist()
        grid = [[_at(network, centre, directions, (a, b), batch, subject) for b in steps] for a in steps]
        edge = [*grid[0], *grid[-1], *(row[i] for row in grid[1:-1] for i in (0, -1))]
        values = [value for row in grid for value in row]
        figures = {
            "loss": middle,
            "rise": median(edge) - middle,
            "basin": sum(value <= middle + 1 for value in values) / len(values),
            "convex": _convex_share(grid),
            "points": count,
        }
        words = (
            f"from {middle:.2g} the loss rises by {figures['rise']:.2g} towards the edge; {figures['convex']:.0%} of the plane is convex"
        )
        return Reading(figures, {"grid": tuple(values)}, words)


@torch.no_grad()
def filter_normalised(network: nn.Module, generator: torch.Generator) -> dict[str, Tensor]:
    """Return a random direction in which each filter (first index of a weight) has the norm of the network's own."""
    direction = {}
    for path, parameter in network.named_parameters():
        if parameter.dim() > 1:
            drawn = torch.randn(parameter.shape, generator=generator).to(parameter)
            norms = parameter.flatten(1).norm(dim=1) / drawn.flatten(1).norm(dim=1).clamp_min(1e-12)
            direction[path] = drawn * norms.reshape(-1, *(1 for _ in parameter.shape[1:]))
    return direction


@torch.no_grad()
def _at(
    network: Network, centre: Mapping[str, Tensor], directions: list[dict[str, Tensor]], place: tuple[float, float],
    batch: Examples, subject: Subject,
) -> float:  # fmt: skip
    for path, parameter in network.named_parameters():
        if path in directions[0]:
            parameter.copy_(centre[path] + place[0] * directions[0][path] + place[1] * directions[1][path])
    return _loss(network, batch, subject)


def _loss(network: Network, batch: Examples, subject: Subject) -> float:
    return float(subject.loss(outputs_of(network, batch.inputs), batch.targets))


def _convex_share(grid: list[list[float]]) -> float:
    """Return the share of inner points where the matrix of second differences has no negative eigenvalue."""
    z = torch.tensor(grid, dtype=torch.float64)
    inner = z[1:-1, 1:-1]
    aa, bb = z[2:, 1:-1] - 2 * inner + z[:-2, 1:-1], z[1:-1, 2:] - 2 * inner + z[1:-1, :-2]
    ab = (z[2:, 2:] - z[2:, :-2] - z[:-2, 2:] + z[:-2, :-2]) / 4
    return float(((aa >= 0) & (bb >= 0) & (aa * bb >= ab.square())).double().mean())
