"""Who takes part in a record: the evaluated forecaster first, then the baselines in order of merit."""

import math
from typing import Any, NamedTuple

from timediff.benchmark.record import COMPARED, OURS


class Entrant(NamedTuple):
    """One column of the tables.

    Args:
        name: Its key in the record.
        title: How it is called in tables and pictures.
        metrics: Its scores, None where undefined.
        errors: Standard errors over seeds, None where unknown.
        seconds: Of one training and the sampling of all windows, None where unknown.
        note: What should be known about it.
    """

    name: str
    title: str
    metrics: dict[str, float | None]
    errors: dict[str, float | None]
    seconds: float | None
    note: str


def entrants_of(record: dict[str, Any]) -> list[Entrant]:
    """Entrants of a record, ours first, the others by `COMPARED`, those without it last."""
    runs = max(len(record.get("seeds", ())), 1)
    seconds = seconds_of(record)
    ours = Entrant(
        OURS,
        str(record.get("title", OURS)),
        record["metrics"],
        record.get("metrics_se", {}),
        None if seconds is None else seconds / runs,
        "",
    )
    others = [
        Entrant(
            name,
            str(found.get("title", name)),
            found["metrics"],
            found.get("metrics_se", {}),
            seconds_of(found),
            str(found.get("note") or ""),
        )
        for name, found in record.get("baselines", {}).items()
    ]
    return [ours, *sorted(others, key=_merit)]


def _merit(entrant: Entrant) -> float:
    value = entrant.metrics.get(COMPARED)
    return math.inf if value is None or math.isnan(value) else value


def seconds_of(found: dict[str, Any]) -> float | None:
    """Of training and sampling together, as far as known."""
    spent = [value for value in (found.get("seconds") or {}).values() if value is not None]
    return float(sum(spent)) if spent else None
