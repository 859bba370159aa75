"""Writes the tables of README.md and evaluation/README.md from the records in evaluation/results.

python evaluation/tables.py           rewrite both files
python evaluation/tables.py --check   exit with status 1 if they are not what the records say
"""

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

from timediff.config import PRESETS
from timediff.record import TITLES

HERE = Path(__file__).resolve().parent
README, DETAILS = HERE.parent / "README.md", HERE / "README.md"


def read_records(folder: Path) -> list[dict[str, Any]]:
    """Every record, with the name of its folder, in the order of names."""
    return [
        {"folder": path.parent.name, **json.loads(path.read_text())}
        for path in sorted(folder.glob("*/record.json"), key=lambda p: p.parent.name.casefold())
    ]


def table(rows: list[list[str]]) -> str:
    """A Markdown table; the first row is the head."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def number(value: float | None, digits: int = 4) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def with_error(record: dict[str, Any], metric: str) -> str:
    error = record["metrics_se"][metric]
    return number(record["metrics"][metric]) + (f" ± {number(error)}" if error is not None else "")


def seeds(record: dict[str, Any]) -> str:
    return str(len(record["seeds"]))


def summary(records: list[dict[str, Any]]) -> str:
    """CRPS_sum of every record, beside the baseline and what was published."""
    rows = [
        [
            "data set",
            "series",
            "preset",
            "seeds",
            "CRPS_sum",
            "seasonal naive",
            "published",
            "configuration",
        ]
    ]
    for record in records:
        dataset, metric = record["dataset"], "mean_wquantile_loss_sum"
        published = [p for p in dataset["published"] if p["metric"] == metric]
        theirs = "; ".join(
            f"{p['model']} {p['value']:g} ± {p['error']:g} ({p['source']})" for p in published
        )
        rows.append(
            [
                dataset["name"],
                str(dataset["series"]),
                record["preset"],
                seeds(record),
                with_error(record, metric),
                number(record["baselines"]["seasonal_naive"][metric]),
                theirs or "-",
                f"[{record['folder']}](evaluation/configs/{record['folder']}.yaml)",
            ]
        )
    return f"{table(rows)}\n\n{behind(records)}"


def behind(records: list[dict[str, Any]]) -> str:
    """Says of which records the baseline scores better."""
    metric = "mean_wquantile_loss_sum"
    names = [
        f"`{record['folder']}`"
        for record in records
        if record["metrics"][metric] > record["baselines"]["seasonal_naive"][metric]
    ]
    return f"The seasonal naive is ahead on {', '.join(names)}." if names else ""


def details(records: list[dict[str, Any]]) -> str:
    """All scores, seconds and machine of every record."""
    parts = []
    for record in records:
        dataset, baseline = record["dataset"], record["baselines"]["seasonal_naive"]
        rows = [
            ["", "timediff", *(f"seed {s['seed']}" for s in record["per_seed"]), "seasonal naive"]
        ]
        for metric, name in TITLES.items():
            each = [number(result["metrics"][metric]) for result in record["per_seed"]]
            rows.append([name, with_error(record, metric), *each, number(baseline[metric])])
        for name, ours in record["aggregates"].items():
            each = [
                number(result["aggregates"][name]["crps_units"]) for result in record["per_seed"]
            ]
            theirs = baseline["aggregates"][name]["crps_units"]
            rows.append(
                [
                    f"CRPS of {name}, {ours['unit']}",
                    number(ours["crps_units"]),
                    *each,
                    number(theirs),
                ]
            )
        hardware, seconds = record["hardware"], record["seconds"]
        parts.append(
            f"### {record['folder']}\n\n"
            f"{dataset['series']} series, horizon {dataset['prediction_length']}, "
            f"{dataset['windows']} windows, "
            f"{record['num_samples']} paths; season of the baseline {baseline['season']}. "
            f"{record['parameters']} parameters, {record['per_seed'][0]['steps']} steps; all seeds together "
            f"{seconds['training']:.0f} s of training and {seconds['sampling']:.0f} s of sampling "
            f"({record['network_calls']} network calls a forecast) on {hardware['device']}, "
            f"{hardware['threads']} threads of {hardware['cpu']}.\n\n{table(rows)}\n"
        )
    return "\n".join(parts)


def differences() -> str:
    """Every option in which the presets differ."""
    rows = [["option", "default", "paper"]]
    for part in ("model", "train"):
        ours, paper = getattr(PRESETS["default"], part), getattr(PRESETS["paper"], part)
        rows += [
            [f"`{part}.{name}`", str(getattr(ours, name)), str(getattr(paper, name))]
            for name in ours._fields
            if getattr(ours, name) != getattr(paper, name)
        ]
    return table(rows)


def filled(text: str, name: str, content: str) -> str:
    """The text with everything between the two markers replaced."""
    pattern = rf"(<!-- {name}:[^\n]*-->\n).*?(<!-- end of {name} -->)"
    return re.sub(pattern, lambda m: f"{m[1]}{content.strip()}\n{m[2]}", text, flags=re.DOTALL)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--check", action="store_true", help="change nothing; fail if something would change"
    )
    check = parser.parse_args().check
    records = read_records(HERE / "results")
    wanted = {
        README: {"results": summary(records), "differences": differences()},
        DETAILS: {"details": details(records)},
    }
    stale = []
    for path, parts in wanted.items():
        text = path.read_text()
        new = text
        for name, content in parts.items():
            new = filled(new, name, content)
        if new != text:
            stale.append(path.name)
            if not check:
                path.write_text(new)
    if check and stale:
        print(
            f"{', '.join(stale)} do not say what the records say; run python evaluation/tables.py"
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
