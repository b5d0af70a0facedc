"""Layer 4: every combination once: Optuna's brute force, its tree kept up trial by trial, where Optuna builds it anew at each proposal."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers._brute_force import _enumerate_candidates
from optuna.trial import FrozenTrial, TrialState

from nas.study.ledger.news import News, PerStudy
from nas.study.ledger.trials import OPEN

Candidates = tuple[float, ...]
Step = tuple[str, Candidates, float]
"""A decision of a trial: its name, what it may be and what it is, both in Optuna's numbers."""


@dataclass(slots=True)
class _Node:
    """What is known of the trials that begin with the same decisions."""

    name: str = ""
    """The decision that comes next; '' where none has been seen."""
    candidates: Candidates = ()
    children: dict[float, _Node] = field(default_factory=dict)
    num_open: int = 1
    """How many ends lie below, itself among them, that no finished trial has reached, as far as decisions are known."""

    def expand(self, name: str, candidates: Candidates) -> int:
        """Take up which decision comes next; return by how much `num_open` grows. What was known of another one is forgotten."""
        if (name, candidates) == (self.name, self.candidates):
            return 0
        self.name, self.candidates, self.children = name, candidates, {value: _Node() for value in candidates}
        before, self.num_open = self.num_open, len(candidates)
        return self.num_open - before


class _Tree:
    """The combinations of one study that were tried, kept up as its trials finish."""

    def __init__(self) -> None:
        self._news = News()
        self._root = _Node()

    def keep_up(self, study: optuna.Study) -> list[FrozenTrial]:
        """Take up what has finished, and how far the others are; return the latter. One that waits again has its decisions."""
        running = study._storage.get_all_trials(study._study_id, deepcopy=False, states=OPEN)
        for trial in (*self._news.take(study, as_read=True), *running):
            self._add(tuple(_steps(trial)), is_over=trial.state.is_finished())
        return running

    def at(self, steps: Sequence[Step], name: str, candidates: Candidates) -> _Node:
        """Return what is known after the decisions `steps`, with `name` coming next."""
        path = [self._root]
        for step_name, step_candidates, value in steps:
            self._expand(path, step_name, step_candidates)
            path.append(path[-1].children.get(value) or _Node())  # a value that a person fixed may lie outside
        self._expand(path, name, candidates)
        return path[-1]

    def _add(self, steps: Sequence[Step], *, is_over: bool) -> None:
        path = [self._root]
        for name, candidates, value in steps:
            node = path[-1]
            if node.name and (node.name, node.candidates) != (name, candidates):
                return  # it lies on another grid than the others
            self._expand(path, name, candidates)
            if value not in node.children:
                return
            path.append(node.children[value])
        # One that was cut short in the midst of its decisions ends where others go on, and has tried no combination.
        if is_over and not path[-1].name:
            self._grow(path, -path[-1].num_open)

    def _expand(self, path: Sequence[_Node], name: str, candidates: Candidates) -> None:
        self._grow(path[:-1], path[-1].expand(name, candidates))

    @staticmethod
    def _grow(path: Sequence[_Node], number: int) -> None:
        for node in path:
            node.num_open += number


class Grid(optuna.samplers.BruteForceSampler):
    """Every combination once, in a random order; conditional decisions too. Once all are there, any may come again.

    From the same seed it proposes what `BruteForceSampler(avoid_premature_stop=True)` does. That one raises at every proposal
    once a trial was cut short in the midst of its decisions; such a trial counts for nothing here.
    """

    def __init__(self, seed: int) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            super().__init__(seed=seed, avoid_premature_stop=True)
        self._trees = PerStudy(_Tree)

    def sample_independent(self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution) -> Any:
        """Return a value that leads to a combination which no trial has tried, rather to one that none is trying; else any."""
        tree, candidates = self._trees.of(study), _candidates(param_distribution)
        running = tree.keep_up(study)
        node = tree.at(tuple(_steps(trial)), param_name, candidates)
        if node.num_open:
            # As Optuna: half by how much is open below, half alike for all that are open.
            num_open = np.array([child.num_open for child in node.children.values()], dtype=float)
            is_open = np.where(num_open > 0, 1.0, 0.0)
            weights = 0.5 * (num_open / num_open.sum()) + 0.5 * (is_open / is_open.sum())
            busy = {t.params[param_name] for t in running if t.params.keys() - trial.params.keys() == {param_name} and _begins(t, trial)}
            free = np.array([param_distribution.to_external_repr(value) not in busy for value in node.children])
            if (weights[free] > 0).any():
                weights[~free] = 0.0
            chosen = self._rng.rng.choice(list(node.children), p=weights / weights.sum())
        else:
            chosen = self._rng.rng.choice(candidates)
        return param_distribution.to_external_repr(chosen.item())

    def after_trial(self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """Do nothing: Optuna would stop a loop of its own here, and there is none. The number of trials ends the search."""


def _begins(trial: FrozenTrial, other: FrozenTrial) -> bool:
    """Say whether a trial has all that another one has decided."""
    return other.params.items() <= trial.params.items()


def _steps(trial: FrozenTrial) -> Iterator[Step]:
    for name, distribution in trial.distributions.items():
        yield name, _candidates(distribution), distribution.to_internal_repr(trial.params[name])


def _candidates(distribution: BaseDistribution) -> Candidates:
    if isinstance(distribution, CategoricalDistribution):
        return _enumerate_candidates(0, len(distribution.choices) - 1, 1)
    assert isinstance(distribution, (IntDistribution, FloatDistribution)), distribution
    return _enumerate_candidates(distribution.low, distribution.high, distribution.step)
