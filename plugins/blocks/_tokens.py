"""What a network of a fixed number of tokens tells its blocks."""

from __future__ import annotations

from dataclasses import dataclass

from nas.plugin import UnitContext


@dataclass(frozen=True)
class TokenContext(UnitContext):
    """A unit's place in a network whose pictures have `num_tokens` pixels at every unit."""

    num_tokens: int = 0
