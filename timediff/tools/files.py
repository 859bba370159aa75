"""Files that appear whole or not at all, files of strangers read within limits, values that JSON has.

A file is written beside its place under a hidden name, brought to the disk, and moved there, which file
systems do at once. What a killed process leaves under such a name is removed when the file is next written.
"""

import errno
import gzip
import json
import math
import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from timediff.errors import InputError

__all__ = [
    "DISK_FULL",
    "LARGEST_JSON",
    "LONGEST_LINE",
    "PACKED",
    "check_regular",
    "check_space",
    "lines_of",
    "plain",
    "read_json",
    "size_of",
    "tidy",
    "whole",
    "whole_folder",
    "write_text",
]

#: Bytes of a JSON file, at most.
LARGEST_JSON = 2**24
#: Bytes of a line, at most.
LONGEST_LINE = 2**27
#: How many times its size a file may unpack to, at most, and the bytes that it may in any case.
PACKED, _ANY_SIZE = 100, 2**26
#: What an `OSError` says where no space is left, or none for this user.
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
#: What it says where something may not or cannot be written.
_FORBIDDEN = (
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.EISDIR,
    errno.ENOTDIR,
    errno.ENAMETOOLONG,
)
#: Hidden names: whose they are, for a folder whether it comes or goes, and what it will be or was.
_HIDDEN = re.compile(r"\.timediff-(\d{1,9})-(?:(new|old)-)?(.+)", re.DOTALL)
#: Bytes left where a writer that gives no reason has failed for want of space.
_SCRAP = 1 << 16


def check_regular(path: Path) -> None:
    """Raises `OSError` unless a path is that of a file: a pipe would be waited for, a device has no end."""
    if path.exists() and not path.is_file():
        raise OSError(f"{path.name} is no regular file")


def read_json(path: Path, *, largest: int = LARGEST_JSON) -> Any:
    """The content of a JSON file.

    Args:
        path: Of the file.
        largest: Bytes, at most.

    Raises:
        OSError: It is not there, or no regular file.
        ValueError: It is no JSON, or too large.
    """
    check_regular(path)
    if (size := path.stat().st_size) > largest:
        raise ValueError(f"it has {size} bytes, and {largest} is the most")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def lines_of(
    path: Path, *, longest: int = LONGEST_LINE, packed: int = PACKED, any_size: int = _ANY_SIZE
) -> Iterator[bytes]:
    """The lines of a file one by one, unpacked where its name ends in .gz.

    Args:
        path: Of the file.
        longest: Bytes of a line, at most.
        packed: How many times its size it may unpack to.
        any_size: Bytes that it may unpack to in any case.

    Raises:
        OSError: It cannot be read, is no regular file, or beyond these limits.
    """
    check_regular(path)
    is_packed = path.suffix == ".gz"
    left = max(packed * path.stat().st_size, any_size)
    with gzip.open(path) if is_packed else path.open("rb") as file:
        while line := file.readline(longest + 1):
            left -= len(line)
            if len(line) > longest:
                raise OSError(f"a line of {path.name} has more than {longest} bytes")
            if is_packed and left < 0:
                raise OSError(f"{path.name} unpacks to more than {packed} times its size")
            yield line


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Temporary path to write a file to in the context, moved to ``path`` at its end.

    The file that was there before stays if the writing fails or is interrupted.

    Raises:
        InputError: The folder is not there, or not any more.
        OSError: No space is left (``ENOSPC``), whatever the writer said of it.
    """
    tidy(path.parent, path.name)
    temporary = _hidden(path)
    try:
        yield temporary
        _sync(temporary)
        os.replace(temporary, path)
    except Exception as error:
        _explain(path, error)
        raise
    finally:
        with suppress(OSError):  # a read-only file system refuses to remove files, too
            temporary.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Temporary folder to write files into in the context, moved to ``path`` at its end.

    The folder that was there before is replaced; it stays if the writing fails or is interrupted.
    Raises what `whole` does.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    tidy(path.parent, path.name, own=True)
    temporary, before = _hidden(path, "new-"), _hidden(path, "old-")
    try:
        temporary.mkdir()
        yield temporary
        for file in filter(Path.is_file, temporary.rglob("*")):
            _sync(file)
        if path.exists():
            os.replace(path, before)
        os.replace(temporary, path)
    except Exception as error:
        _explain(path, error)
        raise
    finally:
        if before.exists() and not path.exists():
            os.replace(before, path)
        for folder in (temporary, before):
            shutil.rmtree(folder, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Writes a text file."""
    with whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def tidy(folder: Path, name: str | None = None, *, own: bool = False) -> None:
    """Removes what killed processes left half-written; a folder that one had moved aside is put back.

    Args:
        folder: Where they wrote.
        name: Of the file or folder they wrote; any when left out.
        own: Whether what bears the number of this process is left from an earlier one, too.
    """
    with suppress(OSError):  # a folder that is not there, or may not be changed
        for path in sorted(folder.iterdir()):
            hidden = _HIDDEN.fullmatch(path.name)
            if hidden is None or not _gone(int(hidden[1]), own=own):
                continue
            kind, target = hidden[2], folder / hidden[3]
            if not path.is_dir():
                target = folder / path.name.split("-", 2)[2]  # "new-" may be how its name begins
            if name not in (None, target.name):
                continue
            if not path.is_dir():
                path.unlink()
            elif kind == "old" and not target.exists():
                os.replace(path, target)
            elif kind:
                shutil.rmtree(path)


def check_space(folder: Path, needed: float, what: str) -> None:
    """Raises `InputError` unless so many bytes are free where a folder is or will be."""
    there = next(place for place in (folder, *folder.absolute().parents) if place.is_dir())
    free = shutil.disk_usage(there).free
    if free < needed:
        raise InputError(
            f"{what} up to {size_of(needed)}, and {folder} has room for {size_of(free)}; free some, or "
            "choose a folder on another disk"
        )


def size_of(number: float) -> str:
    """So many bytes in words."""
    for unit in ("bytes", "kB", "MB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} GB"


def _hidden(path: Path, kind: str = "") -> Path:
    return path.with_name(f".timediff-{os.getpid()}-{kind}{path.name}")


def _gone(process: int, *, own: bool) -> bool:
    """Whether a process runs no more."""
    if process == os.getpid():
        return own
    if sys.platform == "win32":  # where no signal is harmless
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return False


def _sync(file: Path) -> None:
    """Brings a file to the disk: a power cut may otherwise leave its name without its content."""
    descriptor = os.open(file, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _explain(path: Path, error: Exception) -> None:
    """Raises an error that says more, if there is one: many a writer fails without a reason."""
    folder = path.parent
    if not folder.is_dir():
        raise InputError(
            f"the folder {folder} is not there; it was moved or deleted, or never made"
        ) from error
    code = getattr(error, "errno", None)
    if code in DISK_FULL or isinstance(error, InputError):
        return
    full = os.strerror(errno.ENOSPC)
    if full in str(error) or shutil.disk_usage(folder).free < _SCRAP:
        raise OSError(errno.ENOSPC, full, str(path)) from error
    if code in _FORBIDDEN:
        raise InputError(
            f"{path} cannot be written ({os.strerror(code)}); choose another place"
        ) from error


def plain(value: Any) -> Any:
    """A value in types that strict JSON has; numbers not finite are None, a named tuple a dictionary."""
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return value
