r"""Which diffusion steps to train on: each as often as its loss varies the mean.

The mean of :math:`L_n` over the steps n = 1 .. N, of the variational bound say, may be estimated from steps
drawn with any probabilities :math:`p_n` if each loss is weighted by :math:`1 / (N p_n)`. It varies least for

.. math:: p_n \propto \sqrt{E[L_n^2]}

and then its variance is
:math:`\big(\tfrac1N \sum_n \sqrt{E[L_n^2]}\big)^2 - \big(\tfrac1N \sum_n E[L_n]\big)^2`.

Source: Nichol & Dhariwal (2021), arXiv:2102.09672, section 3.3, eq. 18.
"""

import torch
from torch import Tensor, nn

__all__ = ["UNIFORM_SHARE", "WARM_UP", "RunningSquare", "StepSampler"]

#: How often each step must have been seen before any is preferred (Nichol & Dhariwal 2021, section 3.3).
WARM_UP = 10
#: Share of the draws that stays uniform: no weight exceeds its inverse, no step is forgotten.
UNIFORM_SHARE = 1e-3


class RunningSquare(nn.Module):
    r"""Running estimate of :math:`E[L_n^2]` for each step n, ``[N]``, kept in checkpoints.

    The mean of all squares up to ``history`` rows of a step, after that one in which old rows fade. The paper
    averages the last 10 losses of each step; a batch here may have more rows of a step than that.

    Args:
        num_steps: N.
        history: Most earlier rows that weigh against the new ones.
    """

    count: Tensor
    mean: Tensor

    def __init__(self, num_steps: int, *, history: int = 100) -> None:
        super().__init__()
        self.history = history
        self.register_buffer("count", torch.zeros(num_steps, dtype=torch.long))
        self.register_buffer("mean", torch.zeros(num_steps))

    @torch.no_grad()
    def update(self, n: Tensor, loss: Tensor) -> None:
        """Takes in the ``loss`` of rows at step ``n``, ``[...]`` each, without waiting for the device.

        Rows whose loss is not finite are passed over; so a caller masks a row by NaN.
        """
        square = loss.detach().to(self.mean.dtype).square().flatten()
        finite = square.isfinite()
        steps = (n - 1).flatten()
        count = torch.zeros_like(self.count).index_add_(0, steps, finite.to(self.count.dtype))
        total = torch.zeros_like(self.mean).index_add_(0, steps, torch.where(finite, square, 0))
        share = count / (self.count.clamp(max=self.history) + count).clamp(min=1)
        self.mean += share * (total / count.clamp(min=1) - self.mean)
        self.count += count

    def ready(self) -> Tensor:
        """Whether every step has been seen often enough, a boolean ``[]``."""
        return (self.count >= WARM_UP).all()


class StepSampler(nn.Module):
    """Sampler of diffusion steps whose probabilities follow the losses that it takes in.

    Args:
        num_steps: N.
    """

    def __init__(self, num_steps: int) -> None:
        super().__init__()
        self.square = RunningSquare(num_steps)

    def probability(self) -> Tensor:
        """Probability of each step 1 .. N, ``[N]``; uniform until all have been seen ten times."""
        root = self.square.mean.sqrt()
        uniform = torch.full_like(root, 1 / len(root))
        # Losses that are all zero prefer no step.
        usable = self.square.ready() & (root.sum() > 0)
        learned = UNIFORM_SHARE * uniform + (1 - UNIFORM_SHARE) * root / root.sum()
        return torch.where(usable, learned, uniform)

    def draw(
        self, shape: tuple[int, ...], *, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        r"""Steps, integer in 1 .. N, and weights :math:`1 / (N p_n)`, both of this shape.

        The mean of weight times loss estimates the mean of the loss over all steps without bias.
        """
        p = self.probability()
        # Inversion, because torch.multinomial waits for the device.
        u = torch.rand(shape, generator=generator, device=p.device, dtype=p.dtype)
        i = torch.searchsorted(p.cumsum(dim=0), u, right=True).clamp(max=len(p) - 1)
        return i + 1, 1 / (len(p) * p[i])

    def update(self, n: Tensor, loss: Tensor) -> None:
        """Takes in the unweighted ``loss`` of rows at step ``n``, ``[...]`` each; NaN where there is none."""
        self.square.update(n, loss)
