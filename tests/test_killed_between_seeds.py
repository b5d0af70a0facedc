"""A worker that is killed with SIGKILL between two seeds of a trial: nothing finished is trained again, and the search stays the same."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from in_process import nas_here
from optuna.trial import TrialState

from nas.plugin import NetworkContext
from nas.registry import Registry
from nas.sampling import first_choice, sample
from nas.space import parse_space
from nas.study.jobs.job import Job
from nas.study.jobs.seeds import done_before, note_seeds, seeds_of
from nas.study.ledger.trials import KILLED, SEEDS
from nas.study.study import Study
from nas.values.outcome import Cost, Outcome
from nas.values.records import TrainingRecord

TRIALS, NUM_SEEDS = 12, 2
KILLED_IN = 4 * NUM_SEEDS
"""The training that the worker dies in: the last seed of trial 3. TPE proposes from trial 10 on."""
TEXT = f"""\
name: killed
architecture: {{staged: {{widths: [4], depth: {{int: [1, 2]}}}}}}
train: {{epochs: 1, batch_size: 48, optimizer: {{counted: {{lr: {{float: [0.05, 0.4], log: true}}}}}}}}
search: {{trials: {TRIALS}, workers: 1, seeds: {NUM_SEEDS}}}
"""

# The noise stream of a training is seeded by its seed; which trial it belongs to, the learning rate says.
PLUGIN = """\
import os
import signal
from pathlib import Path

import torch

from nas.plugin import Optimizer, plugin


@plugin("counted")
class Counted(Optimizer):
    '''SGD that writes down each training, and kills its process at one of them where a file says so.'''

    def __init__(self, *, lr: float = 0.1) -> None:
        self.lr = lr

    def build(self, parameters):
        with Path("trained.txt").open("a") as file:
            file.write(f"{self.lr!r} {torch.initial_seed()}\\n")
        deadly = Path("deadly.txt")
        if deadly.exists() and len(Path("trained.txt").read_text().splitlines()) == int(deadly.read_text()):
            deadly.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        return torch.optim.SGD(list(parameters), lr=self.lr)
"""


def searched(folder: Path, *, killed_in: int | None = None) -> Study:
    """Run the search with a worker of its own; kill that in one training."""
    (folder / "plugins").mkdir(parents=True)
    (folder / "plugins" / "counted.py").write_text(PLUGIN)
    (folder / "killed.yaml").write_text(TEXT)
    if killed_in:
        (folder / "deadly.txt").write_text(str(killed_in))
    done = nas_here(folder, "search", "killed.yaml", own_workers=killed_in is not None)
    assert done.returncode == 0, done.stderr
    return Study.reopen(None, f"sqlite:///{folder / 'mlflow' / 'optuna.db'}", plugins=[folder / "plugins"])


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return searched(tmp_path_factory.mktemp("undisturbed"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("killed")


@pytest.fixture(scope="module")
def disturbed(folder: Path) -> Study:
    return searched(folder / "here", killed_in=KILLED_IN)


def timeless(trial: TrainingRecord) -> tuple[object, ...]:
    assert trial.outcome is not None
    return trial.number, trial.state, trial.decisions, trial.configuration, replace(trial.outcome, duration_s=0.0)


def test_the_search_comes_to_what_it_would_have_undisturbed(undisturbed: Study, disturbed: Study) -> None:
    assert disturbed.search.study.get_trials()[3].user_attrs[KILLED] == 1
    assert [timeless(trial) for trial in disturbed.search.records()] == [timeless(trial) for trial in undisturbed.search.records()]
    assert len(disturbed.search.records()) == TRIALS


def test_the_seeds_that_were_done_are_not_trained_again(disturbed: Study, folder: Path) -> None:
    trained = Counter((folder / "here" / "trained.txt").read_text().splitlines())
    again = [line for line, times in trained.items() if times > 1]
    assert trained.total() == TRIALS * NUM_SEEDS + 1
    assert len(again) == 1
    killed = dict(disturbed.search.records()[3].decisions)
    assert float(again[0].split()[0]) == killed["train.optimizer.counted.lr"]


def test_a_told_trial_keeps_its_one_outcome_and_the_best_its_network(disturbed: Study, folder: Path) -> None:
    trials = disturbed.search.study.get_trials()
    assert all(trial.state == TrialState.COMPLETE and SEEDS not in trial.user_attrs for trial in trials)
    files = (folder / "here" / "mlflow" / "networks" / disturbed.search.name).iterdir()
    assert [file.stem for file in files] == [str(disturbed.search.best_number())]


@pytest.mark.parametrize(("is_here", "failed", "taken"), [(True, False, 2), (False, False, 0), (False, True, 2)])
def test_seeds_whose_network_lies_on_another_machine_are_trained_again(
    is_here: bool, failed: bool, taken: int, registry: Registry, tmp_path: Path
) -> None:
    space = parse_space(TEXT.replace("counted", "sgd"), "s.yaml", registry)
    study = Study.open(space, f"sqlite:///{tmp_path / 'optuna.db'}")
    study.search.ensure(study.search_slots(ahead=0)[:1])
    trial = study.search.claim()
    assert trial is not None
    kept = tmp_path / "0.pt"
    if is_here:
        kept.touch()
    context = NetworkContext((1, 8, 8), 10)
    job = Job(sample(space, first_choice).configuration, Cost(1, 1, 1), context, "val_accuracy", seeds_of(space)[0], 0, keep=str(kept))
    done = [Outcome("failed" if failed else "complete", 0.5, {}, {}, Cost(1, 1, 1), 1, 1.0, "cpu")] * 2
    note_seeds(study.search, trial, done)
    assert study.search.release(trial._trial_id, {})
    again = study.search.claim()
    assert again is not None
    assert done_before(again, job) == tuple(done[:taken])
