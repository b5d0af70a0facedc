"""Layer 1: every stream of randomness is derived from named keys, so that adding one moves no other."""

from __future__ import annotations

import hashlib


def derive(*keys: object) -> int:
    """Return a 63-bit seed from the written form of `keys`: the same keys give the same seed on every machine."""
    text = "\x1f".join(str(key) for key in keys)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
