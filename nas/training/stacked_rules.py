"""Layer 3: how the functions that take the time in a network work on the tensors of several networks at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from nas.training.stacked_tensor import Rule, Stacked

ELEMENTWISE = """relu relu_ relu6 sigmoid sigmoid_ tanh tanh_ gelu silu elu leaky_relu hardtanh hardswish hardsigmoid mish softplus selu
    exp log sqrt rsqrt square abs neg clamp erf __neg__ clone detach contiguous float double to type_as"""
BINARY = """add sub mul div true_divide add_ sub_ mul_ div_ __add__ __radd__ __iadd__ __sub__ __rsub__ __isub__ __mul__ __rmul__ __imul__
    __truediv__ __rtruediv__ __itruediv__ maximum minimum"""
SPATIAL = "max_pool2d avg_pool2d adaptive_avg_pool2d adaptive_max_pool2d interpolate"
PLAIN = "size dim numel is_floating_point is_complex ndimension stride __len__"
PLAIN_PROPERTIES = "shape ndim dtype device requires_grad layout is_cuda is_meta is_sparse is_quantized is_mkldnn is_nested is_leaf"
PLACES = (torch.Tensor, torch, F)


def _functions(names: str) -> Iterable[Callable[..., Any]]:
    return (getattr(place, name) for name in names.split() for place in PLACES if hasattr(place, name))


def _for(functions: Iterable[Any]) -> Callable[[Rule], Rule]:
    """Make a function the rule for others."""

    def add(rule: Rule) -> Rule:
        Stacked.rules.update((function, rule) for function in functions)
        return rule

    return add


def _are_plain(*values: Any) -> bool:
    return not any(isinstance(value, Stacked) for value in values)


@_for([*_functions(PLAIN), *(getattr(torch.Tensor, name).__get__ for name in PLAIN_PROPERTIES.split())])
def _plain(func: Any, *args: Any, **kwargs: Any) -> Any:
    """What a tensor says of itself: it has the shape of one replica's."""
    with torch._C.DisableTorchFunctionSubclass():
        return func(*args, **kwargs)


@_for(_functions(ELEMENTWISE))
def _elementwise(func: Any, x: Stacked, *args: Any, **kwargs: Any) -> Any:
    if not isinstance(x, Stacked) or not _are_plain(*args, *kwargs.values()):
        return NotImplemented
    return Stacked(func(x.store, *args, **kwargs), x.count, channels=x.channels)


@_for(_functions(BINARY))
def _binary(func: Any, a: Any, b: Any, **kwargs: Any) -> Any:
    """Elementwise functions of two: as they lie where both lie alike, else broadcast against each other."""
    first = a if isinstance(a, Stacked) else b
    if not isinstance(b, Tensor) or not isinstance(a, Tensor):
        found = func(a.store, b, **kwargs) if first is a else func(a, b.store, **kwargs)
        return Stacked(found, first.count, channels=first.channels)
    if isinstance(a, Stacked) and isinstance(b, Stacked) and a.channels == b.channels and a.shape == b.shape:
        return Stacked(func(a.store, b.store, **kwargs), a.count, channels=a.channels)
    dims = max(a.dim(), b.dim())
    if dims < 2 or (isinstance(a, Stacked) and a.dim() < dims and func.__name__.endswith(("_", "i"))):
        return NotImplemented
    return Stacked.features(func(_aligned(a, dims), _aligned(b, dims), **kwargs))


def _aligned(x: Tensor, dims: int) -> Tensor:
    """Return a tensor so that it broadcasts against (B, K, …), features of `dims` dimensions a replica."""
    if not isinstance(x, Stacked):
        return x.unsqueeze(1) if x.dim() == dims else x
    if x.dim() == dims:
        return x.second()
    missing = dims - 1 - x.dim()
    own = x.apart().transpose(0, 1) if x.channels else x.store
    return own.view(own.shape[0], *[1] * missing, *own.shape[1:])


