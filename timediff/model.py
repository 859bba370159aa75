r"""TimeGrad: a recurrent encoder conditions a diffusion model of the next time step's whole vector.

.. math:: p(x_{1:T} \mid \text{past}) = \prod_t p_\theta(x_t \mid h_t), \qquad
    h_t = \mathrm{RNN}(\text{lags of } x_t, \text{calendar}_t, h_{t-1})

Trained on the error of the predicted noise at every step of context and horizon; sampled one step
after another, each path fed back its own draws.

Source: Rasul et al. (2021), arXiv:2101.12072.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from timediff.config import ModelConfig
from timediff.denoiser import ConvDenoiser, Denoiser, MlpDenoiser
from timediff.diffusion import noise_loss
from timediff.encoder import Encoder, State, lagged, map_state
from timediff.samplers import ancestral
from timediff.scaling import SCALINGS
from timediff.schedule import Level, make_schedule, respace

#: Paths that share one stream of random numbers. Streams are what chunks are made of, so the paths of
#: a seed do not depend on how many are drawn at a time.
PATHS_PER_STREAM = 20


class Shape(NamedTuple):
    """Sizes that follow from the data, which nobody needs to give.

    Args:
        target_dim: D.
        horizon: Steps T after the known past, lead time included.
        context_length: Steps C that the encoder reads.
        lags: Lags in steps, ascending.
        num_features: Calendar features F.
        difference: As in `ModelConfig`.
    """

    target_dim: int
    horizon: int
    context_length: int
    lags: list[int]
    num_features: int
    difference: int = 0

    @property
    def history_length(self) -> int:
        """Steps of the past that a window holds."""
        return self.context_length + max(self.lags) + self.difference


class Batch(NamedTuple):
    """Windows, padded on the left with unobserved steps where a series is short.

    Attributes:
        target: ``[B, P, D]``: the past (`Shape.history_length` steps) and, for training, the future.
        observed: Which entries of it are known, bool ``[B, P, D]``. Others may hold anything.
        features: Calendar features of context and horizon, ``[B, C + T, F]``.
    """

    target: Tensor
    observed: Tensor
    features: Tensor


class TimeGrad(nn.Module):
    """The whole model.

    Args:
        config: Hyperparameters.
        shape: Sizes of the data.
    """

    training_scale: Tensor
    training_level: Tensor

    def __init__(self, config: ModelConfig, shape: Shape) -> None:
        super().__init__()
        self.config, self.shape = config, shape
        self.schedule = make_schedule(
            config.schedule,
            num_steps=config.diffusion_steps,
            beta_start=config.beta_start,
            beta_end=config.beta_end,
        )
        self.sampling_schedule = respace(
            self.schedule, config.sampling_steps or config.diffusion_steps
        )
        # Location and scale of the training data (`scaling.training_default`), saved with the weights.
        default = torch.stack([torch.zeros(shape.target_dim), torch.ones(shape.target_dim)])
        self.register_buffer("training_scale", default)
        # Mean of the training data: where changes are added up if a window knows no value at all.
        self.register_buffer("training_level", torch.zeros(shape.target_dim))
        self.encoder = Encoder(
            shape.target_dim,
            num_lags=len(shape.lags),
            num_features=shape.num_features,
            cell=config.cell,
            num_layers=config.num_layers,
            hidden_size=config.hidden_size,
            dropout=config.dropout,
        )
        self.condition = nn.Linear(config.hidden_size, config.cond_size)
        self.denoiser = _make_denoiser(config, shape.target_dim)

    def loss(self, batch: Batch, *, n: Tensor, eps: Tensor) -> tuple[Tensor, Tensor]:
        """Error of the predicted noise, and which entries of it count.

        Args:
            batch: Windows with their future.
            n: Diffusion step of each window and time step, integer in 1 .. N, ``[B, C + T]``.
            eps: Standard normal noise, ``[B, C + T, D]``.

        Returns:
            Error and observed mask, both ``[B, C + T, D]``.
        """
        length = n.shape[1]
        series, observed = self._differenced(batch)
        loc, scale = self._scale(series, observed)
        scaled = torch.where(observed, (series - loc) / scale, 0.0)
        lags = lagged(scaled, self.shape.lags, length=length)
        if self.training and self.config.lag_noise:
            lags = lags + self.config.lag_noise * torch.randn_like(lags)
        h, _ = self.encoder(lags, batch.features)
        cond = self.denoiser.embed_condition(self.condition(h))
        denoiser = partial(self._denoise, levels=self._levels(), cond=cond)
        x0 = scaled[:, -length:]
        error = noise_loss(self.schedule, denoiser, x0, n, eps, loss=self.config.loss)
        return error, observed[:, -length:]

    @torch.no_grad()
    def sample(
        self,
        batch: Batch,
        *,
        num_samples: int,
        seeds: list[int],
        memory: float = 512e6,
        on_step: Callable[[int], None] = lambda steps: None,
    ) -> Tensor:
        """Joint sample paths of the steps after the past, ``[B, S, T, D]`` on the CPU.

        Args:
            batch: Windows without a future.
            num_samples: S.
            seeds: One per window. A window's paths are a function of its past and its seed, whatever
                else is in the batch and however the paths are split into chunks.
            memory: Bytes that the paths of one chunk may take at a time; see `bytes_per_path`.
            on_step: Told after every time step of a chunk how many paths advanced by one.
        """
        series, observed = self._differenced(batch)
        loc, scale = self._scale(series, observed)
        scaled = torch.where(observed, (series - loc) / scale, 0.0)
        context = self.shape.context_length
        past = lagged(scaled, self.shape.lags, length=context)
        _, state = self.encoder(past, batch.features[:, :context])
        levels, cycle = self._levels(), self.shape.difference
        start = _last_observed(batch, cycle=cycle, default=self.training_level) if cycle else None

        blocks = -(-num_samples // PATHS_PER_STREAM)
        streams = [(window, block) for window in range(len(scaled)) for block in range(blocks)]
        per_chunk = max(1, int(memory // (self.bytes_per_path() * PATHS_PER_STREAM)))
        per_chunk = min(per_chunk, len(streams))
        paths = torch.empty(
            len(streams), PATHS_PER_STREAM, self.shape.horizon, self.shape.target_dim
        )
        for first in range(0, len(streams), per_chunk):
            chunk = streams[first : first + per_chunk]
            rows = torch.tensor([w for w, _ in chunk], device=scaled.device)
            rows = rows.repeat_interleave(PATHS_PER_STREAM)
            noise = _NoiseStreams([(seeds[w], block) for w, block in chunk], like=scaled)
            drawn = self._unroll(
                scaled, batch.features, state, rows, levels, noise, on_step
            )  # [R, T, D]
            drawn = drawn * scale[rows] + loc[rows]
            if start is not None:
                drawn = _integrated(drawn, start[rows])
            paths[first : first + per_chunk] = drawn.unflatten(0, (-1, PATHS_PER_STREAM)).cpu()
        return paths.unflatten(0, (-1, blocks)).flatten(1, 2)[:, :num_samples]

    def bytes_per_path(self) -> int:
        """Memory that one path takes while it is sampled."""
        own = self.shape.horizon + self.sampling_schedule.num_steps + len(self.shape.lags) + 8
        floats = own * self.shape.target_dim + self.denoiser.floats_per_row
        return floats * self.training_scale.element_size()

    @property
    def network_calls(self) -> int:
        """Calls of the denoiser that the forecast of one chunk takes."""
        return self.shape.horizon * self.sampling_schedule.num_steps

    def _unroll(
        self,
        scaled: Tensor,
        features: Tensor,
        state: State,
        rows: Tensor,
        levels: Tensor,
        noise: "_NoiseStreams",
        on_step: Callable[[int], None],
    ) -> Tensor:
        """Scaled paths of the windows ``rows``, ``[R, T, D]``."""
        shape, schedule = self.shape, self.sampling_schedule
        drawn = scaled.new_empty(len(rows), shape.horizon, shape.target_dim)
        state = map_state(state, rows)
        for t in range(shape.horizon):
            # A lag reaches into the path itself or, further back, into the past its window shares.
            lags = [drawn[:, t - k] if k <= t else scaled[rows, t - k] for k in shape.lags]
            known = torch.stack(lags, dim=-1)[:, None]  # [R, 1, D, L]
            h, state = self.encoder(known, features[rows, shape.context_length + t, None], state)
            cond = self.denoiser.embed_condition(self.condition(h[:, 0]))
            z = noise.draw(schedule.num_steps, shape.target_dim)
            drawn[:, t] = self._reverse(cond, levels, z)
            on_step(len(rows))
        return drawn

    def _reverse(self, cond: Tensor, levels: Tensor, noise: Callable[[int], Tensor]) -> Tensor:
        """One time step of every path: the reverse chain under a prepared condition, ``[R, D]``."""
        num_steps, variance = self.sampling_schedule.num_steps, self.config.variance
        # Noise 1 .. N - 1 goes into the steps N .. 2, noise N is where the chain starts.
        return ancestral(
            partial(self._denoise, levels=levels, cond=cond),
            self.sampling_schedule,
            noise(num_steps),
            lambda n: noise(n - 1),
            variance=variance,
        )

    def _levels(self) -> Tensor:
        """Embeddings of all steps of the chain, ``[N, E]``: made once, then looked up by step."""
        n = torch.arange(1, self.schedule.num_steps + 1, device=self.training_scale.device)
        return self.denoiser.embed_level(self.schedule.level(n))

    def _denoise(self, x: Tensor, level: Level, *, levels: Tensor, cond: Tensor) -> Tensor:
        return self.denoiser(x, levels[level.n - 1], cond)

    def _scale(self, series: Tensor, observed: Tensor) -> tuple[Tensor, Tensor]:
        """Location and scale from the context alone, ``[B, 1, D]``."""
        end = self.shape.context_length + max(self.shape.lags)
        context = slice(max(self.shape.lags), end)
        scaling = SCALINGS[self.config.scaling]
        return scaling(series[:, context], observed[:, context], self.training_scale)

    def _differenced(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The series that is modelled and where it is known; unknown entries are 0."""
        lag, (target, observed, _) = self.shape.difference, batch
        target = torch.where(observed, target, 0.0)
        if not lag:
            return target, observed
        both = observed[:, lag:] & observed[:, :-lag]
        return torch.where(both, target[:, lag:] - target[:, :-lag], 0.0), both


