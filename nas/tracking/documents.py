"""Layer 3: what the study's run keeps besides figures: data set, space file, environment, files such as the report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from nas.tracking.runs import StudyRuns
from nas.values.architecture import key_of
from nas.values.records import StudyRecord

_WRITTEN = "nas.documents_key"


class Documents:
    """Writes each document once: data set and texts by a tag with their hash, files by their time and size."""

    def __init__(self) -> None:
        """Start as one that has written no file."""
        self._files: set[tuple[str, Path, int, int]] = set()

    def write(self, runs: StudyRuns, record: StudyRecord, files: Sequence[Path]) -> None:
        """Write what is new or has changed since. Raises OSError where a file is not there, and what MLflow raises."""
        environment = json.dumps(dict(record.environment), indent=2, default=str)
        key = key_of([json.dumps(dict(record.data), default=str), record.space_text, environment])
        if runs.tags.get(_WRITTEN) != key:
            if record.data:
                runs.log_data(record.data)
            runs.log_text(record.space_text, "space.yaml")
            runs.log_text(environment, "environment.json")
            runs.tag(_WRITTEN, key)
        for path in files:
            status = path.stat()
            version = (runs.parent, path, status.st_mtime_ns, status.st_size)
            if version not in self._files:
                runs.log_file(path)
                self._files.add(version)
