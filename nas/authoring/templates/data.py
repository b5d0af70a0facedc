"""A data set: load() returns all of it, splitting and normalising are the framework's work."""

from __future__ import annotations

import torch

from nas.plugin import Count, Data, DataSet, plugin


@plugin("my_plugin")
class MyPlugin(DataSet):
    """Pictures of noise in four classes, told apart by the quarter that is brighter; put your own in their place."""

    def __init__(self, *, examples: Count = 400, size: Count = 8) -> None:
        self.num_examples, self.size = examples, size

    def load(self) -> Data:
        """Return inputs (N, 1, size, size) float32 and targets (N,) int64."""
        generator = torch.Generator().manual_seed(0)  # loading again must give the same
        inputs = torch.rand(self.num_examples, 1, self.size, self.size, generator=generator)
        targets = torch.arange(self.num_examples) % 4
        half = self.size // 2
        for quarter in range(4):
            rows, columns = divmod(quarter, 2)
            inputs[targets == quarter, :, rows * half : (rows + 1) * half, columns * half : (columns + 1) * half] += 0.5
        return Data(inputs=inputs, targets=targets, classes=("top left", "top right", "bottom left", "bottom right"))
