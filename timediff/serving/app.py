"""The web service: forecasts by one model, what it is, whether it runs, and what it did.

Forecasts are made by few threads; the event loop reads and answers. A request that finds all threads and
places to wait taken is turned away at once, one whose time is over stops at its next step, and so does one
whose client is gone.
"""

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import orjson
from fastapi import FastAPI, Request
from fastapi.responses import Response as Answer
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from timediff import __version__
from timediff.errors import InputError
from timediff.serving import wire
from timediff.serving.answer import answer
from timediff.serving.counts import Counts
from timediff.serving.limits import Limits
from timediff.serving.served import Served

__all__ = ["make_app"]

_LOG = logging.getLogger(__name__)


class _Refused(Exception):
    """An answer that is no forecast."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status, self.sentence = status, sentence


class _Gone(_Refused):
    """No answer, as nobody is there."""

    def __init__(self) -> None:
        super().__init__(499, "the client is gone")


class _Ended(Exception):
    """Nobody waits for the forecast any more."""


def make_app(served: Served, limits: Limits = Limits()) -> FastAPI:  # noqa: B008 (immutable)
    """The service of a model, an ASGI application.

    Args:
        served: The model.
        limits: What it does at most.
    """
    pool = ThreadPoolExecutor(limits.concurrency, thread_name_prefix="forecast")
    counts = Counts()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        # Who waits is answered before this: the server stops listening first, and waits for its requests.
        pool.shutdown()

    app = _Service(
        title="timediff", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None
    )

    @app.exception_handler(HTTPException)
    async def unknown(request: Request, error: HTTPException) -> Answer:
        """A path or method that is none of these."""
        sentence = (
            f"there is no {request.method} {request.url.path}; POST / forecasts, GET /model, /health and "
            "/metrics tell of it"
        )
        return _json({"error": sentence}, error.status_code)

    @app.get("/health")
    async def health() -> dict[str, str]:
        """That it runs."""
        return {"status": "ok"}

    @app.get("/model")
    async def model() -> Answer:
        """What the model forecasts, what a request must have, and what it may ask for at most."""
        about = {"version": __version__, **served.described(), "limits": limits._asdict()}
        return _json(about)

    @app.get("/metrics")
    async def metrics() -> Answer:
        """Counters in the text format of Prometheus."""
        return Answer(counts.text(), media_type=counts.media_type)

    @app.post(
        "/",
        response_model=wire.Response,
        openapi_extra={"requestBody": {"required": True, "content": _REQUEST}},
        responses={status: {"description": text} for status, text in _STATUSES.items()},
    )
    async def forecast(request: Request) -> Answer:
        """Forecasts of histories, by the schema of Hugging Face's task time-series-forecasting."""
        with counts.request() as seen:
            try:
                if counts.under_way > limits.concurrency + limits.waiting:
                    raise _Refused(
                        429, "too many requests wait for their turn; send it again later"
                    )
                content, seen.paths = await _forecast(request, served, limits, pool)
                return Answer(content, media_type="application/json")
            except _Refused as error:
                seen.status = error.status
                return _json({"error": error.sentence}, error.status)

    return app


_SCHEMA = wire.Request.model_json_schema(ref_template="#/components/schemas/{model}")
_PARTS = _SCHEMA.pop("$defs")
_REQUEST = {"application/json": {"schema": _SCHEMA}}


class _Service(FastAPI):
    """A service that describes the body of a request, which it reads itself, within its limits."""

    def openapi(self) -> dict[str, Any]:
        schema = super().openapi()
        schema["components"]["schemas"] |= _PARTS
        return schema


#: What other answers than a forecast mean.
_STATUSES = {
    422: "The request is not what the schema says, does not fit the model, or asks too much.",
    429: "Too many requests wait.",
    500: "The forecast failed.",
    503: "The time of a request was over.",
}


async def _forecast(
    request: Request, served: Served, limits: Limits, pool: ThreadPoolExecutor
) -> tuple[bytes, int]:
    """The answer to a request within its time, and the paths drawn for it."""
    deadline = time.monotonic() + limits.seconds
    ended = threading.Event()

    def check() -> None:
        if ended.is_set() or time.monotonic() > deadline:
            raise _Ended

    try:
        async with asyncio.timeout(limits.seconds):
            body = await _body(request, limits.body)
            return await _unless_gone(request, pool, lambda: answer(served, limits, body, check))
    except InputError as error:
        raise _Refused(422, str(error)) from None
    except (TimeoutError, _Ended):
        raise _Refused(
            503,
            f"there was no answer within {limits.seconds:g} seconds; ask for fewer paths, steps or inputs, "
            "or later",
        ) from None
    except ClientDisconnect:
        raise _Gone from None
    except _Refused:
        raise
    except Exception as error:  # whatever the model does, a request is answered
        _LOG.exception("a forecast failed")
        raise _Refused(
            500, f"the forecast failed ({type(error).__name__}); the log of the server says where"
        ) from None
    finally:
        ended.set()


async def _unless_gone(
    request: Request, pool: ThreadPoolExecutor, work: Callable[[], tuple[bytes, int]]
) -> tuple[bytes, int]:
    """The result of work in a thread, given up when the client is gone."""
    making = asyncio.get_running_loop().run_in_executor(pool, work)
    gone = asyncio.create_task(_gone(request))
    both: set[asyncio.Future[Any]] = {making, gone}
    try:
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if not making.done():
            raise _Gone
        return making.result()
    finally:
        gone.cancel()
        making.cancel()


async def _gone(request: Request) -> None:
    """Ends when the client closes the connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _body(request: Request, most: float) -> bytes:
    """The body of a request. What comes after the limit is left to the server, which throws it away."""
    parts, size = [], 0
    async for part in request.stream():
        parts.append(part)
        size += len(part)
        if size > most:
            raise InputError(
                f"the body has more than {most:,.0f} bytes, which is the most; send shorter histories, or "
                "fewer inputs"
            )
    return b"".join(parts)


def _json(content: Any, status: int = 200) -> Answer:
    headers = {"Retry-After": "1"} if status in (429, 503) else None
    return Answer(orjson.dumps(content), status, headers, media_type="application/json")
