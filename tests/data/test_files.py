"""Files as tables: names, numbers and dates of a CSV are read right however it is written, or asked for."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from timediff.data.readers.layout import Roles
from timediff.data.table import read_file, read_frame
from timediff.errors import InputError

pytestmark = pytest.mark.filterwarnings("error")
EXAMPLE = Path(__file__).resolve().parents[2] / "datasets" / "example"


def wide(index, dims=2, seed=0):
    values = np.random.default_rng(seed).normal(size=(len(index), dims)) * 1000
    return pd.DataFrame(values.round(3), index, [f"s{i}" for i in range(dims)])


def hours(count=30, start="2024-06-20"):
    return wide(pd.date_range(start, periods=count, freq="h"))


def text_of(
    frame,
    *,
    separator=",",
    decimal=".",
    form="%Y-%m-%d %H:%M:%S",
    header="time",
    tail="",
    head_tail="",
    end="\n",
    quote="",
):
    """A CSV as one of many programs writes it; `header` None leaves the name of the stamps away."""
    names = [*([] if header is None else [header]), *frame.columns]
    lines = [separator.join(f"{quote}{name}{quote}" for name in names) + head_tail]
    for stamp, row in zip(frame.index, frame.to_numpy(), strict=True):
        cells = ["" if np.isnan(x) else repr(float(x)).replace(".", decimal) for x in row]
        cells = [stamp.strftime(form), *cells]
        lines.append(separator.join(f"{quote}{cell}{quote}" for cell in cells) + tail)
    return end.join(lines) + end


@pytest.fixture
def written(tmp_path):
    def write(text, name="x.csv"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def fails(path, *, match, **options):
    with pytest.raises(InputError, match=match) as error:
        read_file(path, **options)
    sentence = str(error.value).replace(str(path), "x.csv")
    assert "\n" not in sentence and len(sentence) < 400 and not sentence.endswith(".")


def same(one, other):
    assert one.clock == other.clock and one.names == other.names
    np.testing.assert_array_equal(one.values, other.values)


@settings(max_examples=60)
@given(
    dims=st.integers(1, 4),
    separator=st.sampled_from([",", ";", "\t", "|"]),
    comma=st.booleans(),
    form=st.sampled_from(
        [
            "%Y-%m-%d %H:%M:%S",
            "%Y-%m-%dT%H:%M:%S",
            "%d.%m.%Y %H:%M",
            "%m/%d/%Y %I:%M %p",
            "%Y/%m/%d %H:%M",
        ]
    ),
    header=st.sampled_from(["time", "", None]),
    tail=st.sampled_from(["none", "rows", "all"]),
    end=st.sampled_from(["\n", "\r\n"]),
    quoted=st.booleans(),
    mark=st.booleans(),
    missing=st.sets(st.integers(0, 29), max_size=20),
)
def test_a_csv_is_read_as_it_was_meant(
    tmp_path_factory, dims, separator, comma, form, header, tail, end, quoted, mark, missing
):
    frame = wide(pd.date_range("2024-06-20", periods=30, freq="h"), dims)
    frame.iloc[list(missing), 0] = np.nan
    decimal = "," if comma and separator != "," else "."
    if header is None:
        tail = "none"
    text = text_of(
        frame,
        separator=separator,
        decimal=decimal,
        form=form,
        header=header,
        tail=separator * (tail != "none"),
        head_tail=separator * (tail == "all"),
        end=end,
        quote='"' * quoted,
    )
    path = tmp_path_factory.mktemp("csv") / "x.csv"
    path.write_bytes(b"\xef\xbb\xbf" * mark + text.encode())
    table = read_file(path)
    same(table, read_frame(frame))
    assert any("decimal comma" in note for note in table.notes) == (decimal == ",")
    assert any("empty field" in note for note in table.notes) == (tail == "rows")


@settings(max_examples=60)
@given(
    start=st.datetimes(pd.Timestamp("2001-01-01"), pd.Timestamp("2030-01-01")),
    freq=st.sampled_from(["15min", "h", "6h", "D", "B", "W-WED", "MS", "ME", "QS"]),
    count=st.integers(3, 60),
    day_first=st.booleans(),
    separator=st.sampled_from("./-"),
    drop=st.sets(st.integers(1, 58), max_size=10),
)
@example(pd.Timestamp("2024-06-05"), "h", 24, True, ".", set())
@example(pd.Timestamp("2024-06-01"), "D", 12, True, ".", set())
def test_the_order_of_day_and_month_is_right_or_asked_for(
    tmp_path_factory, start, freq, count, day_first, separator, drop
):
    index = pd.date_range(
        start.replace(hour=0, minute=0, second=0, microsecond=0), periods=count, freq=freq
    )
    frame = wide(index)
    if len(drop) < count / 4:
        frame = frame.drop(index=[index[i] for i in drop if i < count - 1])
    order = "%d{0}%m{0}%Y" if day_first else "%m{0}%d{0}%Y"
    path = tmp_path_factory.mktemp("csv") / "x.csv"
    path.write_text(text_of(frame, form=order.format(separator) + " %H:%M"))
    told = read_file(path, day_first=day_first, freq=freq)
    kept = told.clock.stamps(0, len(told.values)).isin(frame.index)
    assert kept.sum() == len(frame)
    try:
        table = read_file(path, freq=freq)
    except InputError as error:
        assert "give day_first as true or false" in str(error)
        assert (frame.index.day <= 12).all()
    else:
        same(table, told)


def test_one_day_that_is_read_two_ways_is_asked_for_and_two_days_are_not(written):
    for days, asked in ((1, True), (2, False)):
        frame = hours(24 * days, "2024-06-05")
        path = written(text_of(frame, form="%d.%m.%Y %H:00"))
        if asked:
            fails(
                path,
                match=r"'05.06.2024 00:00', may have the day or the month first; give day_first",
            )
        else:
            assert "read with the day first" in read_file(path).notes[0]
        same(read_file(path, day_first=True), read_frame(frame))


@pytest.mark.parametrize(
    ("freq", "form"),
    [
        ("YS", "%Y"),
        ("MS", "%Y-%m"),
        ("D", "%Y%m%d"),
        ("MS", "%b %Y"),
        ("D", "%d %B %Y"),
        ("D", "%A %d %B %Y"),
        ("h", "%d-%b-%Y %H:%M"),
        ("h", "%Y-%m-%dT%H:%MZ"),
        ("h", "%Y-%m-%d %H:%M+05:30"),
        ("h", "%d.%m.%Y %H:%M +0530"),
    ],
)
def test_other_ways_to_write_a_stamp(written, freq, form):
    tz = {"Z": "UTC", "0": "UTC+05:30"}.get(form[-1])
    frame = wide(pd.date_range("2024-06-20", periods=30, freq=freq, tz=tz))
    same(read_file(written(text_of(frame, form=form))), read_frame(frame))


def test_quarters_are_read(written):
    index = pd.date_range("2020-01-01", periods=12, freq="QS")
    text = "time,a\n" + "".join(f"{x.year}Q{x.quarter},1\n" for x in index)
    assert read_file(written(text)).clock.stamps(0, 12).equals(index)


def test_years_of_two_digits_are_asked_for(written):
    path = written(text_of(hours(), form="%d.%m.%y %H:%M"))
    fails(path, match="do not say which part is the year")
    same(read_file(path, day_first=True), read_frame(hours()))


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York"])
@pytest.mark.parametrize("day", ["2024-03-09", "2024-03-30", "2024-10-26", "2024-11-02"])
def test_offsets_of_daylight_saving_come_back_as_they_were_written(written, zone, day):
    frame = wide(pd.date_range(day, periods=60, freq="h", tz=zone))
    path = written(frame.to_csv())
    table = read_file(path, tz=zone)
    same(table, read_frame(frame))
    if frame.index[0].utcoffset() != frame.index[-1].utcoffset():
        same(read_file(path), table)
        assert f"are read as {zone}" in read_file(path).notes[0]
    assert [str(x) for x in read_file(path).clock.stamps(0, 60)] == [str(x) for x in frame.index]


def test_parquet_and_feather_and_long_files(written, tmp_path):
    frame = hours()
    expected = read_frame(frame)
    frame.to_parquet(tmp_path / "x.parquet")
    frame.rename_axis("time").reset_index().to_feather(tmp_path / "x.feather")
    rows = frame.rename_axis("ds").reset_index().melt("ds", var_name="unique_id", value_name="y")
    rows.to_csv(tmp_path / "long.csv", index=False)
    for name in ("x.parquet", "x.feather", "long.csv"):
        same(read_file(tmp_path / name), expected)


def test_names_of_series_stay_texts(written):
    rows = [f"{site},{x},{i}" for site in ("007", "NA", "1e5") for i, x in enumerate(hours().index)]
    path = written("site,when,load\n" + "\n".join(rows))
    assert read_file(path, roles=Roles("site", "when", "load")).names == ["007", "NA", "1e5"]


def test_thousands_and_decimals(written):
    stamps = [f"{x}" for x in hours(9).index]

    def column(separator, cells):
        rows = [f"{x}{separator}{cell}" for x, cell in zip(stamps, cells, strict=True)]
        return written(f"time{separator}a\n" + "\n".join(rows))

    expected = [1234567.5 + i for i in range(9)]
    points = [f"1.234.5{67 + i},5" for i in range(9)]
    commas = [f"1,234,5{67 + i}.5" for i in range(9)]
    for path in (column(";", points), column(",", [f'"{x}"' for x in points]), column(";", commas)):
        np.testing.assert_array_equal(read_file(path).values[:, 0], expected)
    unclear = column(",", [f'"1,23{i}"' for i in range(9)])
    fails(unclear, match="may have a decimal comma or commas between thousands; give decimal")
    assert read_file(unclear, decimal=",").values[3, 0] == 1.233


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "has no rows under a header"),
        ("time,a\n", "has no rows under a header"),
        ("time\n2024-01-01\n2024-01-02\n", "has no series after its first column"),
        ("Load\nUnit: kW\ntime;a;b\n2024-01-01;1;2\n2024-01-02;1;2\n2024-01-03;1;2\n", "line 3 of"),
        ("time,clock,a\n2024-01-01,00:00,1\n2024-01-01,01:00,2\n", "time of day into the column"),
        ("day,shop,a\n2024-01-01,x,1\n2024-01-01,y,2\n", "as in a long table; name the columns"),
        (
            "time,a,b\n2024-01-01,1,2\n2024-01-02,1\n2024-01-03,1,2\n",
            "line 3 .* has 2 fields where 3",
        ),
        ("time,a,b\n2024-01-01,1,2\n2024-01-02,1,2,3\n2024-01-03,1,2\n", "line 3 .* has 4 fields"),
        ("a\n2024-01-01,1,\n2024-01-02,2,\n2024-01-03,3,\n", "has 3 fields|has 2 fields"),
        ("2024-01-01,1\n2024-01-02,2\n2024-01-03,2\n", "first line .* begins with '2024-01-01'"),
        ("time,a\n2024-01-01,1\n2024-01-02,x\n2024-01-03,1\n", "'x' in row 2 .*is not numeric"),
        (
            "time,a\n2024-01-01,1\n2024-01-02,-inf\n2024-01-03,1\n",
            "-inf in row 2 .*; values must be below",
        ),
        ("time,a\n2024-01-01,1\nlater,2\n2024-01-03,1\n", "row 2 .* has 'later' where a timestamp"),
        ("time,a\n2024-01-01,1\n,2\n2024-01-03,1\n", "row 2 .* has no timestamp"),
        (
            "time,a\n31.01.2024 23:00,1\n31.01.2024 24:00,2\n",
            "'31.01.2024 24:00' where a timestamp",
        ),
        ("time,a\n30.02.2024,1\n31.02.2024,2\n", "'30.02.2024' where a timestamp"),
        ("time,a\n13/01/2024,1\n01/13/2024,2\n", "not all written alike"),
        ("time,a\n1,1\n2,2\n3,3\n", "numbers such as 1"),
        (
            "site,time,load\nnorth,2024-01-01,1\nnorth,2024-01-02,2\n",
            "'north' .*name the time column",
        ),
        ("time,a\n2024-01-01 00:00Z,1\n2024-01-01 01:00,2\n", "some have none"),
        ("time,a\n2024-01-01 00:00Z,1\n2024-01-01 04:00+03:00,2\n", "several zones"),
        ("time,a\n2024-01-01,\n2024-01-02,\n2024-01-03,\n", "every value .* is missing"),
    ],
)
def test_mistakes_in_a_csv_are_one_sentence(written, text, match):
    fails(written(text), match=match)


def test_files_that_cannot_be_read(written, tmp_path):
    fails(tmp_path / "absent.csv", match="does not exist")
    fails(tmp_path, match="has the ending ''")
    fails(written("a,b\n", "x.xlsx"), match=r"ending '.xlsx'; give a file that ends in .csv")
    fails(written(b"PAR1 not really", "x.parquet"), match="cannot be read")
    fails(written(b"not really", "x.feather"), match="cannot be read")


def test_empty_fields_at_the_end_of_some_rows_do_not_move_names(written):
    lines = text_of(hours()).splitlines()
    lines[5] += ","
    table = read_file(written("\n".join(lines)))
    same(table, read_frame(hours()))
    assert table.notes[0].startswith("the empty field at the end of 1 row")


def test_the_example_is_what_its_script_writes_and_what_its_card_says(tmp_path):
    card = (EXAMPLE / "README.md").read_text()
    code = (
        f"import sys; sys.path.insert(0, {str(EXAMPLE)!r}); import prepare, pathlib\n"
        f"prepare.with_gaps(prepare.net_load()).to_csv({str(tmp_path / 'x.csv')!r}, lineterminator='\\n')"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    path = EXAMPLE / "homes.csv"
    assert (tmp_path / "x.csv").read_bytes() == path.read_bytes()
    assert path.stat().st_size < 400_000
    table = read_file(path)
    assert table.values.shape == (3384, 8) and "3,384 hours" in card
    absent = int(np.isnan(table.values).all(axis=1).sum())
    assert f"{absent} rows are absent" in card
    empty = int(np.isnan(table.values).sum()) - 8 * absent
    assert f"{empty} cells are empty" in card
    assert table.clock.tz == "America/Los_Angeles"
    first, last = table.clock.stamps(0, len(table.values))[[0, -1]]
    assert f"{first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M}" in card
    assert {x.utcoffset().total_seconds() / 3600 for x in (first, last)} == {-7.0}
