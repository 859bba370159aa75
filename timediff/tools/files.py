"""Files that appear whole or not at all, and values in the types that strict JSON has."""

import math
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["plain", "whole", "whole_folder", "write_text"]


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
