"""Whether any table is forecast: generated tables over frequencies, layouts, zones and defects.

python evaluation/generated_tables.py [--tables 2000] [--minutes 30]

Each table is drawn from its number alone (`generated_faulty.make`). Those that are valid by construction are
trained on, for two steps with a tiny network of the default kind, and forecast; they count as right if the
forecast has the labels that the generator knows to come next, for every series and path, and finite values.
Those with a defect that leaves them without meaning count as right if the refusal is an `InputError` of one
sentence that names what was planted. Frequencies and defects take turns, so that a run that is out of time
has had all of them. `--only NUMBER` shows one table and what became of it. Writes the record
evaluation/results/generated_tables.json.
"""

import argparse
import logging
import re
import sys
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
from fault_frames import SMALL
from generated import Case
from generated_faulty import make
from study import RESULTS, finish

from timediff import Forecaster, TrainConfig
from timediff.errors import InputError

TRAIN = TrainConfig(steps=2, steps_per_epoch=2, batch_size=8, seed=1)
PATHS = 10


def written(case: Case, rng: np.random.Generator) -> tuple[Any, str]:
    """The frame as one of three libraries has it, long or wide."""
    can_be_wide = case.names_it is None and case.defect in ("none", "holes", "constant")
    frame, layout = case.long, "long"
    if can_be_wide and rng.random() < 0.5:
        frame, layout = frame.pivot(index="ds", columns="unique_id", values="y")[case.names], "wide"
        frame.columns.name = None
        if rng.random() < 0.5:
            return frame, "wide, index"
        frame = frame.reset_index()
    kind = rng.choice(["pandas", "pandas", "polars", "pyarrow"])
    try:
        if kind == "polars":
            return pl.from_pandas(frame.rename(columns=str)), f"{layout}, polars"
        if kind == "pyarrow":
            return pa.Table.from_pandas(
                frame.rename(columns=str), preserve_index=False
            ), f"{layout}, pyarrow"
    except (TypeError, ValueError, pa.ArrowInvalid, pa.ArrowTypeError):
        pass  # these libraries do not take mixed columns at all
    return frame, layout


def outcome(number: int) -> dict[str, Any]:
    """What became of a table: "right", or what was wrong with the answer."""
    case = make(number)
    frame, layout = written(case, np.random.default_rng([number, 1]))
    row = {
        "number": number,
        "freq": case.freq,
        "defect": case.defect,
        "layout": layout,
        "valid": case.names_it is None,
    }
    try:
        forecaster = Forecaster(SMALL, TRAIN, progress=False, trainer_kwargs={"accelerator": "cpu"})
        table = forecaster.fit(frame, case.static, **case.options).simulate(
            futr_df=case.future, n_paths=PATHS, seed=1
        )
    except InputError as error:
        text = str(error)
        if case.names_it is None:
            return row | {"outcome": "refused", "says": text}
        sentence = "\n" not in text and len(text) < 400 and not text.endswith(".")
        named = re.search(case.names_it, text) is not None
        return row | {"outcome": "right" if sentence and named else "not named", "says": text}
    except Exception:  # any other exception is the finding
        return row | {"outcome": "crashed", "says": traceback.format_exc().strip().splitlines()[-1]}
    if case.names_it is not None:
        return row | {"outcome": "not refused"}
    return row | {"outcome": faults(table, case)}


def faults(table: Any, case: Case) -> str:
    """What is wrong with the labels or values of a forecast; "right" for nothing."""
    rows = table if isinstance(table, pd.DataFrame) else table.to_pandas()
    cells = pd.MultiIndex.from_product(
        [case.groups, [str(n) for n in case.names], range(PATHS), case.ahead]
    )
    groups = rows["region"] if "region" in rows else [""] * len(rows)
    labels = [
        groups,
        rows["unique_id"].astype(str),
        rows["sample_id"],
        pd.DatetimeIndex(rows["ds"]),
    ]
    found = pd.MultiIndex.from_arrays(labels)
    if len(found) != len(cells) or not (found == cells).all():
        return "wrong labels"
    return "right" if np.isfinite(rows["TimeGrad"]).all() else "not finite"


def counts(rows: list[dict[str, Any]], key: str) -> dict[str, dict[str, int]]:
    """How many tables had which outcome, by frequency or defect."""
    tables: dict[str, Counter[str]] = {}
    for row in rows:
        tables.setdefault(row[key], Counter())[row["outcome"]] += 1
    return {name: dict(found) for name, found in tables.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--tables", type=int, default=2000)
    parser.add_argument("--minutes", type=float, default=30.0, help="after which no table is begun")
    parser.add_argument("--only", type=int, help="the number of one table, to look at")
    parser.add_argument("--out", type=Path, default=RESULTS / "generated_tables.json")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    if options.only is not None:
        print(make(options.only).long, outcome(options.only), sep="\n")
        return 0
    started, rows = time.monotonic(), []
    for number in range(options.tables):
        if time.monotonic() - started > 60 * options.minutes:
            break
        rows.append(outcome(number))
        if rows[-1]["outcome"] != "right":
            print(rows[-1], flush=True)
    valid, defective = ([row for row in rows if row["valid"] is which] for which in (True, False))
    shares = [
        sum(r["outcome"] == "right" for r in part) / max(len(part), 1)
        for part in (valid, defective)
    ]
    print(
        f"{len(valid)} valid: {shares[0]:.1%} right; {len(defective)} without meaning: "
        f"{shares[1]:.1%} refused by name"
    )
    record = {
        "asked": options.tables,
        "tables": len(rows),
        "seconds": time.monotonic() - started,
        "valid": {"tables": len(valid), "right": shares[0]},
        "without meaning": {"tables": len(defective), "right": shares[1]},
        "by frequency": counts(rows, "freq"),
        "by defect": counts(rows, "defect"),
        "by layout": counts(rows, "layout"),
        "wrong": [row for row in rows if row["outcome"] != "right"],
        "by command": "absent: at this commit there is no command forecast",
    }
    finish(record, options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
