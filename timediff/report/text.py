"""The text a person reads at the end of an evaluation: a table of all entrants, then scores of the first."""

from pathlib import Path
from textwrap import wrap

from timediff.benchmark.record import COMPARED, NLL_TITLES, Record, Result, Values
from timediff.metrics import is_loss
from timediff.registry import METRICS
from timediff.report import comparisons, numbers
from timediff.report.columns import aligned
from timediff.report.opening import sentences
from timediff.report.scores import MAIN, aims, published_value, score_rows, setting

__all__ = ["as_text"]

_WIDTH = 100


def as_text(record: Record, out: Path) -> str:
    """Verdict, table of entrants, list of the first one's scores, how it was made, where everything is."""
    head = [f"{record.dataset.name}: {setting(record)}"]
    head += wrap(" ".join(sentences(record)), width=_WIDTH)
    paired, ours = comparisons.by_title(record), record.evaluated.title
    compared = comparisons.as_text(paired, ours=ours) if paired else []
    if comparisons.too_few(paired):
        compared.append("Those in CRPS_sum are in record.json.")
    parts = [head, aligned(_entrants(record)), compared, aligned(_scores(record))]
    return "\n\n".join("\n".join(part) for part in [*parts, _tail(record, out)] if part)


def _entrants(record: Record) -> list[tuple[str, ...]]:
    """Head, the entrants by the first score, the evaluated one among them; what was published last."""
    head = ("", *MAIN.values(), "seconds", *(["x floor"] if record.floor else []))
    after = [] if record.recalibration is None else [record.recalibration]
    rows = [head]
    for result in sorted([*record.ranked, *after], key=lambda result: result.crps_sum):
        rows += [_entrant(record, result), *_errors(result.metrics_se)]
    for entry in record.dataset.published:
        if entry.metric in MAIN:
            cells = [published_value(entry) if name == entry.metric else "" for name in MAIN]
            rows.append((f"published: {entry.model}", *cells))
    return [row + ("",) * (len(head) - len(row)) for row in rows]


def _errors(errors: Values) -> list[tuple[str, ...]]:
    """A row of the standard errors over seeds, where there are several: the table is narrower so."""
    cells = [errors.get(name) for name in MAIN]
    if all(value is None for value in cells):
        return []
    return [("  ± over seeds", *(numbers.error(value) for value in cells))]


def _entrant(record: Record, result: Result) -> tuple[str, ...]:
    cells = [numbers.value(result.metrics.get(name)) for name in MAIN]
    row = [result.title, *cells, numbers.seconds(result.seconds_each.total)]
    if record.floor is not None:
        row.append(numbers.ratio(record.over_floor(result).get(COMPARED)))
    return tuple(row)


def _scores(record: Record) -> list[tuple[str, ...]]:
    """Every score of the evaluated entrant, with a column of its ratio to the floor where there is one."""
    ours, floor = record.evaluated, record.floor
    rows: list[tuple[str, ...]] = [("", ours.title, *(["x floor"] if floor else []))]
    ratios = record.over_floor(ours)
    for name, row in zip(METRICS, score_rows(METRICS, [ours]), strict=True):
        ratio = numbers.ratio(ratios.get(name)) if is_loss(name) else ""
        rows.append((*row, *([ratio] if floor else [])))
    blank = ("",) if floor else ()
    for name, scores in ours.aggregates.items():
        title = f"CRPS of {name} ({scores['unit']})"
        rows.append((title, numbers.value(scores["crps_units"]), *blank))
        rows += [
            (f"  {other.title}", numbers.value(other.aggregates[name]["crps_units"]), *blank)
            for other in record.others.values()
        ]
    for name, title in NLL_TITLES.items() if ours.nll else ():
        value = numbers.with_error(ours.nll[name], ours.nll_se[name])
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
    trained = "" if training is None else f"training {numbers.seconds(training)} s, "
    calls = ours.details.get("network_calls")
    called = "" if calls is None else f"{calls} network calls per forecast, "
    naive = record.entrants.get("seasonal_naive")
    return [
        f"{trained}sampling {numbers.seconds(sampling)} s, {called}on {record.hardware['device']}",
        *([f"the seasonal naive repeats {naive.details['season']} steps"] if naive else []),
        "CRPS_sum is mean_wquantile_loss_sum, the published definition",
        f"aim of coverages of series and sum: {aims(record.num_samples)}",
        *(f"published: {entry.model}, {entry.source}" for entry in published),
        f"table    {out / 'table.txt'}",
        f"record   {out / 'record.json'}",
        f"picture  {out / 'forecast.png'}",
        *([] if ours.diagnosis is None else [f"report   {out / 'report.html'}"]),
        f"paths    {out / 'forecasts.parquet'}",
        *density,
    ]
