"""A saved model as a server holds it: loaded once, asked by histories of the wire format.

A folder of `timediff.Forecaster.save` and one of `timediff.TimeGradPredictor.serialize` become the same: a
predictor, the layout of its series, and a clock that says how stamps are written.

Axes: ``T`` known steps, ``H`` steps of the forecast, ``D`` channels, which are the series of the model.
"""

from pathlib import Path
from typing import Any, NamedTuple, Self

import pandas as pd

from timediff.data.steps import Clock
from timediff.errors import InputError
from timediff.forecaster import saved
from timediff.forecaster.drawing import Fitted
from timediff.forecaster.frames import Columns
from timediff.forecaster.known import Layout
from timediff.frequency import quiet_business_days
from timediff.gluon.paths import PathPredictor
from timediff.tools.device import check_device, device_of

__all__ = ["Served"]


class Served(NamedTuple):
    """A model that is served.

    Attributes:
        fitted: Predictor, layout and, of a forecaster, its training data.
        clock: Of its training data, or of its frequency alone.
    """

    fitted: Fitted
    clock: Clock

    @classmethod
    def load(cls, folder: Path, *, device: str = "auto") -> Self:
        """The model that a folder holds. No file decides what is imported or run.

        Raises:
            InputError: There is none, it is damaged, or it takes what the wire format cannot tell.
        """
        check_device(device)
        if (folder / "forecaster.json").is_file():
            fitted, _ = saved.load(folder)
            clock = next(iter(fitted.known.values())).clock
        elif (folder / "predictor.json").is_file():
            fitted = _alone(PathPredictor.deserialize(folder), folder)
            with quiet_business_days():
                clock = Clock(pd.Period("2000-01-01", freq=fitted.layout.freq))
        else:
            raise InputError(
                f"{folder} holds no model; give a folder that timediff train, Forecaster.save or "
                "TimeGradPredictor.serialize wrote"
            )
        fitted.predictor.to(device_of(device))
        return cls(fitted, clock)

    @property
    def horizon(self) -> int:
        """Steps of a forecast unless others are asked for."""
        return self.fitted.predictor.prediction_length

    @property
    def history_length(self) -> int:
        """Steps that a history must have."""
        return self.fitted.history_length

    def described(self) -> dict[str, Any]:
        """What a client must know to ask, plain values."""
        layout = self.fitted.layout
        return {
            "channels": layout.names,
            "frequency": layout.freq,
            "zone": self.clock.tz,
            "prediction_length": self.horizon,
            "history_length": self.history_length,
            "past_covariates": layout.hist,
            "future_covariates": layout.futr,
            "covariates_of_all_channels": layout.common,
            "categories": layout.categories,
            "groups": list(self.fitted.known) if layout.columns.group else None,
        }


def _alone(predictor: PathPredictor, folder: Path) -> Fitted:
    """A predictor without the forecaster that knows its series."""
    shape = predictor.prediction_net.shape
    if any(not covariate.field.startswith("holidays:") for covariate in shape.covariates):
        raise InputError(
            f"the predictor in {folder} takes covariates, whose names it does not tell; serve a folder that "
            "Forecaster.save wrote"
        )
    if predictor.lead_time:
        raise InputError(
            f"the predictor in {folder} has a lead time of {predictor.lead_time} steps, which the "
            "wire format cannot tell; serve one without"
        )
    names: list[Any] = predictor.names or list(range(shape.target_dim))
    layout = Layout(Columns(), names, predictor.freq, None, [], [], [], {}, [])
    return Fitted(predictor, {}, layout, "pandas")
