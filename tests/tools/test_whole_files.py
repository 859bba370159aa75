"""Files that are written whole or not at all: after a kill, on a full disk, in a folder that goes."""

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from timediff.errors import InputError
from timediff.tools.files import check_space, size_of, tidy, whole, whole_folder, write_text


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(scope="module")
def dead():
    """The number of a process that is no more."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 400 kB."""
    place = tmp_path / "disk"
    place.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(place)], capture_output=True
    )
    if done.returncode:
        pytest.skip("a small disk cannot be mounted here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def savez(path):
    np.save(path.open("wb"), np.zeros(10**6))


@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_bytes(bytes(10**6)),
        savez,
        lambda path: save_file({"a": torch.zeros(10**6)}, path),
    ],
    ids=["bytes", "numpy", "safetensors"],
)
@pytest.mark.parametrize("folder", [False, True])
def test_a_full_disk_is_one_error_whoever_writes_and_the_file_before_stays(
    small_disk, write, folder
):
    if folder:
        with whole_folder(small_disk / "a") as part:
            write_text(part / "x", "old")
    else:
        write_text(small_disk / "a", "old")
    with pytest.raises(OSError) as caught:
        if folder:
            with whole_folder(small_disk / "a") as part:
                write(part / "x")
        else:
            with whole(small_disk / "a") as part:
                write(part)
    assert caught.value.errno == errno.ENOSPC
    kept = small_disk / "a" / "x" if folder else small_disk / "a"
    assert kept.read_text() == "old" and names(small_disk) == ["a"]


def test_what_a_killed_process_left_goes_with_the_next_writing(tmp_path, dead):
    left = [f".timediff-{dead}-a", f".timediff-{dead}-new-b", f".timediff-{dead}-b"]
    for name in left:
        (tmp_path / name).write_text("half")
    for name in (f".timediff-{os.getppid()}-a", f".{dead}-a", ".a"):  # of a living one, of others
        (tmp_path / name).write_text("theirs")
    write_text(tmp_path / "a", "new")
    others = names(tmp_path)
    assert f".timediff-{dead}-a" not in others and len(others) == 6
    tidy(tmp_path)
    assert names(tmp_path) == sorted(["a", f".timediff-{os.getppid()}-a", f".{dead}-a", ".a"])


@pytest.mark.parametrize("moved", [False, True])
def test_a_folder_that_was_moved_aside_when_its_writer_was_killed_is_put_back(
    tmp_path, dead, moved
):
    old, new = (tmp_path / f".timediff-{dead}-{kind}-a" for kind in ("old", "new"))
    for place, text in ((old, "old"), (new, "new")):
        place.mkdir()
        (place / "x").write_text(text)
    if moved:  # both moves were done
        os.replace(new, tmp_path / "a")
    tidy(tmp_path, "a")
    assert (tmp_path / "a" / "x").read_text() == ("new" if moved else "old")
    assert names(tmp_path) == ["a"]


def test_a_folder_that_cannot_take_its_place_leaves_the_one_before(tmp_path, monkeypatch):
    with whole_folder(tmp_path / "a") as part:
        write_text(part / "x", "old")
    replace = os.replace

    def failing(source, target):
        if "-new-" in str(source) and Path(target).name == "a":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        replace(source, target)

    with monkeypatch.context() as patch, pytest.raises(OSError, match="Input/output error"):
        patch.setattr(os, "replace", failing)
        with whole_folder(tmp_path / "a") as part:
            (part / "x").write_text("new")
    assert names(tmp_path) == ["a"] and (tmp_path / "a" / "x").read_text() == "old"


def test_a_number_that_this_process_bears_again_is_no_obstacle(tmp_path):
    (tmp_path / f".timediff-{os.getpid()}-new-a").mkdir()
    with whole_folder(tmp_path / "a") as part:
        write_text(part / "x", "new")
    assert names(tmp_path) == ["a"] and names(tmp_path / "a") == ["x"]


KILLED = """
import os, signal, sys
from pathlib import Path
from timediff.tools import files
folder, at, call = Path(sys.argv[1]), int(sys.argv[2]), 0
def counted(original):
    def called(*args, **options):
        global call
        call += 1
        if call == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*args, **options)
    return called
os.fsync, os.replace = counted(os.fsync), counted(os.replace)
files.write_text(folder / "text", "new")
with files.whole_folder(folder / "model") as part:
    files.write_text(part / "x", "new")
print(call)
"""


def test_a_kill_at_any_moment_leaves_the_old_or_the_new(tmp_path):
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    calls = 7  # two of each file, one more of the file in the folder, two of the folder
    for at in range(1, calls + 2):
        folder = tmp_path / str(at)
        (folder / "model").mkdir(parents=True)
        for path in (folder / "text", folder / "model" / "x"):
            path.write_text("old")
        done = subprocess.run(
            [sys.executable, script, folder, str(at)],
            env=environment,
            capture_output=True,
            text=True,
        )
        assert (done.stdout == f"{calls}\n") == (at > calls), done.stderr
        tidy(folder)
        assert names(folder) == ["model", "text"] and names(folder / "model") == ["x"]
        found = [(folder / "text").read_text(), (folder / "model" / "x").read_text()]
        assert found == ["old" if at <= 2 else "new", "old" if at <= calls else "new"]


def test_a_folder_that_is_gone_and_a_place_that_is_none_are_one_sentence(tmp_path):
    folder = tmp_path / "a"
    folder.mkdir()
    with pytest.raises(InputError, match=r"the folder .*a is not there; it was moved or deleted"):
        with whole(folder / "x") as part:
            part.write_text("new")
            shutil.rmtree(folder)
    with pytest.raises(InputError, match="not there"):
        write_text(folder / "x", "new")
    assert not folder.exists()
    (tmp_path / "b").mkdir()
    with pytest.raises(InputError, match=r"b cannot be written \(Is a directory\); choose another"):
        write_text(tmp_path / "b", "new")
    assert names(tmp_path) == ["b"]


def test_space_is_counted_where_the_folder_will_be(tmp_path):
    free = shutil.disk_usage(tmp_path).free
    check_space(tmp_path / "a" / "b", free / 2, "the files take")
    with pytest.raises(
        InputError, match=r"the files take up to .* and .*b has room for .*; free some"
    ):
        check_space(tmp_path / "a" / "b", 2 * free, "the files take")
    sizes = [size_of(n) for n in (12, 5_210, 999_000, 1_500_000, 2.5e12)]
    assert sizes == ["12 bytes", "5.21 kB", "999 kB", "1.5 MB", "2.5e+03 GB"]
