"""Layer 4: what a study ran in: packages, machine, devices and the state of the code."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from typing import Any

import torch

PACKAGES = ("torch", "pytorch-lightning", "optuna", "mlflow", "numpy", "scipy", "scikit-learn", "PyYAML", "nas-ablation")


def environment() -> dict[str, Any]:
    """Return plain data that says what this process runs in."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "devices": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] or ["cpu"],
        **_cuda(),
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
        "git": _git(),
    }


def _cuda() -> dict[str, Any]:
    """Return CUDA's version, and what takes float32 as TF32 where a GPU has that: convolutions, as torch has it by default."""
    if not torch.cuda.is_available():
        return {}
    conv = getattr(torch.backends.cudnn, "conv", None)  # from torch 2.9 on; both at once raise
    convolutions = conv.fp32_precision == "tf32" if conv else torch.backends.cudnn.allow_tf32
    matrices = torch.get_float32_matmul_precision() != "highest"
    tf32 = [name for name, allowed in (("matrix products", matrices), ("convolutions", convolutions)) if allowed]
    return {"cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version(), "tf32": tf32}


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _git() -> str:
    """Return commit and state of the repository around the current directory, or '' outside one."""
    try:
        commit = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, timeout=5, check=True)
        changed = subprocess.run(["git", "status", "--porcelain"], capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return commit.stdout.strip() + (" with uncommitted changes" if changed.stdout.strip() else "")
