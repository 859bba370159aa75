"""Right numbers whatever the level and size of a series: flat ones, high levels, tiny and huge units.

Each series is forecast near its own values; a shift or a factor of the data is one of the paths.
"""

import numpy as np
import pandas as pd
import pytest
from groups import contracts, invariances, oracles
from tasks import task_of
from tiny import HORIZON, MODEL, QUIET, TRAIN, entry, estimator, paths, wide_folder

from timediff import Forecaster, backtest, load_dataset
from timediff.benchmark.folder import load_paths, save_paths
from timediff.benchmark.recalibration import fit_recalibration, recalibrate
from timediff.config import ModelConfig
from timediff.gluon.entries import read_dataset, warn_of_poor_dimensions
from timediff.gluon.joint import joined
from timediff.presets import PAPER
from timediff.registry import BASELINES
from timediff.timegrad.whatif import TooUnlikely

pytestmark = [QUIET, pytest.mark.filterwarnings("ignore:some series say little")]

LENGTH = 24 * 12
SIZES = {"num_layers": 1, "hidden_size": 6, "denoiser_width": 8, "denoiser_layers": 1}
DEFAULT = ModelConfig(**SIZES)
MODELS = {
    "default": DEFAULT,
    "paper": PAPER.model._replace(**SIZES, diffusion_steps=5),
    "adaptive, no centre": DEFAULT._replace(centre="none"),
    **{
        f"{scaling}, difference {lag}": MODEL._replace(scaling=scaling, difference=lag)
        for scaling in ("global", "std", "mean", "none")
        for lag in (0, 1, 24)
    },
}
every_model = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)


def flat_series() -> dict[str, np.ndarray]:
    rng, t = np.random.default_rng(3), np.arange(LENGTH)
    return {
        "load": 1e6 * (1 + 0.3 * np.sin(2 * np.pi * t / 24)) + 1e4 * rng.normal(size=LENGTH),
        "five": np.full(LENGTH, 5.1),
        "zero": np.zeros(LENGTH),
        "small": np.full(LENGTH, 1e-12),
        "tariff": np.where(t % 24 < 8, 0.1, 0.3),
        "pressure": 101325 + 0.05 * rng.normal(size=LENGTH),
        "ramp": 1.2e8 + t,
        "still": 5 + 1e-9 * rng.normal(size=LENGTH),
    }


CONSTANT = ("five", "zero", "small")


def of(values, **fields):
    return entry(1, LENGTH) | {"target": np.asarray(values, dtype=np.float64)} | fields


def check_near(name: str, values: np.ndarray, drawn: np.ndarray) -> None:
    """Constant series within max(width, .001 x level) of their values, others within ten times that."""
    low, high = values.min(), values.max()
    room = max(high - low, 1e-3 * np.abs(values).max()) * (1 if name in CONSTANT else 10)
    if name == "zero":
        room = 1e-20
    assert drawn.min() >= low - room and drawn.max() <= high + room, (
        name,
        drawn.min(),
        drawn.max(),
    )


@oracles
@every_model
def test_flat_series_are_forecast_near_their_own_values_beside_large_ones(model, tmp_path):
    series = flat_series()
    data = [of(np.stack(list(series.values())))]
    drawn = paths(estimator(tmp_path, model=model).train(data), data)[0]
    for name, own in zip(series, np.moveaxis(drawn, -1, 0), strict=True):
        if model.scaling == "none" and name == "tariff":
            continue  # of about the unit, so learned in it: the test below
        check_near(name, series[name], own)


@oracles
@every_model
@pytest.mark.parametrize("name", ["five", "zero", "small", "pressure", "still"])
def test_a_flat_series_alone_is_forecast_near_its_own_values(model, name, tmp_path):
    values = flat_series()[name]
    data = [of(values)]
    check_near(name, values, paths(estimator(tmp_path, model=model).train(data), data)[0])


@oracles
@pytest.mark.parametrize("lag", [0, 1, 24])
def test_without_normalisation_a_tariff_is_near_its_values_once_it_is_learned(lag, tmp_path):
    series = flat_series()
    data = [of(np.stack([series["load"], series["tariff"]]))]
    model = MODEL._replace(scaling="none", difference=lag)
    made = estimator(tmp_path, model=model, train=TRAIN._replace(steps=800, steps_per_epoch=800))
    check_near("tariff", series["tariff"], paths(made.train(data), data)[0][..., 1])


# ------------------------------------------------------------------------------ shifts and factors


def waves(dim=2) -> np.ndarray:
    """Of spread 20 around nothing, so that no bound is read off them."""
    rng, t = np.random.default_rng(5), np.arange(LENGTH)
    return 20 * (
        np.sin(2 * np.pi * t / 24 + np.arange(dim)[:, None]) + rng.normal(size=(dim, LENGTH))
    )


