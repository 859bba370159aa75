"""Stamps of any kind as a `pandas.DatetimeIndex`: texts in the orders of the world, dates, periods, years.

N rows, in the order of the table; several rows may have one stamp.
"""

import datetime
import re
import warnings
from typing import NamedTuple

import numpy as np
import pandas as pd

from timediff.data.readers.regular import is_regular
from timediff.data.readers.zones import in_one_zone
from timediff.errors import InputError
from timediff.frequency import quiet_business_days, to_period_freq
from timediff.kinds import shown

__all__ = ["Stamps", "read_stamps"]

_TEXT = re.compile(
    r"\s*(?P<a>\d{1,4})(?P<s>[-/.])(?P<b>\d{1,2})(?P=s)(?P<c>\d{1,4})"
    r"(?:(?:\s*T|,?\s+)(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:[.,](?P<part>\d{1,9}))?)?"
    r"(?:\s*(?P<half>[AaPp])\.?[Mm]\.?)?)?"
    r"\s*(?P<zone>Z|UTC|GMT|[+-]\d{2}(?::?\d{2})?)?\s*"
)
_OFFSET = r"(?:[\sT]\d{1,2}:\d{2}\S*?\s*)(Z|UTC|GMT|[+-]\d{2}(?::?\d{2})?)\s*$"
_QUARTER = re.compile(r"\d{4}-?Q[1-4]")
_MONTH_NAME = re.compile(r"[A-Za-z]{3}")
_AS = "write it as 2024-01-31 13:00, or name the time column if it is another"


class Stamps(NamedTuple):
    """The stamps of the rows ``[N]``, the frequency that they state themselves, and what was supposed."""

    stamps: pd.DatetimeIndex
    freq: str | None = None
    notes: tuple[str, ...] = ()


def read_stamps(
    column: pd.Index, *, what: str, tz: str | None = None, day_first: bool | None = None
) -> Stamps:
    """The stamps of a column, with a zone where it states one.

    Args:
        column: Stamps, dates, periods, texts, or whole numbers that are years or days such as 20240131.
        what: The table, for the sentence of an error.
        tz: Zone to which stamps that state theirs are converted.
        day_first: Whether 05.06.2024 is the fifth of June.

    Raises:
        InputError: A row has no stamp, or the stamps do not say which time they mean.
    """
    if isinstance(column, pd.PeriodIndex):
        with quiet_business_days():
            read = Stamps(column.to_timestamp(), column.freqstr)
    elif isinstance(column, pd.DatetimeIndex):
        read = Stamps(column, _known(column.freqstr))
    else:
        missing = column.isna()
        if missing.any():
            raise InputError(_no_stamp(what, int(np.argmax(missing))))
        if pd.api.types.is_numeric_dtype(column.dtype):
            column = _whole_numbers(column, what)
        if all(isinstance(cell, str) for cell in column):
            # A long table has each text once per series.
            codes, texts = pd.factorize(column)
            parsed = _from_texts(pd.Index(texts), column, what, tz, day_first)
            read = parsed._replace(stamps=parsed.stamps[codes])
        else:
            read = _from_objects(column, what, tz)
    if read.stamps.hasnans:
        raise InputError(_no_stamp(what, int(np.argmax(read.stamps.isna()))))
    try:
        stamps = read.stamps.as_unit("ns")
    except pd.errors.OutOfBoundsDatetime as error:
        raise InputError(
            f"{what} has a stamp before 1678 or after 2261 ({error}); correct it"
        ) from None
    return read._replace(
        stamps=stamps if tz is None or stamps.tz is None else stamps.tz_convert(tz)
    )


def _known(freq: str | None) -> str | None:
    """The frequency that an index states, if a model can have it; -1h of falling stamps it cannot."""
    try:
        return None if freq is None else to_period_freq(freq)
    except InputError:
        return None


def _no_stamp(what: str, row: int) -> str:
    return f"row {row + 1} of {what} has no timestamp (NaT); {_AS}"


def _bad(column: pd.Index, text: object, what: str) -> InputError:
    row = int(np.argmax(np.asarray(column == text)))
    return InputError(f"row {row + 1} of {what} has {text!r} where a timestamp is needed; {_AS}")


def _whole_numbers(column: pd.Index, what: str) -> pd.Index:
    """Years such as 2024 and days such as 20240131 as texts."""
    values = column.to_numpy(dtype=np.float64)
    year, day = (((values >= 10 ** (n - 1)) & (values < 3 * 10 ** (n - 1))).all() for n in (4, 8))
    if not (year or day) or (values % 1 != 0).any():
        raise InputError(
            f"the time column of {what} holds numbers such as {column[0]}; put timestamps there, such as "
            "2024-01-31 13:00"
        )
    return pd.Index(values.astype(np.int64).astype(str).astype(object))


