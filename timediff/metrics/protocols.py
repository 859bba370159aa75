r"""One forecast, many scores of the same name: the variants of CRPS_sum that papers report.

All are scores of the sum over dimensions, whose truth is :math:`y_{wt}` in step t of window w, and most have
the form

.. math:: \frac{\sum_{w,t} \ell_{wt}}{\sum_{w,t} |y_{wt}|} \quad\text{(ratio of sums)}, \qquad
    \ell_{wt} = \frac1K \sum_{k=1}^K 2\, \bigl| (q_{p_k} - y)\, (\mathbf 1[y \le q_{p_k}] - p_k) \bigr|

They differ in the levels :math:`p_k`, in what a quantile of S paths is, and in whether ratios are taken
before or after averaging. Numbers of two protocols do not compare: `protocol_table` shows how far apart they
are for one and the same forecast, which is how much of a claimed gain the protocol alone can make.

Axes: ``W`` windows, ``S`` sample paths, ``T`` time steps, ``D`` dimensions; NaN is a missing value.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from timediff.metrics import crps_ensemble, quantile_loss, sum_over_dimensions
from timediff.metrics.arrays import check_windows

__all__ = ["LEVELS", "PROTOCOLS", "REFERENCE", "Array", "Protocol", "protocol_table"]

Array = NDArray[np.float64]
#: Losses ``[W, T, 1]`` of paths ``[W, S, T, 1]`` and truth ``[W, T, 1]``, and what makes one number of them.
_Loss = Callable[[Array, Array], Array]
_Average = Callable[[Array, Array], float]

LEVELS = {
    9: np.arange(1, 10) / 10,
    10: np.arange(1, 20, 2) / 20,
    19: np.arange(1, 20) / 20,
}
"""The grids of quantile levels: .1 .. .9, .05, .15 .. .95, and .05, .1 .. .95."""

REFERENCE = "ratio_of_sums_19"
"""The protocol of the TimeGrad paper: ``mean_wquantile_loss_sum`` in `timediff.metrics.METRICS`."""


class Protocol(NamedTuple):
    """A way to score the sum over dimensions: ``protocol(paths, truth)``.

    Args:
        description: One sentence.
        source: Who reports it, where we know.
        loss: Of each step.
        average: Of losses and truth.
    """

    description: str
    source: str
    loss: _Loss
    average: _Average

    def __call__(self, paths: ArrayLike, truth: ArrayLike) -> float:
        """The score of paths ``[W, S, T, D]`` against truth ``[W, T, D]``."""
        return self.of_sum(*_summed(paths, truth))

    def of_sum(self, paths: Array, truth: Array) -> float:
        """The score of the sum over dimensions, ``[W, S, T, 1]``, against its truth, ``[W, T, 1]``."""
        return self.average(self.loss(paths, truth), truth)


def protocol_table(paths: ArrayLike, truth: ArrayLike) -> dict[str, float]:
    """The score of every protocol, by the names of `PROTOCOLS`.

    Args:
        paths: Sample paths, ``[W, S, T, D]``. They are summed over dimensions one window at a time.
        truth: What happened, ``[W, T, D]``.

    Raises:
        InputError: The shapes disagree, or paths are not finite.
    """
    summed = _summed(paths, truth)
    return {name: protocol.of_sum(*summed) for name, protocol in PROTOCOLS.items()}


def _summed(paths: ArrayLike, truth: ArrayLike) -> tuple[Array, Array]:
    paths, truth = np.asarray(paths), np.asarray(truth)
    check_windows(paths, truth, "a protocol")
    sums = [sum_over_dimensions(*window) for window in zip(paths, truth, strict=True)]
    sum_paths, sum_truth = zip(*sums, strict=True)
    return np.stack(sum_paths), np.stack(sum_truth)


def _quantile_loss(levels: int) -> _Loss:
    """`quantile_loss` over a grid of `LEVELS`: a quantile is the path nearest to position (S - 1) p."""
    return partial(quantile_loss, levels=LEVELS[levels])


def _interpolated_loss(levels: int) -> _Loss:
    """Quantile loss over a grid of `LEVELS`, a quantile interpolated between the paths around (S - 1) p."""

    def loss(paths: Array, truth: Array) -> Array:
        total = np.zeros_like(truth)
        for p, q in zip(LEVELS[levels], np.quantile(paths, LEVELS[levels], axis=1), strict=True):
            total += 2 * np.abs((q - truth) * ((truth <= q) - p))
        return total / len(LEVELS[levels])

    return loss


def _fair_crps(paths: Array, truth: Array) -> Array:
    """`crps_ensemble` of different paths; NaN for a single path."""
    if paths.shape[1] == 1:
        return np.full_like(truth, np.nan)
    return crps_ensemble(paths, truth, fair=True)


def _ratio_of_sums(losses: Array, truth: Array) -> float:
    return float(_ratios(losses, truth, axis=(0, 1, 2)))


def _mean_of_window_ratios(losses: Array, truth: Array) -> float:
    return _mean(_ratios(losses, truth, axis=(1, 2)))


def _mean_of_step_ratios(losses: Array, truth: Array) -> float:
    return _mean(_ratios(losses, truth, axis=(0, 2)))


def _ratios(losses: Array, truth: Array, *, axis: tuple[int, ...]) -> Array:
    """Loss relative to the size of the truth, both summed over axes; NaN where nothing but 0 was observed."""
    size = np.nansum(np.abs(truth), axis=axis)
    total = np.sum(losses, axis=axis, where=~np.isnan(truth))
    return np.divide(total, size, out=np.full_like(size, np.nan), where=size > 0)


def _mean(ratios: Array) -> float:
    """Mean of the ratios that are defined."""
    defined = ratios[~np.isnan(ratios)]
    return float(defined.mean()) if len(defined) else float("nan")


_PROBTS = "ProbTS, https://github.com/microsoft/ProbTS, probts/utils/evaluator.py"

PROTOCOLS: dict[str, Protocol] = {
    "ratio_of_sums_19": Protocol(
        "Quantile loss at the 19 levels .05 .. .95 over the size of the truth, each summed over all windows "
        "and steps; a quantile is the nearest order statistic.",
        "GluonTS's MultivariateEvaluator as the code of Rasul et al. (2021), arXiv:2101.12072, calls it: "
        "https://github.com/zalandoresearch/pytorch-ts",
        _quantile_loss(19),
        _ratio_of_sums,
    ),
    "ratio_of_sums_10": Protocol(
        "The same at 10 levels, the mid-points .05, .15 .. .95.",
        "no paper known to us; ProbTS's quantiles_num=10 is the grid of 9",
        _quantile_loss(10),
        _ratio_of_sums,
    ),
    "ratio_of_sums_9": Protocol(
        "The same at the 9 levels .1 .. .9.",
        "GluonTS's default quantiles",
        _quantile_loss(9),
        _ratio_of_sums,
    ),
    "interpolated_19": Protocol(
        "ratio_of_sums_19 with quantiles interpolated between the order statistics.",
        "Tashiro et al. (2021), https://github.com/ermongroup/CSDI (torch.quantile)",
        _interpolated_loss(19),
        _ratio_of_sums,
    ),
    "mean_of_window_ratios_19": Protocol(
        "The interpolated quantile loss at 19 levels over the size of the truth in each window, then the "
        "mean over windows: quiet windows count like loud ones.",
        f"{_PROBTS}, which takes a ratio for each batch",
        _interpolated_loss(19),
        _mean_of_window_ratios,
    ),
    "mean_of_window_ratios_9": Protocol(
        "The same at the 9 levels .1 .. .9.",
        f"{_PROBTS}, with its default quantiles_num=10",
        _interpolated_loss(9),
        _mean_of_window_ratios,
    ),
    "mean_of_step_ratios_19": Protocol(
        "The loss of ratio_of_sums_19 over the size of the truth at each step of the horizon, summed over "
        "windows, then the mean over steps: quiet hours count like loud ones.",
        "no paper known to us; the mean of a table of scores by horizon",
        _quantile_loss(19),
        _mean_of_step_ratios,
    ),
    "crps_v": Protocol(
        "The CRPS of the empirical distribution of the paths, mean |x - y| - mean |x - x'| / 2 over all "
        "pairs, over the size of the truth: no grid of levels.",
        "Gneiting and Raftery (2007), doi:10.1198/016214506000001437, eq. 21; properscoring",
        crps_ensemble,
        _ratio_of_sums,
    ),
    "crps_fair": Protocol(
        "The same over the pairs of different paths: its mean does not depend on how many paths there are.",
        "Ferro (2014), doi:10.1002/qj.2270; scoringrules",
        _fair_crps,
        _ratio_of_sums,
    ),
}
"""Protocols by name; `REFERENCE` first."""
