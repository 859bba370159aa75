"""Rolling windows of a frame and of a dataset: what a model is shown, is scored on, and what is refused."""

import random

import numpy as np
import pandas as pd
import pytest
import torch
from gluonts.dataset.common import ListDataset
from gluonts.dataset.split import split
from gluonts.model.estimator import Estimator
from gluonts.model.forecast import QuantileForecast, SampleForecast
from gluonts.model.predictor import RepresentablePredictor
from gluonts.torch.model.simple_feedforward import SimpleFeedForwardEstimator
from tiny import HORIZON, QUIET, entry, estimator, wide_folder

from timediff.benchmark.backtest import backtest
from timediff.data.dataset import Dataset, load_dataset
from timediff.data.readers.contents import Aggregate
from timediff.data.rolling import rewindow
from timediff.errors import InputError
from timediff.metrics import score, seasonal_error

cross_checks = pytest.mark.cross_checks
invariances = pytest.mark.invariances
contracts = pytest.mark.contracts

# pandas, about business days.
pytestmark = pytest.mark.filterwarnings("ignore:.*BDay.*", "ignore:PeriodDtype.*")
LENGTH, D, H = 60, 2, 4


class Probe(RepresentablePredictor):
    """Repeats the last value with noise from all global generators, and notes what it is shown."""

    def __init__(self, *, lead_time=0, horizon=H):
        super().__init__(prediction_length=horizon, lead_time=lead_time)
        self.shown = []

    def predict(self, dataset, num_samples=100):
        for one in dataset:
            self.shown.append({**one, "target": np.array(one["target"])})
            target = np.atleast_2d(one["target"])
            noise = np.random.normal() + random.random() + float(torch.rand(()))  # noqa: NPY002
            path = np.repeat(target[:, -1:], self.prediction_length, axis=1).T + noise
            start = one["start"] + target.shape[1] + self.lead_time
            samples = np.repeat(path[None], num_samples, axis=0)
            yield SampleForecast(samples if one["target"].ndim == 2 else samples[..., 0], start)


class ProbeEstimator(Estimator):
    """Trains nothing, and notes on what."""

    prediction_length = H

    def __init__(self, *, lead_time=0):
        super().__init__(lead_time=lead_time)
        self.trained_on, self.predictors = [], []

    def train(self, training_data, validation_data=None):
        self.trained_on.append(list(training_data))
        self.predictors.append(Probe(lead_time=self.lead_time))
        return self.predictors[-1]


def frame(length=LENGTH, *, freq="h", start="2020-01-06"):
    """Series that count their steps, the second from 1000."""
    counts = np.arange(length)[:, None] + 1000.0 * np.arange(D)
    index = pd.date_range(start, periods=length, freq=freq)
    return pd.DataFrame(counts, index=index, columns=["a", "b"])


def run(data, forecaster, **options):
    given = {"windows": 3, "stride": 5, "num_samples": 2, "progress": False}
    return backtest(data, forecaster, **(given | options))


def last_known(shown):
    return [int(one["target"][0, -1]) for one in shown]


# --- no leakage ---------------------------------------------------------------------------------


@contracts
@pytest.mark.parametrize("lead", [0, 2])
@pytest.mark.parametrize("history", ["expanding", 7])
def test_a_forecast_is_shown_what_precedes_its_window_and_nothing_else(history, lead):
    probe = Probe(lead_time=lead)
    found = run(frame(), probe, history=history)
    # The last window ends with the data: its steps are 56 .. 59, those before start at 51 and 46.
    assert found.truth[:, :, 0].tolist() == [[o, o + 1, o + 2, o + 3] for o in (46, 51, 56)]
    assert found.truth[:, :, 1].tolist() == (found.truth[:, :, 0] + 1000).tolist()
    for origin, shown in zip((46, 51, 56), probe.shown, strict=True):
        end = origin - lead
        begin = 0 if history == "expanding" else end - 7
        assert shown["target"][0].tolist() == list(range(begin, end))
        assert shown["start"] == pd.Period("2020-01-06", "h") + begin
    assert found.origins.tolist() == [pd.Period("2020-01-06", "h") + o for o in (46, 51, 56)]
    assert found.columns == ["a", "b"]


@invariances
def test_the_future_of_a_window_does_not_change_its_forecast():
    data = frame()
    before = run(data, Probe()).paths
    for k, origin in enumerate((46, 51, 56)):
        changed = data.copy()
        changed.iloc[origin:] = -1.0
        after = run(changed, Probe()).paths
        np.testing.assert_array_equal(after[: k + 1], before[: k + 1])
        assert k == 2 or (after[k + 1] != before[k + 1]).all()


