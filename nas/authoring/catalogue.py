"""Layer 5: the catalogue of plugins as Markdown, written from the plugins themselves."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator, Sequence

from nas.authoring.example import InList, place_of
from nas.authoring.facts import KINDS, SHIPPED, default_of, formula_of, help_of, of_kind, origin, sources_of
from nas.errors import PluginError
from nas.registry import PluginInfo, Registry

COMMAND = "nas plugins catalogue --shipped > docs/catalogue.md"
_ARXIV = re.compile(r"\b(\d{4}\.\d{4,5})\b")
_HEAD = f"""\
# Catalogue

Every plugin that ships, by kind: what it is, its formula, its parameters with their defaults and ranges, its source.
`nas plugins show NAME` shows one with a drawing and a space file that uses it; [plugins.md](plugins.md) says how to write one.

<!-- Written from the plugins themselves by: {COMMAND} -->
"""


def catalogue(registry: Registry, *, shipped: bool = False) -> str:
    """Write the catalogue of all plugins, or of the shipped ones alone."""
    infos = [info for info in of_kind(registry, None) if not shipped or origin(info) == SHIPPED]
    by_kind = {kind: [info for info in infos if info.kind == kind] for kind in KINDS}
    links = " · ".join(f"[{kind}](#{kind}) {len(found)}" for kind, found in by_kind.items() if found)
    parts = (_kind(kind, found, registry) for kind, found in by_kind.items() if found)
    return "\n".join((_HEAD, links, "", *(line for part in parts for line in part)))


def _kind(kind: str, infos: Sequence[PluginInfo], registry: Registry) -> Iterator[str]:
    """Yield the section of one kind: what it is, where it stands in a space file, its plugins."""
    paragraph = inspect.cleandoc(KINDS[kind].__doc__ or "").partition("\n\n")[0]
    yield f"## {kind}"
    yield ""
    yield f"{' '.join(paragraph.split())} {_where(kind, registry)}".rstrip()
    yield ""
    for info in infos:
        yield from _plugin(info)


def _where(kind: str, registry: Registry) -> str:
    try:
        place = place_of(kind, registry)
    except PluginError:  # a kind that no shipped plugin takes
        return ""
    names = (step.name if isinstance(step, PluginInfo) else step for step in place if not isinstance(step, InList))
    return f"In a space file it stands, for example, at `{'.'.join(names)}`."


def _plugin(info: PluginInfo) -> Iterator[str]:
    yield f"### {info.name}"
    yield ""
    yield from help_of(info)[:1]
    yield ""
    if formula := formula_of(info):
        yield f"Formula: `{formula}`"
        yield ""
    if info.parameters:
        yield "| parameter | default | type and range |"
        yield "|---|---|---|"
        yield from (f"| `{p.name}` | {_cell(default_of(p))} | {_cell(str(p.type))} |" for p in info.parameters)
        yield ""
    if sources := sources_of(info):
        yield f"Source: {_linked(sources)}"
        yield ""


def _linked(sources: Iterable[str]) -> str:
    return _ARXIV.sub(r"[\1](https://arxiv.org/abs/\1)", "; ".join(sources))


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("*", "\\*").replace("[", "\\[")
