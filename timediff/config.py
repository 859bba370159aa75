"""Every default value, once. These objects go from the command line through the estimator to the
network; they import nothing heavy, so that ``--help`` and argument errors stay instant.
"""

from pathlib import Path
from typing import Literal, NamedTuple


class ModelConfig(NamedTuple):
    """What the network is. The defaults are ours; `PAPER` holds the published TimeGrad.

    Args:
        cell: Recurrent cell of the encoder.
        num_layers: Recurrent layers.
        hidden_size: Cells per recurrent layer, H.
        dropout: Dropout between recurrent layers while training.
        lag_noise: Standard deviation of the noise added to the scaled lags in training. It keeps the
            encoder from knowing single training days by heart, and prepares it for the errors of its own
            draws; 0 for none.
        lags: Past steps the encoder sees at every step; from the frequency when left out.
        context_length: Steps the encoder reads before the forecast; the prediction length when left out.
        scaling: How a window is brought to unit size: mean of |y| over the context, mean and standard
            deviation over the context, mean and standard deviation over the training data, or not at all.
        difference: Model the change since this many steps ago instead of the value, and add the changes
            up in the forecast; 0 for the value itself. When left out: a day of hours or minutes, a week
            of days, a year of months or quarters, else one step; 0 if the series are too short for it.
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
        variance: Variance of the reverse steps: the posterior's ("small"), beta ("large"), or learned
            between the two for every dimension.
        loss: Error of the predicted noise.
        weighting: Weight of that error at each diffusion step: 1 ("noise"), what makes it the error of
            another quantity, bounded ("min-snr"), or that of the variational bound.
        hybrid_weight: Weight of the variational bound beside that loss where the variance is learned.
        self_conditioning: Show the denoiser its own estimate of the call before.
        condition_dropout: Share of training steps without condition, for guidance in sampling.
    """

    cell: Literal["gru", "lstm"] = "gru"
    num_layers: int = 2
    hidden_size: int = 64
    dropout: float = 0.1
    lag_noise: float = 1.0
    lags: list[int] | None = None
    context_length: int | None = None
    scaling: Literal["mean", "std", "global", "none"] = "global"
    difference: int | None = None
    cond_size: int = 100
    denoiser: Literal["conv", "mlp", "attention"] = "mlp"
    denoiser_layers: int = 3
    denoiser_width: int = 128
    dilation_cycle: int = 2
    diffusion_steps: int = 100
    schedule: Literal[
        "linear",
        "quadratic",
        "constant",
        "cosine",
        "sigmoid",
        "jsd",
        "vp",
        "sub-vp",
        "ve",
        "learned",
    ] = "linear"
    beta_start: float = 1e-4
    beta_end: float = 0.1
    parameterisation: Literal["noise", "x0", "v", "score"] = "v"
    variance: Literal["small", "large", "learned"] = "learned"
    loss: Literal["l1", "l2", "huber"] = "l2"
    weighting: Literal["noise", "x0", "v", "score", "min-snr", "bound"] = "noise"
    hybrid_weight: float = 1e-3
    self_conditioning: bool = False
    condition_dropout: float = 0.0


class TrainConfig(NamedTuple):
    """How the network is trained.

    Args:
        steps: Optimiser steps in all, rounded up so that every epoch has as many.
        time_budget: Seconds of wall-clock time that training may take instead: a few steps are timed, and as
            many are taken as fit, whose number the same seed does not repeat.
        steps_per_epoch: Most optimiser steps between two validations, checkpoints and points of the history.
        batch_size: Windows per step.
        learning_rate: Highest learning rate of the one-cycle schedule (Adam).
        weight_decay: L2 penalty of Adam.
        gradient_clip: Largest gradient norm; 0 for no clipping.
        ema_decay: Decay of the running average of the weights that forecasts are made with; 0 for
            the last weights.
        patience: Stop after this many epochs without a better validation loss; 0 to never stop early.
            Needs validation data.
        step_sampling: Diffusion steps to train on: every one as often, or more often those whose loss varies
            most, weighted down in turn ("importance").
        positions: Share of the steps of context and horizon whose diffusion loss is computed in each
            training step, drawn anew for every window; the encoder always runs over all of them.
        precision: Of the matrix products while training: float32, "tf32" (on a GPU only), or "bf16", which
            leaves weights, noise and loss in float32.
        seed: Of initial weights, windows, noise and dropout; drawn from torch's generator when left out.
    """

    steps: int = 1000
    time_budget: float | None = None
    steps_per_epoch: int = 100
    batch_size: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 1e-6
    gradient_clip: float = 1.0
    ema_decay: float = 0.995
    patience: int = 0
    step_sampling: Literal["uniform", "importance"] = "uniform"
    positions: float = 1.0
    precision: Literal["float32", "tf32", "bf16"] = "float32"
    seed: int | None = None


#: Diffusion steps that cost no score against 100, on three data sets (evaluation/few_steps.py).
FEW_STEPS = 6


