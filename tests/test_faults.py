"""A plugin that raises, or that forgets something, is named with its file, whatever it raises and wherever it is built or run."""

from collections.abc import Callable
from pathlib import Path

import pytest

from nas.building import build, cost_of
from nas.errors import PluginError, StudyError
from nas.outlining import outline
from nas.plugin import NetworkContext
from nas.registry import discover
from nas.sampling import first_choice, sample
from nas.space import parse_space
from nas.study.jobs.memory import demand_of
from nas.study.study import Study
from nas.study.worker.desk import open_desk
from nas.values.architecture import Architecture

CONTEXT = NetworkContext((1, 8, 8), 10)
BLOCK = '''\
from torch import nn

from nas.plugin import Block, UnitContext, plugin


class Branch(nn.Module):
    """What the block runs."""

    def __init__(self, context):
        super().__init__()
        self.conv = nn.Conv2d(context.in_channels, context.width, 3, context.stride, 1)

    def forward(self, x):
        return {answer}


@plugin("mine")
class Mine(Block):
    """A block to be broken."""

    num_layers = 1

    def __init__(self, context: UnitContext) -> None:
        super().__init__()
        self.before, self.branch, self.after = nn.Identity(), Branch(context), nn.ReLU()
        {rest}
'''
PARTS = '''\
from torch import nn

from nas.plugin import Activation, Head, HeadContext, Initialisation, Shortcut, ShortcutContext, plugin


@plugin("raising")
class RaisingShortcut(Shortcut):
    """Raises."""

    def __init__(self, context: ShortcutContext) -> None:
        super().__init__()
        self.out_channels = context.out_channels

    def forward(self, x, h):
        return self.nothing


@plugin("raising")
class RaisingActivation(Activation):
    """Raises."""

    def forward(self, x):
        raise NotImplementedError


@plugin("raising")
class RaisingHead(Head):
    """Raises."""

    def __init__(self, context: HeadContext) -> None:
        super().__init__()

    def forward(self, x):
        return {}[0]


@plugin("raising")
class RaisingInitialisation(Initialisation):
    """Raises."""

    def apply(self, network, generator_for):
        raise KeyError("fan")
'''

Decided = Callable[[str], tuple[Architecture, object]]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plugins").mkdir()
    return tmp_path / "plugins"


def told(parameters: str, call: Callable[..., object] = cost_of) -> str:
    registry = discover()
    space = parse_space(f"architecture: {{staged: {parameters}}}", "space.yaml", registry)
    with pytest.raises(PluginError) as error:
        call(sample(space, first_choice).configuration.architecture, registry, CONTEXT)
    return str(error.value)


def block(folder: Path, answer: str = "self.conv(x)", rest: str = "self.out_channels = context.width") -> Path:
    file = folder / "mine.py"
    file.write_text(BLOCK.format(answer=answer, rest=rest))
    return file


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ("{}['x']", "KeyError"),
        ("x.nothing", "AttributeError"),
        ("1 / 0", "ZeroDivisionError"),
        ("next(iter(()))", "StopIteration"),
        ("self.conv(x[:, :1])", "RuntimeError"),
    ],
)
@pytest.mark.parametrize("call", [cost_of, outline])
def test_whatever_a_branch_raises_names_its_block_with_file_and_line(
    call: Callable[..., object], answer: str, error: str, folder: Path
) -> None:
    file = block(folder, answer)
    line = next(i for i, text in enumerate(file.read_text().splitlines(), 1) if text.strip().startswith("return "))
    assert f"cannot be run: {error} in block 'mine' ({file}:{line})" in told("{block: mine}", call)


def test_a_block_that_raises_with_a_whole_batch_alone_is_named_where_its_memory_is_counted(folder: Path) -> None:
    file = block(folder, "self.conv(x) if len(x) < 64 else {}['x']")
    space = parse_space("architecture: {staged: {block: mine}}", "space.yaml", discover())
    with pytest.raises(PluginError, match=rf"cannot be run: KeyError in block 'mine' \({file}:\d+\)"):
        demand_of(space, sample(space, first_choice).configuration)


@pytest.mark.parametrize(("parameter", "kind"), [("shortcut", "shortcut"), ("head", "head"), ("block: {basic: {activation", "activation")])
def test_whatever_another_part_raises_names_that_part(parameter: str, kind: str, folder: Path) -> None:
    file = folder / "parts.py"
    file.write_text(PARTS)
    assert f"in {kind} 'raising' ({file}:" in told(f"{{{parameter}: raising{'}}' if '{' in parameter else ''}}}")


def test_shapes_that_do_not_fit_in_a_unit_name_its_block_and_its_shortcut(folder: Path) -> None:
    file = block(folder, "self.conv(x)[:, 1:]")
    message = told("{block: mine}")
    assert f"RuntimeError in block 'mine' ({file}) with shortcut 'identity' (" in message


def test_an_initialisation_that_raises_is_named(folder: Path) -> None:
    (folder / "parts.py").write_text(PARTS)
    message = told("{init: raising}", build)
    assert f"cannot be initialised: KeyError in initialisation 'raising' ({folder / 'parts.py'}:" in message


def test_a_block_that_forgets_what_its_base_promises_is_named(folder: Path) -> None:
    file = block(folder, rest="del self.after")
    assert told("{block: mine}") == (
        f"block 'mine' ({file}) does not set `self.after` and `self.out_channels`; set it in the constructor, nas.plugin.Block says to what"
    )


def test_a_worker_that_finds_an_edited_plugin_says_which_one(folder: Path, tmp_path: Path) -> None:
    file = block(folder, "self.conv(x)")
    space = parse_space("architecture: {staged: {block: mine}}", "space.yaml", discover())
    study = Study.open(space, f"sqlite:///{tmp_path}/optuna.db")
    file.write_text(f"{file.read_text()}\n# edited\n")
    with pytest.raises(StudyError, match=r"finds other plugins than the study was made with \(block/mine: its source changed\)"):
        open_desk(study.storage, study.search.name, discover(), (), None)
