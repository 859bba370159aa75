"""Every baseline by name, with what a table says of it."""

from functools import partial
from importlib.util import find_spec
from typing import NamedTuple

from timediff.baselines.classical import STEPS, fit_arima, fit_ets
from timediff.baselines.climatology import NEAR, fit_climatology
from timediff.baselines.copula import joined
from timediff.baselines.naive import RECENT, fit_random_walk, fit_seasonal_naive
from timediff.baselines.task import Array, Fit, Fitted, Task, check_task
from timediff.baselines.var import fit_var
from timediff.errors import InputError


class Baseline(NamedTuple):
    """An entrant that is not ours.

    Args:
        title: Its name in tables.
        note: What it is and with which settings, a sentence or two.
        fast: Whether it takes seconds to few tens of seconds.
        fit: Brings it to the training data of a task; before its copula, where it is joined by one.
        copula: Whether `timediff.baselines.copula.joined` makes it joint.
        needs: Packages beyond timediff's own that it wants.
    """

    title: str
    note: str
    fast: bool
    fit: Fit
    copula: bool = False
    needs: tuple[str, ...] = ()

    def prepare(
        self, task: Task, *, seed: int, progress: bool = True, margins: Fitted | None = None
    ) -> Fitted:
        """The forecaster of a task.

        Args:
            task: Whose training data it sees.
            seed: Of all random numbers.
            progress: Show progress bars on stderr.
            margins: What `fit` gave for the same task and seed, if that is known already.
        """
        found = margins or self.fit(task, seed=seed, progress=progress)
        return joined(found, task, seed=seed, progress=progress) if self.copula else found

    def forecast(self, task: Task, *, num_samples: int, seed: int, progress: bool = True) -> Array:
        """Sample paths of all windows, float32 ``[W, S, T, D]``.

        Raises:
            InputError: The task does not make sense.
        """
        check_task(task)
        prepared = self.prepare(task, seed=seed, progress=progress)
        return prepared.paths(task, num_samples=num_samples, seed=seed, progress=progress)


_COPULA = "Joined by the ranks of its past errors (empirical copula); the margins are unchanged."


# Those of torch are imported when they are called for.
def _deepar(task: Task, *, seed: int, progress: bool) -> Fitted:
    from timediff.baselines.deep import fit_deepar

    return fit_deepar(task, seed=seed, progress=progress)


def _patchtst(task: Task, *, seed: int, progress: bool) -> Fitted:
    from timediff.baselines.deep import fit_patchtst

    return fit_patchtst(task, seed=seed, progress=progress)


def _energy(task: Task, *, seed: int, progress: bool) -> Fitted:
    from timediff.baselines.energy import fit_energy

    return fit_energy(task, seed=seed, progress=progress)


BASELINES: dict[str, Baseline] = {
    "random_walk": Baseline(
        "random walk",
        "The last value plus a contiguous block of past one-step differences of all series, freed of "
        "their mean.",
        True,
        fit_random_walk,
    ),
    "random_walk_recent": Baseline(
        f"random walk, last {RECENT} blocks",
        f"The same from the last {RECENT} blocks of the training data alone, a number fixed beforehand.",
        True,
        partial(fit_random_walk, recent=RECENT),
    ),
    "seasonal_naive": Baseline(
        "seasonal naive",
        "The value one season before plus a contiguous block of past seasonal differences of all series; the "
        "season is the best on the end of the training data.",
        True,
        fit_seasonal_naive,
    ),
    "seasonal_naive_recent": Baseline(
        f"seasonal naive, last {RECENT} blocks",
        f"The same from the last {RECENT} blocks of the training data alone, a number fixed beforehand.",
        True,
        partial(fit_seasonal_naive, recent=RECENT),
    ),
    "climatology": Baseline(
        "climatology",
        "Contiguous blocks of past values of all series from the same position in the longest season, within "
        f"{NEAR} days of the same day of the year where there are enough.",
        True,
        fit_climatology,
    ),
    "var": Baseline(
        "ridge VAR",
        "Every series on its own past, then by ridge regression on that of all; blocks of leave-one-out "
        "residual vectors of all series. Form and penalty are the best on the end of the training data.",
        True,
        fit_var,
    ),
    "auto_ets": Baseline(
        "AutoETS, copula",
        f"AutoETS of statsforecast on the last {STEPS} steps of each series, normal margins. {_COPULA}",
        False,
        fit_ets,
        copula=True,
        needs=("statsforecast",),
    ),
    "auto_arima": Baseline(
        "AutoARIMA, copula",
        "AutoARIMA of statsforecast, without season of its own, on the last "
        f"{STEPS} steps of each series freed of its mean at each position in the shortest season, normal "
        f"margins. {_COPULA}",
        False,
        fit_arima,
        copula=True,
        needs=("statsforecast",),
    ),
    "deepar": Baseline(
        "DeepAR",
        "GluonTS, one network for all series, 1000 optimiser steps on the CPU; independent series.",
        False,
        _deepar,
    ),
    "deepar_copula": Baseline("DeepAR, copula", _COPULA, False, _deepar, copula=True),
    "patchtst": Baseline(
        "PatchTST",
        "GluonTS, one network for all series, 1000 optimiser steps on the CPU; independent series and steps.",
        False,
        _patchtst,
    ),
    "patchtst_copula": Baseline("PatchTST, copula", _COPULA, False, _patchtst, copula=True),
    "energy": Baseline(
        "energy-score network",
        "Our encoder with a head that turns noise into the next vector, trained by the energy score for 1000 "
        "optimiser steps on the CPU: joint, and not diffusion.",
        False,
        _energy,
    ),
}
"""Names -> baselines, in the order of tables."""


def chosen(which: str) -> tuple[list[str], dict[str, str]]:
    """Names of the baselines that "all", "fast" or "none" means, and why others of these are left out.

    Raises:
        InputError: Another word.
    """
    if which not in ("all", "fast", "none"):
        raise InputError(f"baselines are {which!r}; choose all, fast or none")
    wanted = [name for name, one in BASELINES.items() if which == "all" or one.fast]
    if which == "none":
        wanted = []
    left_out = {
        name: f"{package} is not installed; install timediff with its extra [baselines]"
        for name in wanted
        for package in BASELINES[name].needs
        if find_spec(package) is None
    }
    return [name for name in wanted if name not in left_out], left_out
