"""Covariates: the same in training and forecasts, no leak, a known effect found, refusals that say why."""

import numpy as np
import pandas as pd
import pytest
import torch
from tiny import HORIZON, MODEL, QUIET, entry, estimator, paths, period, same_weights, weights

from timediff import TimeGradPredictor
from timediff.config import DistillConfig
from timediff.data.entry import cut_entry, hold_out, split_windows
from timediff.data.holidays import holiday_features
from timediff.errors import InputError
from timediff.gluon.distill import distill
from timediff.gluon.entries import read_dataset
from timediff.gluon.fields import MOST_CATEGORIES, covariate_shape
from timediff.gluon.windows import WindowData, forecast_batch
from timediff.timegrad.batch import Shape
from timediff.timegrad.centre import regressor_count, regressors

pytestmark = QUIET
D, T = 3, 400
LINEAR = MODEL._replace(scaling="adaptive", cycles=[8], beta_end=0.7)
PROFILES = [[8, 1.0], [8, 8.0], [56, 1.0], [56, 4.0]]
SHAPES = {
    "a day and a week": {"cycles": [8, 56], "profiles": PROFILES},
    "far": {"cycles": [8], "profiles": PROFILES[:2], "horizon": 20},
    "no cycle": {"cycles": [1], "half_life": 0.05, "profiles": [[1, 8.0]]},
    "not adaptive": {},
}


def fields(length=T, *, horizon=0, seed=3, dim=D):
    """One field of each kind, those known ahead for some steps more."""
    rng = np.random.default_rng(seed)
    more = length + horizon
    return {
        "feat_dynamic_real": 5 + 3 * rng.normal(size=(2, dim, more)),
        "feat_dynamic_cat": rng.integers(4, size=(1, more)),
        "past_feat_dynamic_real": 100 + rng.normal(size=(2, length)),
        "past_feat_dynamic_cat": rng.integers(2, size=(1, dim, length)),
        "feat_static_real": np.arange(dim, dtype=float)[None],
        "feat_static_cat": np.arange(dim)[None] % 2,
    }


def shape_of(data, *, holidays=None, **options):
    beside = covariate_shape(read_dataset(data), 8, holidays=holidays)
    sizes = {
        "target_dim": D,
        "horizon": HORIZON,
        "context_length": 6,
        "lags": [1, 3],
        "num_features": 4,
    }
    return Shape(**(sizes | options), **beside)


def parts(batch):
    """Its fields but for the target; NaN, which is no value repeated, is a number that none is."""
    return {
        name: part.nan_to_num(-1e30)
        for name, part in batch._asdict().items()
        if name not in ("target", "observed") and part is not None
    }


# ------------------------------------------------------------ the same in training and in a forecast


@pytest.mark.parametrize("holidays", [None, "US"])
@pytest.mark.parametrize("options", SHAPES.values(), ids=SHAPES)
def test_a_window_of_a_long_entry_has_what_a_forecast_has_there(options, holidays):
    data = [
        entry(D, T, **fields()),
        entry(D, 90, seed=1, **fields(90, horizon=options.get("horizon", HORIZON), seed=4)),
    ]
    shape = shape_of(data, holidays=holidays, **options)
    whole = WindowData(read_dataset(data), shape)
    begins = [whole.first, T + 2 * whole.first]
    # From the second cycle on: the first has no units.
    for i, origin in [(0, T - shape.horizon), (0, 171), (0, 9), (1, 60), (1, 12)]:
        window = whole.windows(torch.tensor([begins[i] + origin]))
        cut = cut_entry(data[i], end=origin, ahead=shape.horizon)
        forecast = forecast_batch(read_dataset([data[1], cut]), shape).rows(slice(1, 2))
        assert parts(window).keys() == parts(forecast).keys()
        for name, part in parts(forecast).items():
            torch.testing.assert_close(part, parts(window)[name], rtol=1e-4, atol=1e-5, msg=name)
        if shape.cycles:
            past = {
                name: getattr(window, name)[:, : -shape.horizon] for name in ("target", "observed")
            }
            ours, theirs = (regressors(b, shape) for b in (forecast, window._replace(**past)))
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
            assert ours.shape[-1] == regressor_count(shape)


