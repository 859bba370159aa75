"""Files that appear whole or not at all, and values in the types that strict JSON has."""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """The name under which to write a file inside; it gets its own afterwards, if nothing went wrong.

    What was there before stays if the writing fails or is interrupted.
    """
    part = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        yield part
        os.replace(part, path)
    finally:
        with suppress(OSError):  # a file system that is read-only refuses this too
            part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes a text file."""
    with whole(path) as part:
        part.write_text(text, encoding="utf-8")


def plain(value: Any) -> Any:
    """The same in types that strict JSON has: what is not finite is None, a named tuple a dictionary."""
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return value
