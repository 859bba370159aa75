"""Files of strangers read within limits, files that appear whole or not at all, values that JSON has."""

import gzip
import json
import math
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

__all__ = [
    "LARGEST_JSON",
    "LONGEST_LINE",
    "PACKED",
    "check_regular",
    "lines_of",
    "plain",
    "read_json",
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
    """
    temporary = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        with suppress(OSError):  # a read-only file system refuses to remove files, too
            temporary.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Temporary folder to write files into in the context, moved to ``path`` at its end.

    The folder that was there before is replaced; it stays if the writing fails or is interrupted.
    """
    temporary, before = (
        path.with_name(f".{os.getpid()}-{name}-{path.name}") for name in ("new", "old")
    )
    temporary.mkdir(parents=True)
    try:
        yield temporary
        if path.exists():
            os.replace(path, before)
        try:
            os.replace(temporary, path)
        except OSError:
            if before.exists():
                os.replace(before, path)
            raise
    finally:
        for folder in (temporary, before):
            shutil.rmtree(folder, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Writes a text file."""
    with whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


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
