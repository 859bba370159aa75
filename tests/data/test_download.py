"""Fetching from a local server: a good archive, one cut off, one with other content, none."""

import gzip
import hashlib
import io
import json
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from timediff.data import dataset as datasets
from timediff.data.catalogue import SPECS, Spec
from timediff.data.download import fetch
from timediff.errors import InputError

DIMS, HORIZON, WINDOWS, LENGTH = 3, 4, 2, 60


def archive(*, missing=(), names=("train/train.json", "test/test.json")):
    """A small set as published: bytes of the archive and the hashes of its files."""
    values = np.random.default_rng(0).normal(size=(DIMS, LENGTH + WINDOWS * HORIZON)).round(4)

    def lines(ends):
        rows = [
            {"start": "2020-01-01 00:00:00", "target": values[d, :end].tolist()}
            for end in ends
            for d in range(DIMS)
        ]
        return "".join(json.dumps(row) + "\n" for row in rows).encode()

    contents = [lines([LENGTH]), lines([LENGTH + HORIZON, LENGTH + 2 * HORIZON])]
    files = dict(zip(names, contents, strict=True))
    files |= {"metadata/metadata.json": b"{}", "train/._train.json": b"junk"}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in files.items():
            if name in missing:
                continue
            info = tarfile.TarInfo(f"tiny_nips/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    hashes = {name: hashlib.sha256(files[name]).hexdigest() for name in names}
    return buffer.getvalue(), hashes, values


CONTENT, HASHES, VALUES = archive()


@pytest.fixture
def server(monkeypatch):
    """A server whose answers the test sets by path: ``answers[path] = (content, promised size)``."""
    monkeypatch.setenv("no_proxy", "*")
    answers = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path not in answers:
                self.send_error(404)
                return
            content, length = answers[self.path]
            self.send_response(200)
            if length is not None:
                self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args):
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_port}", answers
    httpd.shutdown()
    httpd.server_close()
    thread.join()


def spec(url, **changes):
    base = Spec(
        name="tiny",
        folder="tiny_nips",
        dims=DIMS,
        series=DIMS,
        freq="H",
        prediction_length=HORIZON,
        windows=WINDOWS,
        train_length=LENGTH,
        source="made up",
        licence="none",
        url=f"{url}/tiny.tar.gz",
        originals=HASHES,
    )
    return base._replace(**changes)


def assert_one_sentence(error, *parts):
    message = str(error.value)
    assert "\n" not in message
    for part in (*parts, "citylearn2022"):
        assert part in message


def test_good_archive_becomes_a_loadable_dataset(server, tmp_path, monkeypatch, capfd):
    url, answers = server
    answers["/tiny.tar.gz"] = (CONTENT, len(CONTENT))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("TIMEDIFF_DATA", raising=False)
    monkeypatch.setitem(SPECS, "tiny", spec(url))
    with pytest.raises(InputError, match=r"is not in .*tiny_nips.*citylearn2022"):
        datasets.load_dataset("tiny", download=False)
    loaded = datasets.load_dataset("tiny")
    captured = capfd.readouterr()
    assert captured.out == "" and "download tiny" in captured.err
    np.testing.assert_array_equal(loaded.train[0]["target"], VALUES[:, :LENGTH])
    np.testing.assert_array_equal(loaded.test[-1]["target"], VALUES)
    assert not loaded.verified

    cache = tmp_path / ".gluonts" / "datasets"
    assert [path.name for path in cache.iterdir()] == ["tiny_nips"]
    answers.clear()
    again = datasets.load_dataset("tiny")  # from the cache: the server has nothing any more
    assert again.checksum == loaded.checksum


def test_gluonts_reads_the_converted_folder(server, tmp_path):
    common = pytest.importorskip("gluonts.dataset.common")
    url, answers = server
    answers["/tiny.tar.gz"] = (CONTENT, len(CONTENT))
    folder = fetch(spec(url), tmp_path)
    theirs = common.load_datasets(folder, folder / "train", folder / "test")
    assert theirs.metadata.prediction_length == HORIZON
    rows = list(theirs.test)
    assert [row["item_id"] for row in rows] == list(range(DIMS * WINDOWS))
    assert [int(row["feat_static_cat"][0]) for row in rows] == [0, 1, 2] * WINDOWS
    np.testing.assert_array_equal(rows[-1]["target"], VALUES[-1].astype(np.float32))


