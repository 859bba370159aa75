"""Every default value, once; nothing heavy is imported, so that ``--help`` and errors come at once."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from timediff.errors import InputError
from timediff.fields import answering
from timediff.options import (
    Between,
    Choice,
    Count,
    Layers,
    NotNegative,
    Positive,
    Seed,
    Share,
    Threads,
    Whole,
    Width,
)
from timediff.reading import Reading
from timediff.registry import SAMPLERS

__all__ = [
    "RECALIBRATION_PATHS",
    "RECALIBRATION_WINDOWS",
    "STUDENT_STEPS",
    "DistillConfig",
    "ModelConfig",
    "Preset",
    "RunConfig",
    "SamplingConfig",
    "TrainConfig",
    "flat_sampling",
    "sampler_defaults",
    "with_options",
]


class ModelConfig(NamedTuple):
    """Options of the network. The defaults are ours; `PAPER` holds the published TimeGrad.

    Args:
        cell: Recurrent cell of the encoder.
        num_layers: Recurrent layers.
        hidden_size: Cells per recurrent layer, H.
        dropout: Dropout between recurrent layers while training.
        lag_noise: Standard deviation of noise on the scaled lags in training, against knowing days by heart
            and too much trust in the model's own draws; 0 for none.
        lags: Past steps the encoder sees at every step; from the frequency when left out.
        context_length: Steps the encoder reads before the forecast; the prediction length when left out.
        scaling: How a window is brought to unit size: by what each series did at this position of its last
            cycles ("adaptive"), mean size or mean and deviation over the context, or over all data, or not.
        half_life: Cycles after which the past weighs half in the adaptive location; 4 when left out, and a
            twentieth of a step where there is no cycle.
        scale_half_life: Likewise in the adaptive scale; 8 when left out, and 100 steps without a cycle.
        cycles: Steps of the cycles that the adaptive normalisation knows, ascending, [1] for none; day and
            week, or what the frequency has in their place, as far as the data is long enough, when left out.
        centre: Model what an adaptive linear forecaster leaves ("linear"), or the series itself ("none");
            "auto" is linear with the adaptive scaling and none with another.
        support: Whether paths keep to what the training data did ("auto"): never negative, of whole numbers,
            and exactly at a value that a series sits at in a part of its cycle (solar power at night).
        bounds: Least and greatest value of each series by hand, [[0, null], ...], or of all, [[0, 100]].
        difference: Model the change since this many steps ago instead of the value, and add the changes
            up in the forecast; 0 for the value itself. When left out: a day of hours or minutes, a week
            of days, a year of months or quarters, else one step; 0 if the series are too short for it.
        holidays: Country whose public holidays are covariates, an ISO code such as "DE", or with a
            subdivision "US-CA"; stamps are local time (needs the extra "holidays"). None when left out.
        cond_size: Size of the condition that the denoiser receives from the encoder.
        denoiser: "conv", the paper's dilated convolution over the dimensions, "mlp", a residual
            perceptron with adaptive layer norm, made of matrix products only, or "attention" over the
            dimensions, each a token, at a cost linear in their number.
        denoiser_layers: Residual blocks of the denoiser.
        denoiser_width: Channels ("conv"), units ("mlp") or numbers of a token ("attention", which wants
            fewer, 32 say, since every dimension has as many) of a block.
        dilation_cycle: Dilations of the "conv" blocks are 1, 2, 4, .. repeated after this many.
        diffusion_steps: Steps N of the chain.
        schedule: Noise schedule.
        beta_start: First variance of the schedule, where it has one to choose (of "ve", whose largest
            standard deviation is 50, the smallest squared).
        beta_end: Last variance of the schedule, where it has one to choose.
        parameterisation: What the denoiser's output stands for.
        variance: Of each reverse step and dimension: the posterior's ("small"), beta ("large"), or learned.
        loss: Error of the predicted noise.
        weighting: Weight of that error at each diffusion step: 1 ("noise"), what makes it the error of
            another quantity, bounded ("min-snr"), or that of the variational bound.
        hybrid_weight: Weight of the variational bound beside that loss where the variance is learned.
        self_conditioning: Show the denoiser its own estimate of the call before.
        condition_dropout: Share of training steps without condition, for guidance in sampling.
    """

    cell: Literal["gru", "lstm"] = "gru"
    num_layers: Layers = 2
    hidden_size: Width = 64
    dropout: Share = 0.1
    lag_noise: NotNegative = 1.0
    lags: list[int] | None = None
    context_length: Annotated[int | None, Between(1, 1_000_000)] = None
    scaling: Annotated[str, Choice("normalisation")] = "adaptive"
    half_life: Annotated[float | None, Between(0, without="low")] = None
    scale_half_life: Annotated[float | None, Between(0, without="low")] = None
    cycles: list[int] | None = None
    centre: Literal["auto", "linear", "none"] = "auto"
    support: Literal["auto", "none"] = "auto"
    bounds: list[list[float | None]] | None = None
    difference: Annotated[int | None, Between(0)] = None
    holidays: str | None = None
    cond_size: Width = 100
    denoiser: Annotated[str, Choice("network")] = "mlp"
    denoiser_layers: Layers = 3
    denoiser_width: Width = 128
    dilation_cycle: Whole = 2
    diffusion_steps: Count = 100
    schedule: Annotated[str, Choice("schedule")] = "linear"
    beta_start: Annotated[float, Between()] = 1e-4
    beta_end: Annotated[float, Between()] = 0.1
    parameterisation: Annotated[str, Choice("parameterisation")] = "v"
    variance: Literal["small", "large", "learned"] = "learned"
    loss: Annotated[str, Choice("loss")] = "l2"
    weighting: Annotated[str, Choice("weighting")] = "noise"
    hybrid_weight: NotNegative = 1e-3
    self_conditioning: bool = False
    condition_dropout: Share = 0.0

    @property
    def linear(self) -> bool:
        """Whether what is modelled is left by the linear forecaster."""
        return self.scaling == "adaptive" if self.centre == "auto" else self.centre == "linear"


class TrainConfig(NamedTuple):
    """Options of the training.

    Args:
        steps: Optimiser steps in all, rounded up so that every epoch has as many.
        time_budget: Seconds of wall-clock time that training may take instead: a few steps are timed, and as
            many are taken as fit, whose number the same seed does not repeat.
        steps_per_epoch: Most optimiser steps between two validations, checkpoints and points of the history.
        batch_size: Windows per step, of all processes together.
        learning_rate: Highest learning rate of the one-cycle schedule (Adam).
        weight_decay: L2 penalty of Adam.
        gradient_clip: Largest gradient norm; 0 for no clipping.
        ema_decay: Decay of the running average of weights that forecasts are made with; 0 for the last ones.
        patience: Stop after so many epochs without a better validation loss (needs such data); 0 for never.
        step_sampling: Diffusion steps to train on: every one as often, or more often those whose loss varies
            most, weighted down in turn ("importance").
        positions: Share of the steps of context and horizon whose diffusion loss is computed in each
            training step, drawn anew for every window; the encoder always runs over all of them.
        precision: Of the matrix products: float32, "tf32" (GPU only), or "bf16" with all else in float32.
        held_out: Windows at the end of the training data, at most a fifth of it, that training leaves out to
            see whether the network is ahead of the linear forecaster; 0 to have the network draw all paths.
        seed: Of initial weights, windows, noise and dropout; drawn from torch's generator when left out.
        threads: While training on a CPU; what is quickest in a few timed steps when left out.
    """

    steps: Whole = 200
    time_budget: Annotated[float | None, Between(0, without="low")] = None
    steps_per_epoch: Whole = 100
    batch_size: Count = 64
    learning_rate: Positive = 2e-3
    weight_decay: NotNegative = 1e-6
    gradient_clip: NotNegative = 1.0
    ema_decay: Share = 0.995
    patience: Annotated[int, Between(0)] = 0
    step_sampling: Literal["uniform", "importance"] = "uniform"
    positions: Annotated[float, Between(0, 1, without="low")] = 1.0
    precision: Literal["float32", "tf32", "bf16"] = "float32"
    held_out: Annotated[int, Between(0)] = 7
    seed: Seed = None
    threads: Threads = None


class SamplingConfig(NamedTuple):
    """Options of sampling, by which paths are drawn. They can be changed after training.

    Args:
        sampler: Solver of the reverse process.
        steps: Diffusion steps it takes; few when left out (3, of other samplers 6), or all N of a shorter
            chain.
        spacing: Which of the N steps these are: evenly spaced in n, denser near clean data, or evenly spaced
            in log-SNR or in the angle between data and noise.
        options: Options of the sampler by name, such as ``{"eta": 0.5}`` of "ddim"; defaults when left out.
        guidance: Weight of the condition beyond its own (classifier-free guidance); needs a model trained
            with ``condition_dropout``, and doubles the network calls.
        noise: Random numbers of a window's paths: "independent", in pairs of opposite sign ("antithetic"), or
            spread evenly over the paths in every coordinate ("stratified").
        precision: Of its matrix products: float32, "tf32" (GPU only) or "bf16", with slightly other paths.
        compile: Compile the reverse chain, on a GPU into a CUDA graph: the first forecast takes longer.
    """

    sampler: Annotated[str, Choice("sampler")] = "adams-bashforth"
    steps: Annotated[int | None, Between(1)] = None
    spacing: Annotated[str, Choice("spacing")] = "angle"
    options: dict[str, Any] | None = None
    guidance: Annotated[float, Between()] = 0.0
    noise: Annotated[str, Choice("noise")] = "independent"
    precision: Literal["float32", "tf32", "bf16"] = "float32"
    compile: bool = False

    def __hash__(self) -> int:
        return hash(tuple(sorted((name, str(value)) for name, value in self.flat().items())))

    def flat(self) -> dict[str, Any]:
        """Values of all fields and of the sampler's options, defaults included, in one dictionary."""
        values = {name: value for name, value in self._asdict().items() if name != "options"}
        return values | sampler_defaults(self.sampler) | (self.options or {})


