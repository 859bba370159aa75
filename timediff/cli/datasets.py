"""``python -m timediff.datasets``: what datasets there are, and whether they are here."""

from collections.abc import Sequence
from pathlib import Path

from timediff.cli.base import Parser
from timediff.data.dataset import list_datasets
from timediff.errors import InputError
from timediff.report.columns import aligned

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the list of datasets; exit status 2 on a mistake in what was given."""
    parser = Parser(prog="timediff.datasets", description="List datasets.")
    parser.add_argument(
        "--data-dir", type=Path, help="folder of datasets (default: the variable TIMEDIFF_DATA)"
    )
    try:
        rows = list_datasets(parser.parse_args(argv).data_dir)
    except InputError as error:
        parser.error(str(error))
    header = ("name", "series x steps", "freq", "horizon", "windows", "source", "licence", "status")
    print("\n".join(aligned([header, *([str(cell) for cell in row] for row in rows)])))
    return 0
