"""The linear part of a model: fitted to windows, and weighed against the network on windows held out."""

import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from timediff.config import ModelConfig, SamplingConfig
from timediff.frequency import adaptive_cycles
from timediff.gluon.windows import WindowData
from timediff.metrics import energy_score, mean_wquantile_loss, sum_over_dimensions
from timediff.networks.wiener import WienerStart
from timediff.timegrad.batch import Batch
from timediff.timegrad.centre import BLOCKS, LinearFit, fit_linear
from timediff.timegrad.model import TimeGrad
from timediff.timegrad.trajectories import FEWEST, NUMBERS
from timediff.timegrad.wide import WIDE

__all__ = [
    "ERRORS",
    "LEAST_ERRORS",
    "LEAST_ORIGINS",
    "ORIGINS",
    "PATHS",
    "POOLED",
    "WEIGHED_ON",
    "Fitted",
    "Weighed",
    "adaptive_shape",
    "fewer",
    "fit_centre",
    "fit_on",
    "weigh",
]

#: Origins of the training data that the linear forecaster is fitted to, at most, and those whose errors are
#: kept for their correlation.
ORIGINS, ERRORS = 6000, 1500
#: Series beyond `WIDE` take as many fewer of both, but these at least.
LEAST_ORIGINS, LEAST_ERRORS = 500, 300
#: Half-life of a mean that is the last value itself.
_LAST = 0.05
#: Numbers that the windows of a part may hold.
_PART = 2e7
#: Share of the paths that a network draws which is of use, and paths of each window that it is weighed on.
POOLED, PATHS = 0.5, 100
#: Windows that they are weighed on, at most, spread evenly over those held out.
WEIGHED_ON = 56


def adaptive_shape(model: ModelConfig, freq: str) -> dict[str, Any]:
    """Fields of a `Shape` that say how the adaptive normalisation works."""
    cycles = model.cycles or adaptive_cycles(freq, sys.maxsize)
    cycle, *longer = cycles
    half_life = model.half_life or (4.0 if cycle > 1 else 0.05)
    scale_half_life = model.scale_half_life or (8.0 if cycle > 1 else 100.0)
    profiles = [[1, 8.0], [1, 64.0]]
    if cycle > 1:
        profiles = [[cycle, half_life / 4], [cycle, 2 * half_life], [1, _LAST], [cycle, _LAST]]
    profiles += [[other, half] for other in longer for half in (1.0, 4.0)]
    return {
        "cycles": cycles,
        "half_life": half_life,
        "scale_half_life": scale_half_life,
        "profiles": profiles if model.linear else [],
    }


class Fitted(NamedTuple):
    """The linear forecaster of some data.

    Attributes:
        fit: Its coefficients.
        origins: Rows of the first forecast steps of the windows that `errors` and `known` are of, ``[N]``.
        errors: Of its forecasts without their own block, in scaled units, 0 where unknown, ``[N, T, D]``.
        known: Where these are known, bool ``[N, T, D]``.
        fitted_to: Origins that the coefficients are of.
    """

    fit: LinearFit
    origins: Tensor
    errors: Tensor
    known: Tensor
    fitted_to: int


