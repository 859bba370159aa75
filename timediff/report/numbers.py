"""Numbers as tables show them: every format, once."""

import math

__all__ = ["fixed", "number", "p_value", "percent", "ratio", "with_error"]


def number(value: object, digits: int = 4) -> str:
    """A value for a table, with at least three of its digits; what is missing or undefined is a dash."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int) or not math.isfinite(value):
        return str(value)
    if value and not 1e-6 <= abs(value) < 1e6:
        return f"{value:.{digits}g}"
    return f"{value:.{_decimals(value, digits)}f}"


def with_error(value: float | None, error: float | None) -> str:
    """A value and its standard error to the same digit, where that is known."""
    if value is None or error is None or not math.isfinite(value):
        return number(value)
    return f"{number(value)} ± {error:.{_decimals(value, 4)}f}"


def _decimals(value: float, least: int) -> int:
    return max(least, 2 - math.floor(math.log10(abs(value)))) if value else least


def fixed(value: float | None, error: float | None = None) -> str:
    """A value with four digits after the point, for columns of plain text, and its standard error."""
    if value is None or math.isnan(value):
        return "-"
    return f"{value:.4f}" + (f" ± {error:.4f}" if error is not None else "")


def ratio(value: float | None, floor: float | None) -> str:
    """A value over that of the floor, for columns of plain text."""
    return f"{value / floor:.3f}" if value is not None and floor else "-"


def percent(share: float | None) -> str:
    """A share in per cent."""
    return "–" if share is None else f"{100 * share:.1f} %"


def p_value(value: float | None) -> str:
    """A p-value with three digits, bounded where it is smaller."""
    if value is None:
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
