r"""Ridge VAR: a linear model of all series on their own and each other's past, with resampled residuals.

A series is first freed of what returns: its mean at each position of a season, or its value one season ago
(`Form`); what is left, in units of its standard deviation, is

.. math:: z_{t,d} = \sum_l \phi_{l,d}\, z_{t-l,d} + \sum_{l,e} W_{(l,e),d}\, z_{t-l,e} + u_{t,d}

in two steps: every series by itself, then what that leaves on the past of all by ridge regression, so that a
heavy penalty gives independent autoregressions and none gives least squares. Form and penalty are chosen by
the error of the mean forecast on the end of the training data. A path adds one contiguous block of past
residual vectors, from the same hour, so it keeps the dependence of all series; the residuals are those of
leaving one out, :math:`u_t / (1 - h_{tt})`, for a regression on thousands of numbers leaves too small ones.

Axes: ``S`` sample paths, ``T`` time steps, ``D`` series, ``L`` lags, ``N`` training rows.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from timediff.baselines.base import Baseline
from timediff.baselines.naive import last_season
from timediff.baselines.task import (
    Array,
    Fitted,
    Task,
    Window,
    best,
    bounds,
    held_out,
    in_phase,
    resized,
)

__all__ = [
    "PENALTIES",
    "ROWS",
    "SIDE",
    "VAR",
    "Form",
    "Var",
    "fit_var",
    "residual_blocks",
    "ridge",
    "simulate",
]

#: Ridge penalties as shares of the number of rows; infinity leaves every series to itself.
PENALTIES = (1e-3, 1e-2, 0.1, 1.0, 10.0, np.inf)
#: Rows of the end of the training data that are used, at most.
ROWS = 6000
#: Rows or numbers of the past, whichever are fewer, beyond which every series is left to itself.
SIDE = 5000


class Form(NamedTuple):
    """What a series is freed of: "mean" of each position in, or "difference" over, so many steps."""

    kind: str
    season: int


class Var(NamedTuple):
    """A fitted model, in units of the standard deviations.

    Args:
        form: See `Form`.
        level: Means of the positions, the first that of the first step after training, ``[season, D]``.
        scale: Standard deviations, ``[D]``.
        lags: In steps, ascending.
        own: Coefficients of each series' own past, ``[L, D]``.
        cross: Coefficients of all, ``[L * D, D]``; None for none.
        residuals: ``[N, D]``, the last that of the last training step.
    """

    form: Form
    level: Array
    scale: Array
    lags: list[int]
    own: Array
    cross: Array | None
    residuals: Array


class _Rows(NamedTuple):
    """A regression before its penalty: what all candidates share."""

    model: Var
    past: Array  # [N, L * D]
    target: Array  # what the series' own past leaves, [N, D]
    known: NDArray[np.bool_]  # [N, D]


def fit_var(task: Task, *, seed: int, progress: bool) -> Fitted:
    """The VAR of the form and penalty that forecast the end of the training data best."""
    inner, truth = held_out(task)
    forms = _forms(inner if inner.histories else task)
    form = forms[-1]
    if inner.histories:
        form = best({name: _error(_rows(inner, name).model, inner, truth) for name in forms})
    if min(len(task.train), task.train.shape[1] * len(_lags(task))) > SIDE or not inner.histories:
        penalty = np.inf
    else:
        models = _regressions(_rows(inner, form), PENALTIES)
        penalty = best({p: _error(model, inner, truth) for p, model in models})
    ((_, model),) = _regressions(_rows(task, form), (penalty,))
    low, high = bounds(task.train)

    def sample(window: Window, num_samples: int, rng: np.random.Generator) -> Array:
        noise = residual_blocks(
            model, num_samples, horizon=task.horizon, cycle=task.cycle, gap=window.gap, rng=rng
        )
        return np.clip(simulate(model, window, noise), low, high)

    details = {
        "form": f"{form.kind} of season {form.season}",
        "penalty": float(penalty) if np.isfinite(penalty) else "infinite: each series by itself",
        "lags": model.lags,
    }
    return Fitted(sample, details)


def simulate(model: Var, window: Window, noise: Array) -> Array:
    """Paths that a window's past and this noise ``[S, T, D]`` in scaled units make, ``[S, T, D]``."""
    count, horizon, dim = noise.shape
    season, reach = model.form.season, max(model.lags)
    past = window.history[-(reach + season) :]
    if model.form.kind == "mean":
        position = np.arange(window.gap - len(past), window.gap + horizon) % season
        mean = model.level[position]  # [P + T, D]
        z = (past - mean[: len(past)]) / model.scale
    else:
        z = (past[season:] - past[:-season]) / model.scale
    states = np.zeros((reach + horizon, count, dim), dtype=np.float32)
    known = np.nan_to_num(z)[-reach:]
    states[reach - len(known) : reach] = known[:, None]
    cross = None if model.cross is None else model.cross.astype(np.float32)
    own, noise = model.own.astype(np.float32), noise.astype(np.float32)
    for t in range(reach, reach + horizon):
        before = states[[t - lag for lag in model.lags]]  # [L, S, D]
        states[t] = np.einsum("lsd,ld->sd", before, own) + noise[:, t - reach]
        if cross is not None:
            states[t] += before.transpose(1, 0, 2).reshape(count, -1) @ cross
    paths = states[reach:].transpose(1, 0, 2) * model.scale
    if model.form.kind == "mean":
        return paths + mean[len(past) :]
    last = last_season(window.history, season)
    for h in range(horizon):
        paths[:, h] += paths[:, h - season] if h >= season else last[h]
    return paths


