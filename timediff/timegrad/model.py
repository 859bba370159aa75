r"""TimeGrad: a recurrent encoder conditions a diffusion model of the next time step's whole vector.

.. math:: p(x_{1:T} \mid \text{past}) = \prod_t p_\theta(x_t \mid h_t), \qquad
    h_t = \mathrm{RNN}(\text{lags of } x_t, \text{calendar}_t, h_{t-1})

Trained on the error of the predicted noise at every step of context and horizon; sampled one step
after another, each path fed back its own draws.

Source: Rasul et al. (2021), arXiv:2101.12072.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from timediff.config import ModelConfig, SamplingConfig
from timediff.diffusion.bound import hybrid_term
from timediff.diffusion.guidance import SelfConditioned
from timediff.diffusion.learned_schedule import LearnedSchedule
from timediff.diffusion.objective import noise_loss
from timediff.diffusion.parameterisation import Prediction
from timediff.diffusion.process import Denoiser, add_noise
from timediff.diffusion.schedule import Schedule, make_schedule
from timediff.networks.encoder import Encoder, State, lagged
from timediff.networks.wiener import WienerStart
from timediff.registry import NORMALISATIONS
from timediff.timegrad.batch import Batch, Shape, differenced, last_observed
from timediff.timegrad.centre import LinearCentre
from timediff.timegrad.denoising import ConditionalDenoiser, LevelCache, guided_by, make_network
from timediff.timegrad.encoded import EncodedPast, TeacherForced
from timediff.timegrad.innovations import Innovations
from timediff.timegrad.noise import PATHS_PER_STREAM
from timediff.timegrad.normalisation.base import LARGEST, in_units
from timediff.timegrad.reverse import Compiler, compile_chain, network_calls
from timediff.timegrad.sampling import bytes_per_path, draw_paths
from timediff.timegrad.support import Support
from timediff.timegrad.trajectories import Trajectories, from_network

__all__ = ["OWN_INPUTS", "SELF_CONDITIONED_SHARE", "TimeGrad"]

#: Numbers that the encoder sees of a series' own covariates at each step, at most.
OWN_INPUTS = 2

#: Share of training steps in which a self-conditioned network sees an estimate (Chen et al. 2022).
SELF_CONDITIONED_SHARE = 0.5


class TimeGrad(nn.Module):
    """The whole model: encoder, condition and denoising network.

    Args:
        config: Hyperparameters.
        shape: Sizes of the data.
    """

    training_scale: Tensor
    training_level: Tensor
    like: Tensor

    def __init__(self, config: ModelConfig, shape: Shape) -> None:
        super().__init__()
        self.config, self.shape = config, shape
        self.schedule = make_schedule(
            config.schedule,
            num_steps=config.diffusion_steps,
            beta_start=config.beta_start,
            beta_end=config.beta_end,
        )
        self.learned = LearnedSchedule(self.schedule) if config.schedule == "learned" else None
        # No lambda, as processes hand networks to each other.
        self.register_load_state_dict_post_hook(TimeGrad.reschedule)
        # Of the training data (`normalisation.training`), saved with the weights.
        default = torch.arange(2.0).double()[:, None].repeat(1, shape.target_dim)
        self.register_buffer("training_scale", default)
        # Mean of the training data: where changes are added up if a window knows no value at all.
        self.register_buffer("training_level", torch.zeros(shape.target_dim).double())
        # Of the network's precision: locations and scales are float64.
        self.register_buffer("like", torch.zeros(shape.target_dim), persistent=False)
        self.support = Support(shape.target_dim)
        inputs = shape.num_features + shape.common
        if config.linear:
            self.centre = LinearCentre(shape)
            self.innovations = Innovations(shape.horizon, shape.target_dim)
            self.trajectories = Trajectories(shape.horizon, shape.target_dim)
            inputs += 1 + shape.target_dim  # the lead and the linear forecast
        if shape.own:
            # One map for all series, as wide data would have too many inputs.
            self.own = nn.Linear(shape.own, min(shape.own, OWN_INPUTS), bias=False)
            inputs += shape.target_dim * self.own.out_features
        self.encoder = Encoder(
            shape.target_dim,
            num_lags=len(shape.lags),
            num_features=inputs,
            cell=config.cell,
            num_layers=config.num_layers,
            hidden_size=config.hidden_size,
            dropout=config.dropout,
        )
        self.condition = nn.Linear(config.hidden_size, config.cond_size)
        self.denoiser = make_network(config, shape.target_dim)

    def reschedule(self, _: Any = None, *, move: bool = False) -> None:
        """Brings the schedule up to date with what was learned of it, after a move if there is to be one."""
        if self.learned is not None:
            if move:
                self.learned.move()
            self.schedule = self.learned.chain()

    def loss(
        self, batch: Batch, *, n: Tensor, eps: Tensor, positions: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        r"""Error of the predicted noise, and which entries of it count.

        Where the variance is learned, the variational bound is added, its mean held fixed:
        :math:`L_{simple} + \lambda L_{vlb}` (Nichol & Dhariwal 2021, arXiv:2102.09672, eq. 16).

        Args:
            batch: Windows with their future.
            n: Diffusion step of each window and time step asked about, integer in 1 .. N, ``[B, K]``.
            eps: Standard normal noise, ``[B, K, D]``.
            positions: The K time steps of each window that are asked about, integer in 0 .. ``taught_steps``
                - 1, ``[B, K]``; all of them when left out.

        Returns:
            Error and observed mask, both ``[B, K, D]``.
        """
        config, schedule = self.config, self.schedule
        taught = self.teach(batch)
        if positions is not None:
            taught = taught.at(positions)
        cond = taught.cond
        if self.training and config.condition_dropout:
            kept = torch.rand(cond.shape[:-1], device=cond.device) >= config.condition_dropout
            cond = cond * kept[..., None]
        xn, level = add_noise(schedule, taught.x0, n, eps), schedule.level(n)
        previous = None
        if config.self_conditioning and self.training and torch.rand(()) < SELF_CONDITIONED_SHARE:
            with torch.no_grad():
                previous = self.bind(cond, self.levels(schedule))(xn, level).x0
        prediction = self.bind(cond, self.levels(schedule))(xn, level, previous)
        if self.training and self.learned is not None:
            # Statistics like those of a batch norm; NaN, and passed over, where nothing is observed.
            squared = (eps - prediction.eps.detach()).square() * taught.observed
            self.learned.update(n, squared.sum(dim=-1) / taught.observed.sum(dim=-1))
        error = noise_loss(
            schedule, prediction, n, eps, loss=config.loss, weighting=config.weighting
        )
        if config.variance == "learned":
            error = error + config.hybrid_weight * hybrid_term(
                schedule, prediction, taught.x0, xn, n
            )
        return error, taught.observed

    @property
    def taught_steps(self) -> int:
        """Steps of a window that a loss may be asked about: context and horizon, or the latter alone."""
        shape = self.shape
        return shape.horizon + (0 if self.config.linear else shape.context_length)

    def teach(self, batch: Batch, *, outliers: bool = False) -> TeacherForced:
        """Windows with their future, and what each of their steps is conditioned on by their true values.

        Args:
            batch: Windows with their future.
            outliers: Leave values far out in adaptive units where they are; the loss sees them drawn in.
        """
        length, taught = batch.features.shape[1], self.taught_steps
        scaled, observed, _, scale = self._scaled(batch)
        drawn_in = scaled if batch.location is None else scaled.clamp(-LARGEST, LARGEST)
        lags = lagged(drawn_in, self.shape.lags, length=length)
        if self.training and self.config.lag_noise:
            lags = lags + self.config.lag_noise * torch.randn_like(lags)
        x0, observed = (scaled if outliers else drawn_in)[:, -taught:], observed[:, -taught:]
        if 1 < scale.shape[1] < taught:
            scale = F.pad(scale, (0, 0, taught - scale.shape[1], 0), value=1.0)
        mean = None
        if self.config.linear:
            mean = self.centre(batch)
            x0 = self.innovations.split(torch.where(observed, x0 - mean, 0.0))
            units = torch.stack([self.innovations.unit(t) for t in range(taught)])
            x0, scale = torch.where(observed, x0, 0.0), scale * units
        h, _ = self.encoder(lags, self._inputs(batch, mean))
        return TeacherForced(x0, observed, self.condition(h[:, -taught:]), scale)

    def encode(self, batch: Batch) -> EncodedPast:
        """Windows without a future, and all that sampling needs to know of them."""
        scaled, _, loc, scale = self._scaled(batch)
        context, cycle = self.shape.context_length, self.shape.difference
        lags = lagged(scaled, self.shape.lags, length=context)
        mean = self.centre(batch) if self.config.linear else None
        inputs = self._inputs(batch, mean)
        _, state = self.encoder(lags, inputs[:, :context])
        decoder = self.encoder.decoder(scaled, inputs[:, context:], lags=self.shape.lags)
        start = last_observed(batch, cycle=cycle, default=self.training_level) if cycle else None
        return EncodedPast(decoder, state, loc, scale, start, mean, batch.repeated)

    def placement(
        self, past: EncodedPast, rows: Tensor, paths: Tensor, t: int
    ) -> tuple[Tensor | float, Tensor | float]:
        """Scaled values of step t: ``start [R, D] + size [D] * z``, where z is what the network models.

        Args:
            past: The windows.
            rows: The window of each path, ``[R]``.
            paths: Scaled values, of which the steps before t are drawn, ``[T, R, D]``.
            t: Step of the horizon, from 0.
        """
        if past.mean is None:
            return 0.0, 1.0
        start = past.mean[rows, t]
        if t:
            start = start + self.innovations.carried(t, paths[t - 1] - past.mean[rows, t - 1])
        return start, self.innovations.unit(t)

    @property
    def network_share(self) -> float:
        """Of the paths of a forecast, those that the network draws."""
        return 1 - float(self.trajectories.share) if self.config.linear else 1.0

    def use(self, share: float, *, past_errors: bool = True) -> None:
        """Sets the share of the network in forecasts.

        Without any, it is left out of what-if forecasts and likelihoods, too, which know no past errors:
        these are then the Gaussian process's.

        Args:
            share: Of the paths, those that the network draws.
            past_errors: Whether the others are made of past errors, or all of the Gaussian process if the
                share is 0.
        """
        assert isinstance(self.denoiser, WienerStart)
        self.trajectories.share.fill_(1 - share if past_errors else 0.0)
        self.denoiser.share.fill_(float(share > 0))

    def _inputs(self, batch: Batch, mean: Tensor | None) -> Tensor:
        """What the encoder is told of each step beside the lags, ``[B, C (+ T), F]``."""
        features = batch.features
        if batch.own is not None:
            features = torch.cat([features, self.own(batch.own).flatten(2)], dim=-1)
        if mean is None:
            return features
        lead = torch.linspace(0, 1, self.shape.horizon + 1).to(mean)[1:]
        ahead = torch.cat([lead[:, None].expand(len(mean), -1, 1), mean], dim=-1)
        return torch.cat([features, F.pad(ahead, (0, 0, self.shape.context_length, 0))], dim=-1)

    def advance(
        self, past: EncodedPast, rows: Tensor, paths: Tensor, state: State, t: int
    ) -> tuple[Tensor, State]:
        """Conditions ``[R, cond_size]`` of step t of the scaled ``paths [T, R, D]`` of the windows ``rows``,
        and the state after it.
        """
        h, state = past.decoder.step(rows, paths, state, t)
        return self.condition(h), state

    def levels(self, schedule: Schedule) -> LevelCache:
        """Embeddings of noise levels: make them once for all that is done with one schedule."""
        return LevelCache(self.denoiser, schedule, like=self.like)

    def conditional(self, cond: Tensor, levels: LevelCache, *, guidance: float = 0.0) -> Denoiser:
        """The denoiser of one reverse chain under the conditions ``cond [..., cond_size]``."""
        conditional = self.bind(cond, levels)
        denoiser: Callable[..., Prediction] = conditional
        if guidance:
            denoiser = guided_by(conditional, levels.unconditional(self.config), scale=guidance)
        return SelfConditioned(denoiser) if self.config.self_conditioning else denoiser

    def bind(self, cond: Tensor, levels: LevelCache) -> ConditionalDenoiser:
        """The network under the conditions ``cond [..., cond_size]``, which it prepares once."""
        return ConditionalDenoiser(self.denoiser, self.config, levels, cond)

    def sample(self, batch: Batch, **options: Any) -> Tensor:
        """The paths that `draw` gives, together, ``[B, S, T, D]``; same arguments."""
        return torch.stack(list(self.draw(batch, **options)))

    def draw(
        self,
        batch: Batch,
        *,
        num_samples: int,
        seeds: list[int],
        sampling: SamplingConfig = SamplingConfig(),  # noqa: B008 (immutable)
        memory: float = 512e6,
        on_step: Callable[[int], None] = lambda paths: None,
        compiler: Compiler = compile_chain,
    ) -> Iterator[Tensor]:
        """Joint sample paths of the steps after the past, ``[S, T, D]`` on the CPU, window by window.

        Args:
            batch: Windows without a future.
            num_samples: S.
            seeds: One per window. A window's paths are a function of its past and its seed, up to rounding
                whatever else is in the batch and however the paths are split into chunks.
            sampling: How they are drawn.
            memory: Bytes that paths may take at a time, by `bytes_per_path`. On a CPU chunks of them are
                drawn side by side, one thread each.
            on_step: Called after every time step of a chunk with the number of paths that advanced by one.
            compiler: Where compiled chains come from.
        """
        return draw_paths(
            self,
            batch,
            num_samples=num_samples,
            seeds=seeds,
            sampling=sampling,
            memory=memory,
            on_step=on_step,
            compiler=compiler,
        )

    def steps_of(self, num_samples: int) -> int:
        """What `draw` reports to ``on_step`` in all for one window."""
        count = int(from_network(num_samples, self.network_share).sum())
        drawn = -(-count // PATHS_PER_STREAM) * PATHS_PER_STREAM
        return (drawn + num_samples - count) * self.shape.horizon

    def bytes_per_path(self, sampling: SamplingConfig = SamplingConfig()) -> int:  # noqa: B008
        """Memory that one path takes while it is sampled."""
        return bytes_per_path(self, sampling)

    def network_calls(self, sampling: SamplingConfig) -> int:
        """Calls of the denoiser that the forecast of one chunk takes."""
        return self.shape.horizon * network_calls(sampling, self.config, self.schedule)

    def _scaled(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The series that is modelled, in scaled units, where it is known, and its location and scale.

        The latter two are those of the context.
        """
        series, observed = differenced(batch, self.shape.difference)
        if batch.location is not None and batch.scale is not None:
            return series, observed, batch.location, batch.scale
        first = max(self.shape.lags)
        context = slice(first, first + self.shape.context_length)
        scaling = NORMALISATIONS[self.config.scaling]
        loc, scale = scaling(series[:, context], observed[:, context], self.training_scale)
        scaled = in_units(series, observed, loc, scale, self.training_scale)
        return scaled.to(self.like.dtype), observed, loc, scale
