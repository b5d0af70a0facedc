"""Weights moved: whether every layer inside every block still learns."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn

from nas.plugin import Count, Figure, Moment, Network, Probe, Reading, Subject, plugin
from nas.probes import units_of


@plugin("weights_moved")
class WeightsMoved(Probe):
    """How far the weights of each block moved from where they started: ‖Δw‖, at optimizer step `step` and at the end.

    It answers whether a shortcut lets the layers under it fall idle: every weight layer inside a block must have ‖Δw‖ > 0. What
    starts at zero (ReZero's α, a last norm's γ) keeps the branch's other weights still for one step, and no longer.
    """

    figures = (
        Figure("least", "the smallest ‖Δw‖ of a weight layer inside a block, at the end", "maximize"),
        Figure("least_relative", "the smallest ‖Δw‖/‖w‖ of a weight layer inside a block, at the end", "maximize"),
        Figure("unmoved", "how many weight layers inside blocks did not move, at the end"),
        Figure("least_step", "least, at `step`", "maximize"),
        Figure("least_relative_step", "least_relative, at `step`", "maximize"),
        Figure("unmoved_step", "unmoved, at `step`"),
    )
    series = (
        Figure("moved", "‖Δw‖ of each block, all its weights together, at the end"),
        Figure("moved_relative", "‖Δw‖/‖w‖ of each block, at the end"),
        Figure("moved_step", "moved, at `step`"),
        Figure("moved_relative_step", "moved_relative, at `step`"),
    )

    def __init__(self, *, step: Count = 10) -> None:
        self.step = step

    @property
    def at(self) -> tuple[Moment, ...]:
        """The start and `step`."""
        return ("start", self.step)

    def measure(self, subject: Subject) -> Reading:
        """Compare the weights with those at the start."""
        start = subject.network("start")
        figures: dict[str, float] = {}
        series: dict[str, tuple[float, ...]] = {}
        moments: tuple[tuple[Moment, str], ...] = ((self.step, "_step"), ("end", ""))
        for moment, suffix in moments:
            if moment in subject.moments:
                found = _moved(start, subject.network(moment))
                layers = [layer for block in found for layer in block]
                figures[f"least{suffix}"] = min(moved for moved, _ in layers)
                figures[f"least_relative{suffix}"] = min(_relative(moved, norm) for moved, norm in layers)
                figures[f"unmoved{suffix}"] = sum(moved == 0 for moved, _ in layers)
                blocks = [(_together(m for m, _ in block), _together(n for _, n in block)) for block in found]
                series[f"moved{suffix}"] = tuple(moved for moved, _ in blocks)
                series[f"moved_relative{suffix}"] = tuple(_relative(moved, norm) for moved, norm in blocks)
        still = figures["unmoved"]
        words = f"every weight layer inside a block moved, the least by {figures['least_relative']:.1%} of its norm"
        return Reading(figures, series, f"{still:g} weight layers inside blocks did not move" if still else words)


@torch.no_grad()
def _moved(start: Network, now: Network) -> list[list[tuple[float, float]]]:
    """Return (‖Δw‖, ‖w‖ at the start) of each weight layer in each unit's block."""
    found = []
    for (_, before), (path, after) in zip(units_of(start), units_of(now), strict=True):
        pairs = zip(before.block.named_parameters(), after.block.parameters(), strict=True)
        layers = [(float((new - old).norm()), float(old.norm())) for (_, old), new in pairs if _is_weight(old)]
        if not layers:
            raise ValueError(f"the block of {path} has no weight layers")
        found.append(layers)
    return found


def _is_weight(parameter: nn.Parameter) -> bool:
    return parameter.dim() > 1 and parameter.requires_grad


def _relative(moved: float, norm: float) -> float:
    return moved / norm if norm else float("inf") if moved else 0.0


def _together(norms: Iterable[float]) -> float:
    return math.hypot(*norms)
