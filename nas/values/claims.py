"""Layer 1: a claim of the literature as values: what is stated, the rule that decides it, what was found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from nas.values.effects import Interval

SUPPORTED, CONTRADICTED, UNDETERMINED, NO_VERDICT = "supported", "contradicted", "undetermined", "no verdict"
Relation = Literal["above", "below", "within"]


@dataclass(frozen=True)
class Condition:
    """One comparison of a rule, as it was written: `compare` minus `minus`, in `metric`, above, below or within `threshold`.

    `within` means between -threshold and +threshold. Both sides are places of a study such as `identity - none at deepest`.
    """

    compare: str
    relation: Relation
    threshold: float
    metric: str = ""
    minus: str = ""
    minus_metric: str = ""
    line: int = 0

    def __str__(self) -> str:
        metric, other = (f" ({name})" if name else "" for name in (self.metric, self.minus_metric))
        less = f" minus {self.minus}{other}" if self.minus else ""
        bound = f"±{self.threshold:g}" if self.relation == "within" else f"{self.threshold:g}"
        return f"{self.compare}{metric}{less} {self.relation} {bound}"


@dataclass(frozen=True)
class Outcomes:
    """One side of a rule: it holds where all its conditions do, or with `any` where one does."""

    conditions: tuple[Condition, ...]
    any: bool = False

    def __str__(self) -> str:
        return (" or " if self.any else " and ").join(map(str, self.conditions))


@dataclass(frozen=True)
class Rule:
    """What decides a claim: it is supported where one side holds, contradicted where the other does, else undetermined."""

    supported_when: Outcomes
    contradicted_when: Outcomes

    def to_dict(self) -> dict[str, str]:
        """Return the rule in words."""
        return {"supported_when": str(self.supported_when), "contradicted_when": str(self.contradicted_when)}


@dataclass(frozen=True)
class FigureSpec:
    """What a claim's figure shows: metrics by depth and arm, or series of probes by unit and arm at one cell."""

    show: tuple[str, ...]
    arms: tuple[str, ...] = ()
    at: str = ""
    title: str = ""
    x: str = ""
    y: str = ""
    log: bool = False
    shares: bool = False
    """Whether each series is scaled to a sum of 1, so that several can be compared."""
    names: tuple[str, ...] = ()
    """What the legend calls each of `show`; its own name by default."""
    places: tuple[str, ...] = ()
    """What the marks of a series stand at, where they do not count units, layers or lengths."""
    line: int = 0


@dataclass(frozen=True)
class Claim:
    """A claim as its file states it.

    `study` is the text of a space file, on the lines where it stands in `study_file`: the claim's own file, or that of the claim
    whose study it shares.
    """

    name: str
    file: str
    statement: str
    source: str
    published: tuple[str, ...]
    topic: str
    explain: str
    figures: tuple[FigureSpec, ...]
    rule: Rule
    study: str
    study_file: str
    key: str
    """The hash of the file's text."""

    def to_dict(self) -> dict[str, Any]:
        """Return what `nas claims --json` shows of it."""
        return {
            "name": self.name, "statement": self.statement, "source": self.source, "published": list(self.published),
            "topic": self.topic, "rule": self.rule.to_dict(), "file": self.file,
        }  # fmt: skip


@dataclass(frozen=True)
class Found:
    """One condition, measured: mean over `n` replicates with an interval that holds for all conditions of the rule at once.

    `holds` is None where it is not decided, and `reason` says why. `share` says that the figure is a share of 1.
    """

    condition: str
    metric: str
    n: int
    mean: float | None
    interval: Interval | None
    p_holm: float | None
    holds: bool | None
    share: bool
    reason: str = ""


@dataclass(frozen=True)
class Finding:
    """What a claim's study came to: the verdict with its reason, every condition, and what was trained for it."""

    claim: str
    verdict: str
    reason: str
    supporting: tuple[Found, ...]
    contradicting: tuple[Found, ...]
    replicates: int
    depth: str
    budget: str
    trainings: int
    shared: int
    failed: int
    seconds: float
    study: str
    data: str
    mode: str
    claim_key: str

    @property
    def first(self) -> Found:
        """The condition that the claim's own effect is read from."""
        return self.supporting[0]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data."""
        return asdict(self)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Finding:
        """Read what `to_dict` wrote."""
        sides = {side: tuple(_found(row) for row in document[side]) for side in ("supporting", "contradicting")}
        return cls(**{**document, **sides})


def _found(row: Mapping[str, Any]) -> Found:
    return Found(**{**row, "interval": Interval(**row["interval"]) if row["interval"] else None})