@pytest.mark.parametrize("options", SHAPES.values(), ids=SHAPES)
def test_the_future_of_target_and_of_what_is_known_of_the_past_alone_does_not_leak(options):
    data = entry(D, T, **fields())
    shape, origin = shape_of([data], **options), 200
    other = {**data, **{name: np.array(data[name]) for name in ("target", *fields())}}
    other["target"][:, origin:] += 7
    other["past_feat_dynamic_real"][..., origin:] += 50
    other["past_feat_dynamic_cat"][..., origin:] = 1
    windows = []
    for each in (data, other):
        whole = WindowData(read_dataset([each]), shape)
        windows.append(whole.windows(torch.tensor([whole.first + origin])))
    for name, part in parts(windows[0]).items():
        assert torch.equal(part, parts(windows[1])[name]), name
    # What is known ahead is seen, in every lead, and by the encoder.
    changed = {**data, "feat_dynamic_real": np.array(data["feat_dynamic_real"])}
    changed["feat_dynamic_real"][:, :, origin + 2] += 9
    whole = WindowData(read_dataset([changed]), shape)
    batch = whole.windows(torch.tensor([whole.first + origin]))
    differs = (batch.own != windows[0].own).any(dim=-1).all(dim=-1)[0]
    assert differs.nonzero().flatten().tolist() == [shape.context_length + 2]
    if shape.cycles:
        differs = (batch.regressors != windows[0].regressors).any(dim=-1).all(dim=-1)[0]
        assert differs.nonzero().flatten().tolist() == [2]


def test_units_are_those_of_the_training_data():
    data = [entry(D, T, **fields()), entry(D, 90, seed=1, **fields(90, seed=4))]
    shape = shape_of(data, cycles=[8], profiles=PROFILES[:2])
    assert [one.field for one in shape.covariates if one.own][:2] == ["feat_dynamic_real"] * 2
    whole = WindowData(read_dataset(data), shape)
    own, shared = whole.covariates.groups[1], whole.covariates.groups[0]
    first = slice(whole.first, whole.first + T)
    second = slice(2 * whole.first + T, None)
    known = torch.cat([own.values[first], own.values[second]])[:, :, :2]
    torch.testing.assert_close(known.mean(dim=0), torch.zeros(D, 2), rtol=0, atol=1e-5)
    torch.testing.assert_close(known.std(dim=0, correction=0), torch.ones(D, 2), rtol=1e-5, atol=0)
    # The four categories: where a step has one, that column alone is above its mean.
    column = [j for j, one in enumerate(shared.covariates) if one.field == "feat_dynamic_cat"]
    above = shared.values[first][:, 0][:, column] > 0
    assert torch.equal(above.long().argmax(dim=-1), torch.as_tensor(data[0]["feat_dynamic_cat"][0]))
    assert bool((above.sum(dim=-1) == 1).all())


def test_the_units_of_a_covariate_do_not_matter():
    data = entry(D, T, **fields())
    scaled = {**data, "feat_dynamic_real": 1e4 * data["feat_dynamic_real"] - 3e5}
    batches = []
    for each in (data, scaled):
        shape = shape_of([each], cycles=[8], profiles=PROFILES[:2])
        whole = WindowData(read_dataset([each]), shape)
        batches.append(whole.windows(whole.ends))
    for name, part in parts(batches[0]).items():
        torch.testing.assert_close(part, parts(batches[1])[name], rtol=1e-3, atol=1e-4, msg=name)


def test_a_hole_in_the_past_counts_as_the_mean_and_no_more():
    data = entry(D, T, **fields(horizon=HORIZON))
    shape = shape_of([data], cycles=[8], profiles=PROFILES[:2])
    data["feat_dynamic_real"][0, 1, 300:] = np.nan
    data["feat_dynamic_real"][0, 1, T:] = 5.0
    batch = forecast_batch(read_dataset([data]), shape)
    assert all(bool(part.isfinite().all()) for part in parts(batch).values())
    assert bool((batch.own[0, : shape.context_length, 1, 0] == 0).all())


# ------------------------------------------------------------------------------- what it is good for


