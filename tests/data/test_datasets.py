"""Named sets, folders in both layouts, the embedded set, and one clear sentence per mistake."""

import gzip
import json
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from timediff.cli.datasets import main
from timediff.data.dataset import SPECS, list_datasets, load_dataset
from timediff.data.readers.contents import checksum, unique_names
from timediff.data.readers.gluonts_folder import quiet_business_days
from timediff.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared" / "data"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason=f"{SHARED} is not there")
DIMS, HORIZON, WINDOWS, LENGTH = 3, 4, 2, 60


@pytest.fixture(autouse=True)
def no_home(tmp_path_factory, monkeypatch):
    """An empty home and no TIMEDIFF_DATA: no test sees what the machine happens to have."""
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
    monkeypatch.delenv("TIMEDIFF_DATA", raising=False)


def noise(dims, length, seed=0):
    return np.random.default_rng(seed).normal(size=(dims, length))


def write_gluonts(
    folder, values, *, train_length, gz=False, freq="H", start="2020-01-01", cut=None
):
    """`values [D, T]` in the GluonTS layout; test rows keep their last `cut` steps."""
    ends = range(train_length + HORIZON, values.shape[1] + 1, HORIZON)
    splits = {
        "train": [(0, train_length)],
        "test": [(end - cut if cut else 0, end) for end in ends],
    }
    for split, ranges in splits.items():
        lines = "".join(
            json.dumps(
                {
                    "start": str(pd.Timestamp(start) + pd.Timedelta(first, "h")),
                    "target": [None if np.isnan(v) else float(v) for v in row[first:end]],
                }
            )
            + "\n"
            for first, end in ranges
            for row in values
        ).encode()
        (folder / split).mkdir(parents=True)
        name = "data.json.gz" if gz else "data.json"
        (folder / split / name).write_bytes(gzip.compress(lines) if gz else lines)
    meta = {"freq": freq, "prediction_length": HORIZON}
    (folder / "metadata.json").write_text(json.dumps(meta))
    return folder


def frame(dims=DIMS, length=LENGTH, freq="h", seed=0):
    index = pd.date_range("2020-01-01", periods=length, freq=freq)
    return pd.DataFrame(noise(dims, length, seed).T, index, [f"s{i}" for i in range(dims)])


def write_wide(folder, table, *, csv=False, **meta):
    folder.mkdir(parents=True, exist_ok=True)
    if csv:
        table.to_csv(folder / "data.csv")
    else:
        table.to_parquet(folder / "data.parquet")
    meta = {"freq": "H", "prediction_length": HORIZON, "rolling_windows": WINDOWS} | meta
    meta = {key: value for key, value in meta.items() if value is not None}
    (folder / "meta.json").write_text(json.dumps(meta))
    return folder


def fails(*args, match, **kwargs):
    with pytest.raises(InputError, match=match) as error:
        load_dataset(*args, **kwargs)
    assert "\n" not in str(error.value)
    return str(error.value)


# ------------------------------------------------------------------------------- wide tables


@pytest.mark.parametrize("csv", [False, True])
def test_wide_table_splits_into_train_and_rolling_windows(tmp_path, csv):
    table = frame()
    table.iloc[3, 1] = np.nan
    folder = write_wide(tmp_path / "mine", table, csv=csv, source="me", licence="CC0")
    loaded = load_dataset(str(folder))
    held_out = WINDOWS * HORIZON
    (train,) = loaded.train
    np.testing.assert_array_equal(train["target"], table.to_numpy().T[:, : LENGTH - held_out])
    assert train["target"].dtype == np.float64
    assert train["start"] == pd.Period("2020-01-01", freq="h")
    assert [e["target"].shape for e in loaded.test] == [
        (DIMS, LENGTH - held_out + k * HORIZON) for k in range(1, WINDOWS + 1)
    ]
    np.testing.assert_array_equal(loaded.test[-1]["target"], table.to_numpy().T)
    assert loaded.columns == ["s0", "s1", "s2"]
    assert (loaded.name, loaded.source, loaded.licence) == ("mine", "me", "CC0")
    assert loaded.published == [] and loaded.aggregates == {} and not loaded.verified


