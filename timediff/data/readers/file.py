"""Files as frames: CSV as it is written in many places, Parquet, Feather.

The cells of a CSV stay texts where they are no numbers; what they are is for others to say.
"""

import csv
import io
import re
from pathlib import Path

import pandas as pd

from timediff.data.readers.sizes import check_columns, read_feather, read_parquet
from timediff.errors import InputError
from timediff.kinds import shortened
from timediff.tools.files import check_regular

__all__ = ["ENDINGS", "frame_of"]

ENDINGS = (".csv", ".tsv", ".txt", ".parquet", ".feather")
# Of two that fit, the first: a comma may be that of decimals.
_SEPARATORS = (";", "\t", "|", ",")
# Rows by which separator and decimal are recognised.
_SAMPLE = 200
_COMMA = re.compile(r"\s*[+-]?(\d{1,3}(\.\d{3})+|\d+),\d+([eE][+-]?\d+)?\s*")
_POINTS = re.compile(r"\s*[+-]?\d{1,3}(\.\d{3})+,\d+\s*")
_THOUSANDS = re.compile(r"\s*[+-]?\d{1,3}(,\d{3})+(\.\d+)?\s*")
_NUMBER_OR_DATE = re.compile(r"\s*[+-]?\d[\d.,:/T+\- ]*\s*")


def frame_of(
    path: Path, *, id_col: str, separator: str | None = None, decimal: str | None = None
) -> tuple[pd.DataFrame, list[str]]:
    """The frame in a file, and sentences on what was supposed.

    Args:
        path: Of a CSV, Parquet or Feather file; the ending says which.
        id_col: A column whose cells stay texts, ``NA`` and ``007`` too.
        separator: Of a CSV; what fits all rows when None.
        decimal: Of a CSV; what the cells show when None.

    Raises:
        InputError: The file is missing or damaged, has another ending, or rows of unequal length.
    """
    ending = path.suffix.lower()
    if ending not in ENDINGS:
        raise InputError(
            f"{path} has the ending {ending!r}; give a file that ends in {', '.join(ENDINGS)}"
        )
    try:
        check_regular(path)
        if ending == ".parquet":
            return read_parquet(path), []
        if ending == ".feather":
            return read_feather(path), []
        return _from_csv(path, id_col=id_col, separator=separator, decimal=decimal)
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; give the path of a table") from None
    except (
        Exception
    ) as error:  # a damaged file, or one that contradicts itself, may fail in any way
        reason = shortened(f"{str(error) or type(error).__name__}", 200)
        raise InputError(f"{path} cannot be read ({reason}); write it again") from None


def _from_csv(
    path: Path, *, id_col: str, separator: str | None, decimal: str | None
) -> tuple[pd.DataFrame, list[str]]:
    lines = [line for line in _text(path).splitlines() if line.strip()]
    if lines and (match := re.fullmatch(r'"?sep=(.)"?', lines[0].strip())):
        separator, lines = separator or match[1], lines[1:]  # what Excel writes
    if len(lines) < 2:
        raise InputError(f"{path} has no rows under a header; give one row per time step")
    check_columns(path, 1 + max(map(lines[0].count, [separator] if separator else _SEPARATORS)))
    separator = separator or _separator(lines[:_SAMPLE], path)
    header, lines, notes = _without_empty_field(lines, separator, path)
    sample = [cell for row in csv.reader(lines[:_SAMPLE], delimiter=separator) for cell in row]
    thousands = None
    if decimal is None:
        decimal, thousands = _decimal(sample, separator, path)
        if decimal == ",":
            notes.append(f"the numbers of {path} are read with a decimal comma")
    table = pd.read_csv(
        io.StringIO("\n".join(lines)),
        sep=separator,
        decimal=decimal,
        thousands=thousands,
        header=None,
        names=range(len(header)),
        index_col=False,
        converters={i: str.strip for i, name in enumerate(header) if name == id_col},
        skipinitialspace=True,
        float_precision="round_trip",
        low_memory=False,
    )
    # A column without name or cells is what a separator at the end of each line leaves.
    kept = [i for i, name in enumerate(header) if name or not i or table[i].notna().any()]
    table = table[kept]
    table.columns = pd.Index([header[i] or (f"column {i + 1}" if i else "") for i in kept])
    return table, notes


