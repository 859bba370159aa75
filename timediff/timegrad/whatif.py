r"""What-if forecasts: some entries of the future are given, the rest follows them.

.. math:: x_{unknown} \sim p(x_{1:T} \mid \text{past}, x_{known} = y)
    \propto \prod_t p_\theta(x_t \mid h_t)

P particles walk through the horizon, each a path with its own encoder state and a weight. Steps with given
entries are those of `timediff.diffusion.particles`; what is given later decides which of the earlier draws
are kept. The paths that are handed out are drawn from the particles once the last given step is behind
them, and go on by themselves.

Where changes are modelled, a given value asks a particle for the change from its own value a cycle ago.

A chain of small variances, too narrow for its own errors, tells particles apart by little more than chance.
Steps with given entries therefore take the large variance where the model's is the small one, which is no
more than a choice in sampling (Ho et al. 2020, arXiv:2006.11239, section 3.2: similar results) and left up to
forty times as many effective particles on trained models; steps without are those of a plain forecast.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, final

import numpy as np
import torch
from torch import Tensor

from timediff.config import SamplingConfig
from timediff.diffusion.guidance import SelfConditioned
from timediff.diffusion.particles import Ancestry, conditional_reverse, systematic
from timediff.diffusion.process import Denoiser
from timediff.errors import InputError
from timediff.networks.encoder import State, map_state
from timediff.timegrad.batch import Batch
from timediff.timegrad.model import TimeGrad
from timediff.timegrad.normalisation.base import LARGEST
from timediff.timegrad.reverse import walk
from timediff.tools.numbers import LARGEST_VALUE, first_too_large, numbers

__all__ = [
    "FARTHEST",
    "MIN_EFFECTIVE_SIZE",
    "TooUnlikely",
    "check_whatif",
    "miscounted",
    "path_steps",
    "read_given",
    "sample_given",
]

#: Effective size of the particles below which there is no forecast: the error of its mean would be above a
#: fifth of its standard deviation, and its quantiles hardly known.
MIN_EFFECTIVE_SIZE = 20
#: Units beyond which single precision cannot tell which particles are nearer to a given value.
FARTHEST = 1e4


class TooUnlikely(InputError):
    """Given values leave too few effective particles, or are too far from all of them to say."""


@torch.no_grad()
def sample_given(
    model: TimeGrad,
    batch: Batch,
    given: Tensor,
    *,
    num_samples: int,
    num_particles: int,
    seed: int,
    sampling: SamplingConfig = SamplingConfig(),  # noqa: B008 (immutable)
    on_step: Callable[[int], None] = lambda steps: None,
) -> tuple[Tensor, float]:
    """Joint sample paths that agree with given values, ``[S, T, D]`` on the CPU, and the effective size.

    The effective size is that of the step where fewest different draws are left
    (`Ancestry.effective_sizes`), steps given as a whole apart. Whole steps given from the first one on cost
    nothing of it: they are simply the past.

    Args:
        model: In evaluation mode.
        batch: One window without a future.
        given: Values in the data's units, at least one of them; NaN where unknown, ``[T, D]``.
        num_samples: S.
        num_particles: P. They are in memory at a time, each with about 1.7 times `TimeGrad.bytes_per_path`.
        seed: The same seed gives the same paths.
        sampling: Steps and their spacing if its sampler is "ancestral", and guidance. Other samplers have
            steps without densities, so that ancestral ones stand in for theirs, always without
            extrapolation, under which hardly a particle keeps any weight.
        on_step: Told after every time step how many paths advanced by one; in all `path_steps`.

    Raises:
        TooUnlikely: The effective size is below `MIN_EFFECTIVE_SIZE`, or a value farther out than `FARTHEST`.
    """
    steps = _Steps(model, batch, given, sampling, seed)
    particles = steps.start(num_particles)
    ancestry = Ancestry(num_particles, device=particles.scaled.device)
    last, size = _last_given(steps.known), 0.0
    for t in range(len(given)):
        try:
            particles, rows, drawn = steps.step(particles, t)
        except ValueError as error:  # values so far off that all weights underflow
            raise _refused(0.0, num_particles) from error
        on_step(len(particles.scaled))
        if t <= last:
            ancestry.record(rows, drawn)
        if t == last:
            size = steps.effective_size(ancestry, particles.log_weights)
            if not size >= MIN_EFFECTIVE_SIZE:
                raise _refused(size, num_particles)
            particles = steps.draw(particles, num_samples)
    return particles.paths.cpu(), size


class _Particles(NamedTuple):
    """P paths that are being drawn, in scaled units (what is modelled) and in the data's, ``[P, T, D]``."""

    scaled: Tensor
    paths: Tensor
    state: State
    log_weights: Tensor

    def take(self, rows: Tensor, log_weights: Tensor) -> "_Particles":
        state = map_state(self.state, rows)
        return _Particles(self.scaled[rows], self.paths[rows], state, log_weights)


