"""Plugins are found, read by their signatures, and refused by name where they break the contract."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from nas.errors import PluginError, UserError
from nas.paths import shipped
from nas.registry import Registry, discover
from nas.space import parse_space

BLOCK = '''\
from nas.plugin import Activation, plugin


@plugin("{name}")
class Mine(Activation):
    """My own activation."""

    def __init__(self, *, {parameters}) -> None:
        super().__init__()
'''
SPACE = "architecture: {staged: {block: {basic: {activation: %s}}}}"


def source(name: str = "mine", parameters: str = "slope: float = 0.1") -> str:
    return BLOCK.format(name=name, parameters=parameters)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for plugins; the current directory has none."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "mine"
    folder.mkdir()
    return folder


def refused(*folders: Path) -> str:
    with pytest.raises(PluginError) as error:
        discover(folders)
    return str(error.value)


def test_a_plugin_is_found_in_a_folder_given_by_hand(folder: Path) -> None:
    (folder / "a.py").write_text(source())
    info = discover([folder]).find("activation", "mine")
    assert (info.summary, info.file) == ("My own activation.", str(folder / "a.py"))


def test_a_plugin_is_found_in_plugins_under_the_current_directory(folder: Path) -> None:
    inner = folder.parent / "plugins" / "blocks"
    inner.mkdir(parents=True)
    (inner / "a.py").write_text(source())
    assert "mine" in discover().names("activation")


def test_files_of_identical_bytes_are_one_plugin(folder: Path) -> None:
    shutil.copytree(shipped("plugins"), folder / "copy", ignore=shutil.ignore_patterns("__pycache__"))
    assert discover([folder / "copy"]).plugins == discover().plugins


def test_two_files_that_register_one_name_are_both_named(folder: Path) -> None:
    (folder / "a.py").write_text(source())
    (folder / "b.py").write_text(source(parameters="slope: float = 0.2"))
    told = refused(folder)
    assert told == (
        f"two plugins are called 'mine' (activation): Mine in {folder / 'a.py'} and Mine in {folder / 'b.py'}; "
        "rename one in its @plugin(…), or remove one"
    )


def test_a_copy_whose_helper_differs_is_another_plugin_of_the_name(folder: Path) -> None:
    for name, slope in (("one", "0.1"), ("two", "0.25")):
        (folder / name).mkdir()
        (folder / name / "_slope.py").write_text(f"SLOPE = {slope}\n")
        (folder / name / "a.py").write_text("from ._slope import SLOPE\n" + source(parameters="slope: float = SLOPE"))
    told = refused(folder / "one", folder / "two")
    assert str(folder / "one" / "a.py") in told
    assert str(folder / "two" / "a.py") in told


def test_one_name_may_stand_for_plugins_of_two_kinds(folder: Path) -> None:
    (folder / "a.py").write_text(source(name="basic"))
    registry = discover([folder])
    assert registry.find("block", "basic") != registry.find("activation", "basic")


def test_a_class_bound_to_two_names_is_one_plugin(folder: Path) -> None:
    (folder / "a.py").write_text(source() + "\n\nAlias = Mine\n")
    assert discover([folder]).find("activation", "mine").cls.__name__ == "Mine"


def test_a_plugin_that_a_helper_defines_belongs_to_the_file_that_imports_it(folder: Path) -> None:
    (folder / "_helper.py").write_text(source())
    assert "mine" not in discover([folder]).names("activation")
    (folder / "a.py").write_text("from ._helper import Mine\n")
    (folder / "b.py").write_text("from ._helper import Mine as Other\n")
    assert discover([folder]).find("activation", "mine").file == str(folder / "_helper.py")


def test_tests_and_helpers_are_no_plugin_files(folder: Path) -> None:
    for name in ("_helper.py", "test_a.py", "tests/a.py", ".hidden/a.py", "_inner/a.py"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("raise RuntimeError('must not be imported')\n")
    assert discover([folder]).plugins == discover().plugins


def test_an_edited_file_is_read_anew_by_the_same_process(folder: Path) -> None:
    (folder / "a.py").write_text(source())
    before = discover([folder]).find("activation", "mine")
    (folder / "a.py").write_text(source(parameters="slope: float = 0.25"))
    after = discover([folder]).find("activation", "mine")
    assert [p.default for p in (*before.parameters, *after.parameters)] == [0.1, 0.25]


# --- what fails to import ---------------------------------------------------------------------------------------------


def test_a_file_that_fails_to_import_stops_with_its_own_traceback(folder: Path) -> None:
    (folder / "a.py").write_text("import os\n\n\ndef inner():\n    return undefined_name\n\n\ninner()\n")
    told = refused(folder).splitlines()
    file = folder / "a.py"
    assert told[0] == f"{file}: this plugin file fails to import, so the space would be silently smaller; mend it or move it away."
    assert told[1] == f'  File "{file}", line 8, in <module>'
    assert told[-1] == "NameError: name 'undefined_name' is not defined"
    assert not any("importlib" in line for line in told)


def test_a_missing_package_in_a_plugin_is_never_swallowed(folder: Path) -> None:
    (folder / "a.py").write_text("import a_package_that_is_not_there\n")
    assert refused(folder).endswith("ModuleNotFoundError: No module named 'a_package_that_is_not_there'")


def test_a_syntax_error_is_shown_where_it_is(folder: Path) -> None:
    (folder / "a.py").write_text("x = 1\ndef f(:\n")
    told = refused(folder)
    assert f'File "{folder / "a.py"}", line 2' in told
    assert told.splitlines()[-1].startswith("SyntaxError: ")


def test_an_error_in_a_helper_is_shown_with_the_way_to_it(folder: Path) -> None:
    (folder / "_helper.py").write_text("1 / 0\n")
    (folder / "a.py").write_text("from ._helper import x\n")
    told = refused(folder)
    assert f'File "{folder / "a.py"}", line 1' in told
    assert f'File "{folder / "_helper.py"}", line 1' in told
    assert told.endswith("ZeroDivisionError: division by zero")


def test_a_plugin_file_that_exits_does_not_end_the_program(folder: Path) -> None:
    (folder / "a.py").write_text("raise SystemExit(0)\n")
    assert refused(folder).endswith("SystemExit: 0")


def test_a_file_whose_name_has_a_dot_is_refused_by_name(folder: Path) -> None:
    (folder / "a.b.py").write_text(source())
    assert refused(folder) == f"{folder / 'a.b.py'}: Python cannot import a file or folder with a dot in its name; rename it"


def test_a_broken_link_is_refused_by_name(folder: Path) -> None:
    (folder / "a.py").symlink_to(folder / "gone.py")
    assert refused(folder) == f"{folder / 'a.py'}: this plugin file cannot be read; mend the link, or remove it"


def test_a_folder_that_is_not_there_names_the_nearest_one(folder: Path) -> None:
    with pytest.raises(UserError, match=r"^--plugins mime: there is no such folder; did you mean 'mine'\?$"):
        discover(["mime"])


def test_a_file_in_place_of_a_folder_is_told_its_folder(folder: Path) -> None:
    (folder / "a.py").write_text(source())
    with pytest.raises(UserError, match=r"^--plugins mine/a.py: must be a folder, got a file; .* --plugins mine$"):
        discover(["mine/a.py"])


# --- what breaks the contract -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "my block", "a.b", "a(b)", "3x", "choices", "int", "float", "shared", "null"])
def test_a_name_that_no_space_file_can_write_is_refused(name: str, folder: Path) -> None:
    (folder / "a.py").write_text(source(name=name))
    assert refused(folder).startswith(f"{folder / 'a.py'}: @plugin({name!r}) on Mine: a name must be a word")


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ("slope=0.1", "parameter 'slope' of Mine has no type; write it as `slope: int = 3`, so that space files can be checked"),
        ("slope: dict = {}", "parameter 'slope' of Mine has the type dict, which no space file can write; use bool, int, float, "),
        ("slope: list[int] = []", "parameter 'slope' of Mine has the type list[int], which no space file can write; use bool, int, "),
        ("slope: 'Nowhere' = 1", "a type in the signature of Mine cannot be read: name 'Nowhere' is not defined; import it outside "),
    ],
)
def test_a_parameter_that_no_space_file_could_set_is_refused(parameters: str, message: str, folder: Path) -> None:
    (folder / "a.py").write_text(source(parameters=parameters))
    assert refused(folder).startswith(f"{folder / 'a.py'}: {message}")


def test_a_parameter_before_the_star_is_refused(folder: Path) -> None:
    (folder / "a.py").write_text(source().replace("self, *, slope: float = 0.1", "self, slope: float = 0.1"))
    assert refused(folder) == (
        f"{folder / 'a.py'}: parameter 'slope' of Mine stands before the `*`, so no space file could set it; "
        "make it keyword-only: `(self, context, *, slope: float = 0.1)`"
    )


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ("slope: int = 'x'", "the default of 'slope' must be int, got 'x'; mend the plugin's signature"),
        ("slope: Annotated[float, Bounds(0)] = -1.0", "the default of 'slope' must be float >= 0, got -1.0; mend the plugin's signature"),
        ("slope: int = None", "the default of 'slope' must be int, got None; mend the plugin's signature"),
        ("norm: Factory[Norm] = use('bach')", "the default of 'norm' is bach: unknown norm 'bach'; did you mean 'batch'?"),
        (
            "norm: Factory[Norm] = use('batch', epss=1)",
            "the default of 'norm' is batch(epss=1): unknown parameter 'epss' of norm 'batch'; did you mean 'eps'?",
        ),
    ],
)
def test_a_default_that_does_not_fit_is_the_plugins_mistake(parameters: str, message: str, folder: Path) -> None:
    imports = "from typing import Annotated\nfrom nas.plugin import Bounds, Factory, Norm, use\n"
    (folder / "a.py").write_text(imports + source(parameters=parameters))
    with pytest.raises(PluginError) as error:
        parse_space(SPACE % "mine", "space.yaml", discover([folder]))
    assert str(error.value) == f"{folder / 'a.py'}: activation 'mine': {message}"


def test_a_default_that_holds_itself_is_refused(folder: Path) -> None:
    imports = "from nas.plugin import Factory, use\n"
    (folder / "a.py").write_text(imports + source(parameters="inner: Factory[Activation] = use('mine')"))
    with pytest.raises(PluginError, match=r"uses itself without end; mend the plugin's signature$"):
        parse_space(SPACE % "mine", "space.yaml", discover([folder]))


def test_a_required_parameter_must_be_given_where_the_plugin_stands(folder: Path) -> None:
    (folder / "a.py").write_text(source(parameters="slope: float"))
    with pytest.raises(UserError, match=r"^space.yaml:1: .*\.mine\.slope: must be given \(float\); activation 'mine' has no default"):
        parse_space(SPACE % "mine", "space.yaml", discover([folder]))


# --- sources ----------------------------------------------------------------------------------------------------------


def test_a_plugin_without_helpers_has_the_hash_of_its_file(folder: Path) -> None:
    (folder / "a.py").write_text(source())
    assert discover([folder]).find("activation", "mine").sha256 == hashlib.sha256(source().encode()).hexdigest()


@pytest.mark.parametrize(
    "statement",
    ["from ._helper import x", "from . import _helper", "from .inner._deep import x", "from .inner import y", "from .between import z"],
)
def test_a_helper_that_changes_changes_the_plugins_that_import_it(statement: str, folder: Path) -> None:
    (folder / "inner").mkdir()
    helpers = {"_helper.py": "x = 1\n", "inner/_deep.py": "x = 1\n", "inner/__init__.py": "y = 1\n"}
    for name, text in helpers.items():
        (folder / name).write_text(text)
    (folder / "between.py").write_text("from ._helper import x as z\n")
    (folder / "a.py").write_text(f"{statement}\n{source()}")
    (folder / "b.py").write_text(source(name="other"))
    before = discover([folder])
    for name, text in helpers.items():
        (folder / name).write_text(f"{text}# changed\n")
    after = discover([folder])
    assert before.find("activation", "mine").sha256 != after.find("activation", "mine").sha256
    assert before.find("activation", "other").sha256 == after.find("activation", "other").sha256


def test_sources_do_not_depend_on_where_the_files_lie(folder: Path) -> None:
    for place in ("one", "two"):
        (folder / place).mkdir()
        (folder / place / "_helper.py").write_text("x = 1\n")
        (folder / place / "a.py").write_text("from ._helper import x\n" + source())
    hashes = {discover([folder / place]).find("activation", "mine").sha256 for place in ("one", "two")}
    assert len(hashes) == 1


# --- installed packages -----------------------------------------------------------------------------------------------


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Install a package as pip leaves it: its files, and a dist-info with an entry point."""

    def make(package: str, entry: str, files: dict[str, str]) -> Path:
        site = tmp_path / f"site_{package}"
        for name, text in files.items():
            (site / name).parent.mkdir(parents=True, exist_ok=True)
            (site / name).write_text(text)
        info = site / f"{package}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(f"[nas.plugins]\n{package} = {entry}\n")
        monkeypatch.syspath_prepend(site)
        return site

    return make