@contracts
@pytest.mark.parametrize("lead", [0, 2])
def test_an_estimator_is_trained_once_on_what_precedes_the_first_window(lead):
    probe = ProbeEstimator(lead_time=lead)
    run(frame(), probe, history=7)
    ((training,),) = probe.trained_on
    assert training["target"][0].tolist() == list(range(46 - lead))
    assert last_known(probe.predictors[0].shown) == [45 - lead, 50 - lead, 55 - lead]


@contracts
@pytest.mark.parametrize("history", ["expanding", 7])
def test_with_refit_it_is_trained_before_each_window_on_what_the_window_sees(history):
    probe = ProbeEstimator()
    run(frame(), probe, history=history, refit=True)
    assert len(probe.trained_on) == 3
    for (training,), predictor in zip(probe.trained_on, probe.predictors, strict=True):
        (shown,) = predictor.shown
        assert training["target"].tolist() == shown["target"].tolist()
    lengths = [one[0]["target"].shape[1] for one in probe.trained_on]
    assert lengths == ([46, 51, 56] if history == "expanding" else [7, 7, 7])
    assert [last_known(one.shown) for one in probe.predictors] == [[45], [50], [55]]


@cross_checks
@pytest.mark.parametrize(("history", "max_history"), [("expanding", None), (9, 9)])
def test_windows_are_those_of_gluonts(history, max_history):
    data, probe = frame(), Probe()
    found = run(data, probe, history=history)
    whole = ListDataset(
        [{"start": "2020-01-06", "target": data.to_numpy().T}], freq="h", one_dim_target=False
    )
    _, template = split(whole, offset=-(2 * 5 + H))
    instances = template.generate_instances(H, windows=3, distance=5, max_history=max_history)
    for k, (past, future) in enumerate(instances):
        np.testing.assert_array_equal(probe.shown[k]["target"], past["target"])
        np.testing.assert_array_equal(found.truth[k], future["target"].T)
        assert found.origins[k] == future["start"] and probe.shown[k]["start"] == past["start"]


@contracts
def test_the_lead_time_needs_data_too():
    assert len(run(frame(), Probe(lead_time=2), windows=11).truth) == 11
    with pytest.raises(InputError, match="7 steps before the first need 61"):
        run(frame(), Probe(lead_time=3), windows=11)


# --- forecasts of all kinds ---------------------------------------------------------------------


@contracts
def test_series_one_by_one_come_back_side_by_side():
    probe = Probe()
    found = run(frame(), probe, univariate=True)
    assert [one["item_id"] for one in probe.shown] == ["a", "b"] * 3
    assert {one["target"].ndim for one in probe.shown} == {1}
    # The noise is below 10, the series are 1000 apart.
    assert np.round(found.paths[:, 0, 0] / 1000).tolist() == [[0, 1]] * 3


@contracts
def test_scores_are_those_of_paths_and_truth():
    found = run(frame(), Probe())
    first = frame().index.get_loc(found.origins[0].to_timestamp())
    seasonal = seasonal_error(frame().to_numpy()[:first], season=24)
    expected = score(found.paths, found.truth, seasonal_error=seasonal)
    np.testing.assert_equal(found.metrics, expected)
    assert np.isfinite(found.metrics["mase"])
    assert found.paths.shape == (3, 2, H, D) and found.paths.dtype == np.float64


@contracts
@pytest.mark.parametrize("refit", [False, True])
def test_the_same_seed_gives_the_same_paths_and_leaves_the_generators_alone(refit):
    def state():
        return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002

    before = state()
    paths = [run(frame(), ProbeEstimator(), refit=refit, seed=s).paths for s in (1, 1, 2)]
    assert state() == before
    np.testing.assert_array_equal(paths[0], paths[1])
    assert (paths[0] != paths[2]).all()
    # Windows do not share their noise, whether they share the training or not.
    noise = paths[0][:, 0, 0, 0] - np.array([45, 50, 55])
    assert len(set(np.round(noise, 4))) == 3


@contracts
@QUIET
@pytest.mark.parametrize("refit", [False, True])
def test_our_estimator_is_backtested(tmp_path, refit, capfd):
    data = pd.DataFrame(entry()["target"].T, index=frame().index)
    options = {"windows": 2, "stride": 6, "num_samples": 3, "refit": refit, "progress": False}
    one, other = (backtest(data, estimator(tmp_path), **options) for _ in range(2))
    assert one.paths.shape == (2, 3, HORIZON, 3) and np.isfinite(one.paths).all()
    np.testing.assert_array_equal(one.paths, other.paths)
    assert "sampling" not in capfd.readouterr().err


