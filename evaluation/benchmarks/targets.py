"""The values that a speed record is judged by, each with its target, as rows of a table."""

import operator
from typing import Any, NamedTuple

from timediff.presets import PRESETS

#: The public code's ms per network call while sampling, by threads and dimensions, and operators per call.
PUBLISHED_MS = {1: {8: 4.7, 370: 34.6, 963: 103.8}, 2: {8: 4.9, 370: 25.0, 963: 57.0}}
PUBLISHED_OPERATORS = 1150

Found = dict[str, Any]


class Target(NamedTuple):
    """What a value should be, at which dimensions (all if left out)."""

    sign: str
    limit: float
    dims: tuple[int, ...] = ()


TARGETS = {
    "reference: off the published ms per call": Target("<=", 0.3),
    "reference: off by timing 2 of 24 steps": Target("<=", 0.05),
    "default sampling: times faster than the reference": Target(">=", 200, (370, 963)),
    "default training step: times faster than the reference": Target(">=", 30, (370,)),
    "paper sampling: times faster than the reference": Target(">=", 3, (370, 963)),
    "default sampling, 7 windows: seconds / floor": Target("<=", 2, (370, 963)),
    "default: peak memory / stated bound": Target("<=", 1.5),
    "paper: peak memory / stated bound": Target("<=", 1.5),
}


def values(found: Found) -> dict[str, float]:
    """The numbers that have targets, by the names of `TARGETS`, and those beside them."""
    default, paper = found["default"], found["paper"]
    seconds, windows = default["one_window"]["seconds"], default["windows"]
    table = {
        "default sampling: seconds": seconds,
        "default sampling, 7 windows: seconds": windows["seconds"],
        "default sampling, 7 windows: floor in seconds": windows["floor_seconds"],
        "default sampling, 7 windows: seconds / floor": windows["seconds"]
        / windows["floor_seconds"],
        "default training step: seconds": default["training"]["seconds"],
        "paper sampling: seconds": paper["sampling"]["seconds"],
        "paper sampling: floor in seconds": paper["floor_seconds"],
    }
    for preset in PRESETS:
        table[f"{preset}: peak memory / stated bound"] = found["memory"][preset]["ratio"]
    reference = found["reference"]
    if reference is None:
        return table
    sampled = reference["sampling"]["seconds"]
    table |= {
        "reference sampling: seconds": sampled,
        "reference: ms per network call": reference["ms_per_call"],
        "default sampling: times faster than the reference": sampled / seconds,
        "paper sampling: times faster than the reference": sampled / paper["sampling"]["seconds"],
    }
    published = reference["published_ms_per_call"]
    if published:
        off = abs(reference["ms_per_call"] / published - 1)
        table["reference: off the published ms per call"] = off
    if "off" in reference["sampling"]:
        table["reference: off by timing 2 of 24 steps"] = reference["sampling"]["off"]
    if reference["training"]:
        trained = reference["training"]["seconds"]
        table["reference training step: seconds"] = trained
        gain = trained / default["training"]["seconds"]
        table["default training step: times faster than the reference"] = gain
    return table


def judged(found: Found) -> list[Found]:
    """A row for every value, with its target and whether it is met if it has one at this dimension."""
    compare = {"<=": operator.le, ">=": operator.ge}
    rows = []
    for what, value in sorted(values(found).items()):
        row: Found = {"dim": found["dim"], "what": what, "value": value}
        target = TARGETS.get(what)
        if target and (not target.dims or found["dim"] in target.dims):
            row["target"] = f"{target.sign} {target.limit:g}"
            row["met"] = bool(compare[target.sign](value, target.limit))
        rows.append(row)
    return rows


def show(record: Found) -> None:
    """The rows on stdout."""
    for row in record["rows"]:
        line = f"D = {row['dim']:<5d} {row['what']:<56s} {row['value']:>12.4g}"
        if "target" in row:
            line += f"  {row['target']:>7s}  {'met' if row['met'] else 'MISSED'}"
        print(line)
    count = record["reference_operators_per_call"]
    print(f"operators per network call: reference {count}, public code {PUBLISHED_OPERATORS}")
