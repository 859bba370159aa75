"""Start stamps of a GluonTS folder: no time is lost in reading."""

import json
import warnings

import numpy as np
import pandas as pd
import pytest
from groups import contracts

from timediff import load_dataset
from timediff.data.readers.starts import read_starts
from timediff.errors import InputError
from timediff.frequency import to_period_freq

HORIZON = 4


def folder_of(path, starts, *, freq="h"):
    """A folder of series that begin at some stamps; the test series go on for a horizon."""
    length = 60
    for split, more in (("train", 0), ("test", HORIZON)):
        (path / split).mkdir(parents=True)
        lines = []
        for k, start in enumerate(starts):
            values = np.sin(np.arange(length + more) + k).tolist()
            lines.append(json.dumps({"start": start, "target": values, "item_id": f"s{k}"}))
        (path / split / "data.json").write_text("\n".join(lines))
    meta = {"freq": freq, "prediction_length": HORIZON}
    (path / "metadata.json").write_text(json.dumps(meta))
    return str(path)


@contracts
def test_instants_that_differ_are_not_simultaneous(tmp_path):
    folder = folder_of(tmp_path, ["2020-01-01T00:00:00Z", "2020-01-01T00:00:00+02:00"])
    with pytest.warns(UserWarning, match="1 of 2 series of train end at another time"):
        load_dataset(folder)


@contracts
def test_one_instant_written_in_two_ways_is_one(tmp_path):
    folder = folder_of(tmp_path, ["2020-01-01T00:00:00Z", "2020-01-01T02:00:00+02:00"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = load_dataset(folder)
    assert loaded.train[0]["start"] == pd.Period("2020-01-01 00:00", freq="h")


@contracts
def test_one_offset_for_all_is_their_clock(tmp_path):
    loaded = load_dataset(folder_of(tmp_path, ["2020-01-01T05:00:00+05:30"] * 2))
    assert loaded.train[0]["start"] == pd.Period("2020-01-01 05:00", freq="h")


@contracts
@pytest.mark.parametrize(
    ("starts", "freq", "said"),
    [
        (["2020-01-01T00:00Z", "2020-01-01T00:00"], "h", "'2020-01-01T00:00' has none; write all"),
        (["2020-01-01 00:30"], "h", "'2020-01-01 00:30' lies within a step of h, which begins at"),
        (["2020-01-01 09:00"], "D", "within a step of D, which begins at 2020-01-01 00:00:00"),
        (["2020-01-04"], "B", "within a step of B"),
        (["2020-01-02"], "W", "or the freq of such steps into metadata.json, such as W-THU"),
        (["2020-01-15"], "M", "within a step of M"),
        (["2020-01-01 00:00:01"], "min", "within a step of min"),
        (["2020-01-01T00:00Z", "2020-01-01T00:00+05:30"], "h", r"in UTC 2019-12-31 18:30:00, lies"),
        # Days of two clocks: daylight saving or not, nobody can tell.
        (["2020-01-01T00:00+01:00", "2020-01-01T00:00+02:00"], "D", "in UTC 2019-12-31 23:00:00,"),
        ([""], "h", "'' is not a start stamp"),
        (["NaT"], "h", "'NaT' is not a start stamp"),
        (["soon"], "h", "'soon' is not a start stamp"),
    ],
)
def test_what_a_period_would_lose_is_refused_in_one_sentence(tmp_path, starts, freq, said):
    with pytest.raises(InputError, match=said) as error:
        load_dataset(folder_of(tmp_path, starts, freq=freq))
    assert str(tmp_path) in str(error.value) and "\n" not in str(error.value)


@contracts
@pytest.mark.filterwarnings("ignore:Period with BDay:FutureWarning")
@pytest.mark.parametrize(
    ("start", "freq"),
    [
        ("2020-01-01 01:00:00", "2h"),
        ("2020-01-01 00:10", "30min"),
        ("2020-01-03", "B"),
        ("2020-01-01", "M"),
        ("2020-01-31", "M"),
        ("2020-01", "M"),
        ("2020Q1", "Q"),
        ("2020-03-31", "QE"),
        ("2020-05-29", "BM"),  # the last business day; the month ends on a Sunday
        ("2020", "A"),
        ("2019-12-30", "W"),
        ("2020-01-05", "W-SUN"),
        ("2020-01-02", "W-THU"),
        ("2019-12-30/2020-01-05", "W"),
    ],
)
def test_the_ways_to_name_a_period_are_read_as_it(tmp_path, start, freq):
    freq = to_period_freq(freq)
    (read,) = read_starts([start], freq=freq, folder=tmp_path).values()
    assert read == pd.Period(start, freq=freq)


@contracts
def test_periods_that_gluonts_writes_are_read_back(tmp_path):
    for freq in ("h", "15min", "D", "W-SUN", "W-WED", "M", "Q-DEC", "Q-MAR", "Y-DEC", "Y-MAR", "s"):
        period = pd.Period("2021-05-07 13:20", freq=freq)
        assert read_starts([str(period)], freq=freq, folder=tmp_path) == {str(period): period}


@contracts
def test_a_published_set_is_read_as_its_scores_are(tmp_path):
    read = read_starts(["2015-01-01 00:00:03"], freq="min", folder=tmp_path, rounded=True)
    assert list(read.values()) == [pd.Period("2015-01-01 00:00", freq="min")]
