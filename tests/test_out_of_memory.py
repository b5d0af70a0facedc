"""Trainings that do not fit into memory: told as such, tried again, left out; the others go on, and nobody calls them diverged."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from in_process import nas_here

from nas.errors import PluginError, StudyError
from nas.faults import out_of_memory
from nas.study.ledger.storage import default_storage
from nas.study.study import Study

# Four trials, the first three of them too large: more in a row than a plugin's errors may be.
SPACE = """\
name: roomy
architecture: {staged: {widths: [4, 8], depth: {int: [1, 4]}, shortcut: identity}}
train: {epochs: 1, batch_size: 32, optimizer: greedy}
search:
  trials: 4
  workers: 1
  sampler: random
  start: [{architecture.staged.depth: 4}, {architecture.staged.depth: 3}, {architecture.staged.depth: 2}, {architecture.staged.depth: 1}]
"""

PLUGIN = """\
import torch

from nas.plugin import Optimizer, plugin


@plugin("greedy")
class Greedy(Optimizer):
    '''SGD that asks for more memory than there is where a network has more parameters than some.'''

    def build(self, parameters):
        parameters = list(parameters)
        if sum(p.numel() for p in parameters) > {more_than}:
            raise {error}
        return torch.optim.SGD(parameters, lr=0.1, momentum=0.9)
"""
AT_DEPTH_1 = 1500
"""More parameters than the network of depth 1 has, and fewer than that of depth 2."""

ON_A_GPU = 'torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")'


def search(folder: Path, *, more_than: int, error: str = ON_A_GPU) -> Any:
    (folder / "roomy.yaml").write_text(SPACE)
    (folder / "plugins").mkdir()
    (folder / "plugins" / "greedy.py").write_text(PLUGIN.format(more_than=more_than, error=error))
    return nas_here(folder, "search", "roomy.yaml", "--json")


def test_networks_that_do_not_fit_are_left_out_of_a_search_that_goes_on(tmp_path: Path) -> None:
    done = search(tmp_path, more_than=AT_DEPTH_1)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["told_trials"] == 1
    assert [best["decisions"]["architecture.staged.depth"] for best in found["best"]] == [1]
    records = Study.reopen(None, default_storage(tmp_path / "mlflow"), plugins=[tmp_path / "plugins"]).record().search
    broken = [record for record in records if record.state == "broken"]
    assert {dict(record.decisions)["architecture.staged.depth"] for record in broken} == {2, 3, 4}
    assert len(broken) == 9, "three attempts each"
    assert all(record.outcome is None for record in broken), "what did not fit is no result of the network's"
    told = "out of memory (CUDA out of memory. Tried to allocate 20.00 GiB.): give it a smaller train.batch_size, limit parameters or macs"
    assert all(record.error.startswith(told) for record in broken)


def test_a_search_of_which_nothing_fits_ends_with_what_helps(tmp_path: Path) -> None:
    done = search(tmp_path, more_than=0)
    assert done.returncode == 1
    assert "12 trainings in a row failed" in done.stderr
    assert "out of memory (CUDA out of memory." in done.stderr
    assert "Traceback" not in done.stderr


def test_other_errors_of_a_plugin_still_stop_the_run_after_three(tmp_path: Path) -> None:
    done = search(tmp_path, more_than=AT_DEPTH_1, error='ValueError("what is a memory leak?")')
    assert done.returncode == 1
    assert "trainings in a row failed" in done.stderr
    assert "what is a memory leak?" in done.stderr


def test_a_full_disk_is_no_fault_of_a_training_and_stops_the_run_with_the_file(tmp_path: Path) -> None:
    done = search(tmp_path, more_than=AT_DEPTH_1, error='OSError(28, "No space left on device", "kept/4.pt")')
    assert done.returncode == 1
    assert done.stderr.endswith("kept/4.pt: No space left on device; once that is mended, the same command goes on\n")
    records = Study.reopen(None, default_storage(tmp_path / "mlflow"), plugins=[tmp_path / "plugins"]).record().search
    assert not [record for record in records if record.state == "broken"]


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (MemoryError(), "out of memory (MemoryError): "),
        (MemoryError("no room for it"), "out of memory (no room for it): "),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to\nsee the manual"), "out of memory (CUDA out of memory. Tried to): "),
        (
            StudyError("it ended with 1:\ntorch.OutOfMemoryError: CUDA"),
            "out of memory (torch.OutOfMemoryError: CUDA): ",
        ),
        (ValueError("a memory leak"), ""),
    ],
)
def test_it_is_known_however_it_was_raised(error: Exception, told: str) -> None:
    assert out_of_memory(error).startswith(told)
    assert bool(out_of_memory(error)) == bool(told)


def test_it_is_known_of_torch_on_the_cpu_and_behind_the_plugin_that_is_named() -> None:
    with pytest.raises(RuntimeError) as raised:
        torch.empty(2**60)
    named = PluginError("block 'huge' cannot be built")
    named.__cause__ = raised.value
    assert out_of_memory(named).startswith("out of memory (")
    assert "DefaultCPUAllocator" in out_of_memory(named)
