"""Layer 4: where a crew's workers run, by name."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from nas.errors import UserError, nearest
from nas.study.crew.crew import Engine, ThisMachine

ENGINES = ("local", "ray")


def open_engine(name: str, storage_url: str) -> AbstractContextManager[Engine]:
    """Return an engine for workers on a ledger, to be entered: `local` (this machine's processes) or `ray` (a Ray cluster).

    Raises UserError for an unknown name, where Ray is not installed, and (on entering) for a ledger that its nodes cannot reach.
    """
    if name not in ENGINES:
        raise UserError(f"engine: there is none named '{name}'{nearest(name, ENGINES)}")
    if name == "local":
        return nullcontext(ThisMachine())
    try:
        from nas.study.crew.on_ray import Cluster
    except ModuleNotFoundError as error:
        if error.name != "ray":
            raise
        raise UserError("--engine ray: the package 'ray' is not installed; pip install 'nas-ablation[ray]'") from error
    return Cluster(storage_url)
