"""A served model: its forecasts are those of Python, every bad body is answered in one sentence."""

import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from groups import contracts, cross_checks, invariances
from tiny import HORIZON, MODEL, QUIET, TRAIN, entry, estimator

from timediff import Forecaster, TimeGradPredictor
from timediff.cli import serve
from timediff.errors import InputError

pytest.importorskip("fastapi", reason='the extra "serve" is not installed')
pytest.importorskip("prometheus_client", reason='the extra "serve" is not installed')

from fastapi.testclient import TestClient

from timediff.serving import app as service
from timediff.serving.answer import answer
from timediff.serving.app import make_app
from timediff.serving.limits import Limits
from timediff.serving.served import Served
from timediff.serving.wire import parsed

pytestmark = QUIET

HOME = Path(__file__).resolve().parents[2]
LENGTH = 60
STAMPS = pd.date_range(
    "2024-01-05", periods=LENGTH + HORIZON, freq="h", tz="Europe/Berlin", name="ds"
)


def wide(columns=("a", "b", "c")):
    values = entry(len(columns), LENGTH)["target"].T
    return pd.DataFrame(values, index=STAMPS[:LENGTH], columns=list(columns))


def fitted(frame, folder, **options):
    """A tiny forecaster, saved."""
    made = Forecaster(MODEL, TRAIN._replace(steps=2), progress=False)
    made.fit(frame, h=HORIZON, **options).save(folder)
    return Forecaster.load(folder, progress=False)


