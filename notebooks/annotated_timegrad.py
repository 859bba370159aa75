# %% [markdown]
# # TimeGrad, annotated
#
# A diffusion model learns to take a little noise out of data, and generates by doing so many times,
# from pure noise on. This walk goes from a spiral in the plane, where every step can be looked at,
# through Gaussian data, where every step can be calculated, to a forecast of 34 series. Each
# formula stands beside the library function that computes it. Run it as a script or as a notebook
# (percent format).
#
# The core, `timediff.diffusion` (`schedule`, `parameterisation`, `process`, `objective`, `samplers`, `bound`,
# `likelihood`, ...), needs nothing but torch and works on any tensor `[..., D]`.

# %%
import itertools
import math
import os
import time
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

from timediff import (
    SamplingConfig,
    TimeGradEstimator,
    TrainConfig,
    load_dataset,
    score,
)
from timediff.data.entry import split_windows
from timediff.diffusion.bound import bound_terms
from timediff.diffusion.guidance import guided
from timediff.diffusion.latent import Recorder, interpolate, invert, rate_distortion
from timediff.diffusion.likelihood import log_likelihood
from timediff.diffusion.objective import noise_loss
from timediff.diffusion.parameterisation import Prediction, convert, factors, predict
from timediff.diffusion.process import add_noise, diffuse
from timediff.diffusion.samplers.ancestral import ancestral
from timediff.diffusion.samplers.ddim import ddim
from timediff.diffusion.samplers.dpm_solver import dpm_solver
from timediff.diffusion.samplers.rehearsal import rehearse
from timediff.diffusion.schedule import Schedule, cosine, linear
from timediff.diffusion.spacing import respace
from timediff.networks.mlp import MlpDenoiser
from timediff.registry import SAMPLERS
from timediff.report.plots import BLUE, INK, VERMILLION, forecast_figure, save_figure

STARTED = time.perf_counter()
# Optimiser steps of the forecaster in section 10; fewer than six also shorten the training of section 3.
STEPS = int(os.environ.get("TIMEDIFF_NOTEBOOK_STEPS", "60"))
OUT = Path(os.environ.get("TIMEDIFF_NOTEBOOK_OUT", "runs/annotated_timegrad"))
OUT.mkdir(parents=True, exist_ok=True)
torch.manual_seed(1)
GREY = "#bbbbbb"


