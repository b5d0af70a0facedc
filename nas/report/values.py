"""Layer 4: the parts a page is made of: figures with their panels, legends and captions, tables with their rows."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup


@dataclass(frozen=True)
class Key:
    """One entry of a legend: the mark's style and shape, and what it stands for."""

    style: str
    shape: str
    text: str


@dataclass(frozen=True)
class Panel:
    """One chart of a figure, with what sets it apart from its neighbours."""

    title: str
    chart: Markup


@dataclass(frozen=True)
class Figure:
    """One or several charts that share a legend and a caption. `wide` panels take the whole width each."""

    panels: tuple[Panel, ...]
    legend: tuple[Key, ...]
    caption: str
    wide: bool = True
    scrolls: int = 0
    """The width in pixels below which it scrolls inside its box; 0 for one that fits any."""


@dataclass(frozen=True)
class Row:
    """A table's row; `style` marks what it is (`reference`, `good` …)."""

    cells: tuple[str, ...]
    style: str = ""


@dataclass(frozen=True)
class Table:
    """A table; `numeric` columns are set flush right, the first `labels` columns are headings of their rows."""

    head: tuple[str, ...]
    rows: tuple[Row, ...]
    caption: str
    labels: int = 1
    text_columns: tuple[int, ...] = ()
