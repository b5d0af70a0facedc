"""Layer 3: results of trainings to and from a CSV file, from which every figure can be computed again.

See docs/method.md, "Do it with your own table".
"""

from __future__ import annotations

import csv
import difflib
import json
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from nas.errors import UserError, Where, nearest
from nas.values.domains import Scalar
from nas.values.effects import Result

BY = "by"
_NEEDED = ("replicate", "level", "value")
_COUNTS = ("parameters", "macs", "num_layers")
_KNOWN = (*_NEEDED, BY, "by_name", "failed", *_COUNTS)
_TRUE, _FALSE = ("true", "1", "yes"), ("false", "0", "no", "")


def read_results(path: str | Path) -> tuple[tuple[Result, ...], tuple[str, ...]]:
    """Read results and the names of their `by` decisions.

    Columns: `replicate`, `level` and `value` (empty where the training is missing); `failed`; `by`, the decision the effect is
    told apart by, called what `by_name` says or else `by`; `by:NAME` for each further decision; `parameters`, `macs`,
    `num_layers`. Other columns are passed over, unless their name is close to one of these.

    Raises:
        UserError: naming file and line, where the table breaks these rules.
    """
    path = Path(path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.reader(file)
            header = [name.strip() for name in next(rows, [])]
            _check_header(path, header)
            numbered = list(_records(path, header, rows))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read as a CSV table: {error}") from error
    if not numbered:
        raise UserError(f"{path}: has no rows; give one for each training")
    by_columns = [name for name in header if name == BY or name.startswith("by:")]
    results = tuple(_result(path, line, row, by_columns) for line, row in numbered)
    return results, _by_names(path, by_columns, numbered)


def write_results(path: str | Path, results: Sequence[Result], *, by: Sequence[str] = ()) -> None:
    """Write results so that `read_results` gives them back equal. `by` names the decisions in `Result.by`."""
    by_columns = [BY if index == 0 else f"by:{name}" for index, name in enumerate(by)]
    counts = [name for name in _COUNTS if any(getattr(result, name) is not None for result in results)]
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["replicate", "level", *by_columns, "value", "failed", *counts, *(["by_name"] if by else [])])
        for result in results:
            if len(result.by) != len(by):
                raise UserError(f"{path}: replicate {result.replicate} has {len(result.by)} `by` values, for {list(by)}")
            cell = [write_scalar(result.level), *map(write_scalar, result.by)]
            value = "" if result.value is None else repr(float(result.value))
            costs = ["" if (count := getattr(result, name)) is None else str(count) for name in counts]
            failed = "true" if result.failed else "false"
            table.writerow([write_scalar(result.replicate), *cell, value, failed, *costs, *([by[0]] if by else [])])


def write_scalar(value: Scalar) -> str:
    """Write a level so that `parse_scalar` gives it back with its type: text stands bare unless it would read otherwise."""
    if isinstance(value, str):
        bare = value == value.strip() and value and parse_scalar(value) == value
        return value if bare else json.dumps(value, ensure_ascii=False)
    return json.dumps(value)


def parse_scalar(text: str) -> Scalar:
    """Read a level as JSON reads it: numbers, true, false, null (or True and False) and quoted text; all else is text."""
    text = text.strip()
    if text in ("True", "False"):
        return text == "True"
    try:
        value = json.loads(text)
    except ValueError:
        return text
    if isinstance(value, dict | list) or (isinstance(value, float) and not math.isfinite(value)):
        return text
    return value  # type: ignore[no-any-return]  # what JSON has besides objects and lists are scalars


def _check_header(path: Path, header: Sequence[str]) -> None:
    where = Where(str(path), 1)
    for name in _NEEDED:
        if name not in header:
            raise UserError(f"{where}: needs the column '{name}', got {', '.join(header) or 'none'}{nearest(name, header)}")
    for name in header:
        if header.count(name) > 1:
            raise UserError(f"{where}: the column '{name}' stands twice; keep one")
        if name in _KNOWN or name.startswith("by:"):
            continue
        close = difflib.get_close_matches(name.lower(), _KNOWN, n=1, cutoff=0.8)
        if close:
            raise UserError(f"{where}: unknown column '{name}'; did you mean '{close[0]}'?")
    if "by_name" in header and BY not in header:
        raise UserError(f"{where}: 'by_name' names the column 'by', which is not there; add it")


def _records(path: Path, header: Sequence[str], rows: Any) -> Iterator[tuple[int, dict[str, str]]]:
    for row in rows:
        if not any(field.strip() for field in row):
            continue
        if len(row) != len(header):
            raise UserError(f"{Where(str(path), rows.line_num)}: needs {len(header)} fields like the header, got {len(row)}")
        yield rows.line_num, {name: field.strip() for name, field in zip(header, row, strict=True)}


def _result(path: Path, line: int, row: dict[str, str], by_columns: Sequence[str]) -> Result:
    where = Where(str(path), line)
    for name in ("replicate", "level", *by_columns):
        if row[name] == "":
            raise UserError(f"{where}: '{name}' is empty; name it in every row")
    failed = row.get("failed", "").lower()
    if failed not in (*_TRUE, *_FALSE):
        raise UserError(f"{where}: 'failed' must be true or false, got '{row['failed']}'")
    value = None if row["value"] == "" else _number(where, "value", row["value"], float)
    if failed in _TRUE and value is None:
        raise UserError(f"{where}: a failed training is an outcome and needs its failure score in 'value'; got none")
    counts = {name: _number(where, name, row[name], int) if row.get(name) else None for name in _COUNTS}
    return Result(
        replicate=_replicate(row["replicate"]),
        level=parse_scalar(row["level"]),
        by=tuple(parse_scalar(row[name]) for name in by_columns),
        value=value,
        failed=failed in _TRUE,
        **counts,
    )


def _replicate(text: str) -> int | str:
    value = parse_scalar(text)
    return value if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)) else text


def _number(where: Where, name: str, text: str, kind: Callable[[str], Any]) -> Any:
    try:
        value = kind(text)
    except ValueError:
        what = "a whole number" if kind is int else "a number"
        raise UserError(f"{where}: '{name}' must be {what}, got '{text}'; leave it empty where it is missing") from None
    if not math.isfinite(value):
        raise UserError(
            f"{where}: '{name}' must be finite, got '{text}'; score a failed training at the majority class's share with "
            "failed true, and leave it empty where the training is missing"
        )
    return value


def _by_names(path: Path, by_columns: Sequence[str], numbered: Sequence[tuple[int, dict[str, str]]]) -> tuple[str, ...]:
    first_line, first = numbered[0]
    for line, row in numbered:
        if row.get("by_name") != first.get("by_name"):
            raise UserError(f"{Where(str(path), line)}: 'by_name' must be the same in every row, as in line {first_line}")
    return tuple(first.get("by_name") or BY if name == BY else name.removeprefix("by:") for name in by_columns)
