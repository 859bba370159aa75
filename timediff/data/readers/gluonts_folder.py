"""Reads folders in the GluonTS layout: one training entry, one entry per test window, all series.

The layout has `metadata.json`, `train/*.json[.gz]` and `test/*.json[.gz]`, one series per line; the
k-th block of D test lines is window k. Nothing is filled in: what is missing is NaN.

Axes: D series, T time steps.
"""

import json
import warnings
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson
import pandas as pd

from timediff.data.readers.contents import Contents, read_json_object, unique_names, whole_number
from timediff.data.readers.starts import read_starts
from timediff.errors import InputError
from timediff.frequency import quiet_business_days, to_period_freq
from timediff.kinds import shown
from timediff.tools.files import lines_of
from timediff.tools.numbers import LARGEST_VALUE, MOST_CELLS, first_too_large

__all__ = ["MOST_STEPS", "missing_part", "parse_line", "read_gluonts"]

_SPLITS = ("train", "test")
#: Values of a series, at most.
MOST_STEPS = 5_000_000
# Characters of a name and of a stamp, at most: pandas takes minutes for a megabyte.
_LONGEST_NAME, _LONGEST_STAMP = 1000, 64


class _Series(NamedTuple):
    item_id: str | None
    start: str
    target: np.ndarray


def missing_part(folder: Path) -> str | None:
    """The first part of the GluonTS layout that `folder` lacks, None if it has all three."""
    if not (folder / "metadata.json").is_file():
        return "metadata.json"
    for split in _SPLITS:
        if not _json_files(folder / split):
            return f"{split}/*.json or {split}/*.json.gz"
    return None


def read_gluonts(
    folder: Path, *, series: int | None = None, dims: int | None = None, windows: int | None = None
) -> Contents:
    """Contents of a folder in the GluonTS layout, grouped to all series at once.

    Args:
        folder: With `metadata.json`, `train` and `test`.
        series: Series in each block of lines; all training lines when None.
        dims: How many of them, from the first, are used; all when None.
        windows: Number of test blocks that must be there; any when None.

    Raises:
        InputError: A part is missing, cut off or contradicts the rest.
    """
    again = f"delete {folder} if it was written only in part, and load the dataset again"
    if (part := missing_part(folder)) is not None:
        raise InputError(f"{folder} has no {part}: {again}")
    path = folder / "metadata.json"
    meta = read_json_object(path, advice=again)
    if not isinstance(meta.get("freq"), str):
        raise InputError(f"{path} names no freq: {again}")
    freq = to_period_freq(meta["freq"])
    horizon = whole_number(meta, "prediction_length", path)

    used = (series, dims) if series is not None and dims is not None else None
    train = _read_lines(folder / "train", used=used, again=again)
    test = _read_lines(folder / "test", used=used, again=again)
    size = len(train)
    blocks = [test[k : k + size] for k in range(0, len(test), size or 1)]
    if (
        not size
        or not blocks
        or len(blocks[-1]) != size
        or (windows or len(blocks)) != len(blocks)
        or (dims or size) != size
    ):
        raise InputError(
            f"{folder} holds {size} training and {len(test)} test series, expected "
            f"{dims or 'D'} and {windows or 'windows'} times as many: {again}"
        )
    _check_lengths(blocks, horizon=horizon, folder=folder)
    # The published sets are taken as their published scores take them.
    texts = dict.fromkeys(row.start for row in (*train, *test))
    starts = read_starts(texts, freq=freq, folder=folder, rounded=used is not None)
    return Contents(
        freq=meta["freq"],
        prediction_length=horizon,
        columns=unique_names([s.item_id or str(i) for i, s in enumerate(train)]),
        train=_group(train, starts, item_id="train", folder=folder),
        test=[
            _group(rows, starts, item_id=f"test_{k}", folder=folder)
            for k, rows in enumerate(blocks)
        ],
        meta=meta,
        aggregates={},
    )


