"""Frames of numbers that go wrong somewhere: flat, huge, tiny, repeated, gappy series side by side.

A frame follows from its number alone (`frame_of`). It is trained on and forecast; what came of it is one word
(`outcome`): "right", "refused" with the sentence, or a fault. A path is absurd if it leaves the range of its
series by more than ten times the larger of its width and a thousandth of its level.
"""

import logging
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import pandas as pd

from timediff import Forecaster, ModelConfig, TrainConfig
from timediff.errors import InputError

SMALL = ModelConfig(
    num_layers=1,
    hidden_size=8,
    cond_size=8,
    denoiser_layers=1,
    denoiser_width=16,
    diffusion_steps=20,
)
PATHS = 20
#: Beyond the range by so many times the larger of its width and this share of its level.
ABSURD, SHARE = 10.0, 1e-3
#: What a series of zeros may be forecast as.
NOTHING = 1e-20
FAULTS = ("traceback", "not finite", "absurd")


class Outcome(NamedTuple):
    """What came of a frame: "right", "refused" or one of `FAULTS`, and a sentence."""

    kind: str
    said: str = ""


def _noise(rng: np.random.Generator, t: np.ndarray) -> np.ndarray:
    return rng.normal(size=len(t))


def _daily(rng: np.random.Generator, t: np.ndarray) -> np.ndarray:
    return np.sin(2 * np.pi * t / 24 + rng.uniform(0, 6)) + 0.1 * _noise(rng, t)


def _repeating(rng: np.random.Generator, t: np.ndarray) -> np.ndarray:
    return rng.choice([0.1, 0.3], size=24)[t % 24]


def _counts(rng: np.random.Generator, t: np.ndarray) -> np.ndarray:
    return rng.poisson(0.4, size=len(t)).astype(float)


def _meter(rng: np.random.Generator, t: np.ndarray) -> np.ndarray:
    return np.cumsum(rng.integers(0, 3, size=len(t))).astype(float)


def _spike(rng: np.random.Generator, t: np.ndarray) -> np.ndarray:
    values = _noise(rng, t)
    values[rng.integers(len(t))] = 10.0 ** rng.uniform(1, 6)
    return values


def _shift(rng: np.random.Generator, t: np.ndarray) -> np.ndarray:
    return _daily(rng, t) + 10.0 ** rng.uniform(0, 4) * (t > rng.integers(len(t)))


def _sleeping(rng: np.random.Generator, t: np.ndarray) -> np.ndarray:
    return np.where((t % 24 > 6) & (t % 24 < 18), np.abs(_noise(rng, t)), 0.0)


def _flat(rng: np.random.Generator, t: np.ndarray) -> np.ndarray:
    return np.zeros(len(t))


def _alternating(rng: np.random.Generator, t: np.ndarray) -> np.ndarray:
    return (-1.0) ** t


SHAPES: tuple[Callable[[np.random.Generator, np.ndarray], np.ndarray], ...] = (
    *(_noise, _daily, _repeating, _counts, _meter, _spike, _shift, _sleeping, _flat),
    _alternating,
)


def frame_of(number: int) -> tuple[pd.DataFrame, int]:
    """A wide frame of 1 to 6 series, and a horizon."""
    rng = np.random.default_rng([14, number])
    freq, length = str(rng.choice(["h", "h", "D", "15min"])), int(rng.integers(40, 400))
    t, columns = np.arange(length), {}
    for d in range(int(rng.integers(1, 7))):
        values = SHAPES[int(rng.integers(len(SHAPES)))](rng, t)
        values = 10.0 ** rng.uniform(-12, 9) * values
        if rng.random() < 0.5:
            values = values + rng.choice([-1, 1]) * 10.0 ** rng.uniform(-6, 12)
        gap = rng.random()
        if gap < 0.1:
            values[rng.random(length) < rng.uniform(0, 0.9)] = np.nan
        elif gap < 0.2:
            values[: int(rng.integers(length))] = np.nan  # begins late
        elif gap < 0.25:
            values[int(rng.integers(length)) :] = np.nan  # ends early
        elif gap < 0.27:
            values[:] = np.nan
        columns[f"s{d}"] = values
    stamps = pd.date_range("2024-01-01", periods=length, freq=freq, name="ds")
    return pd.DataFrame(columns, index=stamps), int(rng.choice([1, 6, 24, 30]))


@contextmanager
def hushed() -> Iterator[None]:
    """Nothing but mistakes is said."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "timediff")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def outcome(number: int, *, steps: int = 5, model: ModelConfig = SMALL) -> Outcome:
    """What comes of a frame after so many training steps."""
    frame, horizon = frame_of(number)
    train = TrainConfig(steps=steps, steps_per_epoch=steps, batch_size=16, seed=1)
    try:
        with hushed(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            forecaster = Forecaster(model, train, progress=False).fit(frame, h=horizon)
            paths = forecaster.forecast(n_paths=PATHS, seed=1).paths
    except InputError as error:
        return Outcome("refused", str(error))
    except Exception:
        return Outcome("traceback", traceback.format_exc(limit=-2))
    if not np.isfinite(paths).all():
        return Outcome("not finite", f"{np.isfinite(paths).mean():.3f} of the values are finite")
    values = frame.to_numpy()
    for d, name in enumerate(frame.columns):
        known = values[np.isfinite(values[:, d]), d]
        if not len(known):
            continue
        low, high = known.min(), known.max()
        room = max(ABSURD * max(high - low, SHARE * np.abs(known).max()), NOTHING)
        if (paths[..., d] < low - room).any() or (paths[..., d] > high + room).any():
            reached = f"{paths[..., d].min():.4g} to {paths[..., d].max():.4g}"
            return Outcome("absurd", f"{name}, {low:.4g} to {high:.4g}: {reached}")
    return Outcome("right")


def outcome_of_default(number: int) -> Outcome:
    """What comes of a frame after 200 steps of the default network."""
    return outcome(number, steps=200, model=ModelConfig())
