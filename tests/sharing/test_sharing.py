"""Models shared as folders and repositories: they come back the same, and say what they are."""

import json
import pickle
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import yaml
from groups import contracts, cross_checks
from tiny import HORIZON, MODEL, QUIET, TINY, TRAIN, entry, estimator, wide_folder

import timediff
from timediff import Forecaster, InputError, from_pretrained, push_to_hub, save_pretrained
from timediff.benchmark.record import read_record
from timediff.cli import evaluate
from timediff.config import ModelConfig
from timediff.sharing.card import Facts, check_record
from timediff.sharing.hub import FILES

pytestmark = QUIET

ROOT = Path(__file__).resolve().parents[2]
STAMPS = pd.date_range("2024-01-05", periods=60, freq="h", name="ds")
FRAME = pd.DataFrame(entry(3, 60)["target"].T, index=STAMPS, columns=["a|b", "<b>", "c"])


@pytest.fixture(scope="module")
def forecaster():
    return Forecaster(MODEL, TRAIN._replace(steps=2), progress=False).fit(FRAME, h=HORIZON)


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    return estimator(tmp_path_factory.mktemp("runs")).train([entry()])


def record_of(forecaster, **facts):
    """A record that is one of this model, but for its numbers."""
    record = read_record(ROOT / "evaluation" / "results" / "citylearn2022-default")
    data = {"series": 3, "prediction_length": HORIZON, "freq": "H"} | facts
    config = record.config | {"model": forecaster.model._asdict()}
    return record._replace(dataset=record.dataset._replace(**data), config=config)


def head_of(folder):
    """The front matter of a card, and its text."""
    _, head, text = (folder / "README.md").read_text().split("---\n", 2)
    return yaml.safe_load(head), text


@contracts
@pytest.mark.parametrize("training_data", [False, True])
def test_a_forecaster_comes_back_with_its_data_or_without(forecaster, tmp_path, training_data):
    folder = tmp_path / "shared"
    save_pretrained(forecaster, folder, training_data=training_data)
    back = from_pretrained(folder, progress=False)
    expected = forecaster.forecast(FRAME, n_paths=10, seed=1).paths
    np.testing.assert_array_equal(back.forecast(FRAME, n_paths=10, seed=1).paths, expected)
    text = (folder / "README.md").read_text()
    assert ("are not here" in text) is not training_data
    kept = FRAME.to_numpy().tobytes() in (folder / "data.safetensors").read_bytes()
    as_doubles = FRAME.to_numpy().astype(np.float64).tobytes()
    kept = kept or as_doubles in (folder / "data.safetensors").read_bytes()
    assert kept is training_data
    if training_data:
        np.testing.assert_array_equal(back.forecast(n_paths=10, seed=1).paths, expected)
        return
    for ask in (back.forecast, back.simulate, back.predict, back.make_future_dataframe):
        with pytest.raises(InputError, match="without its training data; give df"):
            ask()
    with pytest.raises(InputError, match="looks back over 9"):
        back.forecast(FRAME[:5])
    # It goes on with new rows alone.
    again = back.update(FRAME + 1)
    assert again.forecast(n_paths=2, seed=1).history.shape == (60, 3)


@contracts
def test_a_predictor_comes_back(predictor, tmp_path):
    save_pretrained(predictor, tmp_path / "shared", licence="mit")
    back = from_pretrained(tmp_path / "shared")
    assert isinstance(back, timediff.TimeGradPredictor)
    first, second = (
        next(iter(one.predict([entry()], 10, seed=1, progress=False))).samples
        for one in (predictor, back)
    )
    np.testing.assert_array_equal(first, second)
    head, _ = head_of(tmp_path / "shared")
    assert head["license"] == "mit" and head["pipeline_tag"] == "time-series-forecasting"


