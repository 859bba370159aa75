r"""A denoising network on top of the best linear one: it learns what is not Gaussian.

For data :math:`x_0 \sim N(0, \Sigma)` what is to be expected of
:math:`x = \alpha x_0 + \sigma \epsilon` is linear in x: of a quantity :math:`p x_0 + q \epsilon`, along an
eigenvector of :math:`\Sigma` with variance :math:`\lambda`,

.. math:: \frac{p \alpha \lambda + q \sigma}{\alpha^2 \lambda + \sigma^2}\, x

(Wiener's filter; of the velocity :math:`\alpha \epsilon - \sigma x_0` the factor is
:math:`\alpha \sigma (1 - \lambda) / (\alpha^2 \lambda + \sigma^2)`). The network's own output is added to it,
which in the default network is 0 at first: the untrained model is the Gaussian.
"""

import torch
from torch import Tensor

from timediff.diffusion.schedule import Level
from timediff.networks.base import DenoisingNetwork, Embedded, Network
from timediff.registry import PARAMETERISATIONS

__all__ = ["WienerStart"]


class WienerStart(DenoisingNetwork):
    """What is to be expected of Gaussian data, and what another network adds to it.

    Args:
        network: What is added.
        target_dim: D.
        modes: Leading modes M of the covariance that are told apart.
        kind: What the output stands for (`timediff.registry.PARAMETERISATIONS`).
    """

    modes: Tensor
    variances: Tensor
    share: Tensor

    def __init__(
        self, network: DenoisingNetwork, target_dim: int, *, modes: int, kind: str = "v"
    ) -> None:
        super().__init__()
        self.kind = kind
        self.network, self.floats_per_row = network, network.floats_per_row + target_dim + modes
        self.register_buffer("modes", torch.zeros(target_dim, modes))
        self.register_buffer("variances", torch.ones(modes + 1))
        #: How much of the network's own output is added.
        self.register_buffer("share", torch.ones(()))

    def embed_level(self, level: Level) -> Embedded:
        # In variance-preserving units, as all that a network sees.
        norm = (level.alpha.square() + level.sigma.square()).sqrt()
        alpha, sigma = (level.alpha / norm)[..., None], (level.sigma / norm)[..., None]
        p, q = PARAMETERISATIONS[self.kind].coefficients(alpha, sigma)
        signal = alpha * self.variances
        gain = (p * signal + q * sigma) / (alpha * signal + sigma.square())
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
