"""Whether any table is forecast: generated tables over frequencies, layouts, zones and defects.

python evaluation/generated_tables.py [--tables 2000] [--minutes 30] [--by-command 40]

Each table is drawn from its number alone (`generated_faulty.make`). Those that are valid by construction are
trained on, for two steps with a tiny network of the default kind, and forecast; they count as right if the
forecast has the labels that the generator knows to come next, for every series and path, and finite values.
Those with a defect that leaves them without meaning count as right if the refusal is an `InputError` of one
sentence that names what was planted. Frequencies and defects take turns, so that a run that is out of time
has had all of them. `--only NUMBER` shows one table and what became of it. Writes the record
evaluation/results/generated_tables.json.
"""

import argparse
import re
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Sequence
from functools import partial
from itertools import count, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
from by_command import ENDINGS, flags, forecast, side_by_side, write
from fault_frames import SMALL, hushed
from generated import Case
from generated_faulty import make
from study import RESULTS, finish, processes

from timediff import Forecaster, TrainConfig
from timediff.errors import InputError

TRAIN = TrainConfig(steps=2, steps_per_epoch=2, batch_size=8, seed=1)
PATHS = 10
FEW = "--train.steps 2 --train.steps_per_epoch 2 --train.batch_size 8 --paths --num-samples 10".split()
#: From one table by command to the next: no divisor of the turns, so that a few have had many kinds.
STRIDE = 53


