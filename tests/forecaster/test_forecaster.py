"""The front door: frames in, frames out, with the promises that its columns make."""

import json

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from tiny import HISTORY, HORIZON, MODEL, QUIET, TRAIN, entry

from timediff import PRESETS, Forecast, Forecaster, SamplingConfig
from timediff.errors import InputError
from timediff.forecaster.forecast import MODEL as COLUMN

pytestmark = QUIET
KINDS = {"pandas": pd.DataFrame, "polars": pl.DataFrame, "pyarrow": pa.Table}
NAMES = [30, 4, 5]


def long_frame(*, length=60, names=NAMES, start="2024-01-05 00:00", freq="h", tz=None, **columns):
    """Waves of several series in Nixtla's columns."""
    values = entry(dim=len(names), length=length)["target"]
    stamps = pd.date_range(start, periods=length, freq=freq, tz=tz)
    parts = [
        pd.DataFrame({"unique_id": n, "ds": stamps, "y": v})
        for n, v in zip(names, values, strict=True)
    ]
    frame = pd.concat(parts, ignore_index=True)
    for name, column in columns.items():
        frame[name] = column
    return frame


def wide_frame(frame):
    return frame.pivot(index="ds", columns="unique_id", values="y")


def as_kind(frame, kind):
    if kind == "pandas":
        return frame
    return (
        pl.from_pandas(frame)
        if kind == "polars"
        else pa.Table.from_pandas(frame, preserve_index=False)
    )


def pandas_of(frame):
    return frame if isinstance(frame, pd.DataFrame) else frame.to_pandas()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("forecaster")


@pytest.fixture(scope="module")
def make(folder):
    """A maker of tiny forecasters."""

    def forecaster(**options):
        trainer = {"default_root_dir": str(folder), "accelerator": "cpu"}
        return Forecaster(MODEL, TRAIN, progress=False, trainer_kwargs=trainer, **options)

    return forecaster


@pytest.fixture(scope="module")
def fitted(make):
    """A forecaster of three series: for reading only."""
    return make().fit(long_frame(), h=HORIZON)


def test_a_sample_frame_is_joint_and_has_the_labels_that_follow(fitted):
    frame = fitted.simulate(n_paths=15, seed=3)
    assert list(frame.columns) == ["unique_id", "ds", "sample_id", COLUMN]
    assert frame["unique_id"].unique().tolist() == NAMES and frame["unique_id"].dtype == np.int64
    assert frame["sample_id"].unique().tolist() == list(range(15))
    following = pd.date_range("2024-01-07 12:00", periods=HORIZON, freq="h")
    assert (frame["ds"].unique() == following).all() and len(frame) == 3 * 15 * HORIZON
    # By the labels alone the frame is what GluonTS draws of the same entry with the same seed.
    frame = frame.sample(frac=1, random_state=0)
    cube = frame.pivot(index=["sample_id", "ds"], columns="unique_id", values=COLUMN).sort_index()[
        NAMES
    ]
    start = pd.Period("2024-01-05", "h")
    data = [{"item_id": "frame", "start": start, "target": entry()["target"]}]
    (drawn,) = fitted.predictor.predict(data, 15, seed=3, progress=False)
    np.testing.assert_allclose(cube.to_numpy().reshape(15, HORIZON, 3), drawn.samples, rtol=1e-6)


