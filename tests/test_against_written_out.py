"""Our networks against forward passes written out from the papers, layer by layer, on the same weights.

No other package is needed. What a network here is built of is not asked: its weights are taken in their order, and strides,
paddings, groups and the places of norms and activations are those written here.
"""

from collections import deque
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from known_networks import CONTEXT, OURS, TOLERANCE, architecture_of, difference, inputs, randomise
from torch import Tensor, nn

from nas.building import build_without_weights
from nas.plugin import NetworkContext
from nas.registry import Registry


class Weights:
    """A network's weights, layer by layer in their order, each to be used once."""

    def __init__(self, network: nn.Module) -> None:
        self.left = deque(module for module in network.modules() if any(True for _ in module.parameters(recurse=False)))

    def conv(self, x: Tensor, stride: int = 1, padding: int = 0, groups: int = 1) -> Tensor:
        layer = self.left.popleft()
        return F.conv2d(x, layer.weight, layer.bias, stride, padding, 1, groups)

    def bn(self, x: Tensor) -> Tensor:
        layer = self.left.popleft()
        return F.batch_norm(x, layer.running_mean, layer.running_var, layer.weight, layer.bias, eps=1e-5)

    def ln(self, x: Tensor) -> Tensor:
        layer = self.left.popleft()
        return F.layer_norm(x.movedim(1, -1), x.shape[1:2], layer.weight, layer.bias, 1e-6).movedim(-1, 1)

    def linear(self, x: Tensor) -> Tensor:
        layer = self.left.popleft()
        return F.linear(x, layer.weight, layer.bias)

    def scale(self, x: Tensor) -> Tensor:
        return x * self.left.popleft().gamma


def resnet_start(w: Weights, x: Tensor) -> Tensor:
    return F.max_pool2d(F.relu(w.bn(w.conv(x, 2, 3))), 3, 2, 1)


def resnet18(w: Weights, x: Tensor) -> Tensor:
    """He et al. 2015, 1512.03385, Table 1; option B."""
    x = resnet_start(w, x)
    for stage, width in enumerate((64, 128, 256, 512)):
        for unit in range(2):
            stride = 2 if stage > 0 and unit == 0 else 1
            y = w.bn(w.conv(F.relu(w.bn(w.conv(x, stride, 1))), 1, 1))
            x = F.relu(y + (w.bn(w.conv(x, stride)) if x.shape[1] != width else x))
    return w.linear(x.mean((2, 3)))


def bottlenecks(w: Weights, x: Tensor, out: int, groups: int = 1) -> Tensor:
    """He et al. 2015, Table 1, with the stride in the 3×3; Xie et al. 2017, 1611.05431, Fig. 3 c, with groups."""
    x = resnet_start(w, x)
    for stage, depth in enumerate((3, 4, 6, 3)):
        for unit in range(depth):
            stride = 2 if stage > 0 and unit == 0 else 1
            y = F.relu(w.bn(w.conv(x)))
            y = F.relu(w.bn(w.conv(y, stride, 1, groups)))
            y = w.bn(w.conv(y))
            x = F.relu(y + (w.bn(w.conv(x, stride)) if x.shape[1] != out * 2**stage else x))
    return w.linear(x.mean((2, 3)))


def resnetv2_50(w: Weights, x: Tensor) -> Tensor:
    """He et al. 2016, 1603.05027, Fig. 4 e and §4.1: the projection reads the pre-activated input and has no norm."""
    x = F.max_pool2d(w.conv(x, 2, 3), 3, 2, 1)
    for stage, depth in enumerate((3, 4, 6, 3)):
        for unit in range(depth):
            stride = 2 if stage > 0 and unit == 0 else 1
            h = F.relu(w.bn(x))
            y = w.conv(h)
            y = w.conv(F.relu(w.bn(y)), stride, 1)
            y = w.conv(F.relu(w.bn(y)))
            x = y + (w.conv(h, stride) if unit == 0 else x)
    return w.linear(F.relu(w.bn(x)).mean((2, 3)))


def densenet121(w: Weights, x: Tensor) -> Tensor:
    """Huang et al. 2017, 1608.06993, Table 1."""
    x = resnet_start(w, x)
    for stage, depth in enumerate((6, 12, 24, 16)):
        if stage > 0:
            x = F.avg_pool2d(w.conv(F.relu(w.bn(x))), 2)
        for _ in range(depth):
            y = w.conv(F.relu(w.bn(x)))
            x = torch.cat((x, w.conv(F.relu(w.bn(y)), 1, 1)), 1)
    return w.linear(F.relu(w.bn(x)).mean((2, 3)))