@contracts
@QUIET
def test_a_gluonts_model_of_one_series_is_backtested(tmp_path):
    feedforward = SimpleFeedForwardEstimator(
        prediction_length=H,
        context_length=8,
        num_batches_per_epoch=2,
        trainer_kwargs={
            "max_epochs": 1,
            "default_root_dir": str(tmp_path),
            "enable_progress_bar": False,
            "accelerator": "cpu",
        },
    )
    one, other = (run(frame(), feedforward, univariate=True) for _ in range(2))
    assert one.paths.shape == (3, 2, H, D)
    np.testing.assert_array_equal(one.paths, other.paths)
    with pytest.raises(InputError, match=r"shape \(2, 4, 1\).*univariate=True"):
        run(frame(), Fixed(np.zeros((2, H))))


class Fixed(Probe):
    """Gives these samples, or what is made of them, whatever it is shown."""

    def __init__(self, samples, *, late=0, count=None, make=SampleForecast):
        super().__init__()
        self.samples, self.late, self.count, self.make = samples, late, count, make

    def predict(self, dataset, num_samples=100):
        for one in list(dataset)[: self.count]:
            yield self.make(self.samples, one["start"] + one["target"].shape[1] + self.late)


def quantiles(samples, start):
    return QuantileForecast(samples[0].T, start, ["0.1", "0.9"])


@contracts
@pytest.mark.parametrize(
    ("forecaster", "message"),
    [
        (Fixed(np.zeros((2, H, D)), late=1), "forecast starts at 2020-01-07 23:00, the window at"),
        (Fixed(np.zeros((1, H, D))), r"shape \(1, 4, 2\) where .* is \(2, 4, 2\)"),
        (Fixed(np.zeros((2, H, D)), count=2), "fewer forecasts than the 3 entries"),
        (Fixed(np.zeros((2, H, D)), make=quantiles), "QuantileForecast, which has no sample paths"),
        ("a model", "forecaster is 'a model'; it must be an Estimator or a Predictor"),
    ],
)
def test_forecasts_that_do_not_fit_are_refused(forecaster, message):
    with pytest.raises(InputError, match=message):
        run(frame(), forecaster)


# --- frames -------------------------------------------------------------------------------------


@contracts
@pytest.mark.parametrize(
    ("freq", "period"),
    [
        ("h", "h"),
        ("30min", "30min"),
        ("2h", "2h"),
        ("B", "B"),
        ("MS", "M"),
        ("ME", "M"),
        ("W", "W"),
    ],
)
def test_frequencies_are_read_from_stamps(freq, period):
    data = frame(freq=freq)
    found = run(data, Probe())
    assert found.origins[0] == pd.Period(data.index[46], freq=period)
    bare = data.set_axis(pd.DatetimeIndex(data.index.to_numpy()))
    assert run(bare, Probe()).origins.equals(found.origins)
    assert run(bare, Probe(), freq=freq).origins.equals(found.origins)
    assert run(data.set_axis(found.origins[0] - 46 + np.arange(LENGTH)), Probe()).origins.equals(
        found.origins
    )


@invariances
def test_rows_that_are_absent_are_missing_and_their_order_does_not_matter():
    data, gap = frame(), frame().index[5]
    missing = data.copy()
    missing.loc[gap] = np.nan
    shown = []
    for table in (missing, data.drop(index=gap), data.drop(index=gap)[::-1]):
        probe = Probe()
        run(table, probe)
        shown.append([entry["target"] for entry in probe.shown])
    for entries in shown[1:]:
        for one, other in zip(shown[0], entries, strict=True):
            np.testing.assert_array_equal(one, other)


def broken(**changes):
    data = frame()
    for row, stamp in changes.get("stamps", {}).items():
        index = data.index.to_list()
        index[row] = stamp
        data.index = pd.DatetimeIndex(index)
    return data


