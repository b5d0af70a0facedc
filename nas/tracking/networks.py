"""Layer 3: the networks that runs of MLflow keep, and which training a run is of."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from nas.errors import UserError
from nas.tracking.connection import connect, in_words, with_way_on
from nas.tracking.runs import Identity, StudyRuns
from nas.values.records import StudyRecord

ARTIFACT = "network.pt"
RUN = re.compile(r"[0-9a-f]{32}")
_KEPT = "nas.network"


def is_run(text: str) -> bool:
    """Say whether a text has the form of a run's id."""
    return RUN.fullmatch(text) is not None


def keep_networks(uri: str, record: StudyRecord, files: Mapping[Identity, Path], *, best: Identity | None, artifacts: Path) -> str:
    """Keep network files with the runs of their trainings, that of `best` with the study's run too; each once.

    Returns '' or, where MLflow could not take them, why. The files stay in the store, so nothing is lost.
    """
    try:
        client = connect(uri)
        runs = StudyRuns(client, record, uri=uri, artifacts=artifacts)
        wanted = {runs.run_of(key): file for key, file in files.items()}
        if best is not None and best in files:
            wanted[runs.parent] = files[best]
        for run, file in wanted.items():
            version = f"{file.name} {file.stat().st_mtime_ns}"
            if run and client.get_run(run).data.tags.get(_KEPT) != version:
                with tempfile.TemporaryDirectory() as folder:
                    shutil.copyfile(file, Path(folder) / ARTIFACT)
                    client.log_artifact(run, str(Path(folder) / ARTIFACT))
                client.set_tag(run, _KEPT, version)
    except Exception as failure:  # each kind of server, database and artifact store raises its own
        return with_way_on(in_words(failure, uri), record.title)
    return ""


def tags_of(uri: str, run: str) -> Mapping[str, str]:
    """Return the tags of a run. Raises UserError where there is none, or MLflow cannot be reached."""
    try:
        return dict(connect(uri).get_run(run).data.tags)
    except Exception as failure:  # each kind of server and database raises its own
        raise UserError(f"run {run}: {in_words(failure, uri, tried='read')}") from None


def fetch_network(uri: str, run: str, folder: Path) -> Path | None:
    """Copy the network that a run keeps into `folder` and return the file; None where it keeps none. Raises UserError as `tags_of`."""
    if _KEPT not in tags_of(uri, run):
        return None
    try:
        return Path(connect(uri).download_artifacts(run, ARTIFACT, str(folder)))
    except Exception as failure:  # each kind of artifact store raises its own
        raise UserError(f"run {run}: {in_words(failure, uri, tried='read')}") from None
