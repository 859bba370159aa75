r"""The errors of the linear forecast as a Gaussian process, and the innovations that the network models.

Errors in units of their standard deviation at lead h, :math:`u_h = e_h / s_h`, follow each other along the
modes U of their correlation,

.. math:: u_h = A_h u_{h-1} + r_h z_h, \qquad A_h = U \mathrm{diag}(\phi_h) U^\top + \varphi_h (1 - U U^\top),

with one number :math:`\varphi_h` for what few modes leave. The denoising network models the innovations z, of
about unit size in every series. Their correlation is given to the network as it is made
(`timediff.networks.wiener`), so that before any training the model is this Gaussian process.

Axes: ``N`` origins, ``T`` leads, ``D`` series, ``M`` modes.
"""

import torch
from torch import Tensor, nn

from timediff.timegrad.correlation import Correlation, correlation, mode_count
from timediff.timegrad.wide import WIDE, correlation_of_rows

__all__ = ["PRIOR", "Innovations"]

#: Origins that the errors of a series at all leads weigh in their size at each, and that independence weighs
#: in what one lead says of the next.
PRIOR = 3.0
_LARGEST = 0.98


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
        return self.size[t] * self.after(error / self.size[t - 1], self.persistence[t])

    def split(self, errors: Tensor) -> Tensor:
        """Innovations of the errors of all leads, ``[..., T, D]``."""
        u = errors / self.size
        before = torch.cat([torch.zeros_like(u[..., :1, :]), u[..., :-1, :]], dim=-2)
        return (u - self.after(before, self.persistence)) / self.step_size[:, None]

    def after(self, u: Tensor, persistence: Tensor) -> Tensor:
        """What errors ``[..., D]`` are expected to be a lead later, in units of their size as they are."""
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
        alive = (typical > 0).to(errors)  # a series without errors says nothing of those of others
        if len(alive) > WIDE:
            return self._fit_rows(u / count.clamp(min=1).sqrt(), known, alive)
        return self._fit_moments(u, known, alive)

    @property
    def _some(self) -> range:
        """Leads that correlations are of: neighbouring ones are much alike."""
        horizon = len(self.size)
        return range(0, horizon, max(1, horizon // 6))

    def _fit_moments(self, u: Tensor, known: Tensor, alive: Tensor) -> Correlation:
        """Sets all but the size from errors in units of it, by matrices of each pair of series."""
        (horizon, dim), some = self.size.shape, self._some

        def moment(t: int, before: int) -> Tensor:
            """Mean of the products of two leads, over the origins that know both, ``[D, D]``."""
            count = known[:, t].t() @ known[:, before]
            return (u[:, t].t() @ u[:, before]) / count.clamp(min=1)

        modes = correlation(torch.stack([moment(t, t) for t in some]).mean(dim=0)).modes
        self.modes.copy_(modes)
        innovations, last = torch.zeros(dim, dim).to(u), moment(0, 0)
        for t in range(horizon):
            here = moment(t, t)
            if t == 0:
                left = here
            else:
                cross = moment(t, t - 1)
                along, size = (((each @ modes) * modes).sum(dim=0) for each in (cross, last))
                phi = _persistence(
                    along, size, cross.trace(), last.trace(), every=len(along) == dim
                )
                phi = self.persistence[t] = phi * _weight(known, t)
                carried = (modes * (phi[:-1] - phi[-1])) @ modes.t()
                carried.diagonal().add_(phi[-1])
                both = carried @ cross.t()
                left = here - both - both.t() + carried @ last @ carried.t()
            self.step_size[t] = _typical(left.diagonal(), alive * known[:, t].any(dim=0))
            if t in some:
                innovations += left / self.step_size[t].square() / len(some)
            last = here
        return correlation(innovations)

    def _fit_rows(self, rows: Tensor, known: Tensor, alive: Tensor) -> Correlation:
        """The same for many series, from the rows that such matrices are products of, ``[N, T, D]``.

        Each is divided by the root of the number of origins that know it: where two series are not known at
        the same origins, they are taken for less alike than they are.
        """
        some, innovations, last = self._some, [], torch.zeros_like(rows[:, 0])
        modes = correlation_of_rows(rows[:, list(some)].flatten(0, 1)).modes.to(rows)
        self.modes.copy_(modes)
        every = modes.shape[0] == modes.shape[1]
        for t in range(len(self.size)):
            here = rows[:, t]
            if t:
                along, size = (
                    ((each @ modes) * (last @ modes)).sum(dim=0) for each in (here, last)
                )
                phi = _persistence(
                    along, size, (here * last).sum(), last.square().sum(), every=every
                )
                self.persistence[t] = phi * _weight(known, t)
            left = here - self.after(last, self.persistence[t])
            self.step_size[t] = _typical(left.square().sum(dim=0), alive * known[:, t].any(dim=0))
            if t in some:
                innovations.append(left / self.step_size[t])
            last = here
        return correlation_of_rows(torch.cat(innovations))


def _weight(known: Tensor, t: int) -> Tensor:
    """Of the regression of lead t on the one before, against independence: by the origins that know both."""
    count = (known[:, t] * known[:, t - 1]).sum(dim=0).mean()
    return count / (count + PRIOR)


def _typical(variances: Tensor, seen: Tensor) -> Tensor:
    """Standard deviation of the innovations of all series with errors that were seen; 1 where none was."""
    if not seen.any():
        return torch.ones(()).to(variances)
    mean = (variances.clamp(min=0) * seen).sum() / seen.sum()
    return mean.sqrt().clamp(min=1e-3)


def _persistence(
    along: Tensor, size: Tensor, whole: Tensor, whole_size: Tensor, *, every: bool
) -> Tensor:
    """Regression of each mode on itself a lead before, and of what the modes leave, ``[M + 1]``.

    Args:
        along: Product of each mode with itself a lead before, ``[M]``.
        size: Its square a lead before, ``[M]``.
        whole: The same product of all series together.
        whole_size: Likewise.
        every: Whether the modes leave nothing.
    """
    rest, rest_size = whole - along.sum(), whole_size - size.sum()
    phi = torch.cat([along / size.clamp(min=1e-9), (rest / rest_size.clamp(min=1e-9))[None]])
    if every:
        phi[-1] = 0.0
    return phi.clamp(-_LARGEST, _LARGEST)