def _from_objects(column: pd.Index, what: str, tz: str | None) -> Stamps:
    """Dates and timestamps, perhaps of several zones."""
    first = column[0]
    for row, cell in enumerate(column):
        if isinstance(first, pd.Period):  # and not all, which would be an index of periods
            if not isinstance(cell, pd.Period) or cell.freq != first.freq:
                raise InputError(
                    f"row {row + 1} of {what} has {shown(str(cell))}, and those above are periods of "
                    f"{first.freqstr}; write all alike"
                )
        elif not isinstance(cell, datetime.date | np.datetime64 | str):
            raise _bad(column, cell, what)
    try:
        return Stamps(pd.DatetimeIndex(pd.to_datetime(column)))
    except (ValueError, TypeError):
        pass
    try:
        cells = [pd.Timestamp(cell) for cell in column]
    except (ValueError, TypeError):
        raise InputError(
            f"the time column of {what} holds {column[0]!r} and other things that are not all timestamps; "
            f"write them as 2024-01-31 13:00"
        ) from None
    offsets = [offset for cell in cells if (offset := cell.utcoffset()) is not None]
    if len(offsets) < len(cells):
        raise _half_zoned(what)
    instants = pd.DatetimeIndex([cell.tz_convert("UTC") for cell in cells])
    index, note = in_one_zone(instants, pd.TimedeltaIndex(offsets), tz, what)
    return Stamps(index, notes=note)


def _half_zoned(what: str) -> InputError:
    return InputError(
        f"some timestamps of {what} have a zone and some have none; write all with their zone, or none"
    )


def _from_texts(
    texts: pd.Index, column: pd.Index, what: str, tz: str | None, day_first: bool | None
) -> Stamps:
    """Texts, each once."""
    if all(_QUARTER.fullmatch(text.strip()) for text in texts):
        quarters = pd.PeriodIndex([text.strip().replace("-", "") for text in texts], freq="Q")
        return Stamps(quarters.to_timestamp())
    plain = [text for text in texts if text.strip().isdecimal()]
    if plain and not all(len(text.strip()) in (4, 8) for text in plain):
        raise InputError(
            f"the time column of {what} holds numbers such as {plain[0]}; put timestamps there, such as "
            "2024-01-31 13:00"
        )
    stripped = texts.str.strip()
    try:
        iso = pd.DatetimeIndex(pd.to_datetime(stripped, format="ISO8601", utc=True))
    except (ValueError, TypeError):
        return _from_fields(texts, column, what, tz, day_first)
    zones = stripped.str.extract(_OFFSET, expand=False)
    return _zoned(iso, zones, tz, what)


def _zoned(
    stamps: pd.DatetimeIndex, zones: pd.Index | pd.Series, tz: str | None, what: str
) -> Stamps:
    """Stamps that were read in UTC, with the zone that each text ends in or none."""
    zones = pd.Series(np.asarray(zones, dtype=object))
    if zones.isna().all():
        return Stamps(stamps.tz_localize(None))
    if zones.isna().any():
        raise _half_zoned(what)
    index, note = in_one_zone(stamps, pd.to_timedelta(zones.map(_seconds), unit="s"), tz, what)
    return Stamps(index, notes=note)


def _seconds(zone: str) -> int:
    """What a zone such as Z or +05:30 is ahead of UTC, in seconds."""
    if zone in ("Z", "UTC", "GMT"):
        return 0
    digits = zone[1:].replace(":", "").ljust(4, "0")
    return (1 if zone[0] == "+" else -1) * (3600 * int(digits[:2]) + 60 * int(digits[2:]))


