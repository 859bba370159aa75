"""A DeepAR that only GluonTS has touched, for the evaluator to score.

    python evaluation/deepar.py runs/deepar
    python -m timediff.evaluate --config evaluation/configs/citylearn2022-deepar.yaml

trains GluonTS's estimator on the series of the embedded data set, one by one, and saves what it gives with
GluonTS's own ``serialize``. The second command forecasts and scores the test windows with it.
"""

import argparse
from pathlib import Path

from gluonts.torch import DeepAREstimator
from lightning.pytorch import seed_everything

from timediff import load_dataset

EPOCHS = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where the predictor is saved")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="of 50 steps; fewer to try it")
    options = parser.parse_args()
    data = load_dataset("citylearn2022")
    (entry,) = data.train
    series = [{**entry, "item_id": name} for name in data.columns]
    training = [{**one, "target": own} for one, own in zip(series, entry["target"], strict=True)]
    seed_everything(1)
    estimator = DeepAREstimator(
        freq=entry["start"].freqstr,
        prediction_length=data.prediction_length,
        trainer_kwargs={"max_epochs": options.epochs, "accelerator": "cpu", "logger": False},
    )
    predictor = estimator.train(training)
    options.folder.mkdir(parents=True, exist_ok=True)
    predictor.serialize(options.folder)


if __name__ == "__main__":
    main()
