"""A space is decided by whoever chooses: once for each decision that exists, and by draws that no other decision moves."""

from collections import Counter
from pathlib import Path

import optuna
import pytest

from nas.errors import SpaceError
from nas.registry import Registry, discover
from nas.sampling import Sample, first_choice, fixing, keyed_draw, refuse_unused, sample
from nas.space import Decision, Space, parse_space
from nas.study.ledger.trials import suggest
from nas.values.architecture import PluginNode
from nas.values.domains import Scalar

CONDITIONAL = """\
shared:
  norm: {choices: [batch, {group: {groups: {choices: [2, 4]}}}]}
architecture:
  staged:
    widths: {choices: [[4, 8], [8, 16]]}
    depth: [1, {int: [1, 3]}]
    block: {choices: [{basic: {norm: {shared: norm}}}, {bottleneck: {norm: {shared: norm}, expansion: {int: [2, 4]}}}]}
    shortcut: {choices: [none, {gated: {bias: 0}}, {gated: {bias: -6, gate: {choices: [exclusive, shortcut_only]}}}]}
    stem: {conv3x3: {norm: {shared: norm}}}
train:
  optimizer: {sgd: {lr: {float: [0.03, 0.3], log: true}, nesterov: {choices: [true, false]}}}
  gradient_clip_val: {choices: [null, 1, 0.5]}
"""


@pytest.fixture
def space(registry: Registry) -> Space:
    return parse_space(CONDITIONAL, "space.yaml", registry)


def drawn(space: Space, *keys: object) -> Sample:
    return sample(space, keyed_draw(*keys))


def test_a_shared_decision_is_asked_for_once_and_used_everywhere(space: Space) -> None:
    asked: list[str] = []

    def choose(decision: Decision) -> Scalar:
        asked.append(decision.path)
        return "group" if decision.path == "shared.norm" else first_choice(decision)

    network = sample(space, choose).configuration.architecture.network
    assert asked.count("shared.norm") == asked.count("shared.norm.group.groups") == 1
    assert network["block"]["norm"] == network["stem"]["norm"] == PluginNode("group", (("groups", 2), ("eps", 1e-5)))


def test_a_decision_under_a_choice_that_is_not_made_is_never_asked_for(space: Space) -> None:
    made = [dict(drawn(space, i).decisions) for i in range(50)]
    for decisions in made:
        block = decisions["architecture.staged.block"]
        assert ("architecture.staged.block.bottleneck.expansion" in decisions) == (block == "bottleneck")
        gated = decisions["architecture.staged.shortcut"] == "gated(bias=-6)"
        assert ("architecture.staged.shortcut.gated(bias=-6).gate" in decisions) == gated
    assert {d["architecture.staged.block"] for d in made} == {"basic", "bottleneck"}


def test_every_parameter_is_decided_in_the_order_of_the_signature(space: Space, registry: Registry) -> None:
    network = drawn(space, 0).configuration.architecture.network
    assert [name for name, _ in network.parameters] == [p.name for p in registry.find("network", "staged").parameters]


def test_lists_hold_what_was_decided_for_each_place(space: Space) -> None:
    decided = sample(space, fixing({"architecture.staged.depth.1": 3, "architecture.staged.widths": "8-16"}, first_choice))
    network = decided.configuration.architecture.network
    assert (network["depth"], network["widths"]) == ((1, 3), (8, 16))


def test_a_keyed_draw_is_the_same_every_time_and_another_for_each_key(space: Space) -> None:
    assert drawn(space, 7, "replicate", 3) == drawn(space, 7, "replicate", 3)
    assert len({drawn(space, 7, "replicate", i).configuration.key for i in range(20)}) > 15


def test_a_new_decision_moves_no_other_draw(space: Space, registry: Registry) -> None:
    more = parse_space(CONDITIONAL.replace("train:\n", "train:\n  label_smoothing: {float: [0, 0.2]}\n"), "space.yaml", registry)
    for i in range(20):
        before, after = dict(drawn(space, i).decisions), dict(drawn(more, i).decisions)
        assert after.pop("train.label_smoothing") is not None
        assert before == after


def test_random_draws_choose_each_label_equally_often(space: Space) -> None:
    counts = Counter(dict(drawn(space, i).decisions)["architecture.staged.shortcut"] for i in range(900))
    assert all(250 < count < 350 for count in counts.values())
    assert len(counts) == 3


def test_a_fixed_value_goes_before_the_other_chooser(space: Space) -> None:
    decided = sample(space, fixing({"architecture.staged.shortcut": "none"}, keyed_draw(1)))
    assert dict(decided.decisions)["architecture.staged.shortcut"] == "none"


