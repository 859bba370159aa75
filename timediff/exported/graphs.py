"""What of a forecast is exported as graphs, as modules whose inputs and outputs are named tensors.

Axes: ``T`` leads, ``D`` series, ``R`` paths, ``H`` hidden, ``G`` gates, ``L`` lags shorter than the horizon,
``N`` normal tensors that a reverse chain takes.
"""

from typing import Any

import torch
from torch import Tensor, nn

from timediff.config import SamplingConfig
from timediff.diffusion.samplers.rehearsal import rehearse
from timediff.networks.encoder import State, run_cells
from timediff.registry import SAMPLERS
from timediff.timegrad.batch import Batch
from timediff.timegrad.model import TimeGrad
from timediff.timegrad.reverse import ReverseChains, compile_chain, sampler_options, walk

__all__ = ["PastGraph", "StepGraph", "example_batch", "noise_draws", "reachable_lags"]

#: Fields of a batch that no graph reads.
_OUTSIDE = ("location", "position", "repeated")


def noise_draws(model: TimeGrad, sampling: SamplingConfig) -> int:
    """N: normal tensors that one time step takes, its start included."""
    chain, options = walk(sampling, model.schedule), sampler_options(sampling, model.config)
    return rehearse(SAMPLERS[sampling.sampler], chain, **options).draws


def reachable_lags(model: TimeGrad) -> list[int]:
    """The lags that reach into the path itself at some step of the horizon."""
    return [lag for lag in model.shape.lags if lag < model.shape.horizon]


def example_batch(model: TimeGrad) -> Batch:
    """A window of zeros."""
    shape, adaptive = model.shape, bool(model.shape.cycles)
    past, ahead = (1, shape.history_length, shape.target_dim), (1, shape.horizon, shape.target_dim)
    target = torch.zeros(past, dtype=model.like.dtype if adaptive else torch.float64)
    near = shape.context_length + shape.horizon
    batch = Batch(
        target, torch.ones(past, dtype=torch.bool), torch.zeros(1, near, shape.num_features)
    )
    if not adaptive:
        return batch
    units = torch.zeros(ahead).double()
    profiles = torch.zeros(*ahead, len(shape.profiles)) if shape.profiles else None
    patterned = shape.profiles and len(shape.cycles) > 1
    pattern = torch.zeros(1, shape.cycle, shape.target_dim) if patterned else None
    return batch._replace(location=units, scale=units + 1, profiles=profiles, pattern=pattern)


class PastGraph(nn.Module):
    """What a window is made into once: `timediff.timegrad.model.TimeGrad.encode`.

    Outputs are the input gates of the encoder at each lead that all paths share, ``[1, T, G]``, its state,
    the linear forecast where there is one, and for other normalisations than the adaptive one, whose units
    are known before, location and scale, and the values that changes are added to.

    Attributes:
        example: Inputs by name.
        outputs: Names of the outputs.
        state: Names of the encoder's state among them.
    """

    def __init__(self, model: TimeGrad) -> None:
        super().__init__()
        self.model, batch = model, example_batch(model)
        self.example = {
            name: part
            for name, part in batch._asdict().items()
            if part is not None and name not in _OUTSIDE
        }
        self.location = batch.location
        self.state = ["state", "cell"] if model.config.cell == "lstm" else ["state"]
        self.outputs = ["gates", *self.state]
        if model.config.linear:
            self.outputs.append("mean")
        if batch.location is None:
            self.outputs += ["location", "scale"]
            self.outputs += ["start"] if model.shape.difference else []

    def forward(self, *fields: Tensor) -> tuple[Tensor, ...]:
        known = dict(zip(self.example, fields, strict=True))
        past = self.model.encode(Batch(**known, location=self.location))
        made: dict[str, Any] = {
            "gates": past.decoder.fixed,
            **dict(zip(self.state, _parts(past.state), strict=True)),
            "mean": past.mean,
            "location": past.loc,
            "scale": past.scale,
            "start": past.start,
        }
        return tuple(made[name] for name in self.outputs)


class StepGraph(nn.Module):
    """One time step of all paths: encoder, Gaussian process of the errors, reverse chain.

    Inputs are the shared gates of the step ``[1, G]``, the state of each path ``[layers, R, H]``, its own
    values at the lags that reach into it ``[L, R, D]`` (0 for those that do not yet), and noise
    ``[N, R, D]``; with a linear forecast the number of the lead ``[1]``, that forecast ``[1, D]``, and by how
    much the values of the lead before were off it, ``[R, D]`` (0 at first). Outputs are the scaled values
    ``[R, D]`` and the state after the step.

    Attributes:
        example: Inputs by name, of two paths.
        paths: The axis of paths of each input that has one.
        outputs: Names of the outputs.
    """

    lag_weights: Tensor

    def __init__(self, model: TimeGrad, sampling: SamplingConfig, past: PastGraph) -> None:
        super().__init__()
        self.model, self.names = model, past.state
        self.chains = ReverseChains(model, sampling, compile_chain)
        with torch.no_grad():
            batch = Batch(**past.example, location=past.location)
            encoded = model.encode(batch)
        lags, dim = reachable_lags(model), model.shape.target_dim
        weights = encoded.decoder.lag_weights[: len(lags)]  # ascending
        self.register_buffer("lag_weights", weights)
        rows = model.like.new_zeros(2, dim)
        self.example = {"gates": encoded.decoder.fixed[:, 0]}
        self.example |= {
            name: part.repeat(1, 2, 1)
            for name, part in zip(self.names, _parts(encoded.state), strict=True)
        }
        self.example["noise"] = rows.repeat(noise_draws(model, sampling), 1, 1)
        self.paths = {**dict.fromkeys(self.names, 1), "noise": 1}
        if lags:
            self.example["recent"], self.paths["recent"] = rows.repeat(len(lags), 1, 1), 1
        if encoded.mean is not None:
            self.example |= {"t": torch.zeros(1).long(), "mean": encoded.mean[:, 0], "error": rows}
            self.paths["error"] = 0
        self.outputs = ["values", *(f"{name}_after" for name in self.names)]

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        given = dict(zip(self.example, inputs, strict=True))
        state = [given[name] for name in self.names]
        gates = given["gates"].expand(state[0].shape[1], -1)
        for i, weight in enumerate(self.lag_weights):
            gates = torch.addmm(gates, given["recent"][i], weight)
        whole: State = state[0] if len(state) == 1 else (state[0], state[1])
        h, after = run_cells(self.model.encoder.rnn, gates, whole)
        noise = iter(given["noise"].unbind())
        values = self.chains(self.model.condition(h), lambda: next(noise))
        if self.model.config.linear:
            process, t, before = self.model.innovations, given["t"], (given["t"] - 1).clamp(min=0)
            carried = process.after(given["error"] / process.size[before], process.persistence[t])
            size = process.size[t]
            values = given["mean"] + size * carried + size * process.step_size[t] * values
        return values, *_parts(after)


def _parts(state: State) -> tuple[Tensor, ...]:
    return (state,) if isinstance(state, Tensor) else state
