"""Handwritten digits from scikit-learn's own files: real pictures without a download."""

from __future__ import annotations

from typing import ClassVar

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


@plugin("digit_pictures")
class DigitPictures(DataSet):
    """The same 1,797 pictures of handwritten digits without their labels, for networks that make such pictures."""

    tasks: ClassVar[tuple[str, ...]] = ("generation",)

    def load(self) -> Data:
        """Return the pictures, (1797, 1, 8, 8), as inputs and as targets."""
        pictures = Digits().load().inputs
        assert isinstance(pictures, torch.Tensor)
        return Data(pictures, pictures.clone())
