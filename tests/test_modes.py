"""Modes of a measurement: how many replicates they take, the plan said beforehand, and what a report makes of it later."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from in_process import nas_here

from nas.errors import UserError
from nas.space import Space
from nas.study.ledger.storage import default_storage
from nas.study.outlook import Outlook
from nas.study.study import Study
from nas.workflow import search


def test_smoke_trains_three_replicates_says_the_plan_first_and_a_report_later_misses_nothing(tmp_path: Path, small_text: str) -> None:
    text = small_text.replace("  by: {architecture.staged.depth: [1, 3]}\n  replicates: 3\n", "")
    (tmp_path / "small.yaml").write_text(text.replace("epochs: 2", "epochs: 1"))
    done = nas_here(tmp_path, "measure", "small.yaml", "--mode", "smoke", "--json")
    assert done.returncode == 0, done.stderr
    assert "6 trainings (3 replicates, 2 arms)" in done.stderr
    assert "no verdict" in done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    assert document["measured_trainings"] == 6
    assert Study.reopen(document["study"], default_storage(tmp_path / "mlflow")).planned_measure == 6


def test_a_mode_without_a_measure_section_is_refused(small: Space, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no `measure:` section"):
        search(replace(small, measure=None), store=tmp_path, mode="smoke")


def test_an_unknown_mode_is_refused_with_those_there_are(small: Space, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="one of smoke, standard, publication, got 'quick'"):
        search(small, store=tmp_path, mode="quick")


def test_the_plan_says_trainings_time_and_what_can_be_found() -> None:
    told = " ".join(Outlook(40, 30, 4, 10, 125.0, 2, 1.0).lines())
    for part in ("40 trainings (10 replicates, 4 arms), 30 of them still to do", "about 2.1 h", "effect of 1.00 sd"):
        assert part in told
    assert "no verdict" not in told
