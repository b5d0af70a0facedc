"""Layer 3: the runs of one study in MLflow: found once by their tags, then known; written at most once each."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from nas.errors import StudyError
from nas.tracking.entries import PARENT, Entry, Point, study_entry
from nas.tracking.place import is_server
from nas.values.records import StudyRecord, TrainingRecord

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

Identity = tuple[str, str]
# What MLflow's own page for choosing an experiment's kind writes, so that runs come first there, not traces of agents.
# (3.17 lets a switch of the reader's decide instead; `#/?workflowType=machine_learning` in the address sets it.)
_KIND = {"mlflow.experimentKind": "custom_model_development"}
_PAGE = 1000


class StudyRuns:
    """One study's runs as they stand in MLflow: `parent` and its `tags`, and which trainings are `done`.

    Any method raises what MLflow raises; then make a new one, which looks again. A run that is still RUNNING when it is
    found was cut short while it was written, and is completed, not doubled.
    """

    def __init__(self, client: MlflowClient, record: StudyRecord, *, uri: str, artifacts: Path) -> None:
        """Find the experiment and the runs of `record`, and make those of the study itself where they are not there."""
        self._title = record.title
        self._client = client
        self._experiment = _experiment(client, record.name, None if is_server(uri) else artifacts)
        found = sorted(self._search(), key=lambda run: (run.info.start_time, run.info.run_id))
        parents = [run for run in found if run.data.tags.get("nas.phase") == "study"]
        self.parent, self._status, self._params = self._adopt(parents, record)
        self.tags: dict[str, str] = dict(parents[0].data.tags) if parents else {}
        self._open: dict[Identity, str] = {}
        self._ids: dict[Identity, str] = {}
        self.done: set[Identity] = set()
        for run in found:
            if run.info.run_id != self.parent and "nas.number" in run.data.tags:
                self._know(run)

    def write(self, training: TrainingRecord, entry: Entry) -> None:
        """Write the run of one training: create it, log everything at once, close it with its real end."""
        key = identity(training)
        if key not in self._open:
            tags = {**entry.tags, PARENT: self.parent}
            run = self._client.create_run(self._experiment, entry.start_ms, tags, entry.name)
            self._open[key] = run.info.run_id
        run_id = self._ids[key] = self._open[key]
        self._log(run_id, points=entry.points, params=entry.params)
        self._client.set_terminated(run_id, entry.status, entry.end_ms)
        del self._open[key]
        self.done.add(key)

    def run_of(self, key: Identity) -> str:
        """Return the id of a training's run; '' where it has none yet."""
        return self._ids.get(key, "")

    def write_parent(self, entry: Entry, tags: Mapping[str, str], points: Iterable[Point]) -> None:
        """Bring the study's run up to date: params it has not had, tags that changed, points that are new."""
        params = {key: value for key, value in entry.params.items() if key not in self._params}
        changed = {key: value for key, value in tags.items() if self.tags.get(key) != value}
        self._log(self.parent, points=points, params=params, tags=changed)
        self._params |= params.keys()
        self.tags |= changed

    def set_status(self, status: str, end_ms: int = 0) -> None:
        """Set the study's run to RUNNING, or FINISHED at `end_ms`, where it is not."""
        if status == self._status:
            return
        if status == "RUNNING":
            self._client.update_run(self.parent, status=status)
        else:
            self._client.set_terminated(self.parent, status, end_ms)
        self._status = status

    def tag(self, key: str, value: str) -> None:
        """Set one tag of the study's run."""
        self._client.set_tag(self.parent, key, value)
        self.tags[key] = value

    def log_data(self, data: Mapping[str, object]) -> None:
        """Log the data set as an input of the study's run. MLflow keeps equal ones once."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        name = str(data.get("name") or "data")
        document = json.dumps(dict(data), default=str)
        dataset = Dataset(
            name=name[:500],
            digest=str(data.get("fingerprint") or "unknown")[:12],
            source_type="code",  # MLflow's kind for data that a program brings: its source is a set of tags
            source=json.dumps({"tags": {"nas.data": name}}),
            profile=document,
        )
        tags = [InputTag("mlflow.data.context", "search and measure")]
        self._client.log_inputs(self.parent, [DatasetInput(dataset, tags)])

    def log_text(self, text: str, name: str) -> None:
        """Keep a text as an artifact of the study's run."""
        self._client.log_text(self.parent, text, name)

    def log_file(self, path: Path) -> None:
        """Keep a file or a folder as an artifact of the study's run."""
        self._client.log_artifact(self.parent, str(path))

    def _log(
        self,
        run_id: str,
        *,
        points: Iterable[Point] = (),
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        from mlflow.entities import Metric, Param, RunTag

        # The client splits this at MLflow's limits (1000 metrics, 100 params, 100 tags a request).
        self._client.log_batch(
            run_id,
            [Metric(point.key, point.value, point.timestamp_ms, point.step) for point in points],
            [Param(key, value) for key, value in (params or {}).items()],
            [RunTag(key, value) for key, value in (tags or {}).items()],
            synchronous=True,
        )

    def _search(self) -> Iterator[Run]:
        quote = '"' if "'" in self._title else "'"
        token: str | None = None
        while True:
            page = self._client.search_runs(
                [self._experiment],
                f"tags.`nas.study` = {quote}{self._title}{quote}",
                max_results=_PAGE,
                page_token=token,
            )
            yield from page
            token = page.token
            if not token:
                return

    def _adopt(self, parents: list[Run], record: StudyRecord) -> tuple[str, str, set[str]]:
        if parents:
            first = parents[0]
            return first.info.run_id, first.info.status, set(first.data.params)
        entry = study_entry(record)
        run = self._client.create_run(self._experiment, entry.start_ms, dict(entry.tags), entry.name)
        return run.info.run_id, "RUNNING", set()

    def _know(self, run: Run) -> None:
        tags = run.data.tags
        key = (tags.get("nas.phase", ""), tags["nas.number"])
        self._ids[key] = run.info.run_id
        if run.info.status == "RUNNING":
            self._open[key] = run.info.run_id
        else:
            self.done.add(key)
        if tags.get(PARENT) != self.parent:  # someone deleted the study's run
            self._client.set_tag(run.info.run_id, PARENT, self.parent)


def identity(training: TrainingRecord) -> Identity:
    """Return what tells a training of a study from any other, as MLflow's tags hold it: its phase and number."""
    return training.phase, str(training.number)


def _experiment(client: MlflowClient, name: str, artifacts: Path | None) -> str:
    known = client.get_experiment_by_name(name)
    if known is None:
        folder = artifacts.resolve() / re.sub(r"[^\w.-]+", "_", name) if artifacts else None
        return client.create_experiment(name, folder.as_uri() if folder else None, _KIND)
    if known.lifecycle_stage != "active":
        raise StudyError(
            f"the experiment '{name}' was deleted in MLflow; bring it back with "
            f"`mlflow experiments restore --experiment-id {known.experiment_id}`"
        )
    return str(known.experiment_id)