@final
class _Steps:
    """The time steps of particles in one window, and all the randomness there is."""

    def __init__(
        self, model: TimeGrad, batch: Batch, given: Tensor, sampling: SamplingConfig, seed: int
    ) -> None:
        self.model, self.past, self.guidance = model, model.encode(batch), sampling.guidance
        if sampling.sampler != "ancestral":
            sampling = SamplingConfig(sampler="ancestral", spacing="quadratic")
        self.walked = walk(sampling, model.schedule)
        self.levels = model.levels(model.schedule)
        self.levels.embed(self.walked.points[1:])
        self.given = given.double().to(self.past.loc.device)
        self.known = ~self.given.isnan()  # [T, D]
        whole = self.known.all(dim=1)
        #: How many steps from the first one on are given as a whole.
        self.prefix = int(whole.cumprod(dim=0).sum())
        # The host needs its random numbers where it is: a stream for it, another for the device.
        self.host = torch.Generator().manual_seed(2 * seed % 2**63)
        self.device = torch.Generator(self.given.device).manual_seed((2 * seed + 1) % 2**63)

    def start(self, count: int) -> _Particles:
        like = self.model.like
        state = map_state(self.past.state, torch.zeros(count, dtype=torch.long, device=like.device))
        scaled = like.new_zeros(count, *self.given.shape)
        values = torch.zeros_like(scaled, dtype=torch.float64)
        return _Particles(scaled, values, state, values.new_zeros(count))

    def step(
        self, particles: _Particles, t: int
    ) -> tuple[_Particles, Tensor | None, Tensor | None]:
        """Particles with step t drawn, and the rows and draws to record of it, None where it needed none."""
        scaled, paths, state, log_weights = particles
        past, known, y, cycle = self.past, self.known[t], self.given[t], self.model.shape.difference
        rows = torch.zeros(len(scaled), dtype=torch.long, device=scaled.device)
        cond, state = self.model.advance(past, rows, scaled.transpose(0, 1), state, t)
        # The value is base + unit * (start + size * z), z being what the network models.
        start, size = self.model.placement(past, rows, scaled.transpose(0, 1), t)
        base, unit = past.loc_at(t)[rows], past.scale_at(t)[0]  # [P, D], [D]
        if past.start is not None:
            base = base + (past.start[rows, t] if t < cycle else paths[:, t - cycle])
        exact = ((y - base) / unit - start) / size
        particles = _Particles(scaled, paths, state, log_weights)
        if t < self.prefix:
            # All particles have one past, so that the same weight is due to all of them.
            scaled[:, t], paths[:, t] = self.as_past(start + size * exact), y
            return particles, None, None
        self.check_near(exact, t)
        wanted = exact.to(scaled)

        def bind(rows: Tensor, x0: Tensor | None) -> Denoiser:
            denoiser = self.model.conditional(cond[rows], self.levels, guidance=self.guidance)
            if isinstance(denoiser, SelfConditioned):
                denoiser.x0 = x0
            return denoiser

        def noise() -> Tensor:
            return torch.empty_like(wanted).normal_(generator=self.device)

        variance = self.model.config.variance
        if variance == "small" and bool(known.any()):
            variance = "large"
        after = conditional_reverse(
            bind, self.walked, known, wanted, log_weights, noise, self.uniform, variance=variance
        )
        particles = particles.take(after.rows, after.log_weights)
        if self.model.config.linear:
            start = start[after.rows]  # type: ignore[index]
        particles.scaled[:, t] = start + size * after.x0
        values = particles.scaled[:, t] * unit + base[after.rows]
        values = self.model.support(values, past.repeated_at(t))
        particles.paths[:, t] = torch.where(known, y, values)
        return particles, after.rows, after.draws

    def as_past(self, values: Tensor) -> Tensor:
        """Scaled values as the encoder sees them in a past: with outliers drawn in, in adaptive units."""
        return values.clamp(-LARGEST, LARGEST) if self.model.shape.cycles else values

    def check_near(self, wanted: Tensor, t: int) -> None:
        """Raises `TooUnlikely` for a given value so far from all particles that they look equally far."""
        nearest = torch.where(self.known[t], wanted.abs(), 0.0).amin(dim=0)  # [D]
        if bool((nearest > FARTHEST).any()):
            d = int(nearest.argmax())
            raise TooUnlikely(
                f"the value {float(self.given[t, d]):g} given of dimension {d} lies {float(nearest[d]):.2g} "
                "times the size of what is modelled from where it could be; give a likelier one, or NaN"
            )

    def draw(self, particles: _Particles, size: int) -> _Particles:
        """So many of the particles, equally weighted, in random order, so that the first few are a sample."""
        chosen = systematic(particles.log_weights, self.uniform(), size=size)
        chosen = chosen[torch.randperm(size, generator=self.host).to(chosen.device)]
        return particles.take(chosen, torch.zeros_like(particles.log_weights[chosen]))

    def effective_size(self, ancestry: Ancestry, log_weights: Tensor) -> float:
        """How many different draws are left at the step where there are fewest."""
        sizes = ancestry.effective_sizes(log_weights)
        drawn = sizes[~self.known[: len(sizes)].all(dim=1)]
        return float(drawn.min()) if len(drawn) else float(len(log_weights))

    def uniform(self) -> float:
        return float(torch.rand((), generator=self.host, dtype=torch.float64))


