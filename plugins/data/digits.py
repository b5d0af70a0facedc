"""Handwritten digits from scikit-learn's own files: real pictures without a download."""

from __future__ import annotations

import torch

from nas.plugin import Data, DataSet, plugin


@plugin("digits")
class Digits(DataSet):
    """1,797 handwritten digits of 8×8 pixels in 10 classes (UCI ML repository, Alpaydin and Kaynak 1998)."""

    def load(self) -> Data:
        """Return inputs (1797, 1, 8, 8) in 0..1 and targets (1797,)."""
        from sklearn.datasets import load_digits  # imported late: it takes most of a second

        bunch = load_digits()
        return Data(
            inputs=torch.tensor(bunch.images, dtype=torch.float32).unsqueeze(1) / 16,
            targets=torch.tensor(bunch.target, dtype=torch.int64),
            classes=tuple(str(name) for name in bunch.target_names),
        )
