"""``python evaluation/same_paths.py [--keep FOLDER] [--load FOLDER]``: hashes of paths of fixed seeds, a
line each.

Run at two commits on one machine, its output says whether forecasts are the same bit for bit: the second
commit checked out by ``git worktree add ../before v0.1.0`` and put first with ``PYTHONPATH=../before``.

Hashes of before the noise followed the item and the start of a forecast (0.2.0) are others.

Args:
    --keep: Folder to save the trained predictors in.
    --load: Folder of predictors that another commit kept, forecast with in place of training.
"""

import argparse
import hashlib
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

from timediff import (
    PRESETS,
    Preset,
    SamplingConfig,
    TimeGradEstimator,
    TimeGradPredictor,
    load_dataset,
)

DEFAULT, PAPER = PRESETS["default"], PRESETS["paper"]
if "support" in DEFAULT.model._fields:  # since 0.2.0 the default is another model
    DEFAULT = DEFAULT._replace(model=DEFAULT.model._replace(scaling="global", support="none"))
STEPS, PATHS, SEED = 10, 20, 7

#: What is trained: name -> preset.
MODELS: dict[str, Preset] = {
    "default": DEFAULT,
    "paper": PAPER,
    "attention": DEFAULT._replace(
        model=DEFAULT.model._replace(denoiser="attention", denoiser_width=8, schedule="cosine")
    ),
    "learned schedule": DEFAULT._replace(model=DEFAULT.model._replace(schedule="learned")),
    "guided": DEFAULT._replace(
        model=DEFAULT.model._replace(condition_dropout=0.1, self_conditioning=True, scaling="std"),
        sampling=DEFAULT.sampling._replace(guidance=0.5),
    ),
    "sub-vp": DEFAULT._replace(
        model=DEFAULT.model._replace(
            schedule="sub-vp", scaling="none", cell="lstm", variance="small"
        )
    ),
    "importance": DEFAULT._replace(train=DEFAULT.train._replace(step_sampling="importance")),
}


def sampling(**options: Any) -> SamplingConfig:
    """A configuration of sampling; at 0.1.0 options of samplers were fields of it."""
    fields = {name: value for name, value in options.items() if name in SamplingConfig._fields}
    if fields == options:
        return SamplingConfig(**fields)
    rest = {name: value for name, value in options.items() if name not in fields}
    return SamplingConfig(**fields, options=rest)


#: Ways to draw from the default.
SAMPLINGS = {
    "ancestral": sampling(extrapolation=0.0),
    "ddim": sampling(sampler="ddim", eta=0.3),
    "dpm++": sampling(sampler="dpm++", order=3),
    "sde-dpm++": sampling(sampler="sde-dpm++", spacing="log-snr"),
    "heun": sampling(sampler="heun", churn=2.0),
    "langevin": sampling(sampler="langevin"),
    "langevin, 2 corrections": sampling(sampler="langevin", corrections=2, snr=0.3),
    "predictor-corrector": sampling(sampler="predictor-corrector", spacing="uniform"),
    "antithetic": sampling(noise="antithetic"),
    "stratified": sampling(noise="stratified"),
}


def train(preset: Preset, data: Any) -> TimeGradPredictor:
    """A predictor trained for a few steps."""
    estimator = TimeGradEstimator(
        prediction_length=data.prediction_length,
        model=preset.model,
        train=preset.train._replace(steps=STEPS, steps_per_epoch=5, seed=SEED),
        sampling=preset.sampling,
        progress=False,
        trainer_kwargs={"accelerator": "cpu"},
    )
    return estimator.train(data.train)


def digest(predictor: TimeGradPredictor, entry: dict[str, Any], **options: Any) -> str:
    """Hash of the paths of one window."""
    (forecast,) = predictor.predict(
        [entry], num_samples=PATHS, seed=SEED, progress=False, **options
    )
    return hashlib.sha256(np.ascontiguousarray(forecast.samples).tobytes()).hexdigest()[:16]


def main() -> None:
    """Prints one line for each model and each way to sample."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--load", type=Path)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    data = load_dataset("citylearn2022")
    horizon = data.prediction_length
    # Cut by hand: `timediff.data.entry` is younger than some of the commits that this is run at.
    entry = {**data.test[0], "target": data.test[0]["target"][:, :-horizon]}
    trained = {}
    for name, preset in MODELS.items():
        if args.load is None:
            trained[name] = train(preset, data)
        else:
            trained[name] = TimeGradPredictor.deserialize(args.load / name, device="cpu")
        if args.keep is not None:
            trained[name].serialize(args.keep / name)
        print(f"{digest(trained[name], entry)}  {name}", flush=True)
    predictor = trained["default"]
    known = np.full((horizon, len(data.columns)), np.nan)
    known[0] = data.test[0]["target"][:, -horizon]
    print(f"{digest(predictor, entry, known_future=known)}  default, what if")
    for name, sampling in SAMPLINGS.items():
        predictor.sampling = sampling
        print(f"{digest(predictor, entry)}  default, {name}", flush=True)


if __name__ == "__main__":
    main()
