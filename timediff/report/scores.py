"""What the table on the terminal, the report and the comparison of runs show alike of records and scores."""

from collections.abc import Iterable, Sequence

from timediff.benchmark.record import Record, Result
from timediff.data.catalogue import Published
from timediff.metrics import expected_coverage, title_of
from timediff.metrics.sums import COVERAGES
from timediff.report import numbers

__all__ = ["MAIN", "MEANINGS", "aims", "published_value", "score_rows", "setting"]

#: The five scores that are shown first.
MAIN = {
    "mean_wquantile_loss_sum": "CRPS_sum",
    "mean_wquantile_loss": "CRPS",
    "energy_score": "energy",
    "nd": "ND",
    "coverage_90": "90 % cov.",
}
MEANINGS = {
    "mean_wquantile_loss_sum": "How far the forecast of the sum of all series is from what happened: its "
    "quantiles against the truth, as a share of the sum's mean size. 0 is perfect. The published definition, "
    "which the verdict goes by.",
    "mean_wquantile_loss": "The same of each series by itself.",
    "energy_score": "The same of all series at once, a vector at each step: how they move together counts.",
    "nd": "Error of the middle of the paths alone, as a share of the mean size.",
    "coverage_90": "Share of what happened inside the 90 % bands.",
}


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
