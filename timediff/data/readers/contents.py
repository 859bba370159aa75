"""What every reader of a dataset returns, and what readers share.

Axes: D series, T time steps.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from timediff.errors import InputError
from timediff.frequency import quiet_business_days
from timediff.kinds import shortened, shown
from timediff.tools.files import read_json

__all__ = ["Aggregate", "Contents", "checksum", "read_json_object", "unique_names", "whole_number"]


class Aggregate(NamedTuple):
    """A weighted sum over the series that a report scores besides the plain sum."""

    weights: np.ndarray  # float64 [D]
    unit: str


class Contents(NamedTuple):
    """The contents of a folder; entries are ``{"item_id", "start", "target"}``, target float64 [D, T]."""

    freq: str
    prediction_length: int
    columns: list[str]
    train: dict[str, Any]
    test: list[dict[str, Any]]
    meta: dict[str, Any]
    aggregates: dict[str, Aggregate]


def checksum(entries: Iterable[dict[str, Any]]) -> str:
    """The SHA-256 over every series of every entry: its start stamp, then its float32 values.

    The stamp is the ISO text of the first period's start, the values are little-endian. The values of
    covariates follow where an entry has such.
    """
    digest = hashlib.sha256()
    for entry in entries:
        with quiet_business_days():
            stamp = entry["start"].start_time.isoformat().encode()
        for row in entry["target"]:
            digest.update(stamp)
            digest.update(np.ascontiguousarray(row, dtype="<f4").tobytes())
        for name in sorted(entry):
            if "feat_dynamic" in name and entry[name] is not None:
                digest.update(name.encode())
                digest.update(np.ascontiguousarray(entry[name], dtype="<f4").tobytes())
    return digest.hexdigest()


def read_json_object(path: Path, *, advice: str) -> dict[str, Any]:
    """The object in a JSON file; `advice` ends the sentence of the error."""
    try:
        content = read_json(path)
    except FileNotFoundError:
        raise InputError(f"{path} is missing: {advice}") from None
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} cannot be read as JSON ({shortened(str(error), 200)}): {advice}"
        ) from None
    if not isinstance(content, dict):
        raise InputError(f"{path} does not hold a JSON object: {advice}")
    return content


def whole_number(meta: dict[str, Any], key: str, path: Path) -> int:
    value = meta.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InputError(
            f"{key} in {path} must be a whole number of at least 1, found {shown(value)}"
        )
    return value


def unique_names(names: Sequence[str]) -> list[str]:
    """The names in their order; one that occurs more than once gets its position: ``load_3``."""
    counts = Counter(names)
    taken = {name for name, count in counts.items() if count == 1}
    unique = []
    for position, name in enumerate(names):
        if counts[name] > 1:
            name = f"{name}_{position}"
            while name in taken:
                name += "_"
            taken.add(name)
        unique.append(name)
    return unique