def panels(rows, columns, *, width=2.5, height=2.6):
    """A figure with a grid of axes, ``[rows, columns]``."""
    size = (width * columns, height * rows)
    figure = Figure(figsize=size, dpi=100, layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


class Picture(NamedTuple):
    """A file that a notebook displays."""

    path: Path

    def _repr_png_(self):
        return self.path.read_bytes()


def show(figure, name):
    """Save a figure and, in a notebook, display it."""
    picture = Picture(OUT / f"{name}.png")
    save_figure(figure, picture.path)
    return picture


def cloud(axes, points, colour, *, title="", reach=3.0):
    """Points of the plane, ``[S, 2]``."""
    axes.scatter(*points.T, c=colour, s=3, lw=0)
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", xticks=[], yticks=[])
    axes.set_title(title, fontsize=10)


# %% [markdown]
# ## 1. Data: a spiral
#
# Sohl-Dickstein et al. (2015, arXiv:1503.03585) showed the idea on a spiral, and so do we. Ours is
# an even mixture of narrow Gaussians along the curve,
# $q(x_0) = \frac1K \sum_k \mathcal N(x_0; c_k, \tau^2 I)$, scaled to variance 1. That makes its
# density known, and much of what follows can be checked against it.

# %%
CENTRES, WIDTH = 400, 0.05
angle = 1.5 * math.pi * (1 + 2 * torch.linspace(0, 1, CENTRES))
curve = angle[:, None] * torch.stack([angle.cos(), angle.sin()], dim=-1)  # [K, 2]
curve = (curve - curve.mean(dim=0)) / curve.std()


def draw_spiral(size):
    """Points ``[size, 2]`` and where along the curve they belong, ``[size]``."""
    place = torch.randint(CENTRES, (size,))
    return curve[place] + WIDTH * torch.randn(size, 2), place


def log_density(x0):
    """log q(x0) at ``x0 [..., 2]``, ``[...]``."""
    square = (x0[..., None, :] - curve).square().sum(dim=-1)  # [..., K]
    each = -square / (2 * WIDTH**2) - math.log(2 * math.pi * WIDTH**2 * CENTRES)
    return each.logsumexp(dim=-1)


spiral, place = draw_spiral(2000)


def noise():
    """Standard normal noise for as many points."""
    return torch.randn(2000, 2)


# %% [markdown]
# ## 2. Forward: noise, step by step
#
# A `Schedule` is a chain of $N + 1$ noise levels. One step of it, `diffuse`, and any number of
# steps at once, `add_noise` (Ho et al. 2020, arXiv:2006.11239, eqs. 2 and 4):
#
# $$q(x_n \mid x_{n-1}) = \mathcal N\big(\sqrt{1 - \beta_n}\, x_{n-1},\ \beta_n I\big), \qquad
# q(x_n \mid x_0) = \mathcal N\big(\alpha_n x_0,\ \sigma_n^2 I\big), \qquad
# \alpha_n^2 = \prod_{m \le n} (1 - \beta_m) = 1 - \sigma_n^2$$
#
# What matters about a level is the log-SNR, $\lambda_n = \log(\alpha_n^2 / \sigma_n^2)$. The chain
# of 5 steps is made of levels of the chain of 100 (`respace`): it goes the same way in longer
# strides.

# %%
long = linear(100, 1e-4, 0.1)
short = respace(long, 5)

x, eps = spiral, torch.randn(100, *spiral.shape)
for n in range(1, 101):
    x = diffuse(long, x, torch.tensor(n), eps[n - 1])
at_once = add_noise(long, spiral, torch.tensor(100), eps[0])
print("variance after 100 single steps", x.var(dim=0).numpy().round(3))
print("and after one long one         ", at_once.var(dim=0).numpy().round(3))

figure, axes = panels(2, 6)
for row, (chain, steps) in enumerate([(long, [0, 10, 25, 40, 60, 100]), (short, range(6))]):
    for column, n in zip(axes[row], steps, strict=True):
        point = chain.points[n]
        noised = add_noise(chain, spiral, torch.tensor(n), eps[n - 1])
        title = f"$n$ = {n}:  $\\alpha$ = {point.alpha:.2f},  $\\sigma$ = {point.sigma:.2f}"
        cloud(column, noised, place, title=title)
    axes[row, 0].set_ylabel(f"N = {chain.num_steps}", fontsize=12)
figure.suptitle("Forward: the spiral dissolves (colour: place along the curve)")
show(figure, "forward")

# %% [markdown]
# ## 3. The one thing to learn: what was clean?
#
# Going back needs $q(x_{n-1} \mid x_n)$, which depends on all of the data. But given $x_0$ it is
# Gaussian, with known mean and variance (`posterior`; Ho et al. 2020, eqs. 6-7), and all that is
# missing is an estimate of $x_0$:
#
# $$q(x_{n-1} \mid x_n, x_0) = \mathcal N\big(\tilde\mu_n(x_n, x_0),\ \tilde\beta_n I\big), \qquad
# p_\theta(x_{n-1} \mid x_n) = q\big(x_{n-1} \mid x_n, \hat x_0(x_n, n)\big)$$
#
# A *denoiser* answers with that estimate and the noise that goes with it, a `Prediction`. The best
# possible one is the conditional mean, and for our mixture we can write it down. In the units of
# the data, $y = x / \alpha_n$ and $\rho = \sigma_n / \alpha_n$, each centre counts by how well it
# explains $y$:
#
# $$\hat x_0 = E[x_0 \mid x_n = x] = \frac{\tau^2 y + \rho^2 \sum_k w_k c_k}{\tau^2 + \rho^2}, \quad
# w_k \propto \exp\Big(-\frac{\|y - c_k\|^2}{2 (\tau^2 + \rho^2)}\Big), \qquad
# \hat\epsilon = \frac{x - \alpha_n \hat x_0}{\sigma_n}$$


# %%
def exact(x, level, centres=curve):
    alpha, sigma = factors(level)
    y, rho = x / alpha, sigma / alpha
    square = (y[..., None, :] - centres).square().sum(dim=-1)
    share = torch.softmax(-square / (2 * (WIDTH**2 + rho**2)), dim=-1)  # [..., K]
    x0 = (WIDTH**2 * y + rho**2 * (share @ centres)) / (WIDTH**2 + rho**2)
    return Prediction(x0, (x - alpha * x0) / sigma)


# %% [markdown]
# In general there is only data. A network is shown noised points and learns from the squared error
# of the noise, $L_{simple}$ (`noise_loss`; Ho et al. 2020, eq. 14):
#
# $$E\, \big\| \epsilon - \hat\epsilon(\alpha_n x_0 + \sigma_n \epsilon,\ n) \big\|^2$$
#
# Its output may stand for the noise, the clean data, the velocity $v = \alpha\epsilon - \sigma x_0$
# or the score $\nabla_x \log q(x) = -\epsilon / \sigma$: with $x$ known, each determines the others
# (`predict`, `convert`; Luo 2022, arXiv:2208.11970). Ours is $v$, which at no level is an ill-posed
# question. No model gets below the error of the exact denoiser, since the noise cannot be known for
# sure.

# %%
network = MlpDenoiser(2, cond_size=1, layers=3, width=64)
condition = torch.zeros(1)

TRAINING = min(1500, 250 * STEPS)
optimiser = torch.optim.Adam(network.parameters())
plan = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=4e-3, total_steps=TRAINING)
losses, floor = [], []
for step in range(TRAINING):
    x0, _ = draw_spiral(512)
    n, eps = torch.randint(1, 101, (512,)), torch.randn(512, 2)
    xn, level = add_noise(long, x0, n, eps), long.level(n)
    (output,) = network(xn, network.embed_level(level), condition)
    loss = noise_loss(long, predict(output, xn, level, kind="v"), n, eps).mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    plan.step()
    if step >= TRAINING - 200:
        losses.append(loss.item())
        floor.append(noise_loss(long, exact(xn, level), n, eps).mean().item())
