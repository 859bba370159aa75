r"""A learned schedule: the chain on which the bound's Monte-Carlo estimate varies least.

The terms of the variational bound are :math:`L_n = \tfrac12 (SNR_{n-1} / SNR_n - 1)\, \|e_n\|^2`,
n = 2 .. N, with :math:`e_n = \epsilon - \hat\epsilon`. One step drawn uniformly estimates their sum with the
second moment

.. math:: (N - 1) \sum_{n=2}^N E[L_n^2] \;\ge\; \Big(\sum_{n=2}^N \sqrt{E[L_n^2]}\Big)^2

As N grows, the right-hand side tends to :math:`\big(\tfrac12 \int \sqrt{E \|e\|^4}\, d\lambda\big)^2` and
the estimate's mean to the bound: neither depends on where the points are put between the two ends. So the
variance is least where both sides are equal, which is where all terms have the same root mean square. Such
points are found without a gradient, by moving them to equal shares of the sum on the right.

Kingma et al. descend the gradient of :math:`E[L_n^2]` instead, through the network's input, since their
schedule is itself a network. At a fixed error, without the part through the input, the gradient vanishes
elsewhere.

Source: Kingma et al. (2021), arXiv:2107.00630, section 5.1 and the appendix on reducing the variance.
"""

import numpy as np
import torch
from torch import Tensor, nn

from timediff.diffusion.schedule import Schedule, linear
from timediff.diffusion.step_sampling import RunningSquare

__all__ = ["FLOOR", "LearnedSchedule", "start"]

#: Added to every term, as a share of their mean, so that no two points meet; it leaves equal terms equal.
FLOOR = 1e-3


def start(num_steps: int, beta_start: float, beta_end: float) -> Schedule:
    """The chain that learning begins with: `timediff.diffusion.schedule.linear`."""
    return linear(num_steps, beta_start, beta_end)


class LearnedSchedule(nn.Module):
    """A chain whose points 2 .. N - 1 move between a fixed first and a fixed last step.

    Training gives it the errors at the steps of each batch (`update`) and now and then moves the points
    (`move`). Its state is kept in checkpoints; `chain` makes the schedule from it. A network that reads the
    log-SNR sees at once where the points are, one that reads n has to learn it anew.

    Args:
        start: The chain to begin with, of which ends and process (VP, sub-VP, VE) are kept.
    """

    log_snr: Tensor

    def __init__(self, start: Schedule) -> None:
        super().__init__()
        self.start = start
        #: Log-SNR of the points 1 .. N, ``[N]``.
        self.register_buffer("log_snr", start.log_snr[1:].clone())
        # Long, because a move needs the error's size at all steps and not only its latest trend.
        self.square = RunningSquare(start.num_steps, history=1000)

    def chain(self) -> Schedule:
        """The schedule as it is now, on the same device. Waits for that device."""
        clean, *noisy = self.start.points
        log_snr = self.log_snr.double().cpu().numpy()
        # The ends in float64, as `start` has them.
        at_start = np.array([point.log_snr for point in noisy])
        log_snr = np.concatenate([[clean.log_snr], at_start[:1], log_snr[1:-1], at_start[1:][-1:]])
        # Between two points the norm is that of `Schedule.at`.
        log_norm = np.interp(-log_snr[1:], -at_start, np.log([point.norm for point in noisy]))
        norm = np.concatenate([[clean.norm], np.exp(log_norm)])
        return Schedule(torch.from_numpy(log_snr), torch.from_numpy(norm)).to(self.log_snr.device)

    def update(self, n: Tensor, squared_error: Tensor) -> None:
        r"""Takes in :math:`\|\epsilon - \hat\epsilon\|^2` of rows at step ``n`` of `chain`, ``[...]`` each.

        Unweighted, with any constant factor; NaN where there is none.
        """
        self.square.update(n, squared_error)

    @torch.no_grad()
    def move(self) -> None:
        r"""Moves the points half-way to where all terms have the same root mean square by the errors so far.

        .. math:: \lambda_n \leftarrow \tfrac12 \lambda_n + \tfrac12 C^{-1}\Big(\frac{n-1}{N-1} C_N\Big),
            \qquad C_n = \sum_{m=2}^n \sqrt{E[L_m^2]}

        with :math:`C^{-1}` the broken line through :math:`(C_n, \lambda_n)`: nothing moves if and only if all
        terms are equal. The running errors move along. Nothing happens before every step has been seen ten
        times. Waits for the device: call it every few hundred training steps.
        """
        if len(self.log_snr) < 3 or not self.square.ready():
            return
        old = self.log_snr.double().cpu().numpy()
        mean = self.square.mean.double().cpu().numpy()
        terms = np.expm1(-np.diff(old)) * np.sqrt(mean[1:])
        # Without any error the points stay where they are.
        terms += FLOOR * (terms.mean() or 1.0)
        cumulative = np.concatenate([[0.0], terms.cumsum()])
        # Whole moves overshoot on coarse chains, where a term grows exponentially with its step's width.
        new = (old + np.interp(np.linspace(0, cumulative[-1], len(old)), cumulative, old)) / 2
        mean = np.interp(-new, -old, mean)
        self.log_snr.copy_(torch.from_numpy(new))
        self.square.mean.copy_(torch.from_numpy(mean))
