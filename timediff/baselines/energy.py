r"""A joint network that is not diffusion: our encoder with a head that turns noise into the next vector.

.. math:: \hat x_t = g_\theta(h_t, z), \quad z \sim N(0, I), \qquad
    \mathrm{loss} = \frac1m \sum_i \|\hat x^i - x\|
    - \frac{1}{2 m (m - 1)} \sum_{i \ne j} \|\hat x^i - \hat x^j\|

per time step, over the dimensions that were observed, in scaled units: the energy score, unbiased for m draws
and least in the mean for the true distribution. Encoder, lags, scaling and differences are those of
`timediff.timegrad.model.TimeGrad` with its defaults, so the two differ in the head alone.

Source: Gneiting and Raftery (2007), J. Am. Stat. Assoc. 102, section 4.3 (score); Bouchacourt et al. (2016),
arXiv:1606.02556 (networks trained by it).
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from timediff.baselines.base import Baseline
from timediff.baselines.task import Array, Fitted, Task, Window, bounds
from timediff.config import ModelConfig, TrainConfig
from timediff.gluon.entries import changes, read_entry
from timediff.gluon.estimator import TimeGradEstimator
from timediff.gluon.windows import WindowData, forecast_batch
from timediff.timegrad.batch import Batch
from timediff.timegrad.model import TimeGrad
from timediff.timegrad.normalisation.training import training_default
from timediff.timegrad.sampling import rollout
from timediff.tools.progress import progress_bar
from timediff.tools.seeding import seeded

__all__ = ["DRAWS", "ENERGY", "STEPS", "EnergyNet", "energy_loss", "fit_energy"]

#: The training budget, and draws m of each step of it.
STEPS, DRAWS = 1000, 4
_CONFIG, _TRAIN = ModelConfig(scaling="global"), TrainConfig()
_NOISE, _WIDTH = 32, 128


class EnergyNet(nn.Module):
    """Encoder and head; ``core`` is a `TimeGrad` of which everything but the denoiser is used."""

    def __init__(self, core: TimeGrad) -> None:
        super().__init__()
        self.core = core
        inputs = core.config.cond_size + _NOISE
        self.head = nn.Sequential(
            nn.Linear(inputs, _WIDTH),
            nn.SiLU(),
            nn.Linear(_WIDTH, _WIDTH),
            nn.SiLU(),
            nn.Linear(_WIDTH, core.shape.target_dim),
        )

    def next(self, cond: Tensor) -> Tensor:
        """One draw of the next scaled vector for each condition ``[..., cond_size]``, ``[..., D]``."""
        noise = torch.randn(*cond.shape[:-1], _NOISE)
        return self.head(torch.cat([cond, noise], dim=-1))

    def loss(self, batch: Batch) -> Tensor:
        """Mean energy score of the steps of windows with their future."""
        taught = self.core.teach(batch)
        draws = self.next(taught.cond.expand(DRAWS, *taught.cond.shape))
        return energy_loss(draws, taught.x0, taught.observed)

    @torch.no_grad()
    def paths(self, batch: Batch, num_samples: int) -> Tensor:
        """Paths ``[S, T, D]`` of the one window of the batch, each fed back its own draws."""
        rows = torch.zeros(num_samples, dtype=torch.long)
        return rollout(self.core, self.core.encode(batch), rows, self.next)


def energy_loss(draws: Tensor, x: Tensor, observed: Tensor) -> Tensor:
    """The loss of the module's head, mean over the rows in which something was observed.

    Args:
        draws: ``[m, ..., D]``.
        x: What happened, ``[..., D]``.
        observed: Where it is known, bool ``[..., D]``.
    """
    draws = draws * observed
    error = _norm(draws - x * observed).mean(dim=0)
    spread = _norm(draws[:, None] - draws[None]).sum(dim=(0, 1))  # the pairs i = j add 0
    score = error - spread / (2 * len(draws) * (len(draws) - 1))
    rows = observed.any(dim=-1)
    return (score * rows).sum() / rows.sum().clamp(min=1)


def _norm(x: Tensor) -> Tensor:
    """Euclidean, with a gradient at 0."""
    return (x.square().sum(dim=-1) + 1e-12).sqrt()


def fit_energy(task: Task, *, seed: int, progress: bool) -> Fitted:
    """Trains an `EnergyNet` as ours is trained: Adam, one cycle of learning rates, averaged weights."""
    series = [read_entry({"start": task.begin, "target": task.train.T})]
    with seeded(seed):
        net, data = _prepared(task, series)
        average = _trained(net, data, np.random.default_rng(seed), progress=progress)
    low, high = bounds(task.train)

    def sample(window: Window, num_samples: int, rng: np.random.Generator) -> Array:
        past = [read_entry({"start": window.begin, "target": window.history.T})]
        with seeded(int(rng.integers(2**31))):
            paths = average.paths(forecast_batch(past, average.core.shape), num_samples)
        return np.clip(paths.numpy(), low, high)

    return Fitted(sample, {"optimiser_steps": STEPS, "draws": DRAWS, "device": "cpu"})


def _prepared(task: Task, series: list[Any]) -> tuple[EnergyNet, WindowData]:
    estimator = TimeGradEstimator(
        task.horizon, task.starts[0].freqstr, task.train.shape[1], model=_CONFIG
    )
    shape = estimator.shape
    if len(task.train) < 2 * shape.difference + task.horizon:
        shape = shape._replace(difference=0)
    core = TimeGrad(_CONFIG, shape)
    core.training_scale.copy_(training_default(*changes(series, shape.difference)))
    core.training_level.copy_(training_default(*changes(series, 0))[0])
    return EnergyNet(core), WindowData(series, shape)


def _trained(
    net: EnergyNet, data: WindowData, rng: np.random.Generator, *, progress: bool
) -> EnergyNet:
    """The running average of the weights."""
    used = [p for name, p in net.named_parameters() if ".denoiser." not in name]
    optimiser = torch.optim.Adam(used, lr=_TRAIN.learning_rate, weight_decay=_TRAIN.weight_decay)
    rate = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, _TRAIN.learning_rate, total_steps=max(STEPS, 2)
    )
    mean = torch.optim.swa_utils.get_ema_multi_avg_fn(_TRAIN.ema_decay)
    average = torch.optim.swa_utils.AveragedModel(net, multi_avg_fn=mean)
    with progress_bar("energy score", total=STEPS, shown=progress) as bar:
        for _ in range(STEPS):
            chosen = torch.from_numpy(rng.integers(len(data.starts), size=_TRAIN.batch_size))
            optimiser.zero_grad()
            net.loss(data.windows(data.starts[chosen])).backward()
            nn.utils.clip_grad_norm_(used, _TRAIN.gradient_clip)
            optimiser.step()
            rate.step()
            average.update_parameters(net)
            bar.update(1)
    network = average.module.eval()
    assert isinstance(network, EnergyNet)
    return network


ENERGY = Baseline(
    "energy-score network",
    "Our encoder with a head that turns noise into the next vector, trained by the energy score for 1000 "
    "optimiser steps on the CPU: joint, and not diffusion.",
    False,
    fit_energy,
)
