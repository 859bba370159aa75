"""Covariates: each value stands at its step and series in the entry that the model takes."""

import numpy as np
import pandas as pd
import polars as pl
import pytest

from timediff.errors import InputError
from timediff.forecaster import reading
from timediff.forecaster.frames import Columns
from timediff.forecaster.known import entry_of
from timediff.forecaster.rows import future_covariates

HORIZON, LENGTH = 3, 12
NAMES = ["b", "a"]


def read_training(*args):
    """Of the only group."""
    known, *rest = reading.read_training(*args)
    return known[None], *rest


def read_known(*args, **options):
    known, *rest = reading.read_known(*args, **options)
    return known[None], *rest


def frame(*, zone=None):
    """Two series with covariates that say where they stand: step + 100 * series."""
    stamps = pd.date_range("2024-01-05", periods=LENGTH + HORIZON, freq="h", tz=zone)
    parts = []
    for d, name in enumerate(NAMES):
        step = np.arange(LENGTH + HORIZON)
        part = {
            "unique_id": name,
            "ds": stamps,
            "y": step + 0.5,
            "wind": step + 100.0 * d,
            "seen": -step - 100.0 * d,
        }
        parts.append(pd.DataFrame(part).assign(sky=np.where((step + d) % 3, "clear", "rain")))
    return pd.concat(parts, ignore_index=True)


STATIC = pd.DataFrame({"unique_id": ["a", "b"], "height": [5.0, 7.0], "kind": ["sea", "land"]})
LISTS = (["wind", "sky"], ["seen"], ["height", "kind"])


def split(table):
    """Training rows, and rows of the future without targets."""
    first = table["ds"].drop_duplicates().iloc[LENGTH]
    return table[table["ds"] < first], table[table["ds"] >= first].drop(columns=["y", "seen"])


def trained(table=None, static=STATIC, lists=LISTS):
    past, future = split(frame() if table is None else table)
    known, layout, _ = read_training(past, static, Columns(), None, None, *lists)
    return known, layout, future


@pytest.mark.parametrize("static", [STATIC, STATIC[::-1]], ids=["", "reversed"])
@pytest.mark.parametrize("kind", ["pandas", "polars"])
def test_every_value_stands_at_its_step_and_series(kind, static):
    table = frame().sample(frac=1, random_state=3)
    past, future = split(table.sort_values("ds", kind="stable"))
    shuffled = [part.sample(frac=1, random_state=4) for part in (past, future)]
    if kind == "polars":
        shuffled = [pl.from_pandas(part) for part in shuffled]
    known, layout, _ = read_training(shuffled[0], static, Columns(), None, None, *LISTS)
    rows = future_covariates(shuffled[1], known, layout, HORIZON)
    entry = entry_of(known, layout, rows)
    own = [NAMES.index(name) for name in layout.names]
    step = np.arange(LENGTH + HORIZON)
    np.testing.assert_array_equal(entry["target"], np.tile(step[:LENGTH] + 0.5, (2, 1)))
    np.testing.assert_array_equal(entry["feat_dynamic_real"], [[step + 100 * d for d in own]])
    np.testing.assert_array_equal(
        entry["past_feat_dynamic_real"], [[-step[:LENGTH] - 100 * d for d in own]]
    )
    assert layout.categories == {"sky": ["clear", "rain"], "kind": ["land", "sea"]}
    np.testing.assert_array_equal(entry["feat_dynamic_cat"], [[(step + d) % 3 == 0 for d in own]])
    np.testing.assert_array_equal(entry["feat_static_real"], [[{0: 7, 1: 5}[d] for d in own]])
    np.testing.assert_array_equal(entry["feat_static_cat"], [own])
    assert entry["info"]["covariates"]["feat_dynamic_real"] == ["wind"]
    assert entry_of(known, layout)["feat_dynamic_real"].shape == (1, 2, LENGTH)


