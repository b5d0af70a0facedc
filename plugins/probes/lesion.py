"""Lesions: what a trained network loses when units are taken out of it."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

import torch

from nas.plugin import Count, Examples, Figure, Network, Probe, Reading, Subject, plugin
from nas.probes import outputs_of, recomputed_batch_norm, stages_of, units_of, without


@plugin("lesion")
class Lesion(Probe):
    """Delete each unit alone, and see how many answers turn wrong (Veit et al. 2016, 1605.06431, §4.1).

    A deleted unit is its shortcut alone; a plain unit, which has none, hands its input on (every s-th pixel, zeros for new
    channels). Taking a branch out also shifts what the later batch norms see, so the error is given twice: with the statistics
    of the training, as Veit et al. have it, and with statistics `recomputed` over `statistics` training examples. `counts`
    lists how many units to delete at once, beside one (their §4.2): for each count `draws` random choices.

    Errors are shares of `examples` test examples that are answered wrongly. Veit et al. found plain networks at chance after
    one deletion, and a ResNet-110 hardly moved but for the units that change the resolution.
    """

    figures = (
        Figure("intact_error", "the error of the network as it is"),
        Figure("median_error", "the median error after the deletion of one unit"),
        Figure("worst_error", "the largest error after the deletion of one unit"),
        Figure("median_error_recomputed", "median_error with batch-norm statistics recomputed"),
        Figure("worst_error_recomputed", "worst_error with batch-norm statistics recomputed"),
    )
    series = (
        Figure("error", "one error a deleted unit, in the order of the units"),
        Figure("error_recomputed", "the same with batch-norm statistics recomputed"),
        Figure("by_stage", "the median error after one deletion, stage by stage"),
        Figure("by_stage_recomputed", "the same with batch-norm statistics recomputed"),
        Figure("by_count", "the median error after several deletions, one number an entry of `counts`"),
        Figure("by_count_recomputed", "the same with batch-norm statistics recomputed"),
    )

    def __init__(
        self, *, counts: tuple[Count, ...] = (), draws: Count = 5, recompute: bool = True, examples: Count = 256, statistics: Count = 256
    ) -> None:
        self.counts, self.draws, self.recompute = counts, draws, recompute
        self.num_examples, self.num_statistics = examples, statistics

    def measure(self, subject: Subject) -> Reading:
        """Delete and evaluate, unit by unit."""
        network = subject.network()
        paths = [path for path, _ in units_of(network)]
        if any(count > len(paths) for count in self.counts):
            raise ValueError(f"cannot delete {max(self.counts)} of {len(paths)} units; lower `counts`")
        test, statistics = subject.examples("test", self.num_examples), subject.examples("train", self.num_statistics)
        stages = stages_of(network)
        intact = subject.error(outputs_of(network, test.inputs), test.targets)
        figures, series = {"intact_error": intact}, {}
        for suffix in ("", "_recomputed") if self.recompute else ("",):
            again = statistics if suffix else None
            errors = [_error_without([path], network, test, again, subject) for path in paths]
            figures |= {f"median_error{suffix}": median(errors), f"worst_error{suffix}": max(errors)}
            series[f"error{suffix}"] = tuple(errors)
            by_stage = ([e for e, s in zip(errors, stages, strict=True) if s == stage] for stage in range(stages[-1] + 1))
            series[f"by_stage{suffix}"] = tuple(map(median, by_stage))
            if self.counts:
                series[f"by_count{suffix}"] = tuple(
                    median(_error_without(chosen, network, test, again, subject) for chosen in self._choices(paths, count, subject))
                    for count in self.counts
                )
        return Reading(figures, series, _words(figures, len(paths)))

    def _choices(self, paths: Sequence[str], count: int, subject: Subject) -> list[list[str]]:
        generator = subject.generator("lesion", count)
        return [[paths[i] for i in torch.randperm(len(paths), generator=generator)[:count].tolist()] for _ in range(self.draws)]


def _error_without(paths: Sequence[str], network: Network, test: Examples, statistics: Examples | None, subject: Subject) -> float:
    with without(network, paths):
        if statistics is None:
            return subject.error(outputs_of(network, test.inputs), test.targets)
        with recomputed_batch_norm(network, statistics.inputs):
            return subject.error(outputs_of(network, test.inputs), test.targets)


def _words(figures: dict[str, float], num_units: int) -> str:
    told = (
        f"deleting one of {num_units} units takes the error from {figures['intact_error']:.1%} to {figures['median_error']:.1%} "
        f"(median; worst {figures['worst_error']:.1%})"
    )
    if "median_error_recomputed" in figures:
        told += f", with batch-norm statistics recomputed to {figures['median_error_recomputed']:.1%}"
    return told