def residual_blocks(
    model: Var, count: int, *, horizon: int, cycle: int, gap: int, rng: np.random.Generator
) -> Array:
    """Contiguous blocks of residuals that began at the window's position in the cycle, ``[S, T, D]``."""
    length = len(model.residuals)
    starts = np.arange(max(length - horizon, 0) + 1)
    aligned = in_phase(starts, length + gap, cycle)
    first = resized(rng, aligned if len(aligned) else starts, count)
    steps = np.minimum(first[:, None] + np.arange(horizon), length - 1)
    return model.residuals[steps]


def _lags(task: Task) -> list[int]:
    """The last two steps, and a season ago; half of the training rows are left at least."""
    longest = len(task.train) // 4
    return sorted({1, 2, *(season for season in task.seasons if season <= longest)})


def _forms(task: Task) -> list[Form]:
    longest = len(task.train) // 4
    seasons = sorted({1, *(season for season in task.seasons if season <= longest)})
    return [Form(kind, season) for kind in ("mean", "difference") for season in seasons]


def _rows(task: Task, form: Form) -> _Rows:
    """Every series on its own past, and what that leaves."""
    lags, season, train = _lags(task), form.season, task.train.astype(np.float64)
    train = train[-(ROWS + max(lags) + season) :]
    if form.kind == "mean":
        level = _means(train, season)
        z = train - level[np.arange(-len(train), 0) % season]
    else:
        level, z = np.zeros((season, train.shape[1])), train[season:] - train[:-season]
    scale = _sizes(z)
    z = z / scale
    reach = max(lags)
    known = np.isfinite(z[reach:])
    z = np.nan_to_num(z)
    past = np.stack([z[reach - lag : len(z) - lag] for lag in lags], axis=1)  # [N, L, D]
    gram = np.einsum("nld,nmd->dlm", past, past) + 1e-6 * len(past) * np.eye(len(lags))
    moment = np.einsum("nld,nd->dl", past, z[reach:])
    own = np.linalg.solve(gram, moment[..., None])[..., 0].T  # [L, D]
    left = np.where(known, z[reach:] - np.einsum("nld,ld->nd", past, own), 0.0)
    model = Var(form, level, scale, lags, own, None, _completed(left, known))
    return _Rows(model, past.reshape(len(past), -1), left, known)