def test_series_that_go_together_do_so_within_a_path(make):
    """Two copies of a series have the same path in each sample, and a copy with the other sign its mirror."""
    rng = np.random.default_rng(0)
    steps = rng.normal(size=400).cumsum()
    steps = steps - pd.Series(steps).rolling(20, min_periods=1).mean().to_numpy()
    frame = pd.DataFrame(
        {"a": steps, "b": steps, "c": -steps},
        index=pd.date_range("2024-01-01", periods=400, freq="h"),
    )
    model = MODEL._replace(diffusion_steps=20, denoiser_width=32, hidden_size=16)
    forecaster = make()
    forecaster.model, forecaster.train = (
        model,
        TRAIN._replace(steps=300, steps_per_epoch=300, batch_size=16, learning_rate=1e-2),
    )
    paths = forecaster.fit(frame, h=HORIZON).forecast(n_paths=200, seed=1)
    by_series = pandas_of(paths.to_frame()).pivot(
        index=["sample_id", "ds"], columns="unique_id", values=COLUMN
    )
    deviations = by_series - by_series.groupby("ds").transform("mean")
    correlation = deviations.corr()
    assert correlation.loc["a", "b"] > 0.8 and correlation.loc["a", "c"] < -0.8


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_frame_gives_the_same_numbers_in_its_own_kind(fitted, kind):
    expected = fitted.simulate(n_paths=10, seed=1)
    drawn = fitted.simulate(as_kind(long_frame(), kind), n_paths=10, seed=1)
    assert isinstance(drawn, KINDS[kind])
    pd.testing.assert_frame_equal(pandas_of(drawn), expected, check_dtype=False)
    predicted = fitted.predict(as_kind(long_frame(), kind), n_paths=10, seed=1)
    assert isinstance(predicted, KINDS[kind])
    assert isinstance(fitted.make_future_dataframe(as_kind(long_frame(), kind)), KINDS[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_training_on_any_kind_gives_that_kind(make, kind):
    frame = make().fit(as_kind(long_frame(), kind), h=HORIZON).predict(n_paths=10, seed=1)
    assert isinstance(frame, KINDS[kind])


def test_rows_in_any_order_and_a_wide_frame_are_the_same_data(fitted):
    expected = fitted.simulate(n_paths=10, seed=1)
    shuffled = long_frame().sample(frac=1, random_state=2)
    pd.testing.assert_frame_equal(fitted.simulate(shuffled, n_paths=10, seed=1), expected)
    wide = wide_frame(long_frame())
    for frame in (wide, wide[[5, 30, 4]], wide.reset_index()):
        pd.testing.assert_frame_equal(fitted.simulate(frame, n_paths=10, seed=1), expected)


def test_a_wide_frame_trains_the_same_model(make, fitted):
    wide = make().fit(wide_frame(long_frame())[NAMES], h=HORIZON)
    pd.testing.assert_frame_equal(
        wide.simulate(n_paths=10, seed=1), fitted.simulate(n_paths=10, seed=1)
    )


def test_predict_says_of_the_paths_what_simulate_gives(fitted):
    paths = fitted.simulate(n_paths=30, seed=4)
    frame = fitted.predict(level=[90], quantiles=[0.1], n_paths=30, seed=4)
    names = ["", "-median", "-lo-90", "-hi-90", "_ql0.1"]
    assert list(frame.columns) == ["unique_id", "ds", *(COLUMN + name for name in names)]
    groups = paths.groupby(["unique_id", "ds"], sort=False)[COLUMN]
    frame = frame.set_index(["unique_id", "ds"])
    np.testing.assert_allclose(frame[COLUMN], groups.mean(), rtol=1e-6)
    for name, q in [("-median", 0.5), ("-lo-90", 0.05), ("-hi-90", 0.95), ("_ql0.1", 0.1)]:
        expected = groups.apply(lambda x, q=q: np.quantile(x, q, method="weibull"))
        np.testing.assert_allclose(frame[COLUMN + name], expected, rtol=1e-6)


def test_names_of_columns_are_the_users(make):
    frame = long_frame().rename(columns={"unique_id": "meter", "ds": "when", "y": "load"})
    columns = {"id_col": "meter", "time_col": "when", "target_col": "load"}
    forecaster = make().fit(frame, h=HORIZON, **columns)
    assert list(forecaster.simulate(n_paths=10).columns) == ["meter", "when", "sample_id", COLUMN]
    assert list(forecaster.make_future_dataframe().columns) == ["meter", "when"]


@pytest.mark.parametrize("freq", ["ME", "QE", "W-WED", "B"])
def test_stamps_continue_as_the_frame_writes_them(make, freq):
    frame = long_frame(length=60, freq=freq)
    stamps = pd.date_range("2024-01-05", periods=60 + HORIZON, freq=freq)
    drawn = make().fit(frame, h=HORIZON).simulate(n_paths=10)
    assert list(drawn["ds"].unique()) == list(stamps[60:])


def test_zoned_stamps_stay_in_their_zone(make):
    frame = long_frame(start="2024-10-24 13:00", tz="Europe/Berlin")
    drawn = make().fit(frame, h=HORIZON).simulate(n_paths=10)
    expected = pd.date_range(
        "2024-10-24 13:00", periods=60 + HORIZON, freq="h", tz="Europe/Berlin"
    )[60:]
    assert list(drawn["ds"].unique()) == list(expected)
    assert str(drawn["ds"].dt.tz) == "Europe/Berlin"


def test_the_forecast_knows_its_history(fitted):
    made = fitted.forecast(n_paths=10, seed=1)
    assert isinstance(made, Forecast)
    wide = wide_frame(long_frame())[NAMES]
    np.testing.assert_allclose(made.history, wide.to_numpy())
    assert list(made.history_stamps) == list(wide.index)
    pd.testing.assert_frame_equal(made.to_frame(), fitted.simulate(n_paths=10, seed=1))


def test_what_if_paths_agree_with_what_is_given(make):
    forecaster = make().fit(long_frame(), h=HORIZON)
    # Whole steps given from the first one on cost no particles.
    first = forecaster.make_future_dataframe().groupby("unique_id", sort=False).head(1)
    given = first.assign(y=[2.0, 1.5, 2.5])
    drawn = forecaster.simulate(n_paths=10, seed=1, known=given)
    drawn = drawn.set_index(["unique_id", "ds"])[COLUMN].sort_index()
    for row in given.itertuples():
        assert (drawn[(row.unique_id, row.ds)] == np.float32(row.y)).all()
    wide = given.pivot(index="ds", columns="unique_id", values="y")
    again = forecaster.simulate(n_paths=10, seed=1, known=wide)
    again = again.set_index(["unique_id", "ds"])[COLUMN].sort_index()
    np.testing.assert_array_equal(again, drawn)
    with pytest.raises(InputError, match="none of the forecast's steps"):
        forecaster.simulate(known=given.assign(ds=given["ds"] - pd.Timedelta("1h")))
    with pytest.raises(InputError, match="no series of the model"):
        forecaster.simulate(known=wide.rename(columns={4: 6}))
    with pytest.raises(InputError, match="no column 'y'"):
        forecaster.simulate(known=first)


@pytest.fixture(scope="module")
def validated(make):
    """A cross-validation of three overlapping windows."""
    frame = long_frame()
    options = {
        "h": HORIZON,
        "n_windows": 3,
        "step_size": 2,
        "level": [90],
        "n_paths": 10,
        "seed": 1,
    }
    return make().cross_validation(frame, **options), options


def test_cutoffs_and_truth_of_a_cross_validation(validated):
    result, _ = validated
    expected = [
        "unique_id",
        "ds",
        "cutoff",
        COLUMN,
        *(f"{COLUMN}-{x}" for x in ("median", "lo-90", "hi-90")),
        "y",
    ]
    assert list(result.columns) == expected
    stamps = pd.date_range("2024-01-05", periods=60, freq="h")
    assert list(result["cutoff"].unique()) == list(
        stamps[[60 - HORIZON - 4 - 1, 60 - HORIZON - 2 - 1, 60 - HORIZON - 1]]
    )
    for cutoff, rows in result.groupby("cutoff"):
        assert list(rows["ds"].unique()) == list(
            cutoff + pd.to_timedelta(np.arange(1, HORIZON + 1), unit="h")
        )
    truth = result.merge(long_frame(), on=["unique_id", "ds"], suffixes=("", "_given"))
    assert len(truth) == len(result) == 3 * 3 * HORIZON
    np.testing.assert_allclose(truth["y"], truth["y_given"])


@pytest.mark.parametrize("refit", [False, True])
def test_changing_the_future_changes_nothing(make, validated, refit):
    result, options = validated
    changed = long_frame()
    first, last = result["cutoff"].min(), result["cutoff"].max()
    changed.loc[changed["ds"] > last, "y"] += 100
    if refit:
        result = make().cross_validation(long_frame(), refit=True, **options)
    again = make().cross_validation(changed, refit=refit, **options)
    forecast = [name for name in result if name != "y"]
    pd.testing.assert_frame_equal(again[forecast], result[forecast])
    # With a change right after the first cutoff, the first window stays, and later ones see it.
    changed = long_frame()
    changed.loc[changed["ds"] > first, "y"] += 100
    again = make().cross_validation(changed, refit=refit, **options)
    same = again["cutoff"] == first
    pd.testing.assert_frame_equal(again[forecast][same], result[forecast][same])
    assert not np.allclose(again[COLUMN][~same], result[COLUMN][~same])


def test_refit_trains_on_what_precedes_each_window(make, validated):
    result, options = validated
    refitted = make().cross_validation(long_frame(), refit=True, **options)
    first = result["cutoff"] == result["cutoff"].min()
    pd.testing.assert_frame_equal(refitted[first], result[first])
    assert not np.allclose(refitted[COLUMN][~first], result[COLUMN][~first])


def test_a_window_is_the_forecast_of_what_precedes_it(make, validated):
    result, _ = validated
    cutoff = result["cutoff"].min()
    known = long_frame()[long_frame()["ds"] <= cutoff]
    alone = make().fit(known, h=HORIZON).predict(level=[90], n_paths=10, seed=1)
    window = result[result["cutoff"] == cutoff].drop(columns=["cutoff", "y"]).reset_index(drop=True)
    pd.testing.assert_frame_equal(window, alone)


def test_utilsforecast_takes_what_comes_out(fitted, validated):
    from utilsforecast.evaluation import evaluate
    from utilsforecast.losses import coverage, mae
    from utilsforecast.plotting import plot_series

    result, _ = validated
    scores = evaluate(result, [mae, coverage], models=[COLUMN], level=[90]).query("metric == 'mae'")
    by_hand = (
        (result[COLUMN] - result["y"]).abs().groupby([result["unique_id"], result["cutoff"]]).mean()
    )
    np.testing.assert_allclose(scores.sort_values(["unique_id", "cutoff"])[COLUMN], by_hand)
    frame = fitted.predict(level=[90], n_paths=10, seed=1)
    figure = plot_series(long_frame(), frame, models=[COLUMN], level=[90])
    lines = [
        line for axes in figure.axes for line in axes.get_lines() if line.get_label() == COLUMN
    ]
    drawn = [y for line in lines for y in line.get_ydata() if np.isfinite(y)]
    assert sorted(drawn) == pytest.approx(sorted(frame[COLUMN]))
    polars = pl.from_pandas(frame)
    plot_series(pl.from_pandas(long_frame()), polars, models=[COLUMN], level=[90])


def test_saved_and_loaded_gives_the_same_paths(fitted, tmp_path):
    fitted.save(tmp_path / "model")
    loaded = Forecaster.load(tmp_path / "model", progress=False)
    expected = fitted.simulate(n_paths=10, seed=1)
    pd.testing.assert_frame_equal(loaded.simulate(n_paths=10, seed=1), expected)
    pd.testing.assert_frame_equal(loaded.simulate(long_frame(), n_paths=10, seed=1), expected)
    assert (loaded.model, loaded.train, loaded.sampling) == (
        fitted.model,
        fitted.train,
        fitted.sampling,
    )
    endings = {path.suffix for path in (tmp_path / "model").rglob("*") if path.is_file()}
    assert endings == {".json", ".safetensors"}


def test_a_folder_is_written_whole_or_not_at_all(fitted, tmp_path, monkeypatch):
    folder = tmp_path / "model"
    fitted.save(folder)
    with pytest.raises(InputError, match="overwrite=True"):
        fitted.save(folder)
    before = (folder / "forecaster.json").stat().st_mtime_ns
    fitted.save(folder, overwrite=True)
    assert (folder / "forecaster.json").stat().st_mtime_ns > before

    def full(*_):
        raise OSError(28, "no space left")

    monkeypatch.setattr("timediff.forecaster.saved.save_file", full)
    with pytest.raises(OSError, match="no space"):
        fitted.save(folder, overwrite=True)
    with pytest.raises(OSError, match="no space"):
        fitted.save(tmp_path / "other")
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    Forecaster.load(folder, progress=False).simulate(n_paths=10)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="choose another path"):
        fitted.save(tmp_path / "mine", overwrite=True)


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "forecaster.json").unlink(),
        lambda folder: (folder / "forecaster.json").write_text("{"),
        lambda folder: (folder / "data.safetensors").write_bytes(b"\x00" * 20),
        lambda folder: (folder / "predictor" / "predictor.json").write_text("[]"),
        lambda folder: change(folder / "forecaster.json", format=99),
        lambda folder: change(
            folder / "forecaster.json", model={"cell": "gru", "no_such_option": 1}
        ),
    ],
)
def test_a_damaged_folder_is_refused(fitted, tmp_path, damage):
    fitted.save(tmp_path / "model")
    damage(tmp_path / "model")
    with pytest.raises(InputError, match="model"):
        Forecaster.load(tmp_path / "model")


