"""Datasets by name or by folder, ready for any GluonTS model: ``load_dataset("exchange_rate")``.

`python -m timediff.datasets` lists what is known and what is there. The facts about the named sets
are in `timediff.data.catalogue`; a name is looked up by `timediff.data.locate`, the two layouts are read by
`timediff.data.readers.gluonts_folder` and `timediff.data.readers.wide_table`, archives are fetched by
`timediff.data.download`, and clocks are compared by `timediff.data.clock`. ``oracle`` is simulated by
`timediff.data.oracle.dataset`.

Axes: D series, T time steps.
"""

import warnings
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from timediff.arguments import checked
from timediff.data.catalogue import SPECS, Published, Spec
from timediff.data.clock import align, audit, describe
from timediff.data.locate import candidates, data_directory, find_and_read, other_folders, read
from timediff.data.oracle.dataset import DIM, HORIZON, LENGTH, WINDOWS
from timediff.data.readers.contents import Aggregate, checksum
from timediff.data.readers.gluonts_folder import missing_part
from timediff.errors import InputError
from timediff.options import Between
from timediff.reading import Reading

__all__ = ["Dataset", "Row", "list_datasets", "load_dataset"]


class Dataset(NamedTuple):
    """Training and test entries of one dataset, and where they come from.

    Args:
        freq: Frequency as in the metadata, such as ``H``, ``B``, ``30min``.
        columns: Names of the D series, each once.
        train: One GluonTS entry, target float64 ``[D, T]``, missing values NaN.
        test: One entry per rolling window, target ``[D, T_k]``; the last `prediction_length` steps
            are the truth to forecast.
        aggregates: Further weighted sums by name.
        checksum: SHA-256 of all entries as stored, see `timediff.data.readers.contents.checksum`.
        verified: Whether `checksum` is the one we hold for this name.
        unit: Of all values, "" where it is not known.
        zone: Time zone of the stamps, "" where it is not known.
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
    unit: str = ""
    zone: str = ""


@checked
def load_dataset(
    name: str | Path,
    *,
    data_dir: str | Path | None = None,
    windows: Annotated[int | None, Between(1)] = None,
    align_clock: bool = False,
    download: bool = True,
    horizon: Annotated[int | None, Between(1)] = None,
    reading: Reading = Reading(),  # noqa: B008 (immutable)
) -> Dataset:
    """A dataset by its name or folder.

    A benchmark set is looked for in `data_dir`, then in GluonTS's cache (``~/.gluonts/datasets``),
    then downloaded into that cache. Any other name is a folder inside `data_dir`, or a path.

    Args:
        name: One of `SPECS`, or a folder with a GluonTS dataset or a wide table, or a CSV, Parquet or Feather
            file, whose last seven horizons are the test windows, or ``oracle``,
            ``oracle-16``, ``oracle-16x4000``: the process with a known answer, in its default size, of
            16 series, of 16 series and 4000 training steps.
        data_dir: Folder of datasets; the environment variable ``TIMEDIFF_DATA`` when None.
        windows: Keep only the last so many test windows; training ends where it always does, so
            scores are those of a part of the whole.
        align_clock: Move the test stamps to the clock of training where the same values stand at
            other times; without it such an offset is only a warning.
        download: Whether a benchmark set that is not there may be downloaded.
        horizon: Steps to forecast, which a file does not say.
        reading: How a file is read: what its columns are, zone, frequency.

    Raises:
        InputError: The name is unknown, or the folder is missing, incomplete or inconsistent.
    """
    name = str(name)
    spec, folder, contents = find_and_read(
        name, data_dir, download=download, horizon=horizon, reading=reading
    )
    digest = checksum([contents.train, *contents.test])
    expected = spec.checksum if spec else contents.meta.get("checksum")
    if expected is not None and digest != expected:
        warnings.warn(
            f"the values in {folder} are not those of the known {name}: do not compare scores",
            stacklevel=2,
        )
    test = contents.test
    offsets = audit([contents.train], test)
    if align_clock and offsets:
        test = align(test, offsets)
        offsets = audit([contents.train], test)
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
        train=[contents.train],
        test=test[-windows:] if windows else test,
        aggregates=contents.aggregates,
        checksum=digest,
        verified=digest == expected,
        source=spec.source if spec else str(meta.get("source", "not stated")),
        licence=spec.licence if spec else str(meta.get("licence", "not stated")),
        published=list(spec.published) if spec else [],
        unit=str(meta.get("unit", "")),
        zone=str(meta.get("zone", "")),
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


@checked
def list_datasets(data_dir: str | Path | None = None) -> list[Row]:
    """All named datasets, the oracle, then the folders in `data_dir`.

    A set whose checksum we hold is read and compared; one without is only looked for.
    """
    root = data_directory(data_dir)
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
    return [*rows, _oracle_row(), *map(_local_row, other_folders(root) if root else [])]


def _oracle_row() -> Row:
    return Row(
        name="oracle",
        shape=f"{DIM} x {LENGTH}",
        freq="H",
        horizon=HORIZON,
        windows=WINDOWS,
        source="simulated; other sizes: oracle-16, oracle-16x4000",
        licence="Apache-2.0",
        status="simulated",
    )


def _status(spec: Spec, root: Path | None) -> str:
    folder = next((path for path in candidates(spec, root) if path.is_dir()), None)
    if folder is None:
        return "absent"
    try:
        if spec.checksum is None:
            part = missing_part(folder)
            return "present, unverified" if part is None else f"no {part} in {folder}"
        contents = read(folder, spec)
    except InputError as error:
        return str(error)
    same = checksum([contents.train, *contents.test]) == spec.checksum
    return "verified" if same else f"other values in {folder}"


def _local_row(folder: Path) -> Row:
    try:
        contents = read(folder, None)
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