def ridge(x: Array, y: Array, penalties: Sequence[float]) -> Iterator[tuple[Array, Array]]:
    r"""Ridge regression for each penalty: coefficients ``[P, D]``, leave-one-out residuals ``[N, D]``.

    .. math:: W = (X^T X + \lambda I)^{-1} X^T Y, \qquad u_t = \frac{(Y - X W)_t}{1 - h_{tt}}, \qquad
        h = \mathrm{diag}\, X (X^T X + \lambda I)^{-1} X^T

    from one eigendecomposition, of :math:`X^T X` or :math:`X X^T`, whichever is smaller.
    Source: Golub, Heath and Wahba (1979), Technometrics 21(2).

    Args:
        x: ``[N, P]``.
        y: ``[N, D]``.
        penalties: Finite, above 0.
    """
    wide = x.shape[1] > len(x)
    values, vectors = np.linalg.eigh(x @ x.T if wide else x.T @ x)
    values = values.clip(min=0)
    if wide:
        left, moment = vectors * np.sqrt(values), vectors.T @ y
    else:
        left, moment = x @ vectors, vectors.T @ (x.T @ y)
    for penalty in penalties:
        inner = vectors @ (moment / (values + penalty)[:, None])
        weights = x.T @ inner if wide else inner
        leverage = np.square(left) @ (1 / (values + penalty))
        yield weights, (y - x @ weights) / np.maximum(1 - leverage, 1e-3)[:, None]


def _regressions(rows: _Rows, penalties: Sequence[float]) -> Iterator[tuple[float, Var]]:
    """The model of each penalty, the finite ones first."""
    finite = [penalty for penalty in penalties if np.isfinite(penalty)]
    if finite:
        fits = ridge(rows.past, rows.target, [penalty * len(rows.past) for penalty in finite])
        for penalty, (weights, residuals) in zip(finite, fits, strict=True):
            residuals = _completed(residuals, rows.known)
            yield penalty, rows.model._replace(cross=weights, residuals=residuals)
    if len(finite) < len(penalties):
        yield np.inf, rows.model


def _error(model: Var, task: Task, truth: Array) -> float:
    """Mean absolute error of the mean forecast, of the series and of their sum, in standard deviations."""
    none = np.zeros((1, task.horizon, truth.shape[-1]))
    errors = truth - np.stack([simulate(model, window, none)[0] for window in task.windows])
    known = np.isfinite(errors)
    errors, train = np.where(known, errors, 0.0), np.nan_to_num(task.train)
    count = np.maximum(known.sum(axis=(0, 1)), 1)
    each = np.abs(errors).sum(axis=(0, 1)) / count / _sizes(task.train)
    total = np.abs(errors.sum(axis=-1)).mean() / _sizes(train.sum(axis=-1, keepdims=True))[0]
    return float(each.mean() + total)


def _means(values: Array, season: int) -> Array:
    """Of each position, that of the step after the last first; of the series where nothing is known."""
    padded = np.pad(values, ((-len(values) % season, 0), (0, 0)), constant_values=np.nan)
    whole = np.nan_to_num(_mean(values))
    fits = _mean(padded.reshape(-1, season, values.shape[1]))
    return np.where(np.isfinite(fits), fits, whole)


def _mean(values: Array) -> Array:
    """Of what is known along the first axis, NaN where nothing is."""
    known = np.isfinite(values)
    count = known.sum(axis=0)
    total = np.where(known, values, 0.0).sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _sizes(values: Array) -> Array:
    """Standard deviations ``[D]``, 1 where there is none."""
    variance = np.nan_to_num(_mean(np.square(values - _mean(values))))
    level = np.nan_to_num(_mean(np.abs(values)))
    deviation = np.sqrt(variance)
    return np.where(deviation > 1e-12 * level, deviation, 1.0)


def _completed(residuals: Array, known: NDArray[np.bool_]) -> Array:
    """Centred residuals, what is missing replaced by others of the series in turn."""
    residuals = np.where(
        known, residuals - np.nan_to_num(_mean(np.where(known, residuals, np.nan))), 0.0
    )
    for d in np.flatnonzero(~known.all(axis=0) & known.any(axis=0)):
        gone = ~known[:, d]
        residuals[gone, d] = np.resize(residuals[~gone, d], int(gone.sum()))
    return residuals


VAR = Baseline(
    "ridge VAR",
    "Every series on its own past, then by ridge regression on that of all; blocks of leave-one-out "
    "residual vectors of all series. Form and penalty are the best on the end of the training data.",
    True,
    fit_var,
)
