"""Distillation of a trained predictor: students of it that need 4, 2 or 1 network calls a time step.

Only the denoising network is trained (`timediff.diffusion.distillation`). Encoder, condition and scales
stay, and every step of context and horizon is conditioned on its true past, as in training.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch

from timediff.arguments import checked
from timediff.checks import check_distillation, check_sampling
from timediff.config import STUDENT_STEPS, DistillConfig, SamplingConfig
from timediff.errors import InputError
from timediff.frequency import quiet_business_days
from timediff.gluon.entries import read_dataset
from timediff.gluon.predictor import TimeGradPredictor
from timediff.gluon.windows import WindowData
from timediff.timegrad.batch import Batch
from timediff.timegrad.model import TimeGrad
from timediff.timegrad.reverse import steps_taken
from timediff.timegrad.soundness import first_fault
from timediff.tools.progress import progress_bar
from timediff.tools.threads import MOST_ROUNDS, quickest, with_threads
from timediff.training.halving import SPACING, halve
from timediff.training.threads import STEPS_A_ROUND, settled_threads, tell

__all__ = ["FIRST_STEPS", "distill", "halvings"]

#: Steps of the chain that is halved first, where the model has as many: DDIM with more scores no better.
FIRST_STEPS = 16


@checked
def distill(
    predictor: TimeGradPredictor,
    dataset: Iterable[Mapping[str, Any]],
    steps: int = STUDENT_STEPS,
    *,
    config: DistillConfig = DistillConfig(),  # noqa: B008 (immutable)
    progress: bool = True,
) -> TimeGradPredictor:
    """A predictor that calls its network ``steps`` times a time step; the teacher stays as it is.

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


@checked
def halvings(
    predictor: TimeGradPredictor,
    dataset: Iterable[Mapping[str, Any]],
    steps: int = STUDENT_STEPS,
    *,
    config: DistillConfig = DistillConfig(),  # noqa: B008 (immutable)
    progress: bool = True,
) -> Iterator[TimeGradPredictor]:
    """Every student on the way of `distill`, each with half the steps of the one before."""
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
    first = steps_taken(sampling, predictor.prediction_net.schedule)
    # A predictor that samples like a student may be one: its network knows the levels of this chain alone.
    like_a_student = sampling.sampler == "ddim" and sampling.spacing == SPACING
    if not like_a_student or first & (first - 1):
        first = 2 ** (min(FIRST_STEPS, model.diffusion_steps).bit_length() - 1)
    if first <= steps:
        raise InputError(
            f"steps is {steps}, but the chain to be halved has only {first} (of the "
            f"{model.diffusion_steps} steps of the model, by the predictor's sampling); give fewer"
        )
    return first


def _windows(predictor: TimeGradPredictor, dataset: Iterable[Mapping[str, Any]]) -> WindowData:
    shape, what = predictor.prediction_net.shape, "data to distil on"
    with quiet_business_days():
        all_series = read_dataset(
            dataset, freq=predictor.freq, target_dim=shape.target_dim, what=what
        )
        data = WindowData(all_series, shape)
    if not len(data.starts):
        longest = max(len(series.values) for series in all_series)
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

    def windows(generator: torch.Generator) -> Batch:
        chosen = torch.randint(len(data.starts), (config.batch_size,), generator=generator)
        return data.windows(data.starts[chosen])

    teacher, guidance = predictor.prediction_net, predictor.sampling.guidance
    threads = settled_threads(config.threads)
    with progress_bar("distilling", total=len(counts) * config.train_steps, shown=progress) as bar:
        for count in counts:
            bar.set_postfix(steps=count, refresh=False)
            if threads is None:
                threads = _threads(teacher, count, windows, config, guidance, progress=progress)
            with with_threads(threads):
                teacher = halve(
                    teacher,
                    count,
                    windows,
                    config,
                    generator,
                    guidance=guidance,
                    on_step=bar.update,
                )
            if first_fault(teacher) is not None:
                raise InputError(
                    f"the distillation to {count} steps diverged: weights are infinite or no numbers; lower "
                    f"learning_rate (it is {config.learning_rate:g})"
                )
            guidance = 0.0
            yield TimeGradPredictor(
                teacher,
                sampling=SamplingConfig(sampler="ddim", steps=count, spacing=SPACING),
                freq=predictor.freq,
                prediction_length=predictor.prediction_length,
                lead_time=predictor.lead_time,
                batch_size=predictor.batch_size,
                memory=predictor.memory,
                device=str(predictor.device),
                distilled=count,
                choices={**predictor.choices, "distillation_threads": threads},
                names=predictor.names,
            )


def _threads(
    teacher: TimeGrad,
    steps: int,
    windows: Callable[[torch.Generator], Batch],
    config: DistillConfig,
    guidance: float,
    *,
    progress: bool,
) -> int:
    """The number of threads with which a step to a student of so many steps is quickest."""
    most = torch.get_num_threads()
    if teacher.training_scale.device.type != "cpu":
        return most
    once = config._replace(train_steps=1)

    def step() -> None:
        generator = torch.Generator().manual_seed(config.seed)
        halve(
            teacher, steps, windows, once, generator, guidance=guidance, on_step=lambda done: None
        )

    pick = quickest(
        step, most, rounds=min(max(config.train_steps // STEPS_A_ROUND, 1), MOST_ROUNDS)
    )
    tell(pick, progress=progress)
    return pick.threads
