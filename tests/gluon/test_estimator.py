"""The estimator as users of GluonTS meet it."""

import warnings
from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import pandas as pd
import pytest
import torch
from gluonts.core import serde
from gluonts.dataset.common import ListDataset
from gluonts.dataset.multivariate_grouper import MultivariateGrouper
from gluonts.dataset.pandas import PandasDataset
from gluonts.dataset.split import split
from gluonts.ev.metrics import MSE, MeanWeightedSumQuantileLoss
from gluonts.evaluation import MultivariateEvaluator, make_evaluation_predictions
from gluonts.model import evaluate_model
from gluonts.torch.model.estimator import PyTorchLightningEstimator
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from tiny import (
    HISTORY,
    HORIZON,
    MODEL,
    QUIET,
    TRAIN,
    Watching,
    entry,
    estimator,
    paths,
    period,
    same_weights,
    weights,
)

from timediff import ModelConfig, SamplingConfig, TimeGradEstimator, TrainConfig
from timediff.errors import InputError
from timediff.frequency import default_difference, default_lags, quiet_business_days, to_period_freq
from timediff.gluon.entries import read_dataset, read_entry

pytestmark = QUIET


class Counter(Watching, Callback):
    def __init__(self):
        self.fits = 0

    def on_fit_start(self, trainer, module):
        self.fits += 1


class Snapshots(Watching, Callback):
    """The weights that would forecast, and the raw ones, at the end of every epoch."""

    def __init__(self):
        self.forecaster, self.raw = [], []

    def on_train_epoch_end(self, trainer, module):
        self.forecaster.append(weights(module.forecaster))
        self.raw.append(weights(module.model))


class StopAt(Callback):
    """Fails in the middle of an epoch."""

    def __init__(self, *, epoch):
        self.epoch = epoch

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        if trainer.current_epoch == self.epoch and batch_idx == 1:
            raise RuntimeError("power cut")


# ---------------------------------------------------------------- data in, forecasts out


def test_it_is_a_gluonts_estimator_that_needs_nothing_but_the_horizon():
    made = TimeGradEstimator(prediction_length=HORIZON)
    assert isinstance(made, PyTorchLightningEstimator)
    assert made.freq is None and made.target_dim is None
    assert made.model == ModelConfig() and made.train_config == TrainConfig()


@pytest.mark.parametrize(
    ("target", "shape"),
    [
        (lambda x: x[0], (20, HORIZON)),
        (lambda x: x[:1], (20, HORIZON, 1)),
        (lambda x: x, (20, HORIZON, 3)),
        (lambda x: x.tolist(), (20, HORIZON, 3)),
        (lambda x: x[0].tolist(), (20, HORIZON)),
    ],
    ids=["[T]", "[1, T]", "[D, T]", "nested lists", "list"],
)
def test_the_layout_of_a_forecast_follows_that_of_the_target(tmp_path, target, shape):
    data = [entry() | {"target": target(entry()["target"])}]
    made = estimator(tmp_path)
    predictor = made.train(data)
    forecast = next(predictor.predict(data, 20, progress=False))
    assert forecast.samples.shape == shape
    assert np.isfinite(forecast.samples).all()
    assert forecast.start_date == period("h") + 60
    assert made.target_dim is None, "train leaves the estimator as it was"


