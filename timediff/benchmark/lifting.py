"""Records of format 2 in the fields of format 3.

In format 2 the evaluated entrant, always called "timediff", had its fields at the top of the record, and all
others theirs in ``baselines``, each of one seed; protocols, losses of windows and diagnoses stood apart. What
records of that time may lack is empty.
"""

from collections.abc import Sequence
from typing import Any

__all__ = ["OLD", "lifted"]

OLD = 2
_OURS = "timediff"
#: Fields of a seed that were no details of it.
_APART = ("seed", "seconds", "metrics", "aggregates", "nll", "title", "note", "predictor")
_EMPTY: dict[str, Any] = {
    **{"preset": "", "config": {}, "observed_share": None, "definitions": {}, "versions": {}},
    **{"protocol_definitions": {}, "nll_definitions": {}, "commit": None, "hardware": {}},
}


def lifted(old: dict[str, Any]) -> dict[str, Any]:
    """The content of a record of format 2 as one of format 3.

    Raises:
        LookupError: It has no dataset, number of paths, seeds or scores.
    """
    given, seeds = old.get("config", {}).get("predictor") is not None, old["seeds"]
    shared = {key: old[key] for key in ("network_calls", "parameters") if key in old}
    rows = [shared | row for row in old.get("per_seed", ())]
    first = _entrant(_OURS, old, old, "predictor" if given else "ours", seeds, rows)
    entrants = {"predictor" if given else _OURS: first}
    for name, one in old.get("baselines", {}).items():
        row = {"seed": seeds[0], **one}
        entrants[name] = _entrant(name, old, one, _kind(name), [row["seed"]], [row])
    after = old.get("recalibration")
    return {
        **{name: old.get(name, empty) for name, empty in _EMPTY.items()},
        "format": 3,
        "dataset": old["dataset"],
        "num_samples": old["num_samples"],
        "entrants": entrants,
        "comparisons": old.get("comparisons", {}),
        "left_out": old.get("baselines_left_out", {}),
        "recalibration": after and _recalibrated(after, seeds),
    }


def _entrant(
    name: str,
    old: dict[str, Any],
    one: dict[str, Any],
    kind: str,
    seeds: list[int],
    rows: Sequence[dict[str, Any]],
) -> dict[str, Any]:
    """The entrant of a name: the scores that were its own, and its parts of what stood apart."""
    return {
        "title": one.get("title", name),
        "note": one.get("note") or "",
        "kind": kind,
        "seeds": seeds,
        "metrics": one["metrics"],
        "metrics_se": one.get("metrics_se") or dict.fromkeys(one["metrics"]),
        "aggregates": one.get("aggregates", {}),
        "protocols": old.get("protocols", {}).get(name, {}),
        "windows": old.get("windows", {}).get(name, {}),
        "seconds": one.get("seconds", {}),
        "per_seed": [_seed(row) for row in rows],
        "nll": one.get("nll", {}),
        "nll_se": one.get("nll_se", {}),
        "diagnosis": old.get("diagnosis", {}).get(name) or None,
        "metrics_mc_error": one.get("metrics_mc_error", {}),
    }


def _seed(row: dict[str, Any]) -> dict[str, Any]:
    details = {name: value for name, value in row.items() if name not in _APART}
    return {
        "seed": row["seed"],
        "seconds": row.get("seconds", {}),
        "metrics": row.get("metrics", {}),
        "aggregates": row.get("aggregates", {}),
        "details": {**row.get("predictor", {}), **details},
        "nll": row.get("nll"),
    }


def _kind(name: str) -> str:
    """What an entrant was that has this name among the baselines."""
    for begin, kind in (("oracle", "oracle"), ("predictor-", "predictor")):
        if name.startswith(begin):
            return kind
    return "baseline"


def _recalibrated(after: dict[str, Any], seeds: list[int]) -> dict[str, Any]:
    scores = {"metrics": after["after"], "metrics_se": after.get("after_se")}
    apart = {part: {"": after.get(part) or {}} for part in ("protocols", "diagnosis")}
    return _entrant("", apart, after | scores, "recalibrated", seeds, [])
