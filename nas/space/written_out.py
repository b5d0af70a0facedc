"""Layer 2: a decided configuration as the text of a space: what one network's file says is enough to train it again."""

from __future__ import annotations

import json

from nas.space.scalars import MOST
from nas.values.architecture import Configuration


def written_out(configuration: Configuration, *, name: str, seed: int, objective: str, maximize: bool) -> str:
    """Return the text of a space file in which everything is decided; JSON, which YAML reads.

    A seed beyond what a space file takes, as replicates have, becomes another one.
    """
    document = configuration.to_dict()
    # Where a task does not smooth labels, a recipe may not even say that it does not.
    recipe = {key: value for key, value in document["train"]["train"].items() if key != "label_smoothing" or value}
    search = {"trials": 1, "maximize" if maximize else "minimize": objective}
    return json.dumps({"name": name, **document, "train": recipe, "search": search, "seed": seed % MOST}, indent=1)
