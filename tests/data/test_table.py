"""Frames as tables: what was written comes back at its time, whatever the layout, order, gaps and zone."""

import json

import narwhals as nw
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from timediff.data.readers.layout import Roles
from timediff.data.steps import Clock
from timediff.data.table import read_frame
from timediff.errors import InputError
from timediff.frequency import quiet_business_days, to_period_freq

pytestmark = pytest.mark.filterwarnings("error")

TICKS = ["10s", "min", "15min", "30min", "h", "2h", "6h"]
CALENDAR = [
    "D", "2D", "B", "W-SUN", "W-WED", "2W-MON", "MS", "ME", "2MS", "QS", "QE", "QE-JAN", "YS", "YE",
    "YE-MAR", "BME", "BQE", "BMS",
]  # fmt: skip
ZONES = [
    None, "UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "+05:30",
    "America/Santiago",
]  # fmt: skip
STARTS = st.datetimes(pd.Timestamp("1995-01-01"), pd.Timestamp("2030-01-01")).map(
    lambda x: pd.Timestamp(x).floor("h")
)


def stamps(freq, start, count, tz=None, shift="0min"):
    """What a table at a frequency writes."""
    if freq in TICKS:
        index = pd.date_range(start, periods=count, freq=freq) + pd.Timedelta(shift)
        return index if tz is None else index.tz_localize("UTC").tz_convert(tz)
    index = pd.date_range(start.normalize(), periods=count, freq=freq)
    if tz is None:
        return index
    return index.tz_localize(tz, ambiguous=np.ones(count, bool), nonexistent="shift_forward")


@st.composite
def indices(draw, *, freqs=TICKS + CALENDAR, zones=ZONES, least=12, most=80):
    """Frequency and stamps of a regular table, with four more that follow it."""
    freq = draw(st.sampled_from(freqs))
    shift = draw(st.sampled_from(["0min", "30min", "17min"])) if freq in TICKS else "0min"
    count = draw(st.integers(least, most))
    index = stamps(freq, draw(STARTS), count + 4, draw(st.sampled_from(zones)), shift)
    return freq, index


def wide(index, dims=2, seed=0):
    values = np.random.default_rng(seed).normal(size=(len(index), dims))
    return pd.DataFrame(values, index, [f"s{i}" for i in range(dims)])


def long(frame):
    """The rows of a wide frame as Nixtla's libraries have them, series by series."""
    columns = {"unique_id": np.repeat(list(frame.columns), len(frame))}
    columns["ds"] = frame.index.append([frame.index] * (frame.shape[1] - 1))
    return pd.DataFrame({**columns, "y": frame.to_numpy().T.ravel()})


def fails(*args, match, **kwargs):
    with pytest.raises(InputError, match=match) as error:
        read_frame(*args, **kwargs)
    text = str(error.value)
    assert "\n" not in text and len(text) < 400 and not text.endswith(".")


def same(one, other):
    assert one.clock == other.clock and one.names == other.names
    np.testing.assert_array_equal(one.values, other.values)


# ------------------------------------------------------------------------------ stamps and clocks


@given(indices(), st.booleans())
def test_a_table_comes_back_and_its_stamps_continue_as_it_writes_them(case, stated):
    _, index = case
    bare = pd.DatetimeIndex(list(index[:-4]))
    frame = wide(index[:-4] if stated else bare)
    table = read_frame(frame)
    np.testing.assert_array_equal(table.values, frame.to_numpy())
    assert table.clock.stamps(0, len(index)).equals(index)
    assert table.clock.stamps(len(frame), 4).equals(index[-4:])
    assert table.clock.tz == (None if index.tz is None else str(index.tz))
    assert table.notes == []


@given(indices())
def test_a_clock_counts_what_it_writes_and_survives_json(case):
    clock = read_frame(wide(case[1])).clock
    steps, off = clock.steps(clock.stamps(-5, 40))
    np.testing.assert_array_equal(steps, np.arange(-5, 35))
    assert not off.any()
    restored = Clock.restored(json.loads(json.dumps(clock.state())))
    assert restored == clock and restored.stamps(3, 9).equals(clock.stamps(3, 9))


