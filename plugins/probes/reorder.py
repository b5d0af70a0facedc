"""Reordering: what a trained network loses when its units change places."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean, median

import torch

from nas.plugin import Count, Examples, Figure, Network, Probe, Reading, Subject, plugin
from nas.probes import outputs_of, put, recomputed_batch_norm, same_shape_groups


@plugin("reorder")
class Reorder(Probe):
    """Swap pairs of units of one shape, and see how many answers turn wrong (Veit et al. 2016, 1605.06431, §4.3).

    `pairs` lists how many random swaps to make, each `draws` times; how far the order then is from the trained one is Kendall's
    τ over the units that can be swapped (1: as trained, −1: reversed). Errors are shares of `examples` test examples; they are
    given with the batch-norm statistics of the training, as Veit et al. have them, and with statistics recomputed over
    `statistics` training examples. They found that the error of a residual network grows smoothly as τ falls.
    """

    figures = (
        Figure("intact_error", "the error of the network as it is"),
        Figure("error", "the median error at the largest number of swaps"),
        Figure("error_recomputed", "the same with batch-norm statistics recomputed"),
        Figure("tau", "the mean Kendall τ at the largest number of swaps", "maximize"),
    )
    series = (
        Figure("errors", "the median error, one number an entry of `pairs`"),
        Figure("errors_recomputed", "the same with batch-norm statistics recomputed"),
        Figure("taus", "the mean Kendall τ, one number an entry of `pairs`"),
    )

    def __init__(
        self, *, pairs: tuple[Count, ...] = (1, 2, 4, 8), draws: Count = 5, examples: Count = 256, statistics: Count = 256
    ) -> None:
        if not pairs:
            raise ValueError("pairs must list at least one number of swaps")
        self.pairs, self.draws = pairs, draws
        self.num_examples, self.num_statistics = examples, statistics

    def measure(self, subject: Subject) -> Reading:
        """Swap, evaluate, put back."""
        network = subject.network()
        test, statistics = subject.examples("test", self.num_examples), subject.examples("train", self.num_statistics)
        groups = [group for group in same_shape_groups(network, test.inputs) if len(group) > 1]
        if not groups:
            raise ValueError("it has no two units of one shape that could change places")
        intact = subject.error(outputs_of(network, test.inputs), test.targets)
        found: dict[str, list[float]] = {"errors": [], "errors_recomputed": [], "taus": []}
        for count in self.pairs:
            generator = subject.generator("reorder", count)
            orders = [_swapped(groups, count, generator) for _ in range(self.draws)]
            errors = [_errors(network, order, test, statistics, subject) for order in orders]
            found["errors"].append(median(kept for kept, _ in errors))
            found["errors_recomputed"].append(median(again for _, again in errors))
            found["taus"].append(mean(kendall_tau(groups, order) for order in orders))
        most = max(range(len(self.pairs)), key=lambda i: self.pairs[i])
        figures = {
            "intact_error": intact,
            "error": found["errors"][most],
            "error_recomputed": found["errors_recomputed"][most],
            "tau": found["taus"][most],
        }
        words = (
            f"{self.pairs[most]} swaps (τ {figures['tau']:.2f}) take the error from {intact:.1%} to {figures['error']:.1%}, "
            f"with batch-norm statistics recomputed to {figures['error_recomputed']:.1%}"
        )
        return Reading(figures, {name: tuple(values) for name, values in found.items()}, words)


def kendall_tau(groups: Sequence[Sequence[str]], order: Mapping[str, str]) -> float:
    """Return Kendall's τ between the trained order and `order` (place -> the unit that stands there), over all groups' pairs."""
    agreeing, pairs = 0, 0
    for group in groups:
        rank = {path: i for i, path in enumerate(group)}
        ranks = [rank[order[path]] for path in group]
        for i, early in enumerate(ranks):
            agreeing += sum(1 if early < late else -1 for late in ranks[i + 1 :])
            pairs += len(ranks) - i - 1
    return agreeing / pairs


def _swapped(groups: Sequence[Sequence[str]], count: int, generator: torch.Generator) -> dict[str, str]:
    order = {path: path for group in groups for path in group}
    weights = torch.tensor([float(len(group) * (len(group) - 1)) for group in groups])  # every pair of the network alike
    for _ in range(count):
        group = groups[int(torch.multinomial(weights, 1, generator=generator))]
        one, other = (group[i] for i in torch.randperm(len(group), generator=generator)[:2].tolist())
        order[one], order[other] = order[other], order[one]
    return order


def _errors(network: Network, order: Mapping[str, str], test: Examples, statistics: Examples, subject: Subject) -> tuple[float, float]:
    """Return the error in another order, as it is and with batch-norm statistics recomputed; the network is put back."""
    units = {path: network.get_submodule(path) for path in order}
    for place, path in order.items():
        put(network, place, units[path])
    kept = subject.error(outputs_of(network, test.inputs), test.targets)
    with recomputed_batch_norm(network, statistics.inputs):
        again = subject.error(outputs_of(network, test.inputs), test.targets)
    for path, unit in units.items():
        put(network, path, unit)
    return kept, again
