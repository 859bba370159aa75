"""From the body of a request to that of its answer, in a thread of its own.

Axes: ``S`` sample paths, ``H`` steps of the forecast, ``D`` channels.
"""

from collections.abc import Callable
from secrets import randbelow
from typing import Any

import numpy as np
import orjson

from timediff.errors import InputError
from timediff.forecaster.drawing import draw
from timediff.forecaster.forecast import Forecast
from timediff.serving.limits import Limits
from timediff.serving.reading import asked_for, check_frequency
from timediff.serving.served import Served
from timediff.serving.wire import Item, Parameters, parsed
from timediff.tools.progress import checked_by

__all__ = ["PATHS", "answer"]

#: Sample paths that mean and quantiles are of where no number is asked for.
PATHS = 100


def answer(
    served: Served, limits: Limits, body: bytes, check: Callable[[], None]
) -> tuple[bytes, int]:
    """The answer to a request, and how many paths were drawn for it.

    Each output depends on its input, the parameters and the seed alone, not on the other inputs.

    Args:
        served: The model.
        limits: Of the request.
        body: Of the request.
        check: Called after every step of the work; what it raises ends it.

    Raises:
        InputError: The request is not what the wire format says, does not fit the model, or asks too much.
    """
    request = parsed(body)
    parameters = request.parameters
    check_frequency(served, parameters)
    steps = parameters.prediction_length or served.horizon
    paths = parameters.num_samples or min(PATHS, limits.paths)
    _check_size(served, limits, paths, steps, len(request.inputs))
    asked = [
        asked_for(served, item, steps, f"inputs[{place}]")
        for place, item in enumerate(request.inputs)
    ]
    seed = randbelow(2**31) if parameters.seed is None else parameters.seed
    outputs = []
    with checked_by(check):
        for place, (item, (wanted, group)) in enumerate(zip(request.inputs, asked, strict=True)):
            try:
                forecast = draw(
                    served.fitted, wanted, group, n_paths=paths, seed=seed, progress=False
                )
            except InputError as error:
                raise InputError(f"inputs[{place}]: {error}") from error
            outputs.append(_output(forecast, item, parameters))
    content = {"outputs": outputs, "seed": seed}
    # Arrays in another order of axes are what orjson asks a default for.
    text = orjson.dumps(content, default=np.ascontiguousarray, option=orjson.OPT_SERIALIZE_NUMPY)
    return text, paths * len(outputs)


def _check_size(served: Served, limits: Limits, paths: int, steps: int, inputs: int) -> None:
    if paths > limits.paths:
        raise InputError(
            f"parameters.num_samples is {paths}, and the server draws {limits.paths} at most; ask for fewer"
        )
    values = paths * steps * served.fitted.layout.width * inputs
    if values > limits.values:
        raise InputError(
            f"the paths of {inputs} inputs have {values:,} numbers, and the server draws "
            f"{limits.values:,.0f} at most; ask for fewer paths, steps or inputs"
        )


def _output(forecast: Forecast, item: Item, parameters: Parameters) -> dict[str, Any]:
    """What is said of the forecast of an item."""
    output: dict[str, Any] = {"mean": forecast.mean}
    if parameters.quantile_levels:
        levels = sorted(parameters.quantile_levels)
        output["quantile_predictions"] = [
            {"level": level, "values": values}
            for level, values in zip(levels, forecast.quantile(levels), strict=True)
        ]
    if parameters.num_samples:
        output["samples"] = forecast.paths
    output["timestamps"] = [stamp.isoformat() for stamp in forecast.stamps]
    output["channels"] = list(forecast.names)
    if item.metadata is not None:
        output["metadata"] = item.metadata
    return output
