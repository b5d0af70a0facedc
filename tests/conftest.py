"""Shared by the tests: one thread for torch, the registry, a small space on real digits, the installed command."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch

from nas.registry import Registry, discover
from nas.space import Space, parse_space

torch.set_num_threads(1)

SMALL = """\
name: small
architecture:
  staged:
    widths: [4, 8]
    depth: {int: [1, 3]}
    shortcut: {choices: [none, identity]}
train:
  epochs: 2
  batch_size: 128
  optimizer: {sgd: {lr: {float: [0.05, 0.2], log: true}}}
search: {trials: 6, workers: 1}
measure:
  factor: architecture.staged.shortcut
  reference: none
  by: {architecture.staged.depth: [1, 3]}
  replicates: 3
"""


# The tests run one file a core: files that train through the command take longest and come first, so that no core is left with one.
FIRST = (
    "test_ray", "test_killed_between_seeds", "test_exhausted_space",
    "test_search", "test_measure_named", "test_tuned", "test_replacements", "test_ablate", "test_looks", "test_claims_run", "test_claims",
    "test_train_command", "test_search_plugins", "test_capacity", "test_kept_networks", "test_example_package", "test_browser",
    "test_probes", "test_selfcheck", "test_cli_selfcheck", "test_exact_counts", "test_every_combination",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files of FIRST first, the others behind them in their own order."""
    items.sort(key=lambda item: FIRST.index(item.path.stem) if item.path.stem in FIRST else len(FIRST))


@pytest.fixture(autouse=True)
def own_environment() -> None:
    """Forget where an earlier test of this process kept its records: libraries write it into the environment."""
    for name in [name for name in os.environ if name.startswith(("MLFLOW_TRACKING", "NAS_"))]:
        del os.environ[name]


@pytest.fixture(scope="session")
def registry() -> Registry:
    return discover()


@pytest.fixture(scope="session")
def small_text() -> str:
    return SMALL


@pytest.fixture
def small(registry: Registry) -> Space:
    return parse_space(SMALL, "small.yaml", registry)


@pytest.fixture
def nas_command(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the installed command in an empty directory and return what it printed."""

    def run(*arguments: str, cwd: Path = tmp_path, timeout: float = 180) -> subprocess.CompletedProcess[str]:
        command: Sequence[str] = [sys.executable, "-m", "nas", *arguments]
        return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=timeout, env=clean_environment(), check=False)

    return run


def clean_environment() -> dict[str, str]:
    """The environment without what would send records, or decoded pictures, elsewhere."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "NAS_"))}
    return {**kept, "OMP_NUM_THREADS": "1", "COLUMNS": "80"}
