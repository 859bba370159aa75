"""Makes data sets of the last 600 rows of others, and the records of the default on them: little data.

python evaluation/short.py --data-dir FOLDER [--work runs/short]

Each is written as a folder NAME_last600 of --work and scored as configs/NAME_last600-default.yaml says, with
the test windows of the whole. Record, table and picture go to evaluation/results, as those of
`leaderboard.py`. Then `python evaluation/tables.py` writes the documents.
"""

import argparse
import json
import os
import sys
from pathlib import Path

import pandas as pd
from leaderboard import collect
from leaderboard import make as run

from timediff import load_dataset
from timediff.tools.files import write_text

SETS = ("citylearn2022", "rts_gmlc", "ETTh1")
ROWS = 600
HERE = Path(__file__).resolve().parent


def make(name: str, data_dir: Path, folder: Path) -> None:
    """Writes the last rows of a data set as a table of its own."""
    data = load_dataset(name, data_dir=data_dir)
    last = data.test[-1]
    target, start = last["target"][:, -ROWS:].T, last["start"] + last["target"].shape[1] - ROWS
    folder.mkdir(parents=True, exist_ok=True)
    stamps = pd.period_range(start, periods=ROWS).to_timestamp()
    frame = pd.DataFrame(target.astype("float64"), index=stamps, columns=data.columns)
    frame.to_parquet(folder / "data.parquet")
    about = {
        "name": folder.name,
        "freq": data.freq,
        "prediction_length": data.prediction_length,
        "rolling_windows": len(data.test),
        "source": f"the last {ROWS} rows of {name}: {data.source}",
        "licence": data.licence,
    }
    write_text(folder / "meta.json", json.dumps(about))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("runs/short"))
    parser.add_argument("--results", type=Path, default=HERE / "results")
    options = parser.parse_args()
    failed = []
    os.environ["TIMEDIFF_DATA"] = str(options.work / "data")
    for name in SETS:
        short = f"{name}_last{ROWS}"
        make(name, options.data_dir, options.work / "data" / short)
        done = run(f"{short}-default", options.work, resume=False)
        if not (done and collect(f"{short}-default", options.work, options.results)):
            failed.append(short)
    if failed:
        print(f"no record of: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
