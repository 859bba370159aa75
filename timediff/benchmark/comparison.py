"""Records of several runs, by short names, and compared window by window where they forecast the same."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from timediff.arguments import checked
from timediff.benchmark.record import COMPARED, Record, read_record
from timediff.errors import InputError
from timediff.metrics import paired

__all__ = ["Compared", "compare", "read_runs"]


class Compared(NamedTuple):
    """Comparisons of the first of some runs with others by name, and why there are none with the rest."""

    comparisons: dict[str, paired.Comparison]
    sentences: list[str]


@checked
def compare(runs: Mapping[str, Record] | Sequence[str | Path]) -> Compared:
    """Paired comparisons, by CRPS_sum in each window, of what the first run is of with that of the others.

    Args:
        runs: Records by name, or folders that evaluations wrote (`read_runs`).

    Raises:
        InputError: A record cannot be read.
    """
    records = runs if isinstance(runs, Mapping) else read_runs(runs)
    (name, first), *others = records.items()
    compared = Compared({}, [])
    for label, record in others:
        if reason := _unlike({name: first, label: record}):
            compared.sentences.append(
                f"{name} and {label} are not compared window by window: {reason}."
            )
            continue
        compared.comparisons[label] = paired.compare(
            _losses(first), _losses(record), overlap=max(first.overlap, record.overlap)
        )
    return compared


def read_runs(places: Sequence[str | Path]) -> dict[str, Record]:
    """Records of folders or files, by the shortest ends of their paths that tell them apart.

    Raises:
        InputError: A record cannot be read, or is given twice.
    """
    files = [Path(place) for place in places]
    folders = [file.parent if file.name == "record.json" else file for file in files]
    return dict(zip(_labels(folders), map(read_record, files), strict=True))


def _labels(folders: Sequence[Path]) -> list[str]:
    whole = [folder.resolve().parts for folder in folders]
    for count in range(1, max(map(len, whole), default=0) + 1):
        ends = ["/".join(parts[-count:]) for parts in whole]
        if len(set(ends)) == len(ends):
            return ends
    raise InputError("the same record is given twice; give each once")


def _unlike(runs: Mapping[str, Record]) -> str:
    """Why two runs cannot be compared window by window; empty if they can."""
    a, b = (record.dataset for record in runs.values())
    if a.checksum != b.checksum:
        same = f"both of {a.name}, but with other values"
        what = same if a.name == b.name else f"of {a.name} and of {b.name}"
        return f"they are {what}, so their scores say nothing about which is better"
    without = [name for name, record in runs.items() if not _losses(record)]
    if without:
        return f"{' and '.join(without)} has no losses per window"
    places = {
        (len(_losses(record)), data.windows, data.prediction_length, data.train_length)
        for record, data in ((record, record.dataset) for record in runs.values())
    }
    return "" if len(places) == 1 else "they forecast other windows"


def _losses(record: Record) -> list[float]:
    losses = record.evaluated.windows.get(COMPARED, [])
    return [math.nan if value is None else value for value in losses]