def process(seed, *, length=1500, effects=(0.5, 1.0, -2.0)):
    """Waves and errors that go on for a while, and a covariate that moves the series by known amounts."""
    rng = np.random.default_rng(seed)
    weather, error = np.zeros(length), np.zeros((D, length))
    for t in range(1, length):
        weather[t] = 0.8 * weather[t - 1] + rng.normal()
        error[:, t] = 0.6 * error[:, t - 1] + 0.3 * rng.normal(size=D)
    data = entry(D, length, seed=seed, feat_dynamic_real=weather[None])
    data["target"] += (error + np.array(effects)[:, None] * weather).astype("f4")
    return data


@pytest.mark.parametrize("own", [False, True], ids=["common", "of each series"])
def test_a_known_effect_is_found(tmp_path, own):
    effects, moves = np.array([0.5, 1.0, -2.0]), []
    for seed in (1, 2, 3):
        data = process(seed)
        if own:
            data["feat_dynamic_real"] = np.repeat(data["feat_dynamic_real"][:, None], D, axis=1)
        training, known = (
            hold_out(data, HORIZON, 1)[0],
            cut_entry(data, end=-HORIZON, ahead=HORIZON),
        )
        predictor = estimator(tmp_path, model=LINEAR).train([training])
        moved = {**known, "feat_dynamic_real": np.array(known["feat_dynamic_real"])}
        moved["feat_dynamic_real"][..., -HORIZON:] += 1.0
        before, after = (
            paths(predictor, [known], num_samples=1000),
            paths(predictor, [moved], num_samples=1000),
        )
        moves.append((after - before).mean(axis=(0, 1, 2)))
    np.testing.assert_allclose(np.mean(moves, axis=0), effects, rtol=0.1)


def test_every_kind_of_model_reads_covariates(tmp_path):
    data = entry(D, T, **fields(horizon=HORIZON))
    known = data
    for model in (MODEL, LINEAR, MODEL._replace(scaling="std", difference=1)):
        predictor = estimator(tmp_path, model=model).train([data])
        base = paths(predictor, [known])
        other = {**known, "feat_dynamic_real": known["feat_dynamic_real"] + 3.0}
        assert np.isfinite(base).all() and (paths(predictor, [other]) != base).any()
        longer = {
            **known,
            "feat_dynamic_real": np.pad(known["feat_dynamic_real"], [(0, 0), (0, 0), (0, 5)]),
        }
        np.testing.assert_array_equal(paths(predictor, [longer]), base)


def test_without_covariates_nothing_is_there(tmp_path, plain):
    shape = plain.prediction_net.shape
    assert shape.covariates == [] and not any(
        "own" in name for name in weights(plain.prediction_net)
    )
    # A static field that is the same for all says nothing, and changes nothing.
    same = estimator(tmp_path).train([entry(feat_static_cat=[3])])
    assert same_weights(weights(plain.prediction_net), weights(same.prediction_net))


# ------------------------------------------------------------------------------- they go everywhere


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    data = entry(D, T, **fields())
    return data, estimator(tmp_path_factory.mktemp("covariates"), model=LINEAR).train([data])


def test_saved_and_loaded_it_is_the_same(trained, tmp_path):
    data, predictor = trained
    known, _ = split_windows([data], HORIZON)
    predictor.serialize(tmp_path)
    again = TimeGradPredictor.deserialize(tmp_path, device="cpu")
    assert again.prediction_net.shape == predictor.prediction_net.shape
    np.testing.assert_array_equal(paths(predictor, known), paths(again, known))


def test_validation_likelihood_what_if_and_distillation_have_them(trained, tmp_path):
    data, predictor = trained
    known, truth = split_windows([data], HORIZON)
    density, left_out = predictor.density([data], progress=False)
    assert left_out == 0 and bool(density.nll.isfinite().all())
    given = np.full((HORIZON, D), np.nan)
    given[0] = truth[0, 0]
    (forecast,) = predictor.predict(known, 20, known_future=given, seed=1, progress=False)
    np.testing.assert_array_equal(forecast.samples[:, 0], np.repeat(truth[:, 0], 20, axis=0))
    wide = {**known[0], "feat_dynamic_real": known[0]["feat_dynamic_real"] + 2.0}
    (other,) = predictor.predict([wide], 20, known_future=given, seed=1, progress=False)
    assert (forecast.samples[:, 1] != other.samples[:, 1]).any()
    student = distill(
        predictor, [data], 2, config=DistillConfig(train_steps=1, batch_size=2), progress=False
    )
    assert np.isfinite(paths(student, known)).all()
    training, held = hold_out(data, HORIZON, 1)
    again = estimator(tmp_path, model=LINEAR).train([training], held)
    assert np.isfinite(paths(again, known)).all()


