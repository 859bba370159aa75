"""The record of an evaluation: what was run on what, and how every entrant scored.

All entrants stand in one mapping and have the same fields; the first is the one that the evaluation is of. A
record is the same for the same options and data but for seconds, commit and machine. `read_record` reads
files of this format, 3, and of format 2 (`timediff.benchmark.lifting`).
"""

import json
import math
from pathlib import Path
from typing import Any, Literal, NamedTuple

from timediff.benchmark.lifting import OLD, lifted
from timediff.data.catalogue import Published
from timediff.errors import InputError
from timediff.kinds import shortened
from timediff.metrics import is_loss
from timediff.metrics.paired import Comparison, overlapping
from timediff.tools.files import plain, read_json

__all__ = [
    "COMPARED",
    "FLOOR",
    "FORMAT",
    "GIVEN",
    "NLL",
    "NLL_PARTS",
    "NLL_TITLES",
    "OURS",
    "Aggregates",
    "DataFacts",
    "Kind",
    "Likelihood",
    "Record",
    "Result",
    "Seconds",
    "SeedResult",
    "Values",
    "as_json",
    "from_json",
    "read_record",
]

FORMAT = 3
#: The score that entrants are ordered and compared by, window by window.
COMPARED = "mean_wquantile_loss_sum"
#: Names of entrants: ours, a predictor that is evaluated in its place, and the true distribution of the data
#: given their past, where it is known.
OURS, GIVEN, FLOOR = "timediff", "predictor", "oracle"
Kind = Literal["ours", "predictor", "baseline", "oracle", "other", "recalibrated"]
#: Scores by name, None or NaN where they are not defined.
Values = dict[str, float | None]
#: Scores of weighted sums of the series by the sum's name, beside its ``unit``.
Aggregates = dict[str, dict[str, Any]]

NLL = {
    "bound": "variational bound on the negative log-likelihood of the test windows, nats per dimension: "
    "mean over windows, steps and series, on the data's own scale",
    "bound_bits": "the same in bits",
    "nll": "negative log-likelihood by the probability-flow ODE from the first noise level, in nats per "
    "dimension",
    "nll_bits": "the same in bits",
    "nll_error": "standard error of the estimated trace in it, 0 where the trace is exact (D <= 64)",
}
#: Of what each seed has beside these.
NLL_PARTS = {
    "terms": "terms L_0 .. L_N of the bound in scaled units, nats per dimension",
    "log_scale": "what the data's own scale adds to their sum, which is then the bound",
}
NLL_TITLES = {
    "bound": "variational bound",
    "nll": "negative log-likelihood (ODE)",
    "nll_error": "standard error of its trace",
}


class Seconds(NamedTuple):
    """Wall-clock time; None where it is not known, or nothing was trained."""

    training: float | None = None
    sampling: float | None = None

    @property
    def total(self) -> float | None:
        """Of both, as far as known."""
        known = [value for value in self if value is not None]
        return float(sum(known)) if known else None


class Likelihood(NamedTuple):
    """Bound and likelihood of the test windows under one trained model: `NLL` and `NLL_PARTS`."""

    scores: Values
    terms: list[float]
    log_scale: float
    windows: int
    left_out: int


class SeedResult(NamedTuple):
    """How one seed of an entrant scored, and what was chosen or measured on the way (``details``)."""

    seed: int
    seconds: Seconds
    metrics: Values
    aggregates: Aggregates
    details: dict[str, Any]
    nll: Likelihood | None = None


class Result(NamedTuple):
    """How an entrant scored: means over its seeds.

    Args:
        title: Its name in tables.
        note: What it is and with which settings.
        kind: What it is, in a word.
        seeds: One training and forecast each.
        metrics: Of `timediff.metrics.METRICS`.
        metrics_se: Their standard errors over seeds, None for a single one.
        aggregates: Scores of weighted sums.
        protocols: Of `timediff.metrics.protocols`.
        windows: Losses of each window by score, ``[W]`` each.
        seconds: Of all seeds together.
        per_seed: What is known of each seed.
        nll: Means of `Likelihood.scores`, where they were asked for.
        nll_se: Their standard errors.
        diagnosis: Of the first seed's paths, by `timediff.benchmark.diagnosis`.
        metrics_mc_error: Standard error of its scores over other draws of as many paths.
    """

    title: str
    note: str
    kind: Kind
    seeds: list[int]
    metrics: Values
    aggregates: Aggregates
    protocols: Values
    windows: dict[str, list[float]]
    metrics_se: Values = {}  # noqa: RUF012 (never changed)
    seconds: Seconds = Seconds()
    per_seed: list[SeedResult] = []  # noqa: RUF012
    nll: Values = {}  # noqa: RUF012
    nll_se: Values = {}  # noqa: RUF012
    diagnosis: dict[str, Any] | None = None
    metrics_mc_error: Values = {}  # noqa: RUF012

    @property
    def details(self) -> dict[str, Any]:
        """What was chosen or measured with the first seed."""
        return self.per_seed[0].details if self.per_seed else {}

    @property
    def seconds_each(self) -> Seconds:
        """Of one seed, in the mean."""
        count = max(len(self.seeds), 1)
        return Seconds(*(None if value is None else value / count for value in self.seconds))

    @property
    def crps_sum(self) -> float:
        """What entrants are ranked by; infinite where it is not defined."""
        value = self.metrics.get(COMPARED)
        return math.inf if value is None or math.isnan(value) else value


