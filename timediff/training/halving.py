"""One halving of a chain: a student that goes in half as many steps as its teacher."""

import copy
from collections.abc import Callable
from typing import Literal

import torch

from timediff.config import DistillConfig
from timediff.diffusion.distillation import distillation_loss
from timediff.diffusion.spacing import respace
from timediff.networks.wiener import WienerStart
from timediff.timegrad.batch import Batch
from timediff.timegrad.model import TimeGrad

__all__ = ["SPACING", "halve"]

#: Spacing of the chains of teachers and students. Uniform in n they are nested: a student's steps are every
#: second of its teacher's, so that no network is called at a level that it was not trained at. Uniform in
#: log-SNR they are not, and their last step, from almost clean data, would be a wasted call.
SPACING: Literal["uniform"] = "uniform"


def halve(
    teacher: TimeGrad,
    steps: int,
    windows: Callable[[torch.Generator], Batch],
    config: DistillConfig,
    generator: torch.Generator,
    *,
    guidance: float,
    on_step: Callable[[int], object],
) -> TimeGrad:
    """A copy of the teacher that goes in ``steps`` where the teacher goes in twice as many.

    Args:
        teacher: Trained at the levels of its chain of ``2 * steps``.
        windows: Gives the windows of the next optimiser step.
        config: How many steps, and at what rate.
        generator: Of windows, diffusion steps and noise.
        guidance: The teacher's.
        on_step: Called after every optimiser step with the number 1.
    """
    student = copy.deepcopy(teacher).eval()
    if isinstance(student.denoiser, WienerStart):
        # It is to learn what the teacher's chain draws, whatever that is made of.
        student.denoiser.share.fill_(1.0)
    student.denoiser.requires_grad_(True)
    chain = respace(teacher.schedule, 2 * steps, spacing=SPACING)
    levels = teacher.levels(teacher.schedule)
    optimizer = torch.optim.Adam(student.denoiser.parameters(), lr=config.learning_rate)
    decay = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=config.train_steps)
    device = teacher.training_scale.device
    for _ in range(config.train_steps):
        batch = windows(generator)
        shape = (len(batch.target), student.taught_steps)
        n = 2 * torch.randint(1, steps + 1, shape, generator=generator)
        size = (*n.shape, batch.target.shape[-1])
        eps = torch.randn(size, generator=generator, dtype=batch.features.dtype)
        with torch.no_grad():
            taught = student.teach(batch.to(device))
            denoiser = teacher.conditional(taught.cond, levels, guidance=guidance)
        error = distillation_loss(
            chain,
            denoiser,
            student.bind(taught.cond, student.levels(student.schedule)),
            taught.x0,
            n.to(device),
            eps.to(device),
        )
        loss = (error * taught.observed).sum() / taught.observed.sum().clamp(min=1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        decay.step()
        on_step(1)
    student.zero_grad()
    return student