network.requires_grad_(False)
print(
    f"loss {np.mean(losses):.4f}, that of the exact denoiser on the same rows {np.mean(floor):.4f}"
)
assert np.mean(losses) < 1.1 * np.mean(floor)


def learned(x, level):
    known = level._replace(log_snr=torch.tensor(level.log_snr))
    (output,) = network(x, network.embed_level(known), condition)
    return predict(output, x, level, kind="v")


# %% [markdown]
# The score is a field of arrows that point to where the noised data is denser, and its length says
# how far: $x + \sigma^2\, \nabla_x \log q(x) = \alpha \hat x_0$ (Tweedie's formula). Drawn are a
# third of these ways. Far from the data the learned arrows are wrong where there is little noise:
# no training point ever lay there, one of the reasons to begin with much of it (Song & Ermon 2019,
# arXiv:1907.05600, section 3.2).

# %%
side = torch.linspace(-2.4, 2.4, 17)
grid = torch.cartesian_prod(side, side)  # [289, 2]
figure, axes = panels(1, 4, width=3, height=3.2)
for column, n in zip(axes[0], (5, 20, 40, 80), strict=True):
    point = long.points[n]
    title = f"$n$ = {n},  $\\sigma$ = {point.sigma:.2f}"
    cloud(column, add_noise(long, spiral, torch.tensor(n), noise()), GREY, title=title, reach=2.6)
    for denoiser, colour in ((exact, VERMILLION), (learned, BLUE)):
        eps_hat = denoiser(grid, point).eps
        field = convert(eps_hat, grid, point, source="noise", target="score")
        way = (point.sigma**2 * field).T
        column.quiver(
            *grid.T, *way, color=colour, angles="xy", scale_units="xy", scale=3, width=0.005
        )
figure.suptitle("The score over the noised data: learned (blue) over exact (orange)")
show(figure, "score")

# %% [markdown]
# ## 4. Reverse: noise becomes data
#
# `ancestral` starts from noise and draws from the Gaussian of section 3 step by step (Ho et al.
# 2020, algorithm 2), with a last step that adds no noise:
#
# $$x_{n-1} = \tilde\mu_n(x_n, \hat x_0) + \sqrt{\tilde\beta_n}\, z, \qquad z \sim \mathcal N(0, I)$$
#
# Every sampler sees only a denoiser and a chain. A `Recorder` is a denoiser that notes both sides
# of the conversation: the noisy $x_n$ goes in, the current guess $\hat x_0$ comes out, a blur at
# first, then the spiral.

# %%
start = long.prior_std * noise()

recorder = Recorder(learned)
generated = ancestral(recorder, long, start, noise, extrapolation=0.0)
# The start decides little in this sampler; colour by where a sample ends up.
ending = torch.cdist(generated, curve).argmin(dim=1)
figure, axes = panels(2, 6)
for column, n in enumerate((100, 60, 40, 25, 10, 1)):
    cloud(axes[0, column], recorder.x[100 - n], ending, title=f"$n$ = {n}")
    cloud(axes[1, column], recorder.x0[100 - n], ending)
for axis, label in zip(axes[:, 0], ("$x_n$", r"$\hat x_0(x_n, n)$"), strict=True):
    axis.set_ylabel(label, fontsize=12)
figure.suptitle(
    "Reverse, N = 100: the points and what the network makes of them (colour: where they end)"
)
show(figure, "reverse")

# %% [markdown]
# Now with 5 long steps. The exact denoiser fails like the learned one, so it is not a matter of
# training: over a long step $q(x_{n-1} \mid x_n)$ has several humps, and a Gaussian has one. The
# way from noise to data needs many steps *of this kind*, and section 6 has other kinds. The score
# is the energy distance to the data, $2 E\|a - b\| - E\|a - a'\| - E\|b - b'\|$, which is 0 for
# equal distributions.

# %%


