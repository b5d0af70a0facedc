"""Layer 4: the figure of what happened while twins were trained: their difference, epoch by epoch (docs/method.md, "While it trains")."""

from __future__ import annotations

from markupsafe import Markup

from nas.report.effect_charts import arm_keys, difference_title
from nas.report.reading import At
from nas.report.scene import Scene
from nas.report.svg import Axis, Plot, count_axis, nice_axis
from nas.report.unfolding import LEAST_REPLICATES, MEANING, Moment, Unfolding
from nas.report.values import Figure, Key, Panel
from nas.report.words import level_text, plural
from nas.values.domains import Scalar

MOST_LINES = 24  # faint lines of single replicates in one panel
MOST_EPOCHS = 120


def paired_curves(scene: Scene) -> Figure | None:
    """Draw how the difference between twins unfolds over the epochs; None where no curves were recorded."""
    found = Unfolding.of(scene)
    if found is None:
        return None
    moments = {key: found.moments(*key, most=MOST_EPOCHS) for key in found.curves}
    ends = [v * found.unit.scale for row in moments.values() for m in row for v in (m.low, m.mean, m.high) if v is not None]
    axes = count_axis(1, found.last_epoch, count=4), nice_axis(ends, zero=True, count=4)
    depths = [at for at in scene.effects.at if any(at == key[1] for key in found.curves)]
    panels = tuple(Panel(scene.at(at), _panel(scene, found, moments, at, axes)) for at in depths)
    banded = any(m.low is not None for row in moments.values() for m in row)
    keys = (*arm_keys(scene, dots=False), *([Key("within c1", "area", "pointwise 95% t interval")] if banded else []))
    band = f"The band is the {MEANING}." if banded else f"With fewer than {LEAST_REPLICATES} replicates there is no band."
    caption = (
        f"{found.name} of each arm against its twin with {scene.reference}, epoch by epoch: above zero the arm is ahead. The line is "
        f"the mean over replicates. {band} Faint lines are single replicates (cut off where they leave the figure). Epochs whose "
        "value was not finite are left out, so the mean there is over the others."
    )
    return Figure(panels, keys, caption, wide=len(panels) == 1)


def _panel(scene: Scene, found: Unfolding, moments: dict[tuple[Scalar, At], tuple[Moment, ...]], at: At, axes: tuple[Axis, Axis]) -> Markup:
    unit = found.unit
    plot = Plot(*axes, height=210, x_title="epoch", y_title=difference_title(unit))
    plot.across(0, 0, "zero")
    for level in scene.effects.levels:
        curves, style, row = found.curves.get((level, at), ()), scene.style(level), moments.get((level, at), ())
        for curve in curves[:MOST_LINES]:
            points = [(float(epoch), value * unit.scale) for epoch, value in curve]
            plot.line(points[:: max(len(points) // MOST_EPOCHS, 1)], f"single {style}")
        low = [(float(m.epoch), m.low * unit.scale) for m in row if m.low is not None]
        plot.band(low, [(float(m.epoch), m.high * unit.scale) for m in row if m.high is not None], style)
        plot.line([(float(m.epoch), m.mean * unit.scale) for m in row], f"strong {style}")
        for m in row:
            span = f", {unit.signed(m.low)} to {unit.signed(m.high)}" if m.low is not None else ""
            tip = f"{level_text(level)}, epoch {m.epoch}\nmean {unit.signed(m.mean)}{unit.suffix}{span}\n{plural(m.n, 'replicate')}"
            plot.mark((float(m.epoch), m.mean * unit.scale), f"ghost {style}", tip=tip, r=3.5)
    return plot.render(f"Paired difference by epoch, {scene.at(at)}")
