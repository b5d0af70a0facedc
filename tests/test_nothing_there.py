"""A mistyped `--store`: a command that only reads says that nothing is there, and makes nothing."""

from pathlib import Path

import pytest
from in_process import nas_here

from nas.study.ledger.known import studies_in
from nas.study.ledger.ledger import Ledger
from nas.study.ledger.storage import open_storage

RUN = "0123456789abcdef" * 2
TO_READ = (
    "report", "report other", "best", "sync", "worker", "measure", "ablate", "train", "train other", f"train {RUN}", "rerun",
    f"rerun {RUN}", f"export {RUN} --to out", "export other --to out", "probe gradient_norm other", "ui",
)  # fmt: skip


@pytest.mark.parametrize("words", TO_READ)
def test_a_command_that_needs_results_makes_no_store(words: str, tmp_path: Path) -> None:
    done = nas_here(tmp_path, *words.split(), "--store", "mistyped")
    assert done.returncode == 2
    assert "mistyped" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_list_of_no_studies_makes_no_store(tmp_path: Path) -> None:
    done = nas_here(tmp_path, "studies", "--store", "mistyped")
    assert done.returncode == 0
    assert "No study in" in done.stdout
    assert not list(tmp_path.iterdir())


def test_the_tilde_of_a_store_is_the_home_folder_also_where_no_shell_has_seen_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    done = nas_here(tmp_path, "report", "--store=~/results")
    assert f"no study in sqlite:///{tmp_path}/home/results/optuna.db" in done.stderr


def test_a_ledger_whose_address_has_options_is_found_again(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.db'}?timeout=30"
    Ledger.create(open_storage(url), "known", direction="maximize", about={"phase": "search", "name": "known"})
    assert [found["title"] for found in studies_in(url)] == ["known"]