def energy_distance(a, b):
    """Between two sets of points ``[S, 2]``, never below 0."""
    return float(2 * torch.cdist(a, b).mean() - torch.cdist(a, a).mean() - torch.cdist(b, b).mean())


fresh, _ = draw_spiral(2000)
figure, axes = panels(1, 5, width=2.7)
title = f"data\n(fresh data scores {energy_distance(fresh, spiral):.4f})"
cloud(axes[0, 0], spiral, BLUE, title=title, reach=2.4)
distances = {}
for column, (chain, name) in zip(
    axes[0, 1:], itertools.product((short, long), ("exact", "learned")), strict=True
):
    denoiser = {"exact": exact, "learned": learned}[name]
    points = ancestral(denoiser, chain, start, noise, extrapolation=0.0)
    distances[chain, name] = energy_distance(points, spiral)
    title = f"N = {chain.num_steps}, {name} denoiser\n{distances[chain, name]:.4f}"
    cloud(column, points, VERMILLION, title=title, reach=2.4)
figure.suptitle("Ancestral samples, and their energy distance to the data")
assert distances[short, "exact"] > 5 * distances[long, "exact"]
show(figure, "five_or_a_hundred")

# %% [markdown]
# ## 5. Gaussian data: everything in closed form
#
# For data from $\mathcal N(m, s^2)$ the exact denoiser is a straight line,
#
# $$\hat x_0 = m + \frac{\alpha s^2}{\alpha^2 s^2 + \sigma^2} (x - \alpha m), \qquad
# \hat\epsilon = \frac{\sigma}{\alpha^2 s^2 + \sigma^2} (x - \alpha m)$$
#
# so each step is linear in $x_n$ and its noise, and the samples' mean and variance follow by
# recursion. For $m = 0$, $s = 1$ the ancestral step multiplies by $a_n$, made of the two
# coefficients of `posterior`:
#
# $$V_{n-1} = a_n^2 V_n + \text{variance of step } n, \qquad a_n = \alpha_n \cdot
# \frac{\alpha_{n-1} \beta_n}{\sigma_n^2} + \sqrt{1 - \beta_n}\, \frac{\sigma_{n-1}^2}{\sigma_n^2}$$
#
# Which variance? $\tilde\beta_n$ (small) is right for data that is a point, $\beta_n$ (large) for
# data that is $\mathcal N(0, I)$ (Ho et al. 2020, section 3.2); a network can learn where to be in
# between (Nichol & Dhariwal 2021, arXiv:2102.09672, eq. 15). The two differ most at the clean end,
# and the less the longer the chain.


# %%
def gaussian(mean, std):
    def denoiser(x, level):
        white = (x - level.alpha * mean) / (level.alpha**2 * std**2 + level.sigma**2)
        return Prediction(mean + level.alpha * std**2 * white, level.sigma * white)

    return denoiser


figure, axes = panels(1, 2, width=5, height=3.4)
for num_steps, colour in ((10, "#9ecae1"), (100, BLUE), (1000, INK)):
    chain = respace(cosine(1000, 0, 0), num_steps)
    ratio = chain.posterior_variance[2:] / chain.beta[2:]
    share = np.arange(2, num_steps + 1) / num_steps
    axes[0, 0].plot(
        share, ratio, color=colour, label=f"N = {num_steps}", marker="." if num_steps < 50 else ""
    )
axes[0, 0].set(
    xlabel="$n / N$",
    ylabel=r"$\tilde\beta_n / \beta_n$",
    title="Small over large variance, cosine chain",
)

simulated = {}
for variance, colour in (("small", BLUE), ("large", VERMILLION)):
    of_step = {"small": long.floats["posterior_variance"], "large": long.floats["beta"]}[variance]
    path = [1.0]
    for n in range(100, 0, -1):
        a = long.floats["posterior_x0"][n] * long.points[n].alpha + long.floats["posterior_xn"][n]
        path.append(a**2 * path[-1] + (of_step[n] if n > 1 else 0.0))
    axes[0, 1].plot(range(100, -1, -1), path, color=colour, label=f"{variance} variance")
    draws = ancestral(
        gaussian(0.0, 1.0),
        long,
        torch.randn(20000, 1),
        lambda: torch.randn(20000, 1),
        variance=variance,
        extrapolation=0.0,
    )
    simulated[variance] = float(draws.var())
    # Five standard errors of a variance from 20,000 draws.
    assert abs(simulated[variance] / path[-1] - 1) < 5 * math.sqrt(2 / 20000)
    print(
        f"{variance} variance: {path[-1]:.4f} by recursion, {simulated[variance]:.4f} by simulation"
    )
