"""Layer 5: a kept network as files that other programs read: its weights, a `torch.export` program, ONNX."""

from __future__ import annotations

import importlib.util
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nas.errors import NasError, StudyError, UserError, nearest
from nas.keeping import KeptNetwork
from nas.tracking.models import log_model, run_of_study
from nas.tracking.networks import is_run
from nas.tracking.place import kept_uri
from nas.training.checkpoint import replacing, save

WEIGHTS, ABOUT, PROGRAM, ONNX = "state_dict.pt", "architecture.json", "network.pt2", "network.onnx"
TOLERANCE = 1e-4


def export_network(
    network: KeptNetwork, folder: str | Path, *, formats: Sequence[str] = ("state_dict", "torch_export")
) -> tuple[Path, ...]:
    """Write a kept network into `folder` and return the files.

    `state_dict` gives the weights alone (`torch.load(…, weights_only=True)`) and `architecture.json`, with all that is needed to
    build the network and prepare its inputs. `torch_export` and `onnx` give the whole computation, preparation included: float32
    inputs (B, …) as the data set gives them, bytes divided by 255, of any batch size; no plugin is needed to run it.

    Raises UserError for an unknown format and where the extra `onnx` is not installed, StudyError where torch cannot export
    the network or the exported one answers otherwise.
    """
    for name in formats:
        if name not in FORMATS:
            raise UserError(f"export: '{name}' is no format{nearest(name, FORMATS)}")
    if "onnx" in formats and (missing := [name for name in ("onnx", "onnxscript") if importlib.util.find_spec(name) is None]):
        raise UserError(f"export: the format onnx needs {' and '.join(missing)}: pip install 'nas-ablation[onnx]'")
    place = Path(folder)
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"export: cannot write to {place}: {error.strerror}") from None
    return tuple(file for name in dict.fromkeys(formats) for file in FORMATS[name](network, place))


def example_of(network: KeptNetwork, count: int = 2) -> Tensor:
    """Return inputs of a network's shape, float32 (count, …), the same ones every time."""
    shape = (count, *network.about.context.input_shape)
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def described(network: KeptNetwork) -> dict[str, Any]:
    """Return what has to be known beside the weights, as plain JSON data."""
    about = network.about
    scale = None if network.target_mean is None else [_listed(network.target_mean), _listed(network.target_std)]
    return {
        **about.configuration.to_dict(),
        "input_shape": list(about.context.input_shape),
        "output_shape": list(about.context.output_shape),
        "classes": list(about.classes),
        "mean": _listed(network.mean),
        "std": _listed(network.std),
        "target_mean_and_std": scale,
        "seed": about.seed,
        "split_seed": about.split_seed,
        "figures": dict(about.figures),
    }


def log_as_model(network: KeptNetwork, source: str, *, store: Path) -> str:
    """Log a network as a model of the MLflow run that `source`, a run's id or a study's title, names; return its address.

    Raises UserError where there is no such run, StudyError where MLflow cannot take it.
    """
    uri = kept_uri(store)
    run = source if is_run(source) else run_of_study(uri, source)
    with _exporting("MLflow"):
        return log_model(uri, run, network, example_of(network).numpy())


def _weights(network: KeptNetwork, place: Path) -> Iterator[Path]:
    save(dict(network.network.state_dict()), place / WEIGHTS)
    with replacing(place / ABOUT) as fresh:
        fresh.write_text(json.dumps(described(network), indent=2) + "\n", encoding="utf-8")
    yield from (place / WEIGHTS, place / ABOUT)


def _program(network: KeptNetwork, place: Path) -> Iterator[Path]:
    x = example_of(network)
    with _exporting("torch.export"), torch.no_grad():
        program = torch.export.export(network, (x,), dynamic_shapes=({0: torch.export.Dim("batch")},))
        answers = program.module()(x)
    _refuse_other(answers, network, x, "torch.export")
    with replacing(place / PROGRAM) as fresh, fresh.open("wb") as file:
        torch.export.save(program, file)
    yield place / PROGRAM


def _onnx(network: KeptNetwork, place: Path) -> Iterator[Path]:
    x = example_of(network)
    with _exporting("the ONNX exporter"), torch.no_grad(), replacing(place / ONNX) as fresh:
        program = torch.onnx.export(
            network, (x,), input_names=["inputs"], output_names=["outputs"], dynamic_shapes=({0: torch.export.Dim("batch")},),
            dynamo=True, verbose=False,
        )  # fmt: skip
        assert program is not None, "dynamo=True gives one"
        program.save(str(fresh), external_data=False)
    yield place / ONNX


FORMATS: Mapping[str, Callable[[KeptNetwork, Path], Iterator[Path]]] = {"state_dict": _weights, "torch_export": _program, "onnx": _onnx}
"""What a network can be written as."""


@contextmanager
def _exporting(what: str) -> Iterator[None]:
    """Keep torch's exporters quiet, and say in one line what they raise: it is about a network's code, often a plugin's."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except NasError:
        raise
    except Exception as error:
        first = str(error).strip().splitlines()[:1]
        raise StudyError(f"export: {what} cannot take this network: {type(error).__name__}: {' '.join(first)}") from error
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _refuse_other(answers: Tensor, network: KeptNetwork, x: Tensor, what: str) -> None:
    with torch.no_grad():
        expected = network(x)
    if not torch.allclose(answers, expected, atol=TOLERANCE, rtol=TOLERANCE):
        worst = float((answers - expected).abs().max())
        raise StudyError(f"export: what {what} made answers otherwise than the network, by up to {worst:.2g}; nothing was written")


def _listed(tensor: Tensor | None) -> list[float]:
    return [] if tensor is None else [float(value) for value in tensor.flatten()]
