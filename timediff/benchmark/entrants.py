"""Who takes part in an evaluation: ours or a predictor in its place, oracles, baselines, further predictors.

One idea: an entrant is fitted to a task with a seed, and what is fitted gives paths; who it is makes no
difference to the loop in `timediff.benchmark.run`. `entrants_of` is the list of a run, in the order in which
they run; `as_entrant` makes an entrant of anything that forecasts.
"""

import copy
import re
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from gluonts.model.estimator import Estimator
from gluonts.model.predictor import Predictor

from timediff.baselines import BASELINES, Baseline, Fitted, Task, Window, chosen
from timediff.baselines.external import fit_predictor, load_predictor, train
from timediff.baselines.task import Array, Fit
from timediff.benchmark.ours import check_ours, fit_ours
from timediff.benchmark.record import FLOOR, GIVEN, OURS, Kind
from timediff.config import Preset, RunConfig
from timediff.data.oracle.dataset import is_oracle, true_paths
from timediff.errors import InputError


class FitEntrant(Protocol):
    """Brings an entrant to the training data of a task; ``folder`` is its own to write into."""

    def __call__(self, task: Task, *, seed: int, folder: Path) -> Fitted: ...


class Entrant(NamedTuple):
    """Who takes part.

    Args:
        name: Its key in the record, and the folder of its results.
        title: Its name in tables.
        note: What it is and with which settings, a sentence or two.
        kind: What it is, in a word.
        fit: See `FitEntrant`.
        foreign: Whether it may fail in ways of its own: it is left out then, and the others go on.
        source: Of what its paths are, where that can be something else under the same name.
    """

    name: str
    title: str
    note: str
    kind: Kind
    fit: FitEntrant
    foreign: bool = True
    source: str = ""


#: Titles and notes of those that know the process of the data, where there is one.
ORACLES = {
    FLOOR: (
        "oracle",
        "Paths from the true distribution of the future given the observed past: the floor, which "
        "nothing that sees the past alone can beat in expectation.",
    ),
    "oracle_regime": (
        "oracle that knows the regime",
        "The same, given the hidden regime too, which no forecaster can see: not the floor.",
    ),
}


def entrants_of(
    config: RunConfig, task: Task, *, device: str, more: Iterable[Entrant] = ()
) -> tuple[list[Entrant], dict[str, str]]:
    """All that a run asks for, the evaluated one first, and why baselines are left out.

    Raises:
        InputError: One of them cannot forecast the task, or two have one name.
    """
    if config.predictor is None:
        first = timegrad(task, config, device=device)
    else:
        first = saved(config.predictor, task, name=GIVEN, device=device)
    entrants = [first, *(oracles(task) if config.baselines != "none" else [])]
    names, left_out = chosen(config.baselines)
    margins = _Margins()
    entrants += [baseline(name, margins) for name in names]
    entrants += [
        saved(folder, task, name=f"predictor-{folder.resolve().name}", device=device)
        for folder in config.rivals
    ]
    entrants += more
    for part in ("name", "title"):
        taken = [getattr(entrant, part) for entrant in entrants]
        twice = next((one for one in taken if taken.count(one) > 1), None)
        if twice is not None:
            raise InputError(
                f"two entrants have the {part} {twice}, so a table would mix them; rename one of the "
                "folders of --rivals, or give another one"
            )
    return entrants, left_out


def timegrad(task: Task, config: RunConfig, *, device: str) -> Entrant:
    """Ours, trained.

    Raises:
        InputError: It cannot be trained on the task with these options.
    """
    options = Preset(config.model, config.train, config.sampling)
    held = config.validation_windows
    check_ours(task, options, validation_windows=held)
    fit = partial(
        fit_ours, options=options, validation_windows=held, device=device, told=config.seed[0]
    )
    return Entrant(OURS, OURS, "", "ours", fit, foreign=False)


def saved(folder: Path, task: Task, *, name: str, device: str) -> Entrant:
    """A predictor from the folder that it was serialized to.

    Raises:
        InputError: There is none, or it cannot forecast the task.
    """
    model = fit_predictor(load_predictor(folder, device=device), task).details["class"]
    title = model if name == GIVEN else f"{model} ({folder.resolve().name})"
    note = f"A predictor that was trained before, from the folder {folder}."
    fit = partial(_fit_saved, place=folder, device=device)
    return Entrant(name, title, note, "predictor", fit, source=str(folder))


def _fit_saved(task: Task, *, seed: int, folder: Path, place: Path, device: str) -> Fitted:
    return _fit_predictor(
        task, seed=seed, folder=folder, predictor=load_predictor(place, device=device)
    )