class _NoiseStreams:
    """Standard normal noise for a chunk of paths: a generator for every `PATHS_PER_STREAM` of them."""

    def __init__(self, keys: list[tuple[int, int]], *, like: Tensor) -> None:
        self.like = like
        self.generators = []
        for seed, block in keys:
            generator = torch.Generator(device=like.device)
            generator.manual_seed((seed * 1_000_003 + block) % 2**63)
            self.generators.append(generator)

    def draw(self, count: int, dim: int) -> Callable[[int], Tensor]:
        """All the noise of one time step; the function gives its ``n``-th ``[R, dim]``, n = 1 .. count."""
        noise = self.like.new_empty(len(self.generators), count, PATHS_PER_STREAM, dim)
        for part, generator in zip(noise, self.generators, strict=True):
            part.normal_(generator=generator)
        return lambda n: noise[:, n - 1].reshape(-1, dim)


def _integrated(changes: Tensor, start: Tensor) -> Tensor:
    """Values ``[R, T, D]`` from changes, those of the first cycle added to ``start [R, cycle, D]``."""
    length, cycle = changes.shape[1], start.shape[1]
    padded = F.pad(changes, (0, 0, 0, -length % cycle)).unflatten(1, (-1, cycle))
    return (padded.cumsum(dim=1) + start[:, None]).flatten(1, 2)[:, :length]


