"""`measure:` is read against the decisions of its own space; what could not be measured is refused."""

import pytest

from nas.errors import SpaceError
from nas.registry import Registry
from nas.space import MeasureOptions, Space, parse_space

SPACE = """\
shared:
  norm: {choices: [batch, {group: {groups: {choices: [2, 4]}}}]}
architecture:
  staged:
    depth: {int: [1, 9]}
    block: {choices: [{basic: {norm: {shared: norm}}}, {bottleneck: {norm: {shared: norm}, expansion: {choices: [2, 4]}}}]}
    shortcut: {choices: [none, identity, {gated: {bias: 0}}, {gated: {bias: -6}}]}
    widths: {choices: [[4, 8], [8, 16]]}
measure:
"""


def space_with(measure: str, registry: Registry) -> Space:
    """Parse the space with a `measure:` section, `$` standing for `architecture.staged.`."""
    lines = "".join(f"  {line}\n" for line in measure.split("\n"))
    return parse_space(SPACE + lines.replace("$", "architecture.staged."), "space.yaml", registry)


# Lines are counted from the section's own.
REFUSED = [
    ("", "0: measure: must be a mapping with `factor:` and `reference:`, got nothing"),
    ("facto: x", "1: measure.facto: unknown parameter of `measure:`; did you mean 'factor'?"),
    ("reference: none", "1: measure.factor: must be given; `measure:` has no default for factor"),
    ("factor: $shortcut", "1: measure.reference: must be given; `measure:` has no default for reference"),
    ("factor: $shortcuts\nreference: none", "1: measure.factor: '$shortcuts' is no decision of this space; did you mean '$shortcut'?"),
    ("factor: shortcut\nreference: none", "1: measure.factor: 'shortcut' is no decision of this space; did you mean '$shortcut'?"),
    (
        "factor: $head\nreference: none",
        "1: measure.factor: '$head' is no decision: the space fixes it; give it `{choices: [...]}` or a range there",
    ),
    ("factor: [a]\nreference: none", "1: measure.factor: must be the path of a decision, got a list of 1"),
    (
        "factor: $shortcut\nreference: nnone",
        "2: measure.reference: must be one of none, identity, gated(bias=0), gated(bias=-6), got 'nnone'; did you mean 'none'?",
    ),
    (
        "factor: $shortcut\nreference: gated",
        "2: measure.reference: must be one of none, identity, gated(bias=0), gated(bias=-6), got 'gated'",
    ),
    (
        "factor: $shortcut\nreference: none\nlevels: [none, identity]",
        "3: measure.levels: must leave out the reference, none: they are compared with it",
    ),
    ("factor: $shortcut\nreference: none\nlevels: [identity, identity]", "3: measure.levels: the value identity stands here twice"),
    ("factor: $shortcut\nreference: none\nlevels: []", "3: measure.levels: must be a list of values of $shortcut, got an empty list"),
    ("factor: $shortcut\nreference: none\nlevels: identity", "3: measure.levels: must be a list of values of $shortcut, got 'identity'"),
    ("factor: $depth\nreference: 1", "1: measure.levels: must be given, since $depth is a range: list the values to compare with 1"),
    ("factor: $shortcut\nreference: none\nby: [$depth]", "3: measure.by: must be a mapping `{path: [value, …]}`, got a list of 1"),
    (
        "factor: $shortcut\nreference: none\nby: {$dept: [1]}",
        "3: measure.by: '$dept' is no decision of this space; did you mean '$depth'?",
    ),
    ("factor: $shortcut\nreference: none\nby: {$depth: [1, 10]}", "3: measure.by.$depth: must be in 1..9, got '10'"),
    ("factor: $shortcut\nreference: none\nby: {$depth: [1, 1]}", "3: measure.by.$depth: the value 1 stands here twice"),
    ("factor: $shortcut\nreference: none\nby: {$depth: 1}", "3: measure.by.$depth: must be a list of values of $depth, got '1'"),
    ("factor: $shortcut\nreference: none\nby:", "3: measure.by: must be a mapping `{path: [value, …]}`, got nothing"),
    (
        "factor: $shortcut\nreference: none\nhold: {x: 1}",
        "3: measure.hold: 'x' is no decision of this space; choose from: $block, "
        "$block.bottleneck.expansion, $depth, $shortcut, $widths, shared.norm, shared.norm.group.groups",
    ),
    (
        "factor: $shortcut\nreference: none\nhold: {$block: bassic}",
        "3: measure.hold.$block: must be one of basic, bottleneck, got 'bassic'; did you mean 'basic'?",
    ),
    (
        "factor: $shortcut\nreference: none\nhold: {$block: {basic: {}}}",
        "3: measure.hold.$block: must be a value of $block as `nas check` prints it, got a mapping with key basic",
    ),
    (
        "factor: $shortcut\nreference: none\nhold: {$shortcut: none}",
        "3: measure.hold.$shortcut: is factor already; a decision has one role of factor, by and hold",
    ),
    (
        "factor: $shortcut\nreference: none\nby: {$depth: [1]}\nhold: {$depth: 1}",
        "4: measure.hold.$depth: is by already; a decision has one role of factor, by and hold",
    ),
    (
        "factor: $block.bottleneck.expansion\nreference: 2",
        "1: measure.factor: $block.bottleneck.expansion does not exist in every arm: it needs $block = bottleneck; write "
        "`hold: {$block: bottleneck}`",
    ),
    (
        "factor: $block.bottleneck.expansion\nreference: 2\nhold: {$block: basic}",
        "1: measure.factor: $block.bottleneck.expansion does not exist in every arm: it needs $block = bottleneck; write "
        "`hold: {$block: bottleneck}` in place of $block: basic",
    ),
    (
        "factor: $block\nreference: basic\nby: {$block.bottleneck.expansion: [2, 4]}",
        "3: measure.by: $block.bottleneck.expansion does not exist in every arm: it needs $block = bottleneck; $block is "
        "the factor, so its other values leave it out; compare values that all have it, or another decision",
    ),
    (
        "factor: $shortcut\nreference: none\nhold: {$block: basic, $block.bottleneck.expansion: 2}",
        "3: measure.hold.$block.bottleneck.expansion: holds what exists in no arm: it needs $block = bottleneck; remove it",
    ),
    (
        "factor: $shortcut\nreference: none\nby: {$block.bottleneck.expansion: [2, 4]}",
        "3: measure.by: $block.bottleneck.expansion does not exist in every arm: it needs $block = bottleneck; write "
        "`hold: {$block: bottleneck}`",
    ),
    ("factor: $shortcut\nreference: none\nreplicates: 0", "3: measure.replicates: must be int >= 1, got '0'"),
    (
        "factor: $shortcut\nreference: none\nreplicates: 2.5",
        "3: measure.replicates: must be int >= 1, got '2.5'; it must be a whole number",
    ),
    (
        "factor: $shortcut\nreference: none\nsmallest_effect: 1",
        "3: measure.smallest_effect: must be a fraction below 1, got 1; if points are meant, write 0.01",
    ),
    ("factor: $shortcut\nreference: none\nsmallest_effect: -0.1", "3: measure.smallest_effect: must be float >= 0, got '-0.1'"),
    (
        "factor: $shortcut\nreference: none\nlooks: [5, 10]",
        "3: measure.looks: must be [10, 20], the one schedule whose error rates are known (0.0052 at 10 and 0.0471 at 20), got [5, 10]",
    ),
    ("factor: $shortcut\nreference: none\ntune: 20", "3: measure.tune: must be a mapping like `{trials: 20}`, got '20'"),
    (
        "factor: $shortcut\nreference: none\ntune: {decisions: [$depth]}",
        "3: measure.tune.trials: must be given: how many trials each arm's search has",
    ),
    (
        "factor: $shortcut\nreference: none\ntune: {trial: 3}",
        "3: measure.tune.trial: unknown parameter of `tune:`; did you mean 'trials'?",
    ),
    (
        "factor: $shortcut\nreference: none\nby: {$depth: [1]}\ntune: {trials: 3, decisions: [$depth]}",
        "4: measure.tune.decisions: $depth is in by already, so it cannot be tuned",
    ),
    (
        "factor: $shortcut\nreference: none\ntune: {trials: 3, decisions: [$dept]}",
        "3: measure.tune.decisions: '$dept' is no decision of this space; did you mean '$depth'?",
    ),
    (
        "factor: $shortcut\nreference: none\nhold: {$block: basic}\ntune: {trials: 3, decisions: [$block.bottleneck.expansion]}",
        "4: measure.tune.decisions: $block.bottleneck.expansion exists in no arm, so there is nothing to tune; remove it",
    ),
    (
        "factor: $shortcut\nreference: none\nmatch: [macs]\ntune: {trials: 3}",
        "4: measure.tune: and `match:` ask for two estimands at once; measure them in two files, or remove one",
    ),
    (
        "factor: $shortcut\nreference: none\nmatch: [parameters, weights]",
        "3: measure.match.1: must be parameters | macs, got 'weights'; choose from: macs, parameters",
    ),
    (
        "factor: $shortcut\nreference: none\nmatch: [macs, macs]",
        "3: measure.match: must name parameters or macs, each once, got a list of 2",
    ),
    (
        "factor: $widths\nreference: 4-8\nmatch: [macs]",
        "3: measure.match: matches by widening the reference, and the factor, $widths, is a width",
    ),
    ("factor: $shortcut\nreference: none\nlooks: 10", "3: measure.looks: must be list of int >= 1, got '10'; write a list: [10]"),
    (
        "factor: $shortcut\nreference: none\nlooks: [10, 20]\nreplicates: 15",
        "4: measure.replicates: must be 20, the last of the looks, got 15; leave it out",
    ),
    (
        "factor: $shortcut\nreference: none\nmetric: test_acc",
        "3: measure.metric: must be a metric of classification, got 'test_acc'; did you mean 'test_accuracy'?",
    ),
    (
        "factor: $shortcut\nreference: none\nreplicates: {int: [1,2]}",
        "3: measure.replicates: must be a constant; decisions stand under architecture, train and data",
    ),
]


