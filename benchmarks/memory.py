"""How much memory a worker takes at its peak, against a bare process that trains the same networks with torch and Lightning.

Both train ResNets of 8 and 20 layers for an epoch, one after another in one process of one thread: on digits (8x8), and on
pictures of CIFAR's shape, 3x32x32 with 10 classes, of which there are 10,000 (drawn at random). The worker is the framework's own, with its
ledger, every plugin, and the settings of the memory that it is started with. The bare process has a module of Lightning and the
tensors, nothing else; it evaluates as many inputs at once as the worker does. The peak is the kernel's, VmHWM of the process. In it are
pages that processes share, such as the code of libraries: what is the process's own at its end stands beside it.

Run:  python benchmarks/memory.py --out benchmarks/results/memory.json
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from machine import write

if TYPE_CHECKING:
    import torch  # what importing it takes is measured, so only those that are measured do

HERE = Path(__file__).resolve().parent
DEPTHS = (1, 3)
EPOCHS, BATCH, PICTURES = 1, 128, 10_000
KINDS = {"digits, 8x8": "digits", "10,000 pictures, 3x32x32": "{numpy: {inputs: PATH, keys: [x, y]}}"}
SPACE = """
name: memory
data: DATA
architecture:
  staged: {widths: [16, 32, 64], depth: DEPTHS, shortcut: identity}
train: {epochs: 1, batch_size: 128, optimizer: {sgd: {lr: 0.1, momentum: 0.9}}}
search: {trials: 2, sampler: grid, pruner: none, workers: 1}
"""


def peak_mb() -> float:
    """Return the most memory that this process has had, in MB (10^6 bytes)."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024 / 1e6


def private_mb() -> float:
    """Return the memory that is this process's alone now, in MB (10^6 bytes): what one more such process would take."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) * 1024 / 1e6


def worker_mb(data: str, folder: Path) -> dict[str, float]:
    """Let a worker train the list; return its peak and what is its own."""
    from nas.registry import discover
    from nas.space import load_space
    from nas.study.crew.early import KEEP_MEMORY
    from nas.study.ledger.storage import default_storage
    from nas.study.study import Study

    file = folder / "memory.yaml"
    file.write_text(SPACE.replace("DATA", data).replace("DEPTHS", f"{{choices: {list(DEPTHS)}}}"))
    study = Study.open(load_space(file, discover()), default_storage(folder))
    study.search.ensure(study.search_slots(ahead=0))
    told = _asked("--work", study.storage_url, study.search.name, **KEEP_MEMORY)
    scores = [t.outcome.num_epochs for t in study.search.records() if t.outcome]
    assert scores == [EPOCHS] * len(DEPTHS), f"{len(scores)} trainings, not {len(DEPTHS)}"
    return told


def _asked(*arguments: str, **environment: str) -> dict[str, float]:
    environment = {**os.environ, **environment, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    command = [sys.executable, str(Path(__file__).resolve()), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def work(url: str, name: str) -> None:
    """Be the worker: train what is queued, say the peak."""
    import torch

    from nas.study.worker.worker import work as work_through

    torch.set_num_threads(1)
    work_through(url, [name], emit=lambda _event: None)
    print(json.dumps({"mb": peak_mb(), "private_mb": private_mb()}))


def examples(kind: str, path: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return inputs (N, C, H, W) and targets (N,)."""
    import numpy as np
    import torch

    if kind == "digits":
        from sklearn.datasets import load_digits

        bunch = load_digits()
        return torch.tensor(bunch.images, dtype=torch.float32).unsqueeze(1) / 16, torch.tensor(bunch.target)
    found = np.load(path)
    return torch.tensor(found["x"], dtype=torch.float32) / 255, torch.tensor(found["y"]).long()


