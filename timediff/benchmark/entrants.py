"""Who takes part in an evaluation: ours or a predictor in its place, oracles, baselines, further predictors.

One idea: an entrant is fitted to a task with a seed, and what is fitted gives paths; who it is makes no
difference to the loop in `timediff.benchmark.run`. `entrants_of` is the list of a run, in the order in which
they run; `as_entrant` makes an entrant of anything that forecasts.
"""

import copy
import re
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from gluonts.model.estimator import Estimator
from gluonts.model.predictor import Predictor

from timediff.baselines import BASELINES, Baseline, Fitted, Task, chosen
from timediff.baselines.external import fit_forecaster, fit_predictor, load_predictor
from timediff.baselines.oracle import ORACLES
from timediff.benchmark.ours import fit_ours
from timediff.benchmark.record import GIVEN, OURS, Kind
from timediff.config import Preset, RunConfig
from timediff.data.oracle.dataset import is_oracle
from timediff.errors import InputError

__all__ = ["Entrant", "as_entrant", "entrants_of", "from_baseline", "saved", "timegrad"]


class Entrant(NamedTuple):
    """Who takes part.

    Args:
        name: Its key in the record, and the folder of its results.
        title: Its name in tables.
        note: What it is and with which settings, a sentence or two.
        kind: What it is, in a word.
        fit: Brings it to the training data of a task: ``fit(task, seed=..., folder=...)``, where the folder
            is its own to write into.
        foreign: Whether it may fail in ways of its own: it is left out then, and the others go on.
        source: Of what its paths are, where that can be something else under the same name.
    """

    name: str
    title: str
    note: str
    kind: Kind
    fit: Callable[..., Fitted]
    foreign: bool = True
    source: str = ""


def entrants_of(
    config: RunConfig, task: Task, *, device: str, more: Sequence[Entrant] = ()
) -> tuple[list[Entrant], dict[str, str]]:
    """All that a run asks for, the evaluated one first, and why baselines are left out.

    Raises:
        InputError: One of them cannot forecast the task, or two have one name.
    """
    if config.predictor is None:
        first = timegrad(config, device=device)
    else:
        first = saved(config.predictor, task, name=GIVEN, device=device)
    names, left_out = chosen(config.baselines)
    known = config.baselines != "none" and is_oracle(task.known)
    fits: dict[Any, Any] = {}
    entrants = [
        first,
        *(
            from_baseline(name, baseline, kind="oracle")
            for name, baseline in ORACLES.items()
            if known
        ),
        *(from_baseline(name, BASELINES[name], fits=fits) for name in names),
        *(
            saved(folder, task, name=f"predictor-{folder.resolve().name}", device=device)
            for folder in config.rivals
        ),
        *more,
    ]
    for part in ("name", "title"):
        taken = [getattr(entrant, part) for entrant in entrants]
        twice = next((name for name in taken if taken.count(name) > 1), None)
        if twice is not None:
            raise InputError(
                f"two entrants have the {part} {twice}, so a table would mix them; rename one of the "
                "folders of --rivals, or give another one"
            )
    return entrants, left_out


def timegrad(config: RunConfig, *, device: str) -> Entrant:
    """Ours, to be trained."""
    fit = partial(
        fit_ours,
        options=Preset(config.model, config.train, config.sampling),
        validation_windows=config.validation_windows,
        device=device,
        first_seed=config.seed[0],
    )
    return Entrant(OURS, OURS, "", "ours", fit, foreign=False)


def saved(folder: Path, task: Task, *, name: str, device: str) -> Entrant:
    """A serialized predictor; raises `InputError` if it cannot be read or cannot forecast the task."""
    model = fit_predictor(load_predictor(folder, device=device), task).details["class"]
    title = model if name == GIVEN else f"{model} ({folder.resolve().name})"
    note = f"A predictor that was trained before, from the folder {folder}."
    fit = partial(_fit_saved, place=folder, device=device)
    return Entrant(name, title, note, "predictor", fit, source=str(folder))


def _fit_saved(task: Task, *, seed: int, folder: Path, place: Path, device: str) -> Fitted:
    return fit_forecaster(load_predictor(place, device=device), task, seed=seed)


def from_baseline(
    name: str, baseline: Baseline, *, kind: Kind = "baseline", fits: dict[Any, Any] | None = None
) -> Entrant:
    """An entrant that is a baseline; those with the same ``fits`` share what they are fitted to."""
    fit = partial(_fit_baseline, baseline=baseline, fits={} if fits is None else fits)
    return Entrant(name, baseline.title, baseline.note, kind, fit, foreign=not baseline.fast)


def _fit_baseline(
    task: Task, *, seed: int, folder: Path, baseline: Baseline, fits: dict[Any, Any]
) -> Fitted:
    # Of the same task, and not an equal one, as another process has.
    key = baseline.fit, None if baseline.deterministic else seed
    kept, margins, spent = fits.get(key, (None, None, 0.0))
    started = time.perf_counter()
    if kept is not task:
        margins = baseline.fit(task, seed=seed, progress=True)
        spent = time.perf_counter() - started
        fits[key] = task, margins, spent
        started = time.perf_counter()
    fitted = baseline.prepare(task, seed=seed, margins=margins)
    return fitted._replace(seconds=spent + time.perf_counter() - started)


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
    if not isinstance(forecaster, Predictor | Estimator) and not hasattr(forecaster, "fit"):
        raise InputError(
            f"{name} is a {type(forecaster).__name__}; give a GluonTS predictor or estimator, or an object "
            "with fit and sample"
        )
    kind: Kind = "predictor" if isinstance(forecaster, Predictor) else "other"
    fit = partial(_fit_object, forecaster=forecaster, univariate=univariate)
    return Entrant(name, title or name, note, kind, fit)


def _fit_object(
    task: Task, *, seed: int, folder: Path, forecaster: Any, univariate: bool
) -> Fitted:
    if isinstance(forecaster, Predictor | Estimator):
        return fit_forecaster(forecaster, task, seed=seed, univariate=univariate)
    forecaster = copy.deepcopy(forecaster)
    fitted = forecaster.fit(task, seed=seed)
    if isinstance(fitted, Fitted):
        return fitted
    return Fitted((forecaster if fitted is None else fitted).sample, {})
