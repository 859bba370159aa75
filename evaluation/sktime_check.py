"""What sktime's own `check_estimator` says of `timediff.adapters.sktime.TimeGradForecaster`.

python evaluation/sktime_check.py          # where the extra sktime is installed

Writes evaluation/results/sktime_check.txt: versions, a line for each test, and how many passed; it exits with
status 1 if one did not. Takes some minutes.
"""

import argparse
import platform
import sys
import time
import warnings
from collections import Counter
from importlib.metadata import version
from pathlib import Path

from sktime.utils.estimator_checks import check_estimator
from study import RESULTS

from timediff.adapters.sktime import TimeGradForecaster
from timediff.tools.files import write_text
from timediff.tools.machine import commit

PACKAGES = ("sktime", "skpro", "scikit-base", "torch", "gluonts", "lightning", "pandas", "numpy")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=RESULTS / "sktime_check.txt")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    begun = time.perf_counter()
    results = check_estimator(TimeGradForecaster, raise_exceptions=False, verbose=False)
    seconds = time.perf_counter() - begun
    outcomes = {
        name: "PASSED" if found == "PASSED" else repr(found) for name, found in results.items()
    }
    counts = Counter("passed" if found == "PASSED" else "failed" for found in outcomes.values())
    versions = [f"{name} {version(name)}" for name in PACKAGES]
    head = [
        f"check_estimator(TimeGradForecaster), commit {commit()}",
        f"Python {platform.python_version()}, " + ", ".join(versions),
        f"{counts['passed']} passed, {counts['failed']} failed in {seconds:.0f} s",
    ]
    lines = [f"{found}  {name}" for name, found in sorted(outcomes.items())]
    write_text(options.out, "\n".join([*head, "", *lines]) + "\n")
    print(*head, *(line for line in lines if not line.startswith("PASSED")), sep="\n")
    return int(counts["failed"] > 0)


if __name__ == "__main__":
    sys.exit(main())
