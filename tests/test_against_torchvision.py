"""Networks that torchvision or timm have too: their weights in ours give the same output.

Nothing is downloaded: the weights and the batch-norm statistics are drawn at random.
"""

import importlib
import importlib.util
import sys
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nas.building import build, build_without_weights, cost_of
from nas.errors import PluginError
from nas.plugin import NetworkContext
from nas.registry import Registry
from nas.sampling import first_choice, sample
from nas.space import parse_space
from nas.values.architecture import Architecture


def package(name: str) -> Any:
    """Import torchvision or timm, or skip. torchvision's compiled part may be built for another torch: networks need none of it."""
    if importlib.util.find_spec(name) is None or importlib.util.find_spec("torchvision") is None:
        pytest.skip(f"{name} is not installed: pip install 'nas-ablation[{name}]'")
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        for module in [m for m in sys.modules if m.split(".")[0] == "torchvision"]:
            del sys.modules[module]
        LIBRARY.append(torch.library.Library("torchvision", "DEF"))
        LIBRARY[0].define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        LIBRARY[0].define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return importlib.import_module(name)


LIBRARY: list[torch.library.Library] = []  # kept: its operators vanish with it


def torchvision_model(name: str) -> Callable[[], nn.Module]:
    return lambda: package("torchvision").models.get_model(name, weights=None, num_classes=7)


def timm_model(name: str, **options: Any) -> Callable[[], nn.Module]:
    return lambda: package("timm").create_model(name, pretrained=False, num_classes=7, **options)


RESNET = "staged: {{stem: imagenet, widths: [64, 128, 256, 512], depth: {depth}, block: {block}, shortcut: {shortcut}}}"
DEPTH_50 = "[3, 4, 6, 3]"
MOBILE = ", ".join(["{inverted_residual: {expansion: 1}}"] + ["inverted_residual"] * 6)
VIT_SMALL = {"img_size": 64, "patch_size": 16, "embed_dim": 48, "depth": 3}

NETWORKS: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "torchvision resnet18": (torchvision_model("resnet18"), RESNET.format(depth=2, block="basic", shortcut="projection")),
    "torchvision resnet50": (torchvision_model("resnet50"), RESNET.format(depth=DEPTH_50, block="bottleneck", shortcut="projection")),
    "torchvision resnext50_32x4d": (
        torchvision_model("resnext50_32x4d"),
        RESNET.format(depth=DEPTH_50, block="{resnext: {cardinality: 32, base_width: 4}}", shortcut="projection"),
    ),
    "torchvision wide_resnet50_2": (
        torchvision_model("wide_resnet50_2"),
        "staged: {stem: {imagenet: {width: 64}}, widths: [128, 256, 512, 1024], depth: [3, 4, 6, 3], "
        "block: {bottleneck: {expansion: 2}}, shortcut: projection}",
    ),
    "torchvision densenet121": (
        torchvision_model("densenet121"),
        "dense: {stem: {imagenet: {ending: activated}}, growth: 32, stages: 4, depth: [6, 12, 24, 16]}",
    ),
    "torchvision mobilenet_v2": (
        torchvision_model("mobilenet_v2"),
        "staged: {stem: {conv3x3: {width: 32, stride: 2, activation: relu6}}, widths: [16, 24, 32, 64, 96, 160, 320], "
        f"depth: [1, 2, 3, 4, 3, 3, 1], strides: [1, 2, 2, 2, 1, 2, 1], block: [{MOBILE}], shortcut: same_shape, head: conv_linear}}",
    ),
    "torchvision convnext_tiny": (
        torchvision_model("convnext_tiny"),
        "staged: {stem: patchify, widths: [96, 192, 384, 768], depth: [3, 3, 9, 3], block: convnext, shortcut: layer_scale, "
        "transition: norm_conv, closing: none, head: norm_linear}",
    ),
    "timm resnet50d": (
        timm_model("resnet50d"),
        "staged: {stem: deep, widths: [64, 128, 256, 512], depth: [3, 4, 6, 3], block: bottleneck, shortcut: pool_projection}",
    ),
    "timm resnetv2_50": (
        timm_model("resnetv2_50"),
        RESNET.format(depth=DEPTH_50, block="preact_bottleneck", shortcut="projection"),
    ),
    "timm seresnet50": (
        timm_model("seresnet50"),
        RESNET.format(depth=DEPTH_50, block="se_bottleneck", shortcut="projection"),
    ),
    "timm vision transformer": (
        timm_model("vit_tiny_patch16_224", **VIT_SMALL, num_heads=3, class_token=False, global_pool="avg", fc_norm=False),
        "isotropic: {stem: {patchify: {size: 16, norm: none}}, width: 48, depth: 3, mixing: {attention: {heads: 3}}, positions: learned}",
    ),
    "timm mixer": (
        timm_model("mixer_s16_224", img_size=64),
        "isotropic: {stem: {patchify: {size: 16, norm: none}}, width: 512, depth: 8, mixing: token_mixing, positions: none}",
    ),
}
CONTEXT = NetworkContext((3, 64, 64), 7)
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}