@contracts
def test_the_card_says_scores_data_and_limits_of_the_record(forecaster, tmp_path):
    record = record_of(forecaster)
    save_pretrained(forecaster, tmp_path / "net-load", record=record, repo="someone/net-load")
    head, text = head_of(tmp_path / "net-load")
    (model,) = head["model-index"]
    (result,) = model["results"]
    assert model["name"] == "net-load" and result["dataset"]["name"] == "citylearn2022"
    values = {metric["type"]: metric["value"] for metric in result["metrics"]}
    own = record.evaluated.metrics
    assert values["mean_wquantile_loss_sum"] == own["mean_wquantile_loss_sum"]
    assert "| timediff | 0.0515 ± 0.0009 |" in text
    assert "adaptive linear is ahead of it" in text and "Too few windows (7 < 30)" in text
    assert "PyPI CityLearn 2.2b0" in text and "| MIT |" in text.replace("licence |", "|")
    assert "from_pretrained('someone/net-load')" in text
    assert r"a\|b, \<b\>, c" in text and "<b>" not in text.replace(r"\<b\>", "")
    for heading in ("## Use", "## Scores", "## Data", "## Limits"):
        assert f"\n{heading}\n" in text


@contracts
def test_a_card_without_a_record_says_so(forecaster, tmp_path):
    save_pretrained(forecaster, tmp_path / "shared")
    head, text = head_of(tmp_path / "shared")
    assert "model-index" not in head and "without the record of an evaluation" in text


@contracts
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"series": 34}, "its series are 34, and this one's 3"),
        ({"prediction_length": 24}, "steps of a forecast are 24"),
        ({"freq": "D"}, "frequency are 'D'"),
    ],
)
def test_the_record_of_another_model_is_refused(forecaster, tmp_path, change, words):
    with pytest.raises(InputError, match=words):
        save_pretrained(forecaster, tmp_path / "shared", record=record_of(forecaster, **change))
    assert not (tmp_path / "shared").exists()


@contracts
def test_a_record_with_other_options_is_refused(forecaster, tmp_path):
    record = record_of(forecaster)
    record.config["model"]["hidden_size"] = 64
    with pytest.raises(InputError, match="its hidden_size are 64, and this one's 6"):
        save_pretrained(forecaster, tmp_path / "shared", record=record)


@cross_checks
def test_the_hubs_library_reads_scores_and_licence_of_the_card(forecaster, tmp_path):
    hub = pytest.importorskip("huggingface_hub", reason='the extra "hub" is not installed')
    save_pretrained(
        forecaster, tmp_path / "shared", record=record_of(forecaster), licence="apache-2.0"
    )
    card = hub.ModelCard((tmp_path / "shared" / "README.md").read_text())
    assert card.data.license == "apache-2.0" and card.data.library_name == "timediff"
    found = {one.metric_type: one.metric_value for one in card.data.eval_results}
    assert len(found) == 5 and found["mean_wquantile_loss_sum"] == pytest.approx(0.0515, abs=1e-4)
    assert {one.task_type for one in card.data.eval_results} == {"time-series-forecasting"}


class Hub:
    """A hub in a folder, with what is asked of the library."""

    def __init__(self, folder, monkeypatch):
        self.folder, self.calls = folder, []
        made = SimpleNamespace(
            HfApi=lambda **options: self, snapshot_download=self.snapshot_download
        )
        monkeypatch.setitem(sys.modules, "huggingface_hub", made)

    def create_repo(self, repo, **options):
        self.calls.append((repo, options))
        (self.folder / repo).mkdir(parents=True, exist_ok=True)

    def upload_folder(self, *, repo_id, folder_path, delete_patterns, **options):
        for name in delete_patterns:
            (self.folder / repo_id / name).unlink(missing_ok=True)
        shutil.copytree(folder_path, self.folder / repo_id, dirs_exist_ok=True)
        return SimpleNamespace(commit_url=f"hub/{repo_id}/commit/1")

    def snapshot_download(self, repo, *, allow_patterns, **options):
        if not (self.folder / repo).is_dir():
            raise OSError("404")
        out = self.folder / "cache" / repo
        for path in (self.folder / repo).rglob("*"):
            name = str(path.relative_to(self.folder / repo))
            if path.is_file() and name in allow_patterns:
                (out / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, out / name)
        return str(out)


