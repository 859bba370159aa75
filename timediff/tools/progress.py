"""Progress bars on stderr, quiet where nobody watches, and work that is ended from outside."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from tqdm import tqdm

__all__ = ["checked_by", "progress_bar"]

_check: ContextVar[Callable[[], None] | None] = ContextVar("check", default=None)


@contextmanager
def checked_by(check: Callable[[], None]) -> Iterator[None]:
    """Has work that tells a bar of its steps call ``check()`` at each of them, bar shown or not.

    What it raises ends the work: a limit of time, or someone who waits no more.
    """
    token = _check.set(check)
    try:
        yield
    finally:
        _check.reset(token)


class _Bar(tqdm):
    """A bar whose steps are checked, in whatever thread they are made."""

    def __init__(self, **options: object) -> None:
        self._check = _check.get()
        super().__init__(**options)

    def update(self, n: float | None = 1) -> bool | None:
        if self._check is not None:
            self._check()
        return super().update(n)


def progress_bar(
    description: str, *, total: int | None, initial: int = 0, shown: bool = True
) -> tqdm:
    """A bar that redraws twice a second on a terminal and every ten seconds in a log."""
    interval = 0.5 if sys.stderr.isatty() else 10.0
    return _Bar(
        desc=description,
        total=total,
        initial=initial,
        mininterval=interval,
        maxinterval=interval,
        disable=not shown,
    )