@pytest.mark.parametrize("freq", ["MS", "Q", "A", "S", "2H", "30min", "B", "W"])
def test_frequencies_in_every_spelling_of_pandas(tmp_path, freq):
    data = [entry(length=80, freq=to_period_freq(freq))]
    model = MODEL._replace(lags=None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # pandas, about business days
        predictor = estimator(tmp_path, model=model, freq=freq).train(data)
        assert predictor.prediction_net.shape.lags == default_lags(freq)
        assert predictor.prediction_net.shape == (
            estimator(tmp_path, model=model).train(data).prediction_net.shape
        )
        forecast = next(predictor.predict(data, 20, progress=False))
        assert forecast.start_date == data[0]["start"] + 80


def test_more_than_500_diffusion_steps(tmp_path):
    model = MODEL._replace(diffusion_steps=600)
    options = {"train": TRAIN._replace(steps=1), "sampling": SamplingConfig(steps=600)}
    predictor = estimator(tmp_path, model=model, **options).train([entry()])
    assert predictor.prediction_net.network_calls(predictor.sampling) == 600 * HORIZON
    assert np.isfinite(paths(predictor, [entry()], num_samples=1)).all()


def wide_frame(length=60):
    index = pd.date_range("2020-01-06", periods=length, freq="h")
    return pd.DataFrame(entry(length=length)["target"].T, index=index, columns=["x", "y", "z"])


def test_evaluation_by_gluonts_from_a_data_frame(tmp_path):
    data = PandasDataset(wide_frame(), target=["x", "y", "z"], freq="h")
    training, template = split(data, offset=-2 * HORIZON)
    predictor = estimator(tmp_path).train(training)
    assert predictor.prediction_net.shape.target_dim == 3

    test = template.generate_instances(HORIZON, windows=2)
    metrics = [MSE(), MeanWeightedSumQuantileLoss([0.1, 0.5, 0.9])]
    table = evaluate_model(predictor, test_data=test, metrics=metrics, axis=(0, 2))
    assert table.shape == (3, 2) and np.isfinite(table.to_numpy()).all()

    forecasts, truth = make_evaluation_predictions(data, predictor, num_samples=40)
    forecasts, truth = list(forecasts), list(truth)
    assert forecasts[0].samples.shape == (40, HORIZON, 3)
    assert forecasts[0].start_date == truth[0].index[-HORIZON]
    evaluator = MultivariateEvaluator(quantiles=[0.1, 0.5, 0.9], target_agg_funcs={"sum": np.sum})
    totals, _ = evaluator(truth, forecasts)
    assert np.isfinite(totals["m_sum_mean_wQuantileLoss"])


def test_series_joined_by_the_grouper_of_gluonts(tmp_path, plain):
    rows = [{"start": "2020-01-06", "target": row} for row in entry()["target"]]
    grouped = MultivariateGrouper(max_target_dim=3)(ListDataset(rows, freq="h"))
    predictor = estimator(tmp_path).train(grouped)
    assert same_weights(weights(predictor.prediction_net), weights(plain.prediction_net))


def test_the_forecast_after_a_lead_time_is_the_end_of_a_longer_forecast(tmp_path):
    lead = 3
    late = estimator(tmp_path, lead_time=lead).train([entry()])
    whole = estimator(tmp_path, prediction_length=lead + HORIZON).train([entry()])
    assert same_weights(weights(late.prediction_net), weights(whole.prediction_net))
    tail = paths(whole, [entry()])[:, :, lead:]
    np.testing.assert_allclose(paths(late, [entry()]), tail, rtol=1e-5, atol=1e-6)
    assert next(late.predict([entry()], 1)).start_date == period("h") + 60 + lead

    forecasts, truth = make_evaluation_predictions([entry()], late, num_samples=20)
    assert next(forecasts).start_date == next(truth).index[-HORIZON]


def test_series_shorter_than_the_history_are_trained_on_and_forecast(tmp_path):
    short = [entry(length=HISTORY - 2), entry(length=HORIZON + 1, seed=1)]
    output = estimator(tmp_path).train_model(short)
    assert np.isfinite(output.trained_net.history[-1]["train_loss"])
    assert np.isfinite(paths(output.predictor, [*short, entry(length=1)])).all()


# ---------------------------------------------------------------- missing and poor data


@pytest.mark.parametrize("scaling", ["mean", "std", "global", "none"])
@pytest.mark.parametrize("difference", [0, 1])
@pytest.mark.parametrize("denoiser", ["conv", "mlp"])
def test_poor_dimensions_are_named_once_and_get_finite_forecasts(
    tmp_path, scaling, difference, denoiser
):
    data = entry(dim=6)
    names = ["good", "flat", "zero", "missing", "short", "gaps"]
    data["target"][1], data["target"][2], data["target"][3] = 7, 0, np.nan
    data["target"][4, :-3], data["target"][5, ::2] = np.nan, np.nan
    data["info"] = {"columns": names}
    model = MODEL._replace(scaling=scaling, difference=difference, denoiser=denoiser)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        output = estimator(tmp_path, model=model).train_model([data], [data])
    told = [str(w.message) for w in caught if "say little" in str(w.message)]
    assert len(told) == 1
    for said in ("never observed: missing", "constant: flat, zero", "short: short"):
        assert said in told[0]
    losses = [line[name] for line in output.trained_net.history for name in line]
    assert np.isfinite(losses).all()
    assert np.isfinite(paths(output.predictor, [data])).all()


@pytest.mark.parametrize("scaling", ["mean", "std", "global"])
@pytest.mark.parametrize("difference", [0, 2])
def test_what_stands_in_unobserved_places_changes_nothing(
    tmp_path, monkeypatch, scaling, difference
):
    data = entry()
    data["target"][0, 10:30], data["target"][1, ::3], data["target"][2, -5:] = (
        np.nan,
        np.nan,
        np.nan,
    )
    model = MODEL._replace(scaling=scaling, difference=difference)

    def trained():
        output = estimator(tmp_path, model=model).train_model([data], [data])
        return weights(output.trained_net), paths(output.predictor, [data])

    clean_weights, clean_paths = trained()

    def junk(entry):
        series = read_entry(entry)
        return series._replace(values=np.where(series.observed, series.values, np.float32(1e6)))

    monkeypatch.setattr("timediff.gluon.entries.read_entry", junk)
    junk_weights, junk_paths = trained()
    assert same_weights(junk_weights, clean_weights)
    np.testing.assert_array_equal(junk_paths, clean_paths)


def test_missing_values_are_not_zeros(tmp_path):
    gaps, zeros = entry(), entry()
    gaps["target"][0, 10:40], zeros["target"][0, 10:40] = np.nan, 0
    results = [weights(estimator(tmp_path).train([data]).prediction_net) for data in (gaps, zeros)]
    assert not same_weights(*results)


def test_covariates_are_not_ignored_in_silence(tmp_path, plain):
    with pytest.warns(UserWarning, match=r"covariates are not used \(time_feat\)"):
        more = estimator(tmp_path).train([entry(time_feat=np.zeros((2, 60)))])
    assert same_weights(weights(plain.prediction_net), weights(more.prediction_net))


# ---------------------------------------------------------------- nothing given is changed


@pytest.mark.parametrize("sizes", [{}, {"freq": "h", "target_dim": 3}], ids=["", "sizes given"])
def test_nothing_that_was_given_is_changed(tmp_path, sizes):
    lags, data, counter = [3, 1], entry(), Counter()
    data["target"].flags.writeable = False
    given = {"callbacks": [counter], "default_root_dir": str(tmp_path), "max_epochs": 1}
    before = dict(given), list(given["callbacks"]), data["target"].copy(), dict(data)
    made = TimeGradEstimator(
        prediction_length=HORIZON,
        model=MODEL._replace(lags=lags),
        train=TRAIN,
        progress=False,
        trainer_kwargs=given,
        **sizes,
    )
    for _ in range(2):
        predictor = made.train([data], [data])
        paths(predictor, [data])
    assert lags == [3, 1]
    assert given == before[0] and given["callbacks"] == before[1]
    np.testing.assert_array_equal(data["target"], before[2])
    assert data.keys() == before[3].keys() and all(data[k] is before[3][k] for k in data)
    assert predictor.prediction_net.shape.lags == [1, 3]
    assert counter.fits == 2, "user callbacks run on every train"


# ---------------------------------------------------------------- training


def test_the_average_forecasts_and_without_it_the_last_weights(tmp_path):
    for decay in (0.9, 0.0):
        snapshots = Snapshots()
        output = estimator(
            tmp_path,
            train=TRAIN._replace(ema_decay=decay),
            trainer_kwargs={"callbacks": [snapshots]},
        ).train_model([entry()])
        used = weights(output.predictor.prediction_net)
        assert same_weights(used, snapshots.forecaster[-1])
        assert same_weights(used, snapshots.raw[-1]) == (decay == 0.0)
        if decay:
            assert same_weights(used, weights(output.trained_net.average))


@pytest.mark.parametrize("decay", [0.9, 0.0])
def test_early_stopping_stops_and_the_best_epoch_forecasts(tmp_path, decay):
    # A rate far too high: the loss soon rises.
    train = TRAIN._replace(steps=90, learning_rate=3.0, ema_decay=decay, patience=2)
    snapshots = Snapshots()
    output = estimator(
        tmp_path, train=train, trainer_kwargs={"callbacks": [snapshots]}
    ).train_model([entry()], [entry()])
    losses = [line["val_loss"] for line in output.trained_net.history]
    best = int(np.argmin(losses))
    assert len(losses) == best + 1 + 2 < 30
    used = weights(output.predictor.prediction_net)
    assert same_weights(used, snapshots.forecaster[best])
    assert not same_weights(used, snapshots.forecaster[-1])
    path = output.trainer.checkpoint_callback.best_model_path
    stored = torch.load(path, weights_only=True)["state_dict"]
    prefix = "average." if decay else "model."
    kept = {k.removeprefix(prefix): v.numpy() for k, v in stored.items() if k.startswith(prefix)}
    assert same_weights(used, kept)


def test_without_patience_training_goes_on_but_the_best_epoch_forecasts(tmp_path):
    train = TRAIN._replace(steps=18, learning_rate=3.0, ema_decay=0.0)
    snapshots = Snapshots()
    output = estimator(
        tmp_path, train=train, trainer_kwargs={"callbacks": [snapshots]}
    ).train_model([entry()], [entry()])
    losses = [line["val_loss"] for line in output.trained_net.history]
    assert len(losses) == 6
    used = weights(output.predictor.prediction_net)
    assert same_weights(used, snapshots.forecaster[int(np.argmin(losses))])


def test_checkpoints_can_be_switched_off(tmp_path):
    made = estimator(tmp_path, trainer_kwargs={"enable_checkpointing": False})
    output = made.train_model([entry()], [entry()])
    assert output.trainer.global_step == TRAIN.steps
    assert not list(tmp_path.rglob("*.ckpt"))


@pytest.mark.parametrize(
    ("given", "steps"),
    [({}, 6), ({"max_epochs": 1}, 3), ({"max_epochs": 3}, 9), ({"max_steps": 4}, 4)],
)
def test_the_length_of_training(tmp_path, given, steps):
    output = estimator(tmp_path, trainer_kwargs=given).train_model([entry()])
    assert output.trainer.global_step == steps


def test_the_trainer_takes_what_the_user_gives(tmp_path):
    made = estimator(tmp_path, trainer_kwargs={"gradient_clip_val": 7.0, "max_epochs": 1})
    assert made.train_model([entry()]).trainer.gradient_clip_val == 7.0
    clipped = estimator(tmp_path, train=TRAIN._replace(gradient_clip=0.5))
    assert clipped.train_model([entry()]).trainer.gradient_clip_val == 0.5


@pytest.mark.parametrize("dropout", [0.0, 0.5])
@pytest.mark.parametrize("validation", [None, [entry()]], ids=["", "validated"])
def test_a_resumed_training_ends_with_the_weights_of_an_uninterrupted_one(
    tmp_path, dropout, validation
):
    options = {
        "model": MODEL._replace(num_layers=2, dropout=dropout),
        "train": TRAIN._replace(steps=15),
    }
    whole = estimator(tmp_path / "whole", **options).train_model([entry()], validation)
    cut = {"trainer_kwargs": {"callbacks": [StopAt(epoch=3)]}}
    with pytest.raises(RuntimeError, match="power cut"):
        estimator(tmp_path / "cut", **options, **cut).train([entry()], validation)
    torch.manual_seed(123)
    resumed = estimator(tmp_path / "cut", **options).train_model(
        [entry()], validation, ckpt_path=tmp_path / "cut" / "checkpoints" / "last.ckpt"
    )
    assert resumed.trainer.global_step == 15
    assert same_weights(weights(resumed.trained_net), weights(whole.trained_net))
    assert resumed.trained_net.history == whole.trained_net.history
    np.testing.assert_array_equal(
        paths(resumed.predictor, [entry()]), paths(whole.predictor, [entry()])
    )


def test_early_stopping_remembers_its_patience_when_resumed(tmp_path):
    train = TRAIN._replace(steps=90, learning_rate=3.0, ema_decay=0.0, patience=3)
    whole = estimator(tmp_path / "whole", train=train).train_model([entry()], [entry()])
    last = len(whole.trained_net.history) - 1
    cut = {"trainer_kwargs": {"callbacks": [StopAt(epoch=last)]}}
    with pytest.raises(RuntimeError, match="power cut"):
        estimator(tmp_path / "cut", train=train, **cut).train([entry()], [entry()])
    resumed = estimator(tmp_path / "cut", train=train).train_model(
        [entry()], [entry()], ckpt_path=tmp_path / "cut" / "checkpoints" / "last.ckpt"
    )
    assert resumed.trained_net.history == whole.trained_net.history
    assert same_weights(
        weights(resumed.predictor.prediction_net), weights(whole.predictor.prediction_net)
    )


def test_a_checkpoint_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match=r"no checkpoint .*nowhere.ckpt"):
        estimator(tmp_path).train([entry()], ckpt_path=tmp_path / "nowhere.ckpt")


