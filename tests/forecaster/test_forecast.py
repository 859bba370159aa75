"""The forecast object: what is read off joint paths, and the shapes that other tools want."""

import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from timediff.errors import InputError
from timediff.forecaster.forecast import MODEL, Forecast
from timediff.metrics import central_interval

NAMES = ["north", "south", "west"]
KINDS = {"pandas": pd.DataFrame, "polars": pl.DataFrame, "pyarrow": pa.Table}


def forecast(paths=None, *, names=None, seed=0, count=40, steps=6, dim=3, freq="h", **options):
    """A forecast of correlated random walks, with a history before it."""
    if paths is None:
        rng = np.random.default_rng(seed)
        common = rng.normal(size=(count, steps, 1))
        paths = (common + 0.5 * rng.normal(size=(count, steps, dim))).cumsum(axis=1) + 10
    steps, dim = paths.shape[1:]
    start = pd.Period("2024-03-01", freq)
    stamps = pd.period_range(start - 12, periods=12 + steps).to_timestamp()
    options = {"stamps": stamps[12:], **options}
    defaults = {
        "history": np.arange(12.0 * dim).reshape(12, dim),
        "history_stamps": stamps[:12],
        "start": start,
    }
    names = NAMES[:dim] if names is None else names
    return Forecast(paths, names, **(defaults | options))


def pandas_of(frame):
    return frame if isinstance(frame, pd.DataFrame) else frame.to_pandas()


def cube(frame, *, steps=6, names=NAMES):
    """Paths ``[S, T, D]`` of a sample frame, by its labels alone."""
    frame = pandas_of(frame).sample(frac=1, random_state=1)
    wide = frame.pivot(index=["sample_id", "ds"], columns="unique_id", values=MODEL)
    return wide.sort_index()[list(names)].to_numpy().reshape(-1, steps, len(names))


@pytest.mark.parametrize("kind", KINDS)
def test_one_sample_id_is_one_joint_path(kind):
    made = forecast(kind=kind)
    frame = made.to_frame()
    assert isinstance(frame, KINDS[kind])
    assert list(pandas_of(frame).columns) == ["unique_id", "ds", "sample_id", MODEL]
    np.testing.assert_array_equal(cube(frame), made.paths)


def test_ids_keep_their_type_and_columns_their_names():
    from timediff.forecaster.frames import Columns

    made = forecast(names=[7, 11, 2], columns=Columns("meter", "when", "load"), kind="polars")
    frame = made.to_frame()
    assert frame.columns == ["meter", "when", "sample_id", MODEL]
    assert frame["meter"].dtype == pl.Int64 and frame["meter"].unique(
        maintain_order=True
    ).to_list() == [7, 11, 2]
    assert frame["when"][0] == made.stamps[0]


@pytest.mark.parametrize("kind", KINDS)
def test_zoned_stamps_stay_in_their_zone(kind):
    stamps = pd.date_range("2024-10-27 00:00", periods=6, freq="h", tz="Europe/Berlin")
    frame = pandas_of(
        forecast(kind=kind).__class__(forecast().paths, NAMES, stamps, kind=kind).to_frame()
    )
    assert str(frame["ds"].dt.tz) == "Europe/Berlin"
    assert list(frame["ds"][:6]) == list(stamps)


@given(seed=st.integers(0, 10**6), count=st.integers(1, 30))
@settings(max_examples=20, deadline=None)
def test_quantiles_of_the_frame_are_those_of_the_paths(seed, count):
    made = forecast(seed=seed, count=count)
    frame = made.to_quantile_frame(level=[80, 50], quantiles=[0.1, 0.25])
    paths = cube(made.to_frame())
    wide = {
        name: frame.pivot(index="ds", columns="unique_id", values=name)[NAMES].to_numpy()
        for name in frame
    }
    np.testing.assert_allclose(wide[MODEL], paths.mean(axis=0))
    for q, name in [
        (0.1, "lo-80"),
        (0.9, "hi-80"),
        (0.25, "lo-50"),
        (0.75, "hi-50"),
        (0.5, "median"),
    ]:
        expected = np.quantile(paths, q, axis=0, method="weibull")
        np.testing.assert_allclose(wide[f"{MODEL}-{name}"], expected)
    np.testing.assert_allclose(wide[f"{MODEL}_ql0.1"], wide[f"{MODEL}-lo-80"])
    np.testing.assert_allclose(wide[f"{MODEL}_ql0.25"], wide[f"{MODEL}-lo-50"])


