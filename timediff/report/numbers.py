"""Numbers as every table and caption shows them; what is missing or undefined is a dash."""

import math

__all__ = [
    "DASH",
    "error",
    "interval",
    "p_value",
    "percent",
    "ratio",
    "seconds",
    "significant",
    "value",
    "with_error",
]

DASH = "–"


def value(number: object, digits: int = 4) -> str:
    """A number with at least so many decimals, and at least three of its digits; another value as it is."""
    if number is None or (isinstance(number, float) and math.isnan(number)):
        return DASH
    if isinstance(number, bool | int) or not isinstance(number, float) or math.isinf(number):
        return str(number)
    if number and not 1e-6 <= abs(number) < 1e6:
        return f"{number:.{digits}g}"
    return f"{number:.{_decimals(number, digits)}f}"


def with_error(number: float | None, error: float | None) -> str:
    """A number and its standard error to the same digit, where that is known."""
    if number is None or error is None or not math.isfinite(number):
        return value(number)
    return f"{value(number)} ± {error:.{_decimals(number, 4)}f}"


def significant(number: float | None, error: float | None = None, *, digits: int = 3) -> str:
    """A number to so many significant digits, with its standard error to the same place."""
    if number is None or not math.isfinite(number):
        return DASH
    places = digits - 1 - (math.floor(math.log10(abs(number))) if number else 0)
    places = min(max(places, 0), 8)
    return f"{number:.{places}f}" + ("" if error is None else f" ± {error:.{places}f}")


def error(number: float | None) -> str:
    """A standard error in a column of its own: five decimals."""
    return DASH if number is None else f"{number:.5f}"


def ratio(number: float | None) -> str:
    """A ratio: three decimals."""
    return value(number, 3)


def interval(ends: tuple[float, float] | None) -> str:
    """The interval of a ratio."""
    return DASH if ends is None else " .. ".join(map(ratio, ends))


def p_value(number: float | None) -> str:
    """A p-value to three decimals, or that it is below 0.001."""
    if number is None:
        return DASH
    return "< 0.001" if number < 0.001 else f"{number:.3f}"


def seconds(number: float | None) -> str:
    """Seconds to a tenth."""
    return DASH if number is None else f"{number:.1f}"


def percent(share: float | None) -> str:
    """A share in per cent."""
    return DASH if share is None else f"{100 * share:.1f} %"


def _decimals(number: float, least: int) -> int:
    return max(least, 2 - math.floor(math.log10(abs(number)))) if number else least
