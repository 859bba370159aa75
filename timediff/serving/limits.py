"""What a server does at most, for one request and at a time."""

from typing import Annotated, NamedTuple

from timediff.options import Between, Count, Positive

__all__ = ["Limits"]


class Limits(NamedTuple):
    """Limits of a server.

    Args:
        body: Bytes of a request, such as 16MB.
        paths: Sample paths of a forecast.
        values: Numbers that all paths of a request have together: paths x steps x channels x inputs.
        seconds: Time from a request to its answer, waiting included, such as 30s.
        concurrency: Forecasts made at the same time.
        waiting: Requests that wait for their turn.
    """

    body: Positive = 16e6
    paths: Count = 1000
    values: Positive = 5e6
    seconds: Positive = 60.0
    concurrency: Annotated[int, Between(1, 256)] = 1
    waiting: Annotated[int, Between(0, 10_000)] = 16