@given(indices(zones=[None, "Europe/Berlin"], freqs=[*TICKS, "D", "B", "W-SUN", "ME", "QE", "YE"]))
def test_the_frequency_asked_for_is_that_of_the_clock(case):
    freq, index = case
    table = read_frame(wide(index), freq=freq)
    with quiet_business_days():
        expected = pd.Period("2020", to_period_freq(freq)).freqstr
    assert table.clock.start.freqstr == expected
    assert table.clock.stamps(0, len(index)).equals(index)


@given(indices(zones=["Europe/Berlin", "America/New_York"], freqs=["h", "15min"], most=300))
def test_periods_of_hours_run_on_the_standard_time_of_the_zone(case):
    _, index = case
    table = read_frame(wide(index))
    standard = {"Europe/Berlin": "Etc/GMT-1", "America/New_York": "Etc/GMT+5"}[str(index.tz)]
    assert table.clock.start.start_time == index[0].tz_convert(standard).tz_localize(None).floor(
        "h" if table.clock.start.freqstr == "h" else "min"
    )


@given(indices(freqs=["D", "B", "W-SUN", "MS", "ME"]))
def test_periods_of_days_and_more_are_those_of_the_local_date(case):
    _, index = case
    start = read_frame(wide(index)).clock.start
    with quiet_business_days():
        assert start.start_time <= index[0].tz_localize(None) <= start.end_time


def test_business_days_differ_from_days():
    index = pd.date_range("2024-01-01", periods=12, freq="B")
    assert read_frame(wide(pd.DatetimeIndex(index.to_numpy()))).clock.start.freqstr == "B"
    days = pd.date_range("2024-01-01", periods=12, freq="D")
    assert read_frame(wide(pd.DatetimeIndex(days.to_numpy()))).clock.start.freqstr == "D"


def test_business_days_of_which_a_third_is_absent_are_no_days():
    rows = np.sort(np.random.default_rng(0).choice(300, size=200, replace=False))
    index = pd.date_range("2024-01-01", periods=300, freq="B")[rows]
    assert read_frame(wide(pd.DatetimeIndex(index.to_numpy()))).clock.start.freqstr == "B"


def test_a_bare_quarter_or_year_fits_the_months_of_the_stamps():
    for asked, freq in (("Q", "QE-JAN"), ("Y", "YE-MAR")):
        index = pd.date_range("2020-01-01", periods=9, freq=freq)
        clock = read_frame(wide(index[:8]), freq=asked).clock
        assert clock.stamps(8, 1)[0] == index[8]


def test_days_at_midnight_utc_in_another_zone_stay_24_hours_apart():
    index = pd.date_range("2024-03-20", periods=30, tz="UTC").tz_convert("Europe/Berlin")
    table = read_frame(wide(index[:20]))
    assert table.clock.start.freqstr == "D" and table.clock.stamps(0, 30).equals(index)


# ---------------------------------------------------------------------------- order, gaps, layout