def change(file, **values):
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def test_options_come_one_by_one_or_from_a_preset(make):
    assert Forecaster(*PRESETS["paper"]).model == PRESETS["paper"].model
    assert Forecaster(sampling=SamplingConfig(steps=3)).sampling.steps == 3
    with pytest.raises(InputError):
        Forecaster(MODEL._replace(hidden_size=0))


@pytest.mark.parametrize(
    ("mistake", "sentence"),
    [
        (lambda f: Forecaster().predict(), "call fit first"),
        (
            lambda f: f.predict(long_frame(names=[30, 4])),
            r"no series 5, which the model was trained on",
        ),
        (lambda f: f.predict(long_frame(names=[30, 4, 5, 6])), r"not trained on \('6'\)"),
        (lambda f: f.predict(long_frame(length=HISTORY - 1)), f"looks back over {HISTORY}"),
        (lambda f: f.fit(long_frame(), h=0), "h is 0"),
        (lambda f: f.fit(long_frame(), h=2, futr_exog_list=["sun"]), "no column 'sun'"),
        (
            lambda f: f.fit(long_frame(), h=2, stat_exog_list=["kind"]),
            "static_df and stat_exog_list go together",
        ),
        (lambda f: f.fit([1, 2], h=2), "kind list"),
        (lambda f: f.cross_validation(long_frame(), h=30, n_windows=3), "windows"),
        (lambda f: f.simulate(n_paths=0), "n_paths is 0"),
    ],
)
def test_a_mistake_gets_one_sentence(fitted, mistake, sentence):
    with pytest.raises(InputError, match=sentence):
        mistake(fitted)


