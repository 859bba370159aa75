"""What a baseline is, and which of them are meant by "fast" and "all"."""

from importlib.util import find_spec
from typing import NamedTuple

from timediff.baselines.copula import joined
from timediff.baselines.task import Array, Fit, Fitted, Task, check_task
from timediff.errors import InputError
from timediff.registry import BASELINES

__all__ = ["COPULA", "Baseline", "chosen"]

#: What a note says of those whose margins a copula joins.
COPULA = "Joined by the ranks of its past errors (empirical copula); the margins are unchanged."


class Baseline(NamedTuple):
    """A forecaster to compare with.

    Args:
        title: Its name in tables.
        note: What it is and with which settings, a sentence or two.
        fast: Whether it takes seconds to few tens of seconds.
        fit: Brings it to the training data of a task; before its copula, where it is joined by one.
        copula: Whether `timediff.baselines.copula.joined` makes it joint.
        needs: Packages beyond timediff's own that it wants.
        whole: Whether that copula keeps each series' paths whole and joins over series alone.
        deterministic: Whether `fit` draws nothing, so that all seeds may share what it gives.
        extra: Timediff's extra that brings what it needs.
    """

    title: str
    note: str
    fast: bool
    fit: Fit
    copula: bool = False
    needs: tuple[str, ...] = ()
    whole: bool = False
    deterministic: bool = False
    extra: str = "baselines"

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
        fitted = margins or self.fit(task, seed=seed, progress=progress)
        if not self.copula:
            return fitted
        return joined(fitted, task, seed=seed, progress=progress, whole=self.whole)

    def forecast(self, task: Task, *, num_samples: int, seed: int, progress: bool = True) -> Array:
        """Sample paths of all windows, ``[W, S, T, D]``.

        Raises:
            InputError: The task does not make sense.
        """
        check_task(task)
        prepared = self.prepare(task, seed=seed, progress=progress)
        return prepared.paths(task, num_samples=num_samples, seed=seed, progress=progress)


def chosen(which: str) -> tuple[list[str], dict[str, str]]:
    """Names of the baselines that "all", "fast" or "none" means, and why others of these are left out.

    Raises:
        InputError: Another word.
    """
    if which not in ("all", "fast", "none"):
        raise InputError(f"baselines are {which!r}; choose all, fast or none")
    # Slow ones of the library are told by their line in the table: some of them take seconds to import.
    quick = [name for name, part in BASELINES.parts.items() if not part.slow]
    wanted = {
        "all": list(BASELINES),
        "fast": [name for name in quick if BASELINES[name].fast],
        "none": [],
    }[which]
    left_out = {
        name: f"{package} is not installed; install timediff with its extra [{BASELINES[name].extra}]"
        for name in wanted
        for package in BASELINES[name].needs
        if find_spec(package) is None
    }
    return [name for name in wanted if name not in left_out], left_out