def sampler_defaults(sampler: str) -> dict[str, Any]:
    """Default of each option of a sampler by name, without those that `ModelConfig` has."""
    options = SAMPLERS.options(sampler).values()
    return {each.name: each.default for each in options if each.name not in ModelConfig._fields}


def flat_sampling(values: Mapping[str, Any]) -> SamplingConfig:
    """The configuration that `SamplingConfig.flat` wrote.

    Options of other samplers are left out: versions before 0.2 wrote those of all.

    Raises:
        InputError: A name is no option of any sampler.
    """
    fields = {name: value for name, value in values.items() if name in SamplingConfig._fields}
    sampler = fields.get("sampler", SamplingConfig().sampler)
    SAMPLERS.check(sampler)
    options = {k: values[k] for k in sampler_defaults(sampler) if values.get(k) is not None}
    of_samplers = {name for other in SAMPLERS for name in SAMPLERS.options(other)}
    if unknown := values.keys() - fields.keys() - of_samplers:
        raise InputError(f"{min(unknown)} is no option of sampling; leave it out")
    return with_options(SamplingConfig(**fields), options)


def with_options(sampling: SamplingConfig, options: Mapping[str, Any]) -> SamplingConfig:
    """The configuration with these options of its sampler and no others, those at their default left out."""
    defaults = sampler_defaults(sampling.sampler)
    changed = {k: v for k, v in options.items() if k not in defaults or v != defaults[k]}
    return sampling._replace(options=changed or None)


