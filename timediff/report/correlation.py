r"""Correlations between series of what the forecast did not know: of the truth, and as forecast.

The truth's deviations from the forecast mean, :math:`y - \bar x`, against those of the paths,
:math:`x_i - \bar x`, both over all windows and steps. The daily course that all series share is in neither,
and for a calibrated forecast both have the same correlations.

Axes: ``S`` sample paths, ``T`` time steps, ``D`` series, ``k`` of them listed.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def chosen_series(truth: NDArray, *, most: int) -> list[int]:
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
    """Moments of the deviations of some series, over the entries where both of a pair are observed."""

    def __init__(self, series: list[int]) -> None:
        self.series = series
        self.moments = {
            part: np.zeros((4, len(series), len(series))) for part in ("truth", "forecast")
        }

    def add(self, paths: Array, truth: Array) -> None:
        """One block: paths ``[S, t, D]``, truth ``[t, D]``."""
        ahead, happened = paths[..., self.series], truth[..., self.series]
        mean = ahead.mean(axis=0)  # [t, k]
        observed = np.isfinite(happened)
        self.moments["truth"] += _moments(happened - mean, observed)
        everywhere = np.broadcast_to(observed, ahead.shape).reshape(-1, len(self.series))
        self.moments["forecast"] += _moments(
            (ahead - mean).reshape(-1, len(self.series)), everywhere
        )

    def result(self, names: list[str]) -> dict[str, Any]:
        """Names, and the correlations of each pair i < j row by row; None where one does not vary."""
        upper = np.triu_indices(len(self.series), k=1)
        truth, forecast = (_correlations(self.moments[p])[upper] for p in ("truth", "forecast"))
        known = np.isfinite(truth) & np.isfinite(forecast)
        error = float(np.abs(truth - forecast)[known].mean()) if known.any() else None
        return {
            "names": [names[d] for d in self.series],
            "truth": _rounded(truth),
            "forecast": _rounded(forecast),
            "mean_absolute_error": error,
            "entries": int(self.moments["truth"][0].max(initial=0)),
        }


def _moments(deviations: Array, observed: NDArray[np.bool_]) -> Array:
    """Count, sum, sum of squares of i where i and j are observed, and sum of products, ``[4, k, k]``."""
    seen = observed.astype(float)
    values = np.where(observed, deviations, 0.0)
    return np.stack([seen.T @ seen, values.T @ seen, (values**2).T @ seen, values.T @ values])


def _correlations(moments: Array) -> Array:
    with np.errstate(invalid="ignore", divide="ignore"):
        count, total, square, product = moments
        mean = total / count  # of i where j is observed too
        variance = square / count - mean**2
        covariance = product / count - mean * mean.T
        floor = 1e-12 * (square / count)
        scale = np.sqrt(np.where(variance > floor, variance, np.nan))
        return np.clip(covariance / (scale * scale.T), -1, 1)


def _rounded(values: Array) -> list[float | None]:
    return [round(float(v), 3) if np.isfinite(v) else None for v in values]
