"""Layer 6: `nas ui`: the MLflow UI on the store that the search wrote."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import click

from nas.cli.options import store_option
from nas.errors import UserError
from nas.paths import store_folder


@click.command("ui")
@store_option
@click.option("--port", type=click.IntRange(1, 65535), default=5000, show_default=True)
def command(store: Path | None, port: int) -> None:
    """Start the MLflow UI on the store, on 127.0.0.1 alone, until Ctrl-C.

    \b
    Example:
      nas ui --port 5001
    """
    from nas.tracking.place import store_uri

    folder = store_folder(store)
    if store and not folder.is_dir():
        raise UserError(f"{folder}: no such folder; --store names where results are kept, ./mlflow where it was not given")
    uri = store_uri(folder)
    if uri.startswith("http"):
        click.echo(f"The runs are on the server {uri}: open it in a browser.")
        return
    # MLflow opens its pages for language models unless it is told what is looked at.
    click.echo(f"MLflow UI on {uri}\nOpen http://127.0.0.1:{port}/#/?workflowType=machine_learning in a browser; Ctrl-C ends it.")
    artifacts = (folder / "artifacts").resolve().as_uri()
    arguments = ["server", "--backend-store-uri", uri, "--default-artifact-root", artifacts, "--host", "127.0.0.1", "--port", str(port)]
    # -P: the current directory may hold a folder `mlflow`, which must not be taken for the package.
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
    command = [sys.executable, "-P", "-m", "mlflow", *arguments, "--workers", "1"]
    # The server starts processes of its own; in a group together, all of them end with this command, however it ends.
    server = subprocess.Popen(command, env=environment, start_new_session=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        sys.exit(server.wait())
    except KeyboardInterrupt:
        sys.exit(0)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