def fit_on(data: WindowData, *, most_errors: int) -> Fitted:
    """The linear forecaster of some data.

    Args:
        data: What it is fitted to, windows spread evenly over each of its series, `ORIGINS` in all, of wide
            data fewer.
        most_errors: Windows whose errors are kept, spread evenly over these.
    """
    shape = data.shape
    starts = _settled(data)
    blocks = torch.arange(len(starts)) * BLOCKS // max(len(starts), 1)
    numbers = (shape.history_length + 16 * shape.horizon) * shape.target_dim
    size = max(1, int(_PART // numbers))

    def parts(which: Tensor) -> Iterator[tuple[int, Batch]]:
        for block in range(BLOCKS):
            own = starts[which[blocks[which] == block]]
            for chosen in own.split(size) if len(own) else ():
                yield block, data.windows(chosen)

    every = torch.arange(len(starts))
    fit = fit_linear(lambda: parts(every), shape)
    kept = _spread(torch.arange(len(starts)), most_errors)
    known = torch.cat([batch.observed[:, -shape.horizon :] for _, batch in parts(kept)])
    return Fitted(fit, starts[kept], fit.errors(parts(kept), shape), known, len(starts))


def fit_centre(models: list[TimeGrad], data: WindowData) -> dict[str, Any]:
    """Gives models the linear forecaster of some data, its past errors and the Gaussian process of these.

    Returns:
        What was chosen.
    """
    shape = data.shape
    kept = int(NUMBERS // (shape.horizon * shape.target_dim))
    most = max(kept, fewer(ERRORS, LEAST_ERRORS, shape.target_dim))
    fit, origins, errors, known, fitted_to = fit_on(data, most_errors=most)
    first = models[0]
    assert data.tables is not None
    positions = data.tables.position[origins]
    correlation = first.innovations.fit(errors, known)
    some = _spread(torch.arange(len(errors)), max(kept, FEWEST))
    first.trajectories.keep(errors[some], known[some], positions[some])
    for model in models:
        model.centre.coefficients.copy_(fit.coefficients)
        model.innovations.load_state_dict(first.innovations.state_dict())
        model.trajectories.errors = first.trajectories.errors
        model.trajectories.positions = first.trajectories.positions
        assert isinstance(model.denoiser, WienerStart)
        model.denoiser.modes.copy_(correlation.modes)
        model.denoiser.variances.copy_(correlation.variances)
    return {"cycles": list(data.shape.cycles), "penalty": fit.penalty, "origins": fitted_to}


def fewer(most: int, least: int, dim: int) -> int:
    """How many origins serve so many series, that more series take no more time and memory each."""
    return min(most, max(least, most * WIDE // dim))


def _spread(rows: Tensor, most: int) -> Tensor:
    """Some of the rows, in order; drawn, the same each time, so that they keep in step with no cycle."""
    chosen = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))[:most]
    return rows[chosen.sort().values]


def _settled(data: WindowData) -> Tensor:
    """Rows of the first forecast steps of windows whose series have settled units, where there are enough."""
    shape, settled, row = data.shape, [], 0
    most = -(-fewer(ORIGINS, LEAST_ORIGINS, shape.target_dim) // len(data.lengths))
    for length in data.lengths.tolist():
        first = row + data.first
        for cycles in (3, 1, 0):
            least = first + max(cycles * shape.cycle, min(shape.history_length, length // 4))
            own = data.starts[(data.starts >= least) & (data.starts < first + length)]
            if len(own) >= 2 * shape.horizon:
                break
        if not len(own):
            own = data.starts[(data.starts >= first) & (data.starts < first + length)]
        settled.append(_spread(own, most))
        row = first + length
    return torch.cat(settled)


class Weighed(NamedTuple):
    """What held-out windows say of the network.

    Attributes:
        share: Of the paths, those that the network draws: half of them if it scores better than past errors.
        scores: Of the network (1) and without it (0): geometric mean of CRPS_sum and energy score.
        windows: Held out.
    """

    share: float
    scores: dict[float, float]
    windows: int

    @property
    def choices(self) -> dict[str, Any]:
        """What a predictor keeps of it, plain values."""
        return {
            "network_share": self.share,
            "held_out_windows": self.windows,
            "held_out_scores": {f"{share:g}": score for share, score in self.scores.items()},
        }

    @property
    def sentence(self) -> str:
        """The line that is printed."""
        if not self.windows:
            return "too little data to hold windows out: the forecast is that of the linear forecaster alone"
        ratio = self.scores[1.0] / self.scores[0.0] if self.scores[0.0] else 1.0
        use = "half of each" if self.share else "the linear forecaster alone"
        return (
            f"on {self.windows} held-out windows the network's error is {ratio:.3f} of the linear "
            f"forecaster's; the forecast uses {use}"
        )


def weigh(
    model: TimeGrad, data: WindowData, held: Tensor, sampling: SamplingConfig, seed: int
) -> Weighed:
    """Has the network draw half of the paths, if it is better than past errors on held-out windows, or none.

    A few windows say whether it is of use, not how much. Where none is held out, all paths are those of the
    Gaussian process.

    Args:
        model: Trained without them.
        data: Where to cut.
        held: Rows of the first steps of the windows.
        sampling: How paths are drawn.
        seed: Of the paths.
    """
    if not len(held):
        model.use(0.0, past_errors=False)  # of a handful of windows, hardly a spread
        return Weighed(0.0, {}, 0)
    held = held[:: -(-len(held) // WEIGHED_ON)]
    past, horizon = model.shape.history_length, model.shape.horizon
    was_training, device = model.training, model.training_scale.device
    model.eval()
    batch = data.windows(held)
    known = batch._replace(target=batch.target[:, :past], observed=batch.observed[:, :past])
    rows = held[:, None] + torch.arange(horizon)
    truth = np.where(data.observed[rows], data.target[rows], np.nan)
    scores = {}
    for share in (0.0, 1.0):
        model.use(share)
        drawn = model.draw(
            known.to(device),
            num_samples=PATHS,
            seeds=[seed + k for k in range(len(held))],
            sampling=sampling,
        )
        sums, energies = [], []
        for paths, own in zip(drawn, truth, strict=True):  # the paths of all together may be large
            sums.append(sum_over_dimensions(paths.numpy(), own))
            energies.append(energy_score(paths.numpy(), own))
        total = mean_wquantile_loss(*map(np.stack, zip(*sums, strict=True)))
        scores[share] = float(np.sqrt(total * np.nanmean(energies)))
    best = POOLED if scores[1.0] < scores[0.0] else 0.0
    model.use(best)
    model.train(was_training)
    return Weighed(best, scores, len(held))
