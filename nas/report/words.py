"""Layer 4: figures and names as people read them; the one place that turns fractions into points."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from nas.values.architecture import write
from nas.values.domains import Scalar
from nas.values.effects import Effects, Interval
from nas.values.metrics import Metric, metric_of
from nas.values.outcome import SCORE_SD, CostName, Outcome
from nas.values.records import TrainingRecord

MINUS = "\N{MINUS SIGN}"
ABSENT = "–"
_TONES = {
    "helps": "good",
    "harms": "bad",
    "practically equivalent": "same",
    "grows": "good",
    "shrinks": "bad",
}


@dataclass(frozen=True)
class Unit:
    """How a metric is printed: a share of 1 as points (hundredths), a loss as it stands."""

    scale: float
    name: str
    digits: int

    @classmethod
    def of(cls, metric: Metric | str) -> Unit:
        """Return points for shares such as `val_accuracy` or `test_iou`, plain figures for all else."""
        known = metric if isinstance(metric, Metric) else metric_of(metric)
        return cls(100.0, "points", 1) if known.is_share else cls(1.0, "", 3)

    @property
    def suffix(self) -> str:
        """The name with a space before it, to stand behind a figure."""
        return f" {self.name}" if self.name else ""

    @property
    def mark(self) -> str:
        """What stands behind a level (not a difference): `%`, or nothing."""
        return "%" if self.scale == 100.0 else ""

    def level(self, value: float | None) -> str:
        """Write a mean or a score without a sign, or a dash where there is none."""
        return ABSENT if value is None else _sign(f"{value * self.scale:.{self.digits}f}")

    def size(self, value: float) -> str:
        """Write a declared size, such as the smallest effect of interest: `1 point`, `0.5 points`."""
        number = f"{value * self.scale:g}"
        return f"{number} {self.name}" if number != "1" else f"{number} {self.name.removesuffix('s')}".strip()

    def signed(self, value: float | None) -> str:
        """Write a difference with its sign, or a dash where there is none; what rounds to zero has no sign."""
        if value is None:
            return ABSENT
        written = f"{value * self.scale:+.{self.digits}f}"
        return _sign(written) if float(written) else written[1:]

    def interval(self, interval: Interval | None) -> str:
        """Write `[−0.3, +2.1]`, or a dash where the interval is refused."""
        return ABSENT if interval is None else f"[{self.signed(interval.low)}, {self.signed(interval.high)}]"


POINTS = Unit.of("accuracy")


def over_seeds(outcome: Outcome | None, unit: Unit) -> str:
    """Say over how many seeds a trial's score is the mean, and how far they lie apart: `mean of 5 seeds, sd 0.8 points`; '' for one."""
    if outcome is None or not outcome.seed_scores:
        return ""
    sd = outcome.metrics.get(SCORE_SD)
    return f"mean of {plural(len(outcome.seed_scores), 'seed')}" + ("" if sd is None else f", sd {unit.level(sd)}{unit.suffix}")


def p_text(p: float | None) -> str:
    """Write a p-value as papers do: `.012`, `<.001`, a dash where there is none."""
    if p is None:
        return ABSENT
    if p < 0.001:
        return "<.001"
    return "1.00" if p >= 0.9995 else f"{p:.3f}".removeprefix("0")


def count_text(count: float | None, *, sign: bool = False) -> str:
    """Write parameters or MACs in three digits: `270k`, `40.6M`; with `sign`, a difference: `+2.8k`, `0`."""
    if count is None:
        return ABSENT
    for limit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(count) >= limit * 0.99995:
            text = f"{count / limit:+.{0 if abs(count) >= limit * 99.95 else 1}f}{letter}"
            break
    else:
        text = f"{count:+.0f}" if abs(count) >= 0.5 else "+0"
    text = text.replace(".0", "") if text[-3:-1] == ".0" else text
    return _sign(text) if sign and text != "+0" else _sign(text).removeprefix("+")


def cost_text(value: float, cost: CostName) -> str:
    """Write a cost of a network for people: `270k` parameters or MACs, `0.31 ms`."""
    return f"{value:.3g} ms" if cost == "latency" else count_text(value)


def objective_name(name: str) -> str:
    """Write the name of an objective for people: `MACs` for `macs`."""
    return {"macs": "MACs"}.get(name, name)


def duration_text(seconds: float) -> str:
    """Write a duration with the two units that matter: `48 s`, `3 min 20 s`, `2 h 05 min`, `3 d 4 h`."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def plural(count: int, noun: str) -> str:
    """Write `1 trial`, `2,000 trials`."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def listing(items: Iterable[str]) -> str:
    """Write `a`, `a and b`, `a, b and c`."""
    *head, last = list(items) or [""]
    return f"{', '.join(head)} and {last}" if head else last


def tone(verdict: str) -> str:
    """Return the tone of a verdict: `good`, `bad`, `same` or `open`."""
    return next((name for start, name in _TONES.items() if verdict.startswith(start)), "open")


def level_text(level: Scalar) -> str:
    """Write a decided value for people: numbers to five digits."""
    return f"{level:.5g}" if isinstance(level, float) else write(level)


def short_names(paths: Iterable[str]) -> Mapping[str, str]:
    """Give every dotted path its shortest tail that no other path of the set has."""
    unique = dict.fromkeys(paths)
    tails: dict[str, str] = {}
    for length in range(1, max((path.count(".") for path in unique), default=0) + 2):
        shown = {path: ".".join(path.split(".")[-length:]) for path in unique if path not in tails}
        counts: dict[str, int] = {}
        for name in [".".join(path.split(".")[-length:]) for path in unique]:
            counts[name] = counts.get(name, 0) + 1
        tails |= {path: name for path, name in shown.items() if counts[name] == 1}
    return {path: tails.get(path, path) for path in unique}


def by_name(effects: Effects) -> str:
    """Name what the cells of a measurement are told apart by: `depth`, `depth × widths`, or '' for a single cell."""
    names = short_names(effects.by)
    return " × ".join(names[path] for path in effects.by)


def cell_name(effects: Effects) -> str:
    """Head the column that says where a cell stands."""
    return by_name(effects) or "cell"


def at_each(effects: Effects) -> str:
    """Write ` at each depth`, or nothing for a single cell."""
    return f" at each {by_name(effects)}" if effects.by else ""


def at_text(effects: Effects, at: tuple[Scalar, ...]) -> str:
    """Write where a cell stands: `20 layers` for a number that sets how many there are, else the values of its decisions, else `all`."""
    layers = dict(zip(effects.at, effects.num_layers, strict=True)).get(at)
    if layers is not None and len(effects.by) == 1 and _told_apart(effects) and not isinstance(at[0], str | bool | None):
        return f"{layers} layers"
    names = short_names(effects.by)
    if len(effects.by) == 1:
        return f"{names[effects.by[0]]} {level_text(at[0])}"
    return " · ".join(f"{names[path]} {level_text(value)}" for path, value in zip(effects.by, at, strict=True)) or "all"


def decisions_text(training: TrainingRecord, names: Mapping[str, str]) -> str:
    """Write what a training decided, one decision a line, for a mark's tip."""
    return "\n".join(f"{names.get(path, path)}  {level_text(value)}" for path, value in training.decisions)


def _told_apart(effects: Effects) -> bool:
    # Levels of `by` that differ in something else than depth would otherwise carry one name twice.
    return len(set(effects.num_layers)) == len(effects.num_layers)


def _sign(text: str) -> str:
    return text.replace("-", MINUS)
