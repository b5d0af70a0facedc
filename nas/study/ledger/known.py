"""Layer 4: which studies a ledger holds, and how one differs from another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nas.errors import UserError, nearest, without_secrets
from nas.study.ledger.storage import is_there, open_storage

KEPT = ("key", "hash", "name", "space_text", "space_file", "identity", "plugins", "data")
"""What the ledger keeps of a space."""


def studies_in(storage_url: str) -> list[dict[str, Any]]:
    """Return what the ledger says of each study in it, oldest first: title, attributes, counts of trials by phase.

    `beside` are the titles of its ablations, its retrainings, and the measurements that its space file does not ask for; `designs`
    holds what each of them is made of.
    """
    if not is_there(storage_url):  # opening would make it, and whoever only looks may have mistyped its folder
        return []
    found: dict[str, dict[str, Any]] = {}
    storage = open_storage(storage_url)
    studies, told = storage.get_all_studies(), storage.count_told()
    for study in studies:
        title, _, measured = study.study_name.partition("/")
        if not measured and "name" in study.user_attrs:  # a database may hold other programs' studies too
            found[title] = {
                **study.user_attrs,
                "title": title,
                "search": told[study._study_id],
                "measured": 0,
                "replicates": {},
                "beside": [],
                "designs": {},
            }
    for study in studies:
        title, _, measured = study.study_name.partition("/")
        if title not in found or measured.count("/"):
            continue  # the latter is a search of one arm of a tuned effect, which its design counts
        if measured.startswith("ablate-") or study.user_attrs.get("beside"):
            found[title]["beside"].append(study.study_name)
            found[title]["designs"][study.study_name] = study.user_attrs.get("design", {})
        elif measured:
            found[title]["replicates"] |= {study.study_name: study.user_attrs.get("design", {}).get("replicates")}
            found[title]["measured"] += told[study._study_id]
            # The measured design's text is the newer one: it was run last with this `measure:` section.
            found[title]["space_text"] = study.user_attrs.get("space_text", found[title]["space_text"])  # it may be about to be noted
    return sorted(found.values(), key=lambda about: about.get("last_run", ""))


def find_study(title: str | None, storage_url: str) -> dict[str, Any]:
    """Return what the ledger says of the study that `title` names, or a design beside it; of the one that ran last for None.

    Raises UserError, naming the nearest title, where there is none.
    """
    known = studies_in(storage_url)
    bare = title.partition("/")[0] if title else None
    chosen = known[-1] if title is None and known else next((a for a in known if a["title"] == bare), None)
    if chosen is None or (title and title != bare and title not in chosen["beside"]):
        names = [name for about in known for name in (about["title"], *about["beside"])]
        hint = nearest(title or "", names) if names else "; run `nas search` first"
        named = f" '{title}'" if title else ""
        raise UserError(f"no study{named} in {without_secrets(storage_url)}{hint}")
    return chosen


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[str, ...]:
    """Say in lines how a study differs from an earlier one: `train.epochs: 10, was 5`."""
    old, new = before.get("identity", {}), now["identity"]
    lines = []
    for key in sorted(set(old) | set(new)):
        if key == "plugins":
            changed = sorted(k for k in set(old.get(key, {})) & set(new[key]) if old[key][k] != new[key][k])
            lines += [f"{name}: its source changed" for name in changed]
        elif old.get(key) != new.get(key):
            lines.append(f"{key}: {new.get(key, 'not there')}, was {old.get(key, 'not there')}")
    return tuple(lines)
