"""Networks of the literature as space files here, and what a comparison with another implementation needs."""

import torch
from torch import Tensor, nn

from nas.plugin import NetworkContext
from nas.registry import Registry
from nas.sampling import first_choice, sample
from nas.space import parse_space
from nas.values.architecture import Architecture

RESNET = "staged: {{stem: imagenet, widths: [64, 128, 256, 512], depth: {depth}, block: {block}, shortcut: {shortcut}}}"
DEPTH_50 = "[3, 4, 6, 3]"
MOBILE = ", ".join(["{inverted_residual: {expansion: 1}}"] + ["inverted_residual"] * 6)

OURS = {
    "resnet18": RESNET.format(depth=2, block="basic", shortcut="projection"),
    "resnet50": RESNET.format(depth=DEPTH_50, block="bottleneck", shortcut="projection"),
    "resnext50_32x4d": RESNET.format(depth=DEPTH_50, block="{resnext: {cardinality: 32, base_width: 4}}", shortcut="projection"),
    "wide_resnet50_2": (
        "staged: {stem: {imagenet: {width: 64}}, widths: [128, 256, 512, 1024], depth: [3, 4, 6, 3], "
        "block: {bottleneck: {expansion: 2}}, shortcut: projection}"
    ),
    "densenet121": "dense: {stem: {imagenet: {ending: activated}}, growth: 32, stages: 4, depth: [6, 12, 24, 16]}",
    "mobilenet_v2": (
        "staged: {stem: {conv3x3: {width: 32, stride: 2, activation: relu6}}, widths: [16, 24, 32, 64, 96, 160, 320], "
        f"depth: [1, 2, 3, 4, 3, 3, 1], strides: [1, 2, 2, 2, 1, 2, 1], block: [{MOBILE}], shortcut: same_shape, head: conv_linear}}"
    ),
    "convnext_tiny": (
        "staged: {stem: patchify, widths: [96, 192, 384, 768], depth: [3, 3, 9, 3], block: convnext, shortcut: layer_scale, "
        "transition: norm_conv, closing: none, head: norm_linear}"
    ),
    "resnet50d": "staged: {stem: deep, widths: [64, 128, 256, 512], depth: [3, 4, 6, 3], block: bottleneck, shortcut: pool_projection}",
    "resnetv2_50": RESNET.format(depth=DEPTH_50, block="preact_bottleneck", shortcut="projection"),
    "seresnet50": RESNET.format(depth=DEPTH_50, block="se_bottleneck", shortcut="projection"),
    "vision transformer": (
        "isotropic: {stem: {patchify: {size: 8, norm: none}}, width: 192, depth: 6, mixing: {attention: {heads: 3}}, positions: learned}"
    ),
    "mixer": (
        "isotropic: {stem: {patchify: {size: 16, norm: none}}, width: 512, depth: 8, mixing: token_mixing, positions: none}"
    ),
}  # fmt: skip
CONTEXT = NetworkContext((3, 64, 64), 7)
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}


def architecture_of(text: str, registry: Registry) -> Architecture:
    space = parse_space(f"name: x\ninput: {{shape: [3, 64, 64], classes: 7}}\narchitecture:\n  {text}\n", "x.yaml", registry)
    return sample(space, first_choice).configuration.architecture


def inputs(dtype: torch.dtype = torch.float32, shape: tuple[int, ...] = CONTEXT.input_shape) -> Tensor:
    return torch.randn(2, *shape, generator=torch.Generator().manual_seed(1)).to(dtype)


@torch.no_grad()
def randomise(network: nn.Module) -> None:
    """Give every parameter and statistic a value that tells: scales and variances near 1, shifts near 0."""
    generator = torch.Generator().manual_seed(0)
    for name, tensor in network.state_dict().items():
        if name.endswith("num_batches_tracked"):
            tensor.zero_()
        elif name.endswith("gamma") or "layer_scale" in name:
            tensor.uniform_(0.5, 1.5, generator=generator)
        elif tensor.dim() > 1:
            tensor.normal_(0.0, (2 / tensor[0].numel()) ** 0.5, generator=generator)
        elif name.endswith(("bias", "running_mean")):
            tensor.normal_(0.0, 0.1, generator=generator)
        else:
            tensor.uniform_(0.5, 1.5, generator=generator)


def difference(expected: Tensor, got: Tensor) -> float:
    """The largest difference, in units of the largest answer where that is above 1."""
    return float((expected - got).abs().max() / expected.abs().max().clamp(min=1))
