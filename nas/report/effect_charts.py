"""Layer 4: the figures of a measurement: effect by depth, replicates one by one, paired differences while training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median, quantiles

from markupsafe import Markup

from nas.report.reading import At, curve_name, curve_of
from nas.report.scene import Scene, by_replicate, jitter, layout, trend
from nas.report.svg import Axis, Plot, Point, count_axis, nice_axis
from nas.report.values import Figure, Key, Panel
from nas.report.words import ABSENT, Unit, by_name, level_text, listing, plural
from nas.values.domains import Scalar

MOST_LINES = 24  # faint lines of single replicates in one panel
MOST_EPOCHS = 120
Curve = list[Point]


def effect_by_depth(scene: Scene) -> Figure:
    """Draw each arm's effect at each depth with its simultaneous interval, over the single replicates."""
    effects, unit, delta = scene.effects, scene.unit, scene.shown_delta
    axis, places, doublings = layout(effects)
    where = dict(zip(effects.at, places, strict=True))
    ends = [v for e in effects.at_each if e.interval for v in (e.interval.low, e.interval.high)]
    ends += [pair.difference for pair in scene.pairs] + [e.mean for e in effects.at_each if e.mean is not None]
    y = nice_axis([v * unit.scale for v in ends] + [delta, -delta], zero=True)
    plot = Plot(axis, y, height=380, y_title=f"{_difference(unit)} · above zero: better than {scene.reference}")
    plot.across(-delta, delta, "delta")
    plot.across(0, 0, "zero")
    for slope in effects.slopes if doublings else ():
        line = [(x, v * unit.scale) for x, v in trend(effects, slope, places)]
        plot.line(line, f"trend {scene.style(slope.level)}")
    _replicate_dots(plot, scene, where)
    _interval_marks(plot, scene, where)
    chart = plot.render(f"Effect of {effects.factor}{f' by {by_name(effects)}' if effects.by else ''}")
    return Figure((Panel("", chart),), _arm_keys(scene, dots=True), _effect_caption(scene, doublings))


def forest(scene: Scene) -> Figure:
    """Draw every replicate of each arm: its depths, their mean, and under them the effect with its interval."""
    effects, unit = scene.effects, scene.unit
    ends = [pair.difference for pair in scene.pairs]
    ends += [v for e in effects.overall if e.interval for v in (e.interval.low, e.interval.high)]
    x = nice_axis([v * unit.scale for v in ends] + [scene.shown_delta, -scene.shown_delta], zero=True)
    several = len(effects.levels) > 1
    panels = [Panel(level_text(v) if several else "", _forest_panel(scene, v, x)) for v in effects.levels]
    keys = [Key(f"c1 {_shade(scene, at)}", "circle", scene.at(at)) for at in effects.at]
    if len(effects.at) > 1:
        keys.append(Key("c1", "bar", f"mean over {by_name(effects)}"))
    if any(pair.failed for pair in scene.pairs):
        keys.append(Key("c1", "cross", "a training failed"))
    keys.append(Key("ink", "diamond", "effect θ, 95% interval"))
    caption = (
        "One line a replicate: its own draw of everything that is not measured, its own seed and its own split; the largest "
        f"difference first. {_wins_text(scene)} The diamond is their mean with its interval, on which the verdict rests."
    )
    return Figure(tuple(panels), tuple(keys), caption, wide=not several)


def paired_curves(scene: Scene) -> Figure | None:
    """Draw how the difference between twins unfolds over the epochs; None where no curves were recorded."""
    name = curve_name(scene.record, [t for pair in scene.pairs for t in (pair.arm, pair.reference)])
    unit, sign = Unit.of(name), -1.0 if "loss" in name or "error" in name else 1.0
    found: dict[tuple[Scalar, At], list[Curve]] = {}
    for pair in scene.pairs:
        twins = zip(curve_of(pair.arm, name), curve_of(pair.reference, name), strict=False)
        points = [(float(e), sign * (a - b) * unit.scale) for e, (a, b) in enumerate(twins, 1) if math.isfinite(a - b)]
        if points:
            found.setdefault((pair.level, pair.at), []).append(points)
    if not found:
        return None
    y = nice_axis([v for curves in found.values() for _, *band in _bands(curves) for v in band], zero=True, count=4)
    x = count_axis(1, max(e for curves in found.values() for c in curves for e, _ in c), count=4)
    depths = [at for at in scene.effects.at if any(at == key[1] for key in found)]
    panels = tuple(Panel(scene.at(at), _curves_panel(scene, found, at, (x, y), unit)) for at in depths)
    caption = (
        f"{name} of each arm against its twin with {scene.reference}, epoch by epoch: above zero the arm is ahead. The line is "
        "the median over replicates, the band holds their middle half, faint lines are single replicates (cut off where they "
        "leave the figure). The band describes what happened; it is no interval for the effect. Epochs whose value was not "
        "finite are left out."
    )
    return Figure(panels, _arm_keys(scene, dots=False), caption, wide=len(panels) == 1)


