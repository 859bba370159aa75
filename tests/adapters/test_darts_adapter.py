"""TimeGrad in Darts: samples are joint, and Darts' own machinery takes the model as one of its own."""

import numpy as np
import pandas as pd
import pytest
from tiny import HORIZON, MODEL, QUIET, TRAIN, entry

from timediff import Forecast, Forecaster, InputError

darts = pytest.importorskip("darts", reason="darts is not installed")

from darts import TimeSeries, metrics  # noqa: E402
from darts.models import ConformalNaiveModel, NaiveEnsembleModel  # noqa: E402

from timediff.adapters.darts import TimeGradModel, from_darts, to_darts  # noqa: E402

pytestmark = [QUIET, pytest.mark.filterwarnings("ignore::UserWarning:darts")]
NAMES = ["a", "b", "c"]
STAMPS = pd.date_range("2020-01-06", periods=60, freq="h")


def frame(seed=0, stamps=STAMPS):
    return pd.DataFrame(entry(3, len(stamps), seed=seed)["target"].T, index=stamps, columns=NAMES)


def series(seed=0, stamps=STAMPS):
    return TimeSeries.from_dataframe(frame(seed, stamps))


@pytest.fixture(scope="module")
def model():
    return TimeGradModel(HORIZON, MODEL, TRAIN, random_state=3).fit(series())


@pytest.mark.identities
def test_samples_are_the_joint_paths_of_the_forecaster(model):
    ours = Forecaster(MODEL, TRAIN._replace(seed=3), progress=False)
    table = frame().rename_axis("ds").reset_index().assign(group=0)
    drawn = ours.fit(table, h=HORIZON, group_col="group").forecast(group=0, n_paths=8, seed=5)
    samples = model.predict(HORIZON, num_samples=8, random_state=5)
    expected = drawn.paths.transpose(1, 2, 0)
    np.testing.assert_allclose(
        samples.all_values(), expected, rtol=1e-6
    )  # float32, as the series is
    assert list(samples.components) == NAMES
    assert list(samples.time_index) == list(drawn.stamps)
    again = model.predict(HORIZON, num_samples=8, random_state=5)
    np.testing.assert_array_equal(samples.all_values(), again.all_values())


@pytest.mark.contracts
def test_forecasts_of_the_past_are_those_of_the_series_cut_there(model):
    past = model.historical_forecasts(
        series(), start=50, forecast_horizon=3, stride=4, retrain=False, last_points_only=False,
        num_samples=6, random_state=2, show_warnings=False,
    )  # fmt: skip
    assert len(past) == 2 and past[0].start_time() == STAMPS[50]
    expected = model.predict(3, series=series()[:50], num_samples=6, random_state=2)
    np.testing.assert_allclose(past[0].all_values(), expected.all_values(), rtol=1e-5)


@pytest.mark.contracts
def test_darts_scores_wraps_and_saves_it_as_its_own(model, tmp_path):
    score = model.backtest(
        series(), start=50, forecast_horizon=3, stride=4, retrain=False, num_samples=6,
        metric=metrics.mql, show_warnings=False,
    )  # fmt: skip
    assert 0 < score < 10
    bands = ConformalNaiveModel(model, quantiles=[0.1, 0.5, 0.9], cal_length=5)
    levels = bands.predict(2, series(), predict_likelihood_parameters=True)
    assert levels.all_values().shape == (2, 9, 1)
    both = NaiveEnsembleModel([model, model], train_forecasting_models=False)
    assert both.predict(2, series(), num_samples=4).n_samples == 4
    model.save(tmp_path / "model.pkl")
    loaded = TimeGradModel.load(tmp_path / "model.pkl", trusted=True)
    want = model.predict(2, num_samples=3, random_state=1)
    assert loaded.predict(2, num_samples=3, random_state=1) == want


@pytest.mark.contracts
def test_several_series_are_examples_of_one_model_and_may_be_new():
    many = TimeGradModel(HORIZON, MODEL, TRAIN, random_state=1)
    many.fit([series(seed) for seed in (1, 2)])
    first, second = many.predict(6, [series(3), series(4)[:40]], num_samples=5)
    assert first.all_values().shape == second.all_values().shape == (6, 3, 5)
    assert second.start_time() == STAMPS[40]


@pytest.mark.contracts
def test_covariates_gaps_and_numbers_in_place_of_dates():
    table = frame()
    table.iloc[10:13, 1] = np.nan
    longer = pd.date_range(STAMPS[0], periods=60 + HORIZON, freq="h")
    known = TimeSeries.from_times_and_values(longer, np.sin(np.arange(64.0)), columns=["a"])
    seen = TimeSeries.from_times_and_values(STAMPS, np.cos(np.arange(60.0)), columns=["a"])
    fitted = TimeGradModel(HORIZON, MODEL, TRAIN, random_state=1)
    fitted.fit(TimeSeries.from_dataframe(table), seen, known)
    assert fitted.uses_past_covariates and fitted.uses_future_covariates
    assert np.isfinite(fitted.predict(HORIZON, num_samples=3).all_values()).all()
    with pytest.raises(InputError, match="'future a' at 2020-01-08 12:00"):
        fitted.predict(HORIZON, series(), seen, known[:60])
    counted = TimeSeries.from_values(frame().to_numpy())
    drawn = TimeGradModel(HORIZON, MODEL, TRAIN).fit(counted).predict(2, num_samples=3)
    assert list(drawn.time_index) == [60, 61]


@pytest.mark.identities
def test_there_and_back():
    paths = np.random.default_rng(0).normal(size=(5, 4, 3))
    made = Forecast(paths, NAMES, STAMPS[:4])
    there = to_darts(made)
    # What is summed there is summed path by path.
    total = there["a"] + there["b"] + there["c"]
    np.testing.assert_allclose(total.all_values()[:, 0].T, made.aggregate().paths[..., 0])
    back = from_darts(there)
    np.testing.assert_array_equal(back.paths, paths)
    assert back.names == NAMES and list(back.stamps) == list(made.stamps)


@pytest.mark.contracts
def test_a_lost_zone_is_told_and_found_again():
    stamps = pd.date_range("2024-10-27 00:00", periods=4, freq="h", tz="Europe/Berlin")
    made = Forecast(np.zeros((2, 4, 3)), NAMES, stamps)
    with pytest.warns(
        UserWarning, match=r"stamps are UTC there; from_darts\(..., tz='Europe/Berlin'"
    ):
        there = to_darts(made)
    assert there.start_time() == pd.Timestamp("2024-10-26 22:00")
    assert list(from_darts(there, tz="Europe/Berlin").stamps) == list(stamps)


@pytest.mark.contracts
def test_a_mistake_gets_a_sentence():
    few = Forecast(np.random.default_rng(0).normal(size=(9, 4, 3)), NAMES, STAMPS[:4])
    with pytest.raises(InputError, match="before representatives"):
        to_darts(few.representatives(2))
    with pytest.raises(InputError, match="give one with dates"):
        from_darts(TimeSeries.from_values(np.zeros((3, 1))))