def test_a_setting_for_a_decision_that_does_not_exist_says_what_it_needs(space: Space) -> None:
    fixed: dict[str, Scalar] = {"architecture.staged.block.bottleneck.expansion": 2}
    with pytest.raises(SpaceError) as error:
        refuse_unused(fixed, sample(space, fixing(fixed, first_choice)), space)
    assert str(error.value) == (
        "architecture.staged.block.bottleneck.expansion: does not exist under the choices made; "
        "it needs architecture.staged.block=bottleneck"
    )


@pytest.mark.parametrize(
    ("path", "text", "value"),
    [
        ("architecture.staged.depth.1", "3", 3),
        ("architecture.staged.widths", "8-16", "8-16"),
        ("architecture.staged.shortcut", "gated(bias=-6)", "gated(bias=-6)"),
        ("train.optimizer.sgd.lr", "1e-1", 0.1),
        ("train.optimizer.sgd.nesterov", "true", True),
        ("train.optimizer.sgd.nesterov", "False", False),
        ("train.gradient_clip_val", "null", None),
        ("train.gradient_clip_val", "None", None),
        ("train.gradient_clip_val", "1", 1.0),
        ("train.gradient_clip_val", "0.50", 0.5),
    ],
)
def test_a_setting_is_read_as_its_decision_says(path: str, text: str, value: Scalar, space: Space) -> None:
    read = space.with_settings({path: text})[path]
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("path", "text", "message"),
    [
        ("depth.1", "2", "is no decision of this space; did you mean 'architecture.staged.depth.1'?"),
        ("architecture.staged.depht.1", "2", "is no decision of this space; did you mean 'architecture.staged.depth.1'?"),
        ("architecture.staged.depth.0", "2", "is no decision: the space fixes it; give it `{choices: [...]}` or a range there"),
        ("architecture.staged.depth.1", "4", "must be in 1..3, got '4'"),
        ("architecture.staged.depth.1", "2.0", "must be in 1..3, got '2.0'"),
        ("architecture.staged.depth.1", "", "must be in 1..3, got ''"),
        ("train.optimizer.sgd.lr", "nan", "must be in 0.03..0.3 (log), got 'nan'"),
        ("train.optimizer.sgd.lr", "0.31", "must be in 0.03..0.3 (log), got '0.31'"),
        ("train.optimizer.sgd.nesterov", "yes", "must be one of true, false, got 'yes'"),
        ("train.gradient_clip_val", "garbage", "must be one of null, 1, 0.5, got 'garbage'"),
        ("architecture.staged.block", "bottlneck", "must be one of basic, bottleneck, got 'bottlneck'; did you mean 'bottleneck'?"),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_told_what_it_could_be(path: str, text: str, message: str, space: Space) -> None:
    with pytest.raises(SpaceError) as error:
        space.with_settings({path: text})
    assert str(error.value) == f"{path}: {message}"


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_every_label_goes_through_optuna_and_back(space: Space) -> None:
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(multivariate=True, group=True, n_startup_trials=5, seed=1))
    for decision in space.decisions.values():
        for label in getattr(decision.domain, "labels", ()):
            study.enqueue_trial({decision.path: label})
    asked: list[tuple[tuple[str, Scalar], ...]] = []
    for _ in range(40):
        trial = study.ask()
        decided = sample(space, lambda decision, trial=trial: suggest(trial, decision))
        asked.append(decided.decisions)
        study.tell(trial, float(len(asked)))
    assert [tuple(t.params.items()) for t in study.get_trials()] == asked
    seen = {(path, type(value), value) for decisions in asked for path, value in decisions}
    assert {("train.gradient_clip_val", type(v), v) for v in (None, 1.0, 0.5)} <= seen
    assert {("train.optimizer.sgd.nesterov", bool, v) for v in (True, False)} <= seen


def test_a_number_and_its_text_are_two_choices_for_optuna_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.py").write_text(
        "from nas.plugin import Activation, plugin\n\n\n@plugin('worded')\nclass Worded(Activation):\n    '''Takes either.'''\n\n"
        "    def __init__(self, *, size: int | str = 1) -> None:\n        super().__init__()\n"
    )
    monkeypatch.chdir(tmp_path)
    text = "architecture: {staged: {block: {basic: {activation: {worded: {size: {choices: [1, '1']}}}}}}}"
    space = parse_space(text, "space.yaml", discover([tmp_path]))
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    path = "architecture.staged.block.basic.activation.worded.size"
    seen = set()
    for _ in range(20):
        trial = study.ask()
        decided = sample(space, lambda decision, trial=trial: suggest(trial, decision))
        value = decided.configuration.architecture.network["block"]["activation"]["size"]
        assert value == dict(decided.decisions)[path] == study.get_trials()[-1].params[path]
        seen.add(value)
        study.tell(trial, 0.0)
    assert seen == {1, "1"}
