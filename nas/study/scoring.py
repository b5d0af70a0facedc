"""Layer 4: the kept best network of a search, scored once on the test split that its search never saw."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from nas.keeping import read_network
from nas.registry import Registry
from nas.study.jobs.kept import best_file
from nas.study.jobs.materials import load_split, load_task
from nas.study.study import Study
from nas.training.loading import loader

NOTE = "test_of_best"
BATCH = 256


def known_score(study: Study) -> Mapping[str, float]:
    """Return what the network of a search's best trial scored on the test split, by metric; empty where it was not scored."""
    noted = study.search.about.get(NOTE, {})
    return dict(noted.get("figures", {})) if noted.get("number") == study.search.best_number() else {}


def score_best(study: Study, folder: Path) -> Mapping[str, float]:
    """Score the network of a search's best trial in `folder`, the store's folder of networks, unless that was done before.

    The ledger keeps the figures, so that the test split is touched once. Empty where no network was kept.
    """
    file, number = best_file(folder, study.search), study.search.best_number()
    if file is None or known_score(study):
        return known_score(study)
    study.search.note(**{NOTE: {"number": number, "figures": figures_on_test(file, study.space.registry)}})
    return known_score(study)


def figures_on_test(file: Path, registry: Registry) -> dict[str, float]:
    """Return the figures of a kept network on the test part of the split that it was trained by: `test_accuracy` …, on the CPU."""
    kept = read_network(file, registry)
    configuration, network = kept.about.configuration, kept.network
    part = load_split(configuration.data, registry, kept.about.split_seed, configuration.task).test
    task, weight = load_task(configuration.task, registry), next(network.parameters())
    tallies = []
    with torch.no_grad():
        for batch in loader(part, torch.arange(len(part)).split(BATCH)):
            inputs, targets = part.take(batch)
            tallies.append(task.tally(network(inputs.to(weight.dtype)).float(), targets))
    return {f"test_{name}": value for name, value in task.figures(torch.stack(tallies).sum(0)).items()}
