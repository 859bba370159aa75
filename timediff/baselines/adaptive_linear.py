"""The linear part of our default by itself: direct regressions with joint error trajectories.

Every series is brought to units of what it did at the same position of its last cycles, and each lead is
forecast by a ridge regression of its own (`timediff.timegrad.centre`). A path is the mean forecast plus the
whole error trajectory of one past origin, of all leads and series, by regressions that were fitted without
the block of that origin; origins have the position of the forecast's in the cycle, where there are
enough of them. So margins, the dependence of series and that of steps are those of past errors.

Axes: ``S`` sample paths, ``T`` time steps, ``D`` series, ``N`` origins.
"""

import numpy as np

from timediff.baselines.base import Baseline
from timediff.baselines.task import Array, Fitted, Task, Window, bounds, in_phase, resized
from timediff.config import ModelConfig
from timediff.frequency import adaptive_cycles, num_time_features, quiet_business_days

__all__ = ["ADAPTIVE_LINEAR", "MOST_NUMBERS", "fit_adaptive_linear"]

#: Numbers that the trajectories may hold.
MOST_NUMBERS = 1e8


def fit_adaptive_linear(
    task: Task,
    *,
    seed: int,
    progress: bool,
    cycles: list[int] | None = None,
    half_life: float | None = None,
) -> Fitted:
    """The regressions of a task.

    Args:
        task: Whose training data they are fitted to.
        seed: Not used: nothing is drawn.
        progress: Not used: it takes seconds.
        cycles: Of the normalisation, in steps; by the frequency and the length of the data when left out.
        half_life: Of its location; `ModelConfig`'s when left out.
    """
    # Imported here: the names of baselines are read without torch.
    import torch

    from timediff.gluon.entries import read_entry
    from timediff.gluon.linear import adaptive_shape, fit_on
    from timediff.gluon.windows import WindowData, forecast_batch
    from timediff.timegrad.batch import Shape
    from timediff.timegrad.centre import LinearCentre
    from timediff.timegrad.trajectories import FEWEST, filled

    freq, (length, dim) = task.freq, task.train.shape
    config = ModelConfig(cycles=cycles or adaptive_cycles(freq, length), half_life=half_life)
    with quiet_business_days():
        shape = Shape(
            dim, task.horizon, 1, [1], num_time_features(freq), **adaptive_shape(config, freq)
        )
        data = WindowData([read_entry({"start": task.begin, "target": task.train.T})], shape)
    fitted = fit_on(data, most_errors=max(1, int(MOST_NUMBERS // (task.horizon * dim))))
    centre = LinearCentre(shape)
    centre.coefficients.copy_(fitted.fit.coefficients)
    origins = (fitted.origins - data.first).numpy()  # steps of the training data
    positions = torch.as_tensor(origins % shape.cycle)
    errors = filled(fitted.errors, fitted.known, positions).numpy()
    low, high = bounds(task.train)

    def sample(window: Window, num_samples: int, rng: np.random.Generator) -> Array:
        with quiet_business_days(), torch.no_grad():
            entry = {"start": window.begin, "target": window.history.T}
            batch = forecast_batch([read_entry(entry)], shape)
            mean = centre(batch)[0].numpy()
        assert batch.location is not None and batch.scale is not None
        same = np.isin(origins, in_phase(origins, length + window.gap, shape.cycle))
        at = np.flatnonzero(same) if same.sum() >= FEWEST else np.arange(len(origins))
        deviations = mean + errors[resized(rng, at, num_samples)] - errors[at].mean(axis=0)
        paths = batch.location[0].numpy() + batch.scale[0].numpy() * deviations
        return np.clip(paths, low, high)

    details = {
        "cycles": shape.cycles,
        "half_life": shape.half_life,
        "penalty": fitted.fit.penalty,
        "origins": fitted.fitted_to,
        "trajectories": len(origins),
    }
    return Fitted(sample, details)


ADAPTIVE_LINEAR = Baseline(
    "adaptive linear",
    "Deviations from what each series did at the same hours of its last cycles, a ridge regression for each "
    "lead; paths add whole error trajectories of past origins, of regressions fitted without their block. "
    "Penalty by left-out blocks.",
    True,
    fit_adaptive_linear,
)
