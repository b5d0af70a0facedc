"""Pictures of stripes."""

from __future__ import annotations

import torch

from nas.plugin import Count, Data, DataSet, Fraction, plugin


@plugin("stripes")
class Stripes(DataSet):
    """Pictures with stripes that lie, stand or slant, under noise."""

    def __init__(self, *, examples: Count = 300, size: Count = 8, noise: Fraction = 0.5) -> None:
        self.num_examples, self.size, self.noise = examples, size, noise

    def load(self) -> Data:
        """Return inputs (N, 1, size, size) float32 and targets (N,) int64."""
        rows, columns = torch.meshgrid(torch.arange(self.size), torch.arange(self.size), indexing="ij")
        patterns = torch.stack([rows % 2, columns % 2, (rows + columns) // 2 % 2]).float()
        targets = torch.arange(self.num_examples) % len(patterns)
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn(self.num_examples, self.size, self.size, generator=generator)
        inputs = patterns[targets] + self.noise * noise
        return Data(inputs=inputs[:, None], targets=targets, classes=("lying", "standing", "slanting"))
