"""A mistake in a space file is answered with file, line, path, rule, value got and what to do."""

import pytest

from nas.errors import SpaceError
from nas.registry import Registry
from nas.space import parse_space

BOMB = "".join(
    f"{name}: &{name} [{', '.join([inner] * 10)}]\n" for name, inner in zip("abcdef", ["1", "*a", "*b", "*c", "*d", "*e"], strict=True)
)


def staged(parameter: str) -> str:
    return f"architecture:\n  staged:\n    {parameter}\n"


def refused(text: str, registry: Registry) -> str:
    with pytest.raises(SpaceError) as error:
        parse_space(text, "space.yaml", registry)
    return str(error.value)


def check(text: str, message: str, registry: Registry) -> None:
    """Compare what is said with `message`; where that ends in `*`, a list of names that grows with the plugins follows."""
    told = refused(text, registry)
    expected = f"space.yaml{message}"
    assert told.startswith(expected[:-1]) if expected.endswith("*") else told == expected
    assert "\n" not in told


YAML = [
    ("name: a\nname: b\narchitecture: staged\n", ":2: the key 'name' stands here again; it was given on line 1"),
    ("architecture:\n  staged:\n    depth: 1\n    depth: 2\n", ":4: the key 'depth' stands here again; it was given on line 3"),
    ("architecture:\n\tstaged: {}\n", ":2: this is not YAML: a tab stands where YAML wants spaces; indent with spaces"),
    ("", ": the file is empty; a space needs at least `architecture:`"),
    ("# hi\n", ": the file is empty; a space needs at least `architecture:`"),
    ("---\n", ": the file is empty; a space needs at least `architecture:`"),
    ("- a\n- b\n", ":1: a space must be a mapping of sections, `architecture: …`, got a list of 2"),
    ("hello\n", ":1: a space must be a mapping of sections, `architecture: …`, got 'hello'"),
    (
        "architecture: staged\n---\narchitecture: staged\n",
        ":2: this is not YAML: a second document begins here (---); one file holds one space",
    ),
    ("architecture:\n  staged:\n depth: 3\n", ":3: this is not YAML: the indentation does not fit what stands above"),
    (
        "architecture: staged: 3\n",
        ":1: this is not YAML: a ':' does not fit here; check the indentation, quote the text, or look for a missing ':' above",
    ),
    (
        "architecture\nname: x\n",
        ":2: this is not YAML: a ':' does not fit here; check the indentation, quote the text, or look for a missing ':' above",
    ),
    (
        'name: "abc\narchitecture: staged\n',
        ":3: this is not YAML: found unexpected end of stream (while scanning a quoted scalar that began on line 1)",
    ),
    ("name: a\0b\narchitecture: staged\n", ":1: this is not YAML: the character U+0000 may not stand in it"),
    (
        "architecture: !!python/object:os.system staged\n",
        ":1: the tag !!python/object:os.system is not supported: a space is plain data, read by the types that plugins declare",
    ),
    (
        "seed: !!str 5\narchitecture: staged\n",
        ":1: the tag !!str is not supported: a space is plain data, read by the types that plugins declare",
    ),
    (
        "architecture: !foo {staged: 1}\n",
        ":1: the tag !foo is not supported: a space is plain data, read by the types that plugins declare",
    ),
    ("x: &a {b: 1}\narchitecture:\n  staged:\n    <<: *a\n", ":4: merge keys (<<) are not supported; write the values out"),
    ("architecture: &a {staged: {depth: *a}}\n", ":1: an alias stands inside its own anchor, without end; write the value out"),
    ("architecture: *foo\n", ":1: this is not YAML: found undefined alias 'foo'"),
    (BOMB, ":1: a space has at most 50,000 values, aliases written out; this one has more"),
    ("a: " + "[" * 5000 + "]" * 5000, ": nested more than 60 levels deep; is it the right file?"),
    ("a: " + "{b: " * 100 + "1" + "}" * 100, ":1: nested more than 60 levels deep; is it the right file?"),
    ("~: 3\narchitecture: staged\n", ":1: a key must be a plain word, got '~'"),
    ("[a, b]: 3\narchitecture: staged\n", ":1: a key must be a plain word, got a list of 2"),
]


@pytest.mark.parametrize(("text", "message"), YAML)
def test_what_is_not_plain_yaml_is_told_with_its_line(text: str, message: str, registry: Registry) -> None:
    check(text, message, registry)


