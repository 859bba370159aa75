"""Distillation of a trained predictor: students of it that need 4, 2 or 1 network calls a time step.

Only the denoising network is trained (`timediff.distillation`). Encoder, condition and scales stay, and every
step of context and horizon is conditioned on its true past, as in training.
"""

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal

import torch

from timediff.batch import Batch
from timediff.chains import steps_taken
from timediff.checks import check_distillation, check_sampling
from timediff.config import STUDENT_STEPS, DistillConfig, SamplingConfig
from timediff.distillation import distillation_loss
from timediff.errors import InputError
from timediff.frequency import quiet_business_days
from timediff.model import TimeGrad
from timediff.predictor import TimeGradPredictor
from timediff.progress import progress_bar
from timediff.spacing import respace
from timediff.windows import WindowData, read_dataset

#: Steps of the first teacher, where its chain is as long: DDIM with more scores no better.
FIRST_STEPS = 16
#: Of every chain. Chains uniform in n are nested, a student's being every second step of its teacher's: what
#: a network was taught at is where it is asked, as the next teacher and in forecasts. Chains uniform in
#: log-SNR are not, and their last step, from almost clean data, would be a call for nothing.
SPACING: Literal["uniform"] = "uniform"


def distill(
    predictor: TimeGradPredictor,
    dataset: Iterable[Mapping[str, Any]],
    steps: int = STUDENT_STEPS,
    *,
    config: DistillConfig = DistillConfig(),  # noqa: B008 (immutable)
    progress: bool = True,
) -> TimeGradPredictor:
    """A predictor that calls its network ``steps`` times a time step; the given one stays as it is.

    It knows the levels of its own ``sampling`` only: other samplers, likelihoods and what-if forecasts
    remain its teacher's, and are refused. Guidance of the teacher is learned too, and no longer doubles the
    calls (Meng et al. 2023, arXiv:2210.03142, section 3.1).

    Args:
        predictor: The teacher.
        dataset: GluonTS entries, best those that the teacher was trained on.
        steps: A power of two.
        config: How it is trained.
        progress: Show a progress bar on stderr.

    Raises:
        InputError: An option makes no sense, or the teacher cannot be distilled, or not on these entries.
    """
    *_, last = halvings(predictor, dataset, steps, config=config, progress=progress)
    return last


def halvings(
    predictor: TimeGradPredictor,
    dataset: Iterable[Mapping[str, Any]],
    steps: int = STUDENT_STEPS,
    *,
    config: DistillConfig = DistillConfig(),  # noqa: B008 (immutable)
    progress: bool = True,
) -> Iterator[TimeGradPredictor]:
    """`distill`, but every student on the way, each with half the steps of the one before."""
    check_distillation(steps, config)
    first = _first_steps(predictor, steps)
    return _halvings(predictor, _windows(predictor, dataset), first, steps, config, progress)


def _first_steps(predictor: TimeGradPredictor, steps: int) -> int:
    """Steps of the teacher's chain to start from."""
    sampling, model = predictor.sampling, predictor.prediction_net.config
    check_sampling(sampling, model)
    if model.self_conditioning:
        raise InputError(
            "the predictor is self-conditioned: its estimates depend on those before them, which the "
            "noised values a student learns from do not have; train one without self_conditioning"
        )
    own = steps_taken(sampling, predictor.prediction_net.schedule)
    # What samples like a student may be one, whose network knows no other levels.
    like_a_student = sampling.sampler == "ddim" and sampling.spacing == SPACING
    if not like_a_student or own & (own - 1):
        own = 2 ** (min(FIRST_STEPS, model.diffusion_steps).bit_length() - 1)
    if own <= steps:
        raise InputError(
            f"steps is {steps}, but the chain to be halved has only {own} (of the "
            f"{model.diffusion_steps} steps of the model, by the predictor's sampling); give fewer"
        )
    return own


def _windows(predictor: TimeGradPredictor, dataset: Iterable[Mapping[str, Any]]) -> WindowData:
    shape, what = predictor.prediction_net.shape, "data to distil on"
    with quiet_business_days():
        series = read_dataset(dataset, freq=predictor.freq, target_dim=shape.target_dim, what=what)
        data = WindowData(series, shape)
    if not len(data.starts):
        longest = max(len(one.values) for one in series)
        raise InputError(
            f"no series of the {what} is longer than the horizon of {shape.horizon} steps (the longest "
            f"has {longest}), so there is no window to train on; give longer series"
        )
    if not data.observed.any():
        raise InputError(f"every value of the {what} is missing; give at least one observed series")
    return data


def _halvings(
    predictor: TimeGradPredictor,
    data: WindowData,
    first: int,
    steps: int,
    config: DistillConfig,
    progress: bool,
) -> Iterator[TimeGradPredictor]:
    counts = [first >> i for i in range(1, first.bit_length()) if first >> i >= steps]
    generator = torch.Generator().manual_seed(config.seed)
    teacher, guidance = predictor.prediction_net, predictor.sampling.guidance
    with progress_bar("distilling", total=len(counts) * config.train_steps, shown=progress) as bar:
        for count in counts:
            bar.set_postfix(steps=count, refresh=False)
            teacher = halve(
                teacher, count, data, config, generator, guidance=guidance, on_step=bar.update
            )
            guidance = 0.0
            yield TimeGradPredictor(
                teacher,
                sampling=SamplingConfig(sampler="ddim", steps=count, spacing=SPACING, eta=0.0),
                freq=predictor.freq,
                prediction_length=predictor.prediction_length,
                lead_time=predictor.lead_time,
                batch_size=predictor.batch_size,
                memory=predictor.memory,
                device=str(predictor.device),
                distilled=count,
            )


def halve(
    teacher: TimeGrad,
    steps: int,
    data: WindowData,
    config: DistillConfig,
    generator: torch.Generator,
    *,
    guidance: float,
    on_step: Callable[[int], object],
) -> TimeGrad:
    """A copy of the teacher that goes in ``steps`` where the teacher goes in twice as many.

    Args:
        teacher: Trained at the levels of its chain of ``2 * steps``.
        data: Windows to learn from.
        generator: Of windows, steps and noise.
        guidance: The teacher's.
        on_step: Told after every optimiser step.
    """
    student = copy.deepcopy(teacher).eval()
    student.denoiser.requires_grad_(True)
    chain = respace(teacher.schedule, 2 * steps, spacing=SPACING)
    known = teacher.levels(teacher.schedule)
    optimizer = torch.optim.Adam(student.denoiser.parameters(), lr=config.learning_rate)
    decay = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=config.train_steps)
    device = teacher.training_scale.device
    for _ in range(config.train_steps):
        chosen = torch.randint(len(data.starts), (config.batch_size,), generator=generator)
        batch = data.windows(data.starts[chosen])
        n = 2 * torch.randint(1, steps + 1, batch.features.shape[:2], generator=generator)
        size = (*n.shape, batch.target.shape[-1])
        eps = torch.randn(size, generator=generator, dtype=batch.target.dtype)
        with torch.no_grad():
            taught = student.teach(Batch(*(x.to(device) for x in batch)))
            told = teacher.conditional(taught.cond, known, guidance=guidance)
        error = distillation_loss(
            chain,
            told,
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
