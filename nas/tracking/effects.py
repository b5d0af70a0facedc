"""Layer 3: effects as metrics of the study's run, with the depth as step, so that MLflow draws effect by depth."""

from __future__ import annotations

from collections.abc import Iterator

from nas.tracking.entries import Point
from nas.tracking.keys import safe_key, safe_keys
from nas.values.architecture import write
from nas.values.domains import Scalar
from nas.values.effects import Effects, Estimate, slug_of


def effect_points(effects: Effects, timestamp_ms: int, *, scale: float = 100.0) -> tuple[Point, ...]:
    """Return `effect/LEVEL`, `effect/LEVEL low` and `effect/LEVEL high` by step, the same of `effect_overall`, `effect_per_doubling`.

    MLflow draws what has the same name before the slash beside each other.
    Values are percentage points, or with `scale` 1 as they stand. What was refused (no interval, no mean) has no point. Another
    estimand than the plain effect has its own name in place of `effect`: `tuned_effect/…`, `parameter_matched_effect/…`.
    """
    name = slug_of(effects.estimand)
    steps = dict(zip(effects.at, step_axis(effects)[1], strict=True))
    everything = (*effects.at_each, *effects.overall, *effects.slopes)
    levels = safe_keys(_plain(estimate.level) for estimate in everything)
    points: list[Point] = []
    for kind, estimates in (
        (name, effects.at_each),
        (f"{name}_overall", effects.overall),
        (f"{name}_per_doubling", effects.slopes),
    ):
        for estimate in estimates:
            step = steps[estimate.at] if kind == name and estimate.at is not None else 0
            level = levels[_plain(estimate.level)]
            points += [Point(f"{kind}/{level}{part}", figure, step, timestamp_ms) for part, figure in _figures(estimate, scale)]
    for contrast in effects.contrasts:
        points += effect_points(contrast.effects, timestamp_ms, scale=scale)
        for found in contrast.mismatches:
            points.append(Point(f"{contrast.quantity}_mismatch/{safe_key(_plain(found.level))}", 100 * found.worst, 0, timestamp_ms))
    return tuple(points)


def step_axis(effects: Effects) -> tuple[str, tuple[int, ...]]:
    """Return what the step of an effect counts and its value at each of `effects.at`.

    That is `num_layers` where it tells the cells apart, else the value of the one numeric `by` decision, else the number of the
    cell in the table's order: `cell: 0 narrow × 1, 1 narrow × 9`.
    """
    layers = [count for count in effects.num_layers if count is not None]
    if len(set(layers)) == len(effects.at):
        return "num_layers", tuple(layers)
    values = [at[0] for at in effects.at if len(at) == 1]
    whole = [int(value) for value in values if isinstance(value, int | float) and value == int(value)]
    if len(effects.by) == 1 and len(whole) == len(effects.at):
        return effects.by[0], tuple(whole)
    cells = (f"{number} {' × '.join(write(value) for value in at) or 'all'}" for number, at in enumerate(effects.at))
    return f"cell: {', '.join(cells)}", tuple(range(len(effects.at)))


def _figures(estimate: Estimate, scale: float) -> Iterator[tuple[str, float]]:
    if estimate.mean is not None:
        yield "", scale * estimate.mean
    if estimate.interval is not None:
        yield " low", scale * estimate.interval.low
        yield " high", scale * estimate.interval.high


def _plain(level: Scalar) -> str:
    # A slash would put the level into a group of its own in the chart view.
    return write(level).replace("/", "_")