SMALL = MODEL._replace(
    scaling="adaptive", lags=None, difference=None, context_length=None, hidden_size=8
)


@pytest.fixture(scope="module")
def driven(folder):
    """A forecaster of two series that the wind drives, 5 and -3 times, and what came with it."""
    rng = np.random.default_rng(0)
    wind = rng.normal(size=400 + HORIZON).round(3)
    stamps = pd.date_range("2024-01-05", periods=400 + HORIZON, freq="h")
    parts = [
        pd.DataFrame(
            {
                "unique_id": name,
                "ds": stamps,
                "y": 20 + effect * wind + 0.3 * rng.normal(size=len(wind)),
                "wind": wind,
                "gust": rng.normal(size=len(wind)),
                "sky": rng.choice(["clear", "rain"], size=len(wind)),
            }
        )
        for name, effect in [("a", 5.0), ("b", -3.0)]
    ]
    frame = pd.concat(parts, ignore_index=True)
    static = pd.DataFrame({"unique_id": ["b", "a"], "kind": ["sea", "land"]})
    past, future = frame[frame["ds"] < stamps[400]], frame[frame["ds"] >= stamps[400]]
    trainer = {"default_root_dir": str(folder), "accelerator": "cpu"}
    forecaster = Forecaster(SMALL, TRAIN, progress=False, trainer_kwargs=trainer)
    lists = {
        "futr_exog_list": ["wind", "sky"],
        "hist_exog_list": ["gust"],
        "stat_exog_list": ["kind"],
    }
    forecaster.fit(past, static, h=HORIZON, **lists)
    return forecaster, past, future.drop(columns=["y", "gust"])