@given(
    windows=st.integers(1, 5),
    horizon=st.integers(1, 6),
    extra=st.integers(0, 10),
)
def test_truth_windows_tile_the_end_of_the_table(tmp_path_factory, windows, horizon, extra):
    table = frame(length=(windows + 1) * horizon + extra)
    folder = tmp_path_factory.mktemp("tile")
    write_wide(folder, table, prediction_length=horizon, rolling_windows=windows)
    loaded = load_dataset(str(folder))
    truth = [entry["target"][:, -horizon:] for entry in loaded.test]
    whole = np.concatenate([loaded.train[0]["target"], *truth], axis=1)
    np.testing.assert_array_equal(whole, table.to_numpy().T)


def test_parquet_and_csv_give_the_same_checksum_which_any_change_moves(tmp_path):
    table = frame().round(3)

    def digest(name, changed, **meta):
        return load_dataset(str(write_wide(tmp_path / name, changed, **meta))).checksum

    base = digest("a", table)
    assert digest("b", table, csv=True) == base
    assert digest("c", table, freq="h") == base
    value, later, order = table.copy(), table.shift(freq="h"), table[["s1", "s0", "s2"]]
    value.iloc[-1, 0] += 1e-3
    changed = [digest("d", value), digest("e", later), digest("f", order)]
    changed.append(digest("g", table, rolling_windows=1))
    assert len({base, *changed}) == 5


def test_known_checksum_of_a_folder_is_compared(tmp_path):
    folder = write_wide(tmp_path / "x", frame())
    digest = load_dataset(str(folder)).checksum
    write_wide(tmp_path / "x", frame(), checksum=digest)
    assert load_dataset(str(folder)).verified
    write_wide(tmp_path / "x", frame(seed=1), checksum=digest)
    with pytest.warns(UserWarning, match="not those of the known"):
        assert not load_dataset(str(folder)).verified


def test_timestamps_may_be_a_column(tmp_path):
    table = frame()
    expected = load_dataset(str(write_wide(tmp_path / "a", table))).checksum
    for name, time in (("b", table.index), ("c", table.index.astype(str))):
        moved = table.reset_index(drop=True)
        moved.insert(0, "time", time)
        assert load_dataset(str(write_wide(tmp_path / name, moved))).checksum == expected


@pytest.mark.filterwarnings("ignore:Period with BDay")
@pytest.mark.parametrize(
    ("pandas_freq", "freq"),
    [("15min", "15T"), ("B", "B"), ("D", "D"), ("W", "W"), ("MS", "MS"), ("ME", "M"), ("QS", "Q")],
)
def test_frequencies(tmp_path, pandas_freq, freq):
    loaded = load_dataset(str(write_wide(tmp_path / "x", frame(freq=pandas_freq), freq=freq)))
    assert loaded.freq == freq
    start = loaded.train[0]["start"]
    assert start.start_time <= pd.date_range("2020-01-01", periods=1, freq=pandas_freq)[0]
    assert (start + 1).start_time > start.start_time


def test_aggregates(tmp_path):
    net = {"unit": "kW", "weights": {"s2": -0.5, "s0": 1}}
    loaded = load_dataset(str(write_wide(tmp_path / "x", frame(), aggregates={"net": net})))
    np.testing.assert_array_equal(loaded.aggregates["net"].weights, [1, 0, -0.5])
    assert loaded.aggregates["net"].unit == "kW" and (loaded.unit, loaded.zone) == ("", "")
    assert load_dataset(str(write_wide(tmp_path / "y", frame(), unit="MW"))).unit == "MW"
    for bad in ({"net": {"unit": "kW", "weights": {"s9": 1}}}, {"net": {"weights": {}}}, [1]):
        folder = write_wide(tmp_path / "x", frame(), aggregates=bad)
        fails(str(folder), match=r"aggregates in .*meta\.json")


