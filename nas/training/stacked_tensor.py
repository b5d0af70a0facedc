"""Layer 3: a tensor that stands for those of several equal networks at once, so that a network's own code runs all of them.

What a network's code sees has the shape that one network's tensor has. What lies in memory is the tensors of all of them, the
replicas: their channels side by side, so that K convolutions are one with K times as many groups, and K batch normalisations one of
K times as many channels. The few functions that take the time have rules for that (`stacked_rules`); every other one goes
through `torch.func.vmap`, which knows how to run it for all replicas.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, cast

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

Rule = Callable[..., Any]


class Stacked(Tensor):
    """The tensors of `count` replicas, each of this tensor's own shape.

    `store` holds them: (K, …) where `channels` is false, as parameters lie; (B, K·C, …) where it is true, as features lie.
    """

    store: Tensor
    count: int
    channels: bool
    rules: ClassVar[dict[Any, Rule]] = {}
    """By function of torch: how it works on stacked tensors; NotImplemented where a rule does not know these arguments."""

    @staticmethod
    def __new__(cls, store: Tensor, count: int, *, channels: bool = False) -> Stacked:
        """Let `store` stand for `count` tensors."""
        shape = (store.shape[0], store.shape[1] // count, *store.shape[2:]) if channels else store.shape[1:]
        made = torch.Tensor._make_wrapper_subclass(cls, shape, dtype=store.dtype, device=store.device, requires_grad=store.requires_grad)
        made.store, made.count, made.channels = store, count, channels
        return made

    def apart(self) -> Tensor:
        """Return the replicas' tensors along a dimension of their own, a view: the second of features, else the first."""
        x = self.store
        return x.view(x.shape[0], self.count, x.shape[1] // self.count, *x.shape[2:]) if self.channels else x

    def beside(self) -> Tensor:
        """Return the tensors channel by channel, (B, K·C, …), or (K·C, …) of parameters; copied where they lie otherwise."""
        return self.store if self.channels else self.store.transpose(0, 1).flatten(1, 2)

    def first(self) -> Tensor:
        """Return the tensors with the replicas as the first dimension, (K, …), a view."""
        return self.apart().transpose(0, 1) if self.channels else self.store

    def second(self) -> Tensor:
        """Return the tensors with the replicas as the second dimension, (B, K, …), a view."""
        return self.apart() if self.channels else self.store.transpose(0, 1)

    def replicas(self) -> tuple[Tensor, ...]:
        """Return each replica's own tensor, a view."""
        return self.apart().unbind(int(self.channels))

    @classmethod
    def features(cls, apart: Tensor) -> Stacked:
        """Let (B, K, …) stand for K tensors (B, …); beside each other where there are channels and they lie so."""
        if apart.dim() > 2 and apart.stride(1) == apart.shape[2] * apart.stride(2):
            return cls(apart.flatten(1, 2), apart.shape[1], channels=True)
        return cls(apart.transpose(0, 1), apart.shape[1])

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        """Run a function of torch for all replicas."""
        kwargs = kwargs or {}
        rule = cls.rules.get(func)
        if rule is not None:
            found = rule(func, *args, **kwargs)
            if found is not NotImplemented:
                return found
        return run_each(func, args, kwargs)

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]
        """Refuse what is beyond torch's own functions: nothing lies behind the tensor itself."""
        raise NotImplementedError(f"{func} cannot be run for several networks at once")


def run_each(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Run a function for each replica through `torch.func.vmap`. Raises RuntimeError where it cannot be, as where it draws at random."""
    leaves, shape = tree_flatten((tuple(args), dict(kwargs)))
    places = [place for place, leaf in enumerate(leaves) if isinstance(leaf, Stacked)]
    stacked = [cast(Stacked, leaves[place]) for place in places]

    def once(*tensors: Tensor) -> Any:
        given = list(leaves)
        for place, tensor in zip(places, tensors, strict=True):
            given[place] = tensor
        own, named = tree_unflatten(given, shape)
        return func(*own, **named)

    mapped = torch.func.vmap(once, in_dims=tuple(int(s.channels) for s in stacked), randomness="error")
    found, form = tree_flatten(mapped(*(s.apart() for s in stacked)))
    return tree_unflatten([Stacked(tensor, stacked[0].count) for tensor in found], form)
