"""Layer 4: one training as a value, run in this process, or in several where Lightning shares it between devices.

Run as a process of its own: `python -m nas.study.jobs.job FOLDER`. Lightning starts that same command again for every further
device, so the command has to name one training and nothing else.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nas.building import build, build_recipe
from nas.errors import StudyError
from nas.keeping import About, keep_network
from nas.plugin import Network, NetworkContext
from nas.probes.running import Snapshots, with_readings
from nas.registry import Registry, discover
from nas.study.jobs.materials import load_data, load_split, load_task
from nas.study.jobs.subjects import States, built_probes, subject_of
from nas.timing import latency_ms
from nas.training.checkpoint import Checkpoint
from nas.training.course import Goal, ShouldStop
from nas.training.data import Split
from nas.training.fit import train
from nas.values.architecture import Configuration, PluginNode
from nas.values.outcome import LATENCY, Cost, Outcome, is_of_a_probe
from nas.values.records import SEARCHING


@dataclass(frozen=True)
class Job:
    """One training: what is trained, on which input, judged by which metric, from which seeds."""

    configuration: Configuration
    cost: Cost
    context: NetworkContext
    metric: str
    seed: int
    split_seed: int
    probes: tuple[PluginNode, ...] = ()
    keep: str = ""
    """The file that a completed training's network is written to; '' for none."""
    is_timed: bool = False
    """Whether its latency is measured, beside what the training itself gives."""
    checkpoint: str = ""
    """The file that holds the middle of the training, from which it goes on; '' for none."""

    def needs_processes(self, registry: Registry) -> bool:
        """Say whether the recipe shares the training between devices."""
        recipe = build_recipe(self.configuration.train, registry)
        return recipe.devices != 1 or recipe.num_nodes > 1

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data."""
        return {
            "configuration": self.configuration.to_dict(),
            "cost": vars(self.cost),
            "input_shape": list(self.context.input_shape),
            "num_outputs": self.context.num_outputs,
            "output_shape": list(self.context.output_shape),
            "metric": self.metric,
            "seed": self.seed,
            "split_seed": self.split_seed,
            "probes": [node.to_dict() for node in self.probes],
            "is_timed": self.is_timed,
            "keep": self.keep,
            "checkpoint": self.checkpoint,
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Job:
        """Read what `to_dict` wrote."""
        return cls(
            Configuration.from_dict(document["configuration"]),
            Cost(**document["cost"]),
            NetworkContext(tuple(document["input_shape"]), document["num_outputs"], tuple(document["output_shape"])),
            document["metric"],
            document["seed"],
            document["split_seed"],
            tuple(map(PluginNode.from_dict, document["probes"])),
            keep=document["keep"],
            is_timed=document["is_timed"],
            checkpoint=document["checkpoint"],
        )


def split_seed_of(phase: str, seed: int, space_seed: int) -> int:
    """Return the seed of a training's split: the space's own, but for a replicate of a measurement, which has another each.

    A network that is trained anew keeps the split of its search: that never saw its test part.
    """
    return space_seed if phase in SEARCHING or phase == "train" else seed


def run_job(job: Job, registry: Registry, should_stop: ShouldStop = lambda _epoch, _value: False) -> Outcome:
    """Train in this process, measure with the probes unless it was pruned, keep the network where that is asked for."""
    configuration = job.configuration
    network = build(configuration.architecture, registry, job.context, seed=job.seed)
    split = load_split(configuration.data, registry, job.split_seed, configuration.task)
    snapshots = Snapshots(network, built_probes(job.probes, registry))
    goal = replace(goal_of(job, registry), should_stop=should_stop, on_step=snapshots.keep)
    checkpoint = Checkpoint(Path(job.checkpoint)) if job.checkpoint else None
    recipe = build_recipe(configuration.train, registry)
    outcome = train(network, recipe, split, job.cost, goal, seed=job.seed, checkpoint=checkpoint)
    outcome = concluded(job, registry, network, split, outcome, snapshots.states)
    if checkpoint:
        checkpoint.remove()
    return outcome


def goal_of(job: Job, registry: Registry) -> Goal:
    """Return what a job is trained for: the task's first metric on the test part where a probe's figure is the score."""
    task = load_task(job.configuration.task, registry)
    return Goal(f"test_{task.metrics[0].name}" if is_of_a_probe(job.metric) else job.metric, task)


def concluded(job: Job, registry: Registry, network: Network, split: Split, outcome: Outcome, states: States | None = None) -> Outcome:
    """Measure a trained network with the job's probes, keep it where that is asked for, and return the outcome with all that."""
    probes, configuration = built_probes(job.probes, registry), job.configuration
    if job.is_timed:
        # As it was at its start: what diverged is timed like anything else.
        fresh = build(configuration.architecture, registry, job.context, seed=job.seed)
        latency = latency_ms(fresh, job.context.input_shape, device=outcome.device)
        outcome = replace(outcome, metrics={**outcome.metrics, LATENCY: latency})
    if probes and outcome.status != "pruned":
        subject = subject_of(job, registry, network, split, states or {}, device=outcome.device)
        outcome = with_readings(outcome, probes, subject, metric=job.metric)
    if job.keep and outcome.status == "complete":
        data = load_data(configuration.data, registry, configuration.task)
        about = About(configuration, job.context, job.seed, job.split_seed, data.classes, tuple(outcome.metrics.items()))
        keep_network(Path(job.keep), network, about, split)
    return outcome


def run_in_processes(job: Job, plugins: Sequence[str]) -> Outcome:
    """Train in processes that Lightning starts, one a device, without pruning. Raises StudyError with what they said."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "job.json").write_text(json.dumps({**job.to_dict(), "plugins": list(plugins)}))
        command = [sys.executable, "-m", "nas.study.jobs.job", folder]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        result = Path(folder) / "outcome.json"
        if not result.exists():
            raise StudyError(f"the training on several devices ended with {done.returncode}:\n{done.stderr[-2000:]}")
        return Outcome.from_dict(json.loads(result.read_text()))


def main() -> None:
    """Run the job of a folder; the first process writes its outcome there."""
    folder = Path(sys.argv[1])
    document = json.loads((folder / "job.json").read_text())
    is_first = os.environ.get("LOCAL_RANK", "0") == "0" and os.environ.get("NODE_RANK", "0") == "0"
    job = Job.from_dict(document)
    # Every process has the whole network after the training: one of them measures and keeps it.
    outcome = run_job(job if is_first else replace(job, probes=(), keep="", is_timed=False, checkpoint=""), discover(document["plugins"]))
    if is_first:
        (folder / "outcome.json").write_text(json.dumps(outcome.to_dict()))


if __name__ == "__main__":
    main()