def test_windows_keeps_the_last_ones_and_the_same_training_end(tmp_path):
    folder = write_wide(tmp_path / "x", frame(), rolling_windows=4)
    whole, part = load_dataset(str(folder)), load_dataset(str(folder), windows=2)
    assert part.checksum == whole.checksum
    assert part.train[0]["target"].shape == whole.train[0]["target"].shape
    assert [e["target"].shape for e in part.test] == [e["target"].shape for e in whole.test[2:]]
    fails(str(folder), windows=5, match="has 4 test windows, 5 were asked for")
    fails(str(folder), windows=0, match="at least 1")


def changed(table, **cells):
    """The table with some stamps replaced, by row number."""
    index = table.index.tolist()
    for row, stamp in cells.items():
        index[int(row[1:])] = pd.Timestamp(stamp) if stamp else pd.NaT
    return table.set_axis(pd.DatetimeIndex(index))


@pytest.mark.parametrize(
    ("table", "meta", "match"),
    [
        (frame(), {"freq": None}, r"meta\.json lacks freq: write"),
        (frame(), {"prediction_length": None}, r"lacks prediction_length"),
        (frame(), {"rolling_windows": None}, r"lacks rolling_windows"),
        (frame(), {"freq": "fortnight"}, "frequency 'fortnight' is not known"),
        (frame(), {"freq": 3}, "frequency 3 is not known"),
        (frame(), {"prediction_length": 0}, "prediction_length in .* found 0"),
        (frame(), {"prediction_length": -4}, "prediction_length in .* found -4"),
        (frame(), {"prediction_length": "24"}, "prediction_length in .* found '24'"),
        (frame(), {"rolling_windows": 0}, "rolling_windows in .* found 0"),
        (frame(), {"rolling_windows": True}, "rolling_windows in .* found True"),
        (frame(length=11), {}, "has 11 rows, but 2 windows of 4 steps .* need 12"),
        (frame(), {"freq": "D"}, "2020-01-01 00:00:00 comes 2020-01-01 01:00:00"),
        (frame(), {"freq": "30min"}, "lie 2 steps of 30min apart throughout.* freq=h"),
        (changed(frame(), r7="2020-01-01 07:10"), {}, "comes 2020-01-01 07:10:00"),
        (changed(frame(), r7="2020-01-01 06:00"), {}, "has the stamp 2020-01-01 06:00:00 twice"),
        (changed(frame(), r7=None), {}, "row 8 of .* has no timestamp"),
        (frame().assign(s1="high"), {}, "column 's1' of .* is not numeric"),
        (frame().assign(s1=1e39), {}, "column 's1' of .* values must be below"),
        (frame().assign(s1=np.inf), {}, "column 's1' of .* values must be below"),
        (frame() * np.nan, {}, "every value of .* is missing"),
        (frame(dims=0), {}, "has no series"),
        (frame().reset_index(drop=True), {}, "holds numbers"),
        (frame(length=0), {}, "has no rows"),
    ],
)
@pytest.mark.parametrize("csv", [False, True])
def test_mistakes_in_a_wide_table(tmp_path, table, meta, match, csv):
    fails(str(write_wide(tmp_path / "x", table, csv=csv, **meta)), match=match)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "has no rows"),
        ("time,a\nMonday,1\n2020-01-01,2\n", "row 1 .* 'Monday' where a timestamp"),
        ("time,a\n1,1\n2,2\n", "numbers such as 1"),
        ("time,a\n01/13/2022,1\n13/01/2022,2\n", "not all written alike, .* as 2024-01-31"),
        (
            "time,a\n2020-01-01 00:00+01:00,1\n2020-01-01 01:00+02:00,2\n",
            "several zones",
        ),
    ],
)
def test_mistakes_in_the_text_of_a_csv(tmp_path, text, match):
    folder = write_wide(tmp_path / "x", frame(), csv=True)
    (folder / "data.csv").write_text(text)
    fails(str(folder), match=match)
    fails(str(folder / "data.csv"), match="give a horizon")


