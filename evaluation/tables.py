"""Writes evaluation/RESULTS.md and LEADERBOARD.md, and the tables of READMEs and docs.

All are made from the records in evaluation/results.

python evaluation/tables.py           rewrite the files
python evaluation/tables.py --check   exit with status 1 if they are not what the records say
"""

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

from leaderboard_page import leaderboard, overall
from readme_results import summary
from results_page import results
from scoreboard import Run, table
from seconds import exported, jobs, peers, served, starts, threads, versions, wide
from standing import beside, geometric, standing

from timediff.benchmark.record import read_record
from timediff.errors import InputError
from timediff.metrics import title_of
from timediff.presets import PRESETS
from timediff.report.numbers import value

HERE = Path(__file__).resolve().parent
FACTOR_SCORES = ("mean_wquantile_loss_sum", "energy_score", "nd", "coverage_90")
STUDIES = ("width", "denoiser", "positions")
README, DETAILS = HERE.parent / "README.md", HERE / "README.md"
RESULTS, LEADERBOARD = HERE / "RESULTS.md", HERE / "LEADERBOARD.md"
SPEED = HERE.parent / "docs" / "speed.md"
FORECASTER = HERE.parent / "docs" / "forecaster.md"
EXPORT = HERE.parent / "docs" / "export.md"
MACHINES = HERE.parent / "docs" / "several_machines.md"
SERVING = HERE.parent / "docs" / "serving.md"


def read_records(folder: Path) -> list[Run]:
    """Every record that can be read, by the names of their folders, in their order."""
    runs = []
    for path in sorted(folder.glob("*/record.json"), key=lambda p: p.parent.name.casefold()):
        try:
            runs.append(Run(path.parent.name, read_record(path)))
        except InputError as error:
            print(
                f"left out: {error}; "
                f"python evaluation/leaderboard.py {path.parent.name} makes it again"
            )
    return runs


def differences() -> str:
    """Every option in which the presets differ."""
    rows = [["option", "default", "paper"]]
    for part in ("model", "train", "sampling"):
        ours, paper = (
            each.flat() if part == "sampling" else each._asdict()
            for each in (getattr(PRESETS[name], part) for name in ("default", "paper"))
        )
        rows += [
            [f"`{part}.{name}`", *(str(each.get(name, "–")) for each in (ours, paper))]
            for name in ours | paper
            if ours.get(name) != paper.get(name)
        ]
    return table(rows)


def factors() -> str:
    """Scores of every variant of `factors.py`, and what became of the best."""
    record = json.loads((HERE / "results" / "factors.json").read_text())
    parts = []
    for windows in ("validation", "test"):
        for dataset, variants in record[windows].items():
            rows = [["", *(f"{title_of(name)}" for name in FACTOR_SCORES), "margin"]]
            base = variants["default"][FACTOR_SCORES[0]]
            for name, scores in variants.items():
                cells = [f"{scores[s]['mean']:.4f} ± {scores[s]['se']:.4f}" for s in FACTOR_SCORES]
                own = scores[FACTOR_SCORES[0]]
                error = (own["se"] ** 2 + base["se"] ** 2) ** 0.5
                margin = (
                    "–" if name == "default" else f"{(base['mean'] - own['mean']) / error:+.1f}"
                )
                rows.append([name, *cells, margin])
            parts.append(f"{dataset}, {windows} windows:\n\n{table(rows)}")
    best = ", ".join(record["combination"]) or "the default itself"
    parts.append(
        f"{record['steps']} steps, {record['validation_windows']} validation windows, three seeds "
        "(± standard error); the margin is the default's CRPS_sum less the variant's, in standard errors of "
        f"the difference. Best together on the validation windows: {best}."
    )
    return "\n\n".join(parts)


def solvers() -> str:
    """CRPS_sum of every sampler by its network calls."""
    record = json.loads((HERE / "results" / "solvers.json").read_text())
    parts = []
    for dataset, found in record["results"].items():
        for score in ("mean_wquantile_loss_sum", "energy_score"):
            budgets = record["budgets"]
            rows = [[title_of(score), *(str(calls) for calls in budgets)]]
            for solver in dict.fromkeys(row["solver"] for row in found):
                own = {row["budget"]: row[score] for row in found if row["solver"] == solver}
                rows.append([solver, *(value(own.get(calls)) for calls in budgets)])
            parts.append(
                f"{dataset}, by the most calls of the network per time step (heun and predictor-corrector "
                f"make an odd number, one fewer than an even budget):\n\n{table(rows)}"
            )
    return "\n\n".join(parts)


