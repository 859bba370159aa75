"""A table of one's own by ``timediff evaluate``: what its columns are, its zone, and its covariates."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tiny import HORIZON, MODEL, QUIET, entry

from timediff import ModelConfig, load_dataset
from timediff.cli import evaluate
from timediff.config import RunConfig
from timediff.data.readers.contents import checksum
from timediff.errors import InputError
from timediff.reading import Reading

pytestmark = QUIET

CHANGED = {k: v for k, v in MODEL._asdict().items() if v != getattr(ModelConfig(), k)}
OPTIONS = [str(word) for name, value in CHANGED.items() for word in (f"--model.{name}", value)]
OPTIONS += ["--train.steps", "2", "--train.batch_size", "4", "--baselines", "none", "--no-report"]
OPTIONS += ["--num-samples", "4", "--horizon", str(HORIZON)]
READING = Reading("shop", "when", "sold", ["price", "kind"], ["visits"], tz="Europe/Berlin")
FLAGS = ["--id-col", "shop", "--time-col", "when", "--target-col", "sold", "--tz", "Europe/Berlin"]
FLAGS += ["--futr", "price", "kind", "--hist", "visits"]
LENGTH = 90


@pytest.fixture
def file(tmp_path, monkeypatch):
    """A long table with covariates, on the local clock of Berlin when daylight saving ends."""
    monkeypatch.chdir(tmp_path)
    stamps = pd.date_range("2024-10-25", periods=LENGTH, freq="h", tz="Europe/Berlin")
    target = entry(length=LENGTH)["target"]
    parts = [
        pd.DataFrame(
            {
                "shop": f"shop {d}",
                "when": stamps.tz_localize(None),
                "sold": row,
                "price": np.arange(LENGTH) % 5 + d,
                "kind": np.where(np.arange(LENGTH) % 7 > 4, "sunday", "plain"),
                "visits": np.arange(LENGTH) % 3,
            }
        )
        for d, row in enumerate(target)
    ]
    path = tmp_path / "sales.csv"
    pd.concat(parts).to_csv(path, index=False)
    return path


def test_columns_zone_and_covariates_are_those_that_were_said(file):
    assert evaluate.main(["--dataset", str(file), "--out", "run", *FLAGS, *OPTIONS]) == 0
    record = json.loads((Path("run") / "record.json").read_text())
    assert record["dataset"]["series"] == 3
    assert record["config"]["table"]["tz"] == "Europe/Berlin"
    details = record["entrants"]["timediff"]["per_seed"][0]["details"]
    assert len(details["shape"]["covariates"]) == 4  # price, visits, and one for each category


def test_a_configuration_file_says_the_same(file):
    Path("run.yaml").write_text(
        "id_col: shop\ntime_col: when\ntarget_col: sold\ntz: Europe/Berlin\n"
        "futr: [price, kind]\nhist: [visits]\n"
    )
    config, _ = evaluate.parse(["--dataset", str(file), "--horizon", "3", "--config", "run.yaml"])
    assert config.table == READING
    config, _ = evaluate.parse(["--dataset", str(file), "--horizon", "3", *FLAGS])
    assert config.table == READING


def test_windows_keep_their_covariates(file):
    data = load_dataset(str(file), horizon=HORIZON, reading=READING)
    last = data.test[-1]
    assert last["feat_dynamic_real"].shape == (1, 3, LENGTH)  # differs between shops
    assert last["feat_dynamic_cat"].shape == (1, 3, LENGTH)
    assert last["past_feat_dynamic_real"].shape == (1, 3, LENGTH)
    np.testing.assert_array_equal(
        last["feat_dynamic_real"][0], np.arange(LENGTH) % 5 + np.arange(3)[:, None]
    )
    np.testing.assert_array_equal(last["feat_dynamic_cat"][0, 0], np.arange(LENGTH) % 7 > 4)
    train = data.train[0]
    assert train["feat_dynamic_real"].shape[-1] == train["target"].shape[-1]


def test_other_covariates_are_other_data(file):
    data = load_dataset(str(file), horizon=HORIZON, reading=READING)
    without = load_dataset(str(file), horizon=HORIZON, reading=READING._replace(futr=[], hist=[]))
    assert without.checksum == checksum(
        [{k: v for k, v in part.items() if "feat" not in k} for part in [data.train[0], *data.test]]
    )
    assert data.checksum != without.checksum


def test_only_files_are_told_how_to_be_read():
    with pytest.raises(
        InputError, match=r"dataset oracle-8x300 is no table .* with tz; leave it out"
    ):
        load_dataset("oracle-8x300", reading=Reading(tz="Europe/Berlin"))


def test_the_way_out_is_an_option(file, capsys):
    flags = [flag for flag in FLAGS if flag not in ("--tz", "Europe/Berlin")]
    with pytest.raises(SystemExit):
        evaluate.main(["--dataset", str(file), *flags, *OPTIONS])
    assert "--tz Europe/Berlin" in capsys.readouterr().err


def test_the_default_says_nothing():
    assert RunConfig().table == Reading()


@pytest.mark.parametrize("quiet", [[], ["--quiet"]])
def test_a_log_keeps_whole_lines_and_quiet_says_nothing(file, capfd, quiet):
    run = ["--dataset", str(file), "--out", "run", "--log-file", "log.txt", "--json"]
    assert evaluate.main([*run, *quiet, *FLAGS, *OPTIONS]) == 0
    out, err = capfd.readouterr()
    json.loads(out)
    kept = Path("log.txt").read_text()
    assert "timediff, seed 1" in kept and "\r" not in kept and "\x1b" not in kept
    assert err == ("" if quiet else kept)