def test_an_interrupt_by_the_user_is_still_one_afterwards(tmp_path):
    import signal

    class Interrupt(Callback):
        def on_train_batch_start(self, *_):
            raise KeyboardInterrupt

    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        estimator(tmp_path, trainer_kwargs={"callbacks": [Interrupt()]}).train([entry()])
    assert signal.getsignal(signal.SIGINT) is handler


def test_train_from_starts_with_the_weights_of_a_predictor(tmp_path, plain):
    class Start(Watching, Callback):
        def on_train_start(self, trainer, module):
            self.model, self.average = weights(module.model), weights(module.average)

    start = Start()
    other = estimator(tmp_path, train=TRAIN._replace(seed=9), trainer_kwargs={"callbacks": [start]})
    second = other.train_from(plain, [entry(seed=3)])
    trained = weights(plain.prediction_net)
    assert same_weights(start.model, trained) and same_weights(start.average, trained)
    assert not same_weights(weights(second.prediction_net), trained)


def test_train_from_refuses_a_predictor_of_other_data(tmp_path):
    first = estimator(tmp_path).train([entry(dim=2)])
    with pytest.raises(InputError, match="the predictor was made for"):
        estimator(tmp_path).train_from(first, [entry(dim=3)])


@pytest.mark.parametrize("change", [{"hidden_size": 7}, {"denoiser": "conv"}, {"cell": "lstm"}])
def test_train_from_refuses_a_predictor_of_another_network(tmp_path, change):
    first = estimator(tmp_path, model=MODEL._replace(**change)).train([entry()])
    with pytest.raises(InputError, match="the predictor was made"):
        estimator(tmp_path).train_from(first, [entry()])


