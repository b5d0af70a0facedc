"""Layer 1: what the `train:` section may say: how a network is trained, with Lightning's own options beside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from nas.plugin import Augmentation, Bounds, Count, Factory, Fraction, Optimizer, Positive, Schedule, use


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A training recipe. Each field may be constant or a decision; those from `accelerator` to `benchmark` go to Lightning as they are."""

    epochs: Count = 10
    batch_size: Annotated[int, Bounds(2)] = 64
    optimizer: Factory[Optimizer] = use("sgd")
    schedule: Factory[Schedule] = use("linear")
    label_smoothing: Fraction = 0.0
    augment: tuple[Factory[Augmentation], ...] = ()
    accelerator: str = "auto"
    devices: Count | Literal["auto"] = 1
    num_nodes: Count = 1
    strategy: str = "auto"
    precision: Literal["32-true", "16-mixed", "bf16-mixed", "bf16-true", "64-true"] = "32-true"
    gradient_clip_val: Positive | None = None
    deterministic: bool = False
    benchmark: bool = False
    compile: Literal["none", "default", "reduce-overhead"] = "none"
    memory_format: Literal["contiguous", "channels_last"] = "contiguous"


LIGHTNING_OPTIONS = ("accelerator", "devices", "num_nodes", "strategy", "precision", "deterministic", "benchmark")
"""The fields that are handed to `lightning.Trainer` unchanged."""

LATER = ("compile", "memory_format")
"""Fields that came when there were studies without them: at their defaults they stand in no configuration, and no study's key changes."""
