"""Layer 4: one training as a value, run in this process, or in several where Lightning shares it between devices.

Run as a process of its own: `python -m nas.study.job FOLDER`. Lightning starts that same command again for every further
device, so the command has to name one training and nothing else.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.building import build, build_recipe
from nas.errors import StudyError
from nas.measuring.failures import above_chance
from nas.plugin import NetworkContext
from nas.registry import Registry, discover
from nas.study.materials import load_split
from nas.training.fit import Goal, ShouldStop, train
from nas.values.architecture import Configuration
from nas.values.outcome import Cost, Outcome


@dataclass(frozen=True)
class Job:
    """One training: what is trained, on which input, judged by which metric, from which seeds."""

    configuration: Configuration
    cost: Cost
    context: NetworkContext
    metric: str
    seed: int
    split_seed: int

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
            "metric": self.metric,
            "seed": self.seed,
            "split_seed": self.split_seed,
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Job:
        """Read what `to_dict` wrote."""
        return cls(
            Configuration.from_dict(document["configuration"]),
            Cost(**document["cost"]),
            NetworkContext(tuple(document["input_shape"]), document["num_outputs"]),
            document["metric"],
            document["seed"],
            document["split_seed"],
        )


def run_job(job: Job, registry: Registry, should_stop: ShouldStop = lambda _epoch, _value: False) -> Outcome:
    """Train in this process."""
    return train(
        build(job.configuration.architecture, registry, job.context, seed=job.seed),
        build_recipe(job.configuration.train, registry),
        load_split(job.configuration.data, registry, job.split_seed),
        job.cost,
        Goal(job.metric, learned_nothing=lambda *counts: not above_chance(*counts), should_stop=should_stop),
        seed=job.seed,
    )


def run_in_processes(job: Job, plugins: Sequence[str]) -> Outcome:
    """Train in processes that Lightning starts, one a device, without pruning. Raises StudyError with what they said."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "job.json").write_text(json.dumps({**job.to_dict(), "plugins": list(plugins)}))
        command = [sys.executable, "-m", "nas.study.job", folder]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        result = Path(folder) / "outcome.json"
        if not result.exists():
            raise StudyError(f"the training on several devices ended with {done.returncode}:\n{done.stderr[-2000:]}")
        return Outcome.from_dict(json.loads(result.read_text()))


def main() -> None:
    """Run the job of a folder; the first process writes its outcome there."""
    folder = Path(sys.argv[1])
    document = json.loads((folder / "job.json").read_text())
    outcome = run_job(Job.from_dict(document), discover(document["plugins"]))
    if os.environ.get("LOCAL_RANK", "0") == "0" and os.environ.get("NODE_RANK", "0") == "0":
        (folder / "outcome.json").write_text(json.dumps(outcome.to_dict()))


if __name__ == "__main__":
    main()