@pytest.mark.parametrize("csv", [False, True])
@pytest.mark.parametrize(
    ("table", "warning"),
    [
        (frame()[::-1], "rows of .* were sorted by time"),
        (frame().drop(frame().index[7]), "1 of 60 rows of .* were absent"),
    ],
)
def test_rows_out_of_order_or_absent_are_repaired_with_a_warning(tmp_path, table, warning, csv):
    folder = write_wide(tmp_path / "x", table, csv=csv)
    with pytest.warns(UserWarning, match=warning):
        loaded = load_dataset(str(folder))
    np.testing.assert_array_equal(
        loaded.test[-1]["target"], table.reindex(frame().index).to_numpy().T
    )


@pytest.mark.parametrize("csv", [False, True])
def test_a_table_in_a_zone_starts_at_its_standard_time(tmp_path, csv):
    table = frame().tz_localize("UTC").tz_convert("Europe/Berlin")
    loaded = load_dataset(str(write_wide(tmp_path / "x", table, csv=csv)))
    assert loaded.train[0]["start"] == pd.Period("2020-01-01 01:00", freq="h")


def test_missing_and_unreadable_files(tmp_path):
    folder = write_wide(tmp_path / "x", frame())
    (folder / "data.parquet").write_bytes(b"PAR1 not really")
    fails(str(folder), match=r"data\.parquet cannot be read")
    (folder / "meta.json").write_text('{"freq": ')
    fails(str(folder), match=r'meta\.json cannot be read as JSON .*"rolling_windows"')
    (folder / "meta.json").write_text("[]")
    fails(str(folder), match="does not hold a JSON object")
    (folder / "meta.json").unlink()
    fails(str(folder), match=r'meta\.json is missing: write .*"prediction_length"')
    (folder / "data.parquet").unlink()
    fails(str(folder), match="holds no dataset: put data.parquet")


# ----------------------------------------------------------------------------- GluonTS layout


@pytest.mark.parametrize("gz", [False, True])
def test_gluonts_layout_is_grouped(tmp_path, gz):
    values = noise(DIMS, LENGTH + 3 * HORIZON)
    values[1, :5] = np.nan
    folder = write_gluonts(tmp_path / "mine", values, train_length=LENGTH, gz=gz, cut=40)
    loaded = load_dataset(str(folder))
    np.testing.assert_array_equal(loaded.train[0]["target"], values[:, :LENGTH])
    for k, entry in enumerate(loaded.test, start=1):
        end = LENGTH + k * HORIZON
        np.testing.assert_array_equal(entry["target"], values[:, end - 40 : end])
        assert entry["start"] == pd.Period("2020-01-01", freq="h") + end - 40
    assert len(loaded.test) == 3
    assert (loaded.name, loaded.freq, loaded.columns) == ("mine", "H", ["0", "1", "2"])


@needs_shared
@pytest.mark.filterwarnings("ignore:Period:FutureWarning")
def test_exchange_rate_equals_what_gluonts_makes_of_it():
    common = pytest.importorskip("gluonts.dataset.common")
    grouper = pytest.importorskip("gluonts.dataset.multivariate_grouper").MultivariateGrouper
    loaded = load_dataset("exchange_rate", data_dir=SHARED, download=False)
    folder = SHARED / "exchange_rate_nips"
    theirs = common.load_datasets(folder, folder / "train", folder / "test")
    train = next(iter(grouper(max_target_dim=8)(theirs.train)))
    tests = list(grouper(max_target_dim=8, num_test_dates=5)(theirs.test))
    for ours, reference in zip([*loaded.train, *loaded.test], [train, *tests], strict=True):
        np.testing.assert_array_equal(ours["target"].astype(np.float32), reference["target"])
        assert ours["start"] == reference["start"]
    assert [e["target"].shape[1] for e in loaded.test] == [6101, 6131, 6161, 6191, 6221]
    assert loaded.verified
    assert loaded.published[0].value == 0.006


@needs_shared
def test_exchange_rate_is_the_same_set_by_any_name(monkeypatch):
    expected = SPECS["exchange_rate"].checksum
    assert load_dataset(str(SHARED / "exchange_rate_nips")).checksum == expected
    assert load_dataset("exchange_rate_nips", data_dir=SHARED).name == "exchange_rate"
    monkeypatch.setenv("TIMEDIFF_DATA", str(SHARED))
    assert load_dataset("exchange_rate").verified
    monkeypatch.delenv("TIMEDIFF_DATA")
    cache = Path.home() / ".gluonts" / "datasets"
    cache.mkdir(parents=True)
    (cache / "exchange_rate_nips").symlink_to(SHARED / "exchange_rate_nips")
    assert load_dataset("exchange_rate").verified