def _text(path: Path) -> str:
    raw = path.read_bytes()
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return raw.decode("utf-16")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("cp1252", errors="replace")


def _separator(lines: list[str], path: Path) -> str:
    """The separator by which the rows have as many fields as the header, or one more."""
    fits = {}
    for separator in _SEPARATORS:
        header, *rows = (len(row) for row in csv.reader(lines, delimiter=separator))
        if header > 1 or rows[0] > 1:
            alike = sum(header <= row <= header + 1 for row in rows)
            fits[separator] = (alike == len(rows), header)
    if not fits:
        for separator in _SEPARATORS:
            widths = [len(row) for row in csv.reader(lines, delimiter=separator)]
            if sum(width == max(widths) > 1 for width in widths) > len(widths) // 2:
                first = widths.index(max(widths)) + 1
                raise InputError(
                    f"line {first} of {path} is the first with several fields; delete what is above it, so "
                    "that the names of the columns come first"
                )
        raise InputError(
            f"{path} has no series after its first column; put one column per series there, or give "
            "separator if it is none of , ; | and tab"
        )
    return max(fits, key=lambda separator: fits[separator])


def _without_empty_field(
    lines: list[str], separator: str, path: Path
) -> tuple[list[str], list[str], list[str]]:
    """The names of the columns, the rows with as many fields, and what was left out of them.

    A header with one name less than the rows have fields lacks that of the stamps, as R writes it; unless
    the fields that it lacks are empty ones at the end of the rows.

    Raises:
        InputError: A row has fewer or more fields, or there are values where names should be.
    """
    if any('"' in line for line in lines):
        counts = [len(row) for row in csv.reader(lines, delimiter=separator)]
    else:
        counts = [line.count(separator) + 1 for line in lines]
    (names,) = csv.reader(lines[:1], delimiter=separator)
    header, rows = [name.strip() for name in names], lines[1:]
    if len(counts) != len(lines):
        raise InputError(f"{path} has cells of several lines; write each row in one line")
    if any(_NUMBER_OR_DATE.fullmatch(name) for name in header[:1]):
        raise InputError(
            f"the first line of {path} begins with {header[0]!r}; put the names of the columns there"
        )
    width, notes = counts[0], []
    longer = [count > width for count in counts[1:]]
    ends = [row.rstrip(" ").endswith(separator) for row in rows]
    if any(longer) and all(end for end, is_longer in zip(ends, longer, strict=True) if is_longer):
        rows = [
            row.rstrip(" ")[:-1] if is_longer else row
            for row, is_longer in zip(rows, longer, strict=True)
        ]
        counts = [count - is_longer for count, is_longer in zip(counts[1:], longer, strict=True)]
        notes.append(f"the empty field at the end of {sum(longer)} rows of {path} was left out")
    elif all(longer):
        header, width, counts = ["", *header], width + 1, counts[1:]
    else:
        counts = counts[1:]
    for line, count in enumerate(counts, start=2):
        if count != width:
            raise InputError(
                f"line {line} of {path} has {count} fields where {width} are expected; complete it, or quote "
                "cells that hold the separator"
            )
    return header, rows, notes


def _decimal(cells: list[str], separator: str, path: Path) -> tuple[str, str | None]:
    """What separates the decimals and the thousands of some cells."""
    with_comma = [cell for cell in cells if "," in cell]
    if not with_comma or not all(
        _COMMA.fullmatch(cell) or _THOUSANDS.fullmatch(cell) for cell in with_comma
    ):
        return ".", None
    if any(_THOUSANDS.fullmatch(cell) and not _COMMA.fullmatch(cell) for cell in with_comma):
        return ".", ","
    if separator == "," and all(_THOUSANDS.fullmatch(cell) for cell in with_comma):
        raise InputError(
            f"the numbers of {path}, such as {with_comma[0]!r}, may have a decimal comma or commas between "
            "thousands; give decimal"
        )
    return ",", "." if any(_POINTS.fullmatch(cell) for cell in with_comma) else None