def path_steps(given: Tensor, *, num_samples: int, num_particles: int) -> int:
    """What `sample_given` reports to ``on_step`` in all."""
    until = _last_given(~given.isnan()) + 1
    return num_particles * until + num_samples * (len(given) - until)


def _last_given(known: Tensor) -> int:
    return int(known.any(dim=1).nonzero().max())


def _refused(size: float, num_particles: int) -> TooUnlikely:
    return TooUnlikely(
        f"the given values leave an effective size of {size:.1f} of {num_particles} particles, below "
        f"{MIN_EFFECTIVE_SIZE}: they are too unlikely under the model, or too many; give fewer or likelier "
        "ones, or a higher num_particles"
    )


def read_given(
    known_future: Any,
    *,
    entries: int | None,
    horizon: int,
    target_dim: int,
    lead_time: int,
    bounds: Tensor | None = None,
) -> list[Tensor | None]:
    """What is given of each entry, ``[lead_time + horizon, D]`` with NaN where unknown; None if nothing.

    Args:
        known_future: One array ``[horizon, D]`` (``[horizon]`` for one dimension), or a list with an array
            or None for each entry.
        entries: How many there are, where that is known.
        horizon: Steps of a forecast.
        target_dim: D.
        lead_time: Steps before it, of which nothing is given.
        bounds: Least and greatest value of each series, where they were declared, ``[2, D]``.

    Raises:
        InputError: There are not as many arrays as entries, or one is not numeric, of another shape, or
            holds an infinite value or one outside of the bounds.
    """
    arrays = known_future if isinstance(known_future, list | tuple) else [known_future]
    if entries is not None and entries != len(arrays):
        raise miscounted(len(arrays), entries)
    given = [
        None if array is None else _read_array(array, i, horizon, target_dim, lead_time)
        for i, array in enumerate(arrays)
    ]
    if bounds is not None:
        _check_within(given, bounds.cpu())
    return given


def _check_within(given: list[Tensor | None], bounds: Tensor) -> None:
    """Raises `InputError` for the first given value outside of the bounds."""
    for i, values in enumerate(given):
        if values is None:
            continue
        outside = (values < bounds[0]) | (values > bounds[1])
        if bool(outside.any()):
            step, d = outside.nonzero()[0].tolist()
            low, high = bounds[:, d].tolist()
            raise InputError(
                f"known_future of entry {i} holds {values[step, d]:g} in dimension {d}, outside of the "
                f"bounds {low:g} to {high:g} that the model was given; give a value between them, or NaN"
            )


def miscounted(arrays: int, entries: int | str) -> InputError:
    """What to raise when ``known_future`` and the dataset do not go together."""
    return InputError(
        f"known_future is for {arrays} entries, but the dataset has {entries}; give a list with an array or "
        "None for each entry"
    )


def _read_array(array: Any, i: int, horizon: int, target_dim: int, lead_time: int) -> Tensor | None:
    name = f"known_future of entry {i}"
    values = numbers(array, name)
    if target_dim == 1 and values.ndim == 1:
        values = values[:, None]
    if values.shape != (horizon, target_dim):
        raise InputError(
            f"{name} has shape {list(values.shape)}; it must be [{horizon}, {target_dim}], steps of the "
            "forecast by dimensions, NaN where unknown; for several entries give a list of such arrays"
        )
    if (place := first_too_large(values)) is not None:
        raise InputError(
            f"{name} has {values[place]:g} in dimension {place[1]} at step {place[0]}; values must be below "
            f"{LARGEST_VALUE:g}: give NaN where unknown"
        )
    blank = np.full((lead_time, target_dim), np.nan)
    given = torch.from_numpy(np.concatenate([blank, values]))
    return None if given.isnan().all() else given


def check_whatif(*, num_samples: int, num_particles: int) -> None:
    """Raises `InputError` if what-if forecasts cannot be drawn in this way."""
    least = max(num_samples, MIN_EFFECTIVE_SIZE)
    if num_particles < least:
        raise InputError(
            f"num_particles is {num_particles}; it must be at least {least}, as the {num_samples} sample "
            f"paths are drawn from the particles and an effective size of {MIN_EFFECTIVE_SIZE} is required"
        )
