"""``timediff serve MODEL``: forecasts of a saved model for whoever asks by HTTP."""

import socket
import sys
from collections.abc import Sequence
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser

from timediff.cli.base import fail, import_plugins
from timediff.cli.configs import ConfigParser, add_config, add_plugin, seconds
from timediff.cli.estimate import bytes_of
from timediff.cli.said import run_kept, say
from timediff.errors import InputError
from timediff.options import fields_of
from timediff.serving.limits import Limits

__all__ = ["PROGRAM", "main", "make_parser"]

PROGRAM = "timediff serve"
#: What the extra brings.
_NEEDED = ("fastapi", "uvicorn", "prometheus_client")
#: The option of each limit, and what reads it where that is not its type.
_OPTIONS: dict[str, tuple[str, Any]] = {
    "body": ("--max-body", bytes_of),
    "paths": ("--max-paths", None),
    "values": ("--max-values", None),
    "seconds": ("--timeout", seconds),
    "concurrency": ("--concurrency", None),
    "waiting": ("--waiting", None),
}


def make_parser() -> ArgumentParser:
    """The command line."""
    parser = ConfigParser(
        prog=PROGRAM,
        usage=f"{PROGRAM} MODEL [OPTION ...]",
        description="Answers POST / with forecasts of a saved model, in the schema of Hugging Face's task "
        "time-series-forecasting; GET /model, /health and /metrics tell of it. Ctrl-C or SIGTERM ends it "
        "when what was asked is answered.",
        epilog="examples:\n"
        f"  {PROGRAM} model\n"
        f"  {PROGRAM} model --port 9000 --max-paths 200 --timeout 10s",
    )
    parser.add_argument("model", type=Path, help="folder that a model was saved to")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at")
    parser.add_argument("--port", type=int, default=8000, help="port to listen at; 0 for any")
    parser.add_argument("--device", default="auto", help='"auto", "cpu", "cuda" or "cuda:1"')
    for name, field in fields_of(Limits).items():
        option, reader = _OPTIONS[name]
        parser.add_argument(
            option, type=reader or field.type, default=field.default, help=field.help
        )
    parser.add_argument("--quiet", action="store_true", help="say nothing but mistakes")
    parser.add_argument("--log-file", type=Path | None, help="keep what is said there too")
    add_config(parser)
    add_plugin(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status of the command."""
    try:
        argv = import_plugins(sys.argv[1:] if argv is None else argv)
    except InputError as error:
        fail(PROGRAM, str(error))
    args = make_parser().parse_args(list(argv))
    return run_kept(
        PROGRAM,
        lambda: _work(args),
        log_file=args.log_file,
        quiet=args.quiet,
        kept=lambda: "what was asked before is answered",
    )


def _work(args: Any) -> None:
    if missing := [name for name in _NEEDED if find_spec(name) is None]:
        raise InputError(
            f"the package {missing[0]} is not installed; install timediff with its extra [serve]"
        )
    limits = _limits(args)
    with closing(_listening(args.host, args.port)) as listener:
        from timediff.serving.served import Served

        served = Served.load(args.model, device=args.device)

        import uvicorn

        from timediff.serving.app import make_app

        config = uvicorn.Config(
            make_app(served, limits),
            access_log=False,
            log_config=None,
            server_header=False,
            # What was asked has its time to the end; what hangs on longer is cut off.
            timeout_graceful_shutdown=int(limits.seconds) + 2,
        )
        host, port = listener.getsockname()[:2]
        place = f"[{host}]" if ":" in host else host
        say(
            f"serving {args.model} ({len(served.fitted.layout.names)} series, {served.horizon} steps) at "
            f"http://{place}:{port}",
            quiet=args.quiet,
        )
        # It takes SIGINT and SIGTERM while it runs, and hands them on when it has stopped.
        uvicorn.Server(config).run(sockets=[listener])


def _limits(args: Any) -> Limits:
    """The limits that the options say.

    Raises:
        InputError: One is out of range.
    """
    values = {}
    for name, field in fields_of(Limits).items():
        option, _ = _OPTIONS[name]
        given = args[option.removeprefix("--").replace("-", "_")]
        values[name] = field._replace(name=option).read(given)
    return Limits(**values)


def _listening(host: str, port: int) -> socket.socket:
    """A socket that listens, before the model is loaded.

    Raises:
        InputError: The address or port cannot be had.
    """
    if not 0 <= port < 2**16:
        raise InputError(f"--port is {port}; it must lie in 0 .. 65535")
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=512)
    except OSError as error:
        raise InputError(
            f"{host} port {port} cannot be listened at ({error.strerror}); choose another --host or --port"
        ) from None
