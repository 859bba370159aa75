r"""The errors of the linear forecast as a Gaussian process, and the innovations that the network models.

Errors in units of their standard deviation at lead h, :math:`u_h = e_h / s_h`, follow each other along the
modes U of their correlation,

.. math:: u_h = A_h u_{h-1} + r_h z_h, \qquad A_h = U \mathrm{diag}(\phi_h) U^\top + \varphi_h (1 - U U^\top),

with one number :math:`\varphi_h` for what few modes leave. The denoising network models the innovations z, of
about unit size in every series. Their correlation is given to the network as it is made
(`timediff.networks.wiener`), so that before any training the model is this Gaussian process.

Axes: ``N`` origins, ``T`` leads, ``D`` series, ``M`` modes.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

__all__ = [
    "MODES",
    "PRIOR",
    "SHRINKAGE",
    "Correlation",
    "Innovations",
    "correlation",
    "mode_count",
]

#: Modes that are kept, at most.
MODES = 32
#: Weight of independence in correlations.
SHRINKAGE = 0.1
#: Origins that the errors of a series at all leads weigh in their size at each, and that independence weighs
#: in what one lead says of the next.
PRIOR = 3.0
_LARGEST = 0.98


def mode_count(dim: int) -> int:
    """M."""
    return min(dim, MODES)


class Correlation(NamedTuple):
    """A correlation matrix as its leading modes and one variance for all that they leave.

    Attributes:
        modes: Orthonormal, ``[D, M]``.
        variances: Of the modes, and of what they leave, ``[M + 1]``.
    """

    modes: Tensor
    variances: Tensor


def correlation(covariance: Tensor) -> Correlation:
    """The correlation of a covariance ``[D, D]``, shrunk by `SHRINKAGE`."""
    dim, count = len(covariance), mode_count(len(covariance))
    matrix = covariance.double().cpu()
    size = matrix.diagonal().clamp(min=0).sqrt().clamp(min=1e-9)
    matrix = matrix / size / size[:, None]
    # A series that is nothing but zeros hangs together with no other.
    matrix.diagonal().fill_(1.0)
    matrix = (1 - SHRINKAGE) * matrix + SHRINKAGE * torch.eye(dim).double()
    values, vectors = torch.linalg.eigh(matrix)
    values, vectors = values.flip(0), vectors.flip(1)
    rest = values[count:].mean() if count < dim else values.new_ones(())
    variances = torch.cat([values[:count], rest[None]]).clamp(min=1e-4)
    dtype = torch.get_default_dtype()
    return Correlation(vectors[:, :count].to(dtype), variances.to(dtype))


class Innovations(nn.Module):
    """Errors from innovations and back.

    Args:
        horizon: T.
        dim: D.
    """

    size: Tensor
    modes: Tensor
    persistence: Tensor
    step_size: Tensor

    def __init__(self, horizon: int, dim: int) -> None:
        super().__init__()
        count = mode_count(dim)
        self.register_buffer("size", torch.ones(horizon, dim))
        self.register_buffer("modes", torch.zeros(dim, count))
        self.register_buffer("persistence", torch.zeros(horizon, count + 1))
        self.register_buffer("step_size", torch.ones(horizon))

    def unit(self, t: int) -> Tensor:
        """Scaled units of one unit of innovation at lead t, ``[D]``."""
        return self.size[t] * self.step_size[t]

    def carried(self, t: int, error: Tensor) -> Tensor:
        """What lead t's error is expected to be after the error ``[R, D]`` of the lead before, ``[R, D]``."""
        if t == 0:
            return torch.zeros_like(error)
        return self.size[t] * self._after(error / self.size[t - 1], self.persistence[t])

    def split(self, errors: Tensor) -> Tensor:
        """Innovations of the errors of all leads, ``[..., T, D]``."""
        u = errors / self.size
        before = torch.cat([torch.zeros_like(u[..., :1, :]), u[..., :-1, :]], dim=-2)
        return (u - self._after(before, self.persistence)) / self.step_size[:, None]

    def _after(self, u: Tensor, persistence: Tensor) -> Tensor:
        rest = persistence[..., -1:]
        return rest * u + ((u @ self.modes) * (persistence[..., :-1] - rest)) @ self.modes.t()

    def fit(self, errors: Tensor, known: Tensor) -> Correlation:
        """Sets all of it from the errors ``[N, T, D]`` of past forecasts, 0 where unknown.

        Returns:
            The correlation of the innovations.
        """
        count = known.sum(dim=0)
        size = (errors.square().sum(dim=0) / count.clamp(min=1)).sqrt()
        typical = size.square().mean(dim=0).sqrt()
        size = torch.where(typical > 0, size.clamp(min=1e-3 * typical), 1.0).clamp(min=1e-6)
        u, known = errors / size, known.to(errors)
        # Of a lead that few origins know, what the other leads do says more than their own few errors.
        away = torch.where(typical > 0, typical / size, 1.0)
        self.size.copy_(size * away ** (PRIOR / (count + PRIOR)))
        horizon, dim = self.size.shape
        # Neighbouring leads are much alike.
        some = range(0, horizon, max(1, horizon // 6))

        def moment(t: int, before: int) -> Tensor:
            """Mean of the products of two leads, over the origins that know both, ``[D, D]``."""
            count = known[:, t].t() @ known[:, before]
            return (u[:, t].t() @ u[:, before]) / count.clamp(min=1)

        modes = correlation(torch.stack([moment(t, t) for t in some]).mean(dim=0)).modes
        self.modes.copy_(modes)
        alive = (typical > 0).to(errors)  # a series without errors says nothing of those of others
        innovations, last = torch.zeros(dim, dim).to(errors), moment(0, 0)
        for t in range(horizon):
            here = moment(t, t)
            if t == 0:
                left = here
            else:
                cross = moment(t, t - 1)
                both_known = (known[:, t] * known[:, t - 1]).sum(dim=0).mean()
                phi = _persistence(cross, last, modes) * (both_known / (both_known + PRIOR))
                self.persistence[t] = phi
                carried = (modes * (phi[:-1] - phi[-1])) @ modes.t()
                carried.diagonal().add_(phi[-1])
                both = carried @ cross.t()
                left = here - both - both.t() + carried @ last @ carried.t()
            seen = alive * (count[t] > 0)
            if seen.any():
                mean = (left.diagonal().clamp(min=0) * seen).sum() / seen.sum()
                self.step_size[t] = mean.sqrt().clamp(min=1e-3)
            else:
                self.step_size[t] = 1.0
            if t in some:
                innovations += left / self.step_size[t].square() / len(some)
            last = here
        return correlation(innovations)


def _persistence(cross: Tensor, before: Tensor, modes: Tensor) -> Tensor:
    """Regression of each mode on itself a lead before, and of what the modes leave, ``[M + 1]``."""
    along, size = (((moment @ modes) * modes).sum(dim=0) for moment in (cross, before))
    rest, rest_size = (
        moment.trace() - part.sum() for moment, part in ((cross, along), (before, size))
    )
    phi = torch.cat([along / size.clamp(min=1e-9), (rest / rest_size.clamp(min=1e-9))[None]])
    if modes.shape[1] == len(modes):
        phi[-1] = 0.0
    return phi.clamp(-_LARGEST, _LARGEST)
