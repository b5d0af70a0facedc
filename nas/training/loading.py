"""Layer 3: the batches of a part as a loop takes them: indices where its inputs are in memory, else decoded on the way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Generic, Protocol, TypeVar

import torch
from pytorch_lightning import Trainer
from pytorch_lightning.strategies import SingleDeviceStrategy
from pytorch_lightning.utilities import CombinedLoader
from pytorch_lightning.utilities.exceptions import SIGTERMException
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from nas.errors import UserError
from nas.plugin import Pictures
from nas.training.data import Batch, Part

MAX_DECODERS = 8

T_co = TypeVar("T_co", covariant=True)


class Counted(Protocol[T_co]):
    """Batches, and how many there are."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[T_co]: ...


class Stretches(Generic[T_co]):
    """What Lightning takes for batches: stretches of batches, of which one call of `training_step` takes a step each.

    On one device a stretch is a whole epoch: what Lightning does around a call takes 0.2 ms, as long as many a small network's
    layer. Several processes have each batch by itself, since their strategies prepare every call for one backward pass.
    Lightning ends a training at SIGTERM between two calls; within a stretch it is ended here, between two batches as well.
    """

    def __init__(self, batches: Counted[T_co], trainer: Trainer) -> None:
        self.batches, self.trainer, self.is_whole = batches, trainer, isinstance(trainer.strategy, SingleDeviceStrategy)

    def __len__(self) -> int:
        return 1 if self.is_whole else len(self.batches)

    def __iter__(self) -> Iterator[Iterable[T_co]]:
        return iter((self._whole(),)) if self.is_whole else ((batch,) for batch in self.batches)

    def _whole(self) -> Iterator[T_co]:
        for batch in self.batches:
            if self.trainer.received_sigterm:
                raise SIGTERMException
            yield batch


def loader(part: Part, batches: Counted[Tensor], *, processes: int | None = None) -> Counted[Batch]:
    """Return the batches that `batches` names, in its order, for `part.take`.

    Encoded pictures are decoded by `processes` of their own; by default, beside an accelerator's training, by as many as this process
    has threads, its share of the cores, and by the training itself on a CPU, whose cores are busy.
    """
    if not isinstance(part.source, Pictures):
        return batches
    accelerated = part.mean.device.type != "cpu"
    if processes is None:
        processes = min(MAX_DECODERS, torch.get_num_threads()) if accelerated else 0
    return DataLoader(
        _Decoded(part), batch_sampler=batches, collate_fn=_as_it_is, num_workers=processes, pin_memory=accelerated,  # type: ignore[arg-type]
        persistent_workers=processes > 0,
        generator=torch.Generator(),  # its seeds go to the decoders, which draw nothing; the global stream is the network's noise
    )  # fmt: skip


def end_decoding(loaders: Iterable[Counted[Batch]]) -> None:
    """End the processes that decode for loaders, which would stay, with the batches that they have ready, until garbage is collected."""
    CombinedLoader([batches for batches in loaders if isinstance(batches, DataLoader)]).reset()


class _Decoded(Dataset[Batch]):
    """Gives a whole batch at once: its indices and its decoded inputs."""

    def __init__(self, part: Part) -> None:
        self.source, self.rows = part.source, part.rows.cpu()

    def __getitems__(self, index: Tensor) -> Batch:
        try:
            return index, self.source[self.rows[index]]
        except UserError as error:
            raise UnreadableError(str(error)) from None


class UnreadableError(UserError):
    """A picture that cannot be read any more. What a decoding process raises, torch hands on with that process's traceback."""

    def __init__(self, message: str) -> None:
        super().__init__(message.rpartition(f"{type(self).__name__}: ")[2].strip())


def _as_it_is(batch: Sequence[Tensor]) -> Sequence[Tensor]:
    return batch