axes[0, 1].set(xlabel="$n$", ylabel="variance of $x_n$", title="Reverse chain, data from N(0, 1)")
axes[0, 1].invert_xaxis()
for axis in axes[0]:
    axis.legend(frameon=False)
    axis.grid(alpha=0.3)
show(figure, "variance")

# %% [markdown]
# ## 6. How many calls of the network?
#
# A sampler with a linear denoiser is itself linear: a constant, plus a multiple of its start, plus
# multiples of each noise it draws. Fed with unit vectors instead of random numbers it shows them
# all, and so its exact mean $\hat m$ and variance $\hat s^2$. Here the error is
# $\sqrt{(\hat m - m)^2 + (\hat s - s)^2}$ (the Wasserstein-2 distance) for each of `SAMPLERS` on
# shorter and shorter chains.
#
# `ancestral` and `ddim` (Song et al. 2021, arXiv:2010.02502) are of first order: twice the calls,
# half the error. `dpm++` (Lu et al. 2022, arXiv:2211.01095) and `heun` (Karras et al. 2022,
# arXiv:2206.00364) solve the probability-flow ODE (Song et al. 2021, arXiv:2011.13456, eq. 13) to
# second order,
#
# $$\frac{d(x / \alpha)}{d(\sigma / \alpha)} = \hat\epsilon(x, \lambda)$$


# %%
samplers = dict(SAMPLERS)
samplers["ancestral"] = partial(ancestral, extrapolation=0.0)  # as Ho et al. have it


def moments(sampler, chain, mean, std):
    """Mean and standard deviation of what a sampler returns for data from N(mean, std^2)."""
    rows = 2 * rehearse(sampler, chain).calls + 3

    def unit(row):
        return torch.eye(rows, dtype=torch.float64)[:, row, None]

    # Row 0 sees no noise at all, row 1 the start, row k the k-th draw of noise after it.
    drawn = itertools.count(2)
    out = sampler(gaussian(mean, std), chain, chain.prior_std * unit(1), lambda: unit(next(drawn)))[
        :, 0
    ]
    return float(out[0]), float((out[1:] - out[0]).square().sum().sqrt())


LENGTHS = (3, 6, 12, 25, 50, 100)
fine = linear(1000, 1e-4, 0.03)
chains = [respace(fine, num_steps, spacing="quadratic") for num_steps in LENGTHS]
figure, axes = panels(1, 1, width=9, height=4.6)
order = {}
for (name, sampler), marker in zip(samplers.items(), "osDv^Px*", strict=True):
    errors = []
    for chain in chains:
        mean, std = moments(sampler, chain, 1.0, 0.5)
        errors.append(math.hypot(mean - 1.0, std - 0.5))
    calls = [rehearse(sampler, chain).calls for chain in chains]
    order[name] = math.log2(errors[-2] / errors[-1])
    label = f"{name} ({order[name]:.1f})"
    axes[0, 0].loglog(calls, errors, marker=marker, ms=5, lw=1.2, label=label)
axes[0, 0].set(ylim=(2e-4, 2), xlabel="calls of the denoiser", ylabel="error (Wasserstein-2)")
axes[0, 0].set_title("Data from N(1, 0.25); in brackets: the order from 50 to 100 steps")
figure.legend(frameon=False, loc="outside right center")
axes[0, 0].grid(alpha=0.3, which="both")
assert order["ddim"] < 1.3 < 1.7 < min(order["dpm++"], order["heun"])
show(figure, "calls")

# %% [markdown]
# The same on the spiral, with the learned denoiser and about 12 calls each: what a solver of higher
# order saves is what `ancestral` leaves lying between the arms.

# %%
figure, axes = panels(1, 4, width=3, height=3.4)
for column, name in zip(axes[0], ("ancestral", "ddim", "heun", "dpm++"), strict=True):
    sampler, num_steps = samplers[name], 6 if name == "heun" else 12
    chain = respace(long, num_steps, spacing="quadratic")
    points = sampler(learned, chain, start, noise)
    distance = energy_distance(points, spiral)
    title = f"{name}, {rehearse(sampler, chain).calls} calls\n{distance:.4f}"
    cloud(column, points, VERMILLION, title=title, reach=2.4)
figure.suptitle("Samplers on the spiral, and the energy distance to the data")
show(figure, "samplers")