def test_an_installed_module_is_found_by_its_entry_point(install: Callable[..., Path]) -> None:
    site = install("nas_one", "nas_one", {"nas_one.py": source()})
    assert discover().find("activation", "mine").file == str(site / "nas_one.py")


def test_every_module_of_an_installed_package_counts(install: Callable[..., Path]) -> None:
    files = {
        "nas_two/__init__.py": "from ._private import Mine\n",
        "nas_two/_private.py": source(name="private"),
        "nas_two/inner/__init__.py": "",
        "nas_two/inner/deep.py": "from .._helper import x\n" + source(name="deep"),
        "nas_two/_helper.py": "x = 1\n",
        "nas_two/test_it.py": "raise RuntimeError('must not be imported')\n",
    }
    site = install("nas_two", "nas_two", files)
    registry = discover()
    assert {"private", "deep"} <= set(registry.names("activation"))
    assert registry.find("activation", "private").file == str(site / "nas_two" / "_private.py")
    alone = hashlib.sha256(files["nas_two/inner/deep.py"].encode()).hexdigest()
    assert registry.find("activation", "deep").sha256 != alone


def test_an_installed_copy_of_a_folders_file_is_no_second_plugin(install: Callable[..., Path], folder: Path) -> None:
    (folder / "a.py").write_text(source())
    install("nas_three", "nas_three.blocks", {"nas_three/__init__.py": "", "nas_three/blocks.py": source()})
    assert discover([folder]).find("activation", "mine").file == str(folder / "a.py")