# ---------------------------------------------------------------- seeds


def test_a_seed_decides_weights_and_forecasts_whatever_was_drawn_before(tmp_path):
    results = []
    for seed, before in ((1, 10), (1, 20), (2, 10)):
        torch.manual_seed(before)
        np.random.seed(before)  # noqa: NPY002
        predictor = estimator(tmp_path, train=TRAIN._replace(seed=seed)).train([entry()])
        results.append((weights(predictor.prediction_net), paths(predictor, [entry()])))
    assert same_weights(results[0][0], results[1][0])
    np.testing.assert_array_equal(results[0][1], results[1][1])
    assert not same_weights(results[0][0], results[2][0])


def test_without_a_seed_training_follows_torch(tmp_path):
    results = []
    for before in (10, 10, 20):
        torch.manual_seed(before)
        made = estimator(tmp_path, train=TRAIN._replace(seed=None))
        results.append(weights(made.train([entry()]).prediction_net))
    assert same_weights(results[0], results[1])
    assert not same_weights(results[0], results[2])


# ---------------------------------------------------------------- serialisation


@pytest.mark.parametrize("path", [serde.encode, serde.dump_json])
def test_an_estimator_survives_the_serialisation_of_gluonts(tmp_path, path):
    made = estimator(
        tmp_path, lead_time=2, freq="2H", target_dim=3, model=MODEL._replace(scaling="std")
    )
    restore = serde.decode if path is serde.encode else serde.load_json
    back = restore(path(made))
    assert type(back) is TimeGradEstimator
    for name in (
        *("prediction_length", "freq", "target_dim", "model", "train_config"),
        *("lead_time", "progress", "trainer_kwargs"),
    ):
        assert getattr(back, name) == getattr(made, name)
    assert isinstance(back.model, ModelConfig) and isinstance(back.train_config, TrainConfig)
    assert back.shape == made.shape


