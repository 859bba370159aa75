"""Toys: data whose best denoiser is known, networks that say what it says, and what they are run with.

A toy denoiser is called as any other, ``denoiser(x, level)``, with levels of floats or of tensors unless it
says otherwise, and answers in the precision and on the device of ``x``.
"""

import math

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from timediff.diffusion.parameterisation import Prediction, factors
from timediff.diffusion.schedule import Schedule, make_schedule
from timediff.diffusion.spacing import respace
from timediff.networks.base import DenoisingNetwork

#: Correlated Gaussian data in three dimensions: variances .64, .41, .49, correlations .78, -.43, -.14.
MEAN = torch.tensor([1.0, -0.5, 2.0], dtype=torch.float64)
COVARIANCE = torch.tensor(
    [[0.64, 0.4, -0.24], [0.4, 0.41, -0.07], [-0.24, -0.07, 0.49]], dtype=torch.float64
)
#: Where between its bounds a learned variance lies, per dimension.
FRACTION = torch.tensor([0.8, 0.3, 0.6], dtype=torch.float64)


def close(actual, expected, tolerance=1e-10):
    """Equality of two tensors to a tolerance, relative and absolute."""
    torch.testing.assert_close(actual, torch.as_tensor(expected), rtol=tolerance, atol=tolerance)


# --------------------------------------------------------------------------------------- schedules


def make_chain(name="linear", num_steps=100, *, beta_start=1e-4, beta_end=0.1):
    """A schedule of the library."""
    return make_schedule(name, num_steps=num_steps, beta_start=beta_start, beta_end=beta_end)


def short_chain(num_steps, name="linear", **options):
    """A few steps of a chain of 100."""
    return respace(make_chain(name), num_steps, **options)


# --------------------------------------------------------------------------------------- denoisers


class Gaussian:
    r"""The best denoiser of Gaussian data: :math:`E[x_0 \mid x]` and :math:`E[\epsilon \mid x]`.

    Args:
        mean: Of the data, ``[D]``, or one for each row, ``[..., D]``.
        covariance: Of the data, ``[D, D]``.
        fraction: What it says of the variance of a reverse step, a number or ``[D]``; nothing by default.
    """

    def __init__(self, mean=MEAN, covariance=COVARIANCE, *, fraction=None):
        self.mean, self.covariance = (
            torch.as_tensor(value, dtype=torch.float64, device="cpu")
            for value in (mean, covariance)
        )
        self.dim, self.fraction = len(self.covariance), fraction
        self.variances, self.axes = torch.linalg.eigh(self.covariance)

    def __call__(self, x, level):
        x0, eps = self.estimates(x, *factors(level))
        fraction = self.fraction
        if fraction is not None:
            fraction = torch.as_tensor(fraction).to(x).expand(x.shape)
        return Prediction(x0, eps, fraction)

    def estimates(self, x, alpha, sigma):
        """Clean data and noise, ``[..., D]`` each, by regression along each principal axis."""
        mean, variances, axes = (v.to(x) for v in (self.mean, self.variances, self.axes))
        white = (x - alpha * mean) @ axes / (alpha**2 * variances + sigma**2)
        return mean + (alpha * variances * white) @ axes.T, (sigma * white) @ axes.T

    def at(self, level):
        """Mean ``[D]`` and covariance ``[D, D]`` of the data at a level of noise."""
        noise = level.sigma**2 * torch.eye(self.dim, dtype=torch.float64)
        return level.alpha * self.mean, level.alpha**2 * self.covariance + noise

    def flow(self, x, start, end):
        """The probability-flow ODE's solution: each principal axis keeps its number of deviations."""
        before, after = (p.alpha**2 * self.variances + p.sigma**2 for p in (start, end))
        away = (x - start.alpha * self.mean) @ self.axes
        return end.alpha * self.mean + (away * (after / before).sqrt()) @ self.axes.T


def point(x0, **options):
    """The best denoiser of data that is a point ``[D]``, or a point for each row ``[..., D]``."""
    x0 = torch.as_tensor(x0)
    return Gaussian(x0, torch.zeros(x0.shape[-1], x0.shape[-1]), **options)