@contracts
@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        (frame().iloc[:0], {}, "the frame is empty"),
        (frame().assign(a="x"), {}, "column 'a' of the frame has 'x' in row 1 .* is not numeric"),
        (
            frame().assign(b=1e39),
            {},
            "column 'b' of the frame has 1e.39 in row 1 .* values must be below 1e",
        ),
        (frame().reset_index(drop=True), {}, "holds numbers such as"),
        (broken(stamps={3: pd.NaT}), {}, "row 4 of the frame has no timestamp"),
        (frame().iloc[[3, 0]], {}, "frequency of the frame cannot be told"),
        (broken(stamps={3: pd.Timestamp("2020-01-06 03:30")}), {}, "comes .* 03:30:00"),
        (broken(stamps={3: pd.Timestamp("2020-01-06 03:30")}), {"freq": "h"}, "comes .* 03:30:00"),
        (frame(), {"freq": "moon"}, "frequency 'moon' is not known"),
        (frame(), {"windows": 0}, "windows is 0; it must be at least 1"),
        (frame(), {"stride": 0}, "stride is 0"),
        (frame(), {"stride": 1.5}, "stride is 1.5"),
        (frame(), {"history": 0}, 'history is 0; .* or "expanding"'),
        (frame(), {"history": "rolling"}, "history is 'rolling'"),
        (frame(), {"num_samples": 0}, "num_samples is 0"),
        (frame(), {"seed": -1}, "seed is -1"),
        (
            frame(),
            {"windows": 12},
            "60 steps, but 12 windows of 4 steps, 5 apart, and 4 .* need 63",
        ),
        (frame(), {"history": 50}, "and 50 steps before the first need 64"),
        (frame(), {"refit": True}, "refit needs an estimator, and Probe is a predictor"),
        (frame() * np.nan, {}, "every value of the frame is missing"),
        (
            frame().assign(**{n: [0.0] * 40 + [np.nan] * 20 for n in frame()}),
            {},
            "value in the windows is",
        ),
    ],
)
def test_bad_input_is_named_before_any_forecast(data, options, message):
    probe = Probe()
    with pytest.raises(InputError, match=message):
        run(data, probe, **options)
    assert probe.shown == []


# --- datasets -----------------------------------------------------------------------------------


def dataset(train, test, *, values=None, start="2020-01-06", freq="h"):
    """A dataset of which each entry is a range of the steps of one series of D dimensions."""
    values = frame(200).to_numpy(np.float32).T if values is None else values
    first = pd.Period(start, freq)

    def part(name, steps):
        target = values[:, steps.start : steps.stop].copy()
        return {"item_id": name, "start": first + steps.start, "target": target}

    return Dataset(
        name="made",
        freq=freq,
        prediction_length=H,
        columns=["a", "b"],
        train=[part("train", train)],
        test=[part(f"test_{k}", steps) for k, steps in enumerate(test)],
        aggregates={"net": Aggregate(np.array([1.0, -1.0]), "kW")},
        checksum="0",
        verified=True,
        source="here",
        licence="none",
        published=["a number"],
    )


LAYOUTS = {
    # As in wide tables and exchange_rate_nips, electricity_nips, and taxi_30min.
    "whole": dataset(range(52), [range(56), range(60)]),
    "overlapping": dataset(range(52), [range(20, 56), range(24, 60)]),
    "adjacent": dataset(range(20), [range(20, 56), range(24, 60)]),
}


@contracts
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("history", ["expanding", 6])
def test_windows_are_cut_from_all_there_is(layout, history):
    found = rewindow(LAYOUTS[layout], windows=5, stride=3, history=history)
    origins = [44, 47, 50, 53, 56]
    first = pd.Period("2020-01-06", "h")
    assert found.train[0]["target"][0].tolist() == list(range(44))
    assert found.train[0]["start"] == first
    for origin, one in zip(origins, found.test, strict=True):
        begin = 0 if history == "expanding" else origin - 6
        assert one["target"].tolist() == [
            list(range(begin, origin + H)),
            list(range(1000 + begin, 1000 + origin + H)),
        ]
        assert one["start"] == first + begin and one["target"].dtype == np.float32
    assert [one["item_id"] for one in found.test] == [f"test_{k}" for k in range(5)]


@contracts
def test_what_no_entry_holds_is_missing():
    apart = dataset(range(10), [range(20, 56), range(24, 60)])
    found = rewindow(apart, windows=2, stride=4)
    assert np.isnan(found.train[0]["target"][:, 10:20]).all()
    assert np.isfinite(np.delete(found.train[0]["target"], range(10, 20), axis=1)).all()


@contracts
def test_a_value_missing_in_one_entry_is_taken_from_another():
    data = dataset(range(52), [range(56), range(60)])
    data.train[0]["target"][0, 3] = np.nan
    data.test[0]["target"][1, 4] = np.nan
    found = rewindow(data, windows=1, stride=1)
    assert found.train[0]["target"][:, 3].tolist() == [3, 1003]
    assert found.train[0]["target"][:, 4].tolist() == [4, 1004]


