"""The card of a shared model: what it forecasts, how it scored and on what, and where it ends.

A card is a README.md as model hubs read it: a head of YAML, by which models are found and scores are listed,
and a text for people. Everything in it is said by the model and by the record of its evaluation.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import yaml

from timediff import __version__
from timediff.benchmark.record import COMPARED, Record, Result
from timediff.errors import InputError
from timediff.frequency import to_period_freq
from timediff.metrics import title_of
from timediff.report import comparisons, numbers
from timediff.report.scores import MAIN, aims, setting
from timediff.tools.files import plain

__all__ = ["Facts", "check_record", "model_card"]

#: Series that are named.
_NAMED = 20
#: Others that the table of scores has.
_OTHERS = 3


class Facts(NamedTuple):
    """What a model says of itself.

    Args:
        kind: "Forecaster" or "TimeGradPredictor".
        series: Names of the series, in order.
        freq: Frequency.
        horizon: Steps of a forecast.
        history: Steps that a history must have.
        covariates: Names of those known ahead, and of those known for the past.
        model: The network's options, plain.
        parameters: Numbers that were trained.
        with_data: Whether the training data go along.
        keeps_errors: Whether the weights hold past errors of the linear forecaster.
    """

    kind: str
    series: Sequence[Any]
    freq: str
    horizon: int
    history: int
    covariates: Sequence[str]
    model: dict[str, Any]
    parameters: int
    with_data: bool
    keeps_errors: bool


def check_record(record: Record, facts: Facts) -> None:
    """Raises `InputError` if a record is of another model: other sizes, or other options of the network."""
    data = record.dataset
    pairs: dict[str, tuple[Any, Any]] = {
        "series": (data.series, len(facts.series)),
        "steps of a forecast": (data.prediction_length, facts.horizon),
    }
    if data.freq:
        pairs["frequency"] = (to_period_freq(data.freq), to_period_freq(facts.freq))
    # What a record leaves open, such as lags, follows from the data.
    options = plain(record.config.get("model") or {})
    pairs |= {
        name: (value, plain(facts.model)[name])
        for name, value in options.items()
        if value is not None and name in facts.model
    }
    for name, (recorded, own) in pairs.items():
        if recorded != own:
            raise InputError(
                f"the record is of another model: its {name} are {recorded!r}, and this one's {own!r}; give "
                "the record of this model, or none"
            )


def model_card(facts: Facts, repo: str, record: Record | None, licence: str | None) -> str:
    """The text of a card.

    Args:
        facts: Of the model.
        repo: What `timediff.from_pretrained` finds it by.
        record: Of its evaluation.
        licence: Of the model, as hubs call it, such as "apache-2.0".
    """
    head = yaml.safe_dump(_head(facts, repo, record, licence), sort_keys=False, allow_unicode=True)
    parts = [
        f"---\n{head}---",
        f"# {_name(repo)}",
        _what(facts),
        f"## Use\n\n```python\n{_use(facts, repo)}\n```",
        "## Scores\n\n" + ("\n\n".join(_scores(record)) if record else _NOT_SCORED),
        "## Data\n\n" + _data(facts, record),
        "## Limits\n\n" + "\n".join(f"- {limit}" for limit in _limits(facts, record)),
    ]
    return "\n\n".join(parts) + "\n"


_NOT_SCORED = "None: the model was shared without the record of an evaluation."


def _head(facts: Facts, repo: str, record: Record | None, licence: str | None) -> dict[str, Any]:
    """What hubs read."""
    head: dict[str, Any] = {
        "library_name": "timediff",
        "pipeline_tag": "time-series-forecasting",
        "tags": ["time-series", "probabilistic", "multivariate", "diffusion", "timegrad"],
    }
    if licence is not None:
        head["license"] = licence
    if record is None:
        return head
    ours = record.evaluated
    metrics = [
        {"type": name, "name": title_of(name), "value": value}
        for name in MAIN
        if (value := plain(ours.metrics.get(name))) is not None
    ]
    result = {
        "task": {"type": "time-series-forecasting", "name": "Time Series Forecasting"},
        "dataset": {"type": record.dataset.name, "name": record.dataset.name},
        "metrics": metrics,
    }
    head["model-index"] = [{"name": _name(repo), "results": [result]}]
    return head


def _what(facts: Facts) -> str:
    covariates = (
        f" It takes the covariates {_listed(facts.covariates)}." if facts.covariates else ""
    )
    return (
        f"Joint probabilistic forecasts of {len(facts.series)} series, {facts.horizon} steps ahead at the "
        f"frequency `{facts.freq}`, by denoising diffusion (TimeGrad, Rasul et al. 2021, arXiv:2101.12072): "
        "sample paths over all series and steps together, so that sums and events can be read off them. "
        f"{facts.parameters:,} trained numbers, saved by timediff {__version__}.{covariates}\n\n"
        f"Series, in this order: {_listed(facts.series)}."
    )


def _use(facts: Facts, repo: str) -> str:
    load = f"import timediff\n\nmodel = timediff.from_pretrained({repo!r})\n"
    if facts.kind != "Forecaster":
        return (
            f"{load}forecasts = model.predict(entries, num_samples=100, seed=1)  # GluonTS entries"
        )
    known = "" if facts.with_data else "df, "
    what = "after the training data" if facts.with_data else "after df, a frame of the same series"
    return f"{load}forecast = model.forecast({known}n_paths=100, seed=1)  # {what}"


def _scores(record: Record) -> list[str]:
    """The main scores beside the best of the others, and what can be said of the difference."""
    ours = record.evaluated
    rows = [ours, *list(record.others.values())[:_OTHERS]]
    table = _table(
        ["", *MAIN.values()],
        [[_cell(row.title), *(_score(row, name) for name in MAIN)] for row in rows],
    )
    ahead = [other.title for other in record.others.values() if other.crps_sum < ours.crps_sum]
    few = comparisons.too_few(comparisons.by_title(record)).partition(":")[0]
    few = few and f"{few}."
    return [
        f"{_cell(ours.title)} on {_cell(record.dataset.name)}: {setting(record)}, beside the best others. "
        "The models of the evaluation know nothing of the test windows and have the options of this one.",
        table,
        "± is the standard error over seeds. Scores are losses but for the coverage, whose aim is its level: "
        f"{aims(record.num_samples)}. CRPS_sum is `{COMPARED}`: "
        f"{record.definitions.get(COMPARED, title_of(COMPARED))}.",
        *([f"By CRPS_sum, {_standing(ahead)}.{' ' if few else ''}{few}"] if record.others else []),
    ]


def _standing(ahead: list[str]) -> str:
    if not ahead:
        return "it is ahead of all others"
    return f"{_listed(ahead)} {'are' if len(ahead) > 1 else 'is'} ahead of it"


def _data(facts: Facts, record: Record | None) -> str:
    along = (
        "The training data are in `data.safetensors`."
        if facts.with_data
        else "The training data are not here."
    )
    if record is None:
        return along
    data = record.dataset
    rows = [
        ["name", data.name],
        ["series", str(data.series)],
        ["frequency", data.freq],
        [
            "steps of training",
            "not stated" if data.train_length is None else f"{data.train_length:,}",
        ],
        ["test windows", str(data.windows)],
        ["source", data.source],
        ["licence", data.licence],
        ["checksum", data.checksum or "not stated"],
    ]
    facts_table = _table(["", "evaluation"], [[name, _cell(text)] for name, text in rows])
    commit = f", commit {record.commit}" if record.commit else ""
    versions = ", ".join(f"{name} {version}" for name, version in record.versions.items())
    return f"{facts_table}\n\nEvaluated with {versions}{commit}. {along}"


def _limits(facts: Facts, record: Record | None) -> list[str]:
    limits = [
        "It forecasts these series and no others, at this frequency; their histories are to have "
        f"{facts.history} steps, with gaps as missing values.",
        f"It was trained for {facts.horizon} steps. Longer forecasts go on from its own paths, and were not "
        "scored.",
        "Paths are the model's view of the future, not all that may happen: what training never saw, it does "
        "not foresee.",
    ]
    if facts.keeps_errors:
        limits.append(
            "The weights hold errors that a linear forecast made on the training data, each a piece of these "
            "data less what was expected: they are not for data that must stay secret."
        )
    if record is not None:
        limits.append(
            f"The scores are of {record.dataset.windows} windows of one data set, and say little of others, "
            "or of later years."
        )
        if record.dataset.licence != "not stated":
            limits.append(f"The data have a licence of their own: {_cell(record.dataset.licence)}.")
    return limits


def _score(result: Result, name: str) -> str:
    return numbers.with_error(result.metrics.get(name), result.metrics_se.get(name))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _listed(names: Sequence[Any]) -> str:
    more = len(names) - _NAMED
    text = ", ".join(_cell(str(name)) for name in names[:_NAMED])
    return text + (f" and {more} more" if more > 0 else "")


def _cell(text: str) -> str:
    """A text of the data's on one line, without what Markdown or HTML would make of it."""
    line = " ".join(text.split())
    for sign in "\\`*_[]<>|":
        line = line.replace(sign, f"\\{sign}")
    return line


def _name(repo: str) -> str:
    return repo.rstrip("/").rpartition("/")[2] or repo
