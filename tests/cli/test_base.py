"""What all commands share: mistakes, interrupts, signals and full disks are answered in one line."""

import errno
import os
import signal
import subprocess
import sys

import pytest

from timediff.cli.base import import_plugins, run_command
from timediff.errors import InputError


def stopped(work, capsys):
    """Exit status and messages of a command whose work is this."""
    status = run_command("timediff x", work, kept=lambda: "what was finished is in y")
    return status, capsys.readouterr().err


def test_work_that_ends_has_status_0(capsys):
    assert stopped(lambda: None, capsys) == (0, "")


def test_a_mistake_is_one_line_and_status_2(capsys):
    def work():
        raise InputError("a is 3; it must be 4")

    with pytest.raises(SystemExit) as stop:
        run_command("timediff x", work)
    assert stop.value.code == 2
    assert capsys.readouterr().err == "timediff x: a is 3; it must be 4.\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_says_what_is_kept_and_ends_with_its_status(number, capsys):
    # A shell that starts the tests in the background has them ignore SIGINT.
    outside = signal.signal(signal.SIGINT, signal.default_int_handler)
    before = signal.getsignal(signal.SIGTERM)
    try:
        status, messages = stopped(lambda: os.kill(os.getpid(), number), capsys)
    finally:
        signal.signal(signal.SIGINT, outside)
    assert status == 128 + number
    assert messages == "\ntimediff x: interrupted; what was finished is in y\n"
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_one_line_and_status_1(number, capsys):
    def work():
        raise OSError(number, "full")

    status, messages = stopped(work, capsys)
    assert status == 1 and len(messages.splitlines()) == 1
    assert "no space left" in messages and "what was finished is in y" in messages


def test_other_errors_keep_their_traceback():
    def work():
        raise OSError(errno.EIO, "broken")

    with pytest.raises(OSError, match="broken"):
        run_command("timediff x", work)


def test_plugins_are_taken_out_of_the_arguments():
    assert import_plugins(["--a", "1", "--plugin", "json", "b"]) == ["--a", "1", "b"]
    with pytest.raises(InputError, match="--plugin needs the name of a module"):
        import_plugins(["a", "--plugin"])


@pytest.mark.parametrize(
    "arguments",
    [
        *(["timediff", "--help"], ["timediff", "--version"], ["timediff", "datasets"]),
        *(
            ["timediff", "evaluate", "--help"],
            ["timediff.datasets"],
            ["timediff.evaluate", "--help"],
        ),
    ],
    ids=" ".join,
)
def test_a_reader_that_has_seen_enough_ends_a_command_without_a_word(arguments, tmp_path):
    read, write = os.pipe()
    os.close(read)
    with open(write, "wb") as closed:
        done = subprocess.run(
            [sys.executable, "-m", *arguments], stdout=closed, stderr=subprocess.PIPE, cwd=tmp_path
        )
    # argparse itself takes no offence at a help that nobody reads.
    assert done.stderr == b"" and done.returncode in (0, 1)
