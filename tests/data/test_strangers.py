"""Data of strangers: regular files only, read within limits, and sentences of bounded length."""

import gzip
import json
import os
import threading

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tiny import wide_folder

from timediff.data.dataset import load_dataset
from timediff.data.readers import file, gluonts_folder, sizes
from timediff.data.readers.layout import Roles
from timediff.data.table import read_file, read_frame
from timediff.errors import InputError, bounded
from timediff.frequency import to_period_freq
from timediff.tools.files import lines_of, read_json

LINE = json.dumps({"start": "2020-01-06", "target": [float(i % 7) for i in range(60)]}).encode()


def gluonts(folder, *lines, packed=False, **meta):
    """A folder in the GluonTS layout whose splits have these lines."""
    for split in ("train", "test"):
        (folder / split).mkdir(parents=True)
        content = b"\n".join(lines) + b"\n"
        name = "data.json.gz" if packed else "data.json"
        (folder / split / name).write_bytes(gzip.compress(content) if packed else content)
    meta = {"freq": "h", "prediction_length": 4} | meta
    (folder / "metadata.json").write_text(json.dumps(meta))
    return folder


def refusal(call, *args, **values):
    """The sentence of a call that is refused at once: one that waits has not ended after ten seconds."""
    answers = []

    def attempt():
        try:
            answers.append(call(*args, **values))
        except Exception as error:
            answers.append(error)

    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(10)
    assert answers, "it waits"
    assert isinstance(answers[0], InputError), answers[0]
    assert len(str(answers[0])) < 2000 and "\n" not in str(answers[0])
    return str(answers[0])


def replaced_by_pipe(path):
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("make", "part"),
    [
        (wide_folder, "meta.json"),
        (wide_folder, "data.csv"),
        (lambda folder: gluonts(folder, LINE), "metadata.json"),
        (lambda folder: gluonts(folder, LINE), "train/data.json"),
        (lambda folder: gluonts(folder, LINE), "test/data.json"),
    ],
)
def test_a_pipe_is_not_waited_for(tmp_path, make, part):
    folder = make(tmp_path / "data")
    folder = tmp_path / "data"
    load_dataset(folder)
    replaced_by_pipe(folder / part)
    refusal(load_dataset, folder)


@pytest.mark.parametrize("name", ["a.csv", "a.parquet", "a.feather"])
def test_a_pipe_is_no_table(tmp_path, name):
    os.mkfifo(tmp_path / name)
    assert "is no regular file" in refusal(read_file, tmp_path / name)
    assert "is no regular file" in refusal(load_dataset, tmp_path / name, horizon=4)


def test_lines_are_read_within_limits(tmp_path):
    plain, packed = tmp_path / "a.json", tmp_path / "a.json.gz"
    content = [b"x" * 99 + b"\n"] * 30
    plain.write_bytes(b"".join(content))
    packed.write_bytes(gzip.compress(b"".join(content)))
    for path in (plain, packed):
        assert list(lines_of(path, longest=100)) == content
        with pytest.raises(OSError, match="has more than 99 bytes"):
            list(lines_of(path, longest=99))
    limits = {"packed": 2, "any_size": 1000}
    assert list(lines_of(plain, **limits)) == content
    read = []
    with pytest.raises(OSError, match="unpacks to more than 2 times its size"):
        read.extend(lines_of(packed, **limits))
    assert list(lines_of(packed, packed=2, any_size=3000)) == content


def test_a_packed_file_is_not_unpacked_beyond_its_limit(tmp_path, monkeypatch):
    gluonts(tmp_path / "data", *[LINE] * 100, packed=True)
    load_dataset(tmp_path / "data")
    limited = lambda path: lines_of(path, packed=2, any_size=1000)  # noqa: E731
    monkeypatch.setattr(gluonts_folder, "lines_of", limited)
    assert "unpacks to more than 2 times" in refusal(load_dataset, tmp_path / "data")


