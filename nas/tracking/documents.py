"""Layer 3: what the study's run keeps besides figures: data set, space file, environment, files such as the report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from nas.tracking.runs import StudyRuns
from nas.values.architecture import key_of
from nas.values.records import StudyRecord


class Documents:
    """Writes each document once: texts by a tag that says which were written, files by their time and size."""

    def __init__(self) -> None:
        """Start as one that has written no file."""
        self._files: set[tuple[str, Path, int, int]] = set()

    def write(self, runs: StudyRuns, record: StudyRecord, files: Sequence[Path]) -> None:
        """Write what is new or has changed since. Raises OSError where a file is not there, and what MLflow raises."""
        data = json.dumps(dict(record.data), default=str)
        if record.data and self._is_new(runs, "nas.data_key", data):
            runs.log_data(record.data)
            runs.tag("nas.data_key", key_of(data))
        environment = json.dumps(dict(record.environment), indent=2, default=str)
        for name, text in (("space.yaml", record.space_text), ("environment.json", environment)):
            tag = f"nas.{name.partition('.')[0]}_key"
            if self._is_new(runs, tag, text):
                runs.log_text(text, name)
                runs.tag(tag, key_of(text))
        for path in files:
            status = path.stat()
            version = (runs.parent, path, status.st_mtime_ns, status.st_size)
            if version not in self._files:
                runs.log_file(path)
                self._files.add(version)

    @staticmethod
    def _is_new(runs: StudyRuns, tag: str, text: str) -> bool:
        return runs.tags.get(tag) != key_of(text)