def _fit_predictor(task: Task, *, seed: int, folder: Path, predictor: Predictor) -> Fitted:
    fitted = fit_predictor(predictor, task)
    network = getattr(predictor, "prediction_net", None)
    size = {} if network is None else {"parameters": sum(p.numel() for p in network.parameters())}
    return fitted._replace(details={**fitted.details, **size})


def oracles(task: Task) -> list[Entrant]:
    """Those that know the process of the data; none where it is not known."""
    if not is_oracle(task.known):
        return []
    return [
        Entrant(
            *(name, title, note, "oracle"),
            partial(_fit_oracle, knows_regime=name != FLOOR),
            foreign=False,
        )
        for name, (title, note) in ORACLES.items()
    ]


def _fit_oracle(task: Task, *, seed: int, folder: Path, knows_regime: bool) -> Fitted:
    def bulk(task: Task, num_samples: int, seed: int) -> Array:
        return true_paths(
            task.known,
            horizon=task.horizon,
            num_samples=num_samples,
            seed=seed,
            knows_regime=knows_regime,
        )

    def sample(window: Window, num_samples: int, rng: np.random.Generator) -> Array:
        past = {"start": window.begin, "target": window.history.T, "info": task.known[0]["info"]}
        return bulk(task._replace(known=[past]), num_samples, int(rng.integers(2**31)))[0]

    return Fitted(sample, {}, bulk)


class _Margins:
    """What baselines were fitted to in this process, so that two on the same margins share a training."""

    def __init__(self) -> None:
        self.task: Task | None = None
        self.fitted: dict[tuple[Fit, int], tuple[Fitted, float]] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return _Margins, ()  # Another process has its own.

    def __call__(self, fit: Fit, task: Task, seed: int) -> tuple[Fitted, float]:
        """The margins, and the seconds that they took."""
        if task is not self.task:
            self.task, self.fitted = task, {}
        if (fit, seed) not in self.fitted:
            started = time.perf_counter()
            margins = fit(task, seed=seed, progress=True)
            self.fitted[fit, seed] = margins, time.perf_counter() - started
        return self.fitted[fit, seed]


def baseline(name: str, margins: "_Margins | None" = None) -> Entrant:
    """The baseline of a name."""
    one = BASELINES[name]
    fit = partial(_fit_baseline, baseline=one, margins=margins or _Margins())
    return Entrant(name, one.title, one.note, "baseline", fit, foreign=not one.fast)


def _fit_baseline(
    task: Task, *, seed: int, folder: Path, baseline: Baseline, margins: _Margins
) -> Fitted:
    base, seconds = margins(baseline.fit, task, seed)
    started = time.perf_counter()
    fitted = baseline.prepare(task, seed=seed, margins=base)
    return fitted._replace(seconds=seconds + time.perf_counter() - started)


def as_entrant(
    forecaster: Any, name: str, *, title: str = "", note: str = "", univariate: bool = False
) -> Entrant:
    """An entrant made of what forecasts.

    Args:
        forecaster: A GluonTS predictor or estimator; or any object with ``fit(task, seed=...)`` and, itself
            or what `fit` returns, ``sample(window, num_samples, rng)``, which returns paths ``[S, T, D]``
            (`timediff.baselines.Task`, `timediff.baselines.Window`). Each seed fits a copy.
        name: Its key in the record and its folder.
        title: Its name in tables; the name when left out.
        note: What should be known about it.
        univariate: Train an estimator on each series as an entry of its own, for models of one series.

    Raises:
        InputError: The forecaster is none, or the name is no name of a folder.
    """
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise InputError(f"the name of an entrant is {name!r}; use letters, digits, _, - and .")
    fit: FitEntrant
    if isinstance(forecaster, Predictor):
        fit = partial(_fit_predictor, predictor=forecaster)
    elif isinstance(forecaster, Estimator):
        fit = partial(_fit_estimator, estimator=forecaster, univariate=univariate)
    elif callable(getattr(forecaster, "fit", None)):
        fit = partial(_fit_object, forecaster=forecaster)
    else:
        raise InputError(
            f"{name} is a {type(forecaster).__name__}; give a GluonTS predictor or estimator, or an object "
            "with fit and sample"
        )
    kind: Kind = "predictor" if isinstance(forecaster, Predictor) else "other"
    return Entrant(name, title or name, note, kind, fit)


def _fit_estimator(
    task: Task, *, seed: int, folder: Path, estimator: Estimator, univariate: bool
) -> Fitted:
    predictor = train(estimator, task, seed=seed, one_by_one=univariate)
    return _fit_predictor(task, seed=seed, folder=folder, predictor=predictor)


def _fit_object(task: Task, *, seed: int, folder: Path, forecaster: Any) -> Fitted:
    forecaster = copy.deepcopy(forecaster)
    fitted = forecaster.fit(task, seed=seed)
    if isinstance(fitted, Fitted):
        return fitted
    return Fitted((forecaster if fitted is None else fitted).sample, {})