def test_the_forecast_moves_with_a_covariate_known_ahead(driven):
    forecaster, past, future = driven
    as_it_is = forecaster.forecast(futr_df=future, n_paths=200, seed=1).mean
    stormy = forecaster.forecast(
        futr_df=future.assign(wind=future["wind"] + 1), n_paths=200, seed=1
    ).mean
    np.testing.assert_allclose((stormy - as_it_is).mean(axis=0), [5, -3], rtol=0.15)
    again = forecaster.forecast(past, future.sample(frac=1, random_state=1), n_paths=200, seed=1)
    np.testing.assert_array_equal(again.mean, as_it_is)


def test_covariates_are_saved_with_the_data(driven, tmp_path):
    forecaster, _, future = driven
    forecaster.save(tmp_path / "model")
    loaded = Forecaster.load(tmp_path / "model", progress=False)
    expected = forecaster.simulate(futr_df=future, n_paths=10, seed=1)
    pd.testing.assert_frame_equal(loaded.simulate(futr_df=future, n_paths=10, seed=1), expected)


def test_rows_that_a_future_lacks(driven):
    forecaster, _, future = driven
    missing = forecaster.get_missing_future(future.iloc[[0, 2, 3, 4, 5]])
    expected = future.iloc[[1, 6, 7]][["unique_id", "ds"]].reset_index(drop=True)
    pd.testing.assert_frame_equal(missing, expected)
    assert len(forecaster.get_missing_future(future)) == 0
    pd.testing.assert_frame_equal(
        forecaster.make_future_dataframe(), future[["unique_id", "ds"]].reset_index(drop=True)
    )


def test_a_cross_validation_has_the_covariates_of_its_windows(driven, folder):
    _, past, _ = driven
    trainer = {"default_root_dir": str(folder), "accelerator": "cpu"}
    forecaster = Forecaster(SMALL, TRAIN, progress=False, trainer_kwargs=trainer)
    options = {"h": HORIZON, "n_windows": 5, "n_paths": 50, "seed": 1}
    blind = forecaster.cross_validation(past, **options)
    seeing = forecaster.cross_validation(past, futr_exog_list=["wind"], **options)
    errors = [(table[COLUMN] - table["y"]).abs().mean() for table in (seeing, blind)]
    assert errors[0] < 0.5 * errors[1]