def test_series_and_folders_have_a_limit(tmp_path, monkeypatch):
    gluonts(tmp_path / "data", *[LINE] * 3)
    monkeypatch.setattr(gluonts_folder, "MOST_CELLS", 150)
    assert "line 3 of" in refusal(load_dataset, tmp_path / "data")
    monkeypatch.setattr(gluonts_folder, "MOST_STEPS", 50)
    said = refusal(load_dataset, tmp_path / "data")
    assert "line 1 of" in said and "beyond 50 steps in a line; keep the last steps" in said


def test_a_parquet_file_is_asked_for_its_size_first(tmp_path, monkeypatch):
    path = tmp_path / "a.parquet"
    index = pd.date_range("2020-01-06", periods=60, freq="h", name="time")
    pd.DataFrame({"a": 1.0, "b": 2.0}, index=index).to_parquet(path)
    read_file(path)
    monkeypatch.setattr(sizes, "MOST_CELLS", 100)
    assert "has 180 values, and 100 are the most" in refusal(read_file, path)


def test_files_of_polars_are_read(tmp_path):
    frame = pl.DataFrame({"unique_id": ["a", None, "b"], "y": [1.0, 2.0, None]})
    for ending in ("parquet", "feather"):
        path = tmp_path / f"a.{ending}"
        {"parquet": frame.write_parquet, "feather": frame.write_ipc}[ending](path)
        read, _ = file.frame_of(path, id_col="unique_id")
        pd.testing.assert_frame_equal(read, frame.to_pandas(), check_dtype=False)


