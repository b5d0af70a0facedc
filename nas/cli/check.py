"""Layer 6: `nas check`: what a space is, explained before anything is trained."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from nas.cli.options import data_options, json_option, plugins_option, print_json, space_argument

if TYPE_CHECKING:
    from rich.tree import Tree

    from nas.space import Space, Template
    from nas.study.preview import Preview
    from nas.values.domains import Scalar


@click.command("check")
@space_argument
@plugins_option
@data_options
@click.option("--samples", type=click.IntRange(1), default=32, show_default=True, help="Architectures to draw at random and build.")
@json_option
def command(space: str, data: str | None, data_options: dict[str, str], plugins: tuple[str, ...], samples: int, as_json: bool) -> None:
    """Parse and validate SPACE, build samples of it without training, and say what a run would take.

    \b
    Example:
      nas check search_spaces/residual.yaml
    """
    from rich.console import Console

    from nas.api import load_space
    from nas.study.jobs.materials import describe_data, study_key
    from nas.study.preview import preview

    loaded = load_space(space, plugins=plugins, data=data, data_options=data_options)
    console = Console(highlight=False)
    if not as_json:
        console.print(_tree(loaded))
    seen = preview(loaded, samples=samples)
    if as_json:
        data_set = {} if loaded.input else {"data": describe_data(loaded)}
        print_json({"name": loaded.name, "key": study_key(loaded), **data_set, "decisions": _decisions(loaded), **seen.to_dict()})
        return
    console.print()
    for line in (*([] if loaded.input else [about_data(loaded)]), *sentences(seen)):
        console.print(textwrap.fill(line, console.width, initial_indent="- ", subsequent_indent="  "), markup=False)


def about_data(space: Space) -> str:
    """Say what the data set of a space is and how it is split; it is read for that."""
    from nas.study.jobs.materials import describe_data

    about = describe_data(space)
    size, own = "×".join(map(str, about["input_shape"])), ", the test part its own" if about["own_test_part"] else ""
    classes = f" in {about['num_classes']} classes" if about["num_classes"] else ""
    return (
        f"The data, {about['name']}: {about['num_examples']:,} examples of {size}{classes}; {about['num_train']:,} to train on, "
        f"{about['num_val']:,} to validate, {about['num_test']:,} to test{own}. Fingerprint {about['fingerprint']}."
    )


def sentences(seen: Preview) -> list[str]:
    """Say what was seen of a space, in sentences."""
    from nas.study.pace import where_timed

    lines = [
        f"The space holds {_count(seen.architectures, 'architecture')} and {_count(seen.size, 'configuration')}.",
        f"{_count(seen.samples, 'sample')} built: {_range(seen.parameters)} parameters, {_range(seen.macs)} MACs, "
        f"{_range(seen.num_layers)} layers.",
    ]
    if seen.constraints:
        lines.append(_violation(seen))
    if seen.probes:
        lines.append(f"Every training is measured by {', '.join(seen.probes)}; the time for it is not in what follows.")
    if seen.minutes is None:
        return [*lines, "Nothing can be trained: `input:` stands in for the data. Name a data set under `data:` to search."]
    first = [f"the {_count(seen.starts, 'configuration')} of `start`"] if seen.starts else []
    first += [f"the best of {seen.start_from}"] if seen.start_from else []
    told = f"; first {', then '.join(first)}" if first else ""
    most = f", with {seen.seeds} seeds each" if seen.seeds > 1 else ""
    lines.append(f"The search trains {seen.planned_search or 'as many as fit into its minutes'}{most}{told}.")
    lines += [seen.stacks] if seen.stacks else []
    if seen.gate:
        lines.append(f"Each sample is looked at before it is trained ({seen.gate}); the time for what is refused is not in what follows.")
    if seen.objectives:
        lines.append(f"It has several objectives and looks for their Pareto front: {', '.join(seen.objectives)}.")
    if seen.replicates is not None:
        lines += _measurement(seen)
    took = f"On this machine that takes {_duration(seen.minutes)} with {_count(seen.workers, 'worker')}, pruning left out."
    lines.append(took + where_timed())
    return lines


def _violation(seen: Preview) -> str:
    told = " and ".join(seen.constraints)
    if seen.violating == 0:
        return f"Every random sample keeps the constraints: {told}."
    if seen.violating == 1:
        return f"Every random sample breaks the constraints: {told}. A search would find nothing to train; loosen them."
    return f"{seen.violating:.0%} of the random samples break the constraints: {told}. A search draws those anew."


def _measurement(seen: Preview) -> list[str]:
    cells = seen.planned_measure // (seen.replicates or 1) // (seen.arms + len(seen.matched))
    arms = f"({seen.arms} arms + {_count(len(seen.matched), 'matched reference')})" if seen.matched else f"{seen.arms} arms"
    design = f"{_count(seen.replicates, 'replicate')} × {arms}" + (f" × {cells} cells of `by`" if cells > 1 else "")
    most = "at most " if seen.looks else ""
    lines = [f"The measurement trains {most}{seen.planned_measure:,}: {design}."]
    if seen.searches:
        trials = f"{seen.searches} searches × {_count(seen.tune_trials, 'trial')}" + (f" × {seen.seeds} seeds" if seen.seeds > 1 else "")
        count = seen.searches * seen.tune_trials * seen.seeds
        lines.insert(0, f"Each arm is tuned for itself first: {count:,} trainings, {trials}.")
    if seen.matched:
        lines.append(f"Wider references of equal cost: {'; '.join(seen.matched)}.")
    lines += seen.groups
    if seen.looks:
        looks = " and at ".join(map(str, seen.looks))
        lines.append(f"It is looked at with {looks} replicates, each time at its own error rate, and ends after the look that decides.")
    if seen.detectable is not None:
        lines.append(f"It finds an effect of {seen.detectable:.2f} standard deviations of the differences with power .8.")
    if seen.replicates is not None and seen.replicates < 6:
        lines.append("With fewer than 6 replicates there is no verdict.")
    return lines


def _tree(space: Space) -> Tree:
    """Draw what is decided: every decision in its place, with its values and its role in the measurement."""
    from rich.markup import escape
    from rich.tree import Tree

    from nas.space import Decision
    from nas.study.jobs.materials import study_key

    roles, told = _roles(space), set[str]()

    def grow(branch: Tree, name: str, template: Template) -> None:
        if isinstance(template, Decision):
            text = f"{escape(name)}: " + (f"shared as {template.path}, " if template.path.startswith("shared.") else "")
            again = template.path in told
            told.add(template.path)
            text += "decided above" if again else escape(str(template.domain))
            role = roles.get(template.path)
            inner = branch.add(text + (f"  [bold]← {escape(role)}[/bold]" if role and not again else ""))
            for label, option in template.labelled():
                if not again:
                    within(inner, f"{label}", option)
        else:
            within(branch, name, template)

    def within(branch: Tree, name: str, template: Template) -> None:
        """Add a template that is no decision, as far as it has decisions inside; a lone chain of names stays on one line."""
        inside = [(n, t) for n, t in _inner(template) if _decides(t)]
        if len(inside) == 1:
            grow(branch, f"{name}.{inside[0][0]}", inside[0][1])
        elif inside:
            inner = branch.add(escape(name))
            for part, child in inside:
                grow(inner, part, child)

    root = Tree(f"[bold]{escape(space.name)}[/bold]  (study {escape(space.name)}-{study_key(space)})")
    for section, template in space.roots.items():
        if _decides(template):
            name = section if isinstance(template, Decision) or section == "train" else f"{section}: {template.name}"  # type: ignore[union-attr]  # a section is a decision or a plugin
            grow(root, name, template)
    if not space.decisions:
        root.add("nothing varies: one configuration")
    return root


def _inner(template: Template) -> list[tuple[str, Template]]:
    from nas.space import ListTemplate, NodeTemplate

    if isinstance(template, NodeTemplate):
        return [(f"{name}.{inner.name}" if isinstance(inner, NodeTemplate) else name, inner) for name, inner in template.parameters]
    return [(str(i), item) for i, item in enumerate(template.items)] if isinstance(template, ListTemplate) else []


def _decides(template: Template) -> bool:
    from nas.space.templates import decisions_in

    return any(True for _ in decisions_in(template))


def _roles(space: Space) -> Mapping[str, str]:
    from nas.values.domains import written

    options = space.measure
    if options is None:
        return {}
    arms = ", ".join(written(level) for level in options.levels)
    tune = options.tune
    return {
        **(dict.fromkeys(tune.decisions, f"tuned in each arm, {tune.trials} trials") if tune else {}),
        options.factor: f"measured: {arms} against {written(options.reference)}",
        **{path: f"at each of {', '.join(written(value) for value in values)}" for path, values in options.by},
        **{path: f"held at {written(value)}" for path, value in options.hold},
    }


def _decisions(space: Space) -> list[dict[str, Any]]:
    """Return every decision as plain data: its path, its values, and the choices under which it exists."""
    from nas.space.templates import document_of

    under: dict[str, list[dict[str, Scalar]]] = {}
    for placed in space.placed:
        under.setdefault(placed.decision.path, []).append(dict(placed.under))
    return [
        {"path": path, **document_of(decision, path)[path], "under": [] if {} in under[path] else under[path]}
        for path, decision in space.decisions.items()
    ]


def _count(count: int | None, noun: str) -> str:
    if count is None:
        return f"infinitely many {noun}s"
    number = f"{count:,}" if count < 10**12 else f"{count:.1e}"
    return f"{number} {noun}" + ("" if count == 1 else "s")


def _range(ends: tuple[int, int]) -> str:
    return f"{ends[0]:,}" if ends[0] == ends[1] else f"{ends[0]:,} to {ends[1]:,}"


def _duration(minutes: float) -> str:
    if minutes < 1.5:
        return "less than a minute" if minutes < 1 else "about a minute"
    if minutes < 120:
        return f"about {minutes:.0f} minutes"
    return f"about {minutes / 60:.0f} hours" if minutes < 48 * 60 else f"about {minutes / 1440:.0f} days"
