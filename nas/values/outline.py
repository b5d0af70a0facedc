"""Layer 1: an architecture as a reader sees it: one row for each unit, from the input to the output."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class LayerRow:
    """One unit of a built network.

    `name` is its place (`stem`, `stage 1 · unit 2`, `head`), `kind` the plugin that made it, `shortcut` the other path of
    the unit in its written form (`identity`, `projection`; empty or `none` where there is none), `output` its output's
    shape without the batch: (C, H, W), or (F,) behind the head. `macs` are for one input. `formula` is what the unit
    computes, as its plugin writes it: `relu(x + F(x))`.
    """

    name: str
    kind: str
    shortcut: str
    output: tuple[int, ...]
    parameters: int
    macs: int
    formula: str = ""

    @property
    def stage(self) -> str:
        """What stands before the dot in the name: `stage 1` for `stage 1 · unit 2`, else the whole name."""
        return self.name.split(" · ")[0]

    @property
    def has_shortcut(self) -> bool:
        """Say whether a second path runs beside the branch."""
        return self.shortcut not in ("", "none")

    def alike(self, other: LayerRow) -> bool:
        """Say whether two units differ by nothing but their place in one stage, and can be drawn as one."""
        return (self.stage, *self._content()) == (other.stage, *other._content())

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data."""
        return asdict(self)

    def _content(self) -> tuple[object, ...]:
        return self.kind, self.shortcut, self.output, self.parameters, self.macs, self.formula
