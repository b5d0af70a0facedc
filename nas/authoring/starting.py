"""Layer 5: a space file to start from, for somebody's own data: what lies there is looked at, the rest is explained in comments."""

from __future__ import annotations

import json
import math
import re
import statistics
from dataclasses import dataclass
from pathlib import Path

from nas.errors import UserError
from nas.registry import Registry
from nas.space.schema import schema_of

SCHEMA = "space.schema.json"
LARGEST = 64
"""Pictures with a longer side are made smaller; up to this size they are taken as they are."""
SIDE = 32
"""What larger pictures are resized to: the size of CIFAR's."""
LOOKED_AT = 200
LEAST_STEPS, LEAST_EPOCHS = 300, 10
BATCHES = ((64, 8), (500, 16), (2000, 32), (20000, 64), (math.inf, 128))
"""Up to how many examples to train on which batch size is written."""
KNOWN = "a folder with one folder of pictures a class, or a .parquet or .npz file"
_TEMPLATES = Path(__file__).resolve().parent / "templates"


@dataclass(frozen=True)
class Budget:
    """How long a training is: its batch size, its epochs, and the learning rates to search, which go with the batch size."""

    batch_size: int = 64
    epochs: int = 10
    num_train: int = 0

    @classmethod
    def of(cls, num_train: int) -> Budget:
        """Choose so that a training has `LEAST_STEPS` steps at least: of few examples smaller batches, and then more epochs."""
        batch_size = next(size for most, size in BATCHES if num_train <= most)
        return cls(batch_size, max(LEAST_EPOCHS, math.ceil(LEAST_STEPS / math.ceil(num_train / batch_size))), num_train)

    @property
    def lr(self) -> list[float]:
        """The learning rates to search: in proportion to the batch size (Goyal et al. 2017, §2.1), 0.03 to 0.2 at 64."""
        return [float(f"{rate * self.batch_size / 64:.1g}") for rate in (0.03, 0.2)]

    @property
    def why(self) -> str:
        """Say why they are as they are, in one line."""
        steps = math.ceil(self.num_train / self.batch_size)
        taught = f"{self.num_train:,} examples: {steps:,} steps an epoch, {steps * self.epochs:,} in all"
        return f"{taught}; with fewer than {LEAST_STEPS} little is learned"


@dataclass(frozen=True)
class Start:
    """A space file to be written: where, what the space is called, how it names the data, what to say of that, the budget.

    `vectors` says that the inputs are no pictures: the networks are fully connected then.
    """

    file: Path
    name: str
    data: str
    remark: str
    budget: Budget = Budget()
    vectors: bool = False

    @property
    def text(self) -> str:
        """The file's text."""
        of = self.budget
        template = _TEMPLATES / ("space_of_vectors.yaml" if self.vectors else "space.yaml")
        return template.read_text(encoding="utf-8").format(
            name=self.name, file=self.file, data=self.data, remark=self.remark, schema=SCHEMA,
            why=of.why, epochs=of.epochs, batch_size=of.batch_size, lr=of.lr,
        )  # fmt: skip


def draft(source: str | None, file: Path | None) -> Start:
    """Draft a commented space for the data at `source`, or for the digits where that is None; its budget is still to be chosen.

    Raises UserError where there is nothing at `source`, where it is no data that is known, or where `file` is there already.
    """
    data, remark = data_at(source)
    name = _name(source)
    file = file or Path(f"{name}.yaml")
    if file.exists():
        raise UserError(f"{file} is there already, and nothing is written over it; take another name with --to, or move it away")
    return Start(file, name, data, remark)


def write(start: Start, registry: Registry) -> None:
    """Write the space file, and beside it the JSON Schema with which editors complete it. Raises UserError where that fails."""
    try:
        start.file.parent.mkdir(parents=True, exist_ok=True)
        with start.file.open("x", encoding="utf-8") as opened:
            opened.write(start.text)
        (start.file.parent / SCHEMA).write_text(json.dumps(schema_of(registry), indent=1), encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write {error.filename}: {error.strerror}; choose another place with --to") from None


def data_at(source: str | None) -> tuple[str, str]:
    """Say how a space names the data at a path: YAML, and a remark on what was done about the pictures' size."""
    if source is None:
        return "digits", "scikit-learn's digits: 1,797 pictures of 8×8 in 10 classes"
    place = Path(source).expanduser()
    if not place.exists():
        raise UserError(f"there is no {source}; name {KNOWN}")
    written = json.dumps(str(source), ensure_ascii=False)
    if place.is_file() and place.suffix in (".npy", ".csv", ".tsv"):
        arrays = 'numpy.savez("data.npz", inputs=…, targets=…)'
        raise UserError(f"{source} is not read by `nas init`; put inputs and targets into one file by {arrays} and name that")
    if place.is_file() and place.suffix == ".npz":
        return f"{{numpy: {{inputs: {written}}}}}", "arrays are taken as they are"
    if place.is_file() and place.suffix != ".parquet":
        raise UserError(f"{source} is no data that is known by its name; name {KNOWN}")
    if place.is_file() or any(place.rglob("*.parquet")):
        return (
            f"{{parquet: {{path: {written}}}}}",
            f"add `size: {SIDE}` beside the path where the pictures are larger than {LARGEST}×{LARGEST}",
        )
    size, remark = _size(place)
    return f"{{folder: {{path: {written}{size}}}}}", remark


def _size(folder: Path) -> tuple[str, str]:
    """Choose a size for the pictures of a folder by the headers of some of them."""
    from PIL import Image, UnidentifiedImageError

    sides: list[tuple[int, int]] = []
    for file in sorted(file for file in folder.rglob("*") if file.is_file() and file.suffix.lower() in Image.registered_extensions()):
        if len(sides) == LOOKED_AT:
            break
        try:
            with Image.open(file) as picture:
                sides.append(picture.size)
        except (OSError, UnidentifiedImageError):
            continue  # a damaged one is named when the data is read
    if not sides:
        raise UserError(f"{folder} holds no pictures; put those of each class into a folder of its own, named as the class")
    if len(set(sides)) == 1 and max(sides[0]) <= LARGEST:
        return "", f"all pictures are {sides[0][1]}×{sides[0][0]} and are taken so"
    middle = statistics.median(max(side) for side in sides)
    side = SIDE if middle > LARGEST else max(8, round(middle / 8) * 8)
    return (
        f", size: {side}",
        f"the pictures' longer side is {middle:g} (median); larger ones cost more: twice the size, four times the time",
    )


def _name(source: str | None) -> str:
    words = re.sub(r"[^A-Za-z0-9]+", "-", Path(source).expanduser().resolve().stem).strip("-").lower() if source else "digits"
    return words or "mine"