PLUGIN = [
    ("architecture:\n", ":1: architecture: must be a network: a name, or `{name: {parameter: value}}`, got nothing*"),
    ("architecture: 3\n", ":1: architecture: unknown network '3'*"),
    (
        "architecture:\n  staged:\n  depth: 3\n",
        ":2: architecture: must be a network: a name, or `{name: {parameter: value}}`, got a mapping with keys staged, depth; "
        "indent depth under staged to make them its parameters",
    ),
    ("architecture: stagd\n", ":1: architecture: unknown network 'stagd'; did you mean 'staged'?"),
    (
        "architecture: {staged: 3}\n",
        ":1: architecture.staged: the parameters of network 'staged' must be a mapping, got '3'; write `staged: {stem: …}`",
    ),
    (staged("dept: 3"), ":3: architecture.staged.dept: unknown parameter of network 'staged'; did you mean 'depth'?"),
    (staged("shortcut: {none: {x: 1}}"), ":3: architecture.staged.shortcut.none.x: unknown parameter of shortcut 'none'; it has none"),
    (
        staged("shortcut: {none: 3}"),
        ":3: architecture.staged.shortcut.none: the parameters of shortcut 'none' must be a mapping, got '3'; it has none: write `none`",
    ),
    (staged("block: bassic"), ":3: architecture.staged.block: unknown block 'bassic'; did you mean 'basic'?"),
    (staged("block: null"), ":3: architecture.staged.block: must be a block: a name, or `{name: {parameter: value}}`, got 'null'*"),
    (
        staged("shortcut: null"),
        ":3: architecture.staged.shortcut: must be a shortcut: a name, or `{name: {parameter: value}}`, got 'null'; did you mean 'none'?",
    ),
    (staged("block: identity"), ":3: architecture.staged.block: unknown block 'identity'; 'identity' is a shortcut*"),
    (staged("dépth: 3"), ":3: architecture.staged.dépth: unknown parameter of network 'staged'; did you mean 'depth'?"),
    (staged('"a\\e[31mb": 3'), ":3: architecture.staged.a\\x1b[31mb: unknown parameter of network 'staged'*"),
    (
        "architecture: [staged]\n",
        ":1: architecture: must be a network, got a list of 1; to search over several values write `{choices: [...]}`",
    ),
]


@pytest.mark.parametrize(("text", "message"), PLUGIN)
def test_a_wrong_plugin_or_parameter_names_the_nearest_one(text: str, message: str, registry: Registry) -> None:
    check(text, message, registry)


