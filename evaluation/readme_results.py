"""The README's results: CRPS_sum of both presets by data set, and the sentences that belong to it."""

import math

from scoreboard import Row, Run, by_dataset, cell, knows, label, rows_of, table

from timediff.benchmark.record import COMPARED, FLOOR
from timediff.presets import PRESETS

#: Label of a run of the default with the slow baselines, too.
EVERY = "all"


def summary(runs: list[Run]) -> str | None:
    """The README's table: CRPS_sum by data set, the best baseline by its name; None without runs."""
    runs = [run for run in runs if label(run) in (*PRESETS, EVERY)]
    if not runs:
        return None
    groups = by_dataset(runs)
    presets = [name for name in dict.fromkeys(map(label, runs)) if name != EVERY]
    lines = [["data set", "series", *presets, "best baseline"]]
    for name, group in groups.items():
        rows = rows_of(group)
        ours = {label(run): cell(row, COMPARED) for run, row in zip(group, rows, strict=False)}
        best = best_baseline(rows)
        theirs = f"{cell(best, COMPARED)} ({best.title})" if best else "–"
        series = str(group[0].record.dataset.series)
        lines.append([name, series, *(ours.get(preset, "–") for preset in presets), theirs])
    chosen = "The best baseline is the one with the lowest CRPS_sum on these very windows."
    sentences = [*seeds(runs), chosen, *behind(groups), *untested(groups), *floors(groups)]
    return f"{table(lines)}\n\n{' '.join([*sentences, *theirs_of(runs)])}"


def seeds(runs: list[Run]) -> list[str]:
    """What ± stands for."""
    counts = sorted({len(run.record.evaluated.seeds) for run in runs} - {1})
    if not counts:
        return []
    return [f"± is the standard error over {' or '.join(map(str, counts))} seeds."]


def untested(groups: dict[str, list[Run]]) -> list[str]:
    """On which data sets no difference between models can be tested."""
    names = [
        f"`{name}`"
        for name, group in groups.items()
        if any(own.too_few for run in group for own in run.record.comparisons.values())
    ]
    return [f"Too few windows to test any difference: {', '.join(names)}."] if names else []


def behind(groups: dict[str, list[Run]]) -> list[str]:
    """A sentence for each preset that says on which data sets a baseline scores better."""
    ahead: dict[str, list[str]] = {}
    of: dict[str, int] = {}
    for name, group in groups.items():
        rows = rows_of(group)
        best = best_baseline(rows)
        for run, own in zip(group, rows, strict=False):
            preset = label(run)
            if preset == EVERY:
                continue
            of[preset] = of.get(preset, 0) + 1
            if best is not None and best.result.crps_sum < own.result.crps_sum:
                ahead.setdefault(preset, []).append(f"`{name}`")
    return [
        f"A baseline is ahead of `{preset}` on {', '.join(names)}"
        f" ({len(names)} of {of[preset]} data sets)."
        for preset, names in ahead.items()
    ]


def floors(groups: dict[str, list[Run]]) -> list[str]:
    """Where the true distribution is known: how far above its score we are."""
    sentences = []
    for name, group in groups.items():
        rows = rows_of(group)
        floor = next((row for row in rows if row.name == FLOOR), None)
        if floor is None or not 0 < floor.result.crps_sum < math.inf:
            continue
        ratios = " and ".join(
            f"{own.result.crps_sum / floor.result.crps_sum:.2f} (`{label(run)}`)"
            for run, own in zip(group, rows, strict=False)
            if label(run) != EVERY
        )
        sentences.append(
            f"On `{name}` the true distribution itself scores {cell(floor, COMPARED)}, the least that can be "
            f"expected; ours are at {ratios} times this."
        )
    return sentences


def theirs_of(runs: list[Run]) -> list[str]:
    """What the data set's own publications say, where it is the real set."""
    entries = {
        (run.record.dataset.name, entry.model, entry.value, entry.error, entry.source)
        for run in runs
        for entry in run.record.dataset.published
        if entry.metric == COMPARED and run.record.dataset.verified
    }
    return [
        f"Published for `{name}`: {model} {value:g} ± {error:g} ({source})."
        for name, model, value, error, source in sorted(entries)
    ]


def best_baseline(rows: list[Row]) -> Row | None:
    """The baseline with the lowest CRPS_sum among those that any forecaster could be."""
    rivals = [row for row in rows if not row.evaluated and not knows(row)]
    return min(rivals, key=lambda row: row.result.crps_sum, default=None)