# %% [markdown]
# ## 7. How likely is the data? The variational bound
#
# The chain is a model with a likelihood, which is bounded by a sum of terms, one per step
# (`bound_terms`; Sohl-Dickstein et al. 2015; Ho et al. 2020, eq. 5):
#
# $$-\log p_\theta(x_0) \le \underbrace{KL\big(q(x_N \mid x_0) \,\|\, p(x_N)\big)}_{L_N}
# + \sum_{n=2}^N \underbrace{KL\big(q(x_{n-1} \mid x_n, x_0) \,\|\, p_\theta(x_{n-1} \mid x_n)\big)}_{L_{n-1}}
# \underbrace{- \log p_\theta(x_0 \mid x_1)}_{L_0}$$
#
# With the small variance each term is a weighted squared error,
# $L_{n-1} = \tfrac12 (SNR_{n-1} - SNR_n)\, \| x_0 - \hat x_0 \|^2$. For Gaussian data the best that
# any model can reach is the entropy, $\tfrac12 \log(2 \pi e s^2)$, and here even a long step back
# is Gaussian. Only its variance is neither of the two fixed ones:
#
# $$v_n = \tilde\beta_n + \Big(\frac{\alpha_{n-1} \beta_n}{\sigma_n^2}\Big)^2\,
# \frac{s^2 \sigma_n^2}{\alpha_n^2 s^2 + \sigma_n^2}
# = \exp\big(f \log \beta_n + (1 - f) \log \tilde\beta_n\big)$$
#
# A denoiser that gives this `fraction` $f$, as networks with learned variance do, closes the gap
# for any N. The large variance closes it as the chain gets longer. The small one, right for data
# that is a point, pays for that belief at the first steps, where this data has width. (The terms
# are quadratic in data and noise: four points with the right second moments give their exact mean.)

# %%
STD = 0.5
x0 = STD * torch.tensor([[1.0], [1.0], [-1.0], [-1.0]])
eps = torch.tensor([[1.0], [-1.0], [1.0], [-1.0]])
entropy = 0.5 * math.log(2 * math.pi * math.e * STD**2)


def even_chain(num_steps):
    """Even steps of the log-SNR, from very little noise to almost nothing else."""
    return Schedule(torch.cat([torch.tensor([math.inf]), torch.linspace(9, -9, num_steps)]))


def with_best_variance(x, level):
    n, floats = level.n, chain.floats
    left = STD**2 * level.sigma**2 / (level.alpha**2 * STD**2 + level.sigma**2)
    best = math.log(floats["posterior_variance"][n] + floats["posterior_x0"][n] ** 2 * left)
    low, high = floats["posterior_log_variance"][n], math.log(floats["beta"][n])
    fraction = torch.full_like(x, (best - low) / (high - low))
    return gaussian(0.0, STD)(x, level).replace(fraction=fraction)


print(f"nats; the entropy is {entropy:.4f}\n   N    small    large  learned")
for num_steps in (10, 30, 100, 300, 1000):
    chain, bounds = even_chain(num_steps), {}
    for variance in ("small", "large", "learned"):
        terms = bound_terms(chain, with_best_variance, x0, lambda n: eps, variance=variance)
        bounds[variance] = float(terms.sum(dim=0).mean())
    print(f"{num_steps:4}", *(f"{bound:8.4f}" for bound in bounds.values()))
    assert abs(bounds["learned"] - entropy) < 1e-3
    assert entropy < bounds["large"] < bounds["small"]

# %% [markdown]
# The terms are a message in instalments: who has received $x_N, \dots, x_n$ has paid
# $L_N + \dots + L_n$ and can guess the data up to the error of $\hat x_0(x_n, n)$
# (`rate_distortion`; Ho et al. 2020, section 4.3). For Gaussian data no code beats
# $R(D) = \log_2(s / D)$ (Shannon), and a fine chain comes close. The spiral costs less than a
# Gaussian of the same variance: there is nothing to tell apart where no data lies.

# %%
part = spiral[:1000]
truth = -float(log_density(part).mean()) / 2
print(f"negative log-density of the spiral, nats per dimension: {truth:.3f}")
curves = {}
for chain, name, variance in (
    (long, "exact", "large"),
    (long, "learned", "large"),
    (long, "exact", "small"),
    (short, "exact", "large"),
):
    denoiser = {"exact": exact, "learned": learned}[name]
    rate, distortion = rate_distortion(
        chain, denoiser, part, lambda n: torch.randn(1000, 2), variance=variance
    )
    curves[chain, name, variance] = rate / math.log(2), distortion
    print(f"  bound, N = {chain.num_steps:3}, {variance} variance, {name} denoiser: {rate[0]:.3f}")
    assert rate[0] > truth

figure, axes = panels(1, 2, width=5.2, height=3.8)
for name, colour in (("exact", INK), ("learned", BLUE)):
    rate, distortion = curves[long, name, "large"]
    axes[0, 0].semilogx(
        range(1, 100), rate[1:-1] - rate[2:], color=colour, label=f"{name} denoiser"
    )
    axes[0, 1].plot(distortion[1:], rate[1:], color=colour, label=f"spiral, {name} denoiser")