def small_spec(monkeypatch, **changes):
    base = SPECS["solar"]._replace(
        dims=DIMS, series=DIMS, prediction_length=HORIZON, windows=WINDOWS, train_length=LENGTH
    )
    monkeypatch.setitem(SPECS, "solar", base._replace(**changes))
    return noise(DIMS, LENGTH + WINDOWS * HORIZON)


@pytest.mark.parametrize("folder", ["solar", "solar_nips"])
def test_named_set_in_the_data_directory(tmp_path, monkeypatch, folder):
    values = small_spec(monkeypatch)
    write_gluonts(tmp_path / folder, values, train_length=LENGTH)
    loaded = load_dataset("solar", data_dir=tmp_path, download=False)
    np.testing.assert_array_equal(loaded.test[-1]["target"], values)
    assert loaded.name == "solar" and not loaded.verified
    assert loaded.published == list(SPECS["solar"].published)


def test_only_the_first_series_of_each_block_are_used(tmp_path, monkeypatch):
    values = small_spec(monkeypatch, dims=2)
    write_gluonts(tmp_path / "solar", values, train_length=LENGTH)
    loaded = load_dataset("solar", data_dir=tmp_path, download=False)
    np.testing.assert_array_equal(loaded.train[0]["target"], values[:2, :LENGTH])
    np.testing.assert_array_equal(loaded.test[0]["target"], values[:2, : LENGTH + HORIZON])


def test_other_values_than_the_known_set_are_a_warning(tmp_path, monkeypatch):
    values = small_spec(monkeypatch, checksum="0" * 64)
    write_gluonts(tmp_path / "solar", values, train_length=LENGTH)
    with pytest.warns(UserWarning, match="not those of the known solar"):
        assert not load_dataset("solar", data_dir=tmp_path).verified


def rewrite(path, change):
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(line) + "\n" for line in change(lines)))


def test_unequal_lengths_end_together_and_start_with_nan(tmp_path):
    values = noise(DIMS, LENGTH + HORIZON)
    folder = write_gluonts(tmp_path / "x", values, train_length=LENGTH)

    def shorten(lines):
        lines[1]["target"] = lines[1]["target"][10:]
        lines[1]["start"] = "2020-01-01 10:00"
        return lines

    rewrite(folder / "train" / "data.json", shorten)
    rewrite(folder / "test" / "data.json", shorten)
    loaded = load_dataset(str(folder))
    expected = values.copy()
    expected[1, :10] = np.nan
    np.testing.assert_array_equal(loaded.train[0]["target"], expected[:, :LENGTH])
    np.testing.assert_array_equal(loaded.test[0]["target"], expected)
    assert loaded.test[0]["start"] == pd.Period("2020-01-01", freq="h")


def test_series_that_end_at_another_time_are_named(tmp_path):
    folder = write_gluonts(tmp_path / "x", noise(DIMS, LENGTH + HORIZON), train_length=LENGTH)

    def later(lines):
        lines[0]["start"] = "2020-01-02"
        return lines

    rewrite(folder / "train" / "data.json", later)
    with pytest.warns(UserWarning, match="1 of 3 series of train end at another time"):
        loaded = load_dataset(str(folder))
    assert loaded.train[0]["start"] == pd.Period("2020-01-01", freq="h")


@given(st.lists(st.sampled_from(["a", "b", "a_0", "a_1", "a_1_", "b_2"]), max_size=8))
def test_unique_names(names):
    unique = unique_names(names)
    assert len(set(unique)) == len(unique) == len(names)
    for position, (before, after) in enumerate(zip(names, unique, strict=True)):
        assert (
            (after == before)
            if names.count(before) == 1
            else after.startswith(f"{before}_{position}")
        )