def _check_lengths(blocks: list[list[_Series]], *, horizon: int, folder: Path) -> None:
    for k, rows in enumerate(blocks):
        longest = max(row.target.size for row in rows)
        if longest <= horizon:
            raise InputError(
                f"test window {k} of {folder} has {longest} steps, which leaves nothing before the "
                f"{horizon} steps to forecast: write longer test series, or a shorter "
                "prediction_length into metadata.json"
            )


def _json_files(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in (folder.iterdir() if folder.is_dir() else ())
        if path.is_file() and path.name.endswith((".json", ".json.gz")) and path.name[0] not in "._"
    )


def _lines(folder: Path) -> Iterator[tuple[Path, int, bytes]]:
    for path in _json_files(folder):
        for number, line in enumerate(lines_of(path), start=1):
            if line.strip():
                yield path, number, line


def parse_line(line: bytes) -> dict[str, Any]:
    """The series of one line of JSON."""
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:  # NaN, which some writers leave: the standard parser takes it
        try:
            return json.loads(line)
        except RecursionError:
            raise ValueError("it is nested too deeply") from None


def _read_lines(folder: Path, *, used: tuple[int, int] | None, again: str) -> list[_Series]:
    rows, cells = [], 0
    try:
        for i, (path, number, line) in enumerate(_lines(folder)):
            if used is not None and i % used[0] >= used[1]:
                continue
            steps = line.count(b",")
            cells += steps
            if steps > MOST_STEPS or cells > MOST_CELLS:
                most = (
                    f"{MOST_STEPS} steps in a line"
                    if steps > MOST_STEPS
                    else f"{MOST_CELLS} in all"
                )
                raise InputError(
                    f"line {number} of {path} goes beyond {most}; keep the last steps of each series"
                )
            try:
                entry = parse_line(line)
                target = np.array(entry["target"], dtype=np.float64)
                start = entry["start"]
            except (ValueError, TypeError, KeyError):
                raise InputError(
                    f"line {number} of {path} is not a series with start and target: {again}"
                ) from None
            if not isinstance(start, str) or len(start) > _LONGEST_STAMP:
                raise InputError(f"line {number} of {path}: {shown(start)} is not a start stamp")
            if target.ndim != 1 or not target.size:
                raise InputError(
                    f"line {number} of {path} has a target of shape {target.shape}: "
                    "write one series of at least one value per line"
                )
            item_id = entry.get("item_id")
            if not isinstance(item_id, str | int | None) or len(str(item_id)) > _LONGEST_NAME:
                raise InputError(
                    f"line {number} of {path} has the item_id {shown(item_id)}; write a text of at most "
                    f"{_LONGEST_NAME} characters"
                )
            if (place := first_too_large(target)) is not None:
                raise InputError(
                    f"line {number} of {path} has {target[place]:g} at step {place[0]}; values must be below "
                    f"{LARGEST_VALUE:g}: write NaN where unknown, or another unit"
                )
            rows.append(_Series(None if item_id is None else str(item_id), start, target))
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{folder} cannot be read ({error}): {again}") from None
    return rows


def _group(
    rows: list[_Series], starts: dict[str, pd.Period], *, item_id: str, folder: Path
) -> dict[str, Any]:
    """One entry [D, T] of series that end together; the shorter ones start with NaN."""
    length = max(row.target.size for row in rows)
    target = np.full((len(rows), length), np.nan)  # [D, T]
    for out, row in zip(target, rows, strict=True):
        out[length - row.target.size :] = row.target
    ends: Counter[pd.Period] = Counter()
    with quiet_business_days():
        for (stamp, size), count in Counter((r.start, r.target.size) for r in rows).items():
            ends[starts[stamp] + size] += count
        (end, agreed), *others = ends.most_common()
        start = end - length
    if others:
        warnings.warn(
            f"{folder}: {len(rows) - agreed} of {len(rows)} series of {item_id} end at another "
            f"time than {end - 1}; they are read as if they ended there",
            stacklevel=6,
        )
    return {"item_id": item_id, "start": start, "target": target}
