"""The tables of a report: scores of all entrants, comparisons, protocols, configuration."""

from collections.abc import Mapping, Sequence
from typing import Any

from timediff.benchmark.record import FLOOR
from timediff.metrics import is_loss, title_of
from timediff.metrics.paired import needed
from timediff.report.captions import COVERAGE
from timediff.report.entrants import Entrant
from timediff.report.html import escape, number, table, with_error

MAIN_SCORES = (
    *("mean_wquantile_loss_sum", "mean_wquantile_loss", "crps_sum", "crps", "energy_score"),
    *("variogram_score", "dawid_sebastiani", "nd", "nrmse", "mase", "msis"),
    *("coverage_50", "coverage_90", "coverage_50_sum", "coverage_90_sum", "coverage_90_joint"),
    *("reliability_error_sum", "sharpness_90_sum", "correlation_error"),
)
"""Scores shown at once; the others are behind a fold."""


def facts(record: dict[str, Any]) -> str:
    """What was forecast, in a sentence or two."""
    data, seeds = record["dataset"], record["seeds"]
    share = record.get("observed_share")
    observed = "" if share is None else f"{share:.1%} of the truth was observed. "
    own = (
        "the known values of this name"
        if data.get("verified")
        else "not compared with known values"
    )
    source = f"Data: {escape(data['source'])} ({escape(data['licence'])}), {own}."
    if data["source"] == "not stated":
        source = ""
    first = (
        " Scores are means over the seeds; pictures, coverages and Monte-Carlo errors are of seed "
        f"{seeds[0]}."
        if len(seeds) > 1
        else ""
    )
    return (
        f"<p>{data['series']} series, frequency {escape(data['freq'])}, horizon "
        f"{data['prediction_length']} steps, {data['windows']} windows, {record['num_samples']} paths, "
        f"{'seeds' if len(seeds) > 1 else 'seed'} {', '.join(map(str, seeds))}, preset "
        f"{escape(record.get('preset', '–'))}. {observed}{source}{first}</p>\n"
    )


def scores(record: dict[str, Any], entrants: Sequence[Entrant]) -> str:
    """Every score of every entrant: the main ones at once, the others behind a fold."""
    names = list(record["metrics"])
    defined = {name for e in entrants for name in names if e.metrics.get(name) is not None}
    main = [name for name in MAIN_SCORES if name in defined]
    more = [name for name in names if name not in main]
    seeds = len(record["seeds"])
    spread = f" ± standard error over {seeds} seeds" if seeds > 1 else " (one seed)"
    text = table(
        *_score_table(record, entrants, main, published=True),
        caption=f"Lower is better, but coverages should be their level, and widths say how sharp; "
        f"{entrants[0].title} as mean{spread}",
    )
    drawn = (
        f" The Monte-Carlo error is the standard error of {escape(entrants[0].title)} (its first seed) "
        "over other draws of as many paths."
        if record.get("metrics_mc_error")
        else ""
    )
    text += (
        "<p>CRPS_sum is <code>mean_wquantile_loss_sum</code>, the published definition."
        f"{drawn}</p>\n"
    )
    if more:
        inner = table(*_score_table(record, entrants, more), caption="Further scores")
        text += f"<details><summary>{len(more)} more scores</summary>{inner}</details>\n"
    return text + _floor(record, entrants, names) + _notes(entrants)


def _score_table(
    record: dict[str, Any],
    entrants: Sequence[Entrant],
    names: Sequence[str],
    *,
    published: bool = False,
) -> tuple[list[str], list[list[str]]]:
    monte_carlo = record.get("metrics_mc_error") or {}
    stated = {entry["metric"]: entry for entry in record["dataset"].get("published", ())}
    head = ["", *(entrant.title for entrant in entrants)]
    if monte_carlo:
        head.append("Monte-Carlo error")
    if published and stated:
        head.append("published")
    rows = []
    for name in names:
        cells = [with_error(e.metrics.get(name), e.errors.get(name)) for e in entrants]
        row = [title_of(name), *cells]
        if monte_carlo:
            error = monte_carlo.get(name)
            row.append("–" if error is None else f"{error:.2g}")
        if published and stated:
            entry = stated.get(name)
            row.append(f"{entry['value']:g} ± {entry['error']:g}" if entry else "")
        rows.append(row)
    return head, rows


