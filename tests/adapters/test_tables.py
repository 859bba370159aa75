"""Wide frames of other libraries' series, as the forecaster reads them."""

import numpy as np
import pandas as pd
import pytest

from timediff import InputError
from timediff.adapters.tables import TIME, covariates, wide


@pytest.mark.contracts
def test_series_and_covariates_of_one_name_are_told_apart():
    stamps = pd.date_range("2024-01-01", periods=3, freq="D")
    frame = pd.DataFrame({0: [1, 2, 3]}, index=stamps)
    table = wide(frame, X=frame + 10)
    assert list(table) == ["0", "X 0", TIME] and covariates("X", frame) == ["X 0"]
    assert table["X 0"].tolist() == [11, 12, 13] and list(table[TIME]) == list(stamps)
    assert covariates("X", None) == []


@pytest.mark.contracts
@pytest.mark.parametrize(("freq", "third"), [("D", "2000-01-04"), ("2h", "2000-01-01 06:00")])
def test_numbers_stand_for_steps(freq, third):
    table = wide(pd.DataFrame({"a": [1.0, 2.0]}, index=[0, 3]), freq)
    assert list(table[TIME]) == [pd.Timestamp("2000-01-01"), pd.Timestamp(third)]


@pytest.mark.contracts
def test_another_index_is_refused():
    frame = pd.DataFrame({"a": [1.0]}, index=pd.to_timedelta(np.array([1]), unit="h"))
    with pytest.raises(InputError, match="TimedeltaIndex; give dates, periods or whole numbers"):
        wide(frame, "D")
