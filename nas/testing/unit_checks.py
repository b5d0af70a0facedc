"""Layer 5: what blocks, shortcuts, norms and activations have to keep inside a unit."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from nas.errors import NasError
from nas.plugin import Unit, UnitContext
from nas.testing import common_checks as common
from nas.testing.subject import PLACES, SAME, Subject, broken, example, perturb, weighted_sum


def check_output_shape(subject: Subject) -> None:
    """Every unit gives (B, out_channels, ⌈H/s⌉, ⌈W/s⌉) at every stride and change of width, alone and in a row."""
    subject.unit()
    for place in PLACES:
        for name, unit in _built_units(subject, place):
            x = example(place.in_channels)
            _expect_shape(unit(x), x, unit.out_channels, place.stride, f"a unit with {name} at {place}")
            _expect_shape(unit.block.branch(unit.block.before(x)), x, unit.block.out_channels, place.stride, f"the branch at {place}")


def check_every_option(subject: Subject) -> None:
    """Every written option of every parameter builds and runs."""
    for option in subject.options():
        unit = option.unit()
        x = example()
        _expect_shape(unit(x), x, unit.out_channels, 1, f"with {dict(option.parameters)}")


def check_gradients_reach_every_parameter(subject: Subject) -> None:
    """With parameters off their initial values, a gradient reaches every one of them."""
    for place in PLACES:
        unit = next(_built_units(subject, place), None)
        if unit:
            common.every_parameter_learns(unit[1], example(place.in_channels))


def check_same_seed_same_weights(subject: Subject) -> None:
    """Two builds from one seed are equal."""
    common.same_seed_same_weights(lambda seed: subject.unit(seed=seed))


def check_state_dict(subject: Subject) -> None:
    """The state dict holds all that the output depends on."""
    common.state_round_trip(lambda seed: subject.unit(seed=seed), example())


def check_deepcopy(subject: Subject) -> None:
    """A deep copy is equal and apart."""
    common.deep_copy(lambda seed: subject.unit(seed=seed), example())


def check_export(subject: Subject) -> None:
    """`torch.export` takes it."""
    common.exports(lambda seed: subject.unit(seed=seed), example())


def check_twins_share_their_tensors(subject: Subject) -> None:
    """Units that differ in the shortcut alone start with equal tensors wherever they have tensors in common."""
    for place in PLACES:
        reference: dict[str, Tensor] = {}
        for name, unit in _built_units(subject, place):
            for path, tensor in unit.named_parameters():
                twin = reference.setdefault(path, tensor)
                if path.startswith("block.") and twin.shape == tensor.shape and not torch.equal(twin, tensor):
                    broken(f"{path} starts otherwise with {name} than with another shortcut; leave initial values to initialisations")


def check_last_layers_silence_the_branch(subject: Subject) -> None:
    """With the last layers at zero, F(x) = 0; then they get a gradient and the layers before them get none.

    A block that adds its input itself fails here: its branch is not zero.
    """
    unit = subject.unit()
    perturb(unit)
    last = unit.block.last_layers()
    if not last:
        return
    parameters = [p for layer in last for p in layer.parameters()]
    with torch.no_grad():
        for parameter in parameters:
            parameter.zero_()
    x = example()
    residual = unit.block.branch(unit.block.before(x))
    if residual.any():
        broken("F(x) is not zero with its last layers at zero; a block must not add its input itself, or `last_layers` is wrong")
    weighted_sum(residual).backward()
    known = {id(parameter) for parameter in parameters}
    for path, parameter in unit.block.branch.named_parameters():
        if id(parameter) not in known and parameter.grad is not None and parameter.grad.any():
            broken(f"a gradient reaches {path} although the layer behind it is zero")
    if not any(p.grad is not None and p.grad.any() for p in parameters):
        broken("no gradient reaches the last layers at zero: they would stay there; return () from `last_layers`")


def check_block_tells_the_truth(subject: Subject) -> None:
    """`preactivated`, `num_layers`, `formula` and `closing` agree with the modules."""
    unit = subject.unit()
    block = unit.block
    x = example()
    changed = not torch.equal(block.before(x), x)
    if changed != block.preactivated:
        broken(f"preactivated is {block.preactivated}, but `before` {'changes' if changed else 'does not change'} its input")
    weight_layers = sum(isinstance(m, nn.Linear | nn.modules.conv._ConvNd | nn.MultiheadAttention) for m in block.branch.modules())
    if not 1 <= block.num_layers <= max(1, weight_layers):
        broken(f"num_layers is {block.num_layers}, but the branch has {weight_layers} layers with weights")
    if block.formula and "{merge}" not in block.formula:
        broken("the formula has no {merge}, where the shortcut's own goes")
    closed = block.closing().eval()(unit(x))
    if closed.shape != unit(x).shape:
        broken(f"closing() changes the shape {tuple(unit(x).shape)} to {tuple(closed.shape)}")


def check_skip_is_there(subject: Subject) -> None:
    """With F(x) = 0 the unit still passes its input on, exactly where the shortcut says that it connects."""
    for name, unit in _built_units(subject, SAME):
        perturb(unit.shortcut)
        x = example().requires_grad_(True)
        h = unit.block.before(x)
        merged = unit.shortcut.merge(unit.shortcut(x, h), torch.zeros_like(unit.block.branch(h)))
        (gradient,) = torch.autograd.grad(weighted_sum(merged), x, allow_unused=True) if merged.requires_grad else (None,)
        passes = gradient is not None and bool(gradient.any())
        if passes != unit.shortcut.connects:
            broken(f"with {name}: connects is {unit.shortcut.connects}, but {'a' if passes else 'no'} gradient comes past the branch")


def check_branch_is_there(subject: Subject) -> None:
    """The merge passes F(x) on; from the start, unless the shortcut says that it silences it."""
    for name, unit in _built_units(subject, SAME):
        x = example()
        h = unit.block.before(x)
        for moment, silent in (("at the start", unit.shortcut.silences), ("once trained", False)):
            residual = unit.block.branch(h).detach().requires_grad_(True)
            merged = unit.shortcut.merge(unit.shortcut(x, h), residual)
            (gradient,) = torch.autograd.grad(weighted_sum(merged), residual, allow_unused=True)
            if (gradient is None or not gradient.any()) != silent:
                counts = "something" if silent else "nothing"
                broken(f"with {name}: silences is {unit.shortcut.silences}, but F(x) counts {counts} {moment}")
            perturb(unit.shortcut)


def check_norm_keeps_the_shape(subject: Subject) -> None:
    """(B, C, H, W) in, the same out, and C parameters or none in each of its tensors."""
    norm = subject.built(SAME.width)
    x = example()
    _expect_shape(norm(x), x, SAME.width, 1, "the norm")


def check_activation_is_elementwise(subject: Subject) -> None:
    """Every output depends on the input at its own place, and on nothing else."""
    activation = subject.built().eval()
    x = torch.linspace(-4, 4, 60).reshape(1, 3, 4, 5)
    one_by_one = torch.stack([activation(value.reshape(1, 1, 1, 1)).reshape(()) for value in x.flatten()])
    if not torch.allclose(activation(x).flatten(), one_by_one, atol=1e-6):
        broken("an output depends on more than the input at its own place; a mixing layer belongs into a block")


def _built_units(subject: Subject, place: UnitContext) -> Iterator[tuple[str, Unit]]:
    """Yield the units at a place. Block and shortcut may refuse each other or the place, with a reason.

    Inside a stage a block must take every shortcut that it declares, and every block a norm or an activation.
    """
    must = subject.kind not in ("block", "shortcut") or (place == SAME and getattr(subject.info.cls, "shortcuts", None) is not None)
    for name, build in subject.units(place):
        try:
            yield name, build()
        except (NasError, ValueError) as error:
            if must:
                broken(f"it cannot be built with {name} at {place}: {error}")
            if not str(error):
                broken(f"it refuses {name} without a reason; raise ValueError with one")


def _expect_shape(y: Tensor, x: Tensor, channels: int, stride: int, what: str) -> None:
    expected = (x.shape[0], channels, *(-(-size // stride) for size in x.shape[2:]))
    if tuple(y.shape) != expected:
        broken(f"{what} gives {tuple(y.shape)} for {tuple(x.shape)}, not {expected}")


BLOCK = (
    check_output_shape, check_every_option, check_gradients_reach_every_parameter, check_same_seed_same_weights, check_state_dict,
    check_deepcopy, check_export, check_twins_share_their_tensors, check_last_layers_silence_the_branch, check_block_tells_the_truth,
    check_skip_is_there,
)  # fmt: skip
SHORTCUT = (
    check_output_shape, check_every_option, check_gradients_reach_every_parameter, check_same_seed_same_weights, check_state_dict,
    check_deepcopy, check_export, check_twins_share_their_tensors, check_skip_is_there, check_branch_is_there,
)  # fmt: skip
NORM = (
    check_norm_keeps_the_shape, check_output_shape, check_every_option, check_gradients_reach_every_parameter,
    check_same_seed_same_weights, check_state_dict, check_deepcopy, check_export,
)  # fmt: skip
ACTIVATION = (
    check_activation_is_elementwise, check_output_shape, check_every_option, check_gradients_reach_every_parameter,
    check_same_seed_same_weights, check_state_dict, check_deepcopy, check_export,
)  # fmt: skip
