"""Fracast-0, a small network that others trained on public series, made joint by a copula.

It is shown the past of each series by itself, with its missing values, and answers with nine quantiles of
each step (0.1 to 0.9); nothing is trained on this task. Between the quantiles margins are linear in the
scale of the normal distribution, and beyond them they go on with the slope from the median to the outermost
one. A forecast of more than 48 steps is made in parts, each of which goes on from the median of the one
before: its spread is too small there.

What it may have seen: its authors name as training data Salesforce's GiftEvalPretrain and LOTSA, the data
sets of Chronos, Datadog's BOOM, those of fev, and synthetic series. These collections hold versions of many
public sets (electricity, traffic, taxi counts, exchange rates, loads of GEFCom 2012, speeds of Los Angeles,
air quality of Beijing), so the days of a test window there may be among what it was trained on.

Source: fracast 0.1.0 (https://github.com/ztxtech/fracast-0, Apache-2.0), 85,001 parameters that come with
the package; nothing is downloaded.

Axes: ``S`` sample paths, ``T`` time steps, ``D`` series, ``Q`` quantiles; NaN is a missing value.
"""

from typing import Any

import numpy as np
from scipy.special import ndtri

from timediff.baselines.base import COPULA, Baseline
from timediff.baselines.naive import last_season
from timediff.baselines.task import Array, Fitted, Task, Window, bounds

__all__ = ["FRACAST", "between", "fit_fracast"]

#: Observed values of a series below which it refuses to forecast.
_FEWEST = 8


def fit_fracast(task: Task, *, seed: int, progress: bool) -> Fitted:
    """Margins of Fracast-0; where a series has no past to show, the last value, with no spread."""
    from fracast import FracastModel

    model = FracastModel.from_pretrained(weights="fp32", device="cpu")
    low, high = bounds(task.train)

    def sample(window: Window, num_samples: int, rng: np.random.Generator) -> Array:
        shown = window.history[-model.context_length :].astype(np.float32)  # [T, D]
        held = last_season(window.history, 1)[0][:, None]
        shape = (task.horizon, len(held), len(model.quantiles))
        quantiles = np.broadcast_to(held, shape).astype(np.float64)  # [T, D, Q]
        enough = np.isfinite(shown).sum(axis=0) >= _FEWEST
        if enough.any():
            answer = model.forecast_batch(shown[:, enough].T, horizon=task.horizon)  # [D, T, Q]
            quantiles[:, enough] = np.swapaxes(answer, 0, 1)
        levels = (
            np.arange(num_samples) + rng.random((*quantiles.shape[:2], num_samples))
        ) / num_samples
        paths = between(quantiles, np.array(model.quantiles), levels)  # [T, D, S]
        return np.clip(np.moveaxis(rng.permuted(paths, axis=-1), -1, 0), low, high)

    return Fitted(sample, _details(model))


def _details(model: Any) -> dict[str, Any]:
    parameters = sum(p.numel() for part in (model.core, model.head) for p in part.parameters())
    return {"parameters": parameters, "context": model.context_length, "device": "cpu"}


def between(quantiles: Array, known: Array, levels: Array) -> Array:
    """Values at levels, from quantiles at other levels; crossing ones are put in order.

    Args:
        quantiles: ``[..., Q]``.
        known: Their levels, ascending, 0.5 among them, ``[Q]``.
        levels: In (0, 1), ``[..., S]``.

    Returns:
        ``[..., S]``.
    """
    quantiles = np.sort(quantiles, axis=-1)
    at, z = ndtri(known), ndtri(levels)
    middle = len(known) // 2
    left = np.clip(np.searchsorted(at, z, side="right") - 1, 0, len(at) - 2)  # [..., S]
    lower, upper = (np.take_along_axis(quantiles, k, axis=-1) for k in (left, left + 1))
    inner = lower + (upper - lower) * (z - at[left]) / (at[left + 1] - at[left])
    below, above = (
        (quantiles[..., [end]] - quantiles[..., [middle]]) / (at[end] - at[middle])
        for end in (0, -1)
    )
    inner = np.where(z < at[0], quantiles[..., [0]] + below * (z - at[0]), inner)
    return np.where(z > at[-1], quantiles[..., [-1]] + above * (z - at[-1]), inner)


FRACAST = Baseline(
    "Fracast-0, copula",
    "Fracast-0 (85,001 parameters) without training on this data. Its authors trained it on public "
    "collections (GiftEvalPretrain, LOTSA, Chronos, BOOM, fev) and synthetic series: of public data sets it "
    f"may have seen the test windows, too. {COPULA}",
    False,
    fit_fracast,
    copula=True,
    deterministic=True,
    needs=("fracast",),
    extra="zero-shot",
)