def test_training_goes_on_from_a_predictor_with_its_units(trained, tmp_path):
    data, predictor = trained
    shifted = {**data, "feat_dynamic_real": data["feat_dynamic_real"] + 1.0}
    more = estimator(tmp_path, model=LINEAR).train_from(predictor, [shifted])
    assert more.prediction_net.shape.covariates == predictor.prediction_net.shape.covariates


# ------------------------------------------------------------------------------------------ refusals


def refused(predictor, data, match):
    with pytest.raises(InputError, match=match) as caught:
        paths(predictor, [data])
    assert "\n" not in str(caught.value)


def test_futures_that_do_not_fit_are_refused(trained):
    data, predictor = trained
    (known,), _ = split_windows([data], HORIZON)
    length, names = T - HORIZON, {"covariates": {"feat_dynamic_real": ["wind", "sun"]}}
    refused(predictor, cut_entry(known), f"has {length} steps, but {T} are needed")
    short = {**known, "feat_dynamic_real": known["feat_dynamic_real"][..., :-1]}
    refused(predictor, short, f"feat_dynamic_real of a has {T - 1} steps, but {T} are needed")
    hole = {**known, "info": names, "feat_dynamic_real": np.array(known["feat_dynamic_real"])}
    hole["feat_dynamic_real"][1, 2, -2] = np.nan
    stamp = known["start"] + T - 2
    refused(
        predictor, hole, rf"sun \(row 1 of feat_dynamic_real\) of a has no value at {stamp}, step 3"
    )
    other = {**known, "feat_dynamic_cat": np.array(known["feat_dynamic_cat"])}
    other["feat_dynamic_cat"][0, -1] = 9
    refused(
        predictor, other, "row 0 of feat_dynamic_cat of a has the category 9, .* only 0, 1, 2, 3"
    )
    refused(
        predictor,
        {k: v for k, v in known.items() if k != "feat_dynamic_cat"},
        "has no feat_dynamic_cat",
    )
    fewer = {**known, "feat_dynamic_real": known["feat_dynamic_real"][:1]}
    refused(predictor, fewer, r"shape \[1, 3, 400\], but the training data 2 rows for each series")
    shared = {**known, "feat_dynamic_real": known["feat_dynamic_real"][:, 0]}
    refused(predictor, shared, "2 rows for each series")
    refused(predictor, {**known, "feat_static_cat": [[0, 1, 5]]}, "has the category 5")
    past = {**known, "past_feat_dynamic_real": np.zeros((2, T))}
    refused(predictor, past, f"past_feat_dynamic_real of a has {T} steps, but its target {length}")


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"feat_dynamic_real": np.zeros(T)}, r"must be \[F, T\], or \[F, D, T\] with D = 3"),
        ({"feat_dynamic_real": np.zeros((1, 2, T))}, "with D = 3"),
        ({"feat_dynamic_real": np.zeros((1, T - 1))}, f"has {T - 1} steps, but its target {T}"),
        ({"past_feat_dynamic_real": np.zeros((1, T + 1))}, f"has {T + 1} steps"),
        ({"feat_dynamic_real": np.full((1, T), np.inf)}, r"row 0 of .* has inf \(step 0\)"),
        ({"feat_dynamic_real": np.full((1, 3, T), -1e39)}, r"-1e\+39 \(dimension 0, step 0\)"),
        ({"feat_static_real": [np.inf]}, "row 0 of feat_static_real of .* has inf; values must"),
        ({"feat_dynamic_real": np.ma.masked_array(np.zeros((1, T)))}, "is a masked array"),
        ({"feat_dynamic_real": np.zeros((1, T)) + 1j}, "complex"),
        ({"feat_dynamic_real": np.full((1, T), "x")}, "not numeric"),
        ({"feat_dynamic_cat": np.full((1, T), 0.5)}, "holds 0.5; categories are whole numbers"),
        ({"feat_dynamic_cat": np.full((1, T), -1)}, "holds -1"),
        (
            {"feat_dynamic_cat": np.arange(T)[None]},
            f"has {T} categories, and {MOST_CATEGORIES} is the most",
        ),
        ({"feat_static_real": np.zeros((1, 2))}, r"must be \[F\], or \[F, D\]"),
    ],
)
def test_fields_that_do_not_fit_are_refused_before_training(tmp_path, given, match):
    with pytest.raises(InputError, match=match):
        estimator(tmp_path).train([entry(D, T, **given)])


