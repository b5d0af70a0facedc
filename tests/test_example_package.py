"""The example package: installed by pip, found by its entry point, searched with, and tested by its own tests."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "nas-stripes"
pytest.importorskip("setuptools", reason="the example is built with setuptools: pip install setuptools")


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a process that has the example installed."""
    folder = tmp_path_factory.mktemp("installed")
    source = shutil.copytree(EXAMPLE, folder / "source", ignore=shutil.ignore_patterns("build", "*.egg-info", "__pycache__"))
    site = folder / "site"
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--no-build-isolation"]
    told = subprocess.run([*pip, "--target", str(site), str(source)], capture_output=True, text=True, timeout=300, check=False)
    assert told.returncode == 0, told.stderr
    kept = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
    path = os.pathsep.join(filter(None, (str(site), os.environ.get("PYTHONPATH", ""))))
    return {**kept, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}


def run(environment: dict[str, str], cwd: Path, *arguments: str) -> str:
    told = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=cwd, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert told.returncode == 0, told.stdout[-2000:] + told.stderr[-2000:]
    return told.stdout


def test_the_installed_package_is_listed_with_its_version(environment: dict[str, str], tmp_path: Path) -> None:
    document = json.loads(run(environment, tmp_path, "nas", "plugins", "list", "--json"))
    own = {(plugin["kind"], plugin["name"]) for plugin in document if plugin["origin"] == "package nas-stripes 0.1.0"}
    assert own == {("data", "stripes"), ("block", "crossed")}


def test_a_search_uses_the_installed_plugins(environment: dict[str, str], tmp_path: Path) -> None:
    space = (EXAMPLE / "space.yaml").read_text().replace("epochs: 4", "epochs: 1").replace("trials: 6", "trials: 3")
    (tmp_path / "space.yaml").write_text(space)
    run(environment, tmp_path, "nas", "search", "space.yaml")
    (study,) = json.loads(run(environment, tmp_path, "nas", "studies", "--json"))
    assert study["search"] == 3


def test_the_examples_own_tests_pass(environment: dict[str, str], tmp_path: Path) -> None:
    assert " passed" in run(environment, tmp_path, "pytest", "-p", "no:cacheprovider", str(EXAMPLE / "tests"))