def _last_observed(batch: Batch, *, cycle: int, default: Tensor) -> Tensor:
    """The last known value at each place of a cycle, else of its dimension, ``[B, cycle, D]``."""
    missing = -batch.target.shape[1] % cycle
    target = F.pad(batch.target, (0, 0, missing, 0)).unflatten(1, (-1, cycle))  # [B, C, cycle, D]
    observed = F.pad(batch.observed, (0, 0, missing, 0)).unflatten(1, (-1, cycle))
    order = torch.arange(1, target.shape[1] + 1, device=target.device)[:, None, None]
    last = (observed * order).amax(dim=1, keepdim=True)  # 0 where nothing was observed
    value = target.gather(1, (last - 1).clamp(min=0))[:, 0]
    elsewhere = _last_observed(batch, cycle=1, default=default) if cycle > 1 else default
    return torch.where(last[:, 0] > 0, value, elsewhere)


def _make_denoiser(config: ModelConfig, target_dim: int) -> Denoiser:
    if config.denoiser == "conv":
        return ConvDenoiser(
            target_dim,
            cond_size=config.cond_size,
            layers=config.denoiser_layers,
            channels=config.denoiser_width,
            dilation_cycle=config.dilation_cycle,
        )
    return MlpDenoiser(
        target_dim,
        cond_size=config.cond_size,
        layers=config.denoiser_layers,
        width=config.denoiser_width,
    )
