r"""A denoising network on top of the best linear one: it learns what is not Gaussian.

For data :math:`x_0 \sim N(0, \Sigma)` the velocity :math:`v = \alpha \epsilon - \sigma x_0` expected from
:math:`x = \alpha x_0 + \sigma \epsilon` is linear in x; along an eigenvector of :math:`\Sigma` with variance
:math:`\lambda`,

.. math:: \hat v = \frac{\alpha \sigma (1 - \lambda)}{\alpha^2 \lambda + \sigma^2}\, x

(Wiener's filter, in a variance-preserving process). The network's own output is added to it, which in the
default network is 0 at first: the untrained model is the Gaussian.
"""

import torch
from torch import Tensor

from timediff.diffusion.schedule import Level
from timediff.networks.base import DenoisingNetwork, Embedded, Network

__all__ = ["WienerStart"]


class WienerStart(DenoisingNetwork):
    """The velocity of a Gaussian and what another network adds to it.

    Args:
        network: What is added.
        target_dim: D.
        modes: Leading modes M of the covariance that are told apart.
    """

    modes: Tensor
    variances: Tensor
    share: Tensor

    def __init__(self, network: DenoisingNetwork, target_dim: int, *, modes: int) -> None:
        super().__init__()
        self.network, self.floats_per_row = network, network.floats_per_row + target_dim + modes
        self.register_buffer("modes", torch.zeros(target_dim, modes))
        self.register_buffer("variances", torch.ones(modes + 1))
        #: How much of the network's own output is added.
        self.register_buffer("share", torch.ones(()))

    def embed_level(self, level: Level) -> Embedded:
        alpha, sigma = level.alpha[..., None], level.sigma[..., None]
        variances = self.variances
        gain = alpha * sigma * (1 - variances) / (alpha.square() * variances + sigma.square())
        rest = gain[..., -1:]
        return (*self.network.embed_level(level), gain[..., :-1] - rest, rest)

    def under(self, cond: Tensor) -> Network:
        inner, modes, share = self.network.under(cond), self.modes, self.share
        back, dim = modes.t(), len(modes)

        def network(x: Tensor, level: Embedded) -> tuple[Tensor, ...]:
            *embedded, gain, rest = level
            value, *more = inner(x, tuple(embedded))
            own = x[..., :dim]  # an earlier estimate may follow
            return (
                share * value + rest * own + ((own @ modes) * gain) @ back,
                *(share * each for each in more),
            )

        return network