SCALAR = [
    (staged("depth: on"), ":3: architecture.staged.depth: must be int >= 1 or list of int >= 1, got 'on'"),
    (staged("depth: 1e-3"), ":3: architecture.staged.depth: must be int >= 1 or list of int >= 1, got '1e-3'; it must be a whole number"),
    (staged("depth: 1e1"), ":3: architecture.staged.depth: must be int >= 1 or list of int >= 1, got '1e1'; write 10"),
    (staged("depth: 3.0"), ":3: architecture.staged.depth: must be int >= 1 or list of int >= 1, got '3.0'; write 3"),
    (staged("depth: 2.5"), ":3: architecture.staged.depth: must be int >= 1 or list of int >= 1, got '2.5'; it must be a whole number"),
    (staged("depth: true"), ":3: architecture.staged.depth: must be int >= 1 or list of int >= 1, got 'true'"),
    (
        staged('depth: "3"'),
        ":3: architecture.staged.depth: must be int >= 1 or list of int >= 1, got '3'; the quotes make it text: write 3",
    ),
    (staged("depth: 0"), ":3: architecture.staged.depth: must be int >= 1 or list of int >= 1, got '0'"),
    (staged("depth: 010"), ":3: architecture.staged.depth: must be int >= 1 or list of int >= 1, got '010'; write 10"),
    (
        staged("depth: 0x10"),
        ":3: architecture.staged.depth: must be int >= 1 or list of int >= 1, got '0x10'; write it as a decimal number",
    ),
    (
        staged("depth: 99999999999999999999"),
        ":3: architecture.staged.depth: must be int >= 1 or list of int >= 1, got '99999999999999999999'; integers go up to "
        "9,007,199,254,740,992",
    ),
    (
        "train: {optimizer: {sgd: {lr: .nan}}}\narchitecture: staged\n",
        ":1: train.optimizer.sgd.lr: must be float >= 0, got '.nan'; it must be finite",
    ),
    (
        "train: {optimizer: {sgd: {lr: 1e999}}}\narchitecture: staged\n",
        ":1: train.optimizer.sgd.lr: must be float >= 0, got '1e999'; it must be finite",
    ),
    (
        "train: {optimizer: {sgd: {lr: '0,1'}}}\narchitecture: staged\n",
        ":1: train.optimizer.sgd.lr: must be float >= 0, got '0,1'; write 0.1, with a point",
    ),
    (staged("depth: ３"), ":3: architecture.staged.depth: must be int >= 1 or list of int >= 1, got '３'"),
    (staged("depth:"), ":3: architecture.staged.depth: must be int >= 1 or list of int >= 1, got nothing"),
    (staged("depth: [a, b]"), ":3: architecture.staged.depth.0: must be int >= 1, got 'a'"),
    (
        staged("depth: {a: 1}"),
        ":3: architecture.staged.depth: must be int >= 1 or list of int >= 1, got a mapping with key a; a value to be searched "
        "is `{choices: [...]}`, `{int: [low, high]}` or `{float: [low, high]}`",
    ),
    (staged("widths: 8"), ":3: architecture.staged.widths: must be list of int >= 1, got '8'; write a list: [8]"),
    (
        "train: {optimizer: {sgd: {momentum: 1.5}}}\narchitecture: staged\n",
        ":1: train.optimizer.sgd.momentum: must be float in 0..1, got '1.5'",
    ),
    (
        staged("shortcut: {projection: {where: evrywhere}}"),
        ":3: architecture.staged.shortcut.projection.where: must be needed | everywhere, got 'evrywhere'; did you mean 'everywhere'?",
    ),
    (
        "train: {precision: 16}\narchitecture: staged\n",
        ":1: train.precision: must be 32-true | 16-mixed | bf16-mixed | bf16-true | 64-true, got '16'; did you mean '16-mixed'?",
    ),
    (
        "train: {accelerator: null}\narchitecture: staged\n",
        ":1: train.accelerator: must be str, got 'null'; put it in quotes if this text is meant",
    ),
    (staged("depth: " + "x" * 10000), ":3: architecture.staged.depth: must be int >= 1 or list of int >= 1, got '*"),
    ("train: {deterministic: {choices: [true, 1]}}\narchitecture: staged\n", ":1: train.deterministic: must be bool, got '1'"),
]


@pytest.mark.parametrize(("text", "message"), SCALAR)
def test_a_value_of_another_type_is_told_what_to_write(text: str, message: str, registry: Registry) -> None:
    check(text, message, registry)


