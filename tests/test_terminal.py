"""What a running study shows: a live view on a terminal, plain lines elsewhere, more or less of it where asked."""

import contextlib
import fcntl
import io
import os
import pty
import re
import select
import struct
import sys
import termios
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import clean_environment
from in_process import nas_here

from nas.cli.main import main

ERASED = re.compile(r"(?:\r\x1b\[2K(?:\x1b\[1A\x1b\[2K)*)")
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
SEARCH = """\
name: tiny
architecture: {staged: {widths: [8], depth: {int: [1, 2]}, shortcut: identity}}
train: {epochs: 3, batch_size: 64, optimizer: {sgd: {lr: 0.1}}}
search: {trials: 2, workers: 1}
"""
TABLE = "replicate,level,value\n" + "".join(f"{i},a,{0.5 + i % 3 / 100}\n{i},b,{0.9 + i % 2 / 100}\n" for i in range(8))


@dataclass(frozen=True)
class Shown:
    """What a terminal got until the command ended: the bytes as text, and the exit code."""

    text: str
    code: int

    @property
    def frames(self) -> list[str]:
        """What stood below the last erasure each time, without colours."""
        return [ESCAPES.sub("", frame).replace("\r", "") for frame in ERASED.split(self.text)]


def on_terminal(*arguments: str, folder: Path, until: bytes, then: bytes) -> Shown:
    """Run the command on a pseudo-terminal of 80 columns; type `then` once it has shown `until`."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(folder)
        environment = {key: value for key, value in clean_environment().items() if key not in ("COLUMNS", "NO_COLOR")}
        os.execvpe(sys.executable, [sys.executable, "-m", "nas", *arguments], {**environment, "TERM": "xterm-256color"})
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 80, 0, 0))
    shown, typed, deadline = b"", False, time.time() + 150
    with contextlib.suppress(OSError):  # Linux's word for the other end being closed
        while time.time() < deadline:
            if select.select([terminal], [], [], 0.2)[0]:
                shown += os.read(terminal, 1 << 16)
            if not typed and until in shown:
                typed = bool(os.write(terminal, then))
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.close(terminal)
    return Shown(shown.decode(), code)


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory, small_text: str) -> Shown:
    """A search with its measurement, ended with Ctrl-C once an effect was shown."""
    folder = tmp_path_factory.mktemp("terminal")
    text = small_text.replace("trials: 6", "trials: 3").replace("[1, 3]}\n  replicates: 3", "[1]}\n  replicates: 60")
    (folder / "small.yaml").write_text(text)
    return on_terminal("search", "small.yaml", "-v", folder=folder, until=b"not a verdict", then=b"\x03")


def test_the_live_view_fits_eighty_columns(interrupted: Shown) -> None:
    last = interrupted.frames[-1].partition("Interrupted")[0]
    assert max(len(line) for line in last.splitlines()) <= 80
    blocks = [frame for frame in interrupted.frames if "\nmeasure " in frame]
    assert len(blocks) > 3
    assert all(len(line) <= 80 for block in blocks for line in block[block.index("search ") :].splitlines() if "trial" not in line[:6])


def test_the_live_view_shows_trials_best_effect_pace_and_workers(interrupted: Shown) -> None:
    shown = next(frame for frame in interrupted.frames if "not a verdict" in frame)
    for pattern in (
        r"^search +\S+ +3 of 3",
        r"^measure +\S+ +\d+ of 120",
        r"^best +\d+\.\d% val_accuracy, trial \d",
        r"^effect +[+−]?\d+\.\d \[.+, .+\] points: identity against none, \d+ of 60 replicates",
        r"^run +[\d.]+ trainings a minute · about \d+ (?:s|min) left · 1 worker · 0:00:\d\d",
    ):
        assert re.search(pattern, shown, re.MULTILINE), (pattern, shown)


def test_an_effect_that_is_not_complete_is_called_no_verdict(interrupted: Shown) -> None:
    with_effect = [frame for frame in interrupted.frames if "\neffect " in frame]
    assert with_effect
    assert all("so far, not a verdict: it is read when all replicates are in" in frame for frame in with_effect)


def test_ctrl_c_leaves_the_terminal_as_it_was(interrupted: Shown) -> None:
    assert interrupted.code == 130
    assert interrupted.text.rindex("\x1b[?25h") > interrupted.text.rindex("\x1b[?25l"), "the cursor is shown again"
    assert interrupted.text.rstrip().endswith("run the same command again to go on.")


def test_piped_output_has_no_escape_codes_even_where_colours_are_forced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tiny.yaml").write_text(SEARCH)
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    plain = nas_here(tmp_path, "search", "tiny.yaml").stdout
    assert "\x1b" not in plain
    assert re.search(r"^search 1/2 · trial \d: 0\.\d{4} · best 0\.\d{4}$", plain, re.MULTILINE)
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[?25l" not in nas_here(tmp_path, "search", "tiny.yaml", "--new").stdout, "no cursor movements in a file"


def test_quiet_prints_the_result_alone_and_verbose_each_training_with_its_decisions(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(SEARCH)
    usual, quiet, verbose = (nas_here(tmp_path, "search", "tiny.yaml", "--new", *more).stdout for more in ((), ("--quiet",), ("-v",)))
    assert "search 2/2" in usual
    assert "search" not in quiet.partition("best of tiny")[0]
    assert quiet.strip().startswith("best of tiny")
    assert "Report " in quiet
    detail = re.compile(r"^  depth [12], [\d.]+k? parameters, 3 epochs in [\d.]+ s", re.MULTILINE)
    assert not detail.findall(usual)
    assert len(detail.findall(verbose)) == 2


@pytest.mark.parametrize("way", ["no_color", "option", "coloured"])
def test_colours_are_off_where_asked(way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    (tmp_path / "table.csv").write_text(TABLE)
    options = ["--no-color"] * (way == "option")
    monkeypatch.setattr(
        sys, "argv", ["nas", "effects", str(tmp_path / "table.csv"), "--reference", "a", "--smallest-effect", "0.01", *options]
    )
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", "1" if way == "no_color" else "")  # the option sets it; this sets it back
    shown = Terminal()
    with contextlib.redirect_stdout(shown), contextlib.suppress(SystemExit):
        main()
    colours = re.findall(r"\x1b\[[0-9;]*3[0-7]m", shown.getvalue())
    assert bool(colours) == (way == "coloured"), shown.getvalue()
