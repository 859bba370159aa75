"""An empirical copula: independent margins become joint paths by the ranks of past errors.

In `reorder` the paths' values at each step and series stay what they are; which value goes to which path is
decided by a past error vector of the whole horizon and all series. So every margin is exactly the
forecaster's own, and the dependence is that of its past errors. A forecaster whose paths are right over
time, one series at a time, keeps them whole in `pair`, which joins over series alone.

Source: Clark et al. (2004), J. Hydrometeorology 5(1), and Schefzik et al. (2013), arXiv:1302.7149 (ensemble
copula coupling), with errors in place of observations or ensemble members.

Axes: ``B`` past windows, ``S`` sample paths, ``T`` time steps, ``D`` series.
"""

import numpy as np
from scipy.optimize import linear_sum_assignment

from timediff.baselines.task import Array, Fitted, Task, Window, past_windows
from timediff.tools.progress import progress_bar

__all__ = ["ORIGINS", "PATHS", "joined", "pair", "past_errors", "reorder"]

#: Past windows whose errors are taken, at most, and paths that each of their medians is made of.
ORIGINS, PATHS = 60, 20


def reorder(margins: Array, errors: Array, rng: np.random.Generator) -> Array:
    """Paths with the margins' values and the errors' ranks.

    Each path follows one past error vector; where there are more paths than errors, those that share one are
    ordered at random.

    Args:
        margins: ``[S, T, D]``, in any order.
        errors: Past errors, finite, ``[B, T, D]``.
        rng: Which path follows which error, and ties.

    Returns:
        ``[S, T, D]``; along the first axis a permutation of ``margins`` at every step and series.
    """
    count = len(margins)
    errors = errors[rng.permutation(len(errors))]  # so that equal errors have no order of time
    ranks = errors.argsort(axis=0, kind="stable").argsort(axis=0, kind="stable")  # [B, T, D]
    followed = np.resize(rng.permutation(len(errors)), count)  # [S]
    place = ranks[followed] + rng.random(margins.shape, dtype=np.float32)
    order = place.argsort(axis=0).argsort(axis=0)
    return np.take_along_axis(np.sort(margins, axis=0), order, axis=0)


def pair(paths: Array, errors: Array, rng: np.random.Generator) -> Array:
    """Whole paths of each series, put together over series as past errors went together.

    `reorder` shows what joint paths with these margins and the errors' ranks look like. In place of each of
    them every series gets one of its own paths, each path once, such that the squared distances to them are
    least in total. Of one step, this is `reorder`. Of many, the dependence at a step is weaker than that of
    the errors, since few paths look like what is asked for: the weaker, the less memory paths have.

    Args:
        paths: Of each series by itself, ``[S, T, D]``.
        errors: Past errors, finite, ``[B, T, D]``.
        rng: Of `reorder`.

    Returns:
        ``[S, T, D]``; a permutation of ``paths`` along the first axis for every series.
    """
    wanted = reorder(paths, errors, rng)
    joint = np.empty_like(paths)
    for d in range(paths.shape[2]):
        own = paths[:, :, d] - paths[:, :, d].mean(axis=0)
        slots, chosen = linear_sum_assignment(wanted[:, :, d] @ own.T, maximize=True)
        joint[slots, :, d] = paths[chosen, :, d]
    return joint


def past_errors(fitted: Fitted, task: Task, *, seed: int, progress: bool) -> Array:
    """Truth minus median of a forecaster in windows within the training data, ``[B, T, D]``.

    A missing truth leaves the error 0. The forecaster may have been trained on these windows: only ranks of
    the errors are used, not their size.
    """
    windows, truth = past_windows(task, ORIGINS, stride=max(task.cycle, -(-task.horizon // 4)))
    errors = np.zeros(truth.shape, dtype=np.float32)
    with progress_bar("past errors", total=len(windows), shown=progress) as bar:
        for b, window in enumerate(windows):
            rng = np.random.default_rng([seed, b, 1])
            errors[b] = truth[b] - np.median(fitted.sample(window, PATHS, rng), axis=0)
            bar.update(1)
    return np.nan_to_num(errors)


def joined(fitted: Fitted, task: Task, *, seed: int, progress: bool, whole: bool = False) -> Fitted:
    """The forecaster whose margins are those of `fitted`, made joint; as it is if nothing is past.

    Args:
        fitted: Whose paths are joint over steps at most.
        task: Of which the training data are used.
        seed: Of the paths that the past errors' medians are made of.
        progress: Show a progress bar on stderr.
        whole: Keep each series' paths whole (`pair`); else steps are joined as series are (`reorder`).
    """
    join = pair if whole else reorder
    errors = past_errors(fitted, task, seed=seed, progress=progress)
    details = {**fitted.details, "copula_of_past_errors": len(errors)}
    if not len(errors):
        return fitted._replace(details=details)

    def sample(window: Window, num_samples: int, rng: np.random.Generator) -> Array:
        return join(fitted.sample(window, num_samples, rng), errors, rng)

    return Fitted(sample, details)