@pytest.fixture(scope="module")
def forecaster(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served") / "model"
    return fitted(wide(), folder), folder


@pytest.fixture(scope="module")
def served(forecaster):
    return Served.load(forecaster[1])


@pytest.fixture(scope="module")
def client(served):
    limits = Limits(body=60_000, paths=50, values=5000)
    with TestClient(make_app(served, limits)) as client:
        yield client


def item(frame=None, **more):
    """The item of a frame."""
    frame = wide() if frame is None else frame
    rows = [[None if np.isnan(v) else float(v) for v in row] for row in frame.to_numpy()]
    return {"target": rows, "start": frame.index[0].isoformat(), **more}


def ask(client, *items, **parameters):
    reply = client.post("/", json={"inputs": list(items), "parameters": parameters})
    assert reply.status_code == 200, reply.text
    return reply.json()


def refused(client, body, status=422):
    """The sentence of a body that is refused."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    reply = client.post("/", content=data)
    assert reply.status_code == status, reply.text
    (sentence,) = reply.json().values()
    assert "\n" not in sentence and sentence[-1] != "." and 10 < len(sentence) < 500
    return sentence


@cross_checks
def test_an_answer_is_the_forecast_of_python(client, forecaster):
    frame = wide()
    frame.iloc[7, 1] = np.nan
    reply = ask(client, item(frame), num_samples=20, quantile_levels=[0.9, 0.1], seed=3)
    expected = forecaster[0].forecast(frame, n_paths=20, seed=3)
    (output,) = reply["outputs"]
    np.testing.assert_array_equal(
        np.array(output["samples"], dtype=expected.paths.dtype), expected.paths
    )
    np.testing.assert_array_equal(output["mean"], expected.mean)
    assert [q["level"] for q in output["quantile_predictions"]] == [0.1, 0.9]
    values = [q["values"] for q in output["quantile_predictions"]]
    np.testing.assert_array_equal(values, expected.quantile([0.1, 0.9]))
    assert output["timestamps"] == [stamp.isoformat() for stamp in expected.stamps]
    assert output["channels"] == ["a", "b", "c"] and reply["seed"] == 3


@cross_checks
def test_a_predictors_folder_is_served_too(tmp_path):
    predictor = estimator(tmp_path / "runs").train([entry()])
    predictor.serialize(tmp_path / "model")
    with TestClient(make_app(Served.load(tmp_path / "model"))) as client:
        target = entry()["target"].astype(float).T.tolist()
        reply = ask(client, {"target": target, "start": "2020-01-06"}, num_samples=10, seed=2)
    (expected,) = TimeGradPredictor.deserialize(tmp_path / "model").predict(
        [entry(item_id="frame")], 10, seed=2, progress=False
    )
    np.testing.assert_allclose(reply["outputs"][0]["samples"], expected.samples, rtol=1e-6)
    assert reply["outputs"][0]["timestamps"][0] == "2020-01-08T12:00:00"
    assert reply["outputs"][0]["channels"] == [0, 1, 2]


@cross_checks
def test_covariates_and_groups_reach_the_model(tmp_path):
    rng = np.random.default_rng(0)
    rows = []
    for group in ("east", "west"):
        wind, price = rng.normal(size=LENGTH), rng.normal(size=(LENGTH, 2))
        kind = np.array(["calm", "gale"])[(wind > 0).astype(int)]
        for d, name in enumerate(["n", "s"]):
            rows.append(
                pd.DataFrame(
                    {
                        "region": group,
                        "unique_id": name,
                        "ds": STAMPS[:LENGTH],
                        "y": wind + price[:, d] + 5,
                        "wind": wind,
                        "kind": kind,
                        "price": price[:, d],
                    }
                )
            )
    frame = pd.concat(rows, ignore_index=True)
    names = {"futr_exog_list": ["wind", "kind"], "hist_exog_list": ["price"], "group_col": "region"}
    made = fitted(frame, tmp_path / "model", **names)
    future = made.make_future_dataframe()
    future["wind"], future["kind"] = 0.5, "gale"
    west = frame[frame["region"] == "west"]
    own = west.pivot(index="ds", columns="unique_id", values="y")
    wind = [*west[west["unique_id"] == "n"]["wind"], *[0.5] * HORIZON]
    kind = [*west[west["unique_id"] == "n"]["kind"], *["gale"] * HORIZON]
    price = west.pivot(index="ds", columns="unique_id", values="price").to_numpy().tolist()
    asked = item(own, group="west", future_covariates={"wind": wind, "kind": kind})
    asked["past_covariates"] = {"price": price}
    with TestClient(make_app(Served.load(tmp_path / "model"))) as client:
        reply = ask(client, asked, num_samples=10, seed=1)
        about = client.get("/model").json()
        assert about["groups"] == ["east", "west"] and about["categories"] == {
            "kind": ["calm", "gale"]
        }
        for change, words in {
            "group": (None, "name one"),
            "past_covariates": ({}, "no 'price'"),
            "future_covariates": ({"wind": wind, "kind": kind[:-1]}, "has 63 steps; give it 64"),
        }.items():
            assert words[1] in refused(client, {"inputs": [asked | {change: words[0]}]}), change
        for cells, words in {
            "null": ([*kind[:-1], None], "null at step 63"),
            "new": ([*kind[:-1], "storm"], "storm"),
            "number": ([*kind[:-1], 3], "must be a category as text"),
        }.values():
            body = {"inputs": [asked | {"future_covariates": {"wind": wind, "kind": cells}}]}
            assert words in refused(client, body)
    expected = made.forecast(frame, future, group="west", n_paths=10, seed=1)
    np.testing.assert_allclose(reply["outputs"][0]["samples"], expected.paths, rtol=1e-9)


@invariances
def test_an_output_depends_on_its_own_input_alone(client):
    first, second = item(), item(wide() * 2)
    both = ask(client, first, second, num_samples=10, seed=1)["outputs"]
    alone = [ask(client, one, num_samples=10, seed=1)["outputs"][0] for one in (first, second)]
    assert both == alone and both[0] != both[1]


@invariances
def test_requests_at_the_same_time_have_the_answers_of_requests_in_turn(served):
    bodies = [
        json.dumps(
            {"inputs": [item(wide() * (1 + k))], "parameters": {"num_samples": 20, "seed": k}}
        )
        for k in range(12)
    ]
    limits = Limits(concurrency=3, waiting=20)
    with TestClient(make_app(served, limits)) as client:
        in_turn = [client.post("/", content=body).content for body in bodies]
        with ThreadPoolExecutor(6) as pool:
            together = list(pool.map(lambda body: client.post("/", content=body).content, bodies))
    assert together == in_turn and len(set(in_turn)) == len(in_turn)


@contracts
def test_an_answer_has_what_was_asked_for(client):
    plain = ask(client, item(metadata={"who": [1, None]}))
    (output,) = plain["outputs"]
    assert set(output) == {"mean", "timestamps", "channels", "metadata"}
    assert output["metadata"] == {"who": [1, None]} and np.shape(output["mean"]) == (HORIZON, 3)
    again = ask(client, item(), seed=plain["seed"])
    assert again["outputs"][0]["mean"] == output["mean"]
    longer = ask(client, item(), prediction_length=7, num_samples=2)["outputs"][0]
    assert np.shape(longer["samples"]) == (2, 7, 3)
    assert ask(client, item(channels=["a", "b", "c"]), frequency="H")["outputs"]


@contracts
def test_what_a_client_must_know_is_told(client):
    about = client.get("/model").json()
    assert about["channels"] == ["a", "b", "c"] and about["prediction_length"] == HORIZON
    assert about["history_length"] == 9 and about["limits"]["paths"] == 50
    assert client.get("/health").json() == {"status": "ok"}
    schema = client.get("/openapi.json").json()
    fields = schema["paths"]["/"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert set(fields["properties"]) == {"inputs", "parameters"}
    referred = set(re.findall(r"#/components/schemas/(\w+)", json.dumps(schema)))
    assert referred <= set(schema["components"]["schemas"]) and "Item" in referred


def inputs(**more):
    return {"inputs": [item() | more]}


def parameters(**values):
    return {"inputs": [item()], "parameters": values}


def rows(change):
    """The target after something was done to a copy of it."""
    target = item()["target"]
    change(target)
    return inputs(target=target)


BAD = {
    "nothing": (b"", "no JSON"),
    "half": (b'{"inputs": [', "no JSON"),
    "text": (b"hello", "no JSON"),
    "latin": (b'{"inputs": "\xe9"}', "no JSON"),
    "deep": (b"[" * 5000, "no JSON"),
    "NaN": (json.dumps(rows(lambda t: t[3].__setitem__(1, float("nan")))).encode(), "no JSON"),
    "infinite": (json.dumps(rows(lambda t: t[3].__setitem__(1, 1e999))).encode(), "no JSON"),
    "a list": ([], "the body is []; it must be an object"),
    "null": (None, "the body is null; it must be an object"),
    "empty": ({}, "no field 'inputs'"),
    "no inputs": ({"inputs": []}, "inputs is empty"),
    "inputs": ({"inputs": {"target": [[1]]}}, "it must be a list"),
    "item": ({"inputs": [[[1, 2, 3]]]}, "inputs[0] is [[1, 2, 3]]; it must be an object"),
    "field": ({"inputs": [item()], "options": {}}, "the body has the field 'options'"),
    "item field": (inputs(targets=[]), "inputs[0] has the field 'targets'"),
    "parameter": (parameters(samples=3), "parameters has the field 'samples'"),
    "no target": ({"inputs": [{"start": "2024-01-05"}]}, "no field 'target'"),
    "empty target": (inputs(target=[]), "target is empty"),
    "empty row": (rows(lambda t: t[4].clear()), "target[4] is empty"),
    "flat": (inputs(target=[1.0] * LENGTH), "target[0] is 1.0; it must be a list"),
    "NaN text": (rows(lambda t: t[3].__setitem__(1, "NaN")), "inputs[0].target[3][1] is 'NaN'"),
    "a number as text": (rows(lambda t: t[3].__setitem__(1, "1")), "it must be a number or null"),
    "true": (rows(lambda t: t[3].__setitem__(1, True)), "is true; it must be a number or null"),
    "nested": (rows(lambda t: t[3].__setitem__(1, [1])), "it must be a number or null"),
    "ragged": (rows(lambda t: t[9].pop()), "target[9] has 2 channels, but the model has 3"),
    "narrow": (rows(lambda t: [row.pop() for row in t]), "target[0] has 2 channels"),
    "turned": (inputs(target=np.array(item()["target"]).T.tolist()), "has 60 channels"),
    "short": (
        rows(lambda t: t.__delitem__(slice(8, None))),
        "8 steps, but the model looks back over 9",
    ),
    "unknown": (inputs(target=[[None] * 3] * LENGTH), "null only"),
    "too large": (rows(lambda t: t[3].__setitem__(1, 1e20)), "values must be below 1e+18"),
    "no start": ({"inputs": [{"target": item()["target"]}]}, "has no start"),
    "start a number": (inputs(start=20240105), "start is 20240105; it must be a text"),
    "now": (inputs(start="now"), "write it as 2024-01-31T13:00:00"),
    "no stamp": (inputs(start="2024-13-45"), "cannot be read"),
    "half past": (inputs(start="2024-01-05T00:30:00+01:00"), "between the steps of the model"),
    "no such hour": (inputs(start="2024-03-31T02:00:00"), "is not one hour of"),
    "end of time": (inputs(start="2262-04-11T00:00:00+00:00"), "the calendar is too short"),
    "before time": (inputs(start="0001-01-01T00:00:00+00:00"), "start"),
    "frequency": (parameters(frequency="15min"), "but the model's is 'h'"),
    "no frequency": (parameters(frequency="fortnight"), "fortnight"),
    "order": (inputs(channels=["b", "a", "c"]), "give them in this order"),
    "group": (inputs(group="east"), "the model has none"),
    "past covariates": (inputs(past_covariates={"wind": [1.0] * LENGTH}), "not trained with"),
    "future covariates": (inputs(future_covariates={"wind": [1.0] * 64}), "it takes none"),
    "static covariates": (inputs(static_covariates={"size": 1.0}), "leave them out"),
    "metadata": (inputs(metadata={"a": "x" * 5000}), "more than 4096 bytes"),
    "no paths": (parameters(num_samples=0), "it must be at least 1"),
    "half a path": (parameters(num_samples=2.5), "it must be a whole number"),
    "many paths": (parameters(num_samples=51), "the server draws 50 at most"),
    "many steps": (parameters(prediction_length=10**6), "the server draws 5,000 at most"),
    "huge": (parameters(prediction_length=10**30), "it must be a whole number"),
    "no steps": (parameters(prediction_length=0), "it must be at least 1"),
    "seed": (parameters(seed=-1), "it must be at least 0"),
    "large seed": (parameters(seed=2**63), "it must be below"),
    "level": (parameters(quantile_levels=[1.5]), "it must be below 1"),
    "level twice": (parameters(quantile_levels=[0.5, 0.5]), "a level twice"),
    "body": (b" " * 60_001, "the body has more than 60,000 bytes"),
    "much larger": (b" " * 700_000, "the body has more than 60,000 bytes"),
}


@contracts
@pytest.mark.parametrize("name", BAD)
def test_a_bad_body_is_answered_in_one_sentence(client, name):
    body, words = BAD[name]
    assert words in refused(client, body)


@contracts
def test_bodies_broken_at_random_are_answered(client):
    good = json.dumps({"inputs": [item()], "parameters": {"num_samples": 1}}).encode()
    rng = np.random.default_rng(1)
    statuses = set()
    for _ in range(300):
        body = bytearray(good)
        for _ in range(rng.integers(1, 4)):
            place = int(rng.integers(len(body)))
            if rng.random() < 0.5:
                body[place] = rng.integers(256)
            else:
                del body[place : place + int(rng.integers(1, 200))]
        reply = client.post("/", content=bytes(body))
        statuses.add(reply.status_code)
        assert reply.status_code in (200, 422) and (
            reply.status_code == 200 or reply.json()["error"]
        )
    assert statuses == {200, 422}


@contracts
def test_other_paths_and_methods_are_told_where_to_go(client):
    for reply, status in ((client.get("/nowhere"), 404), (client.get("/"), 405)):
        assert reply.status_code == status and "POST / forecasts" in reply.json()["error"]


@contracts
def test_what_was_done_is_counted(served):
    with TestClient(make_app(served)) as client:
        ask(client, item(), num_samples=7)
        refused(client, b"")
        text = client.get("/metrics").text
    assert 'timediff_requests_total{status="200"} 1.0' in text
    assert 'timediff_requests_total{status="422"} 1.0' in text
    assert "timediff_paths_total 7.0" in text and "timediff_requests_under_way 0.0" in text
    assert "timediff_request_seconds_count 2.0" in text


@contracts
def test_a_request_whose_time_is_over_stops_at_its_next_step(served):
    limits = Limits(seconds=0.3, paths=1_000_000, values=1e12)
    with TestClient(make_app(served, limits)) as client:
        began = time.monotonic()
        body = {"inputs": [item()], "parameters": {"prediction_length": 10**5, "num_samples": 10}}
        assert "no answer within 0.3 seconds" in refused(client, body, 503)
        # The thread is free again: what comes next does not wait for work that nobody wants.
        assert ask(client, item(), num_samples=1)
        assert time.monotonic() - began < 20


@contracts
def test_who_finds_no_place_to_wait_is_turned_away(served, monkeypatch):
    begun, go_on = threading.Event(), threading.Event()

    def slow(*arguments):
        begun.set()
        assert go_on.wait(30)
        return answer(*arguments)

    monkeypatch.setattr(service, "answer", slow)
    limits = Limits(concurrency=1, waiting=1)
    with TestClient(make_app(served, limits)) as client, ThreadPoolExecutor(3) as pool:
        body = {"inputs": [item()], "parameters": {"num_samples": 1}}
        waiting = [pool.submit(client.post, "/", json=body) for _ in range(2)]
        assert begun.wait(30)
        while "under_way 2.0" not in client.get("/metrics").text:
            time.sleep(0.01)
        reply = client.post("/", json=body)
        assert reply.status_code == 429 and reply.headers["retry-after"]
        assert "wait for their turn" in reply.json()["error"]
        assert client.get("/health").status_code == 200
        go_on.set()
        assert [future.result().status_code for future in waiting] == [200, 200]


@contracts
def test_a_failure_of_the_model_is_told_and_kept_to_the_log(served, monkeypatch, caplog):
    def broken(*arguments):
        raise RuntimeError("secret path")

    monkeypatch.setattr(service, "answer", broken)
    with TestClient(make_app(served)) as client:
        sentence = refused(client, {"inputs": [item()]}, 500)
    assert "RuntimeError" in sentence and "secret" not in sentence
    assert "secret path" in caplog.text


@contracts
@pytest.mark.parametrize("change", ["no folder", "lead time", "covariates"])
def test_a_folder_that_cannot_be_served_is_refused(tmp_path, change):
    folder = tmp_path / "model"
    if change == "lead time":
        estimator(tmp_path / "runs", lead_time=2).train([entry()]).serialize(folder)
    if change == "covariates":
        one = entry(feat_dynamic_real=np.ones((1, 60)) * np.arange(60))
        estimator(tmp_path / "runs").train([one]).serialize(folder)
    with pytest.raises(InputError, match=r"no model|a lead time of 2|takes covariates"):
        Served.load(folder)


def started(folder, *options):
    """The command and its address, once it listens."""
    command = [sys.executable, "-m", "timediff", "serve", str(folder), "--port", "0", *options]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    line = process.stderr.readline()
    found = re.search(r"at (http://127\.0\.0\.1:\d+)$", line.strip())
    assert found, line + process.stderr.read()
    return process, found[1]


@contracts
def test_sigterm_finishes_what_runs_and_exits_143(forecaster):
    process, address = started(forecaster[1], "--max-paths", "100000", "--max-values", "1e9")
    try:
        # Some seconds of work: each path beyond the horizon is a history of its own.
        body = {"inputs": [item()], "parameters": {"num_samples": 300, "prediction_length": 12}}

        def post():
            request = urllib.request.Request(address, json.dumps(body).encode())
            with urllib.request.urlopen(request, timeout=60) as reply:
                return json.load(reply)

        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(post)
            while (
                "under_way 1.0" not in urllib.request.urlopen(f"{address}/metrics").read().decode()
            ):
                time.sleep(0.005)
            assert not running.done()
            process.send_signal(signal.SIGTERM)
            assert len(running.result()["outputs"][0]["samples"]) == 300
        assert process.wait(30) == 143
        assert process.stderr.read().strip() == (
            "timediff serve: interrupted; what was asked before is answered"
        )
    finally:
        process.kill()
        process.stderr.close()


@contracts
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--port", "70000"], "--port is 70000"),
        (["--port", "TAKEN"], "cannot be listened at"),
        (["--max-paths", "0"], "--max-paths is 0"),
        (["--max-body", "-1"], "--max-body"),
        (["--concurrency", "1000"], "--concurrency is 1000"),
        (["--device", "tpu"], "tpu"),
        ([], "holds no model"),
    ],
)
def test_options_that_cannot_be_are_one_line(tmp_path, capsys, options, words):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        options = [port if option == "TAKEN" else option for option in options]
        with pytest.raises(SystemExit) as stop:
            serve.main([str(tmp_path), "--port", "0", *options])
    said = capsys.readouterr().err
    assert stop.value.code == 2 and words in said and len(said.splitlines()) == 1


@contracts
def test_without_the_extra_its_name_is_told(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(serve, "find_spec", lambda name: None if name == "uvicorn" else name)
    with pytest.raises(SystemExit):
        serve.main([str(tmp_path)])
    assert (
        "uvicorn is not installed; install timediff with its extra [serve]"
        in capsys.readouterr().err
    )


@cross_checks
def test_the_wire_format_takes_the_request_of_the_schema():
    """The example of the task's page, and every field of its schema."""
    request = {
        "inputs": [
            {
                "target": [[120], [135], [None]],
                "start": "2024-01-01",
                "past_covariates": {"p": [1, 2, None]},
                "future_covariates": {"f": [1.0, 2, 3, 4]},
                "static_covariates": {"s": 1},
                "metadata": {"item_id": "store_42"},
            }
        ],
        "parameters": {
            "prediction_length": 1,
            "frequency": "ME",
            "quantile_levels": [0.1, 0.5, 0.9],
            "num_samples": 4,
        },
    }
    read = parsed(json.dumps(request).encode())
    assert read.model_dump(exclude_unset=True) == request


@contracts
def test_gluonts_own_shell_serves_a_saved_predictor(forecaster, tmp_path):
    pytest.importorskip("flask", reason='the extra "shell" of GluonTS is not installed')
    pytest.importorskip("waitress", reason='the extra "shell" of GluonTS is not installed')
    from gluonts.shell.env import ServeEnv
    from gluonts.shell.serve import Settings, make_flask_app

    (tmp_path / "model").symlink_to(forecaster[1] / "predictor")
    shell = make_flask_app(ServeEnv(tmp_path), None, Settings()).test_client()
    frame = wide()
    start = forecaster[0].fitted.known[None].clock.start.strftime("%Y-%m-%d %H:%M")
    instances = [
        {"start": start, "target": frame[name].tolist(), "item_id": name} for name in frame.columns
    ]
    configuration = {"freq": "h", "num_samples": 6, "output_types": ["mean", "samples"]}
    reply = shell.post(
        "/invocations", json={"instances": instances, "configuration": configuration}
    )
    assert reply.status_code == 200, reply.text
    predictions = reply.get_json()["predictions"]
    assert [np.shape(one["samples"]) for one in predictions] == [(6, HORIZON)] * 3
    assert shell.get("/ping").status_code == 200


@cross_checks
def test_the_example_of_the_page_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(HOME)
    frame = pd.read_csv("datasets/example/homes.csv").tail(500)
    fitted(frame, tmp_path / "model")
    (code,) = re.findall(
        r"```python\n(.*?)```", (HOME / "docs" / "serving.md").read_text(), re.DOTALL
    )
    process, address = started(tmp_path / "model")
    try:
        names: dict[str, object] = {}
        exec(code.replace("http://127.0.0.1:8000", address), names)
    finally:
        process.terminate()
        process.wait(30)
        process.stderr.close()
    assert np.shape(names["street"]) == (100, HORIZON)
    assert capsys.readouterr().out.startswith("2017-03-20T00:00:00-0")
