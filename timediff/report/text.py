"""The text a person reads at the end of an evaluation: one table of all entrants, then all scores of ours."""

from pathlib import Path
from typing import Any

from timediff.benchmark.record import COMPARED, FLOOR, NLL_TITLES
from timediff.metrics import is_loss, title_of
from timediff.metrics.paired import in_words
from timediff.registry import METRICS
from timediff.report.columns import aligned
from timediff.report.entrants import Entrant, entrants_of

#: Scores that the table of entrants shows.
MAIN = {
    "mean_wquantile_loss_sum": "CRPS_sum",
    "mean_wquantile_loss": "CRPS",
    "energy_score": "energy",
    "nd": "ND",
    "coverage_90": "90 % cov.",
}


def as_text(record: dict[str, Any], out: Path) -> str:
    """Table of entrants, list of our scores, how it was made, and where everything is."""
    dataset, seeds = record["dataset"], record["seeds"]
    head = (
        f"{dataset['name']}: {dataset['series']} series, horizon {dataset['prediction_length']}, "
        f"{dataset['windows']} windows, {record['num_samples']} paths, "
        f"{'seeds' if len(seeds) > 1 else 'seed'} {', '.join(map(str, seeds))}"
    )
    parts = [[head], aligned(_entrants(record)), _compared(record), aligned(_scores(record))]
    return "\n\n".join("\n".join(part) for part in [*parts, _tail(record, out)] if part)


def _entrants(record: dict[str, Any]) -> list[tuple[str, ...]]:
    """Head, ours, and the others by the first score; what was published last."""
    ours, *others = entrants_of(record)
    floor = record["baselines"].get(FLOOR)
    head = ("", *MAIN.values(), "seconds", *(["x floor"] if floor else []))
    rows = [head, _entrant(ours, floor), *_errors(record["metrics_se"])]
    if "recalibration" in record:
        found = record["recalibration"]
        rows.append((found["title"], *(_number(found["after"][name], None) for name in MAIN)))
        rows += _errors(found["after_se"])
    rows += [_entrant(one, floor) for one in others]
    for entry in record["dataset"]["published"]:
        if entry["metric"] in MAIN:
            value = f"{entry['value']:g} ± {entry['error']:g}"
            cells = [value if name == entry["metric"] else "" for name in MAIN]
            rows.append((f"published: {entry['model']}", *cells))
    return [row + ("",) * (len(head) - len(row)) for row in rows]


def _errors(found: dict[str, float | None]) -> list[tuple[str, ...]]:
    """A row of the standard errors over seeds, where there are several: the table is narrower so."""
    cells = [found[name] for name in MAIN]
    if all(value is None for value in cells):
        return []
    return [("  ± over seeds", *("-" if value is None else f"{value:.5f}" for value in cells))]


def _entrant(one: Entrant, floor: dict[str, Any] | None) -> tuple[str, ...]:
    cells = [_number(one.metrics[name], None) for name in MAIN]
    row = [one.title, *cells, "-" if one.seconds is None else f"{one.seconds:.1f}"]
    if floor is not None:
        row.append(_ratio(one.metrics[COMPARED], floor["metrics"][COMPARED]))
    return tuple(row)


def _compared(record: dict[str, Any]) -> list[str]:
    """What the paired comparisons of windows say."""
    found = record["comparisons"]
    if not found:
        return []
    if any(one["too_few"] for one in found.values()):
        count = record["dataset"]["windows"]
        return [
            f"too few windows ({count}) for a test; their differences in CRPS_sum are in record.json"
        ]
    lines = ["CRPS_sum, paired by window (ratio of ours; 95 % interval; Diebold-Mariano p-value):"]
    for name, one in found.items():
        low, high = one.get("ratio_interval") or (None, None)
        interval = "" if low is None else f"  {low:.3f} .. {high:.3f}"
        p_value = one.get("p_value")
        chance = "" if p_value is None else f"  {in_words(p_value)}"
        title = record["baselines"][name]["title"]
        lines.append(
            f"  against {title}: {_number(one['ratio'], None)}{interval}{chance}, "
            f"better in {one['wins']} of {one['windows']}"
        )
    return lines


def _scores(record: dict[str, Any]) -> list[tuple[str, ...]]:
    """Every score of ours, with a column of its ratio to the floor where there is one."""
    floor = record["baselines"].get(FLOOR, {}).get("metrics")
    rows: list[tuple[str, ...]] = [("", record["title"], *(["x floor"] if floor else []))]
    for name in METRICS:
        title = title_of(name)
        value = _number(record["metrics"][name], record["metrics_se"][name])
        compares = is_loss(name)
        ratio = [_ratio(record["metrics"][name], floor[name]) if compares else ""] if floor else []
        rows.append((title, value, *ratio))
    blank = ("",) if floor else ()
    for name, ours in record["aggregates"].items():
        title = f"CRPS of {name} ({ours['unit']})"
        rows.append((title, _number(ours["crps_units"], None), *blank))
        rows += [
            (f"  {one['title']}", _number(one["aggregates"][name]["crps_units"], None), *blank)
            for one in record["baselines"].values()
        ]
    for name, title in NLL_TITLES.items() if "nll" in record else ():
        value = _number(record["nll"][name], record["nll_se"][name])
        rows.append((f"{title}, nats per dimension", value, *blank))
    return rows


def _tail(record: dict[str, Any], out: Path) -> list[str]:
    dataset, seconds = record["dataset"], record["seconds"]
    density = []
    if "nll" in record:
        first = record["per_seed"][0]["nll"]
        density = [
            f"in bits: bound {record['nll']['bound_bits']:.4f}, likelihood "
            f"{record['nll']['nll_bits']:.4f}; {first['windows']} windows scored, "
            f"{first['left_out']} with missing targets left out",
            f"terms    {out / 'nll.png'}",
        ]
    training = "" if seconds["training"] is None else f"training {seconds['training']:.0f} s, "
    calls = record["network_calls"]
    called = "" if calls is None else f"{calls} network calls per forecast, "
    naive = record["baselines"].get("seasonal_naive", {})
    return [
        f"{training}sampling {seconds['sampling']:.1f} s, {called}on {record['hardware']['device']}",
        *([f"the seasonal naive repeats {naive['season']} steps"] if naive else []),
        "CRPS_sum is mean_wquantile_loss_sum, the published definition",
        *(f"published: {entry['model']}, {entry['source']}" for entry in dataset["published"]),
        f"table    {out / 'table.txt'}",
        f"record   {out / 'record.json'}",
        f"picture  {out / 'forecast.png'}",
        *([f"report   {out / 'report.html'}"] if "diagnosis" in record else []),
        f"paths    {out / 'forecasts.parquet'}",
        *density,
    ]


def _number(value: float | None, error: float | None) -> str:
    if value is None or value != value:
        return "-"
    return f"{value:.4f}" + (f" ± {error:.4f}" if error is not None else "")


def _ratio(value: float | None, floor: float | None) -> str:
    return f"{value / floor:.3f}" if value is not None and floor else "-"
