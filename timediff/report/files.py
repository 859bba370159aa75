"""Files that appear whole or not at all."""

import os
from contextlib import suppress
from pathlib import Path

from timediff.errors import InputError


def write_whole(path: Path, text: str) -> None:
    """Write a text file; what was there before stays if that fails or is interrupted.

    Raises:
        InputError: It cannot be written, the disk being full, say.
    """
    part = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        part.write_text(text, encoding="utf-8")
        os.replace(part, path)
    except OSError as error:
        raise InputError(
            f"{path} cannot be written ({error.strerror}); choose a folder that exists, can be written and "
            "has space left"
        ) from error
    finally:
        with suppress(OSError):  # a file system that is read-only refuses this too
            part.unlink(missing_ok=True)
