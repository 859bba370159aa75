"""TimeGrad in sktime: its own checks, and a distribution that is joint over columns and steps."""

import numpy as np
import pandas as pd
import pytest
from tiny import MODEL, QUIET, TRAIN, entry

from timediff import Forecaster, InputError

pytest.importorskip("sktime", reason="sktime is not installed")
pytest.importorskip("skpro", reason="skpro is not installed")

from sktime.utils.estimator_checks import check_estimator

from timediff.adapters.sktime import TimeGradForecaster

pytestmark = [QUIET, pytest.mark.filterwarnings("ignore::FutureWarning:sktime")]
STAMPS = pd.date_range("2020-01-06", periods=60, freq="h")
OPTIONS = {"model": MODEL._asdict(), "train": TRAIN._asdict(), "random_state": 3, "n_paths": 40}


def table(index=STAMPS, columns=("a", "b", "c")):
    return pd.DataFrame(entry(len(columns))["target"].T, index=index, columns=list(columns))


def waves(index):
    return pd.DataFrame({"a": np.sin(np.arange(len(index)))}, index=index)


@pytest.fixture(scope="module")
def fitted():
    return TimeGradForecaster(**OPTIONS).fit(table(), fh=[1, 2, 4])


@pytest.mark.contracts
def test_sktime_finds_no_fault_in_a_part_of_its_checks():
    # All of them take minutes: evaluation/sktime_check.py.
    names = [
        "test_constructor",
        "test_clone",
        "test_set_params",
        "test_predict_proba",
        "test_predict_quantiles",
        "test_persistence_via_pickle",
    ]
    found = check_estimator(TimeGradForecaster, tests_to_run=names, verbose=False)
    assert len(found) > 20 and {name for name, said in found.items() if said != "PASSED"} == set()


@pytest.mark.identities
def test_the_distribution_is_that_of_the_forecaster_and_joint(fitted):
    ours = Forecaster(MODEL, TRAIN._replace(seed=3), progress=False)
    forecast = ours.fit(table().rename_axis("ds").reset_index(), h=4).forecast(n_paths=40, seed=3)
    steps = forecast.paths[:, [0, 1, 3]]  # [S, 3, D]
    distribution = fitted.predict_proba()
    np.testing.assert_allclose(distribution.spl.to_numpy().reshape(steps.shape), steps, rtol=1e-6)
    np.testing.assert_allclose(fitted.predict(), steps.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(
        fitted.predict_interval(coverage=0.8)["b", 0.8],
        forecast.quantile([0.1, 0.9])[:, [0, 1, 3], 1].T,
        rtol=1e-6,
    )
    # What is drawn of it are whole paths, over all steps and columns.
    drawn = distribution.sample(30).to_numpy().reshape(30, -1)
    whole = steps.reshape(40, -1)
    assert all(np.isclose(path, whole, rtol=1e-6).all(axis=1).any() for path in drawn)
    assert len(np.unique(drawn, axis=0)) > 5


@pytest.mark.contracts
@pytest.mark.parametrize(
    "index",
    [
        pd.period_range("2001-01", periods=60, freq="M"),
        pd.date_range("2001-01-31", periods=60, freq="ME"),
        pd.RangeIndex(7, 67),
    ],
    ids=lambda index: type(index).__name__,
)
def test_forecasts_are_labelled_as_the_series_would_go_on(index):
    y = table(index, columns=["only"])["only"]
    predicted = TimeGradForecaster(**OPTIONS).fit(y, fh=[1, 2]).predict()
    assert isinstance(predicted, pd.Series)
    expected = index[-1:].shift(1) if isinstance(index, pd.DatetimeIndex) else index[-1:] + 1
    assert list(predicted.index[:1]) == list(expected)


@pytest.mark.contracts
def test_what_is_known_ahead_is_used_and_gaps_are_not_filled_in():
    longer = pd.date_range(STAMPS[0], periods=64, freq="h")
    y, X = table(), waves(longer)
    y.iloc[20:24, 1] = np.nan
    ours = Forecaster(MODEL, TRAIN._replace(seed=3), progress=False)
    ours.fit(y.assign(X=X).rename_axis("ds").reset_index(), h=3, futr_exog_list=["X"])
    futr_df = X.rename_axis("ds").rename(columns={"a": "X"}).reset_index()
    expected = ours.forecast(futr_df=futr_df, n_paths=40, seed=3).mean
    model = TimeGradForecaster(**OPTIONS).fit(y, X=X.loc[STAMPS], fh=[1, 2, 3])
    np.testing.assert_allclose(model.predict(X=X.iloc[60:]), expected, rtol=1e-6)
    with pytest.raises(InputError, match="'X a' at 2020-01-08 14:00"):
        model.predict(X=X.iloc[60:62])


@pytest.mark.contracts
def test_an_update_moves_the_past_and_trains_on_if_asked(fitted):
    first = TimeGradForecaster(**OPTIONS).fit(table()[:50], fh=[1, 2])
    weights = [p.clone() for p in first.forecaster_.predictor.prediction_net.parameters()]
    first.update(table()[50:], update_params=False)
    again = first.forecaster_.predictor.prediction_net.parameters()
    assert all((a == b).all() for a, b in zip(weights, again, strict=True))
    assert first.predict().index[0] == STAMPS[-1] + pd.Timedelta("1h")
    whole = first.forecaster_.forecast(
        table().rename_axis("time index").reset_index(), h=2, n_paths=40, seed=3
    )
    np.testing.assert_allclose(first.predict(), whole.mean, rtol=1e-6)
    first.update(table()[50:], update_params=True)
    again = first.forecaster_.predictor.prediction_net.parameters()
    assert not all((a == b).all() for a, b in zip(weights, again, strict=True))


@pytest.mark.contracts
def test_a_mistake_gets_a_sentence():
    with pytest.raises(InputError, match="no option 'width'; options of ModelConfig are cell,"):
        TimeGradForecaster(model={"width": 3}).fit(table(), fh=[1])
    with pytest.raises(InputError, match="steps is 0"):
        TimeGradForecaster(train={"steps": 0}).fit(table(), fh=[1])
