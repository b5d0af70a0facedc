"""Layer 4: what is measured or ablated where more is said than the space file does: at a study's best, at a file's architecture."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from nas.errors import SpaceError, UserError
from nas.measuring.ablation import Ablation, decide, plan_ablation
from nas.measuring.design import Twins
from nas.measuring.retraining import Retraining
from nas.sampling import recognise, refuse_unused
from nas.space import Asked, MeasureOptions, Space, Template, asked_measure
from nas.study.searching.starts import decisions_of
from nas.study.study import Study
from nas.values.architecture import PluginNode
from nas.values.domains import Scalar
from nas.values.records import TrainingRecord


def options_in_space(space: Space, asked: Asked, base: Mapping[str, Scalar] | None) -> MeasureOptions:
    """Return what is measured of a space: its section as it stands, or as `asked` and the architecture `base` change it.

    Raises UserError where nothing says what to measure, SpaceError as for a section in the file.
    """
    found = space.measure
    if base is not None or asked.anything or found is None:
        found = asked_measure(space, asked, base or {})
    return _sized(found, asked)


def options_in_study(study: Study, asked: Asked) -> MeasureOptions:
    """Return what is measured of a study: at the best architecture of its search, or as its own title says.

    Raises UserError for an ablation, for a title that `asked` contradicts, or where the search has no finished trial.
    """
    if isinstance(study.design, Ablation):
        raise UserError(f"{study.title} is an ablation; go on with it by `nas ablate {study.title}`")
    if isinstance(study.design, Retraining):
        raise UserError(f"{study.title} is a retraining; give the study {study.search.name} to measure at its best")
    if not study.is_beside or not isinstance(study.design, Twins):
        return options_in_space(study.space, asked, dict(best_of(study).decisions))
    if asked.anything:
        raise UserError(f"{study.title} is decided already; give the study {study.search.name} for another measurement")
    return _sized(study.design.options, asked)


def ablation_of(
    study: Study, settings: Mapping[str, Scalar], *, best: bool, references: Mapping[str, Scalar], only: Sequence[str] = (),
    replicates: int | None = None, smallest_effect: float | None = None,
) -> Study:  # fmt: skip
    """Return the ablation of the search's best architecture, or with `best` unset of what stands first, under `settings`.

    Replicates, smallest effect and metric are those of the space's `measure:` section unless given. Raises UserError as
    `plan_ablation` does, and where the search has no finished trial.
    """
    space, base = study.space, dict[str, Scalar]()
    if best:
        found = study.record().best(1)
        if not found:
            raise UserError(f"the study {study.title} has no finished trial to ablate; run `nas search`, or give the space file")
        base = dict(found[0].decisions)
    fixed = {**base, **settings}
    refuse_unused(settings, decide(space, fixed), space)
    first = space.metrics[0]
    said = space.measure or MeasureOptions(factor="", reference="", levels=(), metric=f"test_{first.name}", direction=first.direction)
    return study.measuring(plan_ablation(
        space, tuple(fixed.items()), references=references, only=only,
        replicates=replicates or said.replicates, smallest_effect=smallest_effect or said.smallest_effect,
        metric=said.metric, direction=said.direction, vectorise=said.vectorise, fits=study.fits,
    ))  # fmt: skip


def _sized(options: MeasureOptions, asked: Asked) -> MeasureOptions:
    size = asked.smallest_effect or options.smallest_effect
    return replace(options, replicates=asked.replicates or options.replicates, smallest_effect=size)


def base_of(
    space: Space, study: str | None, file: str | Path | None, storage_url: str, *, plugins: Sequence[str | Path]
) -> dict[str, Scalar] | None:
    """Return the decisions of the architecture that a study or a file names; None where neither is given. Raises UserError."""
    if study and file:
        raise UserError("measure: a study and a file both name the architecture; give one of them")
    if study:
        return base_from_study(space, study, storage_url, plugins=plugins)
    return base_from_file(space, file) if file else None


def best_of(study: Study) -> TrainingRecord:
    """Return the best finished trial of a study's search. Raises UserError where there is none."""
    found = study.with_search().best(1)
    if not found or found[0].configuration is None:
        raise UserError(
            f"the study {study.search.name} has no finished trial to measure at; run `nas search` first, or give the space file"
        )
    return found[0]


def base_from_study(space: Space, title: str, storage_url: str, *, plugins: Sequence[str | Path]) -> dict[str, Scalar]:
    """Return the decisions of `space` that make the best architecture of another study, with its recipe where `space` has it.

    Raises UserError where there is no such study or trial, or where `space` does not hold the architecture.
    """
    best = best_of(Study.reopen(title, storage_url, plugins=plugins))
    try:
        return decisions_of(space, best)
    except SpaceError as error:
        raise UserError(f"the best architecture of {title} is not in the space: {error}") from None


def base_from_file(space: Space, file: str | Path) -> dict[str, Scalar]:
    """Return the decisions of `space` that make the architecture of a JSON file.

    The file holds `{"architecture": {NETWORK: {…}}}`, as `nas show --json` prints it, or the inner part alone; `train` and
    `data` beside it are taken too. Raises UserError, naming the file and the place that does not fit.
    """
    document = _read(Path(file))
    parts = {"architecture": space.architecture, "train": space.train, "data": space.data}
    if "architecture" not in document:
        document = {"architecture": document}
    base: dict[str, Scalar] = {}
    for name, template in parts.items():
        if name in document:
            try:
                node = PluginNode.from_dict(document[name])
            except (ValueError, AttributeError, TypeError):
                raise UserError(f"{file}: {name}: must be one plugin with its parameters, {{NAME: {{…}}}}") from None
            base |= _recognised(template, node, name, str(file))
    return base


def _recognised(template: Template, node: PluginNode, place: str, told: str) -> dict[str, Scalar]:
    try:
        return recognise(template, node, place)
    except SpaceError as error:
        raise UserError(f"{told} is not in the space: {error}") from None


def _read(file: Path) -> Mapping[str, Any]:
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read the architecture {file}: {error.strerror}") from None
    except ValueError as error:
        raise UserError(f"{file}: is not JSON: {error}") from None
    if not isinstance(document, dict) or not document:
        raise UserError(f"{file}: must hold an architecture, as `nas show --json` prints it")
    return document
