"""A served model under load: requests a second, seconds to an answer, memory, broken bodies.

    python evaluation/benchmarks/serving.py [--requests 10000] [--clients 2]

``timediff serve`` runs as a process of its own and listens at 127.0.0.1; clients of this machine send one
request after another over connections that stay open. First a tiny network with few paths, so that what is
measured is the service, and its memory over many requests; then the default network on the example table,
with 100 paths. One request in twenty is broken, and must be answered with 422 and a sentence. At the end
SIGTERM comes while a forecast runs, which must be answered before the process ends.
"""

import argparse
import http.client
import json
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import numpy as np
import pandas as pd

from timediff import Forecaster, ModelConfig, TrainConfig
from timediff.tools.files import plain, write_text
from timediff.tools.machine import commit, hardware

HERE = Path(__file__).parent
HOMES = HERE.parents[1] / "datasets" / "example" / "homes.csv"
#: Times that memory is looked at over all requests.
LOOKS = 10
#: One request in so many is broken.
BROKEN = 20
TINY = ModelConfig(
    num_layers=1,
    hidden_size=8,
    lags=[1, 24],
    context_length=24,
    cond_size=8,
    denoiser_layers=1,
    denoiser_width=16,
)


def waves(series: int, steps: int) -> pd.DataFrame:
    """Hourly waves with noise."""
    rng = np.random.default_rng(1)
    hours = np.arange(steps)[:, None] + np.arange(series)
    values = 2 + np.sin(2 * np.pi * hours / 24) + 0.2 * rng.normal(size=(steps, series))
    index = pd.date_range("2024-01-01", periods=steps, freq="h", name="ds")
    return pd.DataFrame(values, index=index, columns=[f"series {d}" for d in range(series)])


def trained(name: str, folder: Path) -> dict[str, Any]:
    """A request to a model that is trained, barely, and saved in a folder."""
    # Without held-out windows all paths are the network's.
    train = TrainConfig(steps=20, seed=1, held_out=0)
    if name == "tiny":
        frame, model, horizon, paths = waves(3, 24 * 30), TINY, 4, 5
    else:
        frame, model, horizon, paths = pd.read_csv(HOMES), ModelConfig(), 24, 100
    forecaster = Forecaster(model, train, progress=False).fit(frame, h=horizon)
    forecaster.save(folder)
    known = forecaster.fitted.known[None]
    last = min(forecaster.fitted.history_length, len(known.values))
    rows = known.values[-last:]
    return {
        "inputs": [
            {
                "target": [[None if np.isnan(v) else float(v) for v in row] for row in rows],
                "start": known.stamps(len(known.values) - last, 1)[0].isoformat(),
            }
        ],
        "parameters": {"num_samples": paths, "seed": 1},
    }


