"""Paths: how long the ways through a residual network are, and which of them carry the gradient."""

from __future__ import annotations

import math

from nas.plugin import Count, Figure, Probe, Reading, Subject, plugin
from nas.probes import effective_lengths, gradient_by_length, length_distribution, mean_length, sampled_norms, way_back


@plugin("paths")
class Paths(Probe):
    """How much of the gradient comes through paths of each length (Veit et al. 2016, 1605.06431, §3 and §5).

    n units make 2ⁿ paths, each through the branch of some units and the shortcut of the others; lengths count the branches. Two
    quantities by length, at the first unit's input, the network as it is in evaluation:

    - exact: the norm of the sum of all paths' gradients of that length, v_k ← Sᵀv_k + Jᵀv_{k−1} going back through the units;
    - sampled, Veit's: the number of such paths times the mean norm of one, over `samples` random paths. It ignores that the
      paths cancel each other, so it weighs long paths more.

    The effective lengths are those between which the middle 95% of Veit's quantity lie. For 54 units they found lengths 5–17,
    which are .45% of all paths, where 95% of all paths have 19–35.
    """

    figures = (
        Figure("mean_length", "the mean length of all paths, n/2"),
        Figure("mean_length_exact", "the mean length, weighted by the norm of each length's whole gradient"),
        Figure("mean_length_sampled", "the mean length, weighted by the number of paths times the mean norm of one"),
        Figure("effective_low", "the shortest effective length"),
        Figure("effective_high", "the longest effective length"),
        Figure("effective_share", "the share of all paths that have an effective length"),
    )
    series = (
        Figure("lengths", "the share of paths of each length, from 0 to n"),
        Figure("exact", "the norm of each length's whole gradient"),
        Figure("path", "the mean norm of one path's gradient, by length"),
        Figure("sampled", "the number of paths times the mean norm of one, by length"),
    )

    def __init__(self, *, samples: Count = 3, examples: Count = 32) -> None:
        self.samples, self.num_examples = samples, examples

    def measure(self, subject: Subject) -> Reading:
        """Go back through the units once exactly and once along random paths."""
        batch = subject.examples("train", self.num_examples)
        way = way_back(subject.network(), batch.inputs, lambda outputs: subject.loss(outputs, batch.targets))
        exact = tuple(float(vector.norm()) for vector in gradient_by_length(way))
        path = sampled_norms(way, samples=self.samples, generator=subject.generator("paths"))
        n = len(way.units)
        sampled = tuple(math.comb(n, k) * norm for k, norm in enumerate(path))
        lengths = length_distribution(n)
        low, high = effective_lengths(sampled)
        figures = {
            "mean_length": n / 2,
            "mean_length_exact": mean_length(exact),
            "mean_length_sampled": mean_length(sampled),
            "effective_low": low,
            "effective_high": high,
            "effective_share": sum(lengths[low : high + 1]),
        }
        words = (
            f"paths through {n} units are {n / 2:g} long on average; weighted by gradient {figures['mean_length_exact']:.1f} "
            f"(one by one {figures['mean_length_sampled']:.1f}: effective lengths {low}–{high}, {figures['effective_share']:.2%} of all)"
        )
        return Reading(figures, {"lengths": lengths, "exact": exact, "path": path, "sampled": sampled}, words)
