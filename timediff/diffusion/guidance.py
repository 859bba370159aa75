"""Denoisers made of denoisers: guided by their condition, or shown their own estimate of the call before.

A wrapped denoiser is a denoiser, so every sampler takes it.

Sources: Ho & Salimans (2022), arXiv:2207.12598 (guidance); Chen et al. (2022), arXiv:2208.04202
(self-conditioning).
"""

from collections.abc import Callable
from typing import final

import torch
from torch import Tensor

from timediff.diffusion.parameterisation import Prediction
from timediff.diffusion.process import Denoiser
from timediff.diffusion.schedule import Level

__all__ = ["SelfConditioned", "guided"]


@final
class SelfConditioned:
    r"""A denoiser whose network also sees its own last estimate of the clean data, zeros at first.

    .. math:: \hat x_0^{(k)} = f_\theta\big(x^{(k)}, level^{(k)}, \hat x_0^{(k-1)}\big)

    over the calls k = 1, 2, ... of one chain. It has a memory: make one for each chain.
    Source: Chen et al. (2022), algorithm 2.

    Args:
        network: ``network(x, level, x0_previous) -> Prediction``, all data ``[..., D]``.
    """

    def __init__(self, network: Callable[[Tensor, Level, Tensor], Prediction]) -> None:
        self.network = network
        self.x0: Tensor | None = None

    def __call__(self, x: Tensor, level: Level) -> Prediction:
        previous = torch.zeros_like(x) if self.x0 is None else self.x0
        prediction = self.network(x, level, previous)
        self.x0 = prediction.x0
        return prediction


def guided(conditional: Denoiser, unconditional: Denoiser, *, scale: float) -> Denoiser:
    r"""A denoiser that overstates what the condition says: classifier-free guidance.

    .. math:: \tilde\epsilon(x, \lambda) = (1 + w)\, \epsilon(x, \lambda, c) - w\, \epsilon(x, \lambda)

    which at each level is the score of :math:`p(x \mid c)^{1+w}\, p(x)^{-w}`, normalised. The chain's
    samples are not draws from that density of the clean data: powers and noising do not commute. At w = 0
    it is the conditional denoiser, at w = -1 the unconditional one. The weights add to 1, so the estimates
    of the clean data mix in the same way. Source: Ho & Salimans (2022), eq. 6.

    Args:
        conditional: The denoiser with its condition bound; a learned variance is this one's.
        unconditional: The denoiser with the empty condition bound.
        scale: w, the guidance strength.
    """

    def denoiser(x: Tensor, level: Level) -> Prediction:
        with_cond, without = conditional(x, level), unconditional(x, level)
        x0 = (1 + scale) * with_cond.x0 - scale * without.x0
        eps = (1 + scale) * with_cond.eps - scale * without.eps
        return Prediction(x0, eps, with_cond.fraction)

    return denoiser
