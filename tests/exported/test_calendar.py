"""The calendar and the units of exported models are those of the library, without pandas and torch."""

import datetime as dt

import numpy as np
import pandas as pd
import pytest
from groups import contracts, cross_checks
from tiny import period

from timediff.config import ModelConfig
from timediff.data.entry import begin
from timediff.errors import InputError
from timediff.exported.clock import calendar, ordinal_of
from timediff.exported.window import adaptive_window
from timediff.exported.write import frequency_of
from timediff.frequency import calendar_fields, quiet_business_days, time_features
from timediff.gluon.entries import read_entry
from timediff.gluon.linear import adaptive_shape
from timediff.gluon.windows import forecast_batch
from timediff.timegrad.batch import Shape

FREQS = [
    *("s", "15s", "min", "30min", "h", "3h", "D", "2D", "B", "M", "3M", "Y-DEC", "Y-MAR"),
    *("W-SUN", "W-WED", "W-THU", "2W-MON", "Q-DEC", "Q-MAR", "2Q-NOV"),
]


@cross_checks
@pytest.mark.parametrize("freq", FREQS)
@pytest.mark.parametrize("stamp", ["2024-05-15T13:45:10", "1999-12-31", "1970-01-01", "1961-03-03"])
def test_calendar_is_that_of_pandas(freq, stamp):
    start, frequency = period(freq, stamp), frequency_of(freq)
    first = ordinal_of(stamp, frequency)
    assert first == start.ordinal
    steps = np.arange(-30, 400)
    found = calendar(first, steps, frequency, calendar_fields(freq))
    with quiet_business_days():
        assert np.array_equal(found, time_features(start - 30, len(steps)))


@cross_checks
@pytest.mark.parametrize("stamp", ["2024-05-18", "2024-05-19T23:00"])
def test_a_weekend_is_the_business_day_after_it(stamp):
    assert ordinal_of(stamp, frequency_of("B")) == period("B", "2024-05-20").ordinal


@contracts
@pytest.mark.parametrize(
    "stamp",
    [
        np.datetime64("2024-05-15T13", "h"),
        dt.datetime(2024, 5, 15, 13),
        pd.Timestamp("2024-05-15T13:59"),
    ],
    ids=["datetime64", "datetime", "Timestamp"],
)
def test_stamps_of_all_kinds_are_read(stamp):
    assert ordinal_of(stamp, (1, "h", "")) == pd.Period("2024-05-15T13", "h").ordinal


@contracts
@pytest.mark.parametrize(
    "stamp", ["yesterday", None, 5, "NaT", dt.datetime(2024, 5, 15, tzinfo=dt.UTC)], ids=str
)
def test_what_is_no_stamp_is_refused(stamp):
    with pytest.raises(InputError, match=r"^start .*; give a stamp"):
        ordinal_of(stamp, (1, "h", ""))


def gappy(length, dim, *, seed, missing):
    """Series with scattered gaps, one that begins late, a constant one, and one that sits at a value."""
    rng = np.random.default_rng(seed)
    values = np.cumsum(rng.normal(size=(length, dim)), axis=0) + 1e3 * np.arange(dim)
    values[rng.random(values.shape) < missing] = np.nan
    values[: length // 2, 0] = np.nan
    values[:, 1] = 7.1
    values[np.arange(length) % 4 == 1, 2] = 0.0
    values[length // 3 : length // 3 + 6] = np.nan
    return values


@cross_checks
@pytest.mark.parametrize("length", [1, 3, 29, 90, 400])
@pytest.mark.parametrize("cycles", [[4, 12], [4], [1]], ids=str)
def test_windows_are_those_of_the_library(length, cycles):
    freq, horizon = "h", 9
    model = ModelConfig(cycles=cycles)
    shape = Shape(4, horizon, 10, [1, 4], 4, **adaptive_shape(model, freq))
    values = gappy(length, 4, seed=length, missing=0.1)
    entry = {"start": period(freq), "target": values.T}
    batch = forecast_batch([read_entry(entry)], shape)
    settings = {"cycles": cycles, "half_life": shape.half_life}
    settings |= {"scale_half_life": shape.scale_half_life, "profiles": shape.profiles}
    window = adaptive_window(
        values, history=shape.history_length, horizon=horizon, settings=settings
    )
    expected = {name: part for name, part in batch._asdict().items() if part is not None}
    assert set(window) == set(expected) - {"features", "position"}
    for name, part in window.items():
        own = expected[name][0].numpy()
        assert part.dtype == own.dtype and part.shape == own.shape, name
        assert np.array_equal(part, own, equal_nan=name == "repeated"), name
    assert int(batch.position[0]) == (begin(entry) + length) % cycles[0]
