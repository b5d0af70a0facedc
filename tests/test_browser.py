"""The MLflow UI and the report as a person sees them: in a real browser, headless Chromium."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import clean_environment
from mlflow.tracking import MlflowClient
from test_claims import DEGRADED, record_of
from test_claims import TEXT as CLAIM

from nas.claims.files import parse_claim
from nas.report.claims_page import write_claims
from nas.settling import find

CHROMIUM = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)
PATIENCE_MS = 90_000


@pytest.fixture(scope="module")
def page() -> Iterator[Any]:
    """A browser's page; what scripts complain about fails the test."""
    if CHROMIUM is None and os.environ.get("CI"):
        pytest.fail("no Chromium is installed")
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1500, "height": 2400})
        page.set_default_timeout(PATIENCE_MS)
        yield page
        browser.close()


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory, small_text: str) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("browser")
    text = small_text.replace("epochs: 2", "epochs: 1").replace("trials: 6", "trials: 2")
    (folder / "small.yaml").write_text(text.replace("depth: [1, 3]", "depth: [1, 2]"))
    command = [sys.executable, "-m", "nas", "search", "small.yaml", "--json"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240, env=clean_environment(), check=False)
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout)


@pytest.fixture(scope="module")
def address(searched: tuple[Path, dict[str, Any]]) -> Iterator[str]:
    """The UI, started by the command on the store that the search wrote."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "nas", "ui", "--port", str(port)]
    environment = {**clean_environment(), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(command, cwd=searched[0], env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert process.stdout is not None
    found = next((match[0] for line in process.stdout if (match := re.search(r"http://127\.0\.0\.1:\d+", line))), None)
    assert found == f"http://127.0.0.1:{port}"
    for line in process.stdout:
        if "startup complete" in line:
            break
    yield found
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)


@pytest.fixture(scope="module")
def parent(searched: tuple[Path, dict[str, Any]]) -> tuple[str, str]:
    client = MlflowClient(tracking_uri=searched[1]["tracking_uri"])
    (experiment,) = [e for e in client.search_experiments() if e.name == "small"]
    (run,) = [r for r in client.search_runs([experiment.experiment_id]) if "mlflow.parentRunId" not in r.data.tags]
    return experiment.experiment_id, run.info.run_id


def test_the_list_of_runs_folds_the_trainings_under_their_study(page: Any, address: str, parent: tuple[str, str]) -> None:
    page.goto(f"{address}/#/experiments/{parent[0]}/runs")
    page.get_by_text(re.compile("^small-[0-9a-f]{8}$")).first.wait_for()
    assert not page.get_by_text("replicate 0", exact=False).count()
    assert "matching runs" in page.inner_text("body")
    page.locator("[data-testid=expander-icon], .ag-cell button, [aria-label*='xpand']").first.click()
    page.get_by_text("replicate 0", exact=False).first.wait_for()


def test_the_studys_page_says_the_verdict_and_shows_the_table(page: Any, address: str, parent: tuple[str, str]) -> None:
    page.goto(f"{address}/#/experiments/{parent[0]}/runs/{parent[1]}")
    page.get_by_text("there is no verdict on adding the identity shortcut", exact=False).first.wait_for()
    table = page.locator("table", has_text="effect, points").first.inner_text()
    assert "identity" in table
    assert "no verdict" in table
    page.get_by_text(re.compile(r"replicate \d · identity · depth 2")).first.wait_for()


def test_the_effect_is_drawn_by_depth(page: Any, address: str, parent: tuple[str, str]) -> None:
    page.goto(f"{address}/#/experiments/{parent[0]}/runs/{parent[1]}/model-metrics")
    chart = page.locator(".js-plotly-plot").first
    chart.locator(".scatterlayer .lines path").first.wait_for(state="attached")
    assert chart.locator(".scatterlayer .points path").count() == 2
    ticks = chart.locator(".xaxislayer-above text").all_text_contents()
    assert all(5 < float(tick) < 11 for tick in ticks), "the axis counts weight layers: 6 and 10"


def test_the_report_opens_without_a_network_and_without_an_error(page: Any, searched: tuple[Path, dict[str, Any]]) -> None:
    asked: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(Path(searched[1]["report"]).as_uri())
    assert page.locator("svg").count() > 2
    assert not [url for url in asked if not url.startswith(("file:", "data:"))]
    assert not complaints
    for width in (390, 1200):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width, f"nothing hangs over the edge at {width} pixels"


def test_the_page_of_claims_fits_a_phone_with_everything_opened(page: Any, tmp_path: Path) -> None:
    claim, record = parse_claim(CLAIM, "depth.yaml"), record_of(DEGRADED)
    page.goto(write_claims([(claim, find(claim, record), record)], folder=tmp_path).as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
    for width in (390, 1200):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        hidden = page.evaluate("[...document.querySelectorAll('.scroll')].filter(e => e.scrollWidth > e.clientWidth + 1).length")
        assert not hidden, f"a table hides columns at {width} pixels"
