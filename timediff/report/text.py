"""The text a person reads at the end of an evaluation: a table of all entrants, then scores of the first."""

from pathlib import Path

from timediff.benchmark.record import COMPARED, NLL_TITLES, Record, Result, Values
from timediff.metrics import is_loss, title_of
from timediff.metrics.paired import in_words
from timediff.registry import METRICS
from timediff.report.columns import aligned
from timediff.report.numbers import fixed, ratio

__all__ = ["MAIN", "as_text"]

#: Scores that the table of entrants shows.
MAIN = {
    "mean_wquantile_loss_sum": "CRPS_sum",
    "mean_wquantile_loss": "CRPS",
    "energy_score": "energy",
    "nd": "ND",
    "coverage_90": "90 % cov.",
}


def as_text(record: Record, out: Path) -> str:
    """Table of entrants, list of the first one's scores, how it was made, and where everything is."""
    data, seeds = record.dataset, record.evaluated.seeds
    head = (
        f"{data.name}: {data.series} series, horizon {data.prediction_length}, "
        f"{data.windows} windows, {record.num_samples} paths, "
        f"{'seeds' if len(seeds) > 1 else 'seed'} {', '.join(map(str, seeds))}"
    )
    parts = [[head], aligned(_entrants(record)), _compared(record), aligned(_scores(record))]
    return "\n\n".join("\n".join(part) for part in [*parts, _tail(record, out)] if part)


def _entrants(record: Record) -> list[tuple[str, ...]]:
    """Head, the evaluated entrant, and the others by the first score; what was published last."""
    head = ("", *MAIN.values(), "seconds", *(["x floor"] if record.floor else []))
    after = [] if record.recalibration is None else [record.recalibration]
    rows = [head]
    for result in [record.evaluated, *after, *record.others.values()]:
        rows += [_entrant(result, record.floor), *_errors(result.metrics_se)]
    for entry in record.dataset.published:
        if entry.metric in MAIN:
            value = f"{entry.value:g} ± {entry.error:g}"
            cells = [value if name == entry.metric else "" for name in MAIN]
            rows.append((f"published: {entry.model}", *cells))
    return [row + ("",) * (len(head) - len(row)) for row in rows]


def _errors(errors: Values) -> list[tuple[str, ...]]:
    """A row of the standard errors over seeds, where there are several: the table is narrower so."""
    cells = [errors.get(name) for name in MAIN]
    if all(value is None for value in cells):
        return []
    return [("  ± over seeds", *("-" if value is None else f"{value:.5f}" for value in cells))]


def _entrant(result: Result, floor: Result | None) -> tuple[str, ...]:
    cells = [fixed(result.metrics.get(name)) for name in MAIN]
    seconds = result.seconds_each.total
    row = [result.title, *cells, "-" if seconds is None else f"{seconds:.1f}"]
    if floor is not None:
        row.append(ratio(result.metrics.get(COMPARED), floor.metrics.get(COMPARED)))
    return tuple(row)


def _compared(record: Record) -> list[str]:
    """What the paired comparisons of windows say."""
    if not record.comparisons:
        return []
    if any(one.too_few for one in record.comparisons.values()):
        count = record.dataset.windows
        return [
            f"too few windows ({count}) for a test; their differences in CRPS_sum are in record.json"
        ]
    lines = ["CRPS_sum, paired by window (ratio of ours; 95 % interval; Diebold-Mariano p-value):"]
    for name, one in record.comparisons.items():
        low, high = one.ratio_interval or (None, None)
        interval = "" if low is None or high is None else f"  {low:.3f} .. {high:.3f}"
        chance = "" if one.p_value is None else f"  {in_words(one.p_value)}"
        lines.append(
            f"  against {record.entrants[name].title}: {fixed(one.ratio)}{interval}{chance}, "
            f"better in {one.wins} of {one.windows}"
        )
    return lines


def _scores(record: Record) -> list[tuple[str, ...]]:
    """Every score of the evaluated entrant, with a column of its ratio to the floor where there is one."""
    ours, floor = record.evaluated, record.floor
    rows: list[tuple[str, ...]] = [("", ours.title, *(["x floor"] if floor else []))]
    for name in METRICS:
        title = title_of(name)
        value = fixed(ours.metrics.get(name), ours.metrics_se.get(name))
        quotient = []
        if floor is not None:
            compares = is_loss(name)
            quotient = [ratio(ours.metrics.get(name), floor.metrics.get(name)) if compares else ""]
        rows.append((title, value, *quotient))
    blank = ("",) if floor else ()
    for name, scores in ours.aggregates.items():
        title = f"CRPS of {name} ({scores['unit']})"
        rows.append((title, fixed(scores["crps_units"]), *blank))
        rows += [
            (f"  {other.title}", fixed(other.aggregates[name]["crps_units"]), *blank)
            for other in record.others.values()
        ]
    for name, title in NLL_TITLES.items() if ours.nll else ():
        value = fixed(ours.nll[name], ours.nll_se[name])
        rows.append((f"{title}, nats per dimension", value, *blank))
    return rows


def _tail(record: Record, out: Path) -> list[str]:
    ours, published = record.evaluated, record.dataset.published
    density = []
    first = ours.per_seed[0].nll if ours.per_seed else None
    if first is not None:
        density = [
            f"in bits: bound {ours.nll['bound_bits']:.4f}, likelihood {ours.nll['nll_bits']:.4f}; "
            f"{first.windows} windows scored, {first.left_out} with missing targets left out",
            f"terms    {out / 'nll.png'}",
        ]
    training, sampling = ours.seconds
    trained = "" if training is None else f"training {training:.0f} s, "
    calls = ours.details.get("network_calls")
    called = "" if calls is None else f"{calls} network calls per forecast, "
    naive = record.entrants.get("seasonal_naive")
    return [
        f"{trained}sampling {sampling:.1f} s, {called}on {record.hardware['device']}",
        *([f"the seasonal naive repeats {naive.details['season']} steps"] if naive else []),
        "CRPS_sum is mean_wquantile_loss_sum, the published definition",
        *(f"published: {entry.model}, {entry.source}" for entry in published),
        f"table    {out / 'table.txt'}",
        f"record   {out / 'record.json'}",
        f"picture  {out / 'forecast.png'}",
        *([] if ours.diagnosis is None else [f"report   {out / 'report.html'}"]),
        f"paths    {out / 'forecasts.parquet'}",
        *density,
    ]
