"""The machine that a benchmark ran on, and its figures as JSON beside it."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any


def machine() -> dict[str, Any]:
    """Return the cores, the processor, the platform, and the versions of what the time is spent in."""
    packages = {name: version(name) for name in ("torch", "pytorch-lightning", "optuna", "mlflow")}
    return {"cores": os.cpu_count(), "processor": processor(), "platform": platform.platform(), **packages}


def processor() -> str:
    """Return the processor's name and, since a model name alone can say little, whether it has AVX-512."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor()
    name = next((line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")), "")
    return f"{name}{', AVX-512' if 'avx512f' in text else ''}"


def write(out: Path | None, figures: Mapping[str, Any]) -> None:
    """Write figures with the date and the machine, where a file is given."""
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps({"date": date.today().isoformat(), "machine": machine(), **figures}, indent=2) + "\n")