DOMAIN = [
    (staged("depth: {choices: []}"), ":3: architecture.staged.depth: `choices` must be a list with at least one entry, got an empty list"),
    (staged("depth: {choices: }"), ":3: architecture.staged.depth: `choices` must be a list with at least one entry, got nothing"),
    (staged("depth: {choices: [1, 2, 1]}"), ":3: architecture.staged.depth: the choice 1 stands here twice, first on line 3"),
    (staged("block: {choises: [basic]}"), ":3: architecture.staged.block: unknown block 'choises'; did you mean 'choices'?"),
    (
        staged("depth: {choice: [1, 2]}"),
        ":3: architecture.staged.depth: must be int >= 1 or list of int >= 1, got a mapping with key choice; did you mean 'choices'?",
    ),
    (
        staged("depth: {choices: [1], log: true}"),
        ":3: architecture.staged.depth: a domain of `choices` has no 'log'; write `{choices: …}` alone",
    ),
    (staged("depth: {choices: [1, x]}"), ":3: architecture.staged.depth: must be int >= 1 or list of int >= 1, got 'x'"),
    (
        staged("depth: {choices: [1, {int: [3, 5]}]}"),
        ":3: architecture.staged.depth: a choice must be a constant, a list or a plugin, not a domain; list its values here",
    ),
    (
        staged("block: {choices: [basic, {choices: [bottleneck]}]}"),
        ":3: architecture.staged.block: a choice must be a constant, a list or a plugin, not a domain; list its values here",
    ),
    (
        staged("depth: {int: [1, 2], choices: [3]}"),
        ":3: architecture.staged.depth: must be one domain, got `int` and `choices`; keep one of them",
    ),
    (
        staged("shortcut: {choices: [gated, {gated: {bias: 0}}]}"),
        ":3: architecture.staged.shortcut: the choice gated stands here twice, first on line 3",
    ),
    (staged("depth: {int: [1]}"), ":3: architecture.staged.depth: `int` must be [low, high], got a list of 1"),
    (staged("depth: {int: 3}"), ":3: architecture.staged.depth: `int` must be [low, high], got '3'"),
    (staged("depth: {int: [5, 1]}"), ":3: architecture.staged.depth: low must not be above high, got [5, 1]; swap them"),
    (staged("depth: {int: [1.5, 3]}"), ":3: architecture.staged.depth: must be int >= 1, got '1.5'; it must be a whole number"),
    (
        staged("depth: {int: [1, 9], step: -1}"),
        ":3: architecture.staged.depth.step: must be 1 or more, and 1 in a logarithmic range, got -1",
    ),
    (staged("depth: {int: [1, 10], step: 4}"), ":3: architecture.staged.depth: steps of 4 from 1 do not reach 10; write [1, 9]"),
    (staged("depth: {int: [1, 9], step: 1.5}"), ":3: architecture.staged.depth.step: must be int, got '1.5'; it must be a whole number"),
    (
        staged("depth: {int: [1, 9], step: 2, log: true}"),
        ":3: architecture.staged.depth.step: must be 1 or more, and 1 in a logarithmic range, got 2",
    ),
    (staged("depth: {int: [1, 9], log: on}"), ":3: architecture.staged.depth.log: must be bool, got 'on'; write true"),
    (
        "train: {optimizer: {sgd: {lr: {float: [0, 1], log: true}}}}\narchitecture: staged\n",
        ":1: train.optimizer.sgd.lr: a logarithmic range must start above 0, got 0",
    ),
    (
        staged("depth: {float: [1, 3]}"),
        ":3: architecture.staged.depth: must be int >= 1 or list of int >= 1; a range `float` does not fit, write `{int: [low, high]}`",
    ),
    (
        "train: {optimizer: {sgd: {lr: {int: [1, 3]}}}}\narchitecture: staged\n",
        ":1: train.optimizer.sgd.lr: must be float >= 0; a range `int` does not fit, write `{float: [low, high]}`",
    ),
    (
        staged("block: {int: [1, 3]}"),
        ":3: architecture.staged.block: must be a block or list of blocks; a range `int` does not fit, write `{choices: [...]}`",
    ),
    (staged("depth: {int: [0, 3]}"), ":3: architecture.staged.depth: must be int >= 1, got '0'"),
    (
        staged("depth: {int: [1, {int: [1,2]}]}"),
        ":3: architecture.staged.depth: must be a constant; decisions stand under architecture, train and data",
    ),
    (
        "train: {optimizer: {sgd: {lr: {float: [1, 3], step: 1}}}}\narchitecture: staged\n",
        ":1: train.optimizer.sgd.lr: a domain of `float` has no 'step'; choose from: log",
    ),
    (staged("depth: {int: [1, 3], lgo: true}"), ":3: architecture.staged.depth: a domain of `int` has no 'lgo'; did you mean 'log'?"),
]


@pytest.mark.parametrize(("text", "message"), DOMAIN)
def test_a_domain_that_cannot_be_is_told_why(text: str, message: str, registry: Registry) -> None:
    check(text, message, registry)


