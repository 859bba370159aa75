r"""How likely a model finds what happened: the variational bound and the likelihood of whole windows.

.. math:: -\log p(x_{1:T} \mid \text{past}) = \sum_t -\log p_\theta(x_t \mid h_t)

with every step's true past, in nats on the data's own scale: what was modelled is
:math:`(x - loc) / scale`, a change of variables that costs :math:`\log scale` for every entry. (Differences
over time cost nothing: their determinant is 1.)
"""

from typing import NamedTuple

import torch
from torch import Tensor

from timediff.diffusion.bound import bound_terms
from timediff.diffusion.likelihood import EXACT_TRACE_DIM, log_likelihood
from timediff.diffusion.process import Denoiser
from timediff.diffusion.schedule import Schedule
from timediff.timegrad.batch import Batch
from timediff.timegrad.model import TimeGrad

__all__ = ["ODE_STEPS", "PROBES", "Density", "Future", "complete", "future", "window_density"]

#: Steps of the ODE's grid and, above `EXACT_TRACE_DIM`, random probes of its trace.
ODE_STEPS, PROBES = 50, 16


class Density(NamedTuple):
    """Nats per window; divide by the number of entries T * D for nats per dimension.

    Attributes:
        bound: Terms :math:`L_0, ..., L_N` of the variational bound in scaled units, float64 ``[N + 1, W]``.
        log_scale: What is to be added to their sum for the data's own units, float64 ``[W]``.
        nll: Negative log-likelihood by the probability-flow ODE in the data's own units, float64 ``[W]``.
        nll_error: Its standard error where the trace is estimated, else 0, float64 ``[W]``.
    """

    bound: Tensor
    log_scale: Tensor
    nll: Tensor
    nll_error: Tensor


class Future(NamedTuple):
    """The model of the steps of a future, each given its true past: what views and samplers work on.

    Attributes:
        denoiser: Of all steps at once, ``[W, T, D]``; a self-conditioned network without earlier estimates.
        schedule: The chain it was trained on.
        x0: What happened, in scaled units (of changes, where these are modelled), ``[W, T, D]``.
        scale: Data units of one scaled unit, ``[W, T, D]``, or ``[W, 1, D]`` where all steps have the same.
    """

    denoiser: Denoiser
    schedule: Schedule
    x0: Tensor
    scale: Tensor


@torch.no_grad()
def future(model: TimeGrad, batch: Batch) -> Future:
    """The model of the futures of windows, T steps each.

    Args:
        model: In evaluation mode.
        batch: Windows with their future.
    """
    horizon, taught = model.shape.horizon, model.teach(batch, outliers=True)
    denoiser = model.bind(taught.cond[:, -horizon:], model.levels(model.schedule))
    return Future(denoiser, model.schedule, taught.x0[:, -horizon:], taught.scale)


def complete(batch: Batch, *, model: TimeGrad) -> Tensor:
    """Which windows have every entry that the density is of, bool ``[B]``."""
    horizon = model.shape.horizon
    known = batch.observed[:, -horizon:].all(dim=(1, 2))
    if lag := model.shape.difference:
        # A change is known only if both of its ends are.
        before = batch.observed[:, -horizon - lag : batch.observed.shape[1] - lag]
        known = known & before.all(dim=(1, 2))
    return known


@torch.no_grad()
def window_density(model: TimeGrad, batch: Batch, *, generator: torch.Generator) -> Density:
    """The density of the futures of windows that are `complete`.

    Args:
        model: In evaluation mode.
        batch: Windows with their future.
        generator: Of the noise of the bound and the probes of the trace, on the CPU.
    """
    denoiser, schedule, x0, scale = future(model, batch)

    def noise(n: int) -> Tensor:
        return torch.randn(x0.shape, dtype=x0.dtype, generator=generator).to(x0.device)

    terms = bound_terms(schedule, denoiser, x0, noise, variance=model.config.variance)
    dim, probes = x0.shape[-1], None
    if dim > EXACT_TRACE_DIM:
        signs = torch.randint(2, (PROBES, *x0.shape), generator=generator)
        probes = (2 * signs - 1).to(x0)
    likelihood = log_likelihood(denoiser, schedule, x0, num_steps=ODE_STEPS, probes=probes)
    log_scale = scale.double().log().expand(x0.shape).sum(dim=(1, 2))
    return Density(
        terms.double().sum(dim=(2, 3)).cpu(),
        log_scale.cpu(),
        (log_scale - likelihood.log_density.sum(dim=1)).cpu(),
        likelihood.standard_error.square().sum(dim=1).sqrt().cpu(),
    )