class SamplingConfig(NamedTuple):
    """How paths are drawn. It can be changed after training.

    Args:
        sampler: Solver of the reverse process, one of `timediff.diffusion.samplers.SAMPLERS`.
        steps: Diffusion steps it takes; `FEW_STEPS` when left out, or all N of a shorter chain.
        spacing: Which of the N steps these are: evenly spaced in n, denser near clean data, or evenly spaced
            in log-SNR.
        eta: Noise of "ddim", from 0 (none) to 1 (as much as "ancestral").
        extrapolation: How much of a second-order step "ancestral" takes, 0 to 1.
        order: Order of "dpm++" and "sde-dpm++", 1 to 3.
        churn: Noise put back in by "heun".
        corrections: Langevin steps at each level of "langevin" and "predictor-corrector".
        snr: Size of a Langevin step relative to the noise; the sampler's own when left out.
        guidance: Weight of the condition beyond its own (classifier-free guidance); needs a model trained
            with ``condition_dropout``, and doubles the network calls.
        noise: Random numbers of a window's paths: "independent", in pairs of opposite sign ("antithetic"), or
            spread evenly over the paths in every coordinate ("stratified").
        precision: Of the network's matrix products: float32, "tf32" (on a GPU only), or "bf16", which is
            faster where the hardware has it, and changes paths a little.
        compile: Compile the reverse chain, on a GPU into a CUDA graph. The first forecast then takes
            longer, later ones with as many paths less.
    """

    sampler: Literal[
        "ancestral", "ddim", "dpm++", "sde-dpm++", "heun", "langevin", "predictor-corrector"
    ] = "ancestral"
    steps: int | None = None
    spacing: Literal["uniform", "quadratic", "log-snr"] = "quadratic"
    extrapolation: float = 0.5
    eta: float = 0.0
    order: int = 2
    churn: float = 0.0
    corrections: int = 1
    snr: float | None = None
    guidance: float = 0.0
    noise: Literal["independent", "antithetic", "stratified"] = "independent"
    precision: Literal["float32", "tf32", "bf16"] = "float32"
    compile: bool = False


#: Network calls a time step of a distilled predictor, unless told otherwise.
STUDENT_STEPS = 4


class DistillConfig(NamedTuple):
    """How a trained predictor is distilled to few steps.

    Args:
        train_steps: Optimiser steps of every halving of the chain.
        batch_size: Windows per step.
        learning_rate: First learning rate of every halving (Adam); it falls to 0 in a straight line.
        seed: Of windows, noise and diffusion steps.
    """

    train_steps: int = 300
    batch_size: int = 16
    learning_rate: float = 1e-3
    seed: int = 1


class Preset(NamedTuple):
    """A model, its training and its sampling."""

    model: ModelConfig
    train: TrainConfig
    sampling: SamplingConfig


class RunConfig(NamedTuple):
    """What one evaluation is asked to do.

    Args:
        dataset: Name (see python -m timediff.datasets), or folder with a wide table or a GluonTS dataset.
        data_dir: Folder of datasets; the variable TIMEDIFF_DATA when left out.
        out: Folder for the results; runs/DATASET-PRESET when left out.
        preset: Where the defaults of model, training and sampling come from.
        seed: One training and forecast of every entrant for each.
        num_samples: Sample paths per window.
        validation_windows: Horizons at the end of the training data held out to choose the best epoch.
        device: auto, cpu, cuda or cuda:1.
        align_clock: Move test stamps that disagree with the training data.
        resume: Go on from what an interrupted run left in the folder for the results.
        nll: Report the variational bound and the likelihood of the test windows too.
        baselines: What to compare with: those that take seconds, or everything installed, which takes
            minutes.
        predictor: Folder of a serialized GluonTS predictor to score in place of training, ours or any other;
            one that is not ours runs what its files name, so give only folders that you trust.
        rivals: Folders of serialized GluonTS predictors to put beside the baselines, trusted likewise.
        windows: Test windows, cut anew from the whole data; those of the dataset when left out.
        stride: Steps between these; the horizon when left out.
        history: Steps before each of these; all when left out.
        recalibrate: Score the paths recalibrated on the validation windows too.
        report: Diagnose the forecasts, and write report and plots.
        model: The network.
        train: Its training.
        sampling: How its paths are drawn.
    """

    dataset: str = "citylearn2022"
    data_dir: Path | None = None
    out: Path | None = None
    preset: str = "default"
    seed: list[int] = [1]  # noqa: RUF012 (never changed)
    num_samples: int = 100
    validation_windows: int = 0
    device: str = "auto"
    align_clock: bool = False
    resume: bool = False
    nll: bool = False
    baselines: Literal["all", "fast", "none"] = "fast"
    predictor: Path | None = None
    rivals: list[Path] = []  # noqa: RUF012
    windows: int | None = None
    stride: int | None = None
    history: int | None = None
    recalibrate: bool = False
    report: bool = True
    model: ModelConfig = ModelConfig()
    train: TrainConfig = TrainConfig()
    sampling: SamplingConfig = SamplingConfig()

    @property
    def folder(self) -> Path:
        """Where the results go."""
        return self.out or Path("runs") / f"{Path(self.dataset).name}-{self.preset}"
