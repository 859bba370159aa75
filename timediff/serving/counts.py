"""What a server did, as Prometheus reads it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

__all__ = ["Counts", "Seen"]

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


@dataclass
class Seen:
    """A request as it is counted when it is done."""

    status: int = 200
    paths: int = 0


@final
class Counts:
    """Counters of one server, and those of its process: memory, processor time, open files."""

    media_type = CONTENT_TYPE_PLAIN_0_0_4

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        own: dict[str, Any] = {"namespace": "timediff", "registry": self._registry}
        self._requests = Counter("requests", "Requests answered, by status.", ["status"], **own)
        self._seconds = Histogram(
            "request_seconds", "Seconds to an answer.", buckets=_BUCKETS, **own
        )
        self._paths = Counter("paths", "Sample paths drawn.", **own)
        self._gauge = Gauge("requests_under_way", "Requests not answered yet.", **own)
        #: Requests not answered yet.
        self.under_way = 0

    @contextmanager
    def request(self) -> Iterator[Seen]:
        """Counts a request that is answered inside; a client that went away has status 499."""
        seen, began = Seen(), time.monotonic()
        self._move(1)
        try:
            yield seen
        finally:
            self._move(-1)
            self._requests.labels(str(seen.status)).inc()
            self._seconds.observe(time.monotonic() - began)
            self._paths.inc(seen.paths)

    def text(self) -> bytes:
        """All of them in the text format."""
        return generate_latest(self._registry)

    def _move(self, by: int) -> None:
        self.under_way += by
        self._gauge.set(self.under_way)
