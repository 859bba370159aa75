"""Progress bars on stderr, quiet where nobody watches."""

import sys

from tqdm import tqdm

__all__ = ["progress_bar"]


def progress_bar(
    description: str, *, total: int | None, initial: int = 0, shown: bool = True
) -> tqdm:
    """A bar that redraws twice a second on a terminal and every ten seconds in a log."""
    interval = 0.5 if sys.stderr.isatty() else 10.0
    return tqdm(
        desc=description,
        total=total,
        initial=initial,
        mininterval=interval,
        maxinterval=interval,
        disable=not shown,
    )