def test_sizes_are_unknown_before_the_data_is():
    with pytest.raises(InputError, match="call train first"):
        _ = TimeGradEstimator(prediction_length=HORIZON).shape


# ---------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"prediction_length": 0}, "prediction_length is 0"),
        ({"target_dim": 0}, "target_dim is 0"),
        ({"freq": "fortnight"}, "fortnight"),
        ({"lead_time": -1}, "lead_time is -1"),
        ({"train": TRAIN._replace(weight_decay=float("nan"))}, "weight_decay is nan"),
        ({"train": TRAIN._replace(learning_rate=float("inf"))}, "learning_rate is inf"),
        ({"model": MODEL._replace(hidden_size=0)}, "hidden_size is 0"),
        ({"model": MODEL._replace(context_length=-2)}, "context_length is -2"),
        ({"model": MODEL._replace(context_length=0)}, "context_length is 0"),
        ({"model": MODEL._replace(lags=[])}, "lags"),
        ({"model": MODEL._replace(lags=[0, 1])}, "lags"),
        ({"model": MODEL._replace(dropout=1.0)}, "dropout is 1.0"),
        ({"sampling": SamplingConfig(steps=6)}, "sampling steps is 6"),
        ({"model": MODEL._replace(beta_end=1.5)}, "beta_end 1.5"),
        ({"model": MODEL._replace(beta_start=0.2)}, "beta_start 0.2"),
        ({"model": MODEL._replace(difference=-1)}, "difference is -1"),
        ({"train": TRAIN._replace(steps=0)}, "steps is 0"),
        ({"train": TRAIN._replace(learning_rate=-0.1)}, "learning_rate is -0.1"),
        ({"train": TRAIN._replace(learning_rate=float("nan"))}, "learning_rate is nan"),
        ({"train": TRAIN._replace(ema_decay=1.0)}, "ema_decay is 1.0"),
        ({"train": TRAIN._replace(patience=-1)}, "patience is -1"),
        ({"train": TRAIN._replace(positions=0.0)}, "positions is 0.0"),
        ({"train": TRAIN._replace(precision="float16")}, "precision"),
        ({"train": TRAIN._replace(seed=-1)}, "seed is -1"),
        ({"train": TRAIN._replace(seed=2**63)}, "seed is 9223372036854775808"),
        ({"model": MODEL._replace(cell="rnn")}, "cell"),
        ({"model": MODEL._replace(scaling="max")}, "scaling"),
        ({"model": MODEL._replace(schedule="wobbly")}, "schedule"),
    ],
)
def test_options_that_make_no_sense_are_refused_at_once(tmp_path, options, said):
    with pytest.raises(ValueError, match=said):
        estimator(tmp_path, **options)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ([], "holds no series"),
        ([entry(length=HORIZON)], "no window to train on"),
        ([entry() | {"target": np.full((3, 60), np.nan)}], "every value .* is missing"),
        ([entry(), entry(freq="D")], "has frequency D, not h"),
        ([entry(), entry(dim=2)], "2 dimensions, not 3"),
    ],
)
def test_data_that_cannot_be_trained_on_is_refused_before_training(tmp_path, data, said):
    counter = Counter()
    with pytest.raises(InputError, match=said):
        estimator(tmp_path, trainer_kwargs={"callbacks": [counter]}).train(data)
    assert counter.fits == 0


