"""Paired comparisons as they are shown: one table and one sentence, for the terminal and for a page."""

from collections.abc import Mapping, Sequence

from timediff.benchmark.record import Record
from timediff.metrics.paired import Comparison, needed
from timediff.report import numbers
from timediff.report.columns import aligned
from timediff.report.html import escape, fold, table

__all__ = ["HEAD", "as_html", "as_text", "by_title", "too_few"]

HEAD = ("against", "ratio of losses", "better in", "95 % interval", "Diebold-Mariano", "p-value")
_MEANINGS = (
    "A ratio below 1: smaller losses than theirs in the mean. The interval is where the ratio lies with 95 % "
    "confidence. p-value: how often two equally good forecasters would differ as much, by the test of "
    "Diebold and Mariano, whose statistic is beyond 2 or -2 where they hardly would."
)


def by_title(record: Record) -> dict[str, Comparison]:
    """Comparisons of a record with the others by their titles, in the order of the tables."""
    return {
        other.title: record.comparisons[name]
        for name, other in record.others.items()
        if name in record.comparisons
    }


def as_text(comparisons: Mapping[str, Comparison], *, ours: str) -> list[str]:
    """Lines for a terminal: title, table, and whether there are too few windows."""
    words = too_few(comparisons)
    return [_title(ours), *aligned(_table(comparisons)), *([words] if words else [])]


def as_html(comparisons: Mapping[str, Comparison], *, ours: str) -> str:
    """The same for a page, with the differences in each window where these are too few."""
    head, *rows = _table(comparisons)
    text = table(head, rows, caption=_title(ours))
    words = too_few(comparisons)
    if not words:
        return f"{text}<p>{_MEANINGS}</p>\n"
    few = {title: comparison for title, comparison in comparisons.items() if comparison.too_few}
    differences = zip(*(comparison.differences for comparison in few.values()), strict=False)
    inner = table(
        ["window", *few],
        [[str(w), *map(numbers.value, row)] for w, row in enumerate(differences, start=1)],
        caption=f"Loss of {ours} less theirs in each window, in data units: negative where {ours} is better",
    )
    return f"<p><strong>{escape(words)}</strong></p>\n{text}{fold('Differences per window', inner)}"


def too_few(comparisons: Mapping[str, Comparison]) -> str:
    """Sentence for windows that are too few for a test; empty where there are enough."""
    few = [comparison for comparison in comparisons.values() if comparison.too_few]
    if not few:
        return ""
    windows, least = max(c.windows for c in few), max(needed(c.overlap) for c in few)
    return (
        f"Too few windows ({windows} < {least}) to tell a difference from chance: no p-values, only the "
        "differences per window."
    )


def _title(ours: str) -> str:
    return f"CRPS_sum window by window: {ours} against"


def _table(comparisons: Mapping[str, Comparison]) -> list[Sequence[str]]:
    """Head and rows, without what tests say where none is possible."""
    columns = 3 if all(comparison.too_few for comparison in comparisons.values()) else len(HEAD)
    rows = [[title, *_cells(comparison)] for title, comparison in comparisons.items()]
    return [row[:columns] for row in (HEAD, *rows)]


def _cells(comparison: Comparison) -> list[str]:
    wins = f"{comparison.wins} of {comparison.windows} windows"
    if comparison.too_few or comparison.ratio_interval is None:
        tested = ["too few windows", numbers.DASH, numbers.DASH]
    else:
        statistic = comparison.statistic
        tested = [
            numbers.interval(comparison.ratio_interval),
            numbers.DASH if statistic is None else f"{statistic:+.2f}",
            numbers.p_value(comparison.p_value),
        ]
    return [numbers.ratio(comparison.ratio), wins, *tested]