rate, distortion = rate_distortion(
    even_chain(1000), gaussian(0.0, 1.0), x0 / STD, lambda n: eps, variance="large"
)
axes[0, 1].plot(distortion[1:], rate[1:] / math.log(2), color=VERMILLION, label="N(0, 1), N = 1000")
known = torch.linspace(0.01, 1, 200)
axes[0, 1].plot(known, -known.log2(), color="black", ls=":", label="N(0, 1), Shannon's limit")
axes[0, 0].set(
    xlabel="$n$", ylabel="$L_n$, bits per dimension", title="Terms of the bound, N = 100"
)
axes[0, 1].set(
    xlabel="distortion (RMSE)", ylabel="rate, bits per dimension", title="Rate and distortion"
)
axes[0, 1].set(xlim=(0, 1.05), ylim=(-0.1, 6))
for axis in axes[0]:
    axis.legend(frameon=False)
    axis.grid(alpha=0.3)
show(figure, "bound")

# %% [markdown]
# ## 8. The likelihood itself, by an ODE
#
# The probability-flow ODE moves points so that they have the right density at every level. A
# density carried by a flow changes by the flow's divergence, which gives $\log p(x_0)$ itself
# (`log_likelihood`; Song et al. 2021, arXiv:2011.13456, eq. 39), with $y = x / \alpha$ and
# $\rho = \sigma / \alpha$ from step 1 to step N:
#
# $$\log p(x_0) = \log \mathcal N(y_N) + \int \sigma \operatorname{tr}
# \frac{\partial \hat\epsilon}{\partial x}\, d\log\rho$$

# %%
some = spiral[:100]
by_ode = {
    name: log_likelihood(denoiser, long, some, num_steps=32).log_density
    for name, denoiser in (("exact", exact), ("learned", learned))
}
print(
    f"negative log-density, nats per dimension: {-float(log_density(some).mean()) / 2:.3f} in closed form"
)
for name, density in by_ode.items():
    print(f"  by the ODE with the {name} denoiser: {-float(density.mean()) / 2:.3f}")
assert abs(float((by_ode["exact"] - log_density(some)).mean())) < 0.1

side = torch.linspace(-2.4, 2.4, 48)
grid = torch.cartesian_prod(side, side)
maps = {
    "the data's density": log_density(grid),
    "learned, by the ODE": log_likelihood(learned, long, grid, num_steps=16).log_density,
}
figure, axes = panels(1, 2, width=4.2, height=3.8)
for axis, (title, values) in zip(axes[0], maps.items(), strict=True):
    image = axis.imshow(
        values.reshape(48, 48).T.clamp(min=-8).numpy(),
        origin="lower",
        extent=(-2.4, 2.4, -2.4, 2.4),
        cmap="viridis",
        vmin=-8,
        vmax=0,
    )
    axis.set(title=title, xticks=[], yticks=[])
figure.colorbar(image, ax=axes[0].tolist(), label="log-density (nats), cut at -8", shrink=0.9)
show(figure, "density")

# %% [markdown]
# ## 9. Views of the same process
#
# **Encoding.** Without noise in its steps DDIM can be run backwards: `invert` finds the $x_N$ from
# which a given $x_0$ is generated (Song et al. 2021, arXiv:2010.02502, section 4.3).

# %%
latent = invert(learned, long, spiral)
decoded = ddim(learned, long, latent, noise)
print(f"largest error of decoding what was encoded: {float((decoded - spiral).abs().max()):.1e}")
assert (decoded - spiral).abs().max() < 1e-2
figure, axes = panels(1, 3, width=3.2, height=3.4)
titles = ("data $x_0$", "encoded: $x_N$", "decoded again")
for column, points, title in zip(axes[0], (spiral, latent, decoded), titles, strict=True):
    cloud(column, points, place, title=title, reach=3.2)
figure.suptitle("The ODE unrolls the spiral into a Gaussian and back")
show(figure, "encoding")

# %% [markdown]
# **Interpolation.** Two points are noised to step $n$ with the same noise, mixed, and decoded by
# the rest of the chain (`interpolate`; Ho et al. 2020, section 4.3):
#
# $$\bar x_n = \alpha_n \big((1 - \lambda)\, x_0^a + \lambda\, x_0^b\big) + \sigma_n \epsilon, \qquad
# \bar x_0 \sim p_\theta(x_0 \mid \bar x_n)$$
#
# At $n = 0$ the mixtures lie on a straight line through empty space. The larger $n$, the more they
# follow the data, and the less they have to do with the two ends.

# %%
ends = curve[130], curve[290]
share = torch.linspace(0, 1, 120)[:, None]
decode = partial(ddim, learned, noise=noise)
figure, axes = panels(1, 5, width=2.7, height=3.0)
for column, n in zip(axes[0], (0, 8, 20, 35, 70), strict=True):
    cloud(column, spiral, "#dddddd", reach=2.4, title=f"$n$ = {n}")
    path = interpolate(long, *ends, torch.randn(2), n=n, share=share, decode=decode)
    column.scatter(*path.T, c=share[:, 0], s=12, cmap="plasma", lw=0)
    column.plot(*torch.stack(ends).T, color=INK, marker="o", ms=6, ls="none", mfc="none")