SECTION = [
    ("architectur: staged\n", ":1: architectur: unknown section; did you mean 'architecture'?"),
    ("name: x\n", ":1: architecture: must be given; it names a network: *"),
    ("train: [1]\narchitecture: staged\n", ":1: train: must be a mapping of parameters, got a list of 1"),
    ("train: {epoch: 3}\narchitecture: staged\n", ":1: train.epoch: unknown parameter of `train:`; did you mean 'epochs'?"),
    ("name: a b\narchitecture: staged\n", ":1: name: must be a word of letters, digits, '-', '_' and '.', at most 100, got 'a b'"),
    ("name: [a]\narchitecture: staged\n", ":1: name: must be str, got a list of 1"),
    ("name:\narchitecture: staged\n", ":1: name: must be str, got nothing"),
    ("seed: x\narchitecture: staged\n", ":1: seed: must be int, got 'x'"),
    ("seed: {choices: [1, 2]}\narchitecture: staged\n", ":1: seed: must be a constant; decisions stand under architecture, train and data"),
    (
        "search: {maximize: val_accuracy, minimize: val_loss}\narchitecture: staged\n",
        ":1: search: give one of `maximize` and `minimize`, got both",
    ),
    (
        "search: {maximize: val_acuracy}\narchitecture: staged\n",
        ":1: search.maximize: must be a metric of classification, got 'val_acuracy'; did you mean 'val_accuracy'?",
    ),
    (
        "search: {maximize: val_loss}\narchitecture: staged\n",
        ":1: search.maximize: would look for the worst networks; write `minimize: val_loss`",
    ),
    (
        "search: {maximize: test_accuracy}\narchitecture: staged\n",
        ":1: search.maximize: the test split is for measuring alone, so a search cannot use test_accuracy; write val_accuracy",
    ),
    ("search: {trials: 0}\narchitecture: staged\n", ":1: search.trials: must be int >= 1 or null, got '0'"),
    (
        "search: {trials: {int: [1,2]}}\narchitecture: staged\n",
        ":1: search.trials: must be a constant; decisions stand under architecture, train and data",
    ),
    (
        "search: {sampler: tep}\narchitecture: staged\n",
        ":1: search.sampler: must be tpe | gp | cmaes | nsga2 | evolution | qmc | grid | random, got 'tep'; did you mean 'tpe'?",
    ),
    ("search: {minutes: 0}\narchitecture: staged\n", ":1: search.minutes: must be float >= 0.01 or null, got '0'"),
    ("search: 3\narchitecture: staged\n", ":1: search: must be a mapping of parameters, got '3'"),
    ("search: {trial: 3}\narchitecture: staged\n", ":1: search.trial: unknown parameter of `search:`; did you mean 'trials'?"),
    (
        "data: digits\ninput: {shape: [3,8,8], classes: 10}\narchitecture: staged\n",
        ":2: input: stands in for data, and `data:` is given too; remove one of them",
    ),
    ("input:\narchitecture: staged\n", ":1: input: must read like `{shape: [3, 32, 32], classes: 10}`, got nothing"),
    ("input: {shape: [1, 8, 8]}\narchitecture: staged\n", ":1: input.classes: must be given (int >= 1); `input:` has no default for it"),
    (
        "input: {shape: [], classes: 10}\narchitecture: staged\n",
        ":1: input.shape: must have at least one size, got an empty list; a picture is [channels, height, width]",
    ),
    ("data: digit\narchitecture: staged\n", ":1: data: unknown data 'digit'; did you mean 'digits'?"),
    (
        "data:\narchitecture: staged\n",
        ":1: data: must be a data set: a name, or `{name: {parameter: value}}`, got nothing; there are: *",
    ),
    ("data: {digits: {x: 1}}\narchitecture: staged\n", ":1: data.digits.x: unknown parameter of data 'digits'; it has none"),
    (
        "constraints: parameters <= 1M\narchitecture: staged\n",
        ":1: constraints: must be a list like `[parameters <= 1M]`, got 'parameters <= 1M'",
    ),
    (
        "constraints: [parameters = 3]\narchitecture: staged\n",
        ":1: constraints.0: must read like `parameters <= 1M`: one of parameters, macs, num_layers, then <=, <, >= or >, then "
        "a number, got 'parameters = 3'",
    ),
    ("constraints: [params <= 3]\narchitecture: staged\n", ":1: constraints.0: cannot limit 'params'; did you mean 'parameters'?"),
    (
        "constraints: [parameters <= 1.2.3]\narchitecture: staged\n",
        ":1: constraints.0: must read like `parameters <= 1M`: one of parameters, macs, num_layers, then <=, <, >= or >, then "
        "a number, got 'parameters <= 1.2.3'",
    ),
    (
        "constraints: [{parameters: 1M}]\narchitecture: staged\n",
        ":1: constraints.0: must read like `parameters <= 1M`: one of parameters, macs, num_layers, then <=, <, >= or >, then "
        "a number, got a mapping with key parameters",
    ),
    (
        "constraints: ['macs <= .']\narchitecture: staged\n",
        ":1: constraints.0: must read like `parameters <= 1M`: one of parameters, macs, num_layers, then <=, <, >= or >, then "
        "a number, got 'macs <= .'",
    ),
]


@pytest.mark.parametrize(("text", "message"), SECTION)
def test_a_wrong_section_is_told_its_rule(text: str, message: str, registry: Registry) -> None:
    check(text, message, registry)