def drawn_of(model, values, folder) -> np.ndarray:
    data = [of(values)]
    return paths(estimator(folder, model=model).train(data), data)[0]


#: Those that take a location off; the others are of the size of the level, by their definition.
LOCATED = {
    name: model
    for name, model in MODELS.items()
    if name != "paper" and not (name.startswith(("mean", "none")) and name.endswith(" 0"))
}


@invariances
@pytest.mark.parametrize("model", LOCATED.values(), ids=LOCATED)
@pytest.mark.parametrize("dim", [1, 2])
def test_data_shifted_far_have_the_same_paths_shifted(model, dim, tmp_path):
    near = drawn_of(model, waves(dim), tmp_path)
    far = drawn_of(model, waves(dim) + 1e9, tmp_path)
    assert far.dtype == np.float64
    np.testing.assert_allclose(far - 1e9, near, rtol=0, atol=0.01 * waves(dim).std())


@invariances
@every_model
@pytest.mark.parametrize("factor", [1e-12, 1e12])
def test_data_times_a_factor_have_the_same_paths_times_it(model, factor, tmp_path):
    if model.scaling == "none":
        pytest.skip("in units of 1, whatever the data: that is what this normalisation is")
    values = waves() / 20 + 15
    before, after = (drawn_of(model, values * f, tmp_path) for f in (1.0, factor))
    np.testing.assert_allclose(after / factor, before, rtol=0, atol=0.01 * waves().std() / 20)


@oracles
@pytest.mark.parametrize("name", ["default", "std, difference 1"])
def test_a_meter_far_up_keeps_its_small_steps(name, tmp_path):
    meter = 1.2e8 + np.arange(LENGTH) + np.random.default_rng(0).uniform(0, 0.5, LENGTH)
    drawn = drawn_of(MODELS[name], meter, tmp_path)
    assert len(np.unique(drawn)) > 60


# ------------------------------------------------------------------------------- values that are given


@contracts
@pytest.mark.parametrize(
    "name", ["default", "adaptive, no centre", "global, difference 0", "std, difference 1"]
)
def test_a_given_value_is_the_less_likely_the_farther_out_it_is(name, tmp_path):
    data = [of(waves() + 100)]
    predictor = estimator(tmp_path, model=MODELS[name]).train(data)
    refused = []
    for value in 10.0 ** np.arange(6, 18):
        given = np.full((HORIZON, 2), np.nan)
        given[1, 0] = value
        with pytest.raises(TooUnlikely, match="give"):
            next(iter(predictor.predict(data, 20, known_future=given, num_particles=60, seed=1)))
        refused.append(value)
    assert len(refused) == 12


@invariances
@pytest.mark.parametrize("name", ["default", "adaptive, no centre"])
def test_a_first_step_given_far_out_is_drawn_in_as_an_outlier_of_the_past_is(name, tmp_path):
    data = [of(waves() + 100)]
    predictor = estimator(tmp_path, model=MODELS[name]).train(data)
    given = np.full((HORIZON, 2), np.nan)
    given[0] = 1e10
    (forecast,) = predictor.predict(data, 20, known_future=given, num_particles=60, seed=1)
    assert (forecast.samples[:, 0] == 1e10).all()
    assert np.abs(forecast.samples[:, 1:] - 100).max() < 1e3


@invariances
def test_what_is_given_shifts_with_the_data(tmp_path):
    given = np.full((HORIZON, 2), np.nan)
    given[1, 0] = 10.125
    drawn = []
    for shift in (0, 1e9):
        data = [of(waves() + shift)]
        predictor = estimator(tmp_path, model=DEFAULT).train(data)
        options = {"known_future": given + shift, "num_particles": 100, "seed": 1}
        (forecast,) = predictor.predict(data, 20, **options)
        assert (forecast.samples[:, 1, 0] == 10.125 + shift).all()
        drawn.append(forecast.samples - shift)
    np.testing.assert_allclose(*drawn, rtol=0, atol=0.01 * waves().std())


# ------------------------------------------------------------------------- every way that paths come back


FAR = 1e9


def frame(shift=0.0):
    stamps = pd.date_range("2020-01-06", periods=LENGTH, freq="h", name="ds")
    return pd.DataFrame(waves().T + shift, index=stamps, columns=["a", "b"]).reset_index()


def forecaster(shift=0.0):
    return Forecaster(DEFAULT, TRAIN, progress=False).fit(frame(shift), h=HORIZON)


def values_of(frame, column="TimeGrad"):
    return frame[column].to_numpy()