def _replicate_dots(plot: Plot, scene: Scene, where: dict[At, float]) -> None:
    wide = 11 if len(scene.effects.levels) > 1 else 26
    for pair in scene.pairs:
        dx = round(_dodge(scene, pair.level) + wide * jitter(pair.replicate), 1)
        point = (where[pair.at], pair.difference * scene.unit.scale)
        shape = "cross" if pair.failed else "circle"
        plot.mark(point, f"faint {scene.style(pair.level)}", tip=scene.tip(pair), shape=shape, dx=dx, r=2.6)


def _interval_marks(plot: Plot, scene: Scene, where: dict[At, float]) -> None:
    unit, scale = scene.unit, scene.unit.scale
    crowded = len(scene.effects.levels) > 2 or len(where) > 5
    for effect in scene.effects.at_each:
        if effect.at is None or effect.mean is None:
            continue
        dx, place = _dodge(scene, effect.level), where[effect.at]
        if effect.interval:
            low, high = effect.interval.low * scale, effect.interval.high * scale
            plot.whisker(place, low, high, scene.style(effect.level), dx=dx)
        said = f"{level_text(effect.level)} against {scene.reference}, {scene.at(effect.at)}"
        numbers = f"{unit.signed(effect.mean)}{unit.suffix} {unit.interval(effect.interval)}"
        tip = f"{said}\n{numbers}\n{effect.verdict}\n{plural(effect.n, 'replicate')}"
        at = (place, effect.mean * scale)
        plot.mark(at, f"mean {scene.style(effect.level)}", tip=tip, shape=scene.shape(effect.level), dx=dx, r=5)
        if not crowded:
            left = len(scene.effects.levels) == 2 and effect.level == scene.effects.levels[0]
            side, anchor = (dx - 12, "end") if left else (dx + 12, "start")
            plot.text(
                at, unit.signed(effect.mean), style="value several" if len(scene.effects.levels) > 1 else "value", dx=side, anchor=anchor
            )


def _forest_panel(scene: Scene, level: Scalar, x: Axis) -> Markup:
    scale, rows = scene.unit.scale, by_replicate(scene, level)
    pitch = 22 if len(rows) <= 30 else 12
    every = 1 if len(rows) <= 30 else 5
    names = [(float(i), f"{row.replicate}") for i, row in enumerate(rows) if i % every == 0] + [(len(rows) + 0.3, "θ")]
    y = Axis(-0.8, len(rows) + 0.9, tuple(names))
    plot = Plot(x, y, int(pitch * (len(rows) + 2)), left=34, flip=True, grid=False, x_title=_difference(scene.unit))
    plot.y_title = "replicate"
    plot.upright(-scene.shown_delta, scene.shown_delta, "delta")
    plot.upright(0, 0, "zero")
    style = scene.style(level)
    for i, row in enumerate(rows):
        ends = [pair.difference * scale for pair in row.pairs]
        plot.span(min(ends), max(ends), i, f"thin {style}", thick=1.2)
        for pair in row.pairs:
            look = f"{style} {_shade(scene, pair.at)}"
            at = (pair.difference * scale, float(i))
            plot.mark(at, look, tip=scene.tip(pair), shape="cross" if pair.failed else "circle", r=3.6)
        if len(row.pairs) > 1 and row.mean is not None:
            plot.mark((row.mean * scale, float(i)), style, shape="bar")
    for effect in scene.effects.overall:
        if effect.level == level and effect.mean is not None:
            if effect.interval:
                low, high = effect.interval.low * scale, effect.interval.high * scale
                plot.span(low, high, len(rows) + 0.3, "ink", thick=2)
            tip = f"effect θ\n{scene.unit.signed(effect.mean)} {scene.unit.interval(effect.interval)}\n{effect.verdict}"
            plot.mark((effect.mean * scale, len(rows) + 0.3), "ink", shape="diamond", tip=tip)
    return plot.render(f"Replicates of {level_text(level)} against {scene.reference}")