def test_an_installed_plugin_and_a_folders_of_one_name_are_both_named(install: Callable[..., Path], folder: Path) -> None:
    (folder / "a.py").write_text(source())
    site = install("nas_six", "nas_six", {"nas_six.py": source(parameters="slope: float = 0.2")})
    told = refused(folder)
    assert f"Mine in {folder / 'a.py'} and Mine in {site / 'nas_six.py'} (package nas_six 1.2); rename one" in told


def test_an_installed_plugin_knows_its_package(install: Callable[..., Path]) -> None:
    install("nas_seven", "nas_seven", {"nas_seven.py": source()})
    registry = discover()
    assert registry.find("activation", "mine").package == "nas_seven 1.2"
    assert registry.find("activation", "relu").package == ""


def test_an_installed_package_that_fails_to_import_is_named(install: Callable[..., Path]) -> None:
    site = install("nas_four", "nas_four", {"nas_four.py": "1 / 0\n"})
    told = refused()
    first, second, *_, last = told.splitlines()
    assert first == "the installed plugin 'nas_four' of nas_four 1.2 (nas_four) fails to import; mend or uninstall it."
    assert second == f'  File "{site / "nas_four.py"}", line 1, in <module>'
    assert last == "ZeroDivisionError: division by zero"


def test_an_installed_package_without_a_plugin_is_named(install: Callable[..., Path]) -> None:
    install("nas_five", "nas_five", {"nas_five.py": "x = 1\n"})
    assert refused() == (
        "the installed plugin 'nas_five' of nas_five 1.2 (nas_five) must name a module or a package with classes that carry "
        "@plugin, and none is there"
    )


# --- the table --------------------------------------------------------------------------------------------------------


def test_an_unknown_plugin_names_the_nearest_one(registry: Registry) -> None:
    with pytest.raises(PluginError, match=r"^unknown block 'bassic'; did you mean 'basic'\?$"):
        registry.find("block", "bassic")


def test_every_shipped_plugin_says_what_it_is(registry: Registry) -> None:
    assert [info.name for info in registry.plugins if not info.summary.endswith((".", ":"))] == []