@settings(max_examples=40)
@given(indices(), st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(case, random):
    frame = wide(case[1])
    order = list(range(len(frame)))
    random.shuffle(order)
    for rows in (frame, long(frame)):
        order = [i for i in order if i < len(rows)]
        shuffled = rows.iloc[[*order, *range(len(order), len(rows))]]
        table = read_frame(shuffled)
        expected = read_frame(rows)
        same(table, expected)
        moved = order != sorted(order)
        assert [note for note in table.notes if "sorted" in note] == (
            ["the rows of the frame were sorted by time"] if moved else []
        )


@given(indices(least=20), st.data())
def test_absent_rows_are_missing_and_counted(case, data):
    freq, index = case
    frame = wide(index)
    inner = st.integers(1, len(frame) - 2)
    absent = data.draw(st.sets(inner, max_size=int(0.4 * len(frame))))
    kept = frame.drop(index=frame.index[list(absent)])
    expected = frame.copy()
    expected.iloc[list(absent)] = np.nan
    table = read_frame(kept, freq=freq)
    np.testing.assert_array_equal(table.values, expected)
    assert table.clock.stamps(0, len(index)).equals(index)
    said = [note for note in table.notes if "absent" in note]
    assert said == (
        [
            f"{len(absent)} of {len(frame)} rows of the frame were absent and are read as missing values"
        ]
        if absent
        else []
    )


@given(indices(least=20), st.data())
def test_with_absent_rows_the_others_stand_at_their_stamps_whatever_frequency_they_suggest(
    case, data
):
    _, index = case
    absent = data.draw(st.sets(st.integers(0, len(index) - 1), max_size=int(0.25 * len(index))))
    frame = wide(index).drop(index=index[list(absent)])
    table = read_frame(frame.set_axis(pd.DatetimeIndex(list(frame.index))))
    at = table.clock.stamps(0, len(table.values)).get_indexer(frame.index)
    assert (at >= 0).all()
    np.testing.assert_array_equal(table.values[at], frame.to_numpy())
    assert np.isnan(np.delete(table.values, at, axis=0)).all()


@settings(max_examples=40)
@given(indices(), st.data())
def test_long_and_wide_say_the_same(case, data):
    frame = wide(case[1], dims=data.draw(st.integers(1, 4)))
    first, last = data.draw(st.tuples(st.integers(0, 4), st.integers(0, 4)))
    ragged = frame.copy()
    ragged.iloc[:first, 0] = np.nan
    ragged.iloc[len(frame) - last :, -1] = np.nan
    same(read_frame(long(frame)), read_frame(frame))
    rows = long(ragged).dropna()
    if frame.shape[1] > 1:
        table = read_frame(rows)
        # The order is that of first rows, and a series that begins late is first all the same.
        same(table, read_frame(ragged))
        assert any("begin later" in note for note in table.notes) == bool(first or last)


def test_names_of_a_long_frame_are_in_the_order_of_their_first_rows():
    rows = long(wide(pd.date_range("2024", periods=9, freq="h"), dims=3))
    mixed = pd.concat([rows[rows.unique_id == name] for name in ("s2", "s0", "s1")])
    assert read_frame(mixed).names == ["s2", "s0", "s1"]
    assert read_frame(mixed.sort_values(["ds", "unique_id"])).names == ["s0", "s1", "s2"]


@pytest.mark.parametrize("kind", ["polars", "pyarrow"])
@pytest.mark.parametrize("tz", [None, "Europe/Berlin"])
def test_frames_of_other_libraries_are_read_alike(kind, tz):
    pytest.importorskip(kind)
    frame = wide(stamps("h", pd.Timestamp("2024-03-30"), 60, tz)).rename_axis("ds")
    for rows in (frame.reset_index(), long(frame)):
        other = (
            nw.from_native(rows).to_polars()
            if kind == "polars"
            else nw.from_native(rows).to_arrow()
        )
        same(read_frame(other), read_frame(rows))


def test_the_time_column_is_named_or_the_first_that_holds_times_or_the_first():
    frame = wide(pd.date_range("2024", periods=9, freq="h"))
    expected = read_frame(frame)
    named = frame.rename_axis("when").reset_index()
    same(read_frame(named), expected)
    same(read_frame(named[["s0", "when", "s1"]]), expected)
    same(read_frame(named.astype({"when": str})), expected)
    same(read_frame(frame.set_axis(frame.index.astype(str))), expected)
    texts = named.astype({"when": str})[["s0", "when", "s1"]]
    same(read_frame(texts, roles=Roles(time_col="when")), expected)
    same(read_frame(long(frame).set_index(["unique_id", "ds"])), expected)
    same(read_frame(long(frame).set_index("unique_id")), expected)


@pytest.mark.parametrize("freq", ["15min", "h", "D", "B", "W-SUN", "M", "Q-DEC", "Y-DEC", "2h"])
def test_periods_are_read_and_written_as_their_starts(freq):
    with quiet_business_days():
        index = pd.period_range("2024-01-01", periods=12, freq=freq)
        written = index.to_timestamp()
        for frame in (wide(index), wide(index).rename_axis("ds").reset_index()):
            table = read_frame(frame)
            assert table.clock.start == index[0] and table.clock.start.freqstr == freq
            assert table.clock.stamps(0, 12).equals(written)


# ------------------------------------------------------------------------------------------ zones


@pytest.mark.parametrize("freq", ["h", "30min", "15min"])
@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize(
    ("zone", "autumn", "spring"),
    [
        ("Europe/Berlin", "2024-10-26", "2024-03-30"),
        ("America/New_York", "2024-11-02", "2024-03-09"),
        ("Australia/Sydney", "2024-04-06", "2024-10-05"),
    ],
)
def test_a_local_clock_is_read_with_its_zone_and_refused_with_that_advice_without(
    freq, descending, zone, autumn, spring
):
    for day in (autumn, spring):
        index = pd.date_range(day, periods=300, freq=freq, tz=zone)
        local = wide(index).set_axis(index.tz_localize(None))[:: -1 if descending else 1]
        for rows in (local, long(local)):
            same(read_frame(rows, tz=zone), read_frame(wide(index)))
            if day == autumn:
                fails(rows, match=f"twice, as a local clock .* tz={zone}")
            else:
                (note,) = [note for note in read_frame(rows).notes if "daylight saving" in note]
                assert f"tz={zone}" in note


def test_a_year_of_a_local_clock():
    index = pd.date_range("2023-01-01", "2024-12-31 23:00", freq="h", tz="Europe/Berlin")
    local = wide(index).set_axis(index.tz_localize(None))
    same(read_frame(local, tz="Europe/Berlin"), read_frame(wide(index)))
    fails(local, match="tz=Europe/Berlin")


def test_an_empty_row_for_the_skipped_hour_is_left_out_and_a_full_one_refused():
    index = pd.date_range("2024-03-30", periods=60, freq="h", tz="Europe/Berlin")
    local = wide(index).set_axis(index.tz_localize(None))
    skipped = pd.Timestamp("2024-03-31 02:00")
    empty = pd.concat([local, pd.DataFrame(np.nan, [skipped], local.columns)]).sort_index()
    same(read_frame(empty, tz="Europe/Berlin"), read_frame(wide(index)))
    fails(
        empty.fillna(1.0), tz="Europe/Berlin", match="2024-03-31 02:00:00, which the clock .* skips"
    )


def test_which_of_two_hours_comes_first_must_be_told():
    index = pd.date_range("2024-10-26", periods=60, freq="h", tz="Europe/Berlin")
    local = wide(index).set_axis(index.tz_localize(None))
    fails(
        local.sample(frac=1, random_state=0), tz="Europe/Berlin", match="not in the order of time"
    )


def test_stamps_with_a_zone_are_converted_to_the_one_asked_for():
    index = pd.date_range("2024-03-30", periods=60, freq="h", tz="UTC")
    table = read_frame(wide(index), tz="Asia/Tokyo")
    assert table.clock.stamps(0, 60).equals(index.tz_convert("Asia/Tokyo"))


def test_objects_of_several_offsets_are_one_zone_or_refused():
    index = pd.date_range("2024-03-30", periods=60, freq="h", tz="Europe/Berlin")
    fixed = [x.tz_convert(f"UTC+0{int(x.utcoffset().seconds / 3600)}:00") for x in index]
    frame = wide(index).reset_index(drop=True)
    frame.insert(0, "ds", pd.Series(fixed, dtype=object))
    table = read_frame(frame)
    assert table.clock == read_frame(wide(index)).clock
    assert "are read as Europe/Berlin" in table.notes[0]
    frame["ds"] = frame["ds"].sample(frac=1, random_state=0).to_numpy()
    frame.loc[0, "ds"] = index[0].tz_convert("Asia/Tokyo")
    fails(frame, match="several zones")
    frame.loc[0, "ds"] = pd.Timestamp("2024-03-30")
    fails(frame, match="some have none")


# -------------------------------------------------------------------------------- cells and roles


def plain(length=12):
    return wide(pd.date_range("2024-01-01", periods=length, freq="h"))


def test_nullable_masked_decimal_and_text_numbers_are_numbers():
    frame = plain(4)
    values = [1.5, 2.0, np.nan, 4.0]
    columns = {
        "nullable": pd.array([1.5, 2.0, None, 4.0], dtype="Float64"),
        "arrow": pd.array([1.5, 2.0, None, 4.0], dtype="double[pyarrow]"),
        "masked": pd.Series(np.ma.array([1.5, 2.0, 9.0, 4.0], mask=[0, 0, 1, 0])).to_numpy(),
        "text": ["1.5", "2", None, "4.0"],
        "objects": np.array([1.5, 2, None, 4], dtype=object),
        "category": pd.Categorical([1.5, 2.0, None, 4.0]),
        "sparse": pd.arrays.SparseArray(values),
    }
    table = read_frame(pd.DataFrame(columns, frame.index))
    assert table.names == list(columns)
    np.testing.assert_array_equal(table.values, np.array([values] * len(columns)).T)


def test_covariates_stand_with_the_target_and_are_no_series():
    frame = plain().assign(
        warm=np.arange(12.0),
        kind=pd.Categorical(["a", "b", None] * 4),
        holiday=[True, False] * 6,
        count=pd.array([1, None] * 6, dtype="Int64"),
    )
    roles = Roles(futr=("warm", "kind", "holiday"), hist=("count",))
    table = read_frame(frame.drop(index=frame.index[4])[::-1], roles=roles)
    assert table.names == ["s0", "s1"] and list(table.past) == ["count"]
    np.testing.assert_array_equal(table.future["warm"], [0, 1, 2, 3, np.nan, *range(5, 12)])
    assert table.future["kind"].tolist() == ["a", "b", None, "a", None, None, *["a", "b", None] * 2]
    assert table.future["holiday"].dtype == table.past["count"].dtype == np.float64
    rows = long(frame[["s0", "s1"]])
    for name in ("warm", "kind", "holiday", "count"):
        rows[name] = np.tile(frame[name].astype(object), 2)
    spread = read_frame(rows, roles=roles)
    assert spread.future["kind"].shape == spread.values.shape
    assert spread.future["kind"][:, 1].tolist() == ["a", "b", None] * 4
    assert spread.notes == []
    assert "without a role were not read: warm, kind" in read_frame(rows).notes[0]


def test_other_names_of_the_roles():
    frame = plain()
    rows = long(frame).rename(columns={"unique_id": "site", "ds": "time", "y": "load"})
    same(read_frame(rows, roles=Roles("site", "time", "load")), read_frame(frame))


def test_columns_of_one_name_get_their_position():
    frame = plain().set_axis(["a", "a"], axis=1)
    assert read_frame(frame).names == ["a_0", "a_1"]


# ------------------------------------------------------------------------------- planted defects


def with_index(frame, **changes):
    index = frame.index.tolist()
    for row, stamp in changes.items():
        index[int(row[1:])] = pd.Timestamp(stamp) if stamp else pd.NaT
    return frame.set_axis(pd.DatetimeIndex(index))


@settings(max_examples=30)
@given(indices(least=15, freqs=["15min", "h", "D", "B", "W-SUN", "ME", "QS", "YE"]), st.data())
def test_each_planted_defect_is_named(case, data):
    _, index = case
    frame = wide(pd.DatetimeIndex(list(index)))
    row = data.draw(st.integers(1, len(frame) - 2))
    for rows in (frame, long(frame)):
        twice = pd.concat([rows, rows.iloc[[row]]])
        fails(twice, match=r"has the stamp .* twice; keep one row" if index.tz else r"twice")
        text = rows.astype({rows.columns[-1]: object})
        text.iloc[row, -1] = "n/a?"
        fails(text, match=rf"has 'n/a\?' in row {row + 1} \(.* is not numeric")
        infinite = rows.copy()
        infinite.iloc[row, -1] = -np.inf
        fails(infinite, match=rf"has -inf in row {row + 1} .*values must be below 1e")
    shifted = frame.index.tolist()
    shifted[row] += pd.Timedelta("61s")
    moved = frame.set_axis(pd.DatetimeIndex(shifted))
    fails(moved, match=r"is not regular at .*: after .* comes .*; correct the stamps, or give freq")
    gap = frame.iloc[[0, 1, 2, *range(len(frame) - 3, len(frame))]]
    fails(gap, freq=case[0], match=r"has only 6 of the \d+ rows at .*write at least half")
    finer = {"h": "30min", "15min": "5min"}.get(case[0], "h")
    fails(frame, freq=finer, match=r"apart throughout|is not regular|only")


@pytest.mark.parametrize(
    ("frame", "options", "match"),
    [
        (plain().iloc[:0], {}, "is empty"),
        (plain()[[]], {}, "has no series"),
        (plain().to_numpy(), {}, "kind ndarray; give a DataFrame"),
        (np.ma.array(plain()), {}, "kind MaskedArray; give a DataFrame"),
        ({"a": [1]}, {}, "kind dict"),
        (plain() > 0, {}, "column 's0' of the frame holds truth values"),
        (plain() * 1j, {}, "column 's0' of the frame holds complex numbers"),
        (plain().assign(s1=pd.Timestamp("2024")), {}, "column 's1' of the frame holds times"),
        (plain().assign(s1=[1.0, True] * 6).astype({"s1": object}), {}, "has True in row 2"),
        (plain() * np.nan, {}, "every value of the frame is missing"),
        (plain().iloc[[1, 0]], {}, "cannot be told from 2 time steps; give freq"),
        (plain().set_axis(range(12)), {}, "holds numbers such as"),
        (
            plain(3).set_axis(["2024-01-01", "2024-01-02", 3]),
            {},
            "row 3 .* has 3 where a timestamp",
        ),
        (plain(3).set_axis(np.array(["3000-01-01"] * 3, "M8[s]")), {}, "after 2261"),
        (with_index(plain(), r4=None), {}, "row 5 of the frame has no timestamp"),
        (plain(), {"freq": "moon"}, "frequency 'moon' is not known"),
        (plain(), {"freq": "30min"}, "2 steps of 30min apart throughout.* such as freq=h"),
        (plain(), {"freq": "D"}, "not regular at D: after 2024-01-01 00:00:00 comes"),
        (
            wide(pd.date_range("2024-06-01", periods=9)),
            {"freq": "B"},
            "not regular at B: it begins at 2024-06-01 00:00:00; .* such as freq=D",
        ),
        (plain(), {"tz": "Mars"}, "time zone 'Mars' is not known"),
        (with_index(plain(), r4="2024-01-01 04:10"), {}, "regular at h: after .* comes .*04:10:00"),
        (with_index(plain(), r4="2024-01-01 03:00"), {}, "2024-01-01 03:00:00 twice"),
        (plain(), {"roles": Roles(id_col="site")}, "no column 'site'; its columns are s0, s1"),
        (plain(), {"roles": Roles(futr=("warm",))}, "no column 'warm'"),
        (long(plain()), {"roles": Roles(futr=("y",))}, "'y' of the frame has two roles"),
        (plain(), {"roles": Roles(futr=("s0",), hist=("s0",))}, "has two roles"),
        (long(plain()).drop(columns="y"), {}, "no column 'y'"),
        (long(plain()).replace("s1", None), {}, "row 13 of the frame names no series"),
        (
            long(plain()).rename(columns={"unique_id": "id"}),
            {},
            "repeat and its column 'id' has no numbers",
        ),
    ],
)
def test_mistakes_are_one_sentence(frame, options, match):
    fails(frame, match=match, **options)


@pytest.mark.parametrize("freq", [None, "h"])
def test_half_of_the_rows_may_be_absent_and_no_more(freq):
    kept = [0, 1, 2, 5, 6, 9, 11, 12, 13, 16, 20, 21, 24, 25, 27, 30, 31, 34, 38, 39]
    assert len(kept) == 20
    frame = plain(40).iloc[kept]
    assert np.isfinite(read_frame(frame, freq=freq).values[:, 0]).sum() == 20
    fails(frame.drop(index=frame.index[5]), freq=freq, match="has only 19 of the 40 rows at h")


def test_series_that_begin_late_or_end_early_are_counted():
    rows = long(wide(plain().index, dims=4)).drop(index=[0, 23, 24, 26])
    assert read_frame(rows).notes == [
        "1 of 45 rows of the frame were absent and are read as missing values",
        "3 of 4 series of the frame begin later or end earlier than others, and miss the values there",
    ]


def test_a_series_of_which_most_is_absent_is_named():
    rows = long(plain(40))
    sparse = rows[(rows.unique_id == "s0") | (np.arange(80) % 8 == 0)]
    fails(sparse, match="series s1 of the frame has only 5 of 33 rows")
