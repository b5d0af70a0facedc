"""nas: search neural architectures, and measure what each design choice is worth.

    import nas

    space = nas.load_space("space.yaml")
    result = nas.search(space)
    print(result.effects.sentence)

Heavy packages are imported by the first use of a name that needs them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nas.api import build, load_network, load_space
    from nas.concluding import StudyResult, TrainResult
    from nas.errors import NasError, PluginError, SpaceError, StudyError, UserError
    from nas.exporting import export_network
    from nas.measuring.from_table import effects
    from nas.space.asking import Asked
    from nas.standing import best
    from nas.workflow import ablate, measure, search, train

__version__ = "0.1.0"

_HOMES = {
    "build": "nas.api", "load_network": "nas.api", "load_space": "nas.api", "search": "nas.workflow", "measure": "nas.workflow",
    "ablate": "nas.workflow", "train": "nas.workflow", "best": "nas.standing", "export_network": "nas.exporting",
    "Asked": "nas.space.asking", "StudyResult": "nas.concluding", "TrainResult": "nas.concluding", "effects": "nas.measuring.from_table",
    "NasError": "nas.errors", "PluginError": "nas.errors", "SpaceError": "nas.errors", "StudyError": "nas.errors",
    "UserError": "nas.errors",
}  # fmt: skip

__all__ = [
    "Asked", "NasError", "PluginError", "SpaceError", "StudyError", "StudyResult", "TrainResult", "UserError",
    "ablate", "best", "build", "effects", "export_network", "load_network", "load_space", "measure", "search", "train",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'nas' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOMES[name]), name)