class DataFacts(NamedTuple):
    """What was forecast. ``stride`` are the steps between windows, the fewest."""

    name: str
    series: int
    prediction_length: int
    windows: int
    freq: str = ""
    train_length: int | None = None
    stride: int | None = None
    checksum: str = ""
    verified: bool = False
    source: str = "not stated"
    licence: str = "not stated"
    published: list[Published] = []  # noqa: RUF012


class Record(NamedTuple):
    """A record.

    Args:
        dataset: What was forecast.
        preset: Where the defaults of model, training and sampling came from; "" where nothing was trained.
        config: All options that scores depend on, None for those that were not used.
        num_samples: Sample paths per window.
        entrants: Results by name, the evaluated one first.
        comparisons: Of its losses in each window with those of each other one.
        left_out: Why others that were asked for are not among them.
        recalibration: The evaluated one after recalibration, if that was asked for.
        observed_share: Share of the truth that is not missing.
        definitions: Of the scores; ``protocol_definitions`` and ``nll_definitions`` of those.
        versions: Of packages.
        commit: Of timediff, None for an installed wheel.
        hardware: What the seconds belong to.
    """

    dataset: DataFacts
    preset: str
    config: dict[str, Any]
    num_samples: int
    entrants: dict[str, Result]
    comparisons: dict[str, Comparison]
    left_out: dict[str, str]
    recalibration: Result | None
    observed_share: float | None
    definitions: dict[str, str]
    protocol_definitions: dict[str, str]
    nll_definitions: dict[str, str]
    versions: dict[str, str]
    commit: str | None
    hardware: dict[str, Any]
    format: int = FORMAT

    @property
    def evaluated(self) -> Result:
        """The entrant that the evaluation is of."""
        return next(iter(self.entrants.values()))

    @property
    def others(self) -> dict[str, Result]:
        """All others by `COMPARED`, those without it last."""
        _, *others = self.entrants.items()
        return dict(sorted(others, key=lambda item: item[1].crps_sum))

    @property
    def ranked(self) -> list[Result]:
        """All of them by `COMPARED`, the evaluated one among them."""
        return sorted(self.entrants.values(), key=lambda result: result.crps_sum)

    @property
    def floor(self) -> Result | None:
        """The true distribution given the past, where it took part."""
        return self.entrants.get(FLOOR)

    def over_floor(self, result: Result) -> Values:
        """Ratio of each loss of an entrant to that of the floor, where there is one that is positive."""
        least = {} if self.floor is None else self.floor.metrics
        return {
            name: value / floor
            for name, value in result.metrics.items()
            if is_loss(name) and value is not None and (floor := least.get(name) or 0) > 0
        }

    @property
    def overlap(self) -> int:
        """How many of the next windows share steps with a window; older records say it of comparisons."""
        data = self.dataset
        if data.stride is None:
            return max((comparison.overlap for comparison in self.comparisons.values()), default=0)
        return overlapping(prediction_length=data.prediction_length, stride=data.stride)


def as_json(value: Any) -> str:
    """A record, or a part of one, as strict JSON: a score that is not defined is null."""
    return json.dumps(plain(value), indent=1, allow_nan=False)


def read_record(place: str | Path) -> Record:
    """The record of a folder that an evaluation wrote, or of its file.

    Raises:
        InputError: There is none, or it cannot be read.
    """
    place = Path(place)
    file = place / "record.json" if place.is_dir() else place
    try:
        content = read_json(file)
    except FileNotFoundError:
        raise InputError(
            f"there is no record at {file}; give a folder that timediff evaluate wrote"
        ) from None
    except (OSError, ValueError) as error:
        raise InputError(
            f"{file} cannot be read as a record ({shortened(str(error), 200)})"
        ) from error
    kept = isinstance(content, dict) and "dataset" in content
    form = content.get("format", 0) if kept else None
    if form in (OLD, FORMAT):
        try:
            return from_json(lifted(content) if form == OLD else content)
        except (LookupError, TypeError, ValueError, AttributeError):
            form = None
    if form is None:
        raise InputError(f"{file} is no record; give a folder that timediff evaluate wrote")
    age = "an earlier" if form < FORMAT else "a later"
    raise InputError(f"{file} was written by {age} version; evaluate again to read it")


def from_json(content: dict[str, Any]) -> Record:
    """The record that `as_json` wrote."""
    after, facts = content["recalibration"], content["dataset"]
    published = [Published(**entry) for entry in facts.get("published", ())]
    changed = {
        "dataset": DataFacts(**facts | {"published": published}),
        "entrants": {name: _result(fields) for name, fields in content["entrants"].items()},
        "comparisons": {
            name: Comparison(**fields) for name, fields in content["comparisons"].items()
        },
        "recalibration": None if after is None else _result(after),
    }
    return Record(**content | changed)


def _result(content: dict[str, Any]) -> Result:
    seeds = [
        SeedResult(
            **row
            | {
                "seconds": Seconds(**row["seconds"]),
                "nll": None if row["nll"] is None else Likelihood(**row["nll"]),
            }
        )
        for row in content["per_seed"]
    ]
    return Result(**content | {"seconds": Seconds(**content["seconds"]), "per_seed": seeds})