@pytest.mark.parametrize(
    ("validation", "said"),
    [
        ([entry(length=HORIZON)], "no series of the validation data is longer"),
        ([entry(freq="D")], "of the validation data has frequency D"),
        ([], "the validation data holds no series"),
    ],
)
def test_validation_data_that_does_not_fit_is_refused_before_training(tmp_path, validation, said):
    counter = Counter()
    with pytest.raises(InputError, match=said):
        estimator(tmp_path, trainer_kwargs={"callbacks": [counter]}).train([entry()], validation)
    assert counter.fits == 0


def test_one_shot_data_is_read_once(tmp_path):
    predictor = estimator(tmp_path).train(iter([entry()]), iter([entry()]))
    own = estimator(tmp_path).train([entry()], [entry()])
    assert same_weights(weights(predictor.prediction_net), weights(own.prediction_net))


def test_trainer_and_module_are_of_one_package(training):
    output, _ = training
    assert isinstance(output.trainer, pl.Trainer)
    assert isinstance(output.trained_net, pl.LightningModule)


@pytest.mark.parametrize("length", [3, 10, 13, 23, 24, 25])
def test_a_short_series_beside_a_long_one_does_not_stop_the_default_training(tmp_path, length):
    data = [entry(length=120), entry(length=length, seed=1, item_id="short")]
    model = MODEL._replace(difference=None)  # a day of hours
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        output = estimator(tmp_path, model=model).train_model(data)
    assert output.predictor.network.shape.difference == 24
    assert np.isfinite(paths(output.predictor, data)).all()


