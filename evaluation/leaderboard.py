"""Makes the records of the leaderboard and keeps what belongs into the repository.

    python evaluation/leaderboard.py               all of `NAMES`, one after the other
    python evaluation/leaderboard.py NAME ...      only these configurations of evaluation/configs
    python evaluation/leaderboard.py --collect     only keep what runs/NAME has already

Each is `python -m timediff.evaluate --config evaluation/configs/NAME.yaml` in runs/NAME, from where record,
table and picture are copied to evaluation/results/NAME. The report, the paths and the predictors stay in
runs/NAME: they are large, and the same command makes them again. Data sets that are not in the package are
looked for in $TIMEDIFF_DATA. Then `python evaluation/tables.py` writes the documents.
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
SETS = ("citylearn2022", "exchange_rate", "oracle", "rts_gmlc", "traffic_pems20")
#: Further sets of the ten that the default is judged on.
MORE = (
    *("ETTh1", "gefcom2012_load20", "electricity_ecl203_1000h"),
    *("los_speed207", "pm25_beijing36", "nyc_taxi_30min_400"),
)
NAMES = [
    *(f"{name}-{preset}" for name in SETS for preset in ("default", "paper")),
    *(f"{name}-default" for name in MORE),
    *(f"{name}-rolling" for name in (*SETS, *MORE) if name != "oracle"),
]
KEPT = ("record.json", "table.txt", "forecast.png")


def make(name: str, runs: Path, *, resume: bool) -> bool:
    """Runs one configuration; whether it came to its end."""
    command = [sys.executable, "-m", "timediff.evaluate"]
    command += ["--config", str(HERE / "configs" / f"{name}.yaml"), "--out", str(runs / name)]
    done = subprocess.run([*command, *(["--resume"] if resume else [])], stdout=subprocess.DEVNULL)
    return done.returncode == 0


def collect(name: str, runs: Path, results: Path) -> bool:
    """Copies what is kept of a run; False if the run has no record."""
    if not (runs / name / "record.json").is_file():
        return False
    (results / name).mkdir(parents=True, exist_ok=True)
    for file in KEPT:
        if (runs / name / file).is_file():
            shutil.copyfile(runs / name / file, results / name / file)
    return True


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="a file of evaluation/configs")
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--results", type=Path, default=HERE / "results")
    parser.add_argument("--collect", action="store_true", help="run nothing")
    parser.add_argument("--resume", action="store_true", help="go on with interrupted runs")
    options = parser.parse_args()
    names = options.names or NAMES
    unknown = [name for name in names if not (HERE / "configs" / f"{name}.yaml").is_file()]
    if unknown:
        parser.error(f"no such configuration in evaluation/configs: {', '.join(unknown)}")
    failed = []
    for i, name in enumerate(names):
        print(f"{i + 1} of {len(names)}: {name}", file=sys.stderr)
        made = options.collect or make(name, options.runs, resume=options.resume)
        if not (made and collect(name, options.runs, options.results)):
            failed.append(name)
    if failed:
        print(f"no new record of {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