def written(
    case: Case,
    rng: np.random.Generator,
    *,
    kinds: Sequence[str] = ("pandas", "pandas", "polars", "pyarrow"),
) -> tuple[Any, str]:
    """The frame as one of some libraries has it, long or wide."""
    can_be_wide = case.names_it is None and case.defect in ("none", "holes", "constant")
    frame, layout = case.long, "long"
    if can_be_wide and rng.random() < 0.5:
        frame, layout = _wide(case), "wide"
        if rng.random() < 0.5:
            return frame, "wide, index"
        frame = frame.reset_index()
    kind = rng.choice(kinds)
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
    row = _row(number, case, layout)
    try:
        with hushed(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            forecaster = Forecaster(
                SMALL, TRAIN, progress=False, trainer_kwargs={"accelerator": "cpu"}
            )
            table = forecaster.fit(frame, case.static, **case.options).simulate(
                futr_df=case.future, n_paths=PATHS, seed=1
            )
    except InputError as error:
        return row | refusal(str(error), case)
    except Exception:  # any other exception is the finding
        return row | {"outcome": "crashed", "says": traceback.format_exc().strip().splitlines()[-1]}
    if case.names_it is not None:
        return row | {"outcome": "not refused"}
    return row | {"outcome": faults(table, case)}


def _row(number: int, case: Case, layout: str) -> dict[str, Any]:
    return {
        "number": number,
        "freq": case.freq,
        "defect": case.defect,
        "layout": layout,
        "valid": case.names_it is None,
    }


def refusal(text: str, case: Case) -> dict[str, str]:
    """Whether a refusal is in place, one sentence, and names what was planted."""
    if case.names_it is None:
        return {"outcome": "refused", "says": text}
    sentence = "\n" not in text and len(text) < 400 and not text.endswith(".")
    named = re.search(case.names_it, text) is not None
    return {"outcome": "right" if sentence and named else "not named", "says": text}


def outcome_before(end: float, number: int) -> dict[str, Any] | None:
    """What became of a table; None after a moment of the clock."""
    return outcome(number) if time.time() < end else None


def told_by_options(case: Case) -> bool:
    """Whether files and options can say all of a table; they have no groups."""
    return "group_col" not in case.options


def by_command(number: int, folder: Path) -> dict[str, Any]:
    """What became of a table in a file, forecast by command: `outcome` of the same."""
    case = make(number)
    frame, layout = written(case, np.random.default_rng([number, 2]), kinds=("pandas",))
    if "hist_exog_list" in case.options:  # options name columns only, the frame's method series too
        frame, layout = _wide(case).reset_index(), "wide"
    if layout == "wide, index":
        frame = frame.reset_index()
    turn = number // STRIDE
    data = folder / f"table-{number}{ENDINGS[turn % len(ENDINGS)]}"
    out = folder / f"forecast-{number}{ENDINGS[turn // 2 % len(ENDINGS)]}"
    try:
        write(frame.rename(columns=str), data)
    except (TypeError, ValueError, pa.ArrowInvalid, pa.ArrowTypeError):
        data = data.with_suffix(".csv")  # others do not take mixed columns
        write(frame, data)
    beside = {"futr-file": case.future, "stat-file": case.static}
    files = {name: folder / f"{name}-{number}.csv" for name in beside if beside[name] is not None}
    for name, file in files.items():
        write(beside[name], file)
    options = case.options
    words = flags(
        {
            "freq": options.get("freq"),
            "tz": options.get("tz", zone_of(case)),
            "futr": options.get("futr_exog_list"),
            "hist": options.get("hist_exog_list"),
            "stat": options.get("stat_exog_list"),
            **{name: str(file) for name, file in files.items()},
        }
    )
    answer = forecast(data, out, options["h"], *FEW, *words, zone=case.ahead.tz)
    row = _row(number, case, f"{layout}, {data.suffix}")
    if answer.kind == "refused":
        if case.names_it is not None:
            case = case._replace(names_it=in_options(case.names_it))
        said = answer.said.removeprefix("timediff forecast: ").removesuffix(".")
        return row | refusal(said, case)
    if answer.table is None:
        return row | {"outcome": answer.kind, "says": answer.said}
    if case.names_it is not None:
        return row | {"outcome": "not refused"}
    return row | {"outcome": faults(answer.table, case)}


def zone_of(case: Case) -> str | None:
    """The zone of stamps that a CSV has the offsets of, which may be several."""
    kind = case.long["ds"].dtype
    return str(kind.tz) if isinstance(kind, pd.DatetimeTZDtype) else None


def _wide(case: Case) -> pd.DataFrame:
    frame = case.long.pivot(index="ds", columns="unique_id", values="y")
    frame.columns.name = None
    return frame[list(dict.fromkeys(case.long["unique_id"]))]


def in_options(pattern: str) -> str:
    """What a refusal must say, in the words of the command line."""
    pattern = pattern.replace("tz=", "--tz ").replace("of the frame", "of .*")
    return re.sub(r"^horizon of (\d+) steps$", r"--horizon \1\\b", pattern)


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
    parser.add_argument("--by-command", type=int, default=40, help="tables in files")
    parser.add_argument("--only", type=int, help="the number of one table, to look at")
    parser.add_argument("--out", type=Path, default=RESULTS / "generated_tables.json")
    options = parser.parse_args()
    if options.only is not None:
        print(make(options.only).long, outcome(options.only), sep="\n")
        return 0
    started = time.monotonic()
    judge = partial(outcome_before, time.time() + 60 * options.minutes)
    rows = []
    with processes(2) as pool:
        for row in pool.map(judge, range(options.tables)):
            rows += [] if row is None else [row]
            _tell(row)
    seconds = time.monotonic() - started
    numbers = (n for n in count(0, STRIDE) if told_by_options(make(n)))
    with TemporaryDirectory(prefix="timediff-") as folder:
        work = partial(by_command, folder=Path(folder))
        commanded = side_by_side(work, islice(numbers, options.by_command))
    for row in commanded:
        _tell(row)
    record = {
        "asked": options.tables,
        "tables": len(rows),
        "seconds": seconds,
        **summary(rows),
        "by layout": counts(rows, "layout"),
        "by command": {"tables": len(commanded), **summary(commanded)},
    }
    finish(record, options.out)
    return 0


def _tell(row: dict[str, Any] | None) -> None:
    if row is not None and row["outcome"] != "right":
        print(row, flush=True)


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """How many tables were right, by frequency and defect, and those that were not."""
    valid, defective = ([row for row in rows if row["valid"] is which] for which in (True, False))
    shares = [
        sum(r["outcome"] == "right" for r in part) / max(len(part), 1)
        for part in (valid, defective)
    ]
    print(
        f"{len(valid)} valid: {shares[0]:.1%} right; {len(defective)} without meaning: "
        f"{shares[1]:.1%} refused by name"
    )
    return {
        "valid": {"tables": len(valid), "right": shares[0]},
        "without meaning": {"tables": len(defective), "right": shares[1]},
        "by frequency": counts(rows, "freq"),
        "by defect": counts(rows, "defect"),
        "wrong": [row for row in rows if row["outcome"] != "right"],
    }


if __name__ == "__main__":
    sys.exit(main())