def broken_bodies(request: dict[str, Any]) -> list[bytes]:
    """Bodies that no forecast can be made of."""

    def changed(**more: Any) -> bytes:
        return json.dumps({**request, "inputs": [request["inputs"][0] | more]}).encode()

    target, good = request["inputs"][0]["target"], json.dumps(request).encode()
    return [
        b"",
        b"\xff\xfe",
        b"[" * 10_000,
        good[: len(good) // 2],
        good.replace(b"[", b"{"),
        b" " * 17_000_000,
        changed(target=target[:3]),
        changed(target=[row[:-1] for row in target]),
        changed(target=[["NaN" for _ in row] for row in target]),
        changed(target=[[float("nan") for _ in row] for row in target]),
        changed(start="yesterday"),
        changed(unknown=1),
        json.dumps({**request, "parameters": {"num_samples": 10**9}}).encode(),
    ]


@contextmanager
def service(model: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The process of ``timediff serve`` and its port."""
    command = [sys.executable, "-m", "timediff", "serve", str(model), "--port", "0", *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            found = re.search(r":(\d+)$", process.stderr.readline().strip())
            assert found, process.stderr.read()
            yield process, int(found[1])
        finally:
            process.kill()


def post(connection: http.client.HTTPConnection, body: bytes) -> tuple[int, Any]:
    """Status and content of an answer."""
    connection.request("POST", "/", body, {"Content-Type": "application/json"})
    reply = connection.getresponse()
    return reply.status, json.loads(reply.read())


def resident(process: int) -> int:
    """Bytes of memory that a process holds (Linux)."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


class Load:
    """Clients that send requests until there were enough.

    Args:
        process: Of the service, whose memory is looked at.
        port: Of it.
        request: A good one.
        count: Requests in all.
    """

    def __init__(self, process: int, port: int, request: dict[str, Any], count: int) -> None:
        self.process, self.port, self.count = process, port, count
        self.good, self.bad = json.dumps(request).encode(), broken_bodies(request)
        self.lock, self.sent = threading.Lock(), 0
        self.seconds: list[float] = []
        self.statuses = {"good": Counter[int](), "broken": Counter[int]()}
        self.memory: list[int] = []
        self.first: Any = None

    def run(self, clients: int) -> float:
        """Seconds until all requests are answered."""
        threads = [threading.Thread(target=self._client) for _ in range(clients)]
        began = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return time.monotonic() - began

    def _client(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        while True:
            with self.lock:
                number, self.sent = self.sent, self.sent + 1
                if number < self.count and number % max(self.count // LOOKS, 1) == 0:
                    self.memory.append(resident(self.process))
            if number >= self.count:
                return
            is_broken = number % BROKEN == BROKEN - 1
            body = self.bad[number // BROKEN % len(self.bad)] if is_broken else self.good
            began = time.monotonic()
            status, content = post(connection, body)
            took = time.monotonic() - began
            with self.lock:
                self.statuses["broken" if is_broken else "good"][status] += 1
                if is_broken:
                    assert status == 422 and isinstance(content["error"], str), (status, content)
                    continue
                self.seconds.append(took)
                self.first = self.first or content
                assert content == self.first  # the same seed, the same forecast


def stopped(process: subprocess.Popen[str], port: int, request: dict[str, Any]) -> dict[str, Any]:
    """How a service ends to which SIGTERM comes while a forecast runs."""
    longer = {**request, "parameters": {"num_samples": 300, "prediction_length": 60, "seed": 1}}
    answers: list[tuple[int, Any]] = []

    def ask() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        answers.append(post(connection, json.dumps(longer).encode()))

    thread = threading.Thread(target=ask)
    thread.start()
    time.sleep(0.5)
    running = not answers
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    status = process.wait(120)
    thread.join()
    return {
        "was_running": running,
        "answered": answers[0][0] if answers else None,
        "exit_status": status,
        "seconds": time.monotonic() - began,
    }


def measure(name: str, requests: int, clients: int, concurrency: int) -> dict[str, Any]:
    """The row of a model."""
    with tempfile.TemporaryDirectory(prefix="timediff-") as place:
        model = Path(place) / "model"
        request = trained(name, model)
        with service(model, "--concurrency", str(concurrency)) as (process, port):
            Load(process.pid, port, request, 20).run(1)  # what is loaded at the first requests
            load = Load(process.pid, port, request, requests)
            took = load.run(clients)
            load.memory.append(resident(process.pid))
            ending = stopped(process, port, request)
    half = load.memory[len(load.memory) // 2]
    return {
        "model": name,
        "channels": len(request["inputs"][0]["target"][0]),
        "history": len(request["inputs"][0]["target"]),
        "steps": len(load.first["outputs"][0]["mean"]),
        "paths": request["parameters"]["num_samples"],
        "requests": requests,
        "clients": clients,
        "concurrency": concurrency,
        "requests_per_second": requests / took,
        "milliseconds": {
            "median": 1000 * median(load.seconds),
            "p99": 1000 * quantiles(load.seconds, n=100)[98],
            "most": 1000 * max(load.seconds),
        },
        "memory_megabytes": [round(size / 1e6, 1) for size in load.memory],
        "growth_of_second_half": load.memory[-1] / half - 1,
        "answers": {kind: dict(counts) for kind, counts in load.statuses.items()},
        "stop": ending,
    }


def run(options: argparse.Namespace) -> dict[str, Any]:
    """The record."""
    sizes = {"tiny": options.requests, "default": max(options.requests // 50, 20)}
    return {
        "models": [
            measure(name, count, options.clients, options.concurrency)
            for name, count in sizes.items()
        ],
        "commit": commit(),
        "hardware": hardware("cpu"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--requests", type=int, default=10_000, help="to the tiny model")
    parser.add_argument("--clients", type=int, default=2)
    parser.add_argument("--concurrency", type=int, default=1, help="forecasts made at a time")
    parser.add_argument("--out", type=Path, default=HERE.parent / "results" / "serving.json")
    options = parser.parse_args()
    record = plain(run(options))
    write_text(options.out, json.dumps(record, indent=1) + "\n")
    for row in record["models"]:
        times, memory, stop = row["milliseconds"], row["memory_megabytes"], row["stop"]
        print(
            f"{row['model']}: {row['requests_per_second']:.1f} requests/s, median {times['median']:.1f} ms, "
            f"99 % {times['p99']:.1f} ms, memory {memory[0]:g} to {memory[-1]:g} MB, answers "
            f"{row['answers']}, SIGTERM: {stop['answered']}, exit {stop['exit_status']}"
        )


if __name__ == "__main__":
    main()