@contracts
def test_what_is_pushed_is_fetched_without_files_of_other_names(
    forecaster, predictor, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    hub = Hub(tmp_path / "hub", monkeypatch)
    address = push_to_hub(forecaster, "someone/net-load", private=True)
    assert address.endswith("/commit/1")
    assert hub.calls == [("someone/net-load", {"private": True, "exist_ok": True})]
    there = hub.folder / "someone/net-load"
    written = {str(path.relative_to(there)) for path in there.rglob("*") if path.is_file()}
    assert written <= set(FILES) and "README.md" in written
    (there / "model.pkl").write_bytes(pickle.dumps({}))
    back = from_pretrained("someone/net-load", progress=False)
    assert not (hub.folder / "cache/someone/net-load/model.pkl").exists()
    expected = forecaster.forecast(FRAME, n_paths=5, seed=1).paths
    np.testing.assert_array_equal(back.forecast(FRAME, n_paths=5, seed=1).paths, expected)
    # Another kind of model in its place leaves nothing of the first.
    push_to_hub(predictor, "someone/net-load")
    assert not (there / "forecaster.json").exists()
    shutil.rmtree(hub.folder / "cache")
    assert isinstance(from_pretrained("someone/net-load"), timediff.TimeGradPredictor)


@contracts
def test_a_shared_folder_that_names_a_class_has_nothing_imported(forecaster, tmp_path):
    save_pretrained(forecaster, tmp_path / "shared")
    config = tmp_path / "shared" / "predictor" / "gluonts-config.json"
    config.write_text(json.dumps({"type": "antigravity.Model"}))
    with pytest.raises(InputError, match=r"antigravity\.Model"):
        from_pretrained(tmp_path / "shared")
    assert "antigravity" not in sys.modules


@contracts
def test_what_cannot_be_shared_or_fetched_is_one_sentence(forecaster, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    save_pretrained(forecaster, tmp_path / "model")
    for call, words in {
        lambda: save_pretrained("model", "x"): "give a trained",
        lambda: save_pretrained(Forecaster(), "x"): "nothing was trained yet",
        lambda: save_pretrained(forecaster, "model"): "overwrite=True",
        lambda: save_pretrained(forecaster, "other", overwrite=True): "give another path",
        lambda: save_pretrained(forecaster, "x", record="nowhere"): "there is no record",
        lambda: push_to_hub(forecaster, "net-load"): "give owner and name",
        lambda: from_pretrained("nowhere"): "there is no folder 'nowhere'",
        lambda: from_pretrained("other"): "holds no model of timediff",
        lambda: from_pretrained("model", revision="v1"): "is a folder here",
        lambda: from_pretrained("model", device="tpu"): "tpu",
    }.items():
        with pytest.raises(InputError) as caught:
            call()
        sentence = str(caught.value)
        assert words in sentence and "\n" not in sentence
    save_pretrained(forecaster, "model", overwrite=True)
    assert {path.name for path in tmp_path.iterdir()} == {"other", "model"}
    Hub(tmp_path / "hub", monkeypatch)
    with pytest.raises(
        InputError, match=r"there is no folder some/one, .* fetched \(OSError: 404\)"
    ):
        from_pretrained("some/one")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    for call in (lambda: push_to_hub(forecaster, "a/b"), lambda: from_pretrained("a/b")):
        with pytest.raises(InputError, match=r"install timediff with its extra \[hub\]"):
            call()


@contracts
def test_the_record_of_an_evaluation_is_of_its_predictor(tmp_path):
    data, out = wide_folder(tmp_path / "data"), tmp_path / "runs"
    options = ["--baselines", "fast", "--seed", "1", *TINY]
    assert evaluate.main(["--dataset", str(data), "--out", str(out), *options]) == 0
    model = from_pretrained(out / "timediff" / "seed-1" / "predictor")
    save_pretrained(model, tmp_path / "shared", record=out)
    head, text = head_of(tmp_path / "shared")
    assert "random walk" in text and len(head["model-index"][0]["results"][0]["metrics"]) == 5
    assert (
        check_record(read_record(ROOT / "evaluation/results/citylearn2022-default"), OF_TREE)
        is None
    )


#: The model of a record of the tree: what training filled in stands in no record's options.
OF_TREE = Facts(
    kind="TimeGradPredictor",
    series=list(range(34)),
    freq="h",
    horizon=24,
    history=200,
    covariates=[],
    model=ModelConfig()._replace(difference=0, cycles=[24, 168])._asdict(),
    parameters=1,
    with_data=False,
    keeps_errors=True,
)
