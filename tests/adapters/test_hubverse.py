"""What `Forecast.to_hubverse` writes is read by the hubverse's own package, by the schema of a hub."""

import json

import numpy as np
import pandas as pd
import pytest

from timediff import Forecast

hubdata = pytest.importorskip("hubdata", reason="hubdata, of the hubverse, is not installed")

STAMPS = pd.date_range("2024-01-06", periods=5, freq="7D")
NAMES = ["MA", "NY"]


def dates(stamps):
    return {"required": None, "optional": [str(stamp.date()) for stamp in stamps]}


def hub(folder):
    """A hub that asks for samples joint over locations and horizons, and quantiles."""
    number = {"type": "double", "minimum": 0}
    levels = {"required": [0.1, 0.9]}
    sample = {"type": "integer", "min_samples_per_task": 1, "max_samples_per_task": 100}
    task = {
        "task_ids": {
            "origin_date": dates(STAMPS),
            "target": {"required": ["y"], "optional": None},
            "horizon": {"required": None, "optional": [1, 2, 3]},
            "location": {"required": None, "optional": NAMES},
            "target_end_date": dates(STAMPS),
        },
        "output_type": {
            "quantile": {"output_type_id": levels, "value": number, "is_required": False},
            "sample": {
                "output_type_id_params": sample
                | {"compound_taskid_set": ["origin_date", "target"]},
                "value": number,
                "is_required": False,
            },
        },
        "target_metadata": [],
    }
    tasks = {"rounds": [{"round_id": "origin_date", "model_tasks": [task]}]}
    (folder / "hub-config").mkdir()
    (folder / "hub-config" / "tasks.json").write_text(json.dumps(tasks))
    admin = {"file_format": ["csv", "parquet"], "model_output_dir": "model-output"}
    (folder / "hub-config" / "admin.json").write_text(json.dumps(admin))
    return folder / "model-output" / "team-timegrad"


@pytest.mark.cross_checks
@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("quantiles", [None, [0.1, 0.9]])
def test_a_hub_reads_what_is_written(kind, quantiles, tmp_path):
    paths = np.random.default_rng(0).gamma(4, size=(9, 3, 2))
    before = {"history": np.ones((2, 2)), "history_stamps": STAMPS[:2]}
    frame = Forecast(paths, NAMES, STAMPS[2:], **before).to_hubverse(quantiles)
    folder = hub(tmp_path)
    folder.mkdir(parents=True)
    name = folder / f"2024-01-13-team-timegrad.{kind}"
    if kind == "csv":
        frame.to_csv(name, index=False)
    else:
        frame.assign(output_type_id=frame["output_type_id"].astype(float)).to_parquet(name)
    connection = hubdata.connect_hub(tmp_path)
    assert set(frame) | {"model_id"} == set(connection.schema.names)
    read = connection.to_table().to_pandas()
    pd.testing.assert_frame_equal(read[list(frame)], frame, check_dtype=False)
