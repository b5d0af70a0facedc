"""For tests: a database server of their own."""

import getpass
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

BINARIES = [
    folder
    for folder in (*sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True), *(Path(p) for p in os.get_exec_path()))
    if all((folder / name).exists() for name in ("initdb", "pg_ctl", "createdb"))
]


@contextmanager
def postgresql() -> Iterator[str]:
    """Start PostgreSQL on a socket of its own with an empty database, and give its address; skip, or fail in CI, where it is missing."""
    with stoppable_postgresql() as (address, _):
        yield address


@contextmanager
def stoppable_postgresql() -> Iterator[tuple[str, Callable[[str], object]]]:
    """As `postgresql`, with what `start`s and `stop`s it at once, whoever is connected."""
    if not BINARIES:
        if os.environ.get("CI"):
            pytest.fail("PostgreSQL's server is not installed")
        pytest.skip("PostgreSQL's server is not installed")
    pytest.importorskip("psycopg")
    binaries = BINARIES[0]
    folder = Path(tempfile.mkdtemp(prefix="nas-pg-"))  # pytest's own folders are closed to other users
    as_user: list[str] = []
    user = getpass.getuser()
    if os.getuid() == 0:  # the server refuses to run as root
        as_user, user = ["runuser", "-u", "postgres", "--"], "postgres"
        shutil.chown(folder, "postgres")
    subprocess.run([*as_user, binaries / "initdb", "-D", folder / "db", "-A", "trust", "-N"], check=True, capture_output=True)
    control = [*as_user, binaries / "pg_ctl", "-D", folder / "db", "-w"]
    options = f"-k {folder} -c listen_addresses= -c fsync=off"
    words = {"start": ["-o", options, "-l", folder / "log", "start"], "stop": ["-m", "immediate", "stop"]}

    def tell(what: str) -> None:
        subprocess.run([*control, *words[what]], check=True, stdout=subprocess.DEVNULL)

    tell("start")
    try:
        subprocess.run([binaries / "createdb", "-h", folder, "-U", user, "nas"], check=True)
        yield f"postgresql://{user}@/nas?host={folder}", tell
    finally:
        if (folder / "db" / "postmaster.pid").exists():
            tell("stop")
        shutil.rmtree(folder, ignore_errors=True)
