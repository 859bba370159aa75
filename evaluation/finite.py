"""Trains and forecasts briefly on every data set in a folder and says whether all numbers are finite.

python evaluation/finite.py --data-dir FOLDER [--steps 20] [--out evaluation/results/finite.json]

Data sets too short for their own training part are listed with the reason. The exit status is 1 if a
number is not finite or nothing could be trained on.
"""

import argparse
import json
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from timediff import PRESETS, InputError, SamplingConfig, TimeGradEstimator, load_dataset
from timediff.data.entry import split_windows


def check(name: str, folder: Path, preset: str, steps: int) -> dict[str, Any]:
    """Whether losses and paths are finite, with what makes the data difficult."""
    row: dict[str, Any] = {"dataset": name, "preset": preset, "steps": steps}
    try:
        data = load_dataset(str(folder))
        target = data.train[0]["target"]
        observed = np.isfinite(target)
        chosen = PRESETS[preset]
        estimator = TimeGradEstimator(
            prediction_length=data.prediction_length,
            model=chosen.model,
            sampling=SamplingConfig(steps=10),
            train=chosen.train._replace(steps=steps, steps_per_epoch=steps, batch_size=16, seed=1),
            progress=False,
            trainer_kwargs={"enable_checkpointing": False},
        )
        output = estimator.train_model(data.train)
    except InputError as error:
        return {**row, "refused": str(error)}
    known, _ = split_windows(data.test, data.prediction_length)
    forecasts = output.predictor.predict(known, num_samples=20, seed=1, progress=False)
    paths = np.stack([forecast.samples for forecast in forecasts])
    constant = np.nanmax(target, axis=1) == np.nanmin(target, axis=1)
    return {
        **row,
        "series": len(target),
        "constant_series": int(constant.sum()),
        "zero_share": float((target[observed] == 0).mean()),
        "missing_share": float(1 - observed.mean()),
        "loss": output.trained_net.history[-1]["train_loss"],
        "finite": bool(
            np.isfinite(paths).all() and np.isfinite(output.trained_net.history[-1]["train_loss"])
        ),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--out", type=Path, default=Path("evaluation/results/finite.json"))
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    rows = []
    for folder in sorted(path for path in options.data_dir.iterdir() if path.is_dir()):
        for preset in PRESETS:
            rows.append(check(folder.name, folder, preset, options.steps))
            print(rows[-1], flush=True)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(rows, indent=1) + "\n")
    bad = [row["dataset"] for row in rows if not row.get("finite", True)]
    trained = sum("finite" in row for row in rows)
    print(
        f"not finite: {', '.join(bad)}" if bad else f"all finite in {trained} of {len(rows)} runs"
    )
    return 1 if bad or not trained else 0


if __name__ == "__main__":
    sys.exit(main())
