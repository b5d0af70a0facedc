"""Layer 4: charts as SVG that fits any width: positions across are percentages, so nothing is scaled, text least of all.

Only the plot area is an SVG; its labels hang out of it into margins that the style sheet keeps free. Lines and bands are
stretched to the width with strokes that are not. Colours are classes (`c0`, `c1` …), so the style sheet owns light and dark.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from markupsafe import Markup, escape

Point = tuple[float, float]
_SHAPES = {
    "cross": "M-3.2-3.2 3.2 3.2M-3.2 3.2 3.2-3.2",
    "diamond": "M0-6 6 0 0 6-6 0Z",
    "square": "M-4-4H4V4H-4Z",
    "triangle": "M0-5.2 4.8 3.6H-4.8Z",
    "down": "M0 4.4 4-3H-4Z",
    "tick": "M0-5V5",
    "bar": "M0-9V9",
}
ARM_SHAPES = ("circle", "square", "diamond", "triangle", "down")
TIP_LENGTH = 900


@dataclass(frozen=True)
class Axis:
    """A linear (or log2) scale from low to high, and the places that carry a label."""

    low: float
    high: float
    ticks: tuple[tuple[float, str], ...] = ()
    log: bool = False

    def share(self, value: float, *, hold: bool = True) -> float:
        """Return where `value` stands between low (0) and high (1); what lies beyond is held at the edge unless told not to."""
        low, high, at = (math.log2(v) for v in (self.low, self.high, value)) if self.log else (self.low, self.high, value)
        share = (at - low) / (high - low) if high > low else 0.5
        return min(max(share, 0.0), 1.0) if hold else share


def nice_axis(values: Sequence[float], *, count: int = 5, digits: int = 3, zero: bool = False) -> Axis:
    """Return a linear axis around `values` with about `count` round ticks, through zero if asked."""
    finite = [v for v in values if math.isfinite(v)] or [0.0]
    low, high = min(finite), max(finite)
    if zero:
        low, high = min(low, 0.0), max(high, 0.0)
    if high - low < 1e-12:
        low, high = low - (abs(low) or 1.0) * 0.1, high + (abs(high) or 1.0) * 0.1
    step = _step((high - low) / count)
    pad = (high - low) * 0.06
    low, high = low - pad, high + pad
    first = math.ceil(low / step)
    ticks = [k * step for k in range(first, math.floor(high / step) + 1)]
    return Axis(low, high, tuple((t, _tick_text(t, step, digits)) for t in ticks))


def count_axis(low: float, high: float, *, count: int = 6) -> Axis:
    """Return an axis of whole numbers from low to high, such as trials or epochs."""
    step = max(round(_step(max(high - low, 1) / count)), 1)
    first = math.ceil(low / step) * step
    return Axis(low, high, tuple((float(t), f"{t:,}") for t in range(first, math.floor(high) + 1, step)))


def cost_axis(values: Sequence[float], write: Callable[[float], str], *, count: int = 5, least: float = 1.0) -> Axis:
    """Return a logarithmic axis around positive numbers, with round ticks, `least` apart, in the words of `write`."""
    low, high = min(values) * 0.94, max(values) * 1.06
    if high / low > 8:
        places = [
            digit * 10.0**power for power in range(math.floor(math.log10(low)), math.floor(math.log10(high)) + 1) for digit in (1, 2, 5)
        ]
    else:
        # Two digits at most, so that a label such as 1.2M is where it says.
        least = max(10.0 ** (math.floor(math.log10(high)) - 1), least)
        step = max(_step((high - low) / count, (1, 2, 5, 10)), least)
        places = [k * step for k in range(math.ceil(low / step), math.floor(high / step) + 1)]
    shown = [place for place in places if low <= place <= high]
    every = math.ceil(len(shown) / (2 * count))
    return Axis(low, high, tuple((place, write(place)) for place in shown[::every]), log=True)


def place_axis(places: Sequence[str]) -> Axis:
    """Return an axis of named places 0, 1, 2 … with half a place of room at both ends."""
    return Axis(-0.5, len(places) - 0.5, tuple((float(i), name) for i, name in enumerate(places)))


@dataclass
class Plot:
    """One plot area. Add to it, then `render`. `left` is the room for labels beside it, in pixels."""

    x: Axis
    y: Axis
    height: int = 260
    left: int = 46
    x_title: str = ""
    y_title: str = ""
    flip: bool = False  # the first place of the y axis at the top
    grid: bool = True
    _back: list[str] = field(default_factory=list)
    _front: list[str] = field(default_factory=list)

    def line(self, points: Sequence[Point], style: str, *, of: int | None = None, tip: str = "") -> None:
        """Draw a line through points of finite value; marks that are `of` the same light it and show its tip."""
        shown = [(x, y) for x, y in points if math.isfinite(y)]
        named = "" if of is None else f' data-line="{of}" data-said="{escape(tip[:TIP_LENGTH])}"'
        if len(shown) > 1:
            self._back.append(f'<path class="l {style}"{named} d="M{self._trace(shown)}"/>')

    def steps(self, points: Sequence[Point], style: str) -> None:
        """Draw a staircase: each value holds until the next point."""
        corners = [p for (_, y), (x, z) in pairwise(points) for p in ((x, y), (x, z))]
        self.line([*points[:1], *corners], style)

    def band(self, lower: Sequence[Point], upper: Sequence[Point], style: str) -> None:
        """Fill the room between two lines."""
        if len(lower) > 1:
            self._back.append(f'<path class="b {style}" d="M{self._trace([*lower, *reversed(upper)])}Z"/>')

    def across(self, low: float, high: float, style: str) -> None:
        """Shade everything between two heights, or draw one line where they are equal."""
        top, bottom = sorted((self._y(low), self._y(high)))
        if bottom - top < 0.05:
            self._back.append(f'<path class="l {style}" d="M0 {top:.1f}H1000"/>')
        else:
            self._back.append(f'<path class="b {style}" d="M0 {top:.1f}H1000V{bottom:.1f}H0Z"/>')

    def upright(self, low: float, high: float, style: str) -> None:
        """Shade everything between two places across, or draw one line where they are equal."""
        left, right = sorted((self.x.share(low) * 1000, self.x.share(high) * 1000))
        if right - left < 0.05:
            self._back.append(f'<path class="l {style}" d="M{left:.1f} 0V{self.height}"/>')
        else:
            self._back.append(f'<path class="b {style}" d="M{left:.1f} 0H{right:.1f}V{self.height}H{left:.1f}Z"/>')

    def mark(
        self, at: Point, style: str, *, tip: str = "", shape: str = "circle", dx: float = 0, r: float = 3, of: int | None = None
    ) -> None:
        """Put a mark, `dx` pixels beside its place. `tip` is shown while it is pointed at; marks `of` a line show that one's."""
        x, y = f"{self.x.share(at[0]) * 100:.2f}%", f"{self._y(at[1]):.1f}"
        said = f' data-tip="{escape(tip[:TIP_LENGTH])}"' if tip else ""
        said += "" if of is None else f' data-of="{of}"'
        moved = f' transform="translate({dx:g})"' if dx else ""
        if shape == "circle":
            self._front.append(f'<circle class="m {style}"{said} cx="{x}" cy="{y}" r="{r:g}"{moved}/>')
        else:
            self._front.append(f'<svg x="{x}" y="{y}"><path class="m {shape} {style}"{said}{moved} d="{_SHAPES[shape]}"/></svg>')

    def whisker(self, x: float, low: float, high: float, style: str, *, dx: float = 0) -> None:
        """Draw an upright interval."""
        place, top, bottom = f"{self.x.share(x) * 100:.2f}%", self._y(high), self._y(low)
        moved = f' transform="translate({dx:g})"' if dx else ""
        path = f"M-4 {top:.1f}H4M-4 {bottom:.1f}H4M0 {top:.1f}V{bottom:.1f}"
        self._front.append(f'<svg x="{place}"><path class="w {style}"{moved} d="{path}"/></svg>')

    def span(self, low: float, high: float, y: float, style: str, *, tip: str = "", thick: float = 2) -> None:
        """Draw a bar that lies along the x axis, `thick` pixels high."""
        left, right = self.x.share(low) * 100, self.x.share(high) * 100
        said = f' data-tip="{escape(tip[:TIP_LENGTH])}"' if tip else ""
        self._front.append(
            f'<rect class="r {style}"{said} x="{left:.2f}%" width="{max(right - left, 0.15):.2f}%"'
            f' y="{self._y(y) - thick / 2:.1f}" height="{thick:g}"/>'
        )

    def text(self, at: Point, words: str, *, style: str = "", dx: float = 0, dy: float = 0, anchor: str = "start") -> None:
        """Write beside a place."""
        x, y = f"{self.x.share(at[0]) * 100:.2f}%", f"{self._y(at[1]):.1f}"
        self._front.append(
            f'<text class="t {style}" x="{x}" y="{y}" dx="{dx:g}" dy="{dy + 4:g}" text-anchor="{anchor}">{escape(words)}</text>'
        )

    def render(self, label: str) -> Markup:
        """Return the chart as markup; `label` says to a screen reader what it shows."""
        stretched = f'<svg class="s" viewBox="0 0 1000 {self.height}" preserveAspectRatio="none">{"".join(self._back)}</svg>'
        title = f'<div class="yt">{escape(self.y_title)}</div>' if self.y_title else ""
        below = 44 if self.x_title else 26
        return Markup(  # every text in it passed through escape
            f'{title}<div class="plot" style="--left:{self.left}px;--below:{below}px">'
            f'<svg role="img" aria-label="{escape(label)}" style="height:{self.height}px">'
            f"{self._axes()}{stretched}{''.join(self._front)}</svg></div>"
        )

    def _axes(self) -> str:
        parts = []
        for value, name in self.y.ticks:
            y = self._y(value)
            if self.grid:
                parts.append(f'<line class="g" x1="0" x2="100%" y1="{y:.1f}" y2="{y:.1f}"/>')
            parts.append(f'<text class="a" x="-8" y="{y + 4:.1f}" text-anchor="end">{escape(name)}</text>')
        for i, (value, name) in enumerate(self.x.ticks):
            spare = " spare" if i % 2 and len(self.x.ticks) > 5 else ""
            place = f"{self.x.share(value) * 100:.2f}%"
            parts.append(f'<text class="a{spare}" x="{place}" y="{self.height + 18}" text-anchor="middle">{escape(name)}</text>')
        parts.append(f'<line class="ax" x1="0" x2="100%" y1="{self.height}" y2="{self.height}"/>')
        if self.x_title:
            parts.append(f'<text class="xt" x="100%" y="{self.height + 36}" text-anchor="end">{escape(self.x_title)}</text>')
        return "".join(parts)

    def _y(self, value: float, *, hold: bool = True) -> float:
        share = self.y.share(value, hold=hold)
        return (share if self.flip else 1 - share) * self.height

    def _trace(self, points: Sequence[Point]) -> str:
        return "L".join(f"{self.x.share(x) * 1000:.1f} {self._y(y, hold=False):.1f}" for x, y in points)


def _step(rough: float, nice: Sequence[float] = (1, 2, 2.5, 5, 10)) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next(digit * power for digit in nice if digit * power >= rough * 0.999)


def _tick_text(value: float, step: float, digits: int) -> str:
    places = next((d for d in range(digits) if abs(step * 10**d - round(step * 10**d)) < 1e-9), digits)
    return f"{0.0 if abs(value) < step / 1e6 else value:.{places}f}".replace("-", "\N{MINUS SIGN}")
