"""A small classifier of scikit-learn's digits: its last hidden layer is where made and real pictures are compared."""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..data.digits import Digits

SHAPE = (1, 8, 8)
NUM_FEATURES = 24
_SEED, _EPOCHS, _BATCH = 0, 8, 64


@lru_cache(maxsize=2)
def digits_judge(device: str) -> nn.Module:
    """Return the features of a classifier that was trained on all labelled digits, the same in every process.

    (B, 1, 8, 8) in standardised units -> (B, 24). It is trained in about two seconds, by a seed of its own.
    """
    data = Digits().load()
    assert isinstance(data.inputs, Tensor)
    inputs = (data.inputs - data.inputs.mean()) / data.inputs.std()
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.default_generator.manual_seed(_SEED)  # an accelerator's generator is in the middle of a training
        features = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, padding=1), nn.ReLU(),
            nn.Flatten(), nn.Linear(512, NUM_FEATURES), nn.Tanh(),
        )  # fmt: skip
        head = nn.Linear(NUM_FEATURES, data.num_classes)
        optimizer = torch.optim.Adam([*features.parameters(), *head.parameters()], 2e-3)
        for _ in range(_EPOCHS):
            for rows in torch.randperm(len(inputs)).split(_BATCH):
                optimizer.zero_grad()
                F.cross_entropy(head(features(inputs[rows])), data.targets[rows]).backward()
                optimizer.step()
    return features.requires_grad_(False).eval().to(device)
