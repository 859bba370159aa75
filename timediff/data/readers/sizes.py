"""What a table's file unpacks to, told without unpacking it, and what of that is read.

Parquet says how many values it has, a repeated one taking no space; Feather, an Arrow file, how long each
packed buffer is. Only the texts of Parquet have to be looked at: they stay numbered while they are counted.
"""

import struct
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from timediff.errors import InputError
from timediff.tools.files import PACKED, size_of
from timediff.tools.numbers import MOST_CELLS

__all__ = ["MOST_COLUMNS", "UNPACKED", "check_columns", "read_feather", "read_parquet"]

#: Columns of a table, at most, those of a spreadsheet: a joint model of more series is mostly a mistake.
MOST_COLUMNS = 16_384
#: Bytes that a table may unpack to in any case.
UNPACKED = 2**30
_ARROW = b"ARROW1"


def check_columns(path: Path, count: int) -> None:
    """Raises `InputError` for a table of more columns than are read."""
    if count > MOST_COLUMNS:
        raise InputError(
            f"{path} has {count} columns, and {MOST_COLUMNS} are the most; write the steps as rows if they "
            "are its columns, or keep fewer series"
        )


def read_parquet(path: Path) -> pd.DataFrame:
    """The frame in a Parquet file.

    Raises:
        InputError: It has more columns or values, or unpacks to more, than is read.
    """
    facts = pq.read_metadata(path)
    check_columns(path, facts.num_columns)
    groups = [facts.row_group(i) for i in range(facts.num_row_groups)]
    inner = sum(group.column(i).num_values for group in groups for i in range(group.num_columns))
    _check_cells(path, max(facts.num_rows * facts.num_columns, inner))
    schema = pq.read_schema(path)
    _check_names(path, schema.names)
    texts = [field.name for field in schema if _is_text(field.type)]
    _check_bytes(path, sum(group.total_byte_size for group in groups))
    file, batches, unpacked = pq.ParquetFile(path, read_dictionary=texts), [], 0
    for batch in file.iter_batches(use_threads=False):
        for column in batch.columns:
            unpacked += _bytes_of(column)
        _check_bytes(path, unpacked)
        batches.append(batch)
    return pa.Table.from_batches(batches, file.schema_arrow).cast(schema).to_pandas()


def _is_text(kind: pa.DataType) -> bool:
    return kind in (pa.string(), pa.binary(), pa.large_string(), pa.large_binary())


def _bytes_of(column: pa.Array) -> int:
    """Bytes of a column, of texts that are numbered as many as if each were written out."""
    if not isinstance(column, pa.DictionaryArray) or not _is_text(column.type.value_type):
        return column.nbytes
    lengths = pc.binary_length(column.dictionary).to_pylist()
    counts = pc.value_counts(column.indices).to_pylist()
    return sum(n["counts"] * (lengths[n["values"]] or 0) for n in counts if n["values"] is not None)


def read_feather(path: Path) -> pd.DataFrame:
    """The frame in a Feather file.

    Raises:
        InputError: It has more columns or values, or unpacks to more, than is read.
    """
    with pa.memory_map(str(path)) as file:
        content = file.read_buffer()
        if content[: len(_ARROW)].to_pybytes() == _ARROW:  # the first version packs nothing
            with pa.ipc.open_file(content) as reader:
                check_columns(path, len(reader.schema))
                _check_names(path, reader.schema.names)
            cells, unpacked = _arrow_sizes(content)
            _check_cells(path, cells)
            _check_bytes(path, unpacked)
    return pd.read_feather(path)


def _arrow_sizes(content: pa.Buffer) -> tuple[int, int]:
    """Values and bytes, when unpacked, of the parts that the end of an Arrow file lists.

    Parts are told in flatbuffers: https://arrow.apache.org/docs/format/Columnar.html (Footer, Block,
    RecordBatch, FieldNode, Buffer); a packed buffer begins with the number of its bytes, -1 where it is not
    packed after all.
    """
    cells = unpacked = 0
    end = content.size - len(_ARROW) - 4
    (size,) = struct.unpack("<i", content[end : end + 4].to_pybytes())
    foot = content[end - size : end].to_pybytes()
    for number in (2, 3):  # dictionaries, batches
        for start, _, _ in _vector(foot, _target(foot, 0), number, "<qi4xq"):
            message = pa.ipc.read_message(content.slice(start))
            head, body = message.metadata.to_pybytes(), message.body
            batch = _table(head, _target(head, 0), 2)
            if number == 2:
                batch = _table(head, batch, 1)
            cells += sum(length for length, _ in _vector(head, batch, 1, "<qq"))
            is_packed = _field(head, batch, 3) is not None
            for first, length in _vector(head, batch, 2, "<qq"):
                whole = -1
                if is_packed and length >= 8:
                    (whole,) = struct.unpack("<q", body[first : first + 8].to_pybytes())
                unpacked += max(whole, length)
    return cells, unpacked


def _target(head: bytes, place: int) -> int:
    """Where the offset in a place points to."""
    return place + struct.unpack_from("<I", head, place)[0]


def _field(head: bytes, table: int, number: int) -> int | None:
    """Where a field of a flatbuffer's table is; None if it is at its default."""
    names = table - struct.unpack_from("<i", head, table)[0]
    (size,) = struct.unpack_from("<H", head, names)
    if 4 + 2 * number >= size:
        return None
    (offset,) = struct.unpack_from("<H", head, names + 4 + 2 * number)
    return table + offset if offset else None


def _table(head: bytes, table: int, number: int) -> int:
    """Where the table is that is a field of another."""
    place = _field(head, table, number)
    if place is None:
        raise ValueError("a part has no content")
    return _target(head, place)


def _vector(head: bytes, table: int, number: int, form: str) -> Iterator[tuple[int, ...]]:
    """The items of a field that is a vector, by their form for `struct`."""
    place = _field(head, table, number)
    if place is None:
        return
    start = _target(head, place)
    (count,) = struct.unpack_from("<I", head, start)
    yield from struct.iter_unpack(form, head[start + 4 : start + 4 + struct.calcsize(form) * count])


def _check_names(path: Path, names: list[str]) -> None:
    for name, count in Counter(names).items():
        if count > 1:
            raise InputError(f"{path} has two columns {name!r}; give them names of their own")


def _check_cells(path: Path, count: int) -> None:
    if count > MOST_CELLS:
        raise InputError(
            f"{path} has {count} values, and {MOST_CELLS} are the most; keep the last rows, or fewer columns"
        )


def _check_bytes(path: Path, count: int) -> None:
    most = max(PACKED * path.stat().st_size, UNPACKED)
    if count > most:
        raise InputError(
            f"{path} unpacks to more than {size_of(most)}, and that is the most of a file of its size; write "
            "it as CSV, keep the last rows, or shorten its texts"
        )
