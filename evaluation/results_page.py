"""The text of evaluation/RESULTS.md: `scoreboard`'s tables for each data set, and what others published."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import scoreboard
from scoreboard import Run, table

from timediff.data.catalogue import SPECS

HERE = Path(__file__).resolve().parent

HEAD = """# Results

Written by `python evaluation/tables.py` from the records in `results` and from
[published.json](published.json); do not edit. [README.md](README.md) says how records are made.

CRPS_sum is `mean_wquantile_loss_sum`, the published definition; CRPS is the ensemble score. Lower is
better, but for the coverage, whose aim is that of a perfect forecast, 0.9 of 100 paths. The definition of
every score stands in each record. ± is the standard error over seeds, which differ in training and in the
noise of sampling. Baselines are run with all seeds of their record, and with one where the column is empty;
those of a data set's first record are shown. Seconds are of one run, in wall-clock time.
"""
COMPARED = (
    "CRPS_sum of ours over the other's on the same windows (mean loss over our seeds): below 1 is better. "
    "With 30 windows or more, a 95 % interval by bootstrap over windows and the p-value of a Diebold-Mariano "
    "test."
)
PROTOCOLS = (
    "CRPS_sum of the same forecasts by protocols that papers use "
    "([metrics/protocols.py](../timediff/metrics/protocols.py)): so much of a gain can be the protocol."
)
FLOORS = (
    "Every score over that of the true distribution given the observed past, which no forecast from this "
    "past beats on average in a proper score. Left out: scores whose floor is not positive, "
    "logarithmic ones, and numbers that are no losses, such as coverages."
)
PUBLISHED = (
    "CRPS_sum as printed in the source, with ± as printed there (spread over runs; some copies of the papers "
    "call it standard deviation, others standard error). Left out: what is known only at second hand, "
    "without a table that can be cited."
)


def results(runs: list[Run]) -> str:
    """The page."""
    groups = scoreboard.by_dataset(runs)
    published = read_published()
    parts = [HEAD]
    if groups:
        parts += [
            "## All data sets\n",
            scoreboard.overview(groups),
            "\nThe best forecast of a set is bold.",
        ]
    else:
        parts.append("No record of this format has been made yet.")
    for name, group in groups.items():
        own = [entry for entry in published if entry["dataset"] == name]
        parts.append(section(name, group, own if real(group) else []))
    known = {name for name, group in groups.items() if real(group)}
    parts.append(elsewhere([entry for entry in published if entry["dataset"] not in known]))
    return "\n".join(parts).rstrip() + "\n"


def read_published() -> list[dict[str, Any]]:
    """Published scores, with the digits that were printed: a value of 0.020 stays 0.020."""
    return json.loads((HERE / "published.json").read_text(), parse_float=Decimal)


def real(runs: list[Run]) -> bool:
    """Whether all of these are of the very data that the name stands for, by its checksum."""
    return all(run.record.dataset.verified for run in runs)


def section(name: str, runs: list[Run], published: list[dict[str, Any]]) -> str:
    """Everything about one data set."""
    data, rows = runs[0].record.dataset, scoreboard.rows_of(runs)
    parts = [
        f"\n## {name}",
        f"{data.series} series, horizon {data.prediction_length}, {data.windows} windows, "
        f"{runs[0].record.num_samples} paths. Data: {data.source}.",
        scoreboard.scores(rows),
    ]
    for title, text, own in (
        ("Ratio to the floor", FLOORS, scoreboard.ratios(runs[0].record, rows)),
        ("Paired comparison", COMPARED, scoreboard.comparisons(runs)),
        ("Protocols", PROTOCOLS, scoreboard.variants(runs)),
    ):
        if own is not None:
            parts.append(f"### {title}: {name}\n\n{text}\n\n{own}")
    if published:
        lines = [["published", "CRPS_sum", "source"]]
        lines += [[e["model"], value(e), e["source"]] for e in published]
        parts.append(f"### Published: {name}\n\n{PUBLISHED}\n\n{table(lines)}")
    parts.append(
        f"<details><summary>Every score</summary>\n\n{scoreboard.every_score(runs)}\n\n</details>"
    )
    parts.append(made_by(runs))
    return "\n\n".join(parts)


def value(entry: dict[str, Any]) -> str:
    error = "" if entry["error"] is None else f" ± {entry['error']}"
    return f"{entry['value']}{error}"


def elsewhere(published: list[dict[str, Any]]) -> str:
    """What was published for sets that no record is of, in a table that has nothing of ours."""
    if not published:
        return ""
    names = [name for name in SPECS if any(entry["dataset"] == name for entry in published)]
    cells: dict[tuple[str, str], dict[str, list[str]]] = {}
    for entry in published:
        row = cells.setdefault((entry["model"], entry["source"]), {})
        row.setdefault(entry["dataset"], []).append(value(entry))
    rows = [["published", *names, "source"]]
    rows += [
        [model, *(", ".join(own.get(name, ["–"])) for name in names), source]
        for (model, source), own in cells.items()
    ]
    return (
        "\n## Published, for real sets that are not here\n\n"
        "None of our scores belongs beside these numbers: sets of similar names above (such as "
        f"`traffic_pems20`) are other data. {PUBLISHED}\n\n{table(rows)}\n"
    )


def made_by(runs: list[Run]) -> str:
    """Commands, and the machine that the seconds belong to."""
    commands = "\n".join(
        f"python -m timediff.evaluate --config evaluation/configs/{run.folder}.yaml" for run in runs
    )
    lines = []
    for folder, record in runs:
        ours, hardware = record.evaluated, record.hardware
        lines.append(
            f"- [{folder}](results/{folder}/record.json): seeds {', '.join(map(str, ours.seeds))}; "
            f"{ours.details.get('parameters')} parameters, {ours.details.get('steps')} steps, "
            f"{ours.details.get('network_calls')} network calls a forecast; {hardware['device']}, "
            f"{hardware['threads']} threads of {hardware['cpu']}; "
            f"commit {(record.commit or 'unknown')[:12]}."
        )
    return f"Made by\n\n```sh\n{commands}\n```\n\n" + "\n".join(lines)
