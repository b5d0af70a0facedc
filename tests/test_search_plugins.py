"""A search with a user's own plugins: what works, what raises, what crashes; and samples that a constraint rejects."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import optuna
from optuna.trial import TrialState

Command = Callable[..., subprocess.CompletedProcess[str]]


def test_a_users_block_in_plugins_is_found_and_searched(tmp_path: Path, nas_command: Command) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "mine.py").write_text(
        """
from torch import nn

from nas.plugin import Block, UnitContext, plugin


@plugin("one_layer")
class OneLayer(Block):
    '''One 3×3 convolution.'''

    formula = "y = {merge}"
    num_layers = 1

    def __init__(self, context: UnitContext, *, kernel_size: int = 3) -> None:
        super().__init__()
        self.before, self.after = nn.Identity(), nn.ReLU()
        self.branch = nn.Conv2d(context.in_channels, context.width, kernel_size, context.stride, kernel_size // 2)
        self.out_channels = context.width
"""
    )
    (tmp_path / "mine.yaml").write_text(
        "architecture: {staged: {widths: [4], depth: {int: [1, 2]}, block: {one_layer: {kernel_size: {choices: [1, 3]}}}}}\n"
        "train: {epochs: 4, batch_size: 32}\nsearch: {trials: 3, workers: 1}\n"
    )
    done = nas_command("search", "mine.yaml")
    assert done.returncode == 0, done.stderr
    assert "exploratory" in done.stdout
    assert "measure:" in done.stdout
    (name,) = optuna.get_all_study_names(storage := f"sqlite:///{tmp_path / 'mlflow' / 'optuna.db'}")
    best = optuna.load_study(study_name=name, storage=storage).best_trial
    assert set(best.params) == {"architecture.staged.depth", "architecture.staged.block.one_layer.kernel_size"}
    (report,) = (tmp_path / "mlflow" / "reports").rglob("report.html")
    assert "do not ship with nas, in <code>./plugins</code> or installed: block one_layer (plugins/mine.py, SHA-256 " in report.read_text()


def search_with(optimizer: str, nas_command: Command, folder: Path) -> subprocess.CompletedProcess[str]:
    """Search with an optimizer of the user's own that does `optimizer` in place of being built."""
    (folder / "plugins").mkdir()
    (folder / "plugins" / "bad.py").write_text(
        "import os\n\nfrom nas.plugin import Optimizer, plugin\n\n\n@plugin('bad')\nclass Bad(Optimizer):\n"
        f"    '''Fails.'''\n\n    def build(self, parameters):\n        {optimizer}\n"
    )
    (folder / "bad.yaml").write_text(
        "architecture: {staged: {widths: [4], depth: 1}}\ntrain: {epochs: 1, optimizer: bad}\nsearch: {trials: 4, workers: 1}\n"
    )
    return nas_command("search", "bad.yaml")


def test_a_plugin_that_raises_stops_the_run_with_its_message(tmp_path: Path, nas_command: Command) -> None:
    done = search_with("raise RuntimeError('the fuse is lit')", nas_command, tmp_path)
    assert done.returncode == 1
    assert "3 trainings in a row failed" in done.stderr
    assert done.stderr.rstrip().endswith(f"RuntimeError in optimizer 'bad' ({tmp_path / 'plugins' / 'bad.py'}:11): the fuse is lit")


def test_a_training_that_crashes_its_worker_every_time_ends_the_run_with_the_signal(tmp_path: Path, nas_command: Command) -> None:
    done = search_with("os.abort()", nas_command, tmp_path)
    assert done.returncode == 1
    assert "crashed with SIGABRT" in done.stderr


def test_samples_that_break_a_constraint_do_not_count_against_the_budget(tmp_path: Path, small_text: str, nas_command: Command) -> None:
    tight = small_text.partition("measure:")[0].replace("epochs: 2", "epochs: 1") + "constraints: [num_layers <= 6]\n"
    (tmp_path / "tight.yaml").write_text(tight, encoding="utf-8")
    done = nas_command("search", "tight.yaml", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["told_trials"] == 6
    storage = optuna.storages.RDBStorage(f"sqlite:///{tmp_path / 'mlflow' / 'optuna.db'}")
    trials = [t for name in optuna.get_all_study_names(storage) for t in optuna.load_study(study_name=name, storage=storage).trials]
    told = [t for t in trials if t.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    rejected = [t for t in trials if t.user_attrs.get("end") == "invalid"]
    assert len(told) == 6
    assert {t.params["architecture.staged.depth"] for t in told} == {1}  # two units and six layers
    assert {t.params["architecture.staged.depth"] for t in rejected} <= {2, 3}
    assert rejected