def _floor(record: dict[str, Any], entrants: Sequence[Entrant], names: Sequence[str]) -> str:
    """Scores as ratios to those of the entrant that knows the process, where there is one."""
    floor = next((entrant for entrant in entrants if entrant.name == FLOOR), None)
    if floor is None:
        return ""
    rows = []
    for name in names:
        least = floor.metrics.get(name)
        if not is_loss(name) or not least or least <= 0:
            continue
        values = [entrant.metrics.get(name) for entrant in entrants]
        ratios = [number(None if value is None else value / least, 3) for value in values]
        rows.append([title_of(name), *ratios])
    return (
        f"<h3>Ratio to the floor</h3><p>{escape(floor.title)} draws from the process itself given the "
        "observed past: 1 is the best that can be done but for chance. Left out are scores that can be "
        "negative and numbers that are no losses, such as coverages.</p>"
        + table(["", *(entrant.title for entrant in entrants)], rows, caption="Score / floor")
    )


def _notes(entrants: Sequence[Entrant]) -> str:
    notes = [entrant for entrant in entrants if entrant.note]
    if not notes:
        return ""
    items = "".join(f"<dt>{escape(e.title)}</dt><dd>{escape(e.note)}</dd>" for e in notes)
    return f"<details><summary>About the entrants</summary><dl>{items}</dl></details>\n"


def aggregates(record: dict[str, Any], entrants: Sequence[Entrant]) -> str:
    """Scores of weighted sums such as the net load."""
    rows = []
    for name, ours in (record.get("aggregates") or {}).items():
        for score in (key for key in ours if key != "unit"):
            others = [
                record["baselines"][entrant.name].get("aggregates", {}).get(name, {}).get(score)
                for entrant in entrants[1:]
            ]
            unit = f" ({ours['unit']})" if score == "crps_units" else ""
            rows.append([f"{name}: {score}{unit}", number(ours[score]), *map(number, others)])
    if not rows:
        return ""
    head = ["", *(entrant.title for entrant in entrants)]
    return "<h3>Weighted sums</h3>" + table(
        head, rows, caption="Scores of weighted sums of the series"
    )


def density(record: dict[str, Any], ours: str) -> str:
    """Likelihood and its bound, where they were asked for."""
    if "nll" not in record:
        return ""
    rows = [[name, number(value)] for name, value in record["nll"].items()]
    return "<h3>Likelihood</h3>" + table(["", ours], rows, caption="Likelihood")


def comparisons(record: dict[str, Any], titles: Mapping[str, str]) -> str:
    """Paired comparisons with each baseline, or why there are none."""
    found = record.get("comparisons") or {}
    if not found:
        return "<p>The record has no paired comparisons.</p>\n"
    ordered = {name: found[name] for name in titles if name in found}
    return comparison_table(ordered, titles, ours=next(iter(titles.values())))


def comparison_table(
    found: Mapping[str, dict[str, Any]], titles: Mapping[str, str], *, ours: str
) -> str:
    """Comparisons of one run with others; the differences per window where these are too few."""
    rows = [[titles[name], *comparison_cells(one)] for name, one in found.items()]
    text = table(
        ["against", *COMPARISON_HEAD], rows, caption=f"CRPS_sum window by window: {ours} against"
    )
    few = {name: one for name, one in found.items() if one.get("too_few")}
    if not few:
        return text
    windows = max(one["windows"] for one in few.values())
    least = max(needed(one["overlap"]) for one in few.values())
    text = (
        f"<p><strong>Too few windows</strong> ({windows} &lt; {least}) to tell a difference from chance: no "
        "p-values, only the differences per window.</p>\n" + text
    )
    inner = table(
        ["window", *(titles[name] for name in few)],
        [
            [str(w + 1), *(number(one["differences"][w]) for one in few.values())]
            for w in range(min(len(one["differences"]) for one in few.values()))
        ],
        caption=f"Loss of {ours} less theirs in each window, in data units: negative where {ours} is better",
    )
    return text + f"<details><summary>Differences per window</summary>{inner}</details>\n"


COMPARISON_HEAD = ("ratio of losses", "95 % interval", "Diebold-Mariano", "p-value", "better in")