def study(name: str) -> str | None:
    """Scores, steps and seconds of every variant of a comparison; None before its record is made."""
    path = HERE / "results" / f"{name}.json"
    if not path.is_file():
        return None
    record = json.loads(path.read_text())
    parts = []
    for windows in ("validation", "test"):
        for dataset, variants in record[windows].items():
            heads = ("steps", "training s", "sampling s")
            rows = [["", *(title_of(score) for score in FACTOR_SCORES), *heads]]
            for variant, found in variants.items():
                cells = [f"{found[s]['mean']:.4f} ± {found[s]['se']:.4f}" for s in FACTOR_SCORES]
                sizes = [f"{found[key]:.0f}" for key in ("steps", "training_seconds")]
                rows.append([variant, *cells, *sizes, f"{found['sampling_seconds']:.1f}"])
            parts.append(f"{dataset}, {windows} windows:\n\n{table(rows)}")
    ratios = ", ".join(f"{name} {ratio:.3f}" for name, ratio in record["relative"].items())
    parts.append(
        f"{record['validation_windows']} validation windows, three seeds (± standard error; steps and "
        "seconds are means of a run). CRPS_sum on the validation windows over that of "
        f"{record['default']}, mean of the sets: {ratios}. "
        f"Chosen ({record['rule']}): {record['choice']}."
    )
    return "\n\n".join(parts)


def read(name: str) -> dict[str, Any] | None:
    """A record of its own; None before it is made."""
    path = HERE / "results" / f"{name}.json"
    return json.loads(path.read_text()) if path.is_file() else None


def few_steps() -> str | None:
    """Ratios of every candidate to 100 steps where the choice was made, and of the chosen one elsewhere."""
    record = read("few_steps")
    if record is None:
        return None
    scores, parts = ("mean_wquantile_loss_sum", "energy_score", "nd"), []
    for part in ("choice", "confirmation"):
        for dataset, found in record[part].items():
            heads = [f"{title_of(name)} to {calls}" for name in scores for calls in (100, 6)]
            rows = [["", "CRPS_sum", *heads, "90 % coverage", "of 100"]]
            for name, row in found.items():
                cells = [
                    f"{one['ratio']:.3f} [{one['low']:.3f}, {one['high']:.3f}]"
                    for one in (row[to][s] for s in scores for to in ("to 100", "to 6"))
                ]
                covered = [f"{row[key]['coverage_90']:.3f}" for key in ("scores", "of 100")]
                rows.append([name, value(row["scores"][scores[0]]), *cells, *covered])
            parts.append(f"{dataset}, {part}:\n\n{table(rows)}")
    chosen = ", ".join(f"{name} {option}" for name, option in record["chosen"].items())
    parts.append(f"Chosen: {chosen}.")
    confirmed = [row for rows in record["confirmation"].values() for row in rows.values()]
    rows = [["confirmed, geometric mean of the sets (highest)", *(title_of(s) for s in scores)]]
    for to in ("to 100", "to 6"):
        ratios = [[row[to][s]["ratio"] for row in confirmed] for s in scores]
        rows.append([to, *(f"{geometric(each):.3f} ({max(each):.3f})" for each in ratios)])
    parts.append(table(rows))
    return "\n\n".join(parts)


def monte_carlo() -> str | None:
    """Monte-Carlo error of every score by paths and kind of noise."""
    record = read("monte_carlo")
    if record is None:
        return None
    parts = []
    for dataset, found in record["results"].items():
        names = record["shown"]
        rows = [["noise", "paths", *(title_of(name) for name in names)]]
        for row in found:
            cells = [f"{row['mean'][name]:.4f} ± {row['error'][name]:.5f}" for name in names]
            rows.append([row["noise"], str(row["paths"]), *cells])
        parts.append(f"{dataset}:\n\n{table(rows)}")
    return "\n\n".join(parts)


def distilled() -> str | None:
    """Scores of teachers and students by their network calls."""
    record = read("distilled")
    if record is None:
        return None
    parts = []
    for dataset, found in record["results"].items():
        rows = [["", "calls", *(title_of(name) for name in FACTOR_SCORES), "sampling s"]]
        for name, row in found["rows"].items():
            cells = [f"{row[s]['mean']:.4f} ± {row[s]['se']:.4f}" for s in FACTOR_SCORES]
            rows.append([name, str(row["calls"]), *cells, f"{row['seconds']['mean']:.1f}"])
        parts.append(f"{dataset}, test windows, {len(record['seeds'])} seeds:\n\n{table(rows)}")
    return "\n\n".join(parts)


def adaptive() -> str | None:
    """What the default is worth without each of its pieces, and each data set with it."""
    record = read("adaptive")
    if record is None:
        return None
    scores = ("mean_wquantile_loss_sum", "energy_score")
    heads = [f"{title_of(name)}, ratio" for name in scores]
    coverages = ("coverage_90", "coverage_90_sum")
    rows = [["", *heads, *map(title_of, coverages), "training seconds, ratio"]]
    for variant, row in record["summary"].items():
        cells = [f"{row[name]:.3f}" for name in (*scores, *coverages)]
        rows.append([variant, *cells, f"{row['seconds']:.2f}"])
    sets = list(record["results"]["default"])
    by_set = [[title_of(scores[0]), *sets]]
    for variant, runs in record["results"].items():
        means = [sum(run[scores[0]] for run in runs[name]) / len(runs[name]) for name in sets]
        by_set.append([variant, *map(value, means)])
    seeds = record["seeds"]
    return (
        f"{record['windows']} windows that end before the rolling origins, "
        f"{'seeds' if len(seeds) > 1 else 'seed'} {', '.join(map(str, seeds))}; geometric means over "
        f"{len(sets)} data sets of the ratios to the default.\n\n{table(rows)}\n\n{table(by_set)}"
    )


