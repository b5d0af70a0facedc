"""Layer 1: the exact test of whether a classifier is better than the majority class (docs/method.md, "Trainings that fail")."""

from __future__ import annotations

from nas.errors import UserError

CHANCE_LEVEL = 0.01


def above_chance(num_correct: int, num_examples: int, majority_share: float) -> bool:
    """Say whether an accuracy lies above the majority class's share, by an exact one-sided binomial test at .01.

    A training whose final accuracy does not is an algorithmic failure: it is scored at `majority_share` and never dropped.

    Raises:
        UserError: where the counts or the share cannot be.
    """
    if not 0 <= num_correct <= num_examples or num_examples < 1 or not 0 < majority_share <= 1:
        raise UserError(
            f"chance rule: needs 0 <= correct <= examples, 1 or more examples and a share in (0, 1]; got {num_correct} of "
            f"{num_examples} at share {majority_share}; give the counts of the split that is scored"
        )
    if majority_share == 1:
        return False
    from scipy import stats  # imported late: it takes most of a second

    test = stats.binomtest(num_correct, num_examples, majority_share, alternative="greater")
    return float(test.pvalue) < CHANCE_LEVEL