def bare(kind: str, path: str) -> None:
    """Be the bare process: train the same networks with Lightning; say the memory after the imports, and the peak."""
    import pytorch_lightning as pl
    import torch
    import torch.nn.functional as F
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    torch.set_num_threads(1)
    imported = peak_mb()

    class Unit(nn.Module):
        def __init__(self, inputs: int, outputs: int, stride: int) -> None:
            super().__init__()
            self.first = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
            self.second = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
            self.norms = nn.ModuleList([nn.BatchNorm2d(outputs), nn.BatchNorm2d(outputs)])
            self.stride, self.more = stride, outputs - inputs

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = self.norms[1](self.second(F.relu(self.norms[0](self.first(x)))))
            return F.relu(F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.more)) + h)

    class Module(pl.LightningModule):
        def __init__(self, depth: int, channels: int) -> None:
            super().__init__()
            layers: list[nn.Module] = [nn.Conv2d(channels, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
            for stage, width in enumerate((16, 32, 64)):
                layers += [
                    Unit(width // 2 if stage and not i else width, width, 2 if stage and not i else 1) for i in range(depth)
                ]  # fmt: skip
            self.network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))

        def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], _place: int) -> torch.Tensor:
            return F.cross_entropy(self.network(batch[0]), batch[1])

        def validation_step(self, batch: tuple[torch.Tensor, torch.Tensor], _place: int) -> None:
            self.log("loss", F.cross_entropy(self.network(batch[0]), batch[1]))

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), 0.1, momentum=0.9)

    x, y = examples(kind, path)
    cut, end = len(y) * 6 // 10, len(y) * 8 // 10
    parts = ((0, cut, BATCH), (cut, end, 1024 if kind == "digits" else BATCH))
    loaders = [DataLoader(TensorDataset(x[a:b], y[a:b]), batch_size=size, shuffle=a == 0) for a, b, size in parts]
    for depth in DEPTHS:
        trainer = pl.Trainer(
            max_epochs=EPOCHS, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False,
        )  # fmt: skip
        trainer.fit(Module(depth, x.shape[1]), *loaders)
    print(json.dumps({"mb": peak_mb(), "private_mb": private_mb(), "imported_mb": imported}))


def pictures(file: Path) -> None:
    """Write pictures of CIFAR's shape, drawn at random."""
    import numpy as np

    generator = np.random.default_rng(0)
    np.savez(file, x=generator.integers(0, 256, (PICTURES, 3, 32, 32), dtype=np.uint8), y=generator.integers(0, 10, PICTURES))


def measured() -> dict[str, Mapping[str, Any]]:
    """Return the peaks of both processes, in MB, for each kind of data."""
    rows: dict[str, Mapping[str, Any]] = {}
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "pictures.npz"
        pictures(file)
        for title, data in KINDS.items():
            folder = Path(name) / data[1:6]
            folder.mkdir()
            worker = worker_mb(data.replace("PATH", str(file)), folder)
            plain = _asked("--bare", "digits" if data == "digits" else "pictures", str(file))
            rows[title] = {
                "worker_mb": worker["mb"], "bare_mb": plain["mb"], "imports_mb": plain["imported_mb"],
                "ratio": worker["mb"] / plain["mb"],
                "worker_private_mb": worker["private_mb"], "bare_private_mb": plain["private_mb"],
            }  # fmt: skip
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    parser.add_argument("--work", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--bare", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        work(*arguments.work)
    elif arguments.bare:
        bare(*arguments.bare)
    else:
        rows = measured()
        print(f"{'peak, MB':28}{'worker':>10}{'bare':>10}{'ratio':>8}{'torch + Lightning imported':>30}{'its own at its end':>22}")
        for title, row in rows.items():
            own = f"{row['worker_private_mb']:.0f}, {row['bare_private_mb']:.0f}"
            print(f"{title:28}{row['worker_mb']:10.0f}{row['bare_mb']:10.0f}{row['ratio']:8.2f}{row['imports_mb']:30.0f}{own:>22}")
        write(arguments.out, {"peaks": rows})


if __name__ == "__main__":
    main()