@pytest.mark.parametrize(("length", "difference"), [(200, 24), (30, 0)])
def test_the_default_difference_is_a_day_if_the_series_are_long_enough(
    tmp_path, length, difference
):
    model = MODEL._replace(difference=None)
    output = estimator(tmp_path, model=model).train_model([entry(length=length)])
    assert output.predictor.network.shape.difference == difference
    again = estimator(tmp_path, model=model).train_from(output.predictor, [entry(length=200)])
    assert again.network.shape.difference == difference


def test_a_difference_longer_than_the_series_is_refused(tmp_path):
    with pytest.raises(InputError, match="difference is 60"):
        estimator(tmp_path, model=MODEL._replace(difference=60)).train([entry(length=60)])


def test_patience_needs_validation_data(tmp_path):
    with pytest.raises(InputError, match="patience"):
        estimator(tmp_path, train=TRAIN._replace(patience=1)).train([entry()])


def test_callbacks_of_the_kinds_we_use_ourselves_are_welcome(tmp_path):
    own = [
        ModelCheckpoint(dirpath=tmp_path / "own", save_last=True),
        EarlyStopping("val_loss", patience=50),
    ]
    train = TRAIN._replace(patience=50)
    made = estimator(tmp_path, train=train, trainer_kwargs={"callbacks": own})
    made.train([entry()], [entry()])
    assert (tmp_path / "own" / "last.ckpt").is_file()
    assert (tmp_path / "checkpoints" / "last.ckpt").is_file()


