"""The dataset with a known answer: ``load_dataset("oracle")``, and paths from its true distribution.

The data are one path of the process in `timediff.data.oracle.process`. What is left to learn about the
future from all that was observed is known exactly, so no forecaster that sees only the past has a better
expected proper score than `true_paths`: its scores are the floor that others can be measured by.

``oracle`` has 8 series, ``oracle-16`` has 16, and ``oracle-16x4000`` also says how many steps there are to
train on.

Axes: ``W`` windows, ``S`` sample paths, ``T`` steps, ``D`` series.
"""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from timediff.data.entry import noise_seed
from timediff.data.oracle.process import (
    WEEK,
    Process,
    State,
    beginning,
    draw,
    filter_regimes,
    make_process,
    simulate,
)
from timediff.data.readers.contents import Contents
from timediff.errors import InputError

__all__ = [
    "DIM",
    "HORIZON",
    "LENGTH",
    "MAX_LENGTH",
    "START",
    "WINDOWS",
    "Array",
    "Entries",
    "is_oracle",
    "make_oracle",
    "parse_name",
    "true_paths",
]

Array = NDArray[np.float64]
Entries = Sequence[dict[str, Any]]

DIM, LENGTH, HORIZON, WINDOWS = 8, 24 * WEEK, 24, 35
MAX_LENGTH = 10**6
START = pd.Period("2018-01-01 00:00", freq="h")  # a Monday, so that step 0 opens a week


def is_oracle(entries: Entries) -> bool:
    """Whether all entries are of the process, so that `true_paths` knows the answer."""
    return bool(entries) and all("oracle" in (entry.get("info") or {}) for entry in entries)


def true_paths(
    known: Entries, *, horizon: int, num_samples: int, seed: int, knows_regime: bool = False
) -> NDArray[np.float32]:
    """Paths from the true distribution of the steps after each entry, given the entry.

    Args:
        known: Entries of ``load_dataset("oracle")`` without the steps to forecast, target ``[D, T]``.
        horizon: Steps to forecast.
        num_samples: Sample paths.
        seed: Of all random numbers (`timediff.data.entry.noise_seed`).
        knows_regime: Give it the true regimes up to the origin, which no forecaster can see. Its score
            is not a floor but says what they would be worth.

    Returns:
        ``[W, S, T, D]``.

    Raises:
        InputError: An entry is not of the process, lacks values, or is not from its beginning.
    """
    if not known or horizon < 1 or num_samples < 1:
        raise InputError(
            f"the oracle needs entries, steps and paths, at least 1 of each, not {len(known)}, {horizon} "
            f"and {num_samples}"
        )
    observed = [_observed(entry) for entry in known]
    identities = [_identity(entry) for entry in known]
    processes = {(dim, of): make_process(dim, seed=of) for dim, of in identities}
    paths = []
    for place, (values, identity) in enumerate(zip(observed, identities, strict=True)):
        entry = known[place]
        start = entry["start"] + len(values)
        own = noise_seed(seed, start, item_id=entry.get("item_id"), place=place)
        process, rng = processes[identity], np.random.default_rng(own)
        if knows_regime:
            belief = np.eye(len(process.stationary))[_true_regime(process, values, identity[1])]
        else:
            belief = filter_regimes(process, values)[0][-1]
        deviation = values[-1] - process.seasonal[(len(values) - 1) % WEEK]
        regimes = draw(np.tile(belief, (num_samples, 1)), rng)
        state = State(len(values), np.tile(deviation, (num_samples, 1)), regimes)
        paths.append(simulate(process, state, steps=horizon, rng=rng)[0])
    return np.stack(paths).astype(np.float32)


def parse_name(name: str) -> tuple[int, int] | None:
    """Series and training steps of ``oracle``, ``oracle-16`` or ``oracle-16x4000``; else None."""
    match = re.fullmatch(r"oracle(?:-(\d+)(?:x(\d+))?)?", name)
    return (int(match[1] or DIM), int(match[2] or LENGTH)) if match else None


def make_oracle(dim: int = DIM, length: int = LENGTH, *, seed: int = 0) -> Contents:
    """One path of the process as a dataset of `length` hours to train on and 35 test days after them.

    Raises:
        InputError: It would be too short to hold one window, or too long to be made.
    """
    if not 2 * HORIZON <= length <= MAX_LENGTH:
        raise InputError(
            f"an oracle of {length} training steps cannot be made: give {2 * HORIZON} to {MAX_LENGTH}"
        )
    process = make_process(dim, seed=seed)
    values = _values(process, length + WINDOWS * HORIZON, seed)[0].astype(np.float32)  # [T, D]

    def entry(item_id: str, end: int) -> dict[str, Any]:
        info = {"oracle": {"dim": dim, "seed": seed}}
        return {"item_id": item_id, "start": START, "target": values[:end].T.copy(), "info": info}

    return Contents(
        freq="H",
        prediction_length=HORIZON,
        columns=[f"series_{d}" for d in range(dim)],
        train=entry("train", length),
        test=[entry(f"test_{k}", length + (k + 1) * HORIZON) for k in range(WINDOWS)],
        meta={
            "name": "oracle" if (dim, length) == (DIM, LENGTH) else f"oracle-{dim}x{length}",
            "source": "timediff.data.oracle.dataset, simulated",
            "licence": "Apache-2.0",
        },
        aggregates={},
    )


def _values(process: Process, steps: int, seed: int) -> tuple[Array, NDArray[np.int64]]:
    """The path that the dataset of this seed shows, ``[T, D]``, and its regimes ``[T]``."""
    rng = np.random.default_rng([seed, process.seasonal.shape[1], 1])
    values, regimes = simulate(process, beginning(process, 1, rng=rng), steps=steps, rng=rng)
    return values[0], regimes[0]


def _true_regime(process: Process, values: Array, seed: int) -> int:
    """The regime at the last of these steps of the dataset's path."""
    expected, regimes = _values(process, len(values), seed)
    if not np.allclose(values, expected, rtol=1e-4, atol=1e-4):
        raise InputError(
            "the true regimes are known only for the oracle's own data, and an entry has other values: "
            "leave out knows_regime, or load the dataset again"
        )
    return int(regimes[-1])


def _identity(entry: dict[str, Any]) -> tuple[int, int]:
    """Series and seed of the process that an entry is a path of."""
    about = entry["info"]["oracle"]
    return about["dim"], about["seed"]


def _observed(entry: dict[str, Any]) -> Array:
    """The values of an entry, ``[T, D]``."""
    if not is_oracle([entry]):
        raise InputError(
            "the true distribution is known only for the dataset oracle, and an entry is not of it: "
            'give entries of load_dataset("oracle")'
        )
    values = np.asarray(entry["target"], dtype=np.float64).T
    if entry["start"] != START or len(values) == 0:
        raise InputError(
            f"the oracle needs all that was observed since {START}, but an entry of {len(values)} steps "
            f"starts at {entry['start']}: do not shorten the entries"
        )
    if not np.isfinite(values).all():
        raise InputError(
            "the oracle's filter is exact only where every past value was observed, and an entry has "
            "missing ones: give it the data as they were"
        )
    return values