@contracts
def test_the_published_windows_keep_what_was_published():
    data = LAYOUTS["whole"]
    assert rewindow(data, windows=2, stride=4) is data
    assert rewindow(LAYOUTS["overlapping"], windows=2, stride=4) is LAYOUTS["overlapping"]
    for changes in ({"windows": 3}, {"stride": 3}, {"history": 8}):
        found = rewindow(data, **{"windows": 2, "stride": 4, **changes})
        assert found.published == [] and data.published
        for name in ("aggregates", "checksum", "verified", "columns", "prediction_length"):
            assert getattr(found, name) is getattr(data, name)
    # Its training ended before its windows began: now it would not.
    assert rewindow(LAYOUTS["adjacent"], windows=2, stride=4).published == []


@contracts
def test_entries_of_a_dataset_are_left_as_they_were():
    data = dataset(range(52), [range(20, 56), range(24, 60)])
    before = [one["target"].copy() for one in [*data.train, *data.test]]
    rewindow(data, windows=5, stride=3)
    for one, old in zip([*data.train, *data.test], before, strict=True):
        np.testing.assert_array_equal(one["target"], old)


@cross_checks
@pytest.mark.parametrize("freq", ["h", "2h", "B", "M"])
def test_windows_of_a_dataset_are_those_of_the_backtest(freq):
    data = dataset(range(52), [range(20, 56), range(24, 60)], freq=freq)
    found = rewindow(data, windows=4, stride=2, history=10)
    probe = Probe()
    periods = data.train[0]["start"] + np.arange(60)
    whole = frame().set_axis(pd.PeriodIndex(periods))
    tested = run(whole, probe, windows=4, stride=2, history=10)
    for one, shown, truth in zip(found.test, probe.shown, tested.truth, strict=True):
        assert one["start"] == shown["start"]
        np.testing.assert_array_equal(one["target"][:, :-H], shown["target"])
        np.testing.assert_array_equal(one["target"][:, -H:].T, truth)


@contracts
def test_a_folder_is_cut_anew(tmp_path):
    data = load_dataset(str(wide_folder(tmp_path / "wide", length=120)))
    whole = data.test[-1]["target"]
    found = rewindow(data, windows=20, stride=HORIZON)
    assert len(found.test) == 20 and found.train[0]["target"].shape == (3, 40)
    np.testing.assert_array_equal(found.test[-1]["target"], whole)
    np.testing.assert_array_equal(found.test[0]["target"], whole[:, :44])


@contracts
def test_a_benchmark_set_is_cut_anew(shared_data):
    data = load_dataset("exchange_rate", data_dir=shared_data, download=False)
    assert rewindow(data, windows=5, stride=30) is data
    found = rewindow(data, windows=30, stride=30)
    assert len(found.test) == 30 and not found.published and data.published
    np.testing.assert_array_equal(found.test[-1]["target"], data.test[-1]["target"])
    length = data.test[-1]["target"].shape[1]
    assert found.train[0]["target"].shape == (8, length - 30 * 30)


@contracts
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"windows": 0}, "windows is 0"),
        ({"stride": 0}, "stride is 0"),
        ({"history": -1}, "history is -1"),
        ({"windows": 15}, "dataset made has 60 steps, but 15 windows .* ask for fewer windows"),
        ({"history": 57}, "and 57 steps before the first need 65"),
    ],
)
def test_windows_that_cannot_be_cut_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        rewindow(LAYOUTS["whole"], **{"windows": 2, "stride": 4, **options})


@contracts
def test_clocks_that_disagree_are_refused():
    data = dataset(range(52), [range(20, 56), range(24, 60)])
    late = [{**one, "start": one["start"] + 1} for one in data.test]
    with pytest.raises(InputError, match=r"two values of a at 2020-01-06 21:00.*--align-clock"):
        rewindow(data._replace(test=late), windows=2, stride=4)


@contracts
def test_stamps_between_those_of_training_are_refused():
    data = dataset(range(10), [range(20, 56), range(24, 60)], freq="2h")
    half = [
        {**one, "start": pd.Period(one["start"].start_time + pd.Timedelta("1h"), "2h")}
        for one in data.test
    ]
    with pytest.raises(InputError, match="different clocks"):
        rewindow(data._replace(test=half), windows=2, stride=4)
