"""Shapes of use: groups, inputs, ragged ends, long horizons, gaps filled in, new rows."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from tiny import HORIZON, MODEL, QUIET, TRAIN

from timediff import Forecaster
from timediff.errors import InputError
from timediff.forecaster.forecast import MODEL as COLUMN

pytestmark = QUIET
LENGTH = 60
NAMES = ["load", "wind"]
#: A model that learns what a few hundred steps show: the linear part of the default.
SMALL = MODEL._replace(
    scaling="adaptive", lags=None, difference=None, context_length=None, hidden_size=8
)


def long_frame(seed=0, *, length=LENGTH, start="2024-01-05", names=NAMES, **columns):
    rng = np.random.default_rng(seed)
    t = np.arange(length)
    stamps = pd.date_range(start, periods=length, freq="h")
    parts = [
        pd.DataFrame(
            {
                "unique_id": name,
                "ds": stamps,
                "y": 5 + seed + np.sin(2 * np.pi * (t + i) / 8) + 0.2 * rng.normal(size=length),
            }
        )
        for i, name in enumerate(names)
    ]
    return pd.concat(parts, ignore_index=True).assign(**columns)


def grouped(*groups):
    return pd.concat(
        [long_frame(seed, region=name) for seed, name in enumerate(groups)], ignore_index=True
    )


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("shapes"))

    def forecaster(model=MODEL, train=TRAIN):
        trainer = {"default_root_dir": folder, "accelerator": "cpu"}
        return Forecaster(model, train, progress=False, trainer_kwargs=trainer)

    return forecaster


@pytest.fixture(scope="module")
def alone(make):
    """Of a single table: for reading only."""
    return make().fit(long_frame(), h=HORIZON)


@pytest.fixture(scope="module")
def regions(make):
    """Of two groups: for reading only."""
    return make(SMALL).fit(grouped("east", "west"), h=HORIZON, group_col="region")


# ----------------------------------------------------------------------------------------- groups


def test_a_single_group_equals_no_group(make, alone):
    # Noise follows the name; this is what a table without groups goes by.
    one = make().fit(grouped("frame"), h=HORIZON, group_col="region")
    expected = alone.simulate(n_paths=10, seed=1)
    found = one.simulate(n_paths=10, seed=1)
    assert list(found.columns) == ["region", *expected.columns]
    assert (found["region"] == "frame").all()
    pd.testing.assert_frame_equal(found.drop(columns="region"), expected)


def test_groups_are_forecast_each_from_its_own_past_and_independently(regions):
    frame = regions.simulate(n_paths=10, seed=1)
    assert frame["region"].unique().tolist() == ["east", "west"]
    assert len(frame) == 2 * 2 * 10 * HORIZON and list(frame.index) == list(range(len(frame)))
    for group in ("east", "west"):
        own = regions.forecast(group=group, n_paths=10, seed=1)
        rows = frame[frame["region"] == group].reset_index(drop=True)
        pd.testing.assert_frame_equal(own.to_frame(), rows)
    changed = grouped("east", "west")
    changed.loc[changed["region"] == "west", "y"] += 3
    again = regions.simulate(changed, n_paths=10, seed=1)
    east = frame["region"] == "east"
    pd.testing.assert_frame_equal(again[east], frame[east])
    assert (again[COLUMN][~east] - frame[COLUMN][~east]).mean() > 1
    # The same past does not give the same noise.
    same = pd.concat([long_frame(region=name) for name in ("east", "west")])
    twins = regions.simulate(same, n_paths=10, seed=1)
    halves = [twins.loc[twins["region"] == g, COLUMN].to_numpy() for g in ("east", "west")]
    assert not np.allclose(*halves)


def test_both_groups_are_trained_on(make, regions):
    other = grouped("east", "west")
    west = other["region"] == "west"
    other.loc[west, "y"] = other.loc[west, "y"].cumsum().to_numpy()[::-1] ** 2
    again = make(SMALL).fit(other, h=HORIZON, group_col="region")
    found, before = (f.forecast(group="east", n_paths=10, seed=1).paths for f in (again, regions))
    assert not np.allclose(found, before)


def test_some_of_the_groups_or_new_ones_are_forecast_in_any_order_of_rows(regions):
    table = grouped("east", "west").sample(frac=1, random_state=0)
    only_west = table[table["region"] == "west"]
    west = regions.predict(only_west, n_paths=10, seed=1)
    assert west["region"].unique().tolist() == ["west"]
    both = regions.predict(table, n_paths=10, seed=1)
    of_west = both[both["region"] == "west"].reset_index(drop=True)
    pd.testing.assert_frame_equal(of_west, west)
    # The other noise of another name apart, the same.
    one, two = (
        regions.forecast(only_west.assign(region=name), group=name, n_paths=400, seed=1).paths
        for name in ("west", "north")
    )
    error = np.hypot(one.std(axis=0), two.std(axis=0)) / 400**0.5
    assert (one != two).all() and (np.abs(one.mean(axis=0) - two.mean(axis=0)) < 5 * error).all()
    polars = regions.predict(pl.from_pandas(table.sort_index()), n_paths=10, seed=1)
    assert isinstance(polars, pl.DataFrame) and polars["region"].unique(
        maintain_order=True
    ).to_list() == ["east", "west"]


def test_covariates_statics_and_the_future_are_those_of_the_group(make):
    table = grouped("east", "west")
    table["sun"] = table["ds"].dt.hour + 100.0 * (table["region"] == "west")
    static = pd.DataFrame(
        {
            "region": np.repeat(["west", "east"], 2),
            "unique_id": NAMES * 2,
            "height": [3.0, 4.0, 1.0, 2.0],
        }
    )
    forecaster = make().fit(
        table,
        static,
        h=HORIZON,
        group_col="region",
        futr_exog_list=["sun"],
        stat_exog_list=["height"],
    )
    future = forecaster.make_future_dataframe()
    assert list(future.columns) == ["region", "unique_id", "ds"] and len(future) == 2 * 2 * HORIZON
    future["sun"] = future["ds"].dt.hour + 100.0 * (future["region"] == "west")
    frame = forecaster.predict(futr_df=future, n_paths=10, seed=1)
    assert np.isfinite(frame[COLUMN]).all()
    missing = forecaster.get_missing_future(future[future["region"] == "east"][1:])
    assert missing["region"].tolist() == ["east"] + ["west"] * 2 * HORIZON
    with pytest.raises(InputError, match="no group 'west'"):
        forecaster.predict(futr_df=future[future["region"] == "east"])
    with pytest.raises(InputError, match="'north' has no static covariates"):
        forecaster.predict(table[table["region"] == "west"].assign(region="north"))
    with pytest.raises(InputError, match="static_df has no group 'west'"):
        make().fit(table, static[2:], h=HORIZON, group_col="region", stat_exog_list=["height"])
    (entry, _) = [
        {"east": [1.0, 2.0], "west": [3.0, 4.0]}[group] for group in forecaster.fitted.known
    ]
    known = forecaster.fitted.known["east"]
    np.testing.assert_array_equal(known.static["height"], entry)


def test_groups_are_saved_and_cross_validated(regions, make, tmp_path):
    regions.save(tmp_path / "model")
    loaded = Forecaster.load(tmp_path / "model", progress=False)
    expected = regions.simulate(n_paths=10, seed=1)
    pd.testing.assert_frame_equal(loaded.simulate(n_paths=10, seed=1), expected)
    table = grouped("east", "west")
    late = table[(table["region"] == "east") | (table["ds"] >= "2024-01-05 09:00")]
    result = make().cross_validation(
        late, h=HORIZON, n_windows=2, group_col="region", n_paths=10, seed=1
    )
    assert list(result.columns[:4]) == ["region", "unique_id", "ds", "cutoff"]
    truth = result.merge(table, on=["region", "unique_id", "ds"], suffixes=("", "_given"))
    assert len(truth) == len(result) == 2 * 2 * 2 * HORIZON
    np.testing.assert_allclose(truth["y"], truth["y_given"])
    early = table[(table["region"] == "east") | (table["ds"] < "2024-01-07")]
    with pytest.raises(InputError, match="'west' ends at 2024-01-06 23:00:00 and group 'east'"):
        make().cross_validation(early, h=HORIZON, group_col="region")


@pytest.mark.parametrize(
    ("mistake", "sentence"),
    [
        (lambda f: f.forecast(), "no group None; give one of 'east', 'west'"),
        (lambda f: f.predict(long_frame()), "no column 'region' of groups"),
        (lambda f: f.predict(grouped("east").assign(region=None)), "row 1 .* names no group"),
        (
            lambda f: f.predict(grouped("east", "west")[:-LENGTH]),
            "group 'west' of the frame has no series 'wind'",
        ),
        (
            lambda f: f.simulate(known=long_frame(region="north")),
            "known has the group 'north'",
        ),
    ],
)
def test_groups_that_do_not_fit_get_one_sentence(regions, mistake, sentence):
    with pytest.raises(InputError, match=sentence):
        mistake(regions)


# ----------------------------------------------------------------------------------------- inputs


def test_series_that_are_inputs_only_move_the_forecast_and_are_not_forecast(make):
    """The target is what the input was an hour before."""
    rng = np.random.default_rng(0)
    sky = rng.normal(size=401)
    stamps = pd.date_range("2024-01-05", periods=400, freq="h")
    wide = pd.DataFrame({"solar": sky[:-1] + 0.05 * rng.normal(size=400), "sky": sky[1:]}, stamps)
    long = wide.rename_axis("ds").reset_index().melt("ds", var_name="unique_id", value_name="y")
    options = {"h": 1, "hist_exog_list": ["sky"]}
    model = SMALL._replace(lags=[1, 2], context_length=4)
    forecaster = make(model).fit(long, **options)
    made = forecaster.forecast(n_paths=50, seed=1)
    assert list(made.names) == ["solar"]
    assert abs(made.mean[0, 0] - sky[400]) < 0.3 < abs(wide["solar"].mean() - sky[400])
    wide_paths = make(model).fit(wide, **options).forecast(n_paths=50, seed=1).paths
    np.testing.assert_array_equal(wide_paths, made.paths)
    later = forecaster.forecast(long.sample(frac=1, random_state=0), n_paths=50, seed=1)
    np.testing.assert_array_equal(later.paths, made.paths)
    with pytest.raises(InputError, match="no column 'sky'"):
        forecaster.forecast(long[long["unique_id"] == "solar"])
    with pytest.raises(InputError, match="all series of the frame are inputs"):
        make().fit(long, h=1, hist_exog_list=["sky", "solar"])


# ---------------------------------------------------------------------------- columns and their order


def test_columns_in_another_order_give_the_same_forecast_by_names(alone):
    wide = long_frame().pivot(index="ds", columns="unique_id", values="y")
    expected = alone.forecast(n_paths=10, seed=1)
    turned = alone.forecast(wide[NAMES[::-1]], n_paths=10, seed=1)
    assert list(turned.names) == NAMES
    np.testing.assert_allclose(turned.paths, expected.paths, rtol=1e-6)


# ---------------------------------------------------------------------------------- long horizons


@pytest.mark.parametrize("model", [MODEL, SMALL], ids=["scaled", "adaptive"])
def test_a_longer_horizon_begins_as_the_plain_forecast(make, model):
    forecaster = make(model).fit(long_frame(length=200), h=HORIZON)
    plain = forecaster.forecast(n_paths=20, seed=1)
    longer = forecaster.forecast(h=3 * HORIZON - 1, n_paths=20, seed=1)
    assert longer.paths.shape == (20, 3 * HORIZON - 1, 2) and np.isfinite(longer.paths).all()
    np.testing.assert_array_equal(longer.paths[:, :HORIZON], plain.paths)
    following = pd.date_range("2024-01-05", periods=211, freq="h")[200:]
    assert list(longer.stamps) == list(following)
    assert len(np.unique(longer.paths[:, HORIZON, 0])) == 20
    np.testing.assert_array_equal(
        forecaster.forecast(h=3 * HORIZON - 1, n_paths=20, seed=1).paths, longer.paths
    )
    shorter = forecaster.forecast(h=2, n_paths=20, seed=1)
    np.testing.assert_array_equal(shorter.paths, plain.paths[:, :2])
    with pytest.raises(InputError, match="h is 0"):
        forecaster.forecast(h=0)


def test_every_path_goes_on_from_its_own_values(make):
    """A random walk: steps after the horizon spread further, and start where their paths were."""
    rng = np.random.default_rng(0)
    stamps = pd.date_range("2024-01-05", periods=800, freq="D")
    walk = pd.DataFrame({"a": rng.normal(size=800).cumsum()}, stamps)
    model = SMALL._replace(cycles=[1], lags=[1, 2], context_length=2)
    forecaster = make(model, TRAIN._replace(steps=3)).fit(walk, h=2)
    paths = forecaster.forecast(h=8, n_paths=200, seed=1).paths[..., 0]
    assert np.corrcoef(paths[:, 1], paths[:, 2])[0, 1] > 0.6
    ratio = paths[:, 7].var() / paths[:, 1].var()
    assert 2 < ratio < 7  # 8 steps and 2, of independent increments


def test_covariates_of_a_long_horizon_reach_all_of_its_steps(make):
    rng = np.random.default_rng(0)
    wind = rng.normal(size=400 + 3 * HORIZON)
    frame = long_frame(length=400, names=["a"]).assign(wind=wind[:400])
    frame["y"] = 10 + 4 * frame["wind"] + 0.1 * rng.normal(size=400)
    forecaster = make(SMALL).fit(frame, h=HORIZON, futr_exog_list=["wind"])
    future = forecaster.make_future_dataframe(h=2 * HORIZON + 2)
    future["wind"] = wind[400 : 400 + len(future)]
    made = forecaster.forecast(futr_df=future, h=2 * HORIZON + 2, n_paths=50, seed=1)
    np.testing.assert_allclose(made.mean[:, 0], 10 + 4 * future["wind"], atol=1.0)
    assert len(forecaster.get_missing_future(future[:-1], h=2 * HORIZON + 2)) == 1
    with pytest.raises(InputError, match="futr_df has no 'wind'"):
        forecaster.forecast(futr_df=future[:-1], h=2 * HORIZON + 2)


# ------------------------------------------------------------------------------------ ragged ends


@pytest.fixture(scope="module")
def twins(make):
    """Two series that go up and down together, and a forecaster of them."""
    rng = np.random.default_rng(0)
    walk = np.zeros(600)
    for t in range(1, 600):
        walk[t] = 0.5 * walk[t - 1] + rng.normal()
    stamps = pd.date_range("2024-01-05", periods=600, freq="D")
    frame = pd.DataFrame({n: walk + 0.1 * rng.normal(size=600) for n in ("a", "b")}, stamps)
    model = SMALL._replace(
        cycles=[1], lags=[1, 2], context_length=4, diffusion_steps=40, denoiser_width=32,
        beta_end=0.2,
    )  # fmt: skip
    train = TRAIN._replace(
        steps=400, steps_per_epoch=400, batch_size=32, learning_rate=1e-2, held_out=0
    )
    return make(model, train).fit(frame[:-20], h=HORIZON), frame[:-20]


def test_a_ragged_end_comes_back_exactly_and_pulls_the_other_series(twins):
    forecaster, frame = twins
    ragged = frame.copy()
    ragged.iloc[-2:, 1] = np.nan
    means = {}
    for move in (-1.0, 1.0):
        moved = ragged.copy()
        moved.iloc[-1, 0] += move
        made = forecaster.forecast(moved, ragged=True, n_paths=100, seed=1)
        assert made.paths.shape == (100, 2 + HORIZON, 2) and made.stamps[0] == frame.index[-2]
        given = moved["a"].to_numpy()[-2:]
        assert (made.paths[:, :2, 0] == given).all()
        assert (made.history_stamps == frame.index[:-2]).all()
        means[move] = made.mean[1, 1]
    # Moved by 2, the other follows with what the model has of the correlation, which is nearly 1.
    assert means[1.0] - means[-1.0] > 1.0
    again = forecaster.simulate(ragged, ragged=True, n_paths=100, seed=1)
    assert len(again) == 2 * 100 * (2 + HORIZON)


def test_a_series_that_begins_late_has_no_value_that_most_paths_share(make):
    rows = long_frame(length=400)
    late = rows[
        (rows["unique_id"] != "wind") | (rows["ds"] >= rows["ds"].min() + pd.Timedelta("320h"))
    ]
    model = make(SMALL, TRAIN._replace(held_out=2)).fit(late, h=HORIZON)
    assert model.choices["network_share"] < 1  # some paths are made of past errors
    paths = model.forecast(n_paths=100, seed=1).paths
    for d in range(2):
        for t in range(HORIZON):
            assert np.unique(paths[:, t, d], return_counts=True)[1].max() <= 10


def test_an_end_that_is_not_ragged_is_forecast_as_ever(alone):
    expected = alone.simulate(n_paths=10, seed=1)
    pd.testing.assert_frame_equal(alone.simulate(ragged=True, n_paths=10, seed=1), expected)


def test_ends_that_are_too_ragged_or_unlikely_get_one_sentence(twins):
    forecaster, frame = twins
    late = frame.copy()
    late.iloc[-HORIZON - 1 :, 1] = np.nan
    with pytest.raises(
        InputError, match=r"'b' of the frame ends 5 steps before others.*leave ragged out"
    ):
        forecaster.forecast(late, ragged=True)
    odd = frame.copy()
    odd.iloc[-1, 1] = np.nan
    odd.iloc[-1, 0] += 1000
    with pytest.raises(InputError, match="effective size"):
        forecaster.forecast(odd, ragged=True, seed=1)
    future = forecaster.make_future_dataframe(h=6)
    with pytest.raises(InputError, match="after the first 4 steps"):
        forecaster.forecast(h=6, known=future.assign(y=1.0))


# ----------------------------------------------------------------------------------------- impute


def test_imputed_cells_replace_only_missing_ones_and_lie_near_the_truth(make):
    rng = np.random.default_rng(0)
    t = np.arange(400)
    stamps = pd.date_range("2024-01-05", periods=400, freq="h")
    smooth = pd.DataFrame(
        {
            n: 10 + np.sin(2 * np.pi * (t + i) / 24) + 0.02 * rng.normal(size=400)
            for i, n in enumerate("ab")
        },
        stamps,
    )
    table = smooth.mask(rng.random(smooth.shape) < 0.05)
    table.iloc[200:207] = np.nan
    table.iloc[:3, 0] = table.iloc[-3:, 1] = np.nan
    forecaster = make(SMALL).fit(table, h=6)
    filled = forecaster.impute(n_paths=50, seed=1)
    assert list(filled.columns) == ["unique_id", "ds", "y", "imputed"]
    wide, new = (filled.pivot(index="ds", columns="unique_id", values=v) for v in ("y", "imputed"))
    outside = np.zeros(table.shape, dtype=bool)
    outside[:3, 0] = outside[-3:, 1] = True
    for d, step in enumerate((1, -1)):  # holes that lie at the ends are part of them
        column = table.iloc[::step, d].isna().to_numpy()
        run = np.cumprod(column).astype(bool)[::step]
        outside[:, d] |= run
        run = np.cumprod(table.iloc[::-step, d].isna().to_numpy()).astype(bool)[::-step]
        outside[:, d] |= run
    missing = table.isna().to_numpy()
    assert (new.to_numpy() == (missing & ~outside)).all()
    assert (wide.isna().to_numpy() == outside).all()
    kept = ~missing
    np.testing.assert_array_equal(wide.to_numpy()[kept], table.to_numpy()[kept])
    # Of the first days there is hardly a past to go by.
    errors = (wide - smooth)[72:].to_numpy()[new[72:].to_numpy()]
    assert len(errors) > 30 and np.sqrt(np.mean(errors**2)) < 0.15  # a mean's is 0.7
    pd.testing.assert_frame_equal(forecaster.impute(n_paths=50, seed=1), filled)


def test_imputing_looks_at_what_follows_the_gap(twins, capsys):
    forecaster, frame = twins
    at = 300
    values = {}
    for move in (-0.5, 0.5):
        table = frame.copy()
        table.iloc[at] = np.nan
        table.iloc[at + 1] += move
        filled = forecaster.impute(table[: at + 20], n_paths=200, seed=1, num_particles=8000)
        values[move] = filled.loc[filled["imputed"], "y"].to_numpy()
    assert (values[0.5] > values[-0.5] + 0.1).all()
    # What comes after the window is not looked at.
    table = frame.copy()
    table.iloc[at] = np.nan
    before = forecaster.impute(table[: at + 20], n_paths=50, seed=1, num_particles=8000)
    table.iloc[at + HORIZON :] += 5
    after = forecaster.impute(table[: at + 20], n_paths=50, seed=1, num_particles=8000)
    pd.testing.assert_frame_equal(after[after["imputed"]], before[before["imputed"]])
    forecaster.progress = True
    forecaster.impute(table[: at + 20], n_paths=50, seed=1, num_particles=8000)
    forecaster.progress = False
    assert "values filled in: 2 given what is known within the window" in capsys.readouterr().err


def test_a_value_that_contradicts_the_model_is_imputed_from_the_past(twins, capsys):
    forecaster, frame = twins
    table = frame[:100].copy()
    table.iloc[50, 1] = np.nan
    table.iloc[51] += 1000
    forecaster.progress = True
    filled = forecaster.impute(table, n_paths=50, seed=1)
    forecaster.progress = False
    assert np.isfinite(filled["y"]).all() and filled["imputed"].sum() == 1
    assert "values filled in: 1 given what is known at the same steps" in capsys.readouterr().err


# ------------------------------------------------------------------------------------ warm starts


def test_an_update_appends_rows_and_goes_on_from_the_weights(make):
    whole = long_frame(length=100)
    cut = whole["ds"].unique()[80]
    first = make().fit(whole[whole["ds"] < cut], h=HORIZON)
    before = {k: v.clone() for k, v in first.predictor.prediction_net.state_dict().items()}
    start = make(train=TRAIN._replace(learning_rate=1e-9, ema_decay=0.0)).fit(
        whole[whole["ds"] < cut], h=HORIZON
    )
    start._fitted = first._fitted
    start.update(whole[whole["ds"] >= cut])
    after = start.predictor.prediction_net.state_dict()
    weights = [k for k in before if "weight" in k]
    assert weights and all(np.allclose(before[k], after[k], atol=1e-5) for k in weights)
    known = start.fitted.known[None]
    np.testing.assert_array_equal(
        known.values, whole.pivot(index="ds", columns="unique_id", values="y")[NAMES]
    )
    assert start.forecast(n_paths=10).stamps[0] == whole["ds"].max() + pd.Timedelta("1h")
    first.update(whole[whole["ds"] >= cut])
    moved = first.predictor.prediction_net.state_dict()
    assert not all(np.allclose(before[k], moved[k], atol=1e-5) for k in weights)


def test_rows_of_an_update_replace_those_of_the_same_step(make):
    forecaster = make().fit(long_frame(start="2024-01-05 04:00"), h=HORIZON)
    old = forecaster.fitted.known[None].values.copy()
    rows = long_frame(length=6, start="2024-01-05 02:00")
    rows["y"] = rows["y"].mask(rows["ds"] == "2024-01-05 05:00")
    forecaster.update(rows)
    known = forecaster.fitted.known[None]
    assert known.stamps(0, 1)[0] == pd.Timestamp("2024-01-05 02:00")
    given = rows.pivot(index="ds", columns="unique_id", values="y")[NAMES].to_numpy()
    expected = np.concatenate([given[:2], old])
    expected[2:6] = np.where(np.isnan(given[2:]), expected[2:6], given[2:])
    np.testing.assert_array_equal(known.values, expected)


def test_updates_of_other_series_or_before_training_get_one_sentence(alone):
    with pytest.raises(InputError, match="no series 'wind'"):
        alone.update(long_frame(names=["load"]))
    with pytest.raises(InputError, match="call fit first"):
        Forecaster().update(long_frame())
