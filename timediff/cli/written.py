"""Files that a command writes: frames by their ending, pictures; and whether they can be written at all."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

from timediff.errors import InputError

if TYPE_CHECKING:
    from pandas import DataFrame

    from timediff.forecaster.forecast import Forecast

__all__ = ["check_file", "check_folder", "draw", "write_frame"]

_FRAMES = (".csv", ".parquet", ".feather")
_PAGE = ".html"
_PICTURES = (".png", ".svg", ".pdf", _PAGE)
#: What `timediff.forecaster.saved` writes.
_SAVED = "forecaster.json"


def check_file(option: str, path: Path | None, *, read: list[Path | None]) -> None:
    """Raises `InputError` unless a file can be written there that is none of those that are read."""
    if path is None:
        return
    endings = _PICTURES if option == "--plot" else _FRAMES
    if option != "--log-file" and path.suffix.lower() not in endings:
        raise InputError(f"{option} is {path}; give it one of the endings {', '.join(endings)}")
    if option == "--plot" and path.suffix.lower() == _PAGE:
        from timediff.report.interactive import check_plotly

        check_plotly()
    if path.is_dir():
        raise InputError(f"{option} is {path}, a folder; give it a file")
    if not path.parent.is_dir():
        raise InputError(f"the folder {path.parent} of {option} is not there; make it first")
    if any(other is not None and path.resolve() == other.resolve() for other in read):
        raise InputError(f"{option} is {path}, which is read; give it another file")


def check_folder(option: str, folder: Path | None) -> None:
    """Raises `InputError` unless a model can be saved there."""
    if folder is None or not folder.exists():
        return
    if not folder.is_dir() or (any(folder.iterdir()) and not (folder / _SAVED).is_file()):
        raise InputError(
            f"{option} is {folder}, which is there and no model that was saved; choose another"
        )


def write_frame(frame: "DataFrame", path: Path) -> None:
    """Writes a frame whole or not at all, as CSV, Parquet or Feather by its ending."""
    from timediff.tools.files import whole

    ending = path.suffix.lower()
    with whole(path) as temporary:
        if ending == ".csv":
            frame.to_csv(temporary, index=False)
        elif ending == ".parquet":
            frame.to_parquet(temporary, index=False)
        else:
            frame.to_feather(temporary)


def draw(forecast: "Forecast", path: Path) -> None:
    """Writes the picture of a forecast, or the page to look about in."""
    from timediff.tools.files import whole, write_text

    first, last = (re.sub(r":00$", "", str(forecast.stamps[i])[:19]) for i in (0, -1))
    title = f"Forecast of {first} to {last}"
    if path.suffix.lower() == _PAGE:
        write_text(path, forecast.to_html(title=title))
        return
    with whole(path) as temporary:
        forecast.plot(title=title).savefig(temporary, format=path.suffix[1:].lower())
