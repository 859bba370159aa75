"""The cells of a column as numbers or categories, or the first that is neither, by name."""

import re

import numpy as np
import pandas as pd

from timediff.errors import InputError
from timediff.tools.numbers import LARGEST_VALUE, first_too_large

__all__ = ["covariate", "numbers"]


def numbers(column: pd.Series, what: str, rows: pd.Index | None = None) -> np.ndarray:
    """The column as float64 ``[N]``, NaN where a cell is missing.

    Args:
        column: Numbers, or texts of numbers.
        what: The column and its table, for the sentence of an error.
        rows: What a row is called, such as its stamp; its number when None.

    Raises:
        InputError: It holds truth values, complex numbers, texts, or values of 1e18 and more.
    """
    dtype = column.dtype
    if pd.api.types.is_bool_dtype(dtype):
        raise InputError(f"{what} holds truth values; convert it to 0 and 1, or remove it")
    if pd.api.types.is_complex_dtype(dtype):
        raise InputError(f"{what} holds complex numbers; give its real part, or remove it")
    if pd.api.types.is_datetime64_any_dtype(dtype) or pd.api.types.is_timedelta64_dtype(dtype):
        raise InputError(f"{what} holds times, not numbers; convert or remove it")
    if pd.api.types.is_numeric_dtype(dtype):
        values = column.to_numpy(dtype=np.float64, na_value=np.nan)
    else:
        values = _from_cells(column, what, rows)
    if (place := first_too_large(values)) is not None:
        row = place[0]
        raise InputError(
            f"{what} has {values[row]} in {_row(rows, row)}; values must be below {LARGEST_VALUE:g}: "
            "leave it out or scale the column"
        )
    return values


def covariate(column: pd.Series, what: str) -> np.ndarray:
    """The column as float64 ``[N]`` if it holds numbers or truth values, else its texts as objects."""
    if pd.api.types.is_bool_dtype(column.dtype):
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    if pd.api.types.is_numeric_dtype(column.dtype):
        return numbers(column, what)
    if pd.api.types.is_complex_dtype(column.dtype) or pd.api.types.is_datetime64_any_dtype(
        column.dtype
    ):
        raise InputError(f"{what} holds {column.dtype} cells; a covariate is numbers or categories")
    cells = column.astype(object)
    texts = np.array([None if pd.isna(cell) else str(cell) for cell in cells], dtype=object)
    if not len(texts) or all(text is None for text in texts):
        return np.full(len(texts), np.nan)
    return texts


def _from_cells(column: pd.Series, what: str, rows: pd.Index | None) -> np.ndarray:
    """Numbers of a column of objects, texts or categories."""
    cells = column.astype(object)
    odd = cells.map(lambda cell: isinstance(cell, bool | np.bool_ | complex))
    parsed = pd.to_numeric(cells.mask(odd), errors="coerce")
    bad = np.asarray(parsed.isna() & (cells.notna() | odd))
    if bad.any():
        row = int(np.argmax(bad))
        way = "convert it, remove it, or name its role"
        if re.fullmatch(r"\d{1,2}:\d\d(:\d\d)?", str(cells.iloc[row]).strip()):
            way = "put the time of day into the column of the dates"
        raise InputError(
            f"{what} has {_shown(cells.iloc[row])} in {_row(rows, row)} and is not numeric; {way}"
        )
    return parsed.to_numpy(dtype=np.float64, na_value=np.nan)


def _row(rows: pd.Index | None, row: int) -> str:
    return f"row {row + 1}" + ("" if rows is None else f" ({rows[row]})")


def _shown(cell: object) -> str:
    text = repr(cell)
    return text if len(text) <= 40 else f"{text[:37]}..."