def centres() -> str | None:
    """What the linear forecaster goes by, and pools with it."""
    record = read("centres")
    if record is None:
        return None
    scores = ("mean_wquantile_loss_sum", "energy_score")
    heads = [f"{title_of(name)}, ratio" for name in scores]
    rows = [["", *heads, "CRPS_sum of the first step, ratio", title_of("coverage_90_sum")]]
    for variant, row in record["summary"].items():
        cells = [row[name] for name in (*scores, "first step", "coverage_90_sum")]
        rows.append([variant, *(f"{cell:.3f}" for cell in cells)])
    sets = list(record["results"]["default"])
    by_set = [[title_of(scores[0]), *sets]]
    for variant, found in record["results"].items():
        by_set.append([variant, *(value(found[name][scores[0]]) for name in sets)])
    return f"{table(rows)}\n\n{table(by_set)}"


def scenarios() -> str | None:
    """What ten scenarios are worth, by process."""
    record = read("scenarios")
    if record is None:
        return None
    chosen, paths = record["chosen"], record["paths"]
    heads = (
        *("series", "persistence, correlation of errors"),
        f"energy distance / that of {chosen} random paths",
        *("mean of the total off by", "width of its 90 % band / all paths'", "seconds"),
    )
    rows = [list(heads)]
    for row in record["results"]:
        own = {name: part["mean"] for name, part in row.items() if isinstance(part, dict)}
        alone = row["dim"] == 1
        rows.append(
            [
                str(row["dim"]),
                f"{row['persistence']}, {'–' if alone else row['correlation']}",
                f"{own['ratio']:.2f}" + ("" if alone else f" ({own['euclidean']:.2f})"),
                f"{100 * own['mean_off']:.1f} %",
                f"{own['width']:.2f}",
                f"{own['seconds']:.1f}",
            ]
        )
    return f"{table(rows)}\n\n{chosen} of {paths} paths, means over {len(record['seeds'])} seeds."


def speed() -> str | None:
    """Every value of the speed record with its target."""
    record = read("speed")
    if record is None:
        return None
    dims = [str(result["dim"]) for result in record["results"]]
    names = dict.fromkeys(row["what"] for row in record["rows"])
    rows = [["", *(f"D = {dim}" for dim in dims), "target"]]
    for name in names:
        own = {str(row["dim"]): row for row in record["rows"] if row["what"] == name}
        cells, targets = [], []
        for dim in dims:
            row = own.get(dim)
            missed = row is not None and row.get("met") is False
            cells.append(
                "not run"
                if row is None
                else f"{row['value']:.3g}" + (" (missed)" if missed else "")
            )
            if row is not None and row.get("target"):
                targets.append(f"{row['target']} (D = {dim})")
        target = targets[0].split(" (")[0] if len(targets) == len(dims) else ", ".join(targets)
        rows.append([name, *cells, target or "–"])
    hardware = record["hardware"]
    return (
        f"{hardware['cpu']}, {hardware['threads']} threads, {record['sizes']['paths']} paths, "
        f"{record['sizes']['horizon']} steps.\n\n{table(rows)}"
    )


def profile() -> str | None:
    """Shares of the time of a forecast by group of operators."""
    record = read("speed")
    if record is None:
        return None
    shares = record["profile"]["shares"]
    groups = list(next(iter(shares.values())))
    rows = [["share of the time", *shares]]
    rows += [[group, *(f"{100 * own[group]:.0f} %" for own in shares.values())] for group in groups]
    calls = record["reference_operators_per_call"]
    dim = record["profile"]["dim"]
    return f"{table(rows)}\n\nD = {dim}; the reference calls {calls} operators for each call of its network."


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
    runs = read_records(HERE / "results")
    wanted: dict[Path, dict[str, str | None]] = {
        README: {
            "leaderboard": overall(runs),
            "results": summary(runs),
            "differences": differences(),
        },
        DETAILS: {
            "standing": standing(runs, "rolling"),
            "tests": standing(runs, "default"),
            "paper": beside(runs, "paper"),
            "adaptive": adaptive(),
            "centres": centres(),
            "factors": factors(),
            "solvers": solvers(),
            **{name: study(name) for name in STUDIES},
            "few_steps": few_steps(),
            "monte_carlo": monte_carlo(),
            "distilled": distilled(),
        },
        SPEED: {
            "speed": speed(),
            "profile": profile(),
            "versions": versions(),
            "starts": starts(),
            "threads": threads(),
            "peers": peers(),
            "wide": wide(),
        },
        MACHINES: {"jobs": jobs()},
        FORECASTER: {"scenarios": scenarios()},
        EXPORT: {"exported": exported()},
        SERVING: {"serving": served()},
    }
    pages = {RESULTS: results(runs), LEADERBOARD: leaderboard(runs)}
    texts = {path: path.read_text() if path.is_file() else "" for path in (*wanted, *pages)}
    stale = []
    for path, text in texts.items():
        new = pages.get(path) or text
        for name, content in wanted.get(path, {}).items():
            if content is not None:
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