def test_intervals_are_those_that_the_coverage_scores_count():
    made = forecast()
    low, high = central_interval(made.paths, level=0.9)
    np.testing.assert_allclose(made.quantile([0.05, 0.95]), [low, high])


def test_a_weighted_forecast_is_one_with_repeated_paths():
    made = forecast(count=4)
    weights = np.array([0.5, 0.25, 0.125, 0.125])
    weighted = Forecast(made.paths, NAMES, made.stamps, weights=weights)
    repeated = Forecast(np.repeat(made.paths, [4, 2, 1, 1], axis=0), NAMES, made.stamps)
    np.testing.assert_allclose(weighted.mean, repeated.mean)

    def event(paths):
        return (paths > 11).any(axis=(1, 2))

    assert weighted.probability(event) == pytest.approx(repeated.probability(event))
    q = [0.05, 0.3, 0.55, 0.8, 0.99]
    expected = np.quantile(repeated.paths, q, axis=0, method="inverted_cdf")
    np.testing.assert_allclose(weighted.quantile(q), expected)
    frame = weighted.to_frame()
    assert list(frame.columns)[-1] == "weight"
    assert frame.groupby(["unique_id", "ds"])["weight"].sum().to_numpy() == pytest.approx(1)
    assert (frame.groupby("sample_id")["weight"].first() == weights).all()


@given(seed=st.integers(0, 10**6), nodes=st.integers(1, 5))
@settings(max_examples=20, deadline=None)
def test_aggregation_commutes_with_sampling(seed, nodes):
    rng = np.random.default_rng(seed)
    made = forecast(seed=seed)
    matrix = rng.integers(-2, 3, size=(nodes, 3)).astype(float)
    order = rng.permutation(3)
    S_df = pd.DataFrame({"unique_id": [f"node {i}" for i in range(nodes)]})
    for d in order:  # columns are found by their names
        S_df[NAMES[d]] = matrix[:, d]
    summed = made.aggregate(S_df)
    frame = made.to_frame()
    for i, _name in enumerate(summed.names):
        weights = dict(zip(NAMES, matrix[i], strict=True))
        by_hand = (
            (frame[MODEL] * frame["unique_id"].map(weights))
            .groupby([frame["sample_id"], frame["ds"]])
            .sum()
        )
        mine = summed.to_frame().query("unique_id == @_name")
        np.testing.assert_allclose(mine[MODEL], by_hand, atol=1e-9)
    np.testing.assert_allclose(summed.mean, made.mean @ matrix.T, atol=1e-9)
    np.testing.assert_allclose(summed.history, made.history @ matrix.T)
    by_time = made.sum_over(3).aggregate(S_df)
    np.testing.assert_allclose(by_time.paths, summed.sum_over(3).paths, atol=1e-9)


def test_the_total_is_the_sum_of_all_and_keeps_their_dependence():
    made = forecast(count=2000)
    total = made.aggregate()
    assert total.names == ["total"]
    np.testing.assert_allclose(total.paths[..., 0], made.paths.sum(axis=2))
    # Sums of paths shuffled series by series are narrower: the walks share a part.
    rng = np.random.default_rng(1)
    alone = np.stack([made.paths[rng.permutation(2000), :, d] for d in range(3)], axis=2).sum(
        axis=2
    )
    assert total.paths[:, -1, 0].std() > 1.3 * alone[:, -1].std()


def test_a_gap_is_one_of_the_nodes_that_it_is_part_of():
    history = np.ones((12, 3))
    history[4, 1] = np.nan
    S_df = pl.DataFrame({"node": ["a", "b"], "north": [1, 1], "south": [1, 0], "west": [1, 1]})
    summed = forecast(history=history).aggregate(S_df)
    assert np.isnan(summed.history).sum() == 1 and np.isnan(summed.history[4, 0])
    assert summed.history[4, 1] == 2