def odd_table(rows=3000):
    """Columns of all kinds, most of them easy to pack."""
    stamps = pd.date_range("2020-01-06", periods=rows, freq="h", name="ds")
    return pd.DataFrame(
        {
            "unique_id": ["a name of some length"] * rows,
            "kind": pd.Categorical(["x", "y", None] * (rows // 3)),
            "y": 1.0,
            "count": pd.array([1, None, 3] * (rows // 3), dtype="Int64"),
            "flag": [True, False, None] * (rows // 3),
        },
        index=stamps,
    )


WRITERS = {
    "plain.parquet": lambda frame, path: frame.to_parquet(path),
    "packed.parquet": lambda frame, path: frame.to_parquet(
        path, compression="zstd", row_group_size=1000
    ),
    "plain.feather": lambda frame, path: frame.reset_index().to_feather(
        path, compression="uncompressed"
    ),
    "lz4.feather": lambda frame, path: frame.reset_index().to_feather(path, compression="lz4"),
    "zstd.feather": lambda frame, path: frame.reset_index().to_feather(
        path, compression="zstd", chunksize=1000
    ),
    "old.feather": lambda frame, path: frame[["y"]].reset_index().to_feather(path, version=1),
}


@pytest.mark.parametrize("name", WRITERS)
def test_tables_are_read_as_their_libraries_do_and_within_their_size(tmp_path, monkeypatch, name):
    path = tmp_path / name
    WRITERS[name](odd_table(), path)
    theirs = pd.read_parquet if path.suffix == ".parquet" else pd.read_feather
    expected = theirs(path)
    pd.testing.assert_frame_equal(file.frame_of(path, id_col="unique_id")[0], expected)
    if name == "old.feather":
        return
    # Texts written out, stamps and numbers, without what tells which are missing.
    least = 3000 * (21 + 3 * 8)
    monkeypatch.setattr(sizes, "PACKED", 0)
    monkeypatch.setattr(sizes, "UNPACKED", least + 3000 * 20)
    file.frame_of(path, id_col="unique_id")
    monkeypatch.setattr(sizes, "UNPACKED", least - 1)
    monkeypatch.setattr(pd, "read_feather", None)  # nothing is unpacked
    said = refusal(read_file, path)
    assert f"{name} unpacks to more than {least / 1000:.3g} kB" in said


def test_a_feather_file_that_unpacks_to_a_gigabyte_takes_no_memory(tmp_path):
    path = tmp_path / "zeros.feather"
    batch = pa.record_batch({"y": pa.array(np.zeros(2**20))})
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_file(path, batch.schema, options=options) as writer:
        for _ in range(136):
            writer.write_batch(batch)
    assert path.stat().st_size < 10**6
    before = pa.total_allocated_bytes()
    assert "zeros.feather unpacks to more than 1.07 GB" in refusal(read_file, path)
    assert pa.total_allocated_bytes() - before < 2**24


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.large_binary()], ids=str)
def test_a_long_text_that_a_parquet_file_repeats_is_counted_each_time(tmp_path, monkeypatch, kind):
    path = tmp_path / "long.parquet"
    table = pa.table({"unique_id": pa.array(["x" * 10**5] * 500, kind), "y": [1.0] * 500})
    pq.write_table(table, path, compression="zstd")
    before = pa.total_allocated_bytes()
    monkeypatch.setattr(sizes, "UNPACKED", 3 * 10**7)
    monkeypatch.setattr(sizes, "PACKED", 0)
    assert "long.parquet unpacks to more than 30 MB" in refusal(read_file, path)
    assert pa.total_allocated_bytes() - before < 10**7


def test_lists_in_a_parquet_file_are_counted(tmp_path, monkeypatch):
    path = tmp_path / "lists.parquet"
    pq.write_table(pa.table({"ds": ["2020-01-06"], "y": [[0.0] * 5000]}), path)
    monkeypatch.setattr(sizes, "MOST_CELLS", 5000)
    assert "has 5001 values, and 5000 are the most" in refusal(read_file, path)


@pytest.mark.parametrize("ending", ["csv", "parquet", "feather"])
def test_twenty_thousand_columns_are_one_sentence_at_once(tmp_path, monkeypatch, ending):
    path = tmp_path / f"wide.{ending}"
    frame = pd.DataFrame(np.zeros((3, 20_000)), columns=[f"s{i}" for i in range(20_000)])
    {"csv": frame.to_csv, "parquet": frame.to_parquet, "feather": frame.to_feather}[ending](path)
    for name in ("read_csv", "read_parquet", "read_feather"):
        monkeypatch.setattr(pd, name, None)
    columns = 20_001 if ending == "csv" else 20_000
    assert f"wide.{ending} has {columns} columns, and 16384 are the most" in refusal(
        read_file, path
    )


@pytest.mark.parametrize(
    "line",
    [
        b"[" * 50_000,
        b'{"start": "2020-01-06", "target": ' + b"[" * 3000 + b"]" * 3000 + b"}",
        b'{"start": NaN, "target": ' + b"[" * 50_000 + b"]" * 50_000 + b"}",
        b'{"start": "' + b"x" * 100_000 + b'", "target": [1, 2, 3, 4, 5, 6]}',
        b'{"start": null, "target": [1, 2, 3, 4, 5, 6]}',
        b'{"start": [1], "target": [1, 2, 3, 4, 5, 6]}',
        b'{"start": "2020-01-06", "target": {"a": 1}}',
        b'{"start": "2020-01-06", "target": [[1], [1, 2]]}',
        b'{"item_id": "' + b"x" * 100_000 + b'", "start": "2020", "target": [1, 2, 3, 4, 5]}',
        b'{"item_id": {"a": 1}, "start": "2020-01-06", "target": [1, 2, 3, 4, 5, 6]}',
        b"5",
        b"\x00\xff",
    ],
    ids=[
        *("nested", "nested target", "nested after NaN", "long stamp", "no stamp", "stamps"),
        *("mapping", "ragged", "long name", "name of a mapping", "number", "bytes"),
    ],
)
def test_strange_lines_are_refused_by_their_number(tmp_path, line):
    assert "line 1 of" in refusal(load_dataset, gluonts(tmp_path / "data", line))


@pytest.mark.parametrize(
    "freq", ["9" * 30 + "h", "9" * 5000 + "h", "h" * 10**6, "999999999Y", "40000D", "1" * 18 + "s"]
)
def test_a_step_has_a_length_that_calendars_know(tmp_path, freq):
    assert "is not known; give one of s, min, h" in refusal(to_period_freq, freq)
    assert "is not known" in refusal(load_dataset, gluonts(tmp_path / "a", LINE, freq=freq))
    wide_folder(tmp_path / "b", freq=freq)
    assert "is not known" in refusal(load_dataset, tmp_path / "b")


@pytest.mark.parametrize("freq", ["525600min", "31536000s", "36525D", "100Y", "1200M"])
def test_long_steps_of_a_calendar_are_known(freq):
    assert to_period_freq(freq) == freq


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[" * 100_000, "nested too deeply"),
        ("9" * 10_000, "cannot be read as JSON"),
        (" " * (2**24 + 1), "is the most"),
        ('"' + "x" * 10**6 + '"', "does not hold a JSON object"),
        ('{"freq": "h", "prediction_length": "' + "4" * 10**6 + '"}', "must be a whole number"),
    ],
    ids=["nested", "digits", "large", "text", "long"],
)
def test_metadata_is_read_within_limits(tmp_path, text, said):
    folder = gluonts(tmp_path / "a", LINE)
    (folder / "metadata.json").write_text(text)
    assert said in refusal(load_dataset, folder)
    wide_folder(tmp_path / "b")
    (tmp_path / "b" / "meta.json").write_text(text.replace('"h"', '"h", "rolling_windows": 2'))
    assert said in refusal(load_dataset, tmp_path / "b")


@pytest.mark.parametrize(
    "weight", ["NaN", "Infinity", "1e308", "-1e18", "0", '"' + "x" * 10**5 + '"', "null", "[1]"]
)
def test_weights_of_an_aggregate_are_numbers(tmp_path, weight):
    wide_folder(tmp_path / "a", aggregates={"net": {"unit": "kW", "weights": {"load 0": 5.5}}})
    path = tmp_path / "a" / "meta.json"
    path.write_text(path.read_text().replace("5.5", weight))
    assert "aggregates in" in refusal(load_dataset, tmp_path / "a")


CHANGES = {
    "absent index": lambda facts: facts.update(index_columns=["nowhere"]),
    "strange index": lambda facts: facts.update(index_columns=[{"kind": "wings"}]),
    "index no list": lambda facts: facts.update(index_columns=5),
    "no columns": lambda facts: facts.pop("columns"),
    "strange type": lambda facts: facts["columns"][0].update(numpy_type="wings"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_metadata_of_parquet_that_contradict_its_columns(tmp_path, change):
    index = pd.date_range("2020-01-06", periods=60, freq="h", name="time")
    table = pa.Table.from_pandas(pd.DataFrame({"a": np.arange(60.0)}, index=index))
    facts = json.loads(table.schema.metadata[b"pandas"])
    pq.write_table(table, tmp_path / "a.parquet")
    assert read_file(tmp_path / "a.parquet").names == ["a"]
    change(facts)
    table = table.replace_schema_metadata({b"pandas": json.dumps(facts).encode()})
    pq.write_table(table, tmp_path / "a.parquet")
    assert "cannot be read" in refusal(read_file, tmp_path / "a.parquet")


def test_nested_metadata_of_parquet(tmp_path):
    table = pa.table({"a": [1.0]}).replace_schema_metadata({b"pandas": b"[" * 100_000})
    pq.write_table(table, tmp_path / "a.parquet")
    assert "cannot be read" in refusal(read_file, tmp_path / "a.parquet")


#: Sixty cells of a category column each.
CATEGORIES = {
    "numbers": pd.Categorical([1.0, 2.0] * 30),
    "texts": pd.Categorical(["1", "2"] * 30),
    "truth": pd.Categorical([True, False] * 30),
    "with a gap": pd.Categorical([1.0, None] * 30),
    "stamps": pd.Categorical(pd.date_range("2020-01-06", periods=60, freq="h")),
    "pairs": pd.Categorical.from_codes(
        [0, 1] * 30, categories=pd.Index([(1, 2), (3, 4)], tupleize_cols=False)
    ),
    "intervals": pd.cut(np.arange(60.0), 3),
}


@pytest.mark.parametrize("cells", CATEGORIES.values(), ids=CATEGORIES)
@pytest.mark.parametrize("column", ["unique_id", "ds", "y", "x"])
def test_category_columns_are_read_or_refused_in_one_sentence(column, cells):
    stamps = pd.date_range("2020-01-06", periods=30, freq="h")
    frame = pd.DataFrame({"unique_id": ["u", "v"] * 30, "ds": stamps.repeat(2), "y": 1.0, "x": 2.0})
    frame[column] = cells
    try:
        table = read_frame(frame, roles=Roles(futr=("x",)))
    except InputError as error:
        assert len(str(error)) < 300
    else:
        assert table.values.shape in ((30, 2), (30, 60), (60, 2))


def test_pairs_are_names_in_a_category_column():
    stamps = pd.date_range("2020-01-06", periods=30, freq="h").repeat(2)
    frame = pd.DataFrame({"unique_id": CATEGORIES["pairs"], "ds": stamps, "y": 1.0})
    assert read_frame(frame).names == ["(1, 2)", "(3, 4)"]


def test_sentences_keep_their_way_out_however_long_what_they_name_is():
    long = str(InputError(f"column {'x' * 10**6!r} is odd; leave it out"))
    assert long.startswith("column 'xxx") and long.endswith("x' is odd; leave it out")
    many = bounded(f"it has {'a b ' * 10**5}; leave some out")
    assert len(many) < 2000 and many.endswith("leave some out")
    path = "/a" * 100
    assert (
        bounded(f"there is no file {path}; give another")
        == f"there is no file {path}; give another"
    )


def test_json_is_read_within_limits(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("[1, 2]")
    assert read_json(path, largest=6) == [1, 2]
    with pytest.raises(ValueError, match="it has 6 bytes, and 5 is the most"):
        read_json(path, largest=5)
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "b.json")


WEEKS = pd.period_range("2020-01-06", periods=60, freq="W")


@pytest.mark.parametrize(
    ("cell", "shown"),
    [("bad", "'bad'"), (pd.Period("2020-03-10", "D"), "'2020-03-10'"), (5, "'5'")],
)
def test_a_cell_among_periods_is_the_one_that_is_blamed(cell, shown):
    cells = list(WEEKS)
    cells[9] = cell
    frame = pd.DataFrame({"a": np.arange(60.0)}, index=pd.Index(cells, dtype=object))
    said = refusal(read_frame, frame)
    assert f"row 10 of the frame has {shown}, and those above are periods of W-SUN" in said
    frame.index = WEEKS
    assert len(read_frame(frame).values) == 60


@pytest.mark.parametrize(
    ("freq", "advice"),
    [
        *(("C", "give B, or D where"), ("bh", "give h"), ("cbh", "give h"), ("SMS", "give M with")),
        *(("CBMS", "give M"), ("2C", "give B, or D where")),
    ],
)
def test_steps_of_unequal_length_have_a_way_out(freq, advice):
    said = refusal(to_period_freq, freq)
    assert f"frequency '{freq}' has steps of unequal length" in said and advice in said
    days = pd.date_range(
        "2020-01-01", periods=60, freq=pd.offsets.CustomBusinessDay(holidays=["2020-01-06"])
    )
    assert len(read_frame(pd.DataFrame({"a": np.arange(60.0)}, index=days), freq="B").values) == 61


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ([1.0, pd.NA] * 30, "holds pandas.NA; give NaN where a value is missing"),
        ([1.0, pd.NaT] * 30, "holds pandas.NaT; give NaN where a value is missing"),
        ([10**400] * 60, "has a number too large for a float; values must be below 1e+18"),
        ([10**39] * 60, "has 1e+39 in dimension 0 at 2020-01-06 00:00"),
    ],
    ids=["NA", "NaT", "too large for a float", "too large"],
)
def test_cells_of_entries_that_are_no_numbers_are_called_what_they_are(cells, said):
    from timediff.gluon.entries import read_entry

    target = np.array(cells, dtype=object)
    assert said in refusal(read_entry, {"start": pd.Period("2020-01-06", "h"), "target": target})
