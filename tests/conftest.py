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
search: {trials: 6, workers: 2}
measure:
  factor: architecture.staged.shortcut
  reference: none
  by: {architecture.staged.depth: [1, 3]}
  replicates: 3
"""


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
    """The environment without what would send records elsewhere."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
    return {**kept, "OMP_NUM_THREADS": "1", "COLUMNS": "80"}