def test_all_entries_have_the_same_fields(tmp_path):
    one = entry(D, T, feat_dynamic_real=np.arange(T)[None], item_id="one")
    with pytest.raises(InputError, match="two has no feat_dynamic_real, which one has"):
        estimator(tmp_path).train([one, entry(D, T, item_id="two")])


# ------------------------------------------------------------------------------------------ holidays


def test_holidays_are_columns_of_every_forecast(tmp_path):
    pytest.importorskip("holidays")
    data = {**entry(D, 24 * 30), "start": period("h", "2019-12-10")}  # until 8 January
    predictor = estimator(tmp_path, model=LINEAR._replace(holidays="US")).train([data])
    names = [(one.field, one.row) for one in predictor.prediction_net.shape.covariates]
    assert names == [("holidays:US", row) for row in range(3)]
    until = cut_entry(data, end=24 * 15)  # the forecast is of Christmas
    (batch,) = (
        forecast_batch(read_dataset([part]), predictor.prediction_net.shape) for part in [until]
    )
    assert bool((batch.features[0, -HORIZON:, -3] > 0).all())
    assert bool((batch.features[0, :-HORIZON, -3] < 0).all())
    assert bool((batch.features[0, :-HORIZON, -2] > 0).all())
    predictor.serialize(tmp_path / "saved")
    again = TimeGradPredictor.deserialize(tmp_path / "saved", device="cpu")
    np.testing.assert_array_equal(paths(predictor, [until]), paths(again, [until]))


def test_what_a_holiday_does_is_forecast(tmp_path):
    pytest.importorskip("holidays")
    length, start = 24 * 700, period("h", "2004-01-01")
    off = holiday_features("US", start, length)[0] > 0
    waves = 10 + np.sin(2 * np.pi * np.arange(length) / 24)
    noise = 0.3 * np.random.default_rng(1).normal(size=(2, length))
    data = {"item_id": "a", "start": start, "target": (waves - 3 * off + noise).astype("f4")}
    at = 24 * (pd.Period("2005-11-24") - start.asfreq("D")).n  # Thanksgiving
    training, known = cut_entry(data, end=at - 24 * 30), cut_entry(data, end=at)
    errors = {}
    for country in (None, "US"):
        model = LINEAR._replace(cycles=[24, 168], holidays=country)
        predictor = estimator(tmp_path, model=model, prediction_length=24).train([training])
        mean = paths(predictor, [known], num_samples=100)[0].mean(axis=0)
        errors[country] = np.abs(mean - data["target"][:, at : at + 24].T).mean()
    assert errors[None] > 2.5 and errors["US"] < 0.6


def test_countries_and_years_that_are_not_known_are_refused(tmp_path):
    pytest.importorskip("holidays")
    for country, match in (("XX", "knows no country 'XX'"), ("US-XX", "knows no country 'US-XX'")):
        with pytest.raises(InputError, match=match):
            estimator(tmp_path, model=MODEL._replace(holidays=country)).train([entry()])
    late = {**entry(), "start": period("h", "2150-01-01")}
    with pytest.raises(InputError, match="knows no holiday of US in 2"):
        estimator(tmp_path, model=MODEL._replace(holidays="US")).train([late])
    with pytest.raises(InputError, match="holidays are days, but the frequency is M"):
        estimator(tmp_path, model=MODEL._replace(holidays="US")).train([entry(freq="M")])