class Mixture:
    """The best denoiser of K Gaussians, at levels of floats and in float64, with a fraction of one half.

    By default two in the plane, far enough apart that every sample has an obvious home.

    Args:
        weights: ``[K]``
        means: ``[K, D]``
        covariances: ``[K, D, D]``
    """

    def __init__(
        self,
        weights=(0.3, 0.7),
        means=((-2.0, 1.0), (2.0, -0.5)),
        covariances=(((0.10, 0.06), (0.06, 0.12)), ((0.15, -0.09), (-0.09, 0.08))),
    ):
        self.weights, self.means, self.covariances = (
            torch.as_tensor(value, dtype=torch.float64) for value in (weights, means, covariances)
        )
        self.dim = self.means.shape[-1]
        self.variances, self.axes = torch.linalg.eigh(self.covariances)

    def __call__(self, x, level):
        """Each component's answer, weighted by how likely it made x."""
        weights, means, variances, axes = (
            v.to(x.device) for v in (self.weights, self.means, self.variances, self.axes)
        )
        noised = level.alpha**2 * variances + level.sigma**2  # [K, D], along each principal axis
        away = x[..., None, :] - level.alpha * means  # [..., K, D]
        along = (away[..., None, :] @ axes).squeeze(-2)
        log_density = -0.5 * (along**2 / noised + noised.log()).sum(dim=-1)
        share = torch.softmax(weights.log() + log_density, dim=-1)[..., None]
        pull = ((along / noised)[..., None, :] @ axes.mT).squeeze(-2)
        eps = level.sigma * (share * pull).sum(dim=-2)
        return Prediction((x - level.sigma * eps) / level.alpha, eps, torch.full_like(x, 0.5))

    def flow(self, x, start, end):
        """The probability-flow ODE by the classical Runge-Kutta method, even in the log-SNR."""
        # dy / d log rho = rho eps in y = x / alpha, whatever the process; here in VP's units.
        ends = (-start.log_snr / 2, -end.log_snr / 2)
        log_rho = torch.linspace(*ends, 2 + math.ceil(60 * abs(ends[1] - ends[0]))).tolist()
        h = log_rho[1] - log_rho[0]
        vp = Schedule(torch.tensor([20.0, -20.0]))

        def slope(y, log_rho):
            level = vp.at(-2 * log_rho)
            return math.exp(log_rho) * self(level.alpha * y, level).eps

        y = x / start.alpha
        for here in log_rho[:-1]:
            k1 = slope(y, here)
            k2 = slope(y + h / 2 * k1, here + h / 2)
            k3 = slope(y + h / 2 * k2, here + h / 2)
            k4 = slope(y + h * k3, here + h)
            y = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        return end.alpha * y


def modes(means, std):
    """The best denoiser of equally likely round Gaussians around ``means``, ``[K, D]``."""
    means = torch.as_tensor(means, dtype=torch.float64)
    count, dim = means.shape
    covariance = std**2 * torch.eye(dim, dtype=torch.float64)
    return Mixture(torch.full((count,), 1 / count), means, covariance.expand(count, -1, -1))


# ---------------------------------------------------------------------------------------- networks


class Exact(DenoisingNetwork):
    """A network that predicts the noise which the best denoiser of Gaussian data predicts.

    Args:
        data: From the conditions ``[..., C]`` to the `Gaussian` of the data under them.
    """

    floats_per_row = 1

    def __init__(self, data):
        super().__init__()
        self.data = data

    def embed_level(self, level):
        return factors(level)

    def under(self, cond):
        gaussian = self.data(cond)
        return lambda x, level: (gaussian.estimates(x, *level)[1],)


class Recording(DenoisingNetwork):
    """A network that passes everything on and keeps the conditions and the inputs of every call."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.floats_per_row = inner, inner.floats_per_row
        self.conditions, self.inputs = [], []

    def embed_level(self, level):
        return self.inner.embed_level(level)

    def under(self, cond):
        self.conditions.append(cond.detach())
        inner = self.inner.under(cond)

        def network(x, level):
            self.inputs.append(x.detach())
            return inner(x, level)

        return network


def record(model):
    """The network of a `TimeGrad` from now on: the same, recording."""
    model.denoiser = Recording(model.denoiser)
    return model.denoiser


def stir(module, size=0.2):
    """The same module with noise on its weights, so that its answer depends on everything."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(size * torch.randn_like(parameter))
    return module