def comparison_cells(found: dict[str, Any]) -> list[str]:
    """A comparison as cells under `COMPARISON_HEAD`."""
    interval = found.get("ratio_interval")
    wins = f"{found['wins']} of {found['windows']} windows"
    if found.get("too_few") or interval is None:
        return [number(found["ratio"], 3), "too few windows", "–", "–", wins]
    low, high = interval
    return [
        number(found["ratio"], 3),
        f"{number(low, 3)} .. {number(high, 3)}",
        "–" if found.get("statistic") is None else f"{found['statistic']:+.2f}",
        _p_value(found.get("p_value")),
        wins,
    ]


def _p_value(value: float | None) -> str:
    if value is None:
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def protocols(record: dict[str, Any], titles: Mapping[str, str]) -> str:
    """The same forecasts under the protocols that papers use."""
    found = record.get("protocols") or {}
    if not found:
        return ""
    described = record.get("protocol_definitions") or {}
    shown = [name for name in titles if name in found]
    names = list(found[shown[0]]) if shown else []
    rows = [[name, *(number(found[entrant].get(name)) for entrant in shown)] for name in names]
    head = ["protocol", *(titles[entrant] for entrant in shown)]
    items = "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in described.items())
    return (
        "<p>The same paths scored as different papers do. Compare down a column: what the definition alone "
        "changes is no gain.</p>\n"
        + table(head, rows, caption="Protocol variants")
        + (f"<details><summary>Definitions</summary><dl>{items}</dl></details>\n" if items else "")
    )


def coverage(found: Mapping[str, dict[str, Any]], titles: Mapping[str, str]) -> str:
    """Nominal and actual coverage of every entrant."""
    several = next(iter(found.values()))["size"]["series"] > 1
    parts = ("each", "sum", "joint") if several else ("each", "joint")
    words = {"each": "each", "sum": "sum", "joint": "path"}
    rows = []
    for name, one in found.items():
        for part in parts:
            cells = []
            for i, _ in enumerate(one["coverage"]["levels"]):
                text = _percent(one["coverage"][part][i])
                band = one["coverage"]["chance"].get(part)
                if band is not None:
                    text += f" ({100 * band[0][i]:.1f} .. {100 * band[1][i]:.1f})"
                cells.append(text)
            rows.append([f"{titles.get(name, name)}, {words[part]}", *cells])
    levels = next(iter(found.values()))["coverage"]["levels"]
    return table(["", *(f"{100 * level:g} %" for level in levels)], rows, caption=COVERAGE)


def recalibration(record: dict[str, Any]) -> str:
    """Scores before and after recalibration, where the record has both."""
    found = record.get("recalibration")
    if not found:
        return ""
    before, after = record.get("metrics_se", {}), found.get("after_se", {})
    rows = [
        [
            title_of(name),
            with_error(value, before.get(name)),
            with_error(found["after"].get(name), after.get(name)),
        ]
        for name, value in found["before"].items()
        if value is not None
    ]
    return f"<p>{escape(found.get('note', ''))}</p>\n" + table(
        ["", "before", "after"], rows, caption="Scores before and after recalibration"
    )


def setup(record: dict[str, Any]) -> str:
    """Configuration, versions, seconds, data and definitions."""
    data = record["dataset"]
    parts = {
        "Configuration": _flat(record.get("config", {})),
        "Versions": {**record.get("versions", {}), "commit": record.get("commit")},
        "Hardware": record.get("hardware", {}),
        "Seconds": {
            **{f"{k}, all seeds": v for k, v in record.get("seconds", {}).items()},
            "network calls per forecast": record.get("network_calls"),
            "parameters": record.get("parameters"),
        },
        "Data": {key: value for key, value in data.items() if key != "published"},
        "Definitions of the scores": record.get("definitions", {}),
    }
    text = ""
    for title, values in parts.items():
        shown = {key: value for key, value in values.items() if value is not None}
        items = "".join(
            f"<dt>{escape(k)}</dt><dd>{escape(number(v))}</dd>" for k, v in shown.items()
        )
        text += f"<details><summary>{title}</summary><dl>{items}</dl></details>\n"
    return text + _citations(data.get("published", ()))


def _citations(published: Sequence[dict[str, Any]]) -> str:
    if not published:
        return ""
    sources = sorted({f"{entry['model']}: {entry['source']}" for entry in published})
    return "<p>Published: " + "; ".join(map(escape, sources)) + ".</p>\n"


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested options by dotted names."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"
