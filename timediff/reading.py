"""How a table is read: what its columns are, and what its cells do not say of themselves."""

from typing import NamedTuple

__all__ = ["Reading", "differing"]


class Reading(NamedTuple):
    """How a table is read.

    Args:
        id_col: Column of the series' names in a long table.
        time_col: Column of the stamps.
        target_col: Column of the values in a long table.
        futr: Columns of covariates that are known ahead.
        hist: Columns of covariates that are known for the past only.
        freq: Frequency, any alias of pandas; what the stamps suggest when left out.
        tz: Zone of the local clock that stamps without a zone show, or to show others in: Europe/Berlin.
        separator: Between the fields of a CSV; what fits when left out.
        decimal: Point or comma of a CSV; what its numbers show when left out.
        day_first: Whether 05.06.2024 is the fifth of June; what the stamps show when left out.
    """

    id_col: str = "unique_id"
    time_col: str = "ds"
    target_col: str = "y"
    futr: list[str] = []  # noqa: RUF012 (never changed)
    hist: list[str] = []  # noqa: RUF012
    freq: str | None = None
    tz: str | None = None
    separator: str | None = None
    decimal: str | None = None
    day_first: bool | None = None


def differing(reading: Reading) -> list[str]:
    """Names of the fields that are not their defaults."""
    return [name for name, value in reading._asdict().items() if value != getattr(Reading(), name)]
