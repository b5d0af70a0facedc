"""Networks that torchvision or timm have too: their weights in ours give the same output.

Nothing is downloaded: the weights and the batch-norm statistics are drawn at random.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from known_networks import CONTEXT, OURS, TOLERANCE, architecture_of, difference, inputs, randomise
from optional_packages import package
from torch import Tensor, nn

from nas.building import build, build_without_weights, cost_of
from nas.errors import PluginError
from nas.plugin import NetworkContext
from nas.registry import Registry
from nas.testing import check_plugin
from nas.values.architecture import Architecture


def torchvision_model(name: str) -> Callable[[], nn.Module]:
    return lambda: package("torchvision").models.get_model(name, weights=None, num_classes=7)


def timm_model(name: str, **options: Any) -> Callable[[], nn.Module]:
    return lambda: package("timm").create_model(name, pretrained=False, num_classes=7, **options)


VIT_SMALL = {"img_size": 64, "patch_size": 8, "embed_dim": 192, "depth": 6}

TORCHVISION = ("resnet18", "resnet50", "resnext50_32x4d", "wide_resnet50_2", "densenet121", "mobilenet_v2", "convnext_tiny")
TIMM: dict[str, Callable[[], nn.Module]] = {
    **{name: timm_model(name) for name in ("resnet50d", "resnetv2_50", "seresnet50")},
    "vision transformer": timm_model("vit_tiny_patch16_224", **VIT_SMALL, num_heads=3, class_token=False, global_pool="avg", fc_norm=False),
    "mixer": timm_model("mixer_s16_224", img_size=64),
}
NETWORKS: dict[str, tuple[Callable[[], nn.Module], str]] = {
    **{f"torchvision {name}": (torchvision_model(name), OURS[name]) for name in TORCHVISION},
    **{f"timm {name}": (make, OURS[name]) for name, make in TIMM.items()},
}


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("name", NETWORKS)
def test_their_weights_in_our_network_give_their_output(name: str, dtype: torch.dtype, registry: Registry) -> None:
    make, text = NETWORKS[name]
    theirs, ours = pair(make, architecture_of(text, registry), registry)
    x = inputs(dtype)
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


FOREIGN_BLOCKS = {
    "{torchvision: {block: BasicBlock}}": "basic",
    "{torchvision: {block: Bottleneck}}": "bottleneck",
    "{torchvision: {block: InvertedResidual}}": "inverted_residual",
    "{timm: {block: BasicBlock}}": "basic",
    "{timm: {block: Bottleneck}}": "bottleneck",
    "{timm: {block: InvertedResidual}}": "{inverted_residual: {activation: relu}}",
    "{timm_preact: {block: PreActBasic}}": "preact_basic",
    "{timm_preact: {block: PreActBottleneck}}": "preact_bottleneck",
}


@pytest.mark.parametrize("shortcut", ["none", "identity", "projection"])
@pytest.mark.parametrize("theirs", FOREIGN_BLOCKS)
def test_their_block_by_name_in_a_unit_of_ours_is_our_block(theirs: str, shortcut: str, registry: Registry) -> None:
    package("timm" if "timm" in theirs else "torchvision")
    text = "staged: {{widths: [8, 16], depth: 2, block: {block}, shortcut: {shortcut}}}"
    one, other = (architecture_of(text.format(block=block, shortcut=shortcut), registry) for block in (theirs, FOREIGN_BLOCKS[theirs]))
    assert cost_of(one, registry, CONTEXT) == cost_of(other, registry, CONTEXT)
    first, second = (build(each, registry, CONTEXT).eval() for each in (one, other))
    randomise(first)
    for target, source in zip(second.state_dict().values(), first.state_dict().values(), strict=True):
        target.copy_(source)
    with torch.no_grad():
        assert difference(second(inputs()), first(inputs())) <= TOLERANCE[torch.float32]


@pytest.mark.parametrize("name", ["torchvision", "timm", "timm_preact"])
def test_a_foreign_block_keeps_the_contract(name: str, registry: Registry) -> None:
    package("timm" if "timm" in name else "torchvision")
    assert not [f"{result.name}: {result.detail}" for result in check_plugin(registry, "block", name) if not result.passed]


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