def test_without_a_folder_nothing_is_left_in_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    TimeGradEstimator(HORIZON, model=MODEL, train=TRAIN, progress=False).train([entry()], [entry()])
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_of_a_shorter_training_or_of_none_is_refused(tmp_path, training):
    last = training[1] / "checkpoints" / "last.ckpt"
    longer = estimator(tmp_path, train=TRAIN._replace(steps=12))
    with pytest.raises(InputError, match="same number of steps"):
        longer.train([entry()], ckpt_path=last)
    other = tmp_path / "notes.txt"
    other.write_text("not a checkpoint")
    with pytest.raises(InputError, match="not a checkpoint"):
        estimator(tmp_path).train([entry()], ckpt_path=other)
    torch.save({"state_dict": {}}, other)
    with pytest.raises(InputError, match="optimizer_states"):
        estimator(tmp_path).train([entry()], ckpt_path=other)


def test_a_chain_that_ends_before_pure_noise_is_named(tmp_path):
    with pytest.warns(UserWarning, match="77% of the data's variance"):
        estimator(tmp_path).train([entry()])
    enough = MODEL._replace(diffusion_steps=60)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*variance.*")
        estimator(tmp_path, model=enough).train([entry()])


@pytest.mark.parametrize("scaling", ["mean", "std", "global"])
def test_data_in_tiny_units_is_forecast_in_tiny_units(tmp_path, scaling):
    model = MODEL._replace(scaling=scaling, diffusion_steps=60)
    data, small = entry(), entry()
    small["target"] = data["target"] * np.float32(1e-12)
    made = [estimator(tmp_path, model=model).train([one]) for one in (data, small)]
    large, tiny = paths(made[0], [data]), paths(made[1], [small])
    np.testing.assert_allclose(tiny * 1e12, large, rtol=1e-3, atol=1e-3)


def test_a_series_without_recent_values_is_forecast_at_its_level(tmp_path):
    data = entry(length=120)
    data["target"][1] += 50
    model = MODEL._replace(difference=8, diffusion_steps=60)
    predictor = estimator(tmp_path, model=model).train([data])
    gone = {**data, "target": data["target"].copy()}
    gone["target"][1, -60:] = np.nan
    medians = np.median(paths(predictor, [gone])[0], axis=0)
    assert (np.abs(medians[:, 1] - 52) < 15).all()


@pytest.mark.parametrize(
    ("freq", "steps"),
    [("h", 24), ("15min", 96), ("D", 7), ("M", 12), ("Q", 4), ("B", 1), ("W", 1), ("Y", 1)],
)
def test_changes_are_over_a_day_a_week_or_a_year(freq, steps):
    assert default_difference(freq) == steps


@pytest.mark.parametrize("freq", ["ME", "MS", "QE", "QS", "YE", "W-SUN", "D", "B", "h"])
def test_the_readme_s_way_from_a_wide_frame_works_for_every_frequency(tmp_path, freq):
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    assert "`PandasDataset(frame.to_period(), target=list(frame.columns))`" in readme
    index = pd.date_range("2000-01-01", periods=60, freq=freq)
    frame = pd.DataFrame(
        entry(dim=2)["target"].T, index=pd.DatetimeIndex(list(index)), columns=["x", "y"]
    )
    with quiet_business_days():
        data = PandasDataset(frame.to_period(), target=list(frame.columns))
        (read,) = read_dataset(data)
    np.testing.assert_array_equal(read.values, frame.to_numpy())
    assert read.start.start_time <= index[0] <= read.start.end_time
