"""Layer 4: the figures of a measurement: the effect by depth, or whatever it is told apart by, and the replicates one by one."""

from __future__ import annotations

from statistics import median

from markupsafe import Markup

from nas.report.reading import At
from nas.report.scene import Scene, by_replicate, jitter, layout, trend
from nas.report.svg import Axis, Plot, nice_axis
from nas.report.values import Figure, Key, Panel
from nas.report.words import ABSENT, Unit, by_name, level_text, listing, plural
from nas.values.domains import Scalar


def effect_by(scene: Scene) -> Figure:
    """Draw each arm's effect at each depth (or cell of `by`) with its simultaneous interval, over the single replicates."""
    effects, unit, delta = scene.effects, scene.unit, scene.shown_delta
    axis, places, doublings = layout(effects)
    where = dict(zip(effects.at, places, strict=True))
    ends = [v for e in effects.at_each if e.interval for v in (e.interval.low, e.interval.high)]
    ends += [pair.difference for pair in scene.pairs] + [e.mean for e in effects.at_each if e.mean is not None]
    y = nice_axis([v * unit.scale for v in ends] + [delta, -delta], zero=True)
    several = by_name(effects) if len(effects.by) > 1 else ""
    plot = Plot(axis, y, height=380, x_title=several, y_title=f"{difference_title(unit)} · above zero: better than {scene.reference}")
    plot.across(-delta, delta, "delta")
    plot.across(0, 0, "zero")
    for slope in effects.slopes if doublings else ():
        line = [(x, v * unit.scale) for x, v in trend(effects, slope, places)]
        plot.line(line, f"trend {scene.style(slope.level)}")
    _replicate_dots(plot, scene, where)
    _interval_marks(plot, scene, where)
    chart = plot.render(f"Effect of {effects.factor}{f' by {by_name(effects)}' if effects.by else ''}")
    return Figure((Panel("", chart),), arm_keys(scene, dots=True), _effect_caption(scene, doublings))


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
    plot = Plot(x, y, int(pitch * (len(rows) + 2)), left=34, flip=True, grid=False, x_title=difference_title(scene.unit))
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


def arm_keys(scene: Scene, *, dots: bool) -> tuple[Key, ...]:
    """Return the legend of the arms: as marks beside the single replicates with `dots`, else as lines."""
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


def difference_title(unit: Unit) -> str:
    """Name an axis of differences."""
    return f"difference, {unit.name}" if unit.name else "difference"
