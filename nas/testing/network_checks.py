"""Layer 5: what networks and initialisations have to keep."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor, nn

from nas.building import build, cost_of
from nas.errors import NasError
from nas.plugin import Initialisation, Network, NetworkContext
from nas.registry.signature import kind_in
from nas.testing import common_checks as common
from nas.testing.subject import BATCH, RESOLUTION, ContractError, Subject, broken, completed, generator_for, kaiming, quiet_random
from nas.values.architecture import Architecture, PluginNode

NUM_OUTPUTS = 5
INPUT_SHAPES = ((3, 32, 32), (1, 8, 8), (3, 64, 64), (64,))
"""What a network is tried on, the first that it accepts, unless its test says what it takes."""


def check_network_gives_its_outputs(subject: Subject) -> None:
    """(B, …) in, (B, num_outputs, …) out, in training and in evaluation, at the cost that was counted."""
    context = _context(subject)
    network = _network(subject, context)
    x = _inputs(context)
    for y in (network.train()(x), network.eval()(x)):
        if y.shape[:2] != (BATCH, NUM_OUTPUTS) and y.shape[0] != BATCH:
            broken(f"it gives {tuple(y.shape)} for {tuple(x.shape)} and {NUM_OUTPUTS} outputs")
    cost = cost_of(_architecture(subject), subject.registry, context)
    held = sum(p.numel() for p in network.parameters() if p.requires_grad)
    if cost.parameters != held:
        broken(f"{cost.parameters} parameters were counted without weights, but the network has {held}")
    if cost.num_layers < 1:
        broken(f"num_layers is {cost.num_layers}")


def check_network_gradients_reach_every_parameter(subject: Subject) -> None:
    """With parameters off their initial values, a gradient reaches every one of them."""
    context = _context(subject)
    common.every_parameter_learns(_network(subject, context), _inputs(context))


def check_network_same_seed_same_weights(subject: Subject) -> None:
    """Two builds from one seed are equal, and the global random state is left as it was."""
    context = _context(subject)
    before = torch.get_rng_state()
    common.same_seed_same_weights(lambda seed: _network(subject, context, seed))
    if not torch.equal(before, torch.get_rng_state()):
        broken("building it moves the global random state")


def check_network_state_dict(subject: Subject) -> None:
    """The state dict holds all that the output depends on."""
    context = _context(subject)
    common.state_round_trip(lambda seed: _network(subject, context, seed), _inputs(context))


def check_network_deepcopy(subject: Subject) -> None:
    """A deep copy is equal and apart."""
    context = _context(subject)
    common.deep_copy(lambda seed: _network(subject, context, seed), _inputs(context))


def check_network_export(subject: Subject) -> None:
    """`torch.export` takes it."""
    context = _context(subject)
    common.exports(lambda seed: _network(subject, context, seed), _inputs(context))


def check_arms_share_their_tensors(subject: Subject) -> None:
    """Built from one seed with another shortcut, every tensor that both have starts equal, but those named as re-initialised."""
    context = _context(subject)
    for name in (p.name for p in subject.info.parameters if kind_in(p.type) == "shortcut"):
        (first, reference), *others = _arms(subject, name, context)
        for shortcut, network in others:
            free = reference.initialisation.reinitialises(reference) | network.initialisation.reinitialises(network)
            if paths := _unlike(reference, network, free):
                broken(f"{', '.join(paths[:3])} start otherwise with {name} '{shortcut}' than with {first} on one seed")


def check_initial_values_are_keyed(subject: Subject) -> None:
    """The values depend on seed and path alone: not on the global random state, a second call, or what else the network has."""
    first, second = _initialised(subject, "identity", 0), _initialised(subject, "identity", 0)
    if not _same(first, second):
        broken("one seed gives two starts; draw each tensor from generator_for(its path)")
    before = torch.get_rng_state()
    _initialisation(subject).apply(first, generator_for(0))
    if not torch.equal(before, torch.get_rng_state()):
        broken("it draws from the global random state; draw each tensor from generator_for(its path)")
    if not _same(first, second):
        broken("applied again, it gives other values; write the values, do not change those that are there")
    if not _same(first, _initialised(subject, "scaled", 0)):
        broken("a tensor starts otherwise under another shortcut; draw each tensor from generator_for(its path)")


def check_reinitialised_tensors_are_named(subject: Subject) -> None:
    """Beside the tensors that `reinitialises` names, all start as under `kaiming`."""
    network = _initialised(subject, "identity", 0)
    reference = _initialised(subject, "identity", 0, default=True)
    named = _initialisation(subject).reinitialises(network)
    unknown = named - {path for path, _ in network.named_parameters()}
    if unknown:
        broken(f"reinitialises names {', '.join(sorted(unknown))}, which the network does not have")
    if paths := _unlike(network, reference, named):
        broken(f"{', '.join(paths[:3])} … start otherwise than under kaiming, and `reinitialises` does not name them")


def check_initialised_network_learns(subject: Subject) -> None:
    """Its values are finite, and the first step moves something."""
    network = _initialised(subject, "identity", 0).train()
    loss = nn.functional.cross_entropy(network(_inputs(_DIGITS)), torch.arange(BATCH) % NUM_OUTPUTS)
    loss.backward()
    if not loss.isfinite():
        broken(f"the first loss is {loss.item()}")
    if not any(p.grad is not None and p.grad.any() for p in network.parameters()):
        broken("no parameter gets a gradient at the start: the network would never learn")


_DIGITS = NetworkContext((1, RESOLUTION, RESOLUTION), NUM_OUTPUTS)


def _architecture(subject: Subject) -> Architecture:
    return Architecture(subject.node)


def _context(subject: Subject) -> NetworkContext:
    reasons = []
    for shape in (subject.input_shape,) if subject.input_shape else INPUT_SHAPES:
        context = NetworkContext(shape, NUM_OUTPUTS)
        try:
            cost_of(_architecture(subject), subject.registry, context)
            return context
        except NasError as error:
            reasons.append(f"{shape}: {error}")
    raise ContractError(f"it accepts no input that was tried; give the contract `input_shape`. {reasons[0]}")


def _network(subject: Subject, context: NetworkContext, seed: int = 0) -> Network:
    return build(_architecture(subject), subject.registry, context, seed=seed)


def _arms(subject: Subject, name: str, context: NetworkContext) -> Iterator[tuple[str, Network]]:
    """Yield the network with its default for the parameter `name`, and with each other of four shortcuts that it takes."""
    yield "its default", _network(subject, context)
    for shortcut in ("none", "identity", "projection", "scaled"):
        try:
            yield shortcut, _network(subject.with_parameters(**{name: PluginNode(shortcut)}), context)
        except NasError:  # a block may run with some shortcuts only
            continue


def _inputs(context: NetworkContext) -> Tensor:
    return torch.randn(BATCH, *context.input_shape, generator=torch.Generator().manual_seed(0))


def _initialisation(subject: Subject) -> Initialisation:
    return cast(Initialisation, subject.built())


def _initialised(subject: Subject, shortcut: str, seed: int, *, default: bool = False) -> Network:
    """Return a small network with initial values; without norms where the initialisation asks for that."""
    reasons = []
    for norm in ("batch", "none"):
        node = completed(subject.registry, "network", _small(shortcut, norm))
        network = build(Architecture(node), subject.registry, _DIGITS, seed=seed)
        own = _initialisation(subject)
        try:
            own.prepare(network)
        except ValueError as error:
            reasons.append(f"norm '{norm}': {error}")
            continue
        with quiet_random(seed + 1):
            (kaiming(subject.registry) if default else own).apply(network, generator_for(seed))
        return network
    raise ContractError(f"it refuses both small networks: {'; '.join(reasons)}")


def _small(shortcut: str, norm: str) -> PluginNode:
    normed = (("norm", PluginNode(norm)),)
    return PluginNode("staged", (
        ("widths", (8, 16)), ("depth", 2), ("stem", PluginNode("conv3x3", normed)), ("block", PluginNode("basic", normed)),
        ("shortcut", PluginNode(shortcut)),
    ))  # fmt: skip


def _unlike(first: nn.Module, second: nn.Module, but_for: frozenset[str]) -> tuple[str, ...]:
    """Return the paths of the parameters that both have, in layers of one shape, and that differ.

    Of a layer that reads more channels in one of the two, the bias may start otherwise too: its range follows the weight's.
    """
    one, other = dict(first.named_parameters()), dict(second.named_parameters())
    shared = sorted(one.keys() & other.keys())
    reshaped = {path.rpartition(".")[0] for path in shared if one[path].shape != other[path].shape}
    same = (path for path in shared if path not in but_for and path.rpartition(".")[0] not in reshaped)
    return tuple(path for path in same if not torch.equal(one[path], other[path]))


def _same(first: nn.Module, second: nn.Module) -> bool:
    return not _unlike(first, second, frozenset())


NETWORK = (
    check_network_gives_its_outputs, check_network_gradients_reach_every_parameter, check_network_same_seed_same_weights,
    check_network_state_dict, check_network_deepcopy, check_network_export, check_arms_share_their_tensors,
)  # fmt: skip
INITIALISATION = (check_initial_values_are_keyed, check_reinitialised_tensors_are_named, check_initialised_network_learns)
