"""Forecasts longer than the horizon of a model: every path goes on from its own values.

Axes: ``S`` sample paths, ``T`` steps of a forecast, ``H`` of the model's horizon, ``D`` dimensions.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from gluonts.model.forecast import SampleForecast
from numpy.typing import NDArray

from timediff.data.entry import Entry, dynamic_fields, entry_name, known_ahead
from timediff.errors import InputError, check_whole
from timediff.frequency import quiet_business_days
from timediff.gluon.paths import PathPredictor
from timediff.timegrad.batch import Shape
from timediff.timegrad.noise import PATHS_PER_STREAM
from timediff.tools.numbers import numbers
from timediff.tools.seeding import drawn_seed

__all__ = ["rolled"]

#: Half-lives of the past that a path takes along: what is older weighs less than one part in 4,000.
_HALF_LIVES = 12
#: Tables of each value of the past that a window is made of.
_TABLES = 16


def rolled(
    predictor: PathPredictor,
    entry: Mapping[str, Any],
    steps: int,
    *,
    num_samples: int,
    seed: int | None = None,
    known_future: NDArray[np.floating] | None = None,
    num_particles: int = 1000,
    progress: bool = True,
) -> SampleForecast:
    """The forecast of so many steps after an entry, whatever the horizon of the model.

    The first H steps are those of `TimeGradPredictor.predict`. After them every path is a history of its own,
    of which H steps more are drawn, and so on: paths stay joint over all steps. What is known of the past
    alone counts as missing then.

    Args:
        predictor: The model.
        entry: GluonTS entry, target ``[D, T]``; fields known ahead reach over all steps of the forecast.
        steps: Of the forecast.
        num_samples: S.
        seed: The same seed gives the same paths; drawn from torch's generator when left out.
        known_future: Values given of the first H steps, ``[H, D]``, NaN where unknown.
        num_particles: Where something is given.
        progress: Show progress bars on stderr.

    Raises:
        InputError: As `TimeGradPredictor.predict`, or the predictor has a lead time.
    """
    check_whole("steps", steps)
    horizon = predictor.prediction_length
    if predictor.lead_time and steps > horizon:
        raise InputError(
            f"the model was trained for a lead time of {predictor.lead_time} and {horizon} steps; its paths "
            "cannot go on, so ask for no more steps"
        )
    if seed is None:
        seed = drawn_seed()
    nothing = np.empty((0, predictor.prediction_net.shape.target_dim))
    (forecast,) = predictor.predict(
        [_followed(entry, nothing, predictor.lead_time + horizon)],
        num_samples,
        known_future=known_future,
        num_particles=num_particles,
        seed=seed,
        progress=progress,
    )
    paths = forecast.samples
    while paths.shape[1] < steps:
        more = _continued(predictor, entry, paths, seed=seed, progress=progress)
        paths = np.concatenate([paths, more], axis=1)
    forecast.samples = paths[:, :steps]
    return forecast


def _continued(
    predictor: PathPredictor,
    entry: Mapping[str, Any],
    paths: NDArray[np.floating],
    *,
    seed: int,
    progress: bool,
) -> NDArray[np.floating]:
    """The next steps ``[S, H, D]`` of paths ``[S, T, D]`` that follow an entry."""
    shape: Shape = predictor.prediction_net.shape
    length = np.shape(entry["target"])[-1] + paths.shape[1]
    first = max(length - _past_that_counts(shape), 0)
    size = max(1, int(predictor.memory // ((length - first) * shape.target_dim * _TABLES * 8)))
    parts: list[NDArray[np.floating]] = []
    for begin in range(0, len(paths), size):
        histories = [
            # Each is an item of its own, with noise of its own.
            {
                **_followed(entry, paths[s], shape.horizon, first=first),
                "item_id": f"{entry_name(entry)}, path {s}",
            }
            for s in range(begin, min(begin + size, len(paths)))
        ]
        # One path alone would in every history be the network's, or in every one of past errors.
        found = predictor.predict(histories, PATHS_PER_STREAM, seed=seed, progress=progress)
        parts += [one.samples[(begin + i) % PATHS_PER_STREAM] for i, one in enumerate(found)]
    return np.stack(parts)


def _followed(
    entry: Mapping[str, Any], path: NDArray[np.floating], horizon: int, *, first: int = 0
) -> Entry:
    """An entry whose target goes on with a path ``[T, D]``, without its first steps.

    Fields known ahead have the steps of the horizon after it. Where they end before, with the forecast asked
    for, their last value is repeated, as what comes then is left out.
    """
    length = np.shape(entry["target"])[-1] + len(path)
    fields: dict[str, NDArray[Any]] = {}
    for name in dynamic_fields(entry):
        values = numbers(entry[name], f"the {name} of {entry_name(entry)}")
        if name == "target":
            fields[name] = np.concatenate([values, path.T], axis=-1)[..., first:]
            continue
        ahead = known_ahead(name)
        end = length + horizon if ahead else length
        missing = [(0, 0)] * (values.ndim - 1) + [(0, max(end - values.shape[-1], 0))]
        if ahead:
            values = np.pad(values, missing, mode="edge")
        else:
            values = np.pad(values, missing, constant_values=np.nan)
        fields[name] = values[..., first:end]
    with quiet_business_days():
        return {**entry, "start": entry["start"] + first, **fields}


def _past_that_counts(shape: Shape) -> int:
    """Steps of the past that a window depends on, to one part in some thousands."""
    lives = [shape.cycle * shape.half_life, shape.cycle * shape.scale_half_life]
    lives += [cycle * half_life for cycle, half_life in shape.profiles]
    reach = int(_HALF_LIVES * max(lives)) if shape.cycles else 0
    return max(shape.history_length, reach)