def test_covariates_of_a_wide_frame_are_common_to_all_series():
    index = pd.date_range("2024-01-05", periods=LENGTH + HORIZON, freq="h", name="ds")
    step = np.arange(LENGTH + HORIZON)
    table = pd.DataFrame({"a": step, "b": step + 1, "wind": step * 2.0, "seen": -step}, index=index)
    known, layout, _ = read_training(
        table[:LENGTH], None, Columns(), None, None, ["wind"], ["seen"], []
    )
    rows = future_covariates(table[["wind"]][LENGTH:].reset_index(), known, layout, HORIZON)
    entry = entry_of(known, layout, rows)
    np.testing.assert_array_equal(entry["feat_dynamic_real"], [step * 2])
    np.testing.assert_array_equal(entry["past_feat_dynamic_real"], [-step[:LENGTH]])
    # Rows of each series will do if they agree.
    each = pd.concat([table[["wind"]][LENGTH:].reset_index().assign(unique_id=n) for n in "ab"])
    again = future_covariates(each, known, layout, HORIZON)
    np.testing.assert_array_equal(again["wind"], rows["wind"])
    each.iloc[0, each.columns.get_loc("wind")] += 1
    with pytest.raises(InputError, match="differs between series"):
        future_covariates(each, known, layout, HORIZON)


def test_a_covariate_that_is_the_same_for_all_series_is_common_in_a_long_frame_too():
    table = frame()
    table["wind"] = table["wind"] % 100
    late = table[(table["unique_id"] == "b") | (table["ds"] >= "2024-01-05 04:00")]
    known, layout, future = trained(late)
    assert layout.common == ["wind"]
    rows = future_covariates(future, known, layout, HORIZON)
    entry = entry_of(known, layout, rows)
    np.testing.assert_array_equal(entry["feat_dynamic_real"], [np.arange(LENGTH + HORIZON)])
    assert entry["feat_dynamic_cat"].shape == (1, 2, LENGTH + HORIZON)
    once = future.assign(sky="rain")[future["unique_id"] == "a"]
    with pytest.raises(InputError, match="no 'sky' of 'b'"):
        future_covariates(once, known, layout, HORIZON)
    np.testing.assert_array_equal(known.dynamic["wind"], np.arange(LENGTH))
    # Covariates of one field are common together, or not at all.
    known, layout, _ = trained(
        late.assign(more=late["y"] * 0 + (late["unique_id"] == "a")),
        lists=(["wind", "more"], [], ["kind"]),
    )
    assert layout.common == [] and entry_of(known, layout)["feat_dynamic_real"].shape == (
        2,
        2,
        LENGTH,
    )


def test_a_wide_frame_after_a_long_one_gives_each_series_the_same():
    _, layout, _ = trained()
    step = np.arange(LENGTH)
    wide = pd.DataFrame(
        {"b": step + 0.5, "a": step + 0.5, "wind": step * 1.0, "seen": -step, "sky": "rain"},
        index=pd.date_range("2024-01-05", periods=LENGTH, freq="h"),
    )
    options = {
        "columns": Columns(),
        "freq": "h",
        "tz": None,
        "futr": layout.futr,
        "hist": layout.hist,
    }
    again, _, _ = read_known(wide, layout=layout, **options)
    np.testing.assert_array_equal(again.dynamic["wind"], np.stack([step, step], axis=1))


def test_a_covariate_that_starts_late_is_unknown_before():
    table = frame()
    table = table[(table["unique_id"] == "b") | (table["ds"] >= "2024-01-05 04:00")]
    known, layout, _ = trained(table)
    entry = entry_of(known, layout)
    late = layout.names.index("a")
    assert np.isnan(entry["feat_dynamic_real"][0, late, :4]).all()
    assert np.isnan(entry["feat_dynamic_cat"][0, late, :4]).all()
    assert np.isfinite(entry["feat_dynamic_cat"][0, late, 4:]).all()


def test_rows_after_the_forecast_and_before_it_are_left_out():
    known, layout, future = trained()
    more = future.assign(ds=future["ds"] + pd.Timedelta(hours=HORIZON), wind=-1.0)
    before = future.assign(ds=future["ds"] - pd.Timedelta(hours=HORIZON), wind=-2.0)
    rows = future_covariates(pd.concat([more, before, future]), known, layout, HORIZON)
    np.testing.assert_array_equal(
        rows["wind"], future_covariates(future, known, layout, HORIZON)["wind"]
    )


