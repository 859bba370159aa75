"""Datasets by name or by folder, ready for any GluonTS model: ``load_dataset("exchange_rate")``.

`python -m timediff.datasets` lists what is known and what is there. The facts about the named sets
are in `timediff.specs`; the two layouts are read by `timediff.folders` and `timediff.tables`, archives
are fetched by `timediff.download`, and clocks are compared by `timediff.audit`.

Axes: D series, T time steps.
"""

import argparse
import difflib
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from timediff.audit import align, audit, describe
from timediff.download import fetch
from timediff.errors import InputError
from timediff.folders import Aggregate, Contents, checksum, missing_part, read_gluonts
from timediff.specs import SPECS, Published, Spec
from timediff.tables import is_wide, read_wide

__all__ = [
    "SPECS",
    "Aggregate",
    "Dataset",
    "Published",
    "Spec",
    "list_datasets",
    "load_dataset",
]

EMBEDDED = "citylearn2022"


class Dataset(NamedTuple):
    """Training and test entries of one dataset, and where they come from.

    Args:
        freq: Frequency as in the metadata, such as ``H``, ``B``, ``30min``.
        columns: Names of the D series.
        train: One GluonTS entry, target float32 ``[D, T]``, missing values NaN.
        test: One entry per rolling window, target ``[D, T_k]``; the last `prediction_length` steps
            are the truth to forecast.
        aggregates: Further weighted sums by name.
        checksum: SHA-256 of all entries as stored, see `timediff.folders.checksum`.
        verified: Whether `checksum` is the one we hold for this name.
    """

    name: str
    freq: str
    prediction_length: int
    columns: list[str]
    train: list[dict[str, Any]]
    test: list[dict[str, Any]]
    aggregates: dict[str, Aggregate]
    checksum: str
    verified: bool
    source: str
    licence: str
    published: list[Published]


def load_dataset(
    name: str,
    *,
    data_dir: str | Path | None = None,
    windows: int | None = None,
    align_clock: bool = False,
    download: bool = True,
) -> Dataset:
    """Loads a dataset by name or folder.

    A benchmark set is looked for in `data_dir`, then in GluonTS's cache (``~/.gluonts/datasets``),
    then downloaded into that cache. Any other name is a folder inside `data_dir`, or a path.

    Args:
        name: One of `SPECS`, or a folder with a GluonTS dataset or a wide table.
        data_dir: Folder of datasets; the environment variable ``TIMEDIFF_DATA`` when None.
        windows: Keep only the last so many test windows; training ends where it always does, so
            scores are those of a part of the whole.
        align_clock: Move the test stamps to the clock of training where the same values stand at
            other times; without it such an offset is only a warning.
        download: Whether a benchmark set that is not there may be downloaded.

    Raises:
        InputError: The name is unknown, or the folder is missing, incomplete or inconsistent.
    """
    if windows is not None and windows < 1:
        raise InputError(f"windows must be at least 1, got {windows}: leave it out for all of them")
    spec = _spec(name)
    folder = _find(name, spec, data_dir=_data_dir(data_dir), download=download)
    contents = _read(folder, spec)
    if not np.isfinite(contents.train["target"]).any():
        raise InputError(f"{folder} has no usable series: every training value is missing")
    digest = checksum([contents.train, *contents.test])
    expected = spec.checksum if spec else contents.meta.get("checksum")
    if expected is not None and digest != expected:
        warnings.warn(
            f"the values in {folder} are not those of the known {name}: do not compare scores",
            stacklevel=2,
        )
    train, test = [contents.train], contents.test
    offsets = audit(train, test)
    if align_clock and offsets:
        test = align(test, offsets)
        offsets = audit(train, test)
    hint = "correct these series" if align_clock else "align_clock=True moves the test stamps"
    for clause in describe(offsets, windows=len(test), dims=len(contents.columns)):
        warnings.warn(f"dataset {name}: {clause}; {hint}", stacklevel=2)
    if windows is not None and windows > len(test):
        raise InputError(f"dataset {name} has {len(test)} test windows, {windows} were asked for")
    meta = contents.meta
    return Dataset(
        name=spec.name if spec else str(meta.get("name", folder.resolve().name)),
        freq=spec.freq if spec else contents.freq,
        prediction_length=spec.prediction_length if spec else contents.prediction_length,
        columns=contents.columns,
        train=train,
        test=test[-windows:] if windows else test,
        aggregates=contents.aggregates,
        checksum=digest,
        verified=digest == expected,
        source=spec.source if spec else str(meta.get("source", "not stated")),
        licence=spec.licence if spec else str(meta.get("licence", "not stated")),
        published=list(spec.published) if spec else [],
    )


def _spec(name: str) -> Spec | None:
    by_folder = {spec.folder: spec for spec in SPECS.values()}
    # A path such as data/exchange_rate_nips names the published set as well; a wide table does not.
    return SPECS.get(name) or by_folder.get(
        Path(name).name if missing_part(Path(name)) is None else name
    )


def _data_dir(data_dir: str | Path | None) -> Path | None:
    given = data_dir if data_dir is not None else os.environ.get("TIMEDIFF_DATA") or None
    if given is None:
        return None
    if not Path(given).is_dir():
        raise InputError(f"the data directory {given} does not exist: create it or name another")
    return Path(given)


