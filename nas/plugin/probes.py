"""Layer 1: probes: measurements on a network and its data, made once the training has ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Union

import torch
from torch import Tensor

from nas.plugin.networks import Network
from nas.values.seeds import derive

Moment = Union[int, Literal["start", "end"]]
"""A moment of a training: its initial values, so many optimizer steps later, or its end."""

PartName = Literal["train", "val", "test"]

FEWEST = 2  # batch normalisation cannot train on less


@dataclass(frozen=True)
class Examples:
    """Examples of one part of a split: `inputs` (N, C, H, W) as the network is given them, `targets` (N, …)."""

    inputs: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.inputs)

    def double(self) -> Examples:
        """Return the examples in float64, for measurements that ask for its digits; labels stay what they are."""
        floating = self.targets.is_floating_point()
        return Examples(self.inputs.double(), self.targets.double() if floating else self.targets)


@dataclass(frozen=True)
class Figure:
    """What a probe declares of one of its figures or series: its name, what it is, and which way is better between arms."""

    name: str
    told: str
    direction: Literal["maximize", "minimize"] = "minimize"


@dataclass(frozen=True)
class Reading:
    """What a probe measured.

    `figures` are single numbers, all of them declared by the probe; one that does not exist here is left out. `series` hold one
    number a unit, layer, stage or length, in their order. `words` says in a sentence how it reads.
    """

    figures: Mapping[str, float]
    series: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    words: str = ""


@dataclass(frozen=True)
class Subject:
    """What a probe is given: a trained network, the same one at other moments, the split it was trained on, and its loss.

    `loss` is the task's, (outputs, targets) -> a scalar, the mean over the examples. `error` is the share of answers that are
    wrong, or of the targets' variance that is left unexplained. `moments` are those that `network` can return.
    """

    parts: Mapping[str, Examples]
    loss: Callable[[Tensor, Tensor], Tensor]
    error: Callable[[Tensor, Tensor], float]
    num_classes: int
    seed: int
    moments: tuple[Moment, ...]
    build: Callable[[Moment], Network]
    """Returns the network at one of `moments`, as a copy; `network` is the way to ask for it."""

    def network(self, moment: Moment = "end") -> Network:
        """Return a copy of the network at a moment, in eval mode; the probe may do with it what it likes.

        Raises ValueError for a moment that is not there: a step that the training never reached.
        """
        if moment not in self.moments:
            raise ValueError(f"there is no network at {moment!r}; there are: {', '.join(map(str, self.moments))}")
        return self.build(moment).eval()

    def examples(self, part: PartName, limit: int) -> Examples:
        """Return `limit` examples of a part, drawn by the probe's own seed; all of them where there are no more."""
        whole = self.parts[part]
        if len(whole) <= limit:
            return whole
        chosen = torch.randperm(len(whole), generator=self.generator("examples", part))[: max(limit, FEWEST)]
        chosen = chosen.to(whole.inputs.device)
        return Examples(whole.inputs[chosen], whole.targets[chosen])

    def generator(self, *keys: object) -> torch.Generator:
        """Return a random generator of its own for `keys`: the same ones draw the same numbers for the same training seed."""
        return torch.Generator().manual_seed(derive(self.seed, "probe", *keys))


class Probe:
    """A measurement on a network and data: `measure(subject)`.

    A probe changes nothing but the copies that it is given. It is cheap by default, seconds on one thread: it looks at some
    of the examples, and has parameters for more.
    """

    kind: ClassVar[str] = "probe"
    figures: ClassVar[tuple[Figure, ...]] = ()
    """Every figure that it can give: `measure: {metric: PROBE.FIGURE}` takes them."""
    series: ClassVar[tuple[Figure, ...]] = ()
    """Every series that it can give. No figure has the same name."""

    @property
    def at(self) -> tuple[Moment, ...]:
        """The moments it needs beside the end; those that a training does not reach are not among `subject.moments`."""
        return ()

    def measure(self, subject: Subject) -> Reading:
        """Measure. Raises ValueError for a network that it cannot measure, saying why."""
        raise NotImplementedError(f"probe {type(self).__name__} defines no measure(subject)")