@pytest.mark.parametrize(("measure", "message"), REFUSED)
def test_what_could_not_be_measured_is_refused_with_the_reason(measure: str, message: str, registry: Registry) -> None:
    with pytest.raises(SpaceError) as error:
        space_with(measure, registry)
    line, told = str(error.value).removeprefix("space.yaml:").replace("architecture.staged.", "$").split(": ", 1)
    assert f"{int(line) - SPACE.count(chr(10))}: {told}" == message


def measured(measure: str, registry: Registry) -> MeasureOptions:
    options = space_with(measure, registry).measure
    assert options is not None
    return options


def test_levels_are_all_but_the_reference_where_none_are_given(registry: Registry) -> None:
    options = measured("factor: $shortcut\nreference: none", registry)
    assert options.levels == ("identity", "gated(bias=0)", "gated(bias=-6)")
    assert options.arms == ("none", *options.levels)


def test_namesakes_are_measured_under_their_labels(registry: Registry) -> None:
    options = measured("factor: $shortcut\nreference: gated(bias=0)\nlevels: [gated(bias=-6)]", registry)
    assert options.arms == ("gated(bias=0)", "gated(bias=-6)")


def test_a_list_is_written_as_a_list_or_as_its_label(registry: Registry) -> None:
    assert measured("factor: $widths\nreference: [4, 8]", registry) == measured("factor: $widths\nreference: 4-8", registry)


