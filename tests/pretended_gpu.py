"""A GPU that is pretended: tensors that say they lie on `cuda:0`, compute on the CPU, and note where a program has to wait for them.

Python sees the device `cuda:0`; to torch's own code these tensors are on its meta device, which every build of torch knows.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

GPU = torch.device("cuda", 0)
_META = torch.device("meta")
_aten = torch.ops.aten
WAITS = {
    _aten._local_scalar_dense, _aten.nonzero, _aten.masked_select, _aten.bincount, _aten.equal, _aten.is_nonzero, _aten._unique2,
    _aten.unique_dim, _aten.unique_consecutive, _aten.repeat_interleave, _aten.linalg_eigh, _aten._linalg_eigh,
}  # fmt: skip
"""What gives its answer, or the shape of it, to the program: it has to wait until the device has come so far."""


class OnGPU(torch.Tensor):
    """A tensor of the pretended GPU; `here` holds its values."""

    here: torch.Tensor

    @staticmethod
    def __new__(cls, here: torch.Tensor) -> OnGPU:
        made = torch.Tensor._make_wrapper_subclass(
            cls, here.shape, here.stride(), here.storage_offset(), dtype=here.dtype, device=_META, requires_grad=False
        )
        made.here = here
        return made

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.here.__reduce_ex__(protocol)

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise AssertionError("a tensor of the pretended GPU is used where none is pretended")


class _Devices(TorchFunctionMode):
    """Python's side: tensors say that they are on the GPU, and what is asked for there is made on the meta device."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(getattr(func, "__self__", None), "__name__", "")
        if func is not None and name in ("device", "is_cuda") and args and isinstance(args[0], torch.Tensor):
            on_gpu = func.__self__.__get__(args[0]).type == "meta" if name == "device" else isinstance(args[0], OnGPU)
            return (GPU if on_gpu else func(*args)) if name == "device" else on_gpu
        kwargs = kwargs or {}
        if func is torch._C._nn._parse_to or func is torch.device:
            return func(*args, **kwargs)
        if func is torch.Tensor.pin_memory:
            pinned = args[0].clone()
            pinned.is_pinned_here = True
            return pinned
        if func == torch.Tensor.data.__set__ and isinstance(args[0], OnGPU):
            args[0].here = args[1].here
        if func is torch.Tensor.tolist and isinstance(args[0], OnGPU):
            return args[0].cpu().tolist()
        if func is torch.Tensor.new_tensor and isinstance(args[0], OnGPU):
            return torch.tensor(*args[1:], dtype=kwargs.get("dtype", args[0].dtype)).to(_META)
        if func in (torch.tensor, torch.as_tensor) and kwargs.get("device") is not None and torch.device(kwargs["device"]).type == "cuda":
            return func(*args, **{**kwargs, "device": "cpu"}).to(_META)
        return func(*tree_map(_to_meta, args), **tree_map(_to_meta, kwargs))


def _to_meta(value: Any) -> Any:
    if isinstance(value, torch.device) and value.type == "cuda":
        return _META
    return _META if isinstance(value, str) and value.startswith("cuda") else value


class PretendedGPU(TorchDispatchMode):
    """torch's side: computes on the CPU, refuses what mixes devices, notes in `waits` what makes the program wait, and where."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        leaves = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
        there = [x for x in leaves if isinstance(x, OnGPU)]
        asked = kwargs.get("device")
        goes_there = asked.type == "meta" if asked is not None else bool(there)
        if lost := [x for x in leaves if not isinstance(x, OnGPU) and x.device.type == "cuda"]:
            raise RuntimeError(f"{func}: made of Python's numbers on the GPU, {lost[0].shape}")
        packet = func.overloadpacket
        self._look(func, packet, leaves, there, args, kwargs)
        if asked is not None:
            kwargs["device"] = torch.device("cpu")
        plain_args, plain_kwargs = tree_map(_here, args), tree_map(_here, kwargs)
        found = func(*plain_args, **plain_kwargs)
        if not goes_there:
            return found
        given = {id(_here(x)): x for x in there}
        return tree_map(lambda x: given[id(x)] if id(x) in given else OnGPU(x) if isinstance(x, torch.Tensor) else x, found)

    def _look(self, func: Any, packet: Any, leaves: list[Any], there: list[Any], args: Any, kwargs: Any) -> None:
        moves = packet is _aten._to_copy and kwargs.get("device") is not None and (kwargs["device"].type == "meta") != bool(there)
        moves = moves or (packet is _aten.copy_ and 0 < len(there) < len(leaves))
        if moves:
            if not (kwargs.get("non_blocking") and hasattr(leaves[0], "is_pinned_here")):
                self._wait(f"{func}")
            return
        if len(there) not in (0, len(leaves)):
            strangers = [x for x in leaves if not isinstance(x, OnGPU)]
            if packet in (_aten.index, _aten.index_put_, _aten.index_put) and isinstance(args[0], OnGPU):
                self._wait(f"{func} by indices of the CPU")
            elif any(x.dim() for x in strangers):
                raise RuntimeError(f"{func} mixes devices: {[tuple(x.shape) for x in strangers]} of the CPU")
        masked = packet in (_aten.index, _aten.index_put_) and any(x is not None and x.dtype == torch.bool for x in args[1])
        if there and (packet in WAITS or masked):
            self._wait(f"{func}")

    def _wait(self, what: str) -> None:
        frame: Any = sys._getframe()
        while frame and not any(f in frame.f_code.co_filename for f in ("/nas/", "/plugins/", "pytorch_lightning")):
            frame = frame.f_back
        self.waits.append(f"{what} at {frame.f_code.co_filename}:{frame.f_lineno}" if frame else what)


def _here(value: Any) -> Any:
    return value.here if isinstance(value, OnGPU) else value


@contextmanager
def pretended_gpu() -> Iterator[PretendedGPU]:
    with _Devices(), PretendedGPU() as gpu:
        yield gpu
