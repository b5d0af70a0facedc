"""Layer 5: what the parts around the units have to keep: stems, heads and long skips."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from nas.errors import PluginError
from nas.plugin import HeadContext, LongSkip, LongSkipContext, StemContext
from nas.testing import common_checks as common
from nas.testing.common_checks import Build
from nas.testing.subject import BATCH, RESOLUTION, Subject, broken, generator_for, kaiming, perturb, quiet_random, weighted_sum

NUM_OUTPUTS = 5
LONG_SKIPS = (LongSkipContext(8, 8, 0), LongSkipContext(8, 16, 1))
"""Equal channels, which every long skip must join, and unequal ones, which it may refuse with a reason."""


@dataclass(frozen=True)
class Part:
    """One way to build the part, and an input for it; `channels` is what it must give, None for what it names itself."""

    told: str
    build: Build
    x: Tensor
    channels: int | None = None


class Joined(nn.Module):
    """A long skip as a module of one input, which holds the encoder's channels and then the decoder's."""

    def __init__(self, skip: LongSkip, encoder_channels: int) -> None:
        super().__init__()
        self.skip, self.encoder_channels, self.out_channels = skip, encoder_channels, skip.out_channels

    def forward(self, x: Tensor) -> Tensor:
        """(B, E + D, H, W) -> (B, C', H, W)."""
        y: Tensor = self.skip(x[:, : self.encoder_channels], x[:, self.encoder_channels :])
        return y


def check_output_shape(subject: Subject) -> None:
    """It gives the channels that it names or was asked for, at every place it may stand."""
    for part in _parts(subject):
        module = part.build(0)
        y = module(part.x)
        channels = part.channels or int(getattr(module, "out_channels", 0))
        if y.shape[0] != BATCH or channels not in (y.shape[1], y.shape[-1]):
            broken(f"{part.told} it gives {tuple(y.shape)} for {tuple(part.x.shape)}, not (B, {channels}, …)")


def check_every_option(subject: Subject) -> None:
    """Every written option of every parameter builds and runs."""
    for option in subject.options():
        for part in _parts(option):
            part.build(0)(part.x)


def check_gradients_reach_every_parameter(subject: Subject) -> None:
    """With parameters off their initial values, a gradient reaches every one of them."""
    for part in _parts(subject):
        common.every_parameter_learns(part.build(0), part.x)


def check_same_seed_same_weights(subject: Subject) -> None:
    """Two builds from one seed are equal."""
    for part in _parts(subject):
        common.same_seed_same_weights(part.build)


def check_state_dict(subject: Subject) -> None:
    """The state dict holds all that the output depends on."""
    for part in _parts(subject):
        common.state_round_trip(part.build, part.x)


def check_deepcopy(subject: Subject) -> None:
    """A deep copy is equal and apart."""
    for part in _parts(subject):
        common.deep_copy(part.build, part.x)


def check_export(subject: Subject) -> None:
    """`torch.export` takes it."""
    for part in _parts(subject):
        common.exports(part.build, part.x)


def check_long_skip_is_there(subject: Subject) -> None:
    """The encoder's features reach the output exactly where it says that it connects; the decoder's always do."""
    for part in _parts(subject):
        joined = part.build(0)
        assert isinstance(joined, Joined), "a long skip's part"
        perturb(joined)
        x = part.x.clone().requires_grad_(True)
        (gradient,) = torch.autograd.grad(weighted_sum(joined(x)), x)
        sides = gradient[:, : joined.encoder_channels].any(), gradient[:, joined.encoder_channels :].any()
        if not sides[1]:
            broken(f"{part.told} no gradient reaches the decoder's features")
        if bool(sides[0]) != joined.skip.connects:
            broken(
                f"{part.told} connects is {joined.skip.connects}, but {'a' if sides[0] else 'no'} gradient reaches the encoder's features"
            )


def _parts(subject: Subject) -> Iterator[Part]:
    """Yield the part at each of its places."""
    if subject.kind == "stem":
        for activated in (True, False):
            context = StemContext(in_channels=3, width=RESOLUTION, activated=activated)
            yield Part(f"with activated={activated}", _keyed(subject, context), _random(3, 32))
    elif subject.kind == "head":
        yield Part("with 8 channels", _keyed(subject, HeadContext(RESOLUTION, NUM_OUTPUTS)), _random(RESOLUTION, 4), NUM_OUTPUTS)
    else:
        yield from _long_skips(subject)


def _long_skips(subject: Subject) -> Iterator[Part]:
    for i, place in enumerate(LONG_SKIPS):
        try:
            subject.built(place)
        except PluginError as error:
            if i == 0 or not isinstance(error.__cause__, ValueError) or not str(error.__cause__):
                broken(f"it cannot be built at {place}: {error}")
            continue
        yield Part(f"at {place}", _keyed(subject, place), _random(place.encoder_channels + place.decoder_channels, RESOLUTION))


def _keyed(subject: Subject, context: StemContext | HeadContext | LongSkipContext) -> Build:
    """Return a builder of the part at a place, with initial values keyed by a seed, as networks have them."""

    def build(seed: int) -> nn.Module:
        with quiet_random(seed):
            module: nn.Module = subject.built(context)
        if isinstance(context, LongSkipContext):
            module = Joined(cast(LongSkip, module), context.encoder_channels)
        module.eval()
        kaiming(subject.registry).apply(module, generator_for(seed))
        return module

    return build


def _random(channels: int, size: int) -> Tensor:
    return torch.randn(BATCH, channels, size, size, generator=torch.Generator().manual_seed(0))


STEM = HEAD = (
    check_output_shape, check_every_option, check_gradients_reach_every_parameter, check_same_seed_same_weights, check_state_dict,
    check_deepcopy, check_export,
)  # fmt: skip
LONG_SKIP = (*STEM, check_long_skip_is_there)