def test_values_of_a_range_are_read_as_its_type(registry: Registry) -> None:
    assert measured("factor: $shortcut\nreference: none\nby: {$depth: [1, 3, 9]}", registry).by == (
        ("architecture.staged.depth", (1, 3, 9)),
    )


@pytest.mark.parametrize(
    "measure",
    [
        "factor: $block.bottleneck.expansion\nreference: 2\nhold: {$block: bottleneck}",
        "factor: $block.bottleneck.expansion\nreference: 2\nby: {$block: [bottleneck]}",
        "factor: shared.norm\nreference: batch",
        "factor: shared.norm.group.groups\nreference: 2\nhold: {shared.norm: group}",
        "factor: $shortcut\nreference: none\nhold: {$block.bottleneck.expansion: 2}",
    ],
)
def test_a_decision_that_every_arm_has_can_be_measured(measure: str, registry: Registry) -> None:
    assert measured(measure, registry).levels


def test_a_shared_decision_under_a_choice_needs_that_choice_whatever_the_block(registry: Registry) -> None:
    with pytest.raises(SpaceError, match=r"write `hold: \{shared.norm: group\}`$"):
        space_with("factor: shared.norm.group.groups\nreference: 2\nhold: {$block: basic}", registry)


def test_an_effect_on_a_loss_may_be_above_one(registry: Registry) -> None:
    options = measured("factor: $shortcut\nreference: none\nmetric: test_loss\nsmallest_effect: 1.5", registry)
    assert options.smallest_effect == 1.5


def test_more_cells_than_anyone_trains_are_refused(registry: Registry) -> None:
    decided = ", ".join(f"$depth.{i}: [{', '.join(map(str, range(1, 10)))}]" for i in range(4))
    text = SPACE.replace("depth: {int: [1, 9]}", f"depth: [{', '.join(['{int: [1, 9]}'] * 4)}]")
    section = f"  factor: $shortcut\n  reference: none\n  by: {{{decided}}}\n".replace("$", "architecture.staged.")
    with pytest.raises(SpaceError, match="makes more than 1000 combinations; choose fewer values"):
        parse_space(text + section, "space.yaml", registry)