@_for([torch.conv1d, torch.conv2d, torch.conv3d])
def _convolution(
    func: Any, x: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> Any:
    """K convolutions are one of K times as many groups."""
    if not isinstance(x, Stacked) or not isinstance(weight, Stacked) or x.dim() != weight.dim():
        return NotImplemented
    own = bias.store.flatten() if isinstance(bias, Stacked) else bias
    features, count = x.beside(), x.count
    if features.dim() == 4 and features.device.type == "cpu":
        features, stride = _channels_last(features, weight.shape[2:], stride, padding)
    found = func(features, weight.store.flatten(0, 1), own, stride, padding, dilation, groups * count)
    return Stacked(found, count, channels=True)


def _channels_last(features: Tensor, kernel: Sequence[int], stride: Any, padding: Any) -> tuple[Tensor, Any]:
    """Return what a convolution of many groups is given on a CPU, (B, K·C, H, W), and its stride.

    With the channels last in memory it takes 0.3 to 1.1 of the time (benchmarks/README.md), and the layers behind it take less, too.
    Strided 1×1 convolutions must not be given so: with few channels oneDNN writes beyond the ends of its memory in their
    gradient (https://github.com/uxlfoundation/oneDNN/issues/6035). The pixels that they read are taken out first, which is the same.
    """
    steps = (stride, stride) if isinstance(stride, int) else tuple(stride) * (2 // len(stride))
    if tuple(kernel) != (1, 1) or steps == (1, 1):
        return features.contiguous(memory_format=torch.channels_last), stride
    if padding not in (0, (0,), (0, 0), "valid"):
        return features.contiguous(), stride
    return features[:, :, :: steps[0], :: steps[1]].contiguous(memory_format=torch.channels_last), 1


@_for([F.batch_norm])
def _batch_norm(
    func: Any, x: Any, running_mean: Any, running_var: Any, weight: Any = None, bias: Any = None, training: bool = False,
    momentum: float = 0.1, eps: float = 1e-5,
) -> Any:  # fmt: skip
    """Each channel is normalised for itself, whosever it is."""
    own = (running_mean, running_var, weight, bias)
    if not isinstance(x, Stacked) or any(value is not None and not isinstance(value, Stacked) for value in own):
        return NotImplemented
    mean, var, scale, shift = (None if value is None else value.store.view(-1) for value in own)
    return Stacked(func(x.beside(), mean, var, scale, shift, training, momentum, eps), x.count, channels=True)


@_for([F.group_norm])
def _group_norm(func: Any, x: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    """Each group of channels is normalised for itself."""
    if not isinstance(x, Stacked) or any(value is not None and not isinstance(value, Stacked) for value in (weight, bias)):
        return NotImplemented
    scale, shift = (None if value is None else value.store.view(-1) for value in (weight, bias))
    return Stacked(func(x.beside(), num_groups * x.count, scale, shift, eps), x.count, channels=True)


@_for([F.linear])
def _linear(_func: Any, x: Any, weight: Any, bias: Any = None) -> Any:
    """K products of matrices as one batch of them."""
    if not isinstance(x, Stacked) or not isinstance(weight, Stacked) or (bias is not None and not isinstance(bias, Stacked)):
        return NotImplemented
    apart = x.first()
    rows = apart.flatten(1, -2) if apart.dim() > 2 else apart.unsqueeze(1)
    turned = weight.store.transpose(1, 2)
    found = torch.bmm(rows, turned) if bias is None else torch.baddbmm(bias.store.unsqueeze(1), rows, turned)
    return Stacked(found.view(*apart.shape[:-1], found.shape[-1]), x.count)


@_for(_functions(SPATIAL))
def _spatial(func: Any, x: Any, *args: Any, **kwargs: Any) -> Any:
    """What treats each channel of pictures for itself."""
    if not isinstance(x, Stacked) or x.dim() != 4 or kwargs.get("return_indices"):
        return NotImplemented
    found = func(x.beside(), *args, **kwargs)
    return Stacked(found, x.count, channels=True) if isinstance(found, Tensor) else NotImplemented


@_for(_functions("mean sum"))
def _over_pixels(func: Any, x: Stacked, dim: Any = None, *args: Any, **kwargs: Any) -> Any:
    """Sums and means over pixels."""
    dims = [d % x.dim() for d in ((dim,) if isinstance(dim, int) else dim or ())]
    if not x.channels or not dims or min(dims) < 2:
        return NotImplemented
    return Stacked(func(x.store, dims, *args, **kwargs), x.count, channels=True)


@_for([F.dropout])
def _dropout(_func: Any, x: Stacked, p: float = 0.5, training: bool = True, **_kwargs: Any) -> Any:
    """Nothing, where nothing is dropped; what draws at random is refused."""
    return NotImplemented if training and p else x


def _moved(x: Stacked, move: Callable[[Tensor], Tensor]) -> Any:
    """Apply to (K, …) what only names dimensions anew; through `vmap`, which looks at every argument, it takes as long as a layer."""
    return Stacked(move(x.first()), x.count) if x.dim() else NotImplemented


@_for([torch.Tensor.transpose, torch.transpose])
def _transpose(func: Any, x: Stacked, dim0: int, dim1: int) -> Any:
    return _moved(x, lambda own: func(own, *_behind(x, dim0, dim1)))


@_for(_functions("movedim moveaxis"))
def _movedim(func: Any, x: Stacked, source: Any, destination: Any) -> Any:
    def move(own: Tensor) -> Tensor:
        found: Tensor = func(own, *(_behind(x, *([dims] if isinstance(dims, int) else dims)) for dims in (source, destination)))
        return found

    return _moved(x, move)


@_for([torch.Tensor.permute, torch.permute])
def _permute(_func: Any, x: Stacked, *dims: Any, **named: Any) -> Any:
    return NotImplemented if named else _moved(x, lambda own: own.permute(0, *_behind(x, *_listed(dims))))


@_for([torch.Tensor.reshape, torch.reshape])
def _reshape(_func: Any, x: Stacked, *shape: Any, **named: Any) -> Any:
    return NotImplemented if named else _moved(x, lambda own: own.reshape(x.count, *_listed(shape)))


def _listed(given: Sequence[Any]) -> Sequence[int]:
    """Return dimensions that are given one by one or as one sequence."""
    return given[0] if given and isinstance(given[0], Sequence) else given


def _behind(x: Tensor, *dims: int) -> list[int]:
    """Return where dimensions of one replica lie behind that of the replicas."""
    return [dim % x.dim() + 1 for dim in dims]


@_for([F.layer_norm])
def _layer_norm(func: Any, x: Any, normalized_shape: Sequence[int], weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    """Each token is normalised for itself; scale and shift are its own replica's."""
    own = [value for value in (weight, bias) if value is not None]
    if not isinstance(x, Stacked) or not all(isinstance(value, Stacked) for value in own) or (weight is None and own):
        return NotImplemented
    found = func(x.first(), normalized_shape, None, None, eps)
    spread = [value.store.view(x.count, *[1] * (x.dim() - value.dim()), *value.shape) for value in own]
    if len(spread) == 2:
        return Stacked(torch.addcmul(spread[1], found, spread[0]), x.count)
    return Stacked(found * spread[0] if spread else found, x.count)


@_for([torch.Tensor.view])
def _view(func: Any, x: Any, *shape: Any, **kwargs: Any) -> Any:
    """A replica's tensor may lie in memory so that it cannot be viewed in another shape, where alone it could."""
    return _reshape(func, x, *shape) if not kwargs and not isinstance(shape[0], torch.dtype) else NotImplemented


@_for(_functions("flatten"))
def _flatten(_func: Any, x: Stacked, start_dim: int = 0, end_dim: int = -1) -> Any:
    if not x.channels or start_dim != 1 or end_dim not in (-1, x.dim() - 1):
        return _moved(x, lambda own: own.flatten(*_behind(x, start_dim, end_dim)))
    return Stacked(x.store.flatten(1), x.count, channels=True)


@_for([torch.Tensor.__getitem__])
def _pixels(_func: Any, x: Any, index: Any) -> Any:
    """Every s-th pixel, as `x[:, :, ::s, ::s]`."""
    everything = slice(None)
    if not isinstance(x, Stacked) or not x.channels or not isinstance(index, tuple) or index[:2] != (everything, everything):
        return NotImplemented
    if not all(isinstance(part, slice) for part in index):
        return NotImplemented
    return Stacked(x.store[index], x.count, channels=True)


@_for([F.pad, torch._C._nn.pad])
def _pad(func: Any, x: Any, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Any:
    """Zeros around pixels, or around channels."""
    if not isinstance(x, Stacked) or not x.channels or mode != "constant" or len(pad) > 2 * (x.dim() - 1):
        return NotImplemented
    if len(pad) <= 2 * (x.dim() - 2):
        return Stacked(func(x.store, pad, mode, value), x.count, channels=True)
    return Stacked(_lying_as(x.store, func(x.apart(), pad, mode, value).flatten(1, 2)), x.count, channels=True)


@_for(_functions("cat concat"))
def _cat(func: Any, tensors: Sequence[Any], dim: int = 0) -> Any:
    """Channels behind channels, replica by replica."""
    if not all(isinstance(x, Stacked) and x.channels for x in tensors) or not 0 < dim < tensors[0].dim():
        return NotImplemented
    found = func([x.apart() for x in tensors], dim + 1).flatten(1, 2)
    return Stacked(_lying_as(tensors[0].store, found), tensors[0].count, channels=True)


def _lying_as(given: Tensor, found: Tensor) -> Tensor:
    """Lay features with the channels last where those that they were made of lie so: a sum of both lies as its first part does."""
    last = given.dim() == 4 and given.shape[1] > 1 and given.stride(1) == 1
    return found.contiguous(memory_format=torch.channels_last) if last else found


@_for([F.scaled_dot_product_attention])
def _attention(func: Any, query: Any, key: Any, value: Any, attn_mask: Any = None, dropout_p: float = 0.0, **kwargs: Any) -> Any:
    """Replicas are further examples: (K, B, heads, tokens, size) as (K·B, heads, tokens, size)."""
    given = (query, key, value)
    if not all(isinstance(x, Stacked) and not x.channels and x.dim() == 4 for x in given) or attn_mask is not None or dropout_p:
        return NotImplemented
    found = func(*(x.store.flatten(0, 1) for x in given), **kwargs)
    return Stacked(found.unflatten(0, (query.count, -1)), query.count)