def test_local_stamps_find_their_steps():
    known, layout, future = trained(frame(zone="Europe/Berlin"))
    rows = future_covariates(future, known, layout, HORIZON)
    utc = future.assign(ds=future["ds"].dt.tz_convert("UTC"))
    local = future.assign(ds=future["ds"].dt.tz_localize(None))
    text = future.assign(ds=future["ds"].astype(str))
    for other in (utc, local, text):
        np.testing.assert_array_equal(
            future_covariates(other, known, layout, HORIZON)["wind"], rows["wind"]
        )


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda f: None, r"needs the future of 'wind', 'sky'; give futr_df"),
        (lambda f: f.drop(columns="wind"), "no column 'wind'"),
        (lambda f: f.drop(columns="unique_id")[:HORIZON], "each series has its own 'wind'"),
        (lambda f: f[f["ds"] < f["ds"].max()], r"no 'wind' of '[ab]' at 2024-01-05 14:00"),
        (
            lambda f: f.assign(wind=f["wind"].where(f["wind"] != 113)),
            "no 'wind' of 'a' at 2024-01-05 13:00",
        ),
        (
            lambda f: f.assign(sky="snow"),
            r"'sky' of futr_df has the category 'snow'.*'clear', 'rain'",
        ),
        (lambda f: f.assign(sky=1.0), "holds numbers, but categories"),
        (lambda f: f.assign(wind="strong"), "holds categories, but numbers"),
        (lambda f: f.assign(unique_id="c"), "series 'c', which the model was not trained on"),
        (lambda f: pd.concat([f, f[:1]]), "same step as one before"),
        (lambda f: f.assign(ds=f["ds"] + pd.Timedelta("10min")), "between the steps"),
        (lambda f: f.assign(ds="tomorrow"), "cannot be read, such as 'tomorrow'"),
        (
            lambda f: f.assign(ds=f["ds"].dt.tz_localize("UTC")),
            "have a zone, but those of the data none",
        ),
    ],
)
def test_a_future_that_does_not_fit_gets_one_sentence(change, sentence):
    known, layout, future = trained()
    with pytest.raises(InputError, match=sentence):
        future_covariates(change(future), known, layout, HORIZON)


@pytest.mark.parametrize(
    ("static", "sentence"),
    [
        (STATIC[:1], "0 rows of the series 'b'"),
        (pd.concat([STATIC, STATIC]), "2 rows of the series"),
        (STATIC.drop(columns="kind"), "static_df has no column 'kind'"),
        (None, "go together"),
        (STATIC.rename(columns={"kind": "wind"}), "static_df has no column 'kind'"),
    ],
)
def test_static_frames_that_do_not_fit(static, sentence):
    with pytest.raises(InputError, match=sentence):
        trained(static=static)


def test_later_frames_must_have_the_covariates_and_categories():
    known, layout, _ = trained()
    past, _ = split(frame())
    options = {
        "columns": Columns(),
        "freq": "h",
        "tz": None,
        "futr": layout.futr,
        "hist": layout.hist,
    }
    again, _, _ = read_known(past, layout=layout, **options)
    np.testing.assert_array_equal(again.dynamic["sky"], known.dynamic["sky"])
    with pytest.raises(InputError, match="no column 'seen'"):
        read_known(past.drop(columns="seen"), layout=layout, **options)
    with pytest.raises(InputError, match="category 'fog'"):
        read_known(past.assign(sky="fog"), layout=layout, **options)


def test_a_column_has_one_role():
    with pytest.raises(InputError, match="'wind' of the frame has two roles"):
        trained(lists=(["wind"], ["wind"], ["kind"]))
    with pytest.raises(InputError, match="'seen' is a static covariate and another"):
        trained(lists=(["wind"], ["seen"], ["kind", "seen"]))


def test_names_may_stand_in_the_index():
    known, layout, future = trained()
    past, _ = split(frame())
    again, other, _ = read_training(
        past.set_index("unique_id"), STATIC.set_index("unique_id"), Columns(), None, None, *LISTS
    )
    assert other == layout
    np.testing.assert_array_equal(again.dynamic["wind"], known.dynamic["wind"])
    rows = future_covariates(future, known, layout, HORIZON)
    for index in ("unique_id", ["unique_id", "ds"]):
        indexed = future_covariates(future.set_index(index), known, layout, HORIZON)
        np.testing.assert_array_equal(indexed["wind"], rows["wind"])
