"""Layer 4: the figures of a measurement for a paper, as PNG and SVG through matplotlib."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.report.reading import names_of
from nas.report.scene import SIDE_BY_SIDE, Scene, by_replicate, jitter, layout, trend
from nas.report.unfolding import MEANING, Unfolding
from nas.report.words import Unit, by_name, level_text
from nas.values.effects import Effects
from nas.values.records import StudyRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette, told apart by eyes with any colour vision; marks differ in shape too.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKS = ("o", "s", "D", "^", "v")
MOST_ACROSS, MOST_EPOCHS = 3, 200
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
    """Write `effect`, `forest` and, where curves were recorded, `curves`, each as PNG (300 dpi) and SVG, into `folder`.

    Returns the paths written; none without effects, for a search alone has no effect to draw, nor for an ablation.
    """
    if effects is None or not effects.at or record.changes:
        return ()
    import matplotlib

    scene = Scene.of(record, effects, names_of(record))
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    with matplotlib.rc_context(_STYLE):
        unfolding = Unfolding.of(scene)
        drawn = {"effect": _effect(scene), "forest": _forest(scene)} | ({"curves": _curves(scene, unfolding)} if unfolding else {})
        for name, figure in drawn.items():
            for suffix in ("png", "svg"):
                path = folder / f"{name}.{suffix}"
                # Without a date, equal records give equal files.
                figure.savefig(path, dpi=300, bbox_inches="tight", metadata={"Date": None} if suffix == "svg" else None)
                written.append(path)
    return tuple(written)


def _effect(scene: Scene) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(max(3.5, 0.75 * len(scene.effects.at)), 2.7), layout="constrained")
    axes = figure.add_subplot()
    axis, places, doublings = layout(scene.effects)
    scale, where = scene.unit.scale, dict(zip(scene.effects.at, places, strict=True))
    if doublings:
        axes.set_xscale("log", base=2)
    axes.set_xlim(axis.low, axis.high)
    axes.minorticks_off()
    # A cell of several decisions has a line for each.
    names = [name.removesuffix(" layers").replace(SIDE_BY_SIDE, "\n") for _, name in axis.ticks]
    axes.set_xticks([place for place, _ in axis.ticks], names)
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


def _curves(scene: Scene, unfolding: Unfolding) -> Figure:
    from matplotlib.figure import Figure

    shown = [at for at in scene.effects.at if any(at == key[1] for key in unfolding.curves)]
    figure = Figure(figsize=(min(2.1 * len(shown) + 0.8, 7.2), 2.3 * math.ceil(len(shown) / MOST_ACROSS) + 0.2), layout="constrained")
    grid = figure.subplots(math.ceil(len(shown) / MOST_ACROSS), min(len(shown), MOST_ACROSS), sharex=True, sharey=True, squeeze=False)
    scale, places = unfolding.unit.scale, list(grid.flat)
    for axes, at in zip(places, shown, strict=False):
        axes.axhline(0, color="0.2", lw=0.6)
        for arm, level in enumerate(scene.effects.levels):
            colour, row = COLOURS[arm % len(COLOURS)], unfolding.moments(level, at, most=MOST_EPOCHS)
            axes.plot([m.epoch for m in row], [m.mean * scale for m in row], "-", color=colour, lw=1.2, label=level_text(level))
            band = [(m.epoch, m.low * scale, m.high * scale) for m in row if m.low is not None and m.high is not None]
            axes.fill_between([e for e, *_ in band], [v for _, v, _ in band], [v for *_, v in band], color=colour, alpha=0.2, lw=0)
        axes.set_title(scene.at(at), fontsize=8)
        axes.xaxis.get_major_locator().set_params(integer=True)
    for spare in places[len(shown) :]:
        spare.set_visible(False)
    places[0].legend(loc="best")
    figure.supxlabel("epoch", fontsize=8)
    figure.supylabel(f"{unfolding.name}: {_label(scene, unfolding.unit)}", fontsize=8)
    figure.suptitle(f"Mean over replicates; band: {MEANING}", fontsize=6, wrap=True)
    return figure


def _interval(axes: Axes, scene: Scene, effect: Any, x: float, colour: str, mark: str) -> None:
    scale = scene.unit.scale
    if effect.interval:
        ends = [effect.interval.low * scale, effect.interval.high * scale]
        axes.plot([x, x], ends, "-", color=colour, lw=1.1, zorder=3)
    axes.plot(x, effect.mean * scale, mark, color=colour, ms=4.5, mec="white", mew=0.6, zorder=4)


def _label(scene: Scene, unit: Unit | None = None) -> str:
    name = (unit or scene.unit).name
    return f"difference from {scene.reference}{f' ({name})' if name else ''}"


def _beside(axis: Any, place: float, share: float) -> float:
    """Move a place by a share of the axis, along its own scale."""
    if axis.log:
        return float(place * (axis.high / axis.low) ** share)
    return float(place + (axis.high - axis.low) * share)
