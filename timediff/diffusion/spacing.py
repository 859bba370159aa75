"""Which steps of a long chain a short one takes.

Source: Nichol & Dhariwal (2021), arXiv:2102.09672, section 4.
"""

import torch
from torch import Tensor

from timediff.diffusion.schedule import Schedule
from timediff.registry import SPACINGS

__all__ = ["quadratic_steps", "respace", "uniform", "uniform_angle", "uniform_log_snr"]


def uniform(schedule: Schedule, num_steps: int) -> Tensor:
    """Evenly spaced steps, float64 ``[num_steps + 1]``."""
    return torch.linspace(0, schedule.num_steps, num_steps + 1, dtype=torch.float64)


def quadratic_steps(schedule: Schedule, num_steps: int) -> Tensor:
    """Steps growing as a square, dense near clean data (Song et al. 2021, arXiv:2010.02502, D.2)."""
    return torch.linspace(0, schedule.num_steps**0.5, num_steps + 1, dtype=torch.float64) ** 2


def uniform_log_snr(schedule: Schedule, num_steps: int) -> Tensor:
    """The steps nearest to even spacing in log-SNR from step 1 to N (Lu et al. 2022, arXiv:2206.00927)."""
    log_snr = torch.tensor([point.log_snr for point in schedule.points[1:]], dtype=torch.float64)
    if num_steps == 1:
        return torch.tensor([0.0, schedule.num_steps], dtype=torch.float64)
    targets = torch.linspace(float(log_snr[0]), float(log_snr[-1]), num_steps, dtype=torch.float64)
    nearest = (targets[:, None] - log_snr).abs().argmin(dim=1) + 1
    return torch.cat([nearest.new_zeros(1), nearest]).double()


def uniform_angle(schedule: Schedule, num_steps: int) -> Tensor:
    """The steps nearest to even spacing in the angle whose tangent is noise over data."""
    angle = torch.tensor([point.angle for point in schedule.points], dtype=torch.float64)
    targets = torch.linspace(0, float(angle[-1]), num_steps + 1, dtype=torch.float64)
    return (targets[:, None] - angle).abs().argmin(dim=1).double()


def respace(schedule: Schedule, num_steps: int, *, spacing: str = "uniform") -> Schedule:
    r"""The shorter chain through ``num_steps`` steps of ``schedule`` chosen by one of `SPACINGS`.

    Its first point and its last are those of the long chain, as are its marginals, and its levels name the
    long chain's steps, so a network trained on the long chain serves it. Steps that a spacing puts on top of
    each other move to the next free ones.

    Source: Nichol & Dhariwal (2021), arXiv:2102.09672, eq. 19.
    """
    if not 1 <= num_steps <= schedule.num_steps:
        raise ValueError(f"num_steps must lie in 1 .. {schedule.num_steps}, got {num_steps}")
    steps = SPACINGS[spacing](schedule, num_steps).round().long()
    rank = torch.arange(num_steps + 1)
    # Distinct and ascending: the maximum moves repeated steps up, the minimum leaves room for the last ones.
    steps = (steps - rank).cummax(dim=0).values + rank
    steps = torch.minimum(steps, schedule.num_steps - num_steps + rank)
    points = [schedule.points[n] for n in steps.tolist()]
    log_snr, norm = ([getattr(p, name) for p in points] for name in ("log_snr", "norm"))
    short = Schedule(
        torch.tensor(log_snr, dtype=torch.float64),
        torch.tensor(norm, dtype=torch.float64),
        steps=torch.tensor([int(p.n) for p in points]),
    )
    short.noisy = schedule.noisy
    return short.to(schedule.beta.device)
