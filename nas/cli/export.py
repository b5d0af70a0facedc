"""Layer 6: `nas export`: a kept network as files that other programs read."""

from __future__ import annotations

from pathlib import Path

import click

from nas.cli.options import json_option, plugins_option, print_json, storage_option, store_option


@click.command("export")
@click.argument("source", metavar="STUDY|RUN|FILE", required=False)
@click.option(
    "--to", "folder", required=True, type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="The folder to write to."
)
@click.option("--format", "formats", multiple=True, metavar="A,B",
              help="state_dict, torch_export, onnx; the first two by default.")  # fmt: skip
@click.option("--mlflow", "as_model", is_flag=True, help="Log it to MLflow as well, as a model of its run.")
@store_option
@storage_option
@plugins_option
@json_option
def command(
    source: str | None, folder: Path, formats: tuple[str, ...], as_model: bool, store: Path | None, storage: str | None,
    plugins: tuple[str, ...], as_json: bool,
) -> None:  # fmt: skip
    """Write a kept network as files: its weights and architecture, a torch.export program, ONNX.

    The network is the best one of STUDY's search (of the study that ran last without one), the one that an MLflow RUN keeps, or
    that of a FILE. The program and the
    ONNX file hold everything, normalisation included; torch alone, or onnxruntime, runs them.

    \b
    Example:
      nas export residual-digits-9738de0a --to exported --format state_dict,torch_export
    """
    from nas.api import load_network
    from nas.errors import UserError
    from nas.exporting import export_network, log_as_model
    from nas.paths import store_folder
    from nas.study.ledger.known import find_study
    from nas.study.ledger.storage import default_storage

    source = source or find_study(None, storage or default_storage(store_folder(store)))["title"]
    if as_model and Path(source).is_file():
        raise UserError("export: --mlflow goes with a study or a run, whose model it becomes; a file has none")
    network = load_network(source, store=store, storage=storage, plugins=plugins)
    chosen = tuple(name.strip() for given in formats for name in given.split(",")) or ("state_dict", "torch_export")
    files = export_network(network, folder, formats=chosen)
    model = log_as_model(network, source, store=store_folder(store)) if as_model else ""
    if as_json:
        print_json({"files": [str(file) for file in files], **({"model": model} if model else {})})
        return
    for file in files:
        click.echo(str(file))
    if model:
        click.echo(f"{model}   (mlflow.pytorch.load_model reads it)")