@pytest.mark.parametrize("promised", ["length", "nothing"])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.9])
def test_transfer_cut_off_midway(server, tmp_path, share, promised):
    url, answers = server
    part = CONTENT[: int(share * len(CONTENT))]
    answers["/tiny.tar.gz"] = (part, len(CONTENT) if promised == "length" else None)
    with pytest.raises(InputError) as error:
        fetch(spec(url), tmp_path / "cache")
    assert_one_sentence(error, "tiny", url)
    if promised == "length":
        assert f"cut off after {len(part)} of {len(CONTENT)} bytes" in str(error.value)
    assert list((tmp_path / "cache").iterdir()) == []

    answers["/tiny.tar.gz"] = (CONTENT, len(CONTENT))
    assert fetch(spec(url), tmp_path / "cache").is_dir()


@pytest.mark.parametrize("name", sorted(HASHES))
def test_wrong_hash_leaves_nothing(server, tmp_path, name):
    url, answers = server
    answers["/tiny.tar.gz"] = (CONTENT, len(CONTENT))
    with pytest.raises(InputError) as error:
        fetch(spec(url, originals=HASHES | {name: "0" * 64}), tmp_path)
    assert_one_sentence(error, name, "SHA-256", HASHES[name][:12])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "answer",
    [
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
        archive(missing=("test/test.json",))[0],
        archive(names=("train/data.json", "test/data.json"))[0],
    ],
    ids=["no archive", "no test file", "other names"],
)
def test_other_content_leaves_nothing(server, tmp_path, answer):
    url, answers = server
    answers["/tiny.tar.gz"] = (answer, len(answer))
    with pytest.raises(InputError) as error:
        fetch(spec(url), tmp_path)
    assert_one_sentence(error, "tiny")
    assert list(tmp_path.iterdir()) == []


def test_too_few_series_without_known_hash(server, tmp_path):
    url, answers = server
    answers["/tiny.tar.gz"] = (CONTENT, len(CONTENT))
    with pytest.raises(InputError) as error:
        fetch(spec(url, originals={}, windows=WINDOWS + 1), tmp_path)
    assert_one_sentence(error, "6 test series instead of 9")
    assert list(tmp_path.iterdir()) == []


def test_no_server_and_no_file(server, tmp_path):
    url, _ = server
    with pytest.raises(InputError) as error:
        fetch(spec(url), tmp_path)
    assert_one_sentence(error, "404", "tiny_nips")
    with pytest.raises(InputError) as error:
        fetch(spec("http://127.0.0.1:1"), tmp_path)
    assert_one_sentence(error, "check the network", "tiny_nips")


def test_cache_that_cannot_be_written(server, tmp_path):
    url, answers = server
    answers["/tiny.tar.gz"] = (CONTENT, len(CONTENT))
    (tmp_path / "cache").write_text("a file, no folder")
    with pytest.raises(InputError) as error:
        fetch(spec(url), tmp_path / "cache")
    assert_one_sentence(error, "cache")


def test_two_processes_finish_one_after_the_other(server, tmp_path):
    url, answers = server
    answers["/tiny.tar.gz"] = (CONTENT, len(CONTENT))
    first = fetch(spec(url), tmp_path)
    before = (first / "test" / "data.json.gz").stat().st_mtime_ns
    assert fetch(spec(url), tmp_path) == first
    assert (first / "test" / "data.json.gz").stat().st_mtime_ns == before


def test_half_written_folder_is_not_overwritten_silently(server, tmp_path):
    url, answers = server
    answers["/tiny.tar.gz"] = (CONTENT, len(CONTENT))
    (tmp_path / "tiny_nips" / "train").mkdir(parents=True)
    with pytest.raises(InputError):
        fetch(spec(url), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["tiny_nips"]


def test_nan_of_the_original_becomes_nan(server, tmp_path):
    line = b'{"start": "2020-01-01 00:00:00", "target": [1.0, NaN, 3.0, 4.0]}\n'
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, copies in (("train/t.json", 1), ("test/t.json", 1)):
            info = tarfile.TarInfo(f"x/{name}")
            info.size = len(line) * copies
            tar.addfile(info, io.BytesIO(line * copies))
    url, answers = server
    answers["/tiny.tar.gz"] = (buffer.getvalue(), len(buffer.getvalue()))
    folder = fetch(spec(url, originals={}, series=1, dims=1, windows=1), tmp_path)
    with gzip.open(folder / "train" / "data.json.gz") as lines:
        assert json.loads(lines.readline())["target"] == [1.0, None, 3.0, 4.0]
