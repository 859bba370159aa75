"""The standard error of a score over sets of paths from one forecast."""

import numpy as np
from numpy.typing import ArrayLike

from timediff.errors import InputError
from timediff.metrics.arrays import check_members, checked_windows
from timediff.metrics.table import score
from timediff.registry import METRICS
from timediff.tools.progress import progress_bar

__all__ = ["FEWEST", "monte_carlo_error"]

#: Least number of paths whose error can be estimated.
FEWEST = 4


def monte_carlo_error(
    paths: ArrayLike,
    truth: ArrayLike,
    *,
    groups: int = 10,
    seasonal_error: ArrayLike | None = None,
    progress: bool = False,
) -> dict[str, float]:
    r"""Standard error of every score of `METRICS` with respect to the paths, by a grouped jackknife.

    .. math:: \sqrt{\frac{G - 1}{G} \sum_g \bigl(\theta_{(g)} - \bar\theta\bigr)^2}

    with the score :math:`\theta_{(g)}` of all paths but those of group g. The paths of a window are taken as
    independent draws; windows, training and what happened are not drawn again, so two errors together
    do not say whether two models differ. It takes G times as long as `score`.

    Source: Shao and Wu (1989), Annals of Statistics 17, 1176: several paths must be left out at a time for
    quantiles.

    Args:
        paths: Sample paths, ``[W, S, T, D]``.
        truth: What happened, ``[W, T, D]``.
        groups: G; at most S.
        seasonal_error: As for `score`.
        progress: Whether to show a bar of the groups.

    Returns:
        Value of each name, NaN where the score is.

    Raises:
        InputError: If there are fewer than 4 paths or 2 groups.
    """
    paths, truth = checked_windows(paths, truth)
    check_members(paths, FEWEST, "a Monte-Carlo error")
    if groups < 2:
        raise InputError(f"a jackknife needs at least 2 groups of paths, but groups is {groups}")
    group = np.arange(paths.shape[1]) % groups
    rows = []
    with progress_bar("Monte-Carlo error", total=int(group.max()) + 1, shown=progress) as bar:
        for left_out in range(int(group.max()) + 1):
            rows.append(score(paths[:, group != left_out], truth, seasonal_error=seasonal_error))
            bar.update()
    with np.errstate(invalid="ignore"):  # an infinite score has no error
        spread = {name: np.var([row[name] for row in rows]) for name in METRICS}
    return {name: float(np.sqrt((len(rows) - 1) * value)) for name, value in spread.items()}