def architecture_of(text: str, registry: Registry) -> Architecture:
    space = parse_space(f"name: x\ninput: {{shape: [3, 64, 64], classes: 7}}\narchitecture:\n  {text}\n", "x.yaml", registry)
    return sample(space, first_choice).configuration.architecture


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("name", NETWORKS)
def test_their_weights_in_our_network_give_their_output(name: str, dtype: torch.dtype, registry: Registry) -> None:
    make, text = NETWORKS[name]
    theirs, ours = pair(make, architecture_of(text, registry), registry)
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1), dtype=dtype)
    with torch.no_grad():
        expected, got = theirs.to(dtype)(x), ours.to(dtype)(x)
    assert expected.std(dim=0).max() > 0.01, "both inputs are answered alike, so that equal answers would say nothing"
    assert difference(expected, got) <= TOLERANCE[dtype]


@pytest.mark.parametrize("name", [name for name in NETWORKS if name.startswith("torchvision")])
def test_torchvision_by_name_costs_what_ours_costs(name: str, registry: Registry) -> None:
    package("torchvision")
    ours = cost_of(architecture_of(NETWORKS[name][1], registry), registry, CONTEXT)
    theirs = cost_of(architecture_of(f"torchvision: {{model: {name.split()[1]}}}", registry), registry, CONTEXT)
    assert theirs == ours


def test_timm_by_name_costs_what_ours_costs(registry: Registry) -> None:
    package("timm")
    ours = cost_of(architecture_of(NETWORKS["timm resnetv2_50"][1], registry), registry, CONTEXT)
    assert cost_of(architecture_of("timm: {model: resnetv2_50}", registry), registry, CONTEXT) == ours


@pytest.mark.parametrize(("name", "near"), [("torchvision", "resnet18"), ("timm", "resnet18")])
def test_an_unknown_model_is_answered_with_the_nearest(name: str, near: str, registry: Registry) -> None:
    package(name)
    with pytest.raises(PluginError, match=f"no classification model 'resnet_18'; did you mean .*'{near}'"):
        cost_of(architecture_of(f"{name}: {{model: resnet_18}}", registry), registry, CONTEXT)


@pytest.mark.parametrize("model", ["regnet_y_400mf", "googlenet"])
def test_a_model_that_the_meta_device_or_a_second_answer_could_trouble_is_counted(model: str, registry: Registry) -> None:
    package("torchvision")
    architecture = architecture_of(f"torchvision: {{model: {model}}}", registry)
    built = build(architecture, registry, CONTEXT)
    assert cost_of(architecture, registry, CONTEXT).parameters == sum(p.numel() for p in built.parameters())
    assert built.train()(torch.zeros(2, *CONTEXT.input_shape)).shape == (2, 7)