def test_sums_over_time_stand_at_their_first_steps_and_end_with_the_history():
    made = forecast(steps=8).sum_over(4)
    assert list(made.stamps) == list(pd.to_datetime(["2024-03-01 00:00", "2024-03-01 04:00"]))
    assert made.history_stamps[-1] == pd.Timestamp("2024-02-29 20:00")
    assert made.history[-1, 0] == sum(range(24, 36, 3))
    assert made.start == pd.Period("2024-03-01 00:00", "4h")
    odd = forecast(
        history=np.ones((10, 3)),
        history_stamps=pd.date_range("2024-02-29 14:00", periods=10, freq="h"),
    )
    assert len(odd.sum_over(3).history) == 3 and odd.sum_over(3).history_stamps[0].hour == 15
    with pytest.raises(InputError, match="8 steps cannot be summed 3 by 3"):
        forecast(steps=8).sum_over(3)


def test_it_says_what_it_is_in_a_line():
    said = "Forecast(40 paths of 3 series over 6 steps from 2024-03-01 00:00:00 on)"
    assert repr(forecast()) == said


def test_the_probability_of_an_event_over_series_and_steps():
    made = forecast()
    late = made.stamps.hour >= 4
    total = made.paths.sum(axis=2)
    expected = np.mean([any(path[4:6] > 30) for path in total])
    assert 0 < expected < 1
    assert made.probability(lambda paths: (paths[:, late].sum(axis=2) > 30).any(axis=1)) == expected
    with pytest.raises(InputError, match="True or False for each of the 40 paths"):
        made.probability(lambda paths: paths > 30)


@pytest.mark.parametrize("dim", [1, 3])
def test_gluonts_and_back(dim):
    made = forecast(dim=dim)
    back = Forecast.from_gluonts(made.to_gluonts())
    np.testing.assert_array_equal(back.paths, made.paths)
    assert back.names == made.names and list(back.stamps) == list(made.stamps)
    assert made.to_gluonts().start_date == made.start


def test_columns_of_autogluon_and_chronos():
    made = forecast(kind="polars")
    frame = made.to_item_frame()
    assert frame.columns == ["item_id", "timestamp", "mean", *(f"0.{i}" for i in range(1, 10))]
    np.testing.assert_allclose(frame["0.3"].to_numpy().reshape(3, 6).T, made.quantile(0.3))


def test_hubverse_rows_are_paths_or_quantiles():
    made = forecast(freq="W", names=[7, 11, 2])
    frame = made.to_hubverse()
    assert set(frame["output_type"]) == {"sample"} and len(frame) == 40 * 6 * 3
    # What a hub's configuration calls dates, and sample indices, which are positive.
    assert (frame["origin_date"] == made.history_stamps[-1].date()).all()
    assert frame["output_type_id"].min() == 1 and frame["output_type_id"].max() == 40
    row = frame.query("location == '11' and horizon == 3 and output_type_id == 5")
    assert row["value"].item() == made.paths[4, 2, 1]
    assert row["target_end_date"].item() == made.stamps[2].date()
    assert "2024-02-19" in frame.to_csv(index=False).splitlines()[1].split(",")
    frame = made.to_hubverse([0.1, 0.9])
    row = frame.query("location == '11' and horizon == 3 and output_type_id == 0.9")
    assert row["value"].item() == made.quantile(0.9)[2, 1] and set(frame["output_type"]) == {
        "quantile"
    }


def test_hubverse_has_dates_in_every_kind_of_frame():
    frame = forecast(freq="D", kind="polars").to_hubverse()
    assert frame.schema["origin_date"] == frame.schema["target_end_date"] == pl.Date
    table = forecast(freq="D", kind="pyarrow").to_hubverse()
    assert pa.types.is_date32(table.schema.field("target_end_date").type)
    # Days of the local clock, also where they are not those of UTC.
    stamps = pd.date_range("2024-03-01", periods=6, freq="D", tz="Asia/Tokyo")
    made = forecast(stamps=stamps, history_stamps=stamps[:1] - pd.Timedelta("1D"))
    assert str(made.to_hubverse()["origin_date"][0]) == "2024-02-29"


def test_xarray_finds_a_path_by_its_labels():
    array = forecast().to_xarray()
    assert array.dims == ("sample_id", "ds", "unique_id")
    assert (
        array.sel(sample_id=3, ds="2024-03-01 02:00", unique_id="west") == forecast().paths[3, 2, 2]
    )
    weighted = forecast().representatives(4).to_xarray()
    assert float(weighted.weighted(weighted["weight"]).mean("sample_id")[0, 0]) == pytest.approx(
        forecast().representatives(4).mean[0, 0]
    )


