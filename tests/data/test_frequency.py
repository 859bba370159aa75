"""Calendar frequencies: old and new names, lags, seasons, and features that data cannot change."""

import warnings

import numpy as np
import pandas as pd
import pytest

from timediff.errors import InputError
from timediff.frequency import (
    default_lags,
    error_season,
    num_time_features,
    seasons,
    split_freq,
    time_features,
    to_period_freq,
)

# Every base frequency, its multiples in use, and its anchors.
FREQUENCIES = [
    *("s", "10s", "min", "5min", "15min", "30min", "h", "2h", "6h", "D", "2D", "7D", "B", "W"),
    *("W-SUN", "W-WED", "M", "3M", "Q", "Q-DEC", "Q-MAR", "Y", "Y-DEC", "Y-JUN"),
]


def period(freq, stamp="2021-03-17 05:30"):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # pandas, about business days
        return pd.Period(stamp, freq=freq)


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        *[("H", "h"), ("h", "h"), ("1H", "h"), ("2H", "2h"), (" 2h ", "2h")],
        *[("T", "min"), ("30T", "30min"), ("30min", "30min"), ("S", "s"), ("5S", "5s")],
        *[("D", "D"), ("7D", "7D"), ("B", "B"), ("W", "W-SUN"), ("W-TUE", "W-TUE")],
        *[("M", "M"), ("MS", "M"), ("ME", "M"), ("3MS", "3M")],
        *[("Q", "Q-DEC"), ("QS", "Q-DEC"), ("QE", "Q-DEC")],
        *[("QE-MAR", "Q-MAR"), ("QS-JAN", "Q-DEC"), ("A", "Y-DEC"), ("Y", "Y-DEC")],
        *[("YE", "Y-DEC"), ("YS", "Y-DEC"), ("AS", "Y-DEC"), ("A-JUN", "Y-JUN")],
        *[("AS-JUL", "Y-JUN"), ("YS-JAN", "Y-DEC"), ("YE-DEC", "Y-DEC")],
    ],
)
def test_names_old_and_new(alias, name):
    # Q and Q-DEC are two names of one frequency.
    assert period(to_period_freq(alias)).freqstr == period(name).freqstr


@pytest.mark.parametrize("freq", FREQUENCIES)
def test_names_are_what_pandas_calls_its_periods(freq):
    found = to_period_freq(period(freq).freqstr)
    assert to_period_freq(found) == found
    assert period(found) == period(to_period_freq(freq)) == period(freq)


@pytest.mark.parametrize("alias", ["QS", "YS"])
@pytest.mark.parametrize("month", range(1, 13))
def test_start_anchors_keep_their_month(alias, month):
    name = pd.Timestamp(2021, month, 1).strftime("%b").upper()
    found = period(to_period_freq(f"{alias}-{name}"), f"2021-{month:02d}-01")
    assert found.start_time == pd.Timestamp(2021, month, 1)
    offset = pd.tseries.frequencies.to_offset(f"{alias}-{name}")
    assert (found + 1).start_time == pd.Timestamp(2021, month, 1) + offset


@pytest.mark.parametrize("freq", ["", "x", "hourly", "0h", "-1h", "1.5h", "2", "h h", "W-FOO",
                                  "Q-SUN", "QS-SUN", "h-JAN", "M-DEC", "D-MON"])  # fmt: skip
def test_unknown_frequencies_are_refused_in_one_sentence(freq):
    with pytest.raises(InputError, match="frequency") as caught:
        to_period_freq(freq)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "ask", [split_freq, default_lags, seasons, error_season, num_time_features]
)
def test_every_question_refuses_an_unknown_frequency(ask):
    with pytest.raises(InputError):
        ask("fortnight")


@pytest.mark.parametrize(
    ("freq", "lags", "season"),
    [
        ("h", [1, 24, 168], [24, 168]),
        ("2h", [1, 12, 84], [12, 84]),
        ("5h", [1], [1]),
        ("30min", [1, 4, 12, 24, 48], [48, 336]),
        ("15min", [1, 4, 96, 672], [96, 672]),
        ("min", [1, 60], [1440, 10080]),
        ("D", [1, 7, 14], [7]),
        ("7D", [1], [1]),
        ("B", [1, 2], [1, 5]),
        ("W", [1], [1, 52]),
        ("M", [1, 12], [1, 12]),
        ("3M", [1, 4], [1, 4]),
        ("Q", [1], [1, 4]),
        ("Y", [1], [1]),
    ],
)
def test_lags_and_seasons(freq, lags, season):
    assert default_lags(freq) == lags
    assert seasons(freq) == season


@pytest.mark.parametrize("freq", FREQUENCIES)
def test_lags_and_seasons_are_usable(freq):
    lags = default_lags(freq)
    assert lags[0] == 1 and lags == sorted(set(lags)) and lags[-1] <= 1024
    assert seasons(freq) and seasons(freq) == sorted(set(seasons(freq)))


@pytest.mark.parametrize("freq", [*FREQUENCIES, "5h", "4M", "5B"])
def test_the_season_of_scaled_errors_is_that_of_gluonts(freq):
    from gluonts.time_feature import get_seasonality

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # pandas, about names of frequencies
        assert error_season(freq) == get_seasonality(freq)


@pytest.mark.parametrize("alias", ["H", "30T", "MS", "QS-APR", "A"])
def test_an_alias_answers_like_its_period(alias):
    name = to_period_freq(alias)
    for ask in (default_lags, seasons, error_season, num_time_features):
        assert ask(alias) == ask(name)


def test_default_lags_are_not_shared():
    default_lags("h").append(5)
    assert default_lags("h") == [1, 24, 168]


@pytest.mark.filterwarnings("ignore::FutureWarning")  # pandas, about business days
@pytest.mark.parametrize("freq", FREQUENCIES)
def test_features_are_waves_of_fixed_period(freq):
    start = period(freq)
    features = time_features(start, 400)
    assert features.shape == (400, num_time_features(freq)) and features.dtype == np.float32
    # A pair of sine and cosine per field.
    np.testing.assert_allclose(features[:, ::2] ** 2 + features[:, 1::2] ** 2, 1, atol=1e-6)
    # Neither the length of the data nor where it starts changes a step's features.
    np.testing.assert_array_equal(time_features(start, 30), features[:30])
    later = period(freq, pd.period_range(start, periods=51, freq=start.freq)[-1].start_time)
    np.testing.assert_array_equal(time_features(later, 30), features[50:80])


def test_hourly_features_by_hand():
    features = time_features(period("h", "2021-03-17 05:00"), 1)[0]  # a Wednesday
    phases = 2 * np.pi * np.array([5 / 24, 2 / 7])
    expected = np.stack([np.sin(phases), np.cos(phases)], axis=-1).ravel()
    np.testing.assert_allclose(features, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("freq", "cycle"),
    [("h", 168), ("2h", 84), ("30min", 336), ("D", 7), ("M", 12), ("3M", 4), ("Q", 4)],
)
def test_features_tell_the_steps_of_a_cycle_apart_and_repeat(freq, cycle):
    features = time_features(period(freq), 3 * cycle)
    np.testing.assert_array_equal(features[:cycle], features[cycle : 2 * cycle])
    assert len(np.unique(features.round(5), axis=0)) == cycle


def test_features_warn_of_nothing():
    with warnings.catch_warnings():
        start = period("B")
        warnings.simplefilter("error")
        time_features(start, 10)
