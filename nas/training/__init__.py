"""Layer 3: a network, a recipe and data become an Outcome."""

from nas.training.data import Part, Split, split_data
from nas.training.fit import METRICS, Goal, train

__all__ = ["METRICS", "Goal", "Part", "Split", "split_data", "train"]