def mobilenet_v2(w: Weights, x: Tensor) -> Tensor:
    """Sandler et al. 2018, 1801.04381, Table 2."""
    x = F.relu6(w.bn(w.conv(x, 2, 1)))
    table = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
    for expansion, width, depth, first_stride in table:
        for unit in range(depth):
            stride = first_stride if unit == 0 else 1
            y = F.relu6(w.bn(w.conv(x))) if expansion > 1 else x
            y = F.relu6(w.bn(w.conv(y, stride, 1, y.shape[1])))
            y = w.bn(w.conv(y))
            x = x + y if stride == 1 and x.shape[1] == width else y
    x = F.relu6(w.bn(w.conv(x)))
    return w.linear(x.mean((2, 3)))


def convnext_tiny(w: Weights, x: Tensor) -> Tensor:
    """Liu et al. 2022, 2201.03545, Fig. 4 and §2.6."""
    x = w.ln(w.conv(x, 4))
    for stage, depth in enumerate((3, 3, 9, 3)):
        x = w.conv(w.ln(x), 2) if stage > 0 else x
        for _ in range(depth):
            y = w.ln(w.conv(x, 1, 3, x.shape[1]))
            y = w.conv(F.gelu(w.conv(y)))
            x = x + w.scale(y)
    return w.linear(w.ln(x.mean((2, 3))))


def sngan_generator(w: Weights, z: Tensor) -> Tensor:
    """Miyato et al. 2018, 1802.05957, Table 4: the shortcut's 1×1 reads the enlarged input."""
    x = w.linear(z.flatten(1)).reshape(-1, 256, 4, 4)
    for _ in range(3):
        y = F.relu(w.bn(x)).repeat_interleave(2, 2).repeat_interleave(2, 3)
        y = w.conv(F.relu(w.bn(w.conv(y, 1, 1))), 1, 1)
        x = y + w.conv(x.repeat_interleave(2, 2).repeat_interleave(2, 3))
    return torch.tanh(w.conv(F.relu(w.bn(x)), 1, 1))


def sngan_discriminator(w: Weights, x: Tensor) -> Tensor:
    """Miyato et al. 2018, Table 4: the first unit has no activation before its first convolution; the 1×1 comes before the pooling."""
    for unit in range(4):
        y = w.conv(F.relu(w.conv(x if unit == 0 else F.relu(x), 1, 1)), 1, 1)
        x = F.avg_pool2d(y, 2) + F.avg_pool2d(w.conv(x), 2) if unit < 2 else y + x
    return w.linear(F.relu(x).sum((2, 3)))


WRITTEN: dict[str, Callable[[Weights, Tensor], Tensor]] = {
    "resnet18": resnet18,
    "resnet50": lambda w, x: bottlenecks(w, x, 256),
    "resnext50_32x4d": lambda w, x: bottlenecks(w, x, 256, groups=32),
    "wide_resnet50_2": lambda w, x: bottlenecks(w, x, 256),
    "resnetv2_50": resnetv2_50,
    "densenet121": densenet121,
    "mobilenet_v2": mobilenet_v2,
    "convnext_tiny": convnext_tiny,
    "sngan generator": sngan_generator,
    "sngan discriminator": sngan_discriminator,
}
ADVERSARIAL = {
    "sngan generator": ("generator: {}", NetworkContext((128,), 3)),
    "sngan discriminator": ("discriminator: {widths: [128, 128, 128, 128], strides: [2, 2, 1, 1]}", NetworkContext((3, 32, 32), 1)),
}


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("name", WRITTEN)
def test_our_network_computes_what_the_paper_says(name: str, dtype: torch.dtype, registry: Registry) -> None:
    text, context = ADVERSARIAL[name] if name in ADVERSARIAL else (OURS[name], CONTEXT)
    ours = build_without_weights(architecture_of(text, registry), registry, context).to_empty(device="cpu").to(dtype).eval()
    randomise(ours)
    x, weights = inputs(dtype, context.input_shape), Weights(ours)
    with torch.no_grad():
        expected, got = WRITTEN[name](weights, x), ours(x)
    assert not weights.left, "some of our weights have no place in the network that is written out"
    assert expected.std(dim=0).max() > 0.01, "both inputs are answered alike, so that equal answers would say nothing"
    assert difference(expected, got) <= TOLERANCE[dtype]
