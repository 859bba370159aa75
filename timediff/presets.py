"""Configurations by name."""

from timediff.config import ModelConfig, Preset, SamplingConfig, TrainConfig

__all__ = ["PAPER", "PRESETS"]

PAPER = Preset(
    ModelConfig(
        hidden_size=40,
        lag_noise=0.0,
        scaling="mean",
        support="none",
        difference=0,
        denoiser="conv",
        denoiser_layers=8,
        denoiser_width=8,
        parameterisation="noise",
        variance="small",
    ),
    TrainConfig(steps=2000, learning_rate=1e-2, gradient_clip=0.0, ema_decay=0.0),
    SamplingConfig(
        sampler="ancestral", steps=100, spacing="uniform", options={"extrapolation": 0.0}
    ),
)


PRESETS = {"default": Preset(ModelConfig(), TrainConfig(), SamplingConfig()), "paper": PAPER}