def _from_fields(
    texts: pd.Index, column: pd.Index, what: str, tz: str | None, day_first: bool | None
) -> Stamps:
    """Texts that are not ISO 8601, such as 31.01.2024 13:00 or 1/31/2024 1:00 PM."""
    matches = [_TEXT.fullmatch(text) for text in texts]
    if not any(matches) and all(_MONTH_NAME.search(text) for text in texts):
        return _from_month_names(texts, column, what)
    for text, match in zip(texts, matches, strict=True):
        if match is None:
            raise _bad(column, text, what)
    fields = pd.DataFrame([match.groupdict() for match in matches if match is not None])
    sizes = {letter: fields[letter].str.len().to_numpy() for letter in "ac"}
    dates = fields[["a", "b", "c"]].astype(int).to_numpy().T
    time = _time_of_day(fields)
    if time.hasnans:
        raise _bad(column, texts[int(np.argmax(time.isna()))], what)
    notes: tuple[str, ...] = ()
    if (sizes["a"] == 4).all():
        orders = [(0, 1, 2)]
    elif (sizes["c"] == 4).all() or (day_first is not None and (sizes["c"] == 2).all()):
        dates[2] += np.where(sizes["c"] == 2, 2000, 0)
        orders, notes = _orders(dates, time, texts, what, day_first)
    elif (sizes["a"] <= 2).all() and (sizes["c"] <= 2).all():
        raise InputError(
            f"the dates of {what}, such as {texts[0]!r}, do not say which part is the year; write years with "
            "four digits, or give day_first"
        )
    else:
        raise InputError(
            f"the timestamps of {what} are not all written alike, such as {texts[0]!r} and {texts[-1]!r}; "
            "write them as 2024-01-31 13:00"
        )
    stamps = _assembled(dates, orders[0], time)
    if stamps.hasnans:
        raise _bad(column, texts[int(np.argmax(stamps.isna()))], what)
    zones = fields["zone"]
    if zones.notna().all():
        stamps = stamps - pd.TimedeltaIndex(pd.to_timedelta(zones.map(_seconds), unit="s"))
    stated = _zoned(stamps.tz_localize("UTC"), zones, tz, what)
    return stated._replace(notes=(*notes, *stated.notes))


def _time_of_day(fields: pd.DataFrame) -> pd.TimedeltaIndex:
    """Time since midnight; NaT where the clock has no such time, as 24:00."""
    hour, minute, second = (
        fields[name].fillna("0").astype(int).to_numpy() for name in ("hour", "minute", "second")
    )
    half = fields["half"].str.lower().fillna("").to_numpy()
    bad = (hour > 23) | (minute > 59) | (second > 59) | ((half != "") & ((hour < 1) | (hour > 12)))
    hour = np.where(half == "", hour, hour % 12 + 12 * (half == "p"))
    part = fields["part"].fillna("").str.ljust(9, "0").astype(np.int64).to_numpy()
    time = pd.to_timedelta((hour * 60 + minute) * 60 + second, unit="s") + pd.to_timedelta(part)
    return pd.TimedeltaIndex(time.where(~bad))


def _assembled(
    dates: np.ndarray, order: tuple[int, int, int], time: pd.TimedeltaIndex
) -> pd.DatetimeIndex:
    year, month, day = (dates[i] for i in order)
    days = pd.to_datetime({"year": year, "month": month, "day": day}, errors="coerce")
    return pd.DatetimeIndex(days) + time


def _orders(
    dates: np.ndarray, time: pd.TimedeltaIndex, texts: pd.Index, what: str, day_first: bool | None
) -> tuple[list[tuple[int, int, int]], tuple[str, ...]]:
    """Places of year, month and day, and how they were told, if the dates themselves leave it open."""
    by_day, by_month = (2, 1, 0), (2, 0, 1)
    if day_first is not None:
        return [by_day if day_first else by_month], ()
    first, second = (bool((part > 12).any()) for part in dates[:2])
    if first and second:
        row = int(np.argmax(dates[0] > 12)), int(np.argmax(dates[1] > 12))
        raise InputError(
            f"the timestamps of {what} are not all written alike, such as {texts[row[0]]!r} and "
            f"{texts[row[1]]!r}; write them as 2024-01-31 13:00"
        )
    if first or second:
        return [by_day if first else by_month], ()
    regular = [
        order
        for order in (by_day, by_month)
        if not (stamps := _assembled(dates, order, time)).hasnans
        and is_regular(stamps.sort_values())
    ]
    if len(regular) != 1:
        raise InputError(
            f"the dates of {what}, such as {texts[0]!r}, may have the day or the month first; give "
            "day_first as true or false"
        )
    order = "day" if regular[0] == by_day else "month"
    return regular, (
        f"the dates of {what}, such as {texts[0]}, are read with the {order} first, as only so their steps "
        "are regular",
    )


def _from_month_names(texts: pd.Index, column: pd.Index, what: str) -> Stamps:
    with warnings.catch_warnings(action="ignore"):  # what it warns of ends in an error below
        stamps = pd.to_datetime(texts, errors="coerce")
    if stamps.isna().any():
        raise _bad(column, texts[int(np.argmax(stamps.isna()))], what)
    return Stamps(pd.DatetimeIndex(stamps))