SHARED = [
    (
        "shared: {w: {choices: [1, 2]}}\narchitecture: staged\n",
        ":1: shared.w: nothing uses it; write `{shared: w}` where it belongs, or remove it",
    ),
    ("shared: [1]\narchitecture: staged\n", ":1: shared: must be a mapping of parameters, got a list of 1"),
    (
        "shared: {w: {choices: [1, 2]}}\narchitecture:\n  staged:\n    depth: {shared: d}\n",
        ":4: architecture.staged.depth: must name an entry of the section `shared:`, got 'd'; choose from: w",
    ),
    (
        staged("depth: {shared: d}"),
        ":3: architecture.staged.depth: must name an entry of the section `shared:`, got 'd'; there is none in this file",
    ),
    (
        "shared: {w: {choices: [1, 2]}}\narchitecture:\n  staged:\n    depth: {shared: [w]}\n",
        ":4: architecture.staged.depth: must name an entry of the section `shared:`, got a list of 1; choose from: w",
    ),
    (
        "shared: {w: {choices: [a, b]}}\narchitecture:\n  staged:\n    depth: {shared: w}\n",
        ":1: shared.w: must be int >= 1 or list of int >= 1, got 'a' (as it is used by architecture.staged.depth, line 4)",
    ),
    (
        "shared: {w: {shared: v}, v: {shared: w}}\narchitecture:\n  staged:\n    depth: {shared: w}\n",
        ":1: shared.v: shared entries use each other in a circle, w → v → w; write one of them out (as it is used by "
        "architecture.staged.depth, line 4)",
    ),
    (
        "shared: {w: {shared: w}}\narchitecture:\n  staged:\n    depth: {shared: w}\n",
        ":1: shared.w: shared entries use each other in a circle, w → w; write one of them out (as it is used by "
        "architecture.staged.depth, line 4)",
    ),
    ("shared: {a b: 1}\narchitecture: staged\n", ":1: shared.a b: must be a word of letters, digits, '-' and '_'"),
    (
        "shared: {w: {choices: [1, 2]}}\narchitecture:\n  staged:\n    depth: {shared: w}\ntrain: {optimizer: {sgd: {lr: {shared: w}}}}\n",
        ":1: shared.w: is used where it means different things, so it cannot be one decision; write it out for each use",
    ),
    (
        "shared: {w: {choices: [none]}}\narchitecture:\n  staged:\n    shortcut: {shared: w}\n    block: {basic: {norm: {shared: w}}}\n",
        ":1: shared.w: is used where it means different things, so it cannot be one decision; write it out for each use",
    ),
    (
        "shared: {w: {choices: [1, 2]}}\narchitecture:\n  staged:\n    depth: {choices: [{shared: w}, 3]}\n",
        ":4: architecture.staged.depth: a choice must be a constant, a list or a plugin, not a domain; list its values here",
    ),
]


@pytest.mark.parametrize(("text", "message"), SHARED)
def test_a_shared_decision_must_be_used_and_mean_one_thing(text: str, message: str, registry: Registry) -> None:
    check(text, message, registry)


def test_the_example_of_the_design_is_answered_word_for_word(registry: Registry) -> None:
    text = "name: residual-digits\ndata: digits\narchitecture:\n  staged:\n    stem: {conv3x3: {width: 8}}\n    widths: [8]\n    dept: 3\n"
    message = "space.yaml:7: architecture.staged.dept: unknown parameter of network 'staged'; did you mean 'depth'?"
    assert refused(text, registry) == message


def test_an_error_carries_its_place_in_parts(registry: Registry) -> None:
    with pytest.raises(SpaceError) as error:
        parse_space(staged("dept: 3"), "space.yaml", registry)
    assert (error.value.where.file, error.value.where.line, error.value.where.path) == ("space.yaml", 3, "architecture.staged.dept")


def test_a_file_of_megabytes_is_refused_before_it_is_parsed(registry: Registry) -> None:
    told = refused(staged("depth: 1") + "# comment\n" * 200_000, registry)
    assert told == "space.yaml: a space file has at most 1,000,000 characters, got 2,000,037; is it the right file?"


def test_a_path_that_no_database_holds_is_refused(registry: Registry) -> None:
    label = "x" * 600
    told = refused(f"shared: {{{label}: {{int: [1, 2]}}}}\n{staged(f'depth: {{shared: {label}}}')}", registry)
    assert told.startswith("space.yaml:1: shared.xxx")
    assert told.endswith("a decision's path has at most 500 characters, this one has 607; shorten names in it")
