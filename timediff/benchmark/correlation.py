r"""Correlations between series of what the forecast did not know: of the truth, and as forecast.

They are those of `timediff.metrics.correlation_error`, for some of the series: of the truth's deviations
from the forecast mean, :math:`y - m`, against those of the paths, :math:`x_i - m`, both over all windows and
steps.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from timediff.metrics.arrays import Sums, add
from timediff.metrics.gaussian import residual_moments

__all__ = ["Array", "CorrelationSums", "chosen_series"]

Array = NDArray[np.float64]


def chosen_series(truth: NDArray[Any], *, most: int) -> list[int]:
    """Series evenly spread over the order of size, of those that vary: at most ``most``.

    Args:
        truth: What happened, ``[W, T, D]``, NaN where missing.
        most: How many at most.
    """
    filled = np.nan_to_num(truth)
    varies = np.flatnonzero(filled.std(axis=(0, 1)) > 0)
    order = varies[np.argsort(-np.abs(filled).mean(axis=(0, 1))[varies], kind="stable")]
    picks = np.linspace(0, len(order) - 1, min(most, len(order))).round().astype(int)
    return sorted(int(d) for d in order[picks])


class CorrelationSums:
    """Products of the deviations of some series, added up over windows."""

    def __init__(self, series: list[int]) -> None:
        self.series = series
        self.sums: Sums = {}
        self.steps = 0

    def add(self, paths: NDArray[Any], truth: NDArray[Any]) -> None:
        """One window: paths ``[S, T, D]``, truth ``[T, D]``; a single path has no deviations."""
        if len(paths) < 2:
            return
        happened = truth[:, self.series].astype(np.float64)
        self.steps += int(np.isfinite(happened).any(axis=-1).sum())
        add(self.sums, residual_moments(paths[..., self.series], happened))

    def result(self, names: list[str]) -> dict[str, Any]:
        """Names, and the correlations of each pair i < j row by row; None where one does not vary."""
        upper = np.triu_indices(len(self.series), k=1)
        true, forecast = (self._correlations(side)[upper] for side in ("truth", "paths"))
        known = np.isfinite(true) & np.isfinite(forecast)
        error = float(np.sqrt(np.square(true - forecast)[known].mean())) if known.any() else None
        return {
            "names": [names[d] for d in self.series],
            "truth": _rounded(true),
            "forecast": _rounded(forecast),
            "error": error,
            "steps": self.steps,
        }

    def _correlations(self, side: str) -> Array:
        if not self.sums:
            return np.full((len(self.series),) * 2, np.nan)
        products, squares = self.sums[f"{side}_products"], self.sums[f"{side}_squares"]
        with np.errstate(invalid="ignore", divide="ignore"):
            return products / np.sqrt(squares * squares.T)


def _rounded(values: Array) -> list[float | None]:
    return [round(float(v), 3) if np.isfinite(v) else None for v in values]
