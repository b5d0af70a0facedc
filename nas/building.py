"""Layer 3: turns an architecture into a torch module, with keyed initial values, and counts what it costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from nas.errors import NasError, PluginError
from nas.faults import naming_the_fault, refuse_incomplete
from nas.plugin import Network, NetworkContext
from nas.recipe import Recipe
from nas.registry import Parameter, Registry
from nas.registry.signature import ParameterType, kind_in, parameters_of
from nas.values.architecture import Architecture, PluginNode, Value, write
from nas.values.outcome import Cost
from nas.values.seeds import derive


def build(architecture: Architecture, registry: Registry, context: NetworkContext, *, seed: int = 0) -> Network:
    """Build the network, its initial values drawn from streams keyed by (`seed`, parameter path).

    Tensors that two architectures share by path and shape start bit-equal under one seed. Raises PluginError where a
    plugin's constructor raises, naming its file. The global random state is left as it was.
    """
    # Constructors may draw random numbers too: each starts from a state of its own (see _Builder), none moves another.
    with torch.random.fork_rng(devices=[]):
        network = cast(Network, _Builder(registry, seed).make("network", architecture.network, context))
    with naming_the_fault(architecture, registry, "initialised"):
        network.initialisation.apply(network, lambda path: torch.Generator().manual_seed(derive(seed, "init", path)))
    return network


def build_without_weights(architecture: Architecture, registry: Registry, context: NetworkContext) -> Network:
    """Build the network on the meta device, in eval mode: shapes only, no memory, no initial values."""
    with torch.device("meta"):
        return cast(Network, _Builder(registry).make("network", architecture.network, context).eval())


def cost_of(architecture: Architecture, registry: Registry, context: NetworkContext) -> Cost:
    """Count trainable parameters, multiply-accumulates for one input, and weight layers, without allocating weights.

    Raises PluginError where the network cannot be built, its shapes do not fit together, or its answer does not fit the task.
    """
    network = build_without_weights(architecture, registry, context)
    with naming_the_fault(architecture, registry), torch.no_grad(), _OperationCounter() as counter:
        output = network(torch.empty(1, *context.input_shape, device="meta"))
    if context.output_shape and tuple(output.shape[1:]) != context.output_shape:
        raise PluginError(
            f"the architecture {write(architecture.network)} answers an input with {tuple(output.shape[1:])}, but the task needs "
            f"{context.output_shape}; choose a network, or a head, that fits it"
        )
    return Cost(
        parameters=sum(p.numel() for p in network.parameters() if p.requires_grad),
        macs=counter.operations // 2,  # torch's formulas count a multiply-accumulate as two operations
        num_layers=network.num_layers,
    )


_aten = torch.ops.aten
_NORMS = (_aten.native_batch_norm, _aten._native_batch_norm_legit_no_training, _aten.native_layer_norm, _aten.native_group_norm)
_ELEMENTWISE = (_aten.relu, _aten.hardtanh, _aten.gelu, _aten.silu, _aten.sigmoid, _aten.add, _aten.mul)


class _OperationCounter(TorchDispatchMode):
    """Counts the operations of convolutions and matrix products by torch's own formulas, as FlopCounterMode does.

    It keeps no account by module, and answers norms and elementwise operations on the meta device by itself: torch spells
    them out in small Python steps there, which took three quarters of the time of counting a ResNet-110.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self.operations = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        packet, kwargs = func.overloadpacket, kwargs or {}
        if packet in _NORMS:
            x = args[0]
            return torch.empty_like(x), x.new_empty(0), x.new_empty(0)  # the statistics are for a backward pass
        if packet in _ELEMENTWISE and _alike(args):
            return torch.empty_like(args[0])
        output = func(*args, **kwargs)
        if packet in flop_registry:
            self.operations += flop_registry[packet](*args, **kwargs, out_val=output)
        return output


def _alike(arguments: tuple[Any, ...]) -> bool:
    """Whether the tensors among the arguments have one shape and one floating type, which the result then has too."""
    first = arguments[0]
    tensors = (value for value in arguments if isinstance(value, torch.Tensor))
    return first.is_floating_point() and all(value.shape == first.shape and value.dtype == first.dtype for value in tensors)


def build_recipe(train: PluginNode, registry: Registry) -> Recipe:
    """Build the training recipe; its optimizer and schedule are factories that are called without arguments."""
    return Recipe(**_Builder(registry).realised(parameters_of(Recipe, "train"), train))


def make(kind: str, node: PluginNode, registry: Registry, *context: Any) -> Any:
    """Build one plugin of `kind` from its decided node. Raises PluginError, naming its file, where it raises."""
    return _Builder(registry).make(kind, node, *context)


@dataclass(frozen=True)
class _Builder:
    """Builds nested plugins; with a seed, each constructor starts from a random state keyed by (seed, kind, unit index)."""

    registry: Registry
    seed: int | None = None

    def make(self, kind: str, node: PluginNode, *context: Any) -> Any:
        return self.factory(kind, node)(*context)

    def factory(self, kind: str, node: PluginNode) -> Callable[..., Any]:
        info = self.registry.find(kind, node.name)
        parameters = self.realised(info.parameters, node)

        def construct(*context: Any) -> Any:
            if self.seed is not None:
                # The CPU's generator alone: `torch.manual_seed` queues a seed for every kind of accelerator, each with a stack trace.
                torch.default_generator.manual_seed(derive(self.seed, "construct", kind, getattr(context[0], "index", 0) if context else 0))
            try:
                built = info.cls(*context, **parameters)
                refuse_incomplete(built, info)
                if isinstance(built, Network):
                    built.initialisation.prepare(built)  # it may add parameters of its own, or refuse the network
                return built
            except NasError:
                raise
            except Exception as error:
                raise PluginError(
                    f"{kind} '{info.name}' ({info.file}) cannot be built as {write(node)}: {type(error).__name__}: {error}"
                ) from error

        return construct

    def realised(self, declared: tuple[Parameter, ...], node: PluginNode) -> dict[str, Any]:
        types = {parameter.name: parameter.type for parameter in declared}
        return {name: self.realise(value, types[name]) for name, value in node.parameters}

    def realise(self, value: Value, expected: ParameterType) -> Any:
        if isinstance(value, PluginNode):
            return self.factory(kind_in(expected), value)
        if isinstance(value, tuple):
            return tuple(self.realise(item, expected) for item in value)
        return value
