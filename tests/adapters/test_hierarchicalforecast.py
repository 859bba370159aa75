"""The summing matrix that hierarchicalforecast makes is what `Forecast.aggregate` takes."""

import numpy as np
import pandas as pd
import pytest

from timediff import Forecast

utils = pytest.importorskip(
    "hierarchicalforecast.utils", reason="hierarchicalforecast is not installed"
)

SPEC = [["country"], ["country", "region"], ["country", "region", "town"]]
TOWNS = [("north", "a"), ("north", "b"), ("south", "c")]


def table(kind):
    stamps = pd.date_range("2024-01-01", periods=5, freq="D")
    rows = [
        {"country": "X", "region": region, "town": town, "ds": stamp, "y": float(i + k)}
        for i, (region, town) in enumerate(TOWNS)
        for k, stamp in enumerate(stamps)
    ]
    frame = pd.DataFrame(rows)
    return frame if kind == "pandas" else pytest.importorskip("polars").from_pandas(frame)


@pytest.mark.cross_checks
@pytest.mark.parametrize(
    ("kind", "sparse"), [("pandas", False), ("pandas", True), ("polars", False)]
)
def test_sums_of_every_path_are_its_nodes(kind, sparse):
    _, S_df, tags = utils.aggregate(table(kind), SPEC, **({"sparse_s": True} if sparse else {}))
    names = [f"X/{region}/{town}" for region, town in TOWNS]
    paths = np.random.default_rng(0).normal(size=(7, 4, 3))
    nodes = Forecast(paths, names, pd.date_range("2024-01-06", periods=4)).aggregate(S_df)
    assert nodes.names == [node for level in tags.values() for node in level]
    by_name = dict(zip(nodes.names, np.moveaxis(nodes.paths, 2, 0), strict=True))
    np.testing.assert_allclose(by_name["X"], paths.sum(axis=2))
    np.testing.assert_allclose(by_name["X/north"], paths[:, :, :2].sum(axis=2))
    np.testing.assert_allclose(by_name["X/south/c"], paths[:, :, 2])
