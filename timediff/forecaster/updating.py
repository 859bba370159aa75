"""Training that goes on from a forecaster's present weights."""

from typing import Any

from timediff.forecaster.drawing import read_more
from timediff.forecaster.forecaster import Forecaster
from timediff.forecaster.frames import kind_of
from timediff.forecaster.known import entry_of
from timediff.gluon.predictor import TimeGradPredictor

__all__ = ["update"]


def update(forecaster: Forecaster, df: Any) -> Forecaster:
    """Trains a forecaster on from its weights, on the rows of a frame of the same series, and returns it.

    Raises:
        InputError: Nothing was trained, or the frame does not fit what the model was trained on.
    """
    fitted = forecaster._trained()
    known, notes = read_more(df, fitted)
    forecaster._tell(notes)
    estimator = forecaster._estimator(fitted.predictor.prediction_length)
    predictor = estimator.train_from(fitted.predictor, [entry_of(known, fitted.layout)])
    assert isinstance(predictor, TimeGradPredictor)
    forecaster._fitted = fitted._replace(predictor=predictor, known=known, kind=kind_of(df))
    return forecaster