#: Network calls a time step of a distilled predictor, unless told otherwise.
STUDENT_STEPS = 2


class DistillConfig(NamedTuple):
    """Options of the distillation of a trained predictor to few steps.

    Args:
        train_steps: Optimiser steps of every halving of the chain.
        batch_size: Windows per step.
        learning_rate: First learning rate of every halving (Adam); it falls to 0 in a straight line.
        seed: Of windows, noise and diffusion steps.
        threads: On a CPU; what is quickest in a few timed steps when left out.
    """

    train_steps: Whole = 300
    batch_size: Count = 16
    learning_rate: Positive = 1e-3
    seed: Annotated[int, Between(0, 2**63, without="high")] = 1
    threads: Threads = None


class Preset(NamedTuple):
    """A model, its training and its sampling."""

    model: ModelConfig
    train: TrainConfig
    sampling: SamplingConfig


#: Windows that a recalibration is fitted on, and paths of each, at least.
RECALIBRATION_WINDOWS, RECALIBRATION_PATHS = 7, 10


class RunConfig(NamedTuple):
    """What one evaluation is asked to do.

    Args:
        dataset: Name (see timediff datasets), folder with a wide table or GluonTS dataset, or a table's file.
        data_dir: Folder of datasets; the variable TIMEDIFF_DATA when left out.
        out: Folder for the results; runs/DATASET-PRESET when left out.
        horizon: Steps to forecast where the dataset is a file; its last seven horizons are the test windows.
        table: How such a file is read.
        preset: Where the defaults of model, training and sampling come from.
        seed: One training and forecast of every entrant for each.
        num_samples: Sample paths per window.
        validation_windows: Horizons at the end of the training data held out to choose the best epoch.
        device: auto, cpu, cuda or cuda:1.
        align_clock: Move test stamps that disagree with the training data.
        resume: Go on from what an interrupted run left in the folder for the results.
        nll: Report the variational bound and the likelihood of the test windows too.
        baselines: What to compare with: those that take seconds, or all there are, which takes minutes.
        predictor: Folder of a serialized GluonTS predictor to score in place of training, ours or any other;
            one that is not ours runs what its files name, so give only folders that you trust.
        rivals: Folders of serialized GluonTS predictors to put beside the baselines, trusted likewise.
        windows: Test windows, cut anew from the whole data; those of the dataset when left out.
        stride: Steps between these; the horizon when left out.
        history: Steps before each of these; all when left out.
        recalibrate: Score the paths recalibrated on the validation windows too.
        report: Diagnose the forecasts, and write the report.
        model: The network.
        train: Its training.
        sampling: How its paths are drawn.
    """

    dataset: str = "citylearn2022"
    data_dir: Path | None = None
    out: Path | None = None
    horizon: Annotated[int | None, Between(1)] = None
    table: Reading = Reading()
    preset: str = "default"
    seed: list[int] = [1]  # noqa: RUF012 (never changed)
    num_samples: Count = 100
    validation_windows: Annotated[int, Between(0)] = 0
    device: str = "auto"
    align_clock: bool = False
    resume: bool = False
    nll: bool = False
    baselines: Literal["all", "fast", "none"] = "fast"
    predictor: Path | None = None
    rivals: list[Path] = []  # noqa: RUF012
    windows: Annotated[int | None, Between(1)] = None
    stride: Annotated[int | None, Between(1)] = None
    history: Annotated[int | None, Between(1)] = None
    recalibrate: bool = False
    report: bool = True
    model: ModelConfig = ModelConfig()
    train: TrainConfig = TrainConfig()
    sampling: SamplingConfig = SamplingConfig()

    @property
    def folder(self) -> Path:
        """Where the results go."""
        return self.out or Path("runs") / f"{Path(self.dataset).name}-{self.preset}"


answering(ModelConfig, TrainConfig, SamplingConfig, DistillConfig, RunConfig)
