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


def correlation(rows: Tensor) -> Correlation:
    """The correlation of the columns of ``rows [N, D]``, shrunk by `SHRINKAGE`."""
    rows = rows.double()
    dim, count = rows.shape[1], mode_count(rows.shape[1])
    matrix = rows.t() @ rows / len(rows)
    size = matrix.diagonal().sqrt()
    matrix = matrix / size.clamp(min=1e-9) / size.clamp(min=1e-9)[:, None]
    # A column that is nothing but zeros hangs together with no other.
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
        size = (errors.square().sum(dim=0) / known.sum(dim=0).clamp(min=1)).sqrt()
        typical = size.square().mean(dim=0).sqrt()
        self.size.copy_(
            torch.where(typical > 0, size.clamp(min=1e-3 * typical), 1.0).clamp(min=1e-6)
        )
        u = errors / self.size
        horizon, dim = self.size.shape
        self.modes.copy_(correlation(_thinned(u, horizon)).modes)
        along = u @ self.modes
        left = u - along @ self.modes.t()
        if self.modes.shape[1] == dim:
            left = torch.zeros_like(left)
        for part, into in ((along, slice(None, -1)), (left, slice(-1, None))):
            square, cross = part.square(), part[:, 1:] * part[:, :-1]
            if part is left:
                square, cross = (x.mean(dim=-1, keepdim=True) for x in (square, cross))
            phi = cross.mean(dim=0) / square[:, :-1].mean(dim=0).clamp(min=1e-9)
            self.persistence[1:, into] = phi.clamp(-_LARGEST, _LARGEST)
        self.step_size.fill_(1.0)
        z = self.split(errors)
        # A series without errors says nothing of the innovations of others.
        counted = known & (typical > 0)
        mean = (z.square() * counted).sum(dim=(0, 2)) / counted.sum(dim=(0, 2)).clamp(min=1)
        self.step_size.copy_(mean.sqrt().clamp(min=1e-3))
        return correlation(_thinned(z / self.step_size[:, None], horizon))


def _thinned(u: Tensor, horizon: int) -> Tensor:
    """Some of the rows ``[N, T, D]``, those of neighbouring leads being much alike, ``[., D]``."""
    return u[:, :: max(1, horizon // 6)].flatten(0, 1)
