"""What the table on the terminal, the report and the comparison of runs show alike of records and scores."""

from collections.abc import Iterable, Sequence

from timediff.benchmark.record import Record, Result
from timediff.data.catalogue import Published
from timediff.metrics import expected_coverage, title_of
from timediff.metrics.sums import COVERAGES
from timediff.report import numbers

__all__ = ["aims", "published_value", "score_rows", "setting"]


def aims(num_samples: int) -> str:
    """Aim of the coverages of series and sum: those of a perfect forecast of so many paths."""
    values = ", ".join(
        f"{numbers.value(expected_coverage(level / 100, num_samples=num_samples))} at {level} %"
        for level in COVERAGES
    )
    return f"a perfect forecast of {num_samples} paths covers {values}"


def setting(record: Record) -> str:
    """Size of the data, of the forecasts, and the seeds."""
    data, seeds = record.dataset, record.evaluated.seeds
    return (
        f"{data.series} series, horizon {data.prediction_length}, {data.windows} windows, "
        f"{record.num_samples} paths, {'seeds' if len(seeds) > 1 else 'seed'} "
        f"{', '.join(map(str, seeds))}"
    )


def score_rows(names: Iterable[str], results: Sequence[Result]) -> list[list[str]]:
    """Title of each score and its value in each result, with its standard error where that is known."""
    return [
        [
            title_of(name),
            *(
                numbers.with_error(each.metrics.get(name), each.metrics_se.get(name))
                for each in results
            ),
        ]
        for name in names
    ]


def published_value(entry: Published) -> str:
    """Value of a paper and its error, with the digits that the paper has."""
    return f"{entry.value:g} ± {entry.error:g}"
