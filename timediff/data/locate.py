"""From the name of a dataset to its folder and what that holds.

A name is looked for among the published sets, in the data directory, in GluonTS's cache, and as a path;
the oracle is made on the spot.
"""

import difflib
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from timediff.data.catalogue import SPECS, Spec
from timediff.data.download import fetch
from timediff.data.oracle.dataset import make_oracle, parse_name
from timediff.data.readers.contents import Contents
from timediff.data.readers.file import ENDINGS
from timediff.data.readers.gluonts_folder import missing_part, read_gluonts
from timediff.data.readers.wide_table import is_table, is_wide, read_table_file, read_wide
from timediff.errors import InputError
from timediff.reading import Reading, differing

__all__ = ["EMBEDDED", "candidates", "data_directory", "find_and_read", "other_folders", "read"]

EMBEDDED = "citylearn2022"


def find_and_read(
    name: str,
    data_dir: str | Path | None,
    *,
    download: bool,
    horizon: int | None = None,
    reading: Reading = Reading(),  # noqa: B008 (immutable)
) -> tuple[Spec | None, Path, Contents]:
    """The facts that the catalogue has of a name, its folder, and the contents of that."""
    if is_table(name):
        return None, Path(name), read_table_file(Path(name), horizon, reading)
    if said := differing(reading):
        raise InputError(
            f"dataset {name} is no table in a file, to be read with {said[0]}; leave it out"
        )
    if (size := parse_name(name)) is not None:
        return None, Path(name), make_oracle(*size)
    if horizon is not None:
        raise InputError(f"dataset {name} has a horizon of its own; leave horizon out")
    try:
        spec = _spec(name)
        folder = _find(name, spec, data_dir=data_directory(data_dir), download=download)
        contents = read(folder, spec)
    except OSError as error:
        shown = name if len(name) <= 80 else f"{name[:80]}..."
        raise InputError(
            f"dataset {shown} cannot be read ({error.strerror}): give the name or path of a folder "
            "that can"
        ) from None
    if not np.isfinite(contents.train["target"]).any():
        raise InputError(f"{folder} has no usable series: every training value is missing")
    return spec, folder, contents


def _spec(name: str) -> Spec | None:
    by_folder = {spec.folder: spec for spec in SPECS.values()}
    # A path such as data/exchange_rate_nips names the published set as well; a wide table does not.
    return SPECS.get(name) or by_folder.get(
        Path(name).name if missing_part(Path(name)) is None else name
    )


def data_directory(data_dir: str | Path | None) -> Path | None:
    """The folder of datasets: ``data_dir``, or what ``TIMEDIFF_DATA`` names; None if neither is there.

    Raises:
        InputError: It does not exist.
    """
    folder = data_dir if data_dir is not None else os.environ.get("TIMEDIFF_DATA") or None
    if folder is None:
        return None
    if not Path(folder).is_dir():
        raise InputError(f"the data directory {folder} does not exist: create it or name another")
    return Path(folder)


def _cache() -> Path:
    return Path.home() / ".gluonts" / "datasets"


def _embedded() -> Path:
    here = Path(__file__).resolve().parent
    in_wheel = here / EMBEDDED
    return in_wheel if in_wheel.is_dir() else here.parents[1] / "datasets" / EMBEDDED


def candidates(spec: Spec, data_dir: Path | None) -> Iterator[Path]:
    """Folders in which a published or embedded set may lie, the first choice first."""
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
        if Path(name).is_file():
            raise InputError(
                f"dataset {name} is a file that ends in none of {', '.join(ENDINGS)}; give one of these, or "
                "a folder"
            )
        raise InputError(_unknown(name, data_dir))
    for folder in candidates(spec, data_dir):
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
    local = other_folders(data_dir) if data_dir else []
    known = sorted({"oracle", *SPECS, *(folder.name for folder in local)})
    close = difflib.get_close_matches(name, known, n=2)
    guess = f"; did you mean {' or '.join(close)}?" if close else ""
    return (
        f"unknown dataset {name!r}: it is no folder and no known name{guess} "
        f"(known: {', '.join(known)})"
    )


def other_folders(data_dir: Path) -> list[Path]:
    """Dataset folders in `data_dir` that are not one of the benchmark sets."""
    taken = {name for spec in SPECS.values() for name in (spec.name, spec.folder)}
    return sorted(
        folder
        for folder in data_dir.iterdir()
        if folder.name not in taken and (is_wide(folder) or missing_part(folder) is None)
    )


def read(folder: Path, spec: Spec | None) -> Contents:
    """Contents of a folder in either layout."""
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
