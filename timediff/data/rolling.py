"""Rolling windows over whole series, of a known dataset through `rewindow`.

Window k of W is the H steps from its origin on; origins are ``stride`` steps apart, and the last window ends
with the data. A window's history are the steps that end with its origin: all of them ("expanding"), or a
fixed number.

Axes: ``W`` windows, ``T`` time steps, ``D`` series; NaN is a missing value.
"""

from typing import Literal

import numpy as np

from timediff.data.dataset import Dataset
from timediff.data.entry import Entry, begin, cut_entry, dynamic_fields, end
from timediff.errors import InputError, check_whole
from timediff.frequency import quiet_business_days

__all__ = ["History", "cut", "rewindow", "window_origins"]

History = int | Literal["expanding"]


def rewindow(
    dataset: Dataset, *, windows: int, stride: int, history: History = "expanding"
) -> Dataset:
    """The dataset with other test windows, cut from all that its training and test entries hold together.

    Training ends where the first window begins. Where training and windows are those of the dataset already,
    it is returned as it is. Otherwise published numbers, which belong to the published windows, are left out;
    ``checksum`` and ``verified`` still speak of the data as stored.

    Args:
        dataset: Of `timediff.data.dataset.load_dataset`.
        windows: W.
        stride: Steps from one origin to the next; the last window ends with the data. Below the horizon
            windows overlap: tell `timediff.metrics.paired.compare`.
        history: "expanding", or how many steps precede a window in its test entry.

    Raises:
        InputError: An option makes no sense, the data are too short, or training and test data contradict
            each other.
    """
    horizon, train = dataset.prediction_length, dataset.train[0]
    with quiet_business_days():
        whole = _joined(dataset)
        origins = window_origins(
            whole,
            horizon=horizon,
            windows=windows,
            stride=stride,
            history=history,
            what=f"dataset {dataset.name}",
        )
        trained, *present = (end(entry) - begin(whole) for entry in [train, *dataset.test])
        same = trained == origins[0] and [last - horizon for last in present] == origins
        if same and history == "expanding":
            return dataset
        test = [
            {**cut(whole, origin, history, horizon), "item_id": f"test_{k}"}
            for k, origin in enumerate(origins)
        ]
        return dataset._replace(train=[cut(whole, origins[0])], test=test, published=[])


def window_origins(
    whole: Entry,
    *,
    horizon: int,
    windows: int,
    stride: int,
    history: History,
    lead: int = 0,
    what: str = "the frame",
) -> list[int]:
    """The first step of each window, counted from the start of the data.

    Args:
        whole: The data.
        horizon: H.
        windows: W.
        stride: Steps from one origin to the next.
        history: What must be there before the first window; a horizon in any case.
        lead: Steps left out before each origin.
        what: The data, in a sentence.

    Raises:
        InputError: An option makes no sense, or the data are too short.
    """
    for name, value in (("windows", windows), ("stride", stride)):
        check_whole(name, value)
    if history != "expanding":
        check_whole("history", history, or_else=', or "expanding"')
    length = whole["target"].shape[1]
    before = max(horizon, 0 if history == "expanding" else history)
    needed = before + lead + (windows - 1) * stride + horizon
    if length < needed:
        raise InputError(
            f"{what} has {length} steps, but {windows} windows of {horizon} steps, {stride} apart, and "
            f"{before + lead} steps before the first need {needed}; ask for fewer windows, a shorter "
            "stride or a shorter history"
        )
    first = length - horizon - (windows - 1) * stride
    return list(range(first, length - horizon + 1, stride))


def cut(
    whole: Entry, origin: int, history: History = "expanding", future: int = 0, *, ahead: int = 0
) -> Entry:
    """The part of the data that precedes an origin, and so many steps of the future, as an entry.

    Fields known ahead keep ``ahead`` steps more (`timediff.data.entry.cut_entry`).
    """
    first = 0 if history == "expanding" else origin - history
    return cut_entry(whole, first, origin + future, ahead=ahead)


def _joined(dataset: Dataset) -> Entry:
    """All that the training and the test entries hold, on one clock; NaN where none holds anything."""
    entries = [*dataset.train, *dataset.test]
    start = min((entry["start"] for entry in entries), key=lambda period: period.ordinal)
    fields = {name: _joined_field(dataset, entries, name) for name in dynamic_fields(entries[0])}
    return {**entries[0], "start": start, **fields}


def _joined_field(dataset: Dataset, entries: list[Entry], field: str) -> np.ndarray:
    """The values of one field in all entries that have it, from the earliest start on."""
    first, phase = min(map(begin, entries)), entries[0]["start"]
    parts = [(entry, np.asarray(entry[field])) for entry in entries if field in entry]
    length = max(begin(entry) - first + values.shape[-1] for entry, values in parts)
    dtype = parts[0][1].dtype
    whole = np.full(
        (*parts[0][1].shape[:-1], length), np.nan, dtype=np.result_type(dtype, np.float32)
    )
    for entry, values in parts:
        at = begin(entry) - first
        part = whole[..., at : at + values.shape[-1]]
        missing = np.isnan(part)
        wrong = ~missing & ~np.isnan(values) & (part != values)
        off = (entry["start"].ordinal - phase.ordinal) % phase.freq.n
        if off or wrong.any():
            *row, step = np.argwhere(wrong)[0] if wrong.any() else (0, 0)
            series = dataset.columns[row[0]] if field == "target" else field
            raise InputError(
                f"dataset {dataset.name} has two values of {series} at {entry['start'] + int(step)}, so its "
                "training and test data stand on different clocks and cannot be cut anew; align the clock "
                "(align_clock=True, --align-clock) or keep its windows"
            )
        part[missing] = values[missing]
    return whole if np.isnan(whole).any() else whole.astype(dtype)
