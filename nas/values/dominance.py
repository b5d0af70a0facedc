"""Layer 1: which of several points no other one beats, in one figure or in many."""

from __future__ import annotations

from collections.abc import Sequence


def undominated(points: Sequence[Sequence[float]]) -> tuple[int, ...]:
    """Return the places of the points that no other one beats, larger being better: the largest first figure first.

    A point is beaten by one that is at least its equal in every figure and better in one. Of points that are equal in all the
    first stands for all, so that with a single figure one place is returned: that of the best.
    """
    front: list[int] = []
    # In this order nothing that comes later can beat what came before; and of two figures, the last of the front has the largest second.
    num_rivals = 1 if points and len(points[0]) <= 2 else len(points)
    for place in sorted(range(len(points)), key=lambda i: ([-figure for figure in points[i]], i)):
        if not any(all(a >= b for a, b in zip(points[other], points[place], strict=True)) for other in front[-num_rivals:]):
            front.append(place)
    return tuple(front)
