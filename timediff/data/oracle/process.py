r"""The process behind the dataset ``oracle``: its parameters, its paths, and the filter that knows them.

The observed vector is a seasonal mean plus a deviation, an autoregression that a hidden Markov chain
of regimes moves and whose noise is a Gaussian scale mixture:

.. math::
    y_t = m_{t \bmod 168} + x_t, \qquad
    x_t = \Phi x_{t-1} + c_{z_t} + \sqrt{s_t}\, L_{z_t} \epsilon_t, \qquad
    P(z_t = j \mid z_{t-1} = i) = P_{ij}, \quad P(s_t = \sigma_m) = w_m,

with :math:`\epsilon_t` standard normal, :math:`x_{-1} = 0` and :math:`z_{-1}` from the stationary
distribution of the chain. So it has a day and a week, correlations that depend on the regime, and
heavy tails. The deviation before a step is observed, hence the only thing unknown at the origin of a
forecast is the regime; its distribution given all that was observed is the forward filter of a hidden
Markov model (Rabiner 1989, eqs. 19-20; Hamilton 1989), a sum over finitely many terms and exact. A path
draws the regime from it and simulates the equation onwards.

Axes: ``W`` windows, ``S`` sample paths, ``T`` steps, ``D`` series, ``K`` regimes, ``M`` scales.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from timediff.errors import InputError

__all__ = [
    "MAX_DIM",
    "WEEK",
    "Array",
    "Process",
    "State",
    "beginning",
    "draw",
    "filter_regimes",
    "log_emission",
    "make_process",
    "simulate",
]

Array = NDArray[np.float64]

MAX_DIM = 4096
WEEK = 168

_DWELL = np.array([48.0, 24.0, 24.0])  # mean hours in the regimes calm, together and apart
_NOISE = np.array([0.7, 1.3, 1.0])
_SHARED = np.array([0.3, 0.8, 0.7])  # of the noise's variance, by one factor
_SCALES, _SCALE_WEIGHTS = np.array([0.4, 1.4, 8.0]), np.array([0.70, 0.26, 0.04])


class Process(NamedTuple):
    """The parameters of the process, in the notation of the module."""

    seasonal: Array  # m [168, D]
    persistence: Array  # Phi [D, D]
    offset: Array  # c [K, D]
    factor: Array  # L [K, D, D], lower triangular
    scales: Array  # sigma [M], of mean 1
    scale_weights: Array  # w [M]
    transition: Array  # P [K, K]
    stationary: Array  # of the chain, [K]


class State(NamedTuple):
    """The state from which paths go on: the step to come, the deviation and the regime before it."""

    time: int
    deviation: Array  # [S, D]
    regimes: NDArray[np.int64]  # [S]


def make_process(dim: int, *, seed: int = 0) -> Process:
    """The process of this many series; the seed chooses its parameters.

    Regimes: calm (little noise, weak correlation), together (much noise of one sign in all series, at a
    higher level), apart (two groups of series that move against each other).

    Raises:
        InputError: There cannot be so many series.
    """
    if not 1 <= dim <= MAX_DIM:
        raise InputError(f"an oracle of {dim} series cannot be made: give 1 to {MAX_DIM}")
    rng = np.random.default_rng([seed, dim])
    level = rng.uniform(6, 14, size=dim)
    unit = 0.06 * level  # typical noise
    hours = np.arange(WEEK)[:, None]
    peak = rng.uniform(10, 20, size=dim)
    daily = np.cos(2 * np.pi * (hours - peak) / 24) + 0.4 * np.cos(4 * np.pi * (hours - peak) / 24)
    weekend = np.where(hours >= 5 * 24, rng.uniform(-0.15, 0.05, size=dim), 0.0)
    seasonal = level * (1 + rng.uniform(0.1, 0.3, size=dim) * daily + weekend)  # [168, D]
    # A series also follows the one before it. Triangular: the eigenvalues are those on the diagonal.
    persistence = np.diag(rng.uniform(0.6, 0.85, size=dim)) + np.diag([0.1] * (dim - 1), k=-1)

    groups = np.where(np.arange(dim) % 2 == 0, 1.0, -1.0)
    signs = np.stack([np.ones(dim), np.ones(dim), groups])  # [K, D]
    loadings = signs * rng.uniform(0.7, 1.0, size=dim)
    offset = np.array([0.0, 0.35, 0.35])[:, None] * signs * unit
    covariance = np.stack(
        [
            noise**2 * (shared * np.outer(g, g) + np.diag(1 - shared * g**2)) * np.outer(unit, unit)
            for noise, shared, g in zip(_NOISE, _SHARED, loadings, strict=True)
        ]
    )
    leave = 1 / _DWELL[:, None]
    transition = np.where(np.eye(3) > 0, 1 - leave, leave / 2)  # [K, K]
    # With as many ways in as out of each regime, the chain is in balance at the mean times spent.
    return Process(
        seasonal=seasonal,
        persistence=persistence,
        offset=offset,
        factor=np.linalg.cholesky(covariance),
        scales=_SCALES / (_SCALES @ _SCALE_WEIGHTS),
        scale_weights=_SCALE_WEIGHTS,
        transition=transition,
        stationary=_DWELL / _DWELL.sum(),
    )


def beginning(process: Process, paths: int, *, rng: np.random.Generator) -> State:
    """The state before step 0, for this many independent paths."""
    regimes = draw(np.tile(process.stationary, (paths, 1)), rng)
    return State(0, np.zeros((paths, process.seasonal.shape[1])), regimes)


def simulate(
    process: Process, state: State, *, steps: int, rng: np.random.Generator
) -> tuple[Array, NDArray[np.int64]]:
    """Paths that go on from a state; the first steps are the same however many are asked for.

    Returns:
        Values ``[S, T, D]`` and regimes ``[S, T]``.
    """
    time, deviation, regimes = state
    count, dim = deviation.shape
    values = np.empty((count, steps, dim))
    visited = np.empty((count, steps), dtype=np.int64)
    weights = np.tile(process.scale_weights, (count, 1))
    for t in range(steps):
        regimes = draw(process.transition[regimes], rng)
        sizes = np.sqrt(process.scales[draw(weights, rng)])[:, None]  # [S, 1]
        noise = sizes * rng.standard_normal((count, dim))
        for k, factor in enumerate(process.factor):
            noise[regimes == k] = noise[regimes == k] @ factor.T
        deviation = deviation @ process.persistence.T + process.offset[regimes] + noise
        values[:, t] = process.seasonal[(time + t) % WEEK] + deviation
        visited[:, t] = regimes
    return values, visited


def log_emission(process: Process, values: Array) -> Array:
    r"""Log density of each step given its regime and the step before, :math:`\log p(y_t \mid z_t, y_{t-1})`.

    .. math:: \log \sum_m w_m\, N\big(x_t - \Phi x_{t-1} - c_k;\ 0,\ \sigma_m L_k L_k^T\big)

    Args:
        values: Observed from step 0 on, ``[..., T, D]``.

    Returns:
        ``[..., T, K]``.
    """
    steps, dim = values.shape[-2:]
    deviation = values - process.seasonal[np.arange(steps) % WEEK]
    before = np.zeros_like(deviation)
    before[..., 1:, :] = deviation[..., :-1, :]
    surprise = deviation - before @ process.persistence.T  # [..., T, D]
    densities = []
    for offset, factor in zip(process.offset, process.factor, strict=True):
        whitened = (surprise - offset) @ np.linalg.inv(factor).T
        square = np.square(whitened).sum(axis=-1)[..., None]  # [..., T, 1]
        log_determinant = np.log(np.diag(factor)).sum()
        by_scale = np.log(process.scale_weights) - 0.5 * (
            dim * np.log(2 * np.pi * process.scales) + square / process.scales
        )
        densities.append(np.logaddexp.reduce(by_scale, axis=-1) - log_determinant)
    return np.stack(densities, axis=-1)


def filter_regimes(process: Process, values: Array) -> tuple[Array, Array]:
    r"""Probabilities of the regimes given all that was observed, and how well each step was foreseen.

    .. math:: P(z_t = j \mid y_{0:t}) \propto p(y_t \mid z_t = j, y_{t-1})
        \sum_i P(z_{t-1} = i \mid y_{0:t-1})\, P_{ij}

    Source: Rabiner (1989), eqs. 19-20, normalised at each step.

    Args:
        values: Observed from step 0 on, ``[..., T, D]``.

    Returns:
        Probabilities of the regimes after each step ``[..., T, K]``, and the predictive log density
        :math:`\log p(y_t \mid y_{0:t-1})` of each step ``[..., T]``.
    """
    emission = log_emission(process, values)
    highest = emission.max(axis=-1, keepdims=True)  # so that no step's densities are all 0
    likelihood = np.exp(emission - highest)
    probabilities, evidence = np.empty_like(emission), np.empty(emission.shape[:-1])
    belief = np.broadcast_to(process.stationary, emission[..., 0, :].shape)
    for t in range(emission.shape[-2]):
        joint = (belief @ process.transition) * likelihood[..., t, :]
        evidence[..., t] = joint.sum(axis=-1)
        belief = joint / evidence[..., t, None]
        probabilities[..., t, :] = belief
    return probabilities, np.log(evidence) + highest[..., 0]


def draw(probabilities: Array, rng: np.random.Generator) -> NDArray[np.int64]:
    """Random indices, one by each row of probabilities, ``[S]``."""
    bounds = np.cumsum(probabilities[:, :-1], axis=1)
    return (rng.random((len(probabilities), 1)) > bounds).sum(axis=1)
