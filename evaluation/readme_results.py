"""The README's results: CRPS_sum of both presets by data set, and the sentences that belong to it."""

import math

from scoreboard import (
    Entrant,
    Record,
    by_dataset,
    cell,
    crps_sum,
    entrants,
    label,
    table,
)

from timediff.benchmark.record import COMPARED, FLOOR
from timediff.presets import PRESETS

#: Label of a record of the default with the slow baselines, too.
EVERY = "all"


def summary(records: list[Record]) -> str | None:
    """The README's table: CRPS_sum by data set, the best baseline by its name; None without records."""
    records = [record for record in records if label(record) in (*PRESETS, EVERY)]
    if not records:
        return None
    groups = by_dataset(records)
    presets = [name for name in dict.fromkeys(map(label, records)) if name != EVERY]
    rows = [["data set", "series", *presets, "best baseline"]]
    for name, group in groups.items():
        found = entrants(group)
        ours = {label(r): cell(e, COMPARED) for r, e in zip(group, found, strict=False)}
        best = best_baseline(found)
        theirs = f"{cell(best, COMPARED)} ({best.title})" if best else "-"
        series = str(group[0]["dataset"]["series"])
        rows.append([name, series, *(ours.get(preset, "-") for preset in presets), theirs])
    chosen = "The best baseline is the one with the lowest CRPS_sum on these very windows."
    said = [*seeds(records), chosen, *behind(groups), *untested(groups), *floors(groups)]
    return f"{table(rows)}\n\n{' '.join([*said, *theirs_of(records)])}"


def seeds(records: list[Record]) -> list[str]:
    """What ± stands for."""
    counts = sorted({len(record["seeds"]) for record in records} - {1})
    if not counts:
        return []
    return [f"± is the standard error over {' or '.join(map(str, counts))} seeds."]


def untested(groups: dict[str, list[Record]]) -> list[str]:
    """On which data sets no difference between models can be tested."""
    names = [
        f"`{name}`"
        for name, group in groups.items()
        if any(own["too_few"] for r in group for own in r.get("comparisons", {}).values())
    ]
    return [f"Too few windows to test any difference: {', '.join(names)}."] if names else []


def behind(groups: dict[str, list[Record]]) -> list[str]:
    """A sentence for each preset that says on which data sets a baseline scores better."""
    ahead: dict[str, list[str]] = {}
    of: dict[str, int] = {}
    for name, group in groups.items():
        found = entrants(group)
        best = best_baseline(found)
        for record, own in zip(group, found, strict=False):
            preset = label(record)
            if preset == EVERY:
                continue
            of[preset] = of.get(preset, 0) + 1
            if best is not None and crps_sum(best) < crps_sum(own):
                ahead.setdefault(preset, []).append(f"`{name}`")
    return [
        f"A baseline is ahead of `{preset}` on {', '.join(names)}"
        f" ({len(names)} of {of[preset]} data sets)."
        for preset, names in ahead.items()
    ]


def floors(groups: dict[str, list[Record]]) -> list[str]:
    """Where the true distribution is known: how far above its score we are."""
    sentences = []
    for name, group in groups.items():
        found = entrants(group)
        floor = next((e for e in found if e.name == FLOOR), None)
        if floor is None or not 0 < crps_sum(floor) < math.inf:
            continue
        ratios = " and ".join(
            f"{crps_sum(own) / crps_sum(floor):.2f} (`{label(record)}`)"
            for record, own in zip(group, found, strict=False)
            if label(record) != EVERY
        )
        sentences.append(
            f"On `{name}` the true distribution itself scores {cell(floor, COMPARED)}, the least that can be "
            f"expected; ours are at {ratios} times this."
        )
    return sentences


def theirs_of(records: list[Record]) -> list[str]:
    """What the data set's own publications say, where it is the real set."""
    entries = {
        (record["dataset"]["name"], entry["model"], entry["value"], entry["error"], entry["source"])
        for record in records
        for entry in record["dataset"]["published"]
        if entry["metric"] == COMPARED and record["dataset"]["verified"]
    }
    return [
        f"Published for `{name}`: {model} {value:g} ± {error:g} ({source})."
        for name, model, value, error, source in sorted(entries)
    ]


def best_baseline(found: list[Entrant]) -> Entrant | None:
    """The baseline with the lowest CRPS_sum among those that any forecaster could be."""
    rivals = [e for e in found if e.seeds is None and not e.name.startswith(FLOOR)]
    return min(rivals, key=crps_sum, default=None)
