"""Layer 4: the data that a space names, loaded and split once a process, and what a network has to know of it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from nas.building import make
from nas.errors import NasError, PluginError, UserError
from nas.paths import cache_folder
from nas.plugin import Data, DataSet, NetworkContext, Task
from nas.registry import Registry
from nas.sampling import first_choice, fixing, sample
from nas.space import Space
from nas.space.templates import decisions_in
from nas.training.checks import refuse_bad
from nas.training.data import Split, split_data
from nas.training.decoding import decoded
from nas.values.architecture import Configuration, PluginNode, key_of, write
from nas.values.domains import Scalar

CLASSIFICATION = PluginNode("classification")


@lru_cache(maxsize=2)
def load_data(node: PluginNode, registry: Registry, task: PluginNode = CLASSIFICATION) -> Data:
    """Load a data set for a task, once a process; pictures may still be encoded.

    Raises UserError for what cannot be loaded, or could not be trained on, PluginError where its targets are not such as the
    task needs.
    """
    file = registry.find("data", node.name).file
    told = f"data '{node.name}' ({file})"
    try:
        source: DataSet = make("data", node, registry)
        source.task = task.name
        data = source.load()
    except NasError:
        raise
    except Exception as error:  # a data set is somebody's code and somebody's files
        raise UserError(f"{told} could not be loaded: {type(error).__name__}: {error}") from error
    refuse_bad(data, told)
    try:
        load_task(task, registry).check(data)
    except ValueError as error:
        raise PluginError(f"{file}: data set '{node.name}': {task.name} {error}") from error
    return data


@lru_cache(maxsize=2)
def ready_data(node: PluginNode, registry: Registry, task: PluginNode = CLASSIFICATION) -> Data:
    """Load a data set and decode its pictures, or only check them where they are to be streamed."""
    return decoded(load_data(node, registry, task), cache_folder())


@lru_cache(maxsize=16)
def load_split(node: PluginNode, registry: Registry, seed: int, task: PluginNode = CLASSIFICATION) -> Split:
    """Split a data set; the twins of a replicate follow each other and share it, and so do those of a group."""
    return split_data(ready_data(node, registry, task), seed=seed)


def load_task(node: PluginNode, registry: Registry) -> Task:
    """Build a task."""
    task: Task = make("task", node, registry)
    return task


def context_of(space: Space, configuration: Configuration) -> NetworkContext:
    """Return the input shape and number of outputs that a network has to have: those of `input:`, else of the data."""
    if space.input:
        return NetworkContext(space.input.shape, space.input.classes)
    data = load_data(configuration.data, space.registry, configuration.task)
    shape = load_task(configuration.task, space.registry).output_shape(data)
    return NetworkContext(data.input_shape, shape[0], shape)


def refuse_without_data(space: Space) -> None:
    """Raise UserError for a space that only describes its input: there is nothing to train on."""
    if space.input:
        raise UserError(f"{space.file}: `input:` stands in for data in `nas show` and `nas check`; name a data set under `data:` to train")


@lru_cache(maxsize=8)
def identity_of(space: Space) -> dict[str, Any]:
    """Return what makes a study its own: the space's identity, and the fingerprint of each data set that it can train on."""
    if space.input:
        return space.identity()
    found = {used.data: ready_data(used.data, space.registry, used.task).fingerprint() for used in _uses_of_data(space)}
    return {**space.identity(), **{f"data fingerprint of {write(node)}": fingerprint for node, fingerprint in found.items()}}


def study_key(space: Space) -> str:
    """Return the hash of `identity_of`, 8 digits."""
    return key_of(identity_of(space))[:8]


def _uses_of_data(space: Space) -> Iterator[Configuration]:
    """Yield configurations with the data sets that a space can train on: what stands first, then each other choice alone."""
    yield sample(space, first_choice).configuration
    for placed in decisions_in(space.data):
        for label, _ in placed.decision.labelled():
            fixed: dict[str, Scalar] = {**dict(placed.under), placed.decision.path: label}
            yield sample(space, fixing(fixed, first_choice)).configuration


def _told(node: PluginNode) -> str:
    """Name a data set for a sentence: the plugin, and beside it what it was pointed at."""
    given = dict(node.parameters)
    place = next((str(given[key]) for key in ("name", "path", "inputs") if isinstance(given.get(key), str)), "")
    return f"{Path(place).stem} ({node.name})" if Path(place).stem else node.name


@lru_cache(maxsize=8)
def describe_data(space: Space) -> dict[str, Any]:
    """Describe the data set of a space: name, fingerprint, sizes; its first choice where it is a decision."""
    configuration = sample(space, first_choice).configuration
    node, task = configuration.data, configuration.task
    data, split = ready_data(node, space.registry, task), load_split(node, space.registry, space.seed, task)
    return {
        "name": _told(node),
        "description": write(node),
        "task": task.name,
        "fingerprint": data.fingerprint(),
        "num_examples": len(data.targets),
        "num_train": len(split.train),
        "num_val": len(split.val),
        "num_test": len(split.test),
        "own_test_part": data.num_test > 0,
        "search_split_seed": space.seed,
        "num_classes": data.num_classes,
        "num_outputs": context_of(space, configuration).num_outputs,
        "input_shape": list(data.input_shape),
    }
