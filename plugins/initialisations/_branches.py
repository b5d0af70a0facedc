"""What the initialisations share that treat a residual branch by itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from torch import nn

from nas.plugin import Unit

from ..blocks._squeeze_excite import SqueezeExcite


def units_of(network: nn.Module) -> Iterator[tuple[str, Unit]]:
    """Yield the units with their paths, in order."""
    for path, module in network.named_modules():
        if isinstance(module, Unit):
            yield path, module


def units_to_silence(network: nn.Module, name: str) -> tuple[Unit, ...]:
    """Return the units whose branch can start at zero: those with a path beside it. Raises ValueError where none can, or one must not."""
    units = tuple(unit for _, unit in units_of(network) if unit.shortcut.connects)
    if not units:
        raise ValueError(
            f"init '{name}' starts every branch at zero, and this network has no shortcut beside its branches: it would "
            "output a constant that nothing learns from; give it a shortcut, or init: kaiming"
        )
    for unit in units:
        if unit.shortcut.silences:
            raise ValueError(
                f"init '{name}' zeroes the branch and shortcut '{plugin_name(unit.shortcut)}' its scale: neither would ever "
                "get a gradient; keep one of the two"
            )
        if not any(True for layer in unit.block.last_layers() for _ in layer.parameters()):
            raise ValueError(
                f"init '{name}' needs a block whose branch ends in a layer with weights, but an activation ends that of "
                f"'{plugin_name(unit.block)}': no gradient comes through its zero; take init: kaiming"
            )
    return units


def branch_convs(unit: Unit) -> tuple[tuple[str, nn.Conv2d], ...]:
    """Return the convolutions of a unit's branch with their paths in it, a squeeze-and-excitation's left out."""
    branch = unit.block.branch
    gates = tuple(path for path, module in branch.named_modules() if isinstance(module, SqueezeExcite))
    return tuple(
        (path, module)
        for path, module in branch.named_modules()
        if isinstance(module, nn.Conv2d) and not path.startswith(tuple(f"{gate}." for gate in gates))
    )


def plugin_name(part: nn.Module) -> str:
    """Return the name that a space file uses."""
    return str(getattr(type(part), "plugin_name", type(part).__name__))


def paths_of(network: nn.Module, modules: Iterable[nn.Module]) -> frozenset[str]:
    """Return the paths of all parameters of `modules`, which are parts of `network`."""
    wanted = {id(parameter) for module in modules for parameter in module.parameters()}
    return frozenset(path for path, parameter in network.named_parameters() if id(parameter) in wanted)
