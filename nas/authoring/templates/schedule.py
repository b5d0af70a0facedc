"""A schedule: factor(step, num_steps) multiplies the learning rate."""

from __future__ import annotations

from nas.plugin import Positive, Schedule, plugin


@plugin("my_plugin")
class MyPlugin(Schedule):
    """From 1 to 0 by a power of what is left of the training."""

    def __init__(self, *, power: Positive = 2.0) -> None:
        self.power = power

    def factor(self, step: int, num_steps: int) -> float:
        """Return the factor at optimizer step `step` of `num_steps`, counted from 0."""
        return float((1 - step / num_steps) ** self.power)