def _cache() -> Path:
    return Path.home() / ".gluonts" / "datasets"


def _embedded() -> Path:
    here = Path(__file__).resolve().parent
    in_wheel = here / "data" / EMBEDDED
    return in_wheel if in_wheel.is_dir() else here.parent / "datasets" / EMBEDDED


def _candidates(spec: Spec, data_dir: Path | None) -> Iterator[Path]:
    if spec.name == EMBEDDED:
        yield _embedded()
        return
    for root in (data_dir, _cache()):
        if root is not None:
            yield from (root / spec.name, root / spec.folder)


def _find(name: str, spec: Spec | None, *, data_dir: Path | None, download: bool) -> Path:
    """The folder of a dataset, downloaded if need be."""
    if spec is None or missing_part(Path(name)) is None:
        roots = (data_dir, Path()) if data_dir is not None else (Path(),)
        for folder in (root / name for root in roots):
            if folder.is_dir():
                return folder
        raise InputError(_unknown(name, data_dir))
    for folder in _candidates(spec, data_dir):
        if folder.is_dir():
            return folder
    if spec.name == EMBEDDED:
        raise InputError(f"the embedded dataset is missing from {_embedded()}: install again")
    if download:
        return fetch(spec, _cache())
    searched = f"{data_dir} and {_cache()}" if data_dir else str(_cache())
    raise InputError(
        f"dataset {name} is not in {searched}: put the folder {spec.folder} there, allow the "
        f"download, or use the embedded dataset {EMBEDDED}"
    )


def _unknown(name: str, data_dir: Path | None) -> str:
    local = _folders(data_dir) if data_dir else []
    known = sorted({*SPECS, *(folder.name for folder in local)})
    close = difflib.get_close_matches(name, known, n=2)
    guess = f"; did you mean {' or '.join(close)}?" if close else ""
    return (
        f"unknown dataset {name!r}: it is no folder and no known name{guess} "
        f"(known: {', '.join(known)})"
    )


def _folders(data_dir: Path) -> list[Path]:
    """Dataset folders in `data_dir` that are not one of the benchmark sets."""
    taken = {name for spec in SPECS.values() for name in (spec.name, spec.folder)}
    return sorted(
        folder
        for folder in data_dir.iterdir()
        if folder.name not in taken and (is_wide(folder) or missing_part(folder) is None)
    )


def _read(folder: Path, spec: Spec | None) -> Contents:
    if is_wide(folder) and (spec is None or spec.name == EMBEDDED):
        return read_wide(folder)
    if spec is not None:
        return read_gluonts(folder, series=spec.series, dims=spec.dims, windows=spec.windows)
    if (folder / "metadata.json").exists():
        return read_gluonts(folder)
    raise InputError(
        f"{folder} holds no dataset: put data.parquet or data.csv and meta.json there, "
        "or a GluonTS dataset with metadata.json, train and test"
    )


class Row(NamedTuple):
    """One line of the list of datasets."""

    name: str
    shape: str  # series x training steps
    freq: str
    horizon: int
    windows: int
    source: str
    licence: str
    status: str  # verified, present, absent, or what is wrong


def list_datasets(data_dir: str | Path | None = None) -> list[Row]:
    """All named datasets, then the folders in `data_dir`.

    A set whose checksum we hold is read and compared; one without is only looked for.
    """
    root = _data_dir(data_dir)
    rows = [
        Row(
            name=spec.name,
            shape=f"{spec.dims} x {spec.train_length}",
            freq=spec.freq,
            horizon=spec.prediction_length,
            windows=spec.windows,
            source=spec.source,
            licence=spec.licence,
            status=_status(spec, root),
        )
        for spec in SPECS.values()
    ]
    return rows + [_local_row(folder) for folder in (_folders(root) if root else [])]


def _status(spec: Spec, root: Path | None) -> str:
    folder = next((path for path in _candidates(spec, root) if path.is_dir()), None)
    if folder is None:
        return "absent"
    try:
        if spec.checksum is None:
            part = missing_part(folder)
            return "present, unverified" if part is None else f"no {part} in {folder}"
        contents = _read(folder, spec)
    except InputError as error:
        return str(error)
    same = checksum([contents.train, *contents.test]) == spec.checksum
    return "verified" if same else f"other values in {folder}"


def _local_row(folder: Path) -> Row:
    try:
        contents = _read(folder, None)
    except InputError as error:
        return Row(folder.name, "?", "?", 0, 0, "?", "?", str(error))
    dims, length = contents.train["target"].shape
    return Row(
        name=folder.name,
        shape=f"{dims} x {length}",
        freq=contents.freq,
        horizon=contents.prediction_length,
        windows=len(contents.test),
        source=str(contents.meta.get("source", "not stated")),
        licence=str(contents.meta.get("licence", "not stated")),
        status="present",
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the list of datasets; exit status 2 on a mistake in what was given."""
    parser = argparse.ArgumentParser(
        prog="python -m timediff.datasets", description="List datasets."
    )
    parser.add_argument(
        "--data-dir", type=Path, help="folder of datasets (default: the variable TIMEDIFF_DATA)"
    )
    try:
        rows = list_datasets(parser.parse_args(argv).data_dir)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    header = ("name", "series x steps", "freq", "horizon", "windows", "source", "licence", "status")
    lines = [header, *(tuple(str(cell) for cell in row) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    for line in lines:
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