WAYS = {
    "paths": lambda f, tmp, shift: f.forecast(n_paths=20, seed=1).paths,
    "simulate": lambda f, tmp, shift: values_of(f.simulate(n_paths=20, seed=1)),
    "predict": lambda f, tmp, shift: (
        f.predict(level=[90], quantiles=[0.3], n_paths=20, seed=1).select_dtypes("float").to_numpy()
    ),
    "longer": lambda f, tmp, shift: f.forecast(h=HORIZON + 3, n_paths=20, seed=1).paths,
    "gluonts": lambda f, tmp, shift: f.forecast(n_paths=20, seed=1).to_gluonts().samples,
    "items": lambda f, tmp, shift: values_of(f.forecast(n_paths=20, seed=1).to_item_frame(), "0.1"),
    "scenarios": lambda f, tmp, shift: f.forecast(n_paths=20, seed=1).representatives(5).paths,
    "saved": lambda f, tmp, shift: reloaded(f, tmp).forecast(n_paths=20, seed=1).paths,
    # A seed whose particles are no borderline case: one too few, and another condition is taken.
    "filled": lambda f, tmp, shift: values_of(f.impute(holed(shift), n_paths=20, seed=2), "y"),
}


def reloaded(made, folder):
    made.save(folder / "saved", overwrite=True)
    return Forecaster.load(folder / "saved")


def holed(shift):
    known = frame(shift)
    known.loc[[200, 201, 250], "a"] = np.nan
    return known


@pytest.fixture(scope="module")
def near_and_far():
    return forecaster(), forecaster(FAR)


@invariances
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_paths_of_the_front_door_shift_with_the_data(way, near_and_far, tmp_path):
    near, far = (
        way(made, tmp_path, shift) for made, shift in zip(near_and_far, (0.0, FAR), strict=True)
    )
    assert far.dtype == np.float64
    np.testing.assert_allclose(far - FAR, near, rtol=0, atol=0.01 * waves().std())


@invariances
@pytest.mark.parametrize(
    "name", ["random_walk", "seasonal_naive", "climatology", "var", "adaptive_linear"]
)
def test_paths_of_baselines_shift_with_the_data(name):
    near, far = (
        BASELINES[name].forecast(
            task_of(waves().T + shift, ends=[LENGTH - HORIZON], seasons=(24,)),
            num_samples=20,
            seed=1,
            progress=False,
        )
        for shift in (0.0, FAR)
    )
    np.testing.assert_allclose(far - FAR, near, rtol=0, atol=0.01 * waves().std())


@invariances
def test_paths_of_a_backtest_shift_with_the_data(tmp_path):
    made = estimator(tmp_path, model=DEFAULT)
    near, far = (
        backtest(frame(s).set_index("ds"), made, windows=2, stride=HORIZON, num_samples=20)
        for s in (0.0, FAR)
    )
    np.testing.assert_allclose(far.paths - FAR, near.paths, rtol=0, atol=0.01 * waves().std())
    np.testing.assert_allclose(far.truth - FAR, near.truth, rtol=0, atol=1e-5)
    # Scores are shares of the mean size of the truth.
    near_score, far_score = (f.metrics["crps"] * np.abs(f.truth).mean() for f in (near, far))
    assert far_score == pytest.approx(near_score, rel=0.01)


@invariances
def test_kept_and_recalibrated_paths_keep_their_digits(tmp_path):
    rng = np.random.default_rng(0)
    drawn, truth = rng.normal(size=(8, 20, 3, 2)), 2 * rng.normal(size=(8, 3, 2))
    save_paths(tmp_path, drawn + FAR)
    assert (load_paths(tmp_path) == drawn + FAR).all()
    near, far = (
        recalibrate(fit_recalibration(drawn + s, truth + s), drawn + s) for s in (0.0, FAR)
    )
    np.testing.assert_allclose(far - FAR, near, rtol=0, atol=1e-4)


@invariances
@pytest.mark.parametrize("joint", [False, True])
def test_folders_of_data_and_joint_entries_keep_their_digits(joint, tmp_path):
    values = waves() + FAR
    if joint:
        entries = [of(row, item_id=str(d)) | {"target": row} for d, row in enumerate(values)]
        found = joined(entries, ["0", "1"])["target"]
    else:
        wide_folder(tmp_path / "far", values=values.T)
        found = load_dataset(str(tmp_path / "far")).test[-1]["target"]
    np.testing.assert_allclose(found, values[:, : found.shape[1]], rtol=0, atol=1e-6)


@contracts
def test_constant_series_are_named_in_one_line_and_high_ones_are_not():
    series = flat_series() | {"far": FAR + waves(1)[0]}
    data = of(np.stack(list(series.values())), info={"columns": list(series)})
    with pytest.warns(
        UserWarning, match=r"some series say little \(constant: five, zero, small\)"
    ) as told:
        warn_of_poor_dimensions(read_dataset([data]), horizon=HORIZON)
    assert len(told) == 1