@pytest.mark.parametrize(
    ("mistake", "sentence"),
    [
        (lambda: forecast(names=["a"]), "give paths"),
        (lambda: forecast(weights=np.ones(40)), "40 probabilities"),
        (lambda: forecast(kind="modin"), "one of pandas, polars, pyarrow"),
        (lambda: forecast().quantile(1.2), "levels from 0 to 1"),
        (lambda: forecast().to_quantile_frame(level=[0]), "percent between 0 and 100"),
        (
            lambda: forecast().aggregate(pd.DataFrame({"id": ["a"], "north": [1]})),
            "no column for the series south",
        ),
        (lambda: forecast().aggregate({"north": 1}), "S_df is a dict"),
        (
            lambda: forecast().aggregate(
                pd.DataFrame({"id": ["a"], **dict.fromkeys(NAMES, np.nan)})
            ),
            "missing or infinite",
        ),
        (
            lambda: forecast().aggregate(
                pd.DataFrame({"id": ["a"], **dict.fromkeys([*NAMES, "east"], 1)})
            ),
            r"no series of the forecast \(east\)",
        ),
        (lambda: forecast().representatives(41), "only 40 paths differ"),
        (lambda: forecast().representatives(5).to_gluonts(), "before representatives"),
        (lambda: forecast(freq="D").representatives(5).to_hubverse(), "before representatives"),
        (lambda: forecast(start=None).to_gluonts(), "has no start"),
        (lambda: forecast(history_stamps=None).to_hubverse(), "origin_date is not known"),
        (lambda: forecast().to_hubverse(), "call sum_over first"),
        (lambda: forecast().plot(series=["east"]), "no series 'east'"),
    ],
)
def test_a_mistake_gets_one_sentence(mistake, sentence):
    with pytest.raises(InputError, match=sentence):
        mistake()


def test_the_picture_has_the_sum_and_the_series_asked_for():
    figure = forecast().plot(series=["west", "north"], title="a title", unit="MW")
    assert [axes.get_title("left") for axes in figure.axes] == [
        "Sum of the 3 series",
        "west",
        "north",
    ]
    middle = figure.axes[0].get_lines()[1].get_ydata()[1:]  # after the last value of the history
    assert np.abs(middle - np.median(forecast().paths.sum(axis=2), axis=0)).max() < 0.5
    scenarios = forecast().representatives(5).plot(total=False)
    assert len(scenarios.axes) == 3
    assert sum(len(line.get_xdata()) == 7 for line in scenarios.axes[0].get_lines()) == 5


@pytest.mark.parametrize("tz", [None, "Europe/Berlin"])
def test_the_page_to_look_about_in_has_every_series_and_their_sum(tz):
    pytest.importorskip("plotly", reason="the extra interactive draws these pages")
    made = forecast()
    made = replace(made, stamps=made.stamps.tz_localize(tz))
    page = made.to_html(title="a <title>", unit="MW")
    assert "a &lt;title&gt;" in page and (f"on the clock of {tz}" in page) == (tz is not None)
    look = json.loads(re.search(r'id="look">(.*?)</script>', page, re.DOTALL)[1])
    names = [str(name) for name in made.names]
    assert look["names"] == [f"sum of the {len(names)} series", *names] and set(look["units"]) == {
        "MW"
    }
    (shown,) = look["windows"]
    sums = made.aggregate()
    np.testing.assert_allclose(shown["quantiles"][0][4], sums.quantile(0.95)[:, 0], rtol=1e-4)
    np.testing.assert_allclose(shown["quantiles"][2][1], made.quantile(0.25)[:, 1], rtol=1e-4)
    history = made.history[-24:].sum(axis=1)
    np.testing.assert_allclose(shown["observed"][0][: len(history)], history, rtol=1e-4)
    assert shown["observed"][0][len(history) :] == [None] * len(made.stamps)
    tenth = np.asarray(shown["peaks"][0]["limits"])[np.asarray(shown["peaks"][0]["chance"]) <= 0.1][
        0
    ]
    assert made.probability(lambda paths: (paths.sum(axis=2) > tenth * 1.0001).any(axis=1)) <= 0.1
    with pytest.raises(InputError, match="scenarios"):
        made.representatives(5).to_html()