# ------------------------------------------------------------------------------------------- noise


def seeded_noise(x, seed=1):
    """A noise function with the same draws for the same seed, in the shape, precision and place of x."""
    generator = torch.Generator().manual_seed(seed)
    return lambda *_: torch.randn(x.shape, generator=generator, dtype=torch.float64).to(x)


def no_noise(*_):
    """A noise function for samplers that must not ask for any."""
    raise AssertionError("no noise is needed")


# ------------------------------------------------------------------------------------ Gaussian laws


def law(schedule, covariance, *, variance):
    """The law of the ancestral chain of Gaussian data by matrices: N(slope @ mean, cov), and the variance of
    its last step, ``[D]``; a learned variance lies at `FRACTION`.
    """
    dim = len(covariance)
    eye, fraction = np.eye(dim), FRACTION[:dim].numpy()
    # alpha and sigma of every point; everything else from the definition of the process.
    a = np.array([point.alpha for point in schedule.points])
    v = np.array([point.sigma for point in schedule.points]) ** 2
    retain = a[1:] / a[:-1]
    beta = np.append(0, v[1:] - retain**2 * v[:-1])
    small = np.append(0, v[:-1] / v[1:] * beta[1:])
    small[1] = small[2] if len(a) > 2 else v[1]
    slope, cov = np.zeros((dim, dim)), (a[-1] ** 2 + v[-1]) * eye
    for n in range(len(a) - 1, 0, -1):
        gain = a[n] * covariance @ np.linalg.inv(a[n] ** 2 * covariance + v[n] * eye)
        of_x0, of_xn = a[n - 1] * beta[n] / v[n], retain[n - 1] * v[n - 1] / v[n]
        step = of_x0 * gain + of_xn * eye
        slope = step @ slope + of_x0 * (eye - a[n] * gain)
        cov = step @ cov @ step.T
        between = small[n] ** (1 - fraction) * beta[n] ** fraction
        s2 = {"small": small[n], "large": beta[n], "learned": between}[variance] * np.ones(dim)
        if n > 1:
            cov = cov + np.diag(s2)
    return slope, cov, s2


def condition(mean, cov, known, y):
    """Mean and covariance of the other entries given ``x[known] = y``, and the log-density of y."""
    rest = ~known
    gain = cov[np.ix_(rest, known)] @ np.linalg.inv(cov[np.ix_(known, known)])
    away, own = y - mean[known], cov[np.ix_(known, known)]
    log_density = -0.5 * (away @ np.linalg.solve(own, away) + np.linalg.slogdet(2 * np.pi * own)[1])
    return (
        mean[rest] + gain @ away,
        cov[np.ix_(rest, rest)] - gain @ cov[np.ix_(known, rest)],
        log_density,
    )


# --------------------------------------------------------------------------------------- forecasts


def skewed_forecasts(shape, seed=0, *, missing=0.0):
    """Skewed paths ``[W, S, T, D]`` and truth on a scale for each dimension, a share of the truth missing."""
    windows, members, steps, dims = shape
    rng, scale = np.random.default_rng(seed), 10.0 ** np.arange(dims)
    paths = scale * (3 + rng.gamma(1.0, size=(windows, members, steps, dims)))
    truth = scale * (3 + rng.gamma(2.0, size=(windows, steps, dims)))
    truth[rng.random(truth.shape) < missing] = np.nan
    return paths, truth


class Squares(TorchDispatchMode):
    """Watches for results with two axes of D."""

    def __init__(self, dim):
        super().__init__()
        self.dim, self.seen = dim, set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        results = function(*args, **(kwargs or {}))
        for one in tree_leaves(results):
            if isinstance(one, torch.Tensor) and list(one.shape).count(self.dim) > 1:
                self.seen.add(str(function))
        return results