figure.suptitle("From one circle to the other (colour: share), mixed at step $n$")
show(figure, "interpolation")

# %% [markdown]
# **Guidance.** A conditional denoiser can be made to overstate its condition (`guided`; Ho &
# Salimans 2022, arXiv:2207.12598, eq. 6). The condition here is the outer quarter of the spiral.
#
# $$\tilde\epsilon = (1 + w)\, \hat\epsilon(x \mid c) - w\, \hat\epsilon(x)$$

# %%
outer = partial(exact, centres=curve[3 * CENTRES // 4 :])
figure, axes = panels(1, 4, width=2.8, height=3.2)
for column, scale in zip(axes[0], (-1.0, 0.0, 1.0, 4.0), strict=True):
    points = dpm_solver(guided(outer, exact, scale=scale), respace(long, 25), start, noise)
    cloud(column, spiral, "#dddddd", reach=2.4, title=f"$w$ = {scale:g}")
    cloud(column, points, VERMILLION, reach=2.4, title=f"$w$ = {scale:g}")
figure.suptitle("Guidance: -1 ignores the condition, 0 obeys it, more exaggerates")
show(figure, "guidance")

# %% [markdown]
# ## 10. A forecast
#
# TimeGrad (Rasul et al. 2021, arXiv:2101.12072) is all of this for one time step, $x_0 = x_t$ being
# the values of all series at time $t$, under a condition: the state $h_t$ of an RNN that has read
# the past.
#
# $$p(x_{1:T} \mid \text{past}) = \prod_{t=1}^T p_\theta(x_t \mid h_t), \qquad
# h_t = \mathrm{RNN}(h_{t-1}, \text{lags}, \text{calendar})$$
#
# Training takes the error of section 3 at every time step, with the true past (`TimeGrad.loss`). A
# forecast runs a whole reverse chain for each step and feeds its result back (`TimeGrad.sample`),
# so that a path is a draw from the joint distribution of all series and steps. The data: plug load
# and solar power of 17 homes, hourly.

# %%
data = load_dataset("citylearn2022")
horizon = data.prediction_length
estimator = TimeGradEstimator(
    prediction_length=horizon,
    # After so few steps the past errors of the linear forecaster would draw all paths: not here.
    train=TrainConfig(steps=STEPS, held_out=0, seed=1),
    trainer_kwargs={"default_root_dir": str(OUT)},
)
predictor = estimator.train(data.train)

# %% [markdown]
# The sampler is chosen after training. What section 6 says of Gaussians and spirals serves here: a
# short chain in place of all 100 steps. The default are 3 of them, even in the angle between data and
# noise: what is modelled is nearly standard normal, of which that solver is exact.

# %%
known, truth = split_windows(data.test[-2:], horizon)  # truth [W, T, D]
found, paths = {}, {}
for sampling in (
    SamplingConfig("ancestral", steps=100, spacing="uniform", options={"extrapolation": 0.0}),
    SamplingConfig(steps=3),
    SamplingConfig(sampler="dpm++", steps=10),
):
    predictor.sampling, began = sampling, time.perf_counter()
    forecasts = list(predictor.predict(known, num_samples=100, seed=1, progress=False))
    name = f"{sampling.sampler}, {sampling.steps} steps"
    paths[name] = np.stack([forecast.samples for forecast in forecasts])  # [W, S, T, D]
    found[name] = {**score(paths[name], truth), "seconds": time.perf_counter() - began}
print(pd.DataFrame(found).loc[["crps", "crps_sum", "energy_score", "seconds"]].round(3).to_string())

history = known[-1]["target"].T[-72:]
figure = forecast_figure(
    history, truth[-1], paths[name][-1], columns=data.columns, title=f"The last window ({name})"
)
show(figure, "forecast")

# %% [markdown]
# And how likely the model finds what happened, by sections 7 and 8 (`TimeGradPredictor.density`):
# the log-density of the whole window on the data's own scale, the terms of each time step added up.
# The variances that section 7 asks for are learned by default.

# %%
density, _ = predictor.density([list(data.test)[-1]], seed=1, progress=False)
entries = truth[-1].size
bound = float(density.bound.sum(dim=0)[0] + density.log_scale[0]) / entries
print(f"nats per entry: {bound:.2f} by the bound, {float(density.nll[0]) / entries:.2f} by the ODE")
print(f"{time.perf_counter() - STARTED:.0f} s in all")