def test_series_of_one_name_get_their_position(tmp_path):
    folder = write_gluonts(tmp_path / "x", noise(DIMS, LENGTH + HORIZON), train_length=LENGTH)
    ids = ["north", "north", "south"]

    def named(lines):
        return [line | {"item_id": ids[i % DIMS]} for i, line in enumerate(lines)]

    rewrite(folder / "train" / "data.json", named)
    assert load_dataset(str(folder)).columns == ["north_0", "north_1", "south"]


def test_a_parquet_table_with_two_columns_of_one_name(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = write_wide(tmp_path / "x", frame())
    columns = [pa.array(frame().index), *(pa.array(column) for column in noise(2, LENGTH))]
    table = pa.table(columns, names=["time", "load", "load"])
    pq.write_table(table, folder / "data.parquet")
    fails(str(folder), match="has two columns 'load'; give them names of their own")


def test_only_what_pandas_says_of_business_days_is_silenced(recwarn):
    with quiet_business_days():
        pd.period_range("2020-01-06", periods=3, freq="B") + 1
    assert len(recwarn) == 0
    with quiet_business_days(), pytest.warns(FutureWarning, match="another"):
        warnings.warn("another", FutureWarning, stacklevel=1)


def too_short(folder):
    rewrite(
        folder / "test" / "data.json",
        lambda lines: [line | {"target": line["target"][-HORIZON:]} for line in lines],
    )


def drop_last(folder):
    rewrite(folder / "test" / "data.json", lambda lines: lines[:-1])


def drop_window(folder):
    rewrite(folder / "test" / "data.json", lambda lines: lines[:-DIMS])


def truncate(folder):
    path = folder / "test" / "data.json"
    path.write_bytes(path.read_bytes()[:-20])


def truncate_gz(folder):
    path = folder / "train" / "data.json"
    content = gzip.compress(path.read_bytes())
    path.with_suffix(".json.gz").write_bytes(content[: len(content) // 2])
    path.unlink()


def no_target(folder):
    rewrite(folder / "train" / "data.json", lambda lines: [{"start": "2020-01-01"}, *lines[1:]])


def two_dimensional(folder):
    rewrite(
        folder / "train" / "data.json",
        lambda lines: [lines[0] | {"target": [lines[0]["target"]]}, *lines[1:]],
    )


def no_stamp(folder):
    rewrite(folder / "train" / "data.json", lambda lines: [line | {"start": "?"} for line in lines])


@pytest.mark.parametrize(
    ("damage", "match"),
    [
        (too_short, "test window 0 of .* has 4 steps, which leaves nothing before the 4 steps"),
        (drop_last, "3 training and 5 test series"),
        (drop_window, "3 training and 3 test series, expected 3 and 2 times"),
        (truncate, r"line 6 of .*data\.json is not a series"),
        (truncate_gz, "train cannot be read"),
        (no_target, "line 1 of .* is not a series"),
        (two_dimensional, "one series of at least one value per line"),
        (no_stamp, "'\\?' is not a start stamp"),
        (lambda f: (f / "metadata.json").unlink(), r"has no metadata\.json: delete"),
        (lambda f: (f / "metadata.json").write_text("{"), r"metadata\.json cannot be read as JSON"),
        (lambda f: (f / "metadata.json").write_text("{}"), "names no freq"),
        (lambda f: (f / "test" / "data.json").unlink(), r"has no test/\*\.json"),
        (lambda f: (f / "train" / "data.json").write_text(""), "0 training"),
    ],
)
def test_half_written_folder_is_a_clear_error(tmp_path, monkeypatch, damage, match):
    values = small_spec(monkeypatch)
    damage(write_gluonts(tmp_path / "solar_nips", values, train_length=LENGTH))
    fails("solar", data_dir=tmp_path, match=match)


# -------------------------------------------------------------------------------------- names


def test_names_that_are_not_known(tmp_path):
    write_wide(tmp_path / "my_homes", frame())
    assert "did you mean electricity" in fails("electricty", match="unknown dataset")
    assert "citylearn2022" in fails("nothing_like_it", match="known: ")
    message = fails("my_home", data_dir=tmp_path, match="did you mean my_homes")
    assert "exchange_rate" in message
    fails("solar", data_dir=tmp_path / "absent", match="data directory .* does not exist")
    assert load_dataset("my_homes", data_dir=tmp_path).name == "my_homes"


def test_absent_set_without_download_names_the_way_out(tmp_path):
    message = fails("traffic", data_dir=tmp_path, download=False, match="is not in")
    assert "traffic_nips" in message and "citylearn2022" in message


def test_audit_warns_and_aligns(tmp_path):
    values = noise(DIMS, LENGTH + WINDOWS * HORIZON)
    folder = write_gluonts(tmp_path / "x", values, train_length=LENGTH)
    rewrite(
        folder / "test" / "data.json",
        lambda lines: [line | {"start": "2020-01-01 01:00"} for line in lines],
    )
    with pytest.warns(UserWarning, match="2 of 2 test windows stand 1 step later"):
        shipped = load_dataset(str(folder))
    aligned = load_dataset(str(folder), align_clock=True)
    assert [e["start"].hour for e in shipped.test] == [1, 1]
    assert [e["start"] for e in aligned.test] == [aligned.train[0]["start"]] * 2
    assert aligned.checksum == shipped.checksum


# ------------------------------------------------------------------------------- embedded set


def test_embedded_set():
    loaded = load_dataset("citylearn2022")
    assert loaded.verified
    assert loaded.train[0]["target"].shape == (34, 8760 - 7 * 24)
    assert loaded.train[0]["start"] == pd.Period("2016-07-31 23:00", freq="h")
    assert len(loaded.test) == 7
    assert all(np.isfinite(entry["target"]).all() for entry in loaded.test)
    assert loaded.licence == "MIT"
    folder = ROOT / "datasets" / "citylearn2022"
    assert json.loads((folder / "meta.json").read_text())["checksum"] == loaded.checksum
    assert sum(path.stat().st_size for path in folder.glob("*.parquet")) < 1_500_000
    assert "MIT License" in (folder / "LICENSE").read_text()


def test_embedded_net_load_is_load_minus_solar():
    loaded = load_dataset("citylearn2022")
    net = loaded.aggregates["net_load"]
    assert net.unit == "kWh per hour"
    kilowatts = -1000 * net.weights[17:]
    np.testing.assert_array_equal(net.weights[:17], 1)
    assert set(np.round(kilowatts, 9)) == {4.0, 5.0}
    values = loaded.test[-1]["target"]
    load, solar = values[:17].sum(0), (kilowatts[:, None] / 1000 * values[17:]).sum(0)
    np.testing.assert_allclose(net.weights @ values, load - solar, rtol=1e-5, atol=1e-4)
    night = pd.period_range(loaded.test[-1]["start"], periods=8760, freq="h").hour < 4
    assert solar[night].max() == 0 < solar.max() < kilowatts.sum()


def test_embedded_covariates_stand_beside_the_data():
    folder = ROOT / "datasets" / "citylearn2022"
    data, weather = (pd.read_parquet(folder / f"{n}.parquet") for n in ("data", "covariates"))
    assert data.index.equals(weather.index)
    assert list(weather.columns) == json.loads((folder / "meta.json").read_text())["covariates"]
    sun = weather["direct_solar_irradiance"] + weather["diffuse_solar_irradiance"]
    assert np.corrcoef(sun, data.filter(like="solar_").sum(axis=1))[0, 1] > 0.8


@needs_shared
def test_embedded_set_equals_the_independent_copy():
    ours = pd.read_parquet(ROOT / "datasets" / "citylearn2022" / "data.parquet")
    theirs = pd.read_parquet(SHARED / "citylearn2022" / "data.parquet")
    pd.testing.assert_frame_equal(ours, theirs, check_freq=False, check_exact=True)


@needs_shared
@pytest.mark.parametrize(
    "folder", sorted(SHARED.glob("*/data.parquet")), ids=lambda p: p.parent.name
)
def test_every_wide_table_at_hand_loads_without_a_warning(folder, recwarn):
    loaded = load_dataset(str(folder.parent))
    assert len(loaded.test) == 7
    assert loaded.test[-1]["target"].shape[0] == len(loaded.columns)
    assert [str(w.message) for w in recwarn] == []


# ---------------------------------------------------------------------------------- the list


def test_list_shows_every_set_with_its_state(tmp_path, monkeypatch, capsys):
    values = small_spec(monkeypatch)
    write_gluonts(tmp_path / "solar_nips", values, train_length=LENGTH)
    write_wide(tmp_path / "mine", frame(), source="me", licence="CC0")
    broken = write_wide(tmp_path / "broken", frame(), freq=None)
    (tmp_path / "traffic_nips").mkdir()
    (tmp_path / "unrelated").mkdir()
    rows = {row.name: row for row in list_datasets(tmp_path)}
    assert set(rows) == {*SPECS, "oracle", "mine", "broken"}
    assert rows["citylearn2022"].status == "verified"
    assert rows["solar"].status == "present, unverified"
    assert rows["taxi"].status == "absent"
    assert "no metadata.json" in rows["traffic"].status
    assert rows["mine"][1:] == (f"{DIMS} x 52", "H", HORIZON, WINDOWS, "me", "CC0", "present")
    assert f"{broken / 'meta.json'} lacks freq" in rows["broken"].status

    assert main(["--data-dir", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + len(rows)
    assert re.match(r"electricity +370 x 5833 +H +24 +7 .*CC BY 4\.0.*absent$", lines[2])
    with pytest.raises(SystemExit, match="2"):
        main(["--data-dir", str(tmp_path / "absent")])
    assert capsys.readouterr().err.startswith("timediff.datasets: the data directory")


def test_command_line_is_quick_and_quiet():
    code = (
        "import runpy, sys; sys.argv = ['datasets', '--help']\n"
        "try: runpy.run_module('timediff.datasets', run_name='__main__')\n"
        "except SystemExit as end: assert end.code == 0\n"
        "assert not {'torch', 'gluonts', 'lightning'} & set(sys.modules)"
    )
    for arguments in (["-m", "timediff.datasets", "--help"], ["-c", code]):
        done = subprocess.run(
            [sys.executable, "-W", "error", *arguments],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr == "" and "--data-dir" in done.stdout


def test_specs_agree_with_themselves():
    for name, spec in SPECS.items():
        assert name == spec.name
        assert spec.dims <= spec.series
        assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in spec.originals.values())
        assert (spec.url is None) == (name == "citylearn2022")
        assert spec.url is None or spec.url.endswith(f"/{spec.folder}.tar.gz")


def test_checksum_by_hand():
    """The definition in the docstring, spelled out on one tiny entry."""
    import hashlib
    import struct

    entry = {
        "start": pd.Period("2020-01-01 05:00", freq="h"),
        "target": np.array([[1.0, 2.0], [3.0, 4.0]], dtype=np.float32),
    }
    stamp = b"2020-01-01T05:00:00"
    content = stamp + struct.pack("<2f", 1, 2) + stamp + struct.pack("<2f", 3, 4)
    assert checksum([entry]) == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("ending", ["csv", "parquet", "feather"])
def test_a_file_is_a_dataset_with_seven_horizons_held_out(tmp_path, ending):
    stamps = pd.date_range("2024-01-05", periods=100, freq="h", name="ds")
    frame = pd.DataFrame({"ds": stamps, "a": np.arange(100.0), "b": -np.arange(100.0)})
    path = tmp_path / f"data.{ending}"
    frame.to_csv(path, index=False) if ending == "csv" else getattr(frame, f"to_{ending}")(path)
    data = load_dataset(str(path), horizon=5)
    assert (data.name, data.freq, data.prediction_length) == ("data", "h", 5)
    assert data.columns == ["a", "b"] and data.train[0]["target"].shape == (2, 65)
    assert [one["target"].shape[1] for one in data.test] == list(range(70, 101, 5))
    np.testing.assert_array_equal(data.test[-1]["target"], frame[["a", "b"]].to_numpy().T)
    fails(str(path), match="give a horizon")
    fails(str(path), horizon=20, match="100 rows, but 7 windows of 20 steps")
    fails("citylearn2022", horizon=24, match="leave horizon out")
