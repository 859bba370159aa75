"""Arrays of numbers as users give them, read without a loss that nobody hears of.

numpy drops the mask of a masked array, reads stamps and texts as numbers, and turns what float32 cannot hold
into infinity.
"""

from typing import Any

import numpy as np

from timediff.errors import InputError

__all__ = ["LARGEST_VALUE", "MOST_CELLS", "first_too_large", "numbers", "plain_array"]

#: Values of a series are below this, as float32 cannot hold the squares of larger ones.
LARGEST_VALUE = 1e18
#: Values that are read into memory from one file or folder, at most.
MOST_CELLS = 2**28

_KINDS = {
    "c": "complex numbers; give their real part",
    "M": "stamps; give numbers",
    "m": "durations; give numbers in one unit",
    "U": "text; give numbers",
    "S": "text; give numbers",
}


def plain_array(values: Any, what: str) -> np.ndarray:
    """What numpy makes an array of, in its own precision.

    Args:
        values: The array, or rows of it.
        what: What to call it.

    Raises:
        InputError: Something would be lost: a mask, an imaginary part, that stamps and texts are no numbers.
        ValueError: The rows are of different lengths.
    """
    rows = values if isinstance(values, list | tuple) else [values]
    if any(isinstance(row, np.ma.MaskedArray) for row in rows):
        raise InputError(f"{what} is a masked array; give its filled(numpy.nan)")
    if any(getattr(row, "requires_grad", False) for row in rows):
        raise InputError(f"{what} is a tensor that wants gradients; give its detach()")
    if hasattr(values, "columns"):
        raise InputError(
            f"{what} is a frame, whose rows are steps; give an array, its to_numpy().T"
        )
    try:
        array = np.asarray(values)
    except TypeError as error:  # numbers that numpy does not have, such as torch's bfloat16
        raise InputError(f"{what} is not numeric ({error}); give numbers of numpy") from error
    kinds = {array.dtype.kind}
    if array.dtype == object:
        cells = {type(cell): cell for cell in array.flat}.values()
        kinds = {np.asarray(cell).dtype.kind for cell in cells}
    for kind in sorted(kinds & _KINDS.keys()):
        raise InputError(f"{what} is not numeric: it holds {_KINDS[kind]}")
    return array


def numbers(values: Any, what: str) -> np.ndarray:
    """An array of numbers, float64, NaN where missing; infinities are left in it.

    Args:
        values: As for `plain_array`.
        what: What to call it.

    Raises:
        InputError: It holds anything but numbers, or something would be lost.
    """
    try:
        return np.asarray(plain_array(values, what), dtype=np.float64)
    except InputError:
        raise
    except Exception as error:  # an object may refuse in any way
        for sign in ("NA", "NaT"):
            if f"{sign}Type" in str(error):
                raise InputError(
                    f"{what} holds pandas.{sign}; give NaN where a value is missing"
                ) from error
        if isinstance(error, OverflowError):
            raise InputError(
                f"{what} has a number too large for a float; values must be below {LARGEST_VALUE:g}: give "
                "NaN where unknown, or a larger unit"
            ) from error
        raise InputError(
            f"{what} is not numeric ({error}); give numbers, NaN where unknown"
        ) from error


def first_too_large(values: np.ndarray) -> tuple[int, ...] | None:
    """Where the first value is infinite or not below `LARGEST_VALUE`, if there is one."""
    large = np.abs(values) >= LARGEST_VALUE
    if not large.any():
        return None
    return tuple(int(i) for i in np.argwhere(large)[0])