def _curves_panel(scene: Scene, found: dict[tuple[Scalar, At], list[Curve]], at: At, axes: tuple[Axis, Axis], unit: Unit) -> Markup:
    plot = Plot(*axes, height=210, x_title="epoch", y_title=_difference(unit))
    plot.across(0, 0, "zero")
    for level in scene.effects.levels:
        curves, style = found.get((level, at), []), scene.style(level)
        for curve in curves[:MOST_LINES]:
            plot.line(curve[:: max(len(curve) // MOST_EPOCHS, 1)], f"single {style}")
        bands = _bands(curves)
        plot.band([(e, low) for e, low, _, _ in bands], [(e, high) for e, _, _, high in bands], style)
        plot.line([(e, middle) for e, _, middle, _ in bands], f"strong {style}")
        for e, *cuts in bands:
            low, middle, high = (unit.signed(v / unit.scale) for v in cuts)
            tip = f"{level_text(level)}, epoch {e:.0f}\nmedian {middle}{unit.suffix}, middle half {low} to {high}"
            plot.mark((e, cuts[1]), f"ghost {style}", tip=f"{tip}\n{plural(len(curves), 'replicate')}", r=3.5)
    return plot.render(f"Paired difference by epoch, {scene.at(at)}")


def _arm_keys(scene: Scene, *, dots: bool) -> tuple[Key, ...]:
    keys = [Key(scene.style(v), scene.shape(v) if dots else "line", level_text(v)) for v in scene.effects.levels]
    if dots:
        keys.append(Key("faint c1", "circle", "one replicate"))
        if any(pair.failed for pair in scene.pairs):
            keys.append(Key("faint c1", "cross", "one in which a training failed"))
        keys.append(Key("delta", "area", f"within ±{scene.unit.size(scene.effects.smallest_effect)}, too small to matter"))
    return tuple(keys)


def _effect_caption(scene: Scene, doublings: bool) -> str:
    effects, unit = scene.effects, scene.unit
    told = []
    for level in effects.levels:
        known = [(e.mean, e.at) for e in effects.at_each if e.level == level and e.mean is not None and e.at is not None]
        if len(known) > 1:
            (low, at_low), (high, at_high) = min(known), max(known)
            told.append(
                f"{level_text(level)} goes from {unit.signed(low)} ({scene.at(at_low)}) to {unit.signed(high)} ({scene.at(at_high)})"
            )
    confidence = next((e.interval.confidence for e in effects.at_each if e.interval), None)
    seen = f"Seen here: {listing(told)}. " if told else ""
    held = "their intervals hold together with 95% confidence"
    each = f" (each at {confidence * 100:.1f}%)" if confidence and confidence > 0.95 else ""
    line = " The dashed line has the slope β." if doublings and any(s.mean is not None for s in effects.slopes) else ""
    return (
        f"{seen}Large marks are mean differences against {scene.reference}; {held}{each}. Small marks are single replicates. "
        f"Inside the shaded band a difference is smaller than the declared {unit.size(effects.smallest_effect)}.{line}"
    )


def _wins_text(scene: Scene) -> str:
    told, missing = [], 0
    for level in scene.effects.levels:
        lines = by_replicate(scene, level)
        means = [line.mean for line in lines if line.mean is not None]
        missing += len(lines) - len(means)
        middle = scene.unit.signed(median(means)) if means else ABSENT
        told.append(f"{level_text(level)} is ahead in {sum(mean > 0 for mean in means)} of {len(means)} (median {middle})")
    left_out = "A line without a mean misses a cell and is not part of θ. " if missing else ""
    return f"{listing(told)}. {left_out}".strip()


def _shade(scene: Scene, at: At) -> str:
    depths = len(scene.effects.at)
    return f"d{round(4 * scene.effects.at.index(at) / (depths - 1))}" if depths > 1 else "d4"


def _dodge(scene: Scene, level: Scalar) -> float:
    return (scene.effects.levels.index(level) - (len(scene.effects.levels) - 1) / 2) * 20


def _difference(unit: Unit) -> str:
    return f"difference, {unit.name}" if unit.name else "difference"


def _bands(curves: Sequence[Curve]) -> list[tuple[float, float, float, float]]:
    """Return (epoch, first quartile, median, third quartile) over the curves, for a hundred epochs or so."""
    by_epoch: dict[float, list[float]] = {}
    for curve in curves:
        for epoch, value in curve:
            by_epoch.setdefault(epoch, []).append(value)
    epochs = sorted(by_epoch)
    bands = []
    for epoch in epochs[:: max(len(epochs) // MOST_EPOCHS, 1)]:
        values = by_epoch[epoch]
        first, _, third = quantiles(values, n=4, method="inclusive") if len(values) > 1 else (values[0],) * 3
        bands.append((epoch, first, median(values), third))
    return bands
