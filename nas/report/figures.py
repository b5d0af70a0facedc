"""Layer 4: the figures of a measurement for a paper, as PNG and SVG through matplotlib."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.report.reading import names_of
from nas.report.scene import Scene, by_replicate, jitter, layout, trend
from nas.report.words import by_name, level_text
from nas.values.effects import Effects
from nas.values.records import StudyRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette, told apart by eyes with any colour vision; marks differ in shape too.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKS = ("o", "s", "D", "^", "v")
_STYLE: Any = {  # matplotlib types its settings by a literal of all their names
    "font.family": "sans-serif",
    "font.size": 8,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 7,
    "svg.hashsalt": "nas",
}


def write_figures(record: StudyRecord, effects: Effects | None, folder: Path) -> tuple[Path, ...]:
    """Write `effect_by_depth` and `forest`, each as PNG (300 dpi) and SVG, into `folder`.

    Returns the paths written; none without effects, for a search alone has no effect to draw, nor for an ablation.
    """
    if effects is None or not effects.at or record.changes:
        return ()
    import matplotlib

    scene = Scene.of(record, effects, names_of(record))
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    with matplotlib.rc_context(_STYLE):
        for name, figure in (("effect_by_depth", _effect_by_depth(scene)), ("forest", _forest(scene))):
            for suffix in ("png", "svg"):
                path = folder / f"{name}.{suffix}"
                # Without a date, equal records give equal files.
                figure.savefig(path, dpi=300, bbox_inches="tight", metadata={"Date": None} if suffix == "svg" else None)
                written.append(path)
    return tuple(written)


def _effect_by_depth(scene: Scene) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.5, 2.7), layout="constrained")
    axes = figure.add_subplot()
    axis, places, doublings = layout(scene.effects)
    scale, where = scene.unit.scale, dict(zip(scene.effects.at, places, strict=True))
    if doublings:
        axes.set_xscale("log", base=2)
    axes.set_xlim(axis.low, axis.high)
    axes.minorticks_off()
    axes.set_xticks([place for place, _ in axis.ticks], [name.removesuffix(" layers") for _, name in axis.ticks])
    axes.axhspan(
        -scene.shown_delta, scene.shown_delta, color="0.92", lw=0, label=f"within ±{scene.unit.size(scene.effects.smallest_effect)}"
    )
    axes.axhline(0, color="0.2", lw=0.6)
    for arm, level in enumerate(scene.effects.levels):
        colour = COLOURS[arm % len(COLOURS)]
        shift = (arm - (len(scene.effects.levels) - 1) / 2) * 0.04
        for pair in scene.of_level(level):
            x = _beside(axis, where[pair.at], shift + 0.025 * jitter(pair.replicate))
            mark = "x" if pair.failed else "o"
            axes.plot(x, pair.difference * scale, mark, color=colour, ms=2.2, mew=0.5, alpha=0.4, zorder=2)
        for effect in scene.effects.at_each:
            if effect.level == level and effect.at is not None and effect.mean is not None:
                _interval(axes, scene, effect, _beside(axis, where[effect.at], shift), colour, MARKS[arm % len(MARKS)])
        axes.plot([], [], MARKS[arm % len(MARKS)], color=colour, ms=4, label=level_text(level))
        for slope in scene.effects.slopes if doublings else ():
            line = trend(scene.effects, slope, places) if slope.level == level else []
            axes.plot([x for x, _ in line], [y * scale for _, y in line], "--", color=colour, lw=0.7)
    axes.set_xlabel("weight layers" if all(name.endswith(" layers") for _, name in axis.ticks) else by_name(scene.effects))
    axes.set_ylabel(_label(scene))
    axes.legend(loc="best")
    return figure


def _forest(scene: Scene) -> Figure:
    from matplotlib.figure import Figure

    levels, scale = scene.effects.levels, scene.unit.scale
    rows = max((len(by_replicate(scene, level)) for level in levels), default=1)
    figure = Figure(figsize=(3.5 * max(len(levels), 1), 0.9 + 0.16 * (rows + 2)), layout="constrained")
    for arm, level in enumerate(levels):
        axes, colour = figure.add_subplot(1, len(levels), arm + 1), COLOURS[arm % len(COLOURS)]
        axes.axvspan(-scene.shown_delta, scene.shown_delta, color="0.92", lw=0)
        axes.axvline(0, color="0.2", lw=0.6)
        found = by_replicate(scene, level)
        for i, line in enumerate(found):
            ends = [pair.difference * scale for pair in line.pairs]
            axes.plot([min(ends), max(ends)], [i, i], "-", color=colour, lw=0.6, alpha=0.6)
            for pair in line.pairs:
                axes.plot(pair.difference * scale, i, "x" if pair.failed else "o", color=colour, ms=2.5, mew=0.6, alpha=0.5)
            if line.mean is not None:
                axes.plot(line.mean * scale, i, "|", color=colour, ms=8, mew=1.4)
        for effect in scene.effects.overall:
            if effect.level == level and effect.mean is not None:
                if effect.interval:
                    axes.plot([effect.interval.low * scale, effect.interval.high * scale], [rows + 0.4] * 2, "-", color="0.1")
                axes.plot(effect.mean * scale, rows + 0.4, "D", color="0.1", ms=5)
        axes.set_yticks([*range(len(found)), rows + 0.4], [*(str(line.replicate) for line in found), "θ"])
        axes.set_ylim(rows + 1.1, -0.8)
        axes.set_xlabel(_label(scene))
        axes.set_title(level_text(level), fontsize=8)
        if arm == 0:
            axes.set_ylabel("replicate")
    return figure


def _interval(axes: Axes, scene: Scene, effect: Any, x: float, colour: str, mark: str) -> None:
    scale = scene.unit.scale
    if effect.interval:
        ends = [effect.interval.low * scale, effect.interval.high * scale]
        axes.plot([x, x], ends, "-", color=colour, lw=1.1, zorder=3)
    axes.plot(x, effect.mean * scale, mark, color=colour, ms=4.5, mec="white", mew=0.6, zorder=4)


def _label(scene: Scene) -> str:
    unit = f" ({scene.unit.name})" if scene.unit.name else ""
    return f"difference from {scene.reference}{unit}"


def _beside(axis: Any, place: float, share: float) -> float:
    """Move a place by a share of the axis, along its own scale."""
    if axis.log:
        return float(place * (axis.high / axis.low) ** share)
    return float(place + (axis.high - axis.low) * share)
