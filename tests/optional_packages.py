"""For tests: packages that are extras, imported or their tests skipped."""

import importlib
import importlib.util
import sys
from typing import Any

import pytest
import torch


def package(name: str) -> Any:
    """Import torchvision or timm, or skip. torchvision's compiled part may be built for another torch: networks need none of it."""
    if importlib.util.find_spec(name) is None or importlib.util.find_spec("torchvision") is None:
        pytest.skip(f"{name} is not installed: pip install 'nas-ablation[{name}]'")
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        for module in [m for m in sys.modules if m.split(".")[0] == "torchvision"]:
            del sys.modules[module]
        LIBRARY.append(torch.library.Library("torchvision", "DEF"))
        LIBRARY[0].define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        LIBRARY[0].define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return importlib.import_module(name)


LIBRARY: list[torch.library.Library] = []  # kept: its operators vanish with it