def test_a_picture_of_one_channel_is_read_three_times(registry: Registry) -> None:
    package("torchvision")
    architecture = architecture_of("torchvision: {model: resnet18}", registry)
    grey, colour = (build(architecture, registry, NetworkContext((c, 32, 32), 7)).eval() for c in (1, 3))
    x = torch.randn(2, 1, 32, 32, generator=torch.Generator().manual_seed(1))
    assert torch.equal(grey(x), colour(x.expand(-1, 3, -1, -1)))


# --- loading --------------------------------------------------------------------------------------------------------


def pair(make: Callable[[], nn.Module], architecture: Architecture, registry: Registry) -> tuple[nn.Module, nn.Module]:
    """Build a foreign network with values drawn at random, and ours with the same values, both in evaluation."""
    with torch.device("meta"):
        theirs = make()
    theirs = theirs.to_empty(device="cpu").eval()
    randomise(theirs)
    ours = build_without_weights(architecture, registry, CONTEXT).to_empty(device="cpu").eval()
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters())
    load(theirs, ours)
    return theirs, ours


@torch.no_grad()
def randomise(network: nn.Module) -> None:
    """Give every parameter and statistic a value that tells: scales and variances near 1, shifts near 0."""
    generator = torch.Generator().manual_seed(0)
    for name, tensor in network.state_dict().items():
        if name.endswith("num_batches_tracked"):
            tensor.zero_()
        elif tensor.dim() > 1 and "layer_scale" not in name:
            tensor.normal_(0.0, (2 / tensor[0].numel()) ** 0.5, generator=generator)
        elif name.endswith(("bias", "running_mean")):
            tensor.normal_(0.0, 0.1, generator=generator)
        else:
            tensor.uniform_(0.5, 1.5, generator=generator)


@torch.no_grad()
def load(theirs: nn.Module, ours: nn.Module) -> None:
    """Copy each tensor to the one of its role and shape that comes at the same turn; none may be left over."""
    queues: dict[tuple[str, tuple[int, ...]], deque[Tensor]] = defaultdict(deque)
    for name, tensor in branch_first(split(theirs.state_dict())):
        queues[role(name), shape(tensor)].append(tensor)
    for name, tensor in ours.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            tensor.copy_(queues[role(name), shape(tensor)].popleft().reshape(tensor.shape))
    assert not any(queues.values()), {key: len(queue) for key, queue in queues.items() if queue}


def split(tensors: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Take apart what is one tensor there and several here: queries, keys and values; put a table of places as a picture."""
    for name, tensor in tensors.items():
        if ".qkv." in name:
            yield from ((name, part) for part in tensor.chunk(3))
        elif name == "pos_embed":
            side = round(tensor.shape[1] ** 0.5)
            yield name, tensor[0].T.reshape(-1, side, side)
        elif not name.endswith("num_batches_tracked"):
            yield name, tensor


def branch_first(tensors: Iterator[tuple[str, Tensor]]) -> list[tuple[str, Tensor]]:
    """Put each block's projection behind its branch, as our units have them."""
    listed = list(tensors)
    last = {name: i for i, (name, _) in enumerate(listed)}

    def place(item: tuple[str, Tensor]) -> tuple[int, int]:
        block, is_projection, _ = item[0].partition(".downsample.")
        own = last[item[0]]
        return (max(i for name, i in last.items() if name.startswith(f"{block}.")), own) if is_projection else (own, -1)

    return sorted(listed, key=place)


def role(name: str) -> str:
    last = name.rpartition(".")[2]
    return {"layer_scale": "scale", "gamma": "scale", "pos_embed": "table"}.get(last, last)


def shape(tensor: Tensor) -> tuple[int, ...]:
    return tuple(size for size in tensor.shape if size != 1)


def difference(expected: Tensor, got: Tensor) -> float:
    """The largest difference, in units of the largest answer where that is above 1."""
    return float((expected - got).abs().max() / expected.abs().max().clamp(min=1))
