"""Layer 3: a network as a model of MLflow's own, which its UI, its registry and `mlflow models serve` know."""

from __future__ import annotations

import os
from importlib.metadata import version

import numpy as np
from numpy.typing import NDArray
from torch import nn

from nas.errors import StudyError, UserError
from nas.tracking.connection import connect, in_words

MODEL = "model"


def run_of_study(uri: str, title: str) -> str:
    """Return the id of a study's run. Raises UserError where MLflow has none."""
    quote = '"' if "'" in title else "'"
    try:
        client = connect(uri)
        experiments = [experiment.experiment_id for experiment in client.search_experiments()]
        found = client.search_runs(experiments, f"tags.`nas.study` = {quote}{title}{quote} and tags.`nas.phase` = 'study'", max_results=1)
    except Exception as failure:  # each kind of server and database raises its own
        raise UserError(f"{title}: {in_words(failure, uri, tried='read')}") from None
    if not found:
        raise UserError(f"{title}: MLflow has no run of it; `nas sync {title}` writes it")
    return str(found[0].info.run_id)


def log_model(uri: str, run: str, network: nn.Module, example: NDArray[np.float32]) -> str:
    """Log a network, exported by `torch.export`, as a model of a run, and return the model's address.

    `example` are inputs (B, …) of a batch of two or more. No plugin is needed to load it. Raises StudyError where MLflow cannot
    take it.
    """
    try:
        client = connect(uri)
        info = client.get_run(run).info
        import mlflow
        import mlflow.pytorch

        before = os.environ.get("MLFLOW_TRACKING_URI")
        mlflow.set_tracking_uri(uri)
        try:
            with mlflow.start_run(run_id=run):
                logged = mlflow.pytorch.log_model(
                    network, name=MODEL, input_example=example, serialization_format="pt2",
                    pip_requirements=[f"torch=={version('torch').partition('+')[0]}", f"mlflow=={version('mlflow')}"],
                )  # fmt: skip
        finally:
            # MLflow writes the address into the environment too, where it would send all later records of this process.
            mlflow.set_tracking_uri(before)  # type: ignore[arg-type]  # None takes it back
        client.set_terminated(run, info.status, info.end_time)
    except Exception as failure:  # torch, each kind of server and artifact store raise their own
        raise StudyError(f"run {run}: {in_words(failure, uri)}") from failure
    return str(logged.model_uri)
