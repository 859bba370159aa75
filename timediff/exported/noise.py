"""The random numbers of a forecast by torch, for paths of an exported model that are the predictor's."""

from collections.abc import Mapping
from typing import Annotated, Any

import torch

from timediff.arguments import checked
from timediff.data.entry import begin
from timediff.exported.graphs import noise_draws
from timediff.exported.runner import Noise
from timediff.gluon.entries import read_entry
from timediff.gluon.forecasts import seed_of
from timediff.gluon.paths import PathPredictor
from timediff.options import Between, Count
from timediff.timegrad.noise import PATHS_PER_STREAM, NoiseStreams
from timediff.timegrad.trajectories import from_network, in_phase, picks

__all__ = ["noise_of"]


@checked
def noise_of(
    predictor: PathPredictor,
    entry: Mapping[str, Any],
    num_samples: Count = 100,
    *,
    seed: Annotated[int, Between(0)],
    place: Annotated[int, Between(0)] = 0,
) -> Noise:
    """What ``predictor.predict([entry], num_samples, seed=seed)`` draws.

    Args:
        predictor: The model.
        entry: GluonTS entry.
        num_samples: S.
        seed: Of the paths.
        place: Of the entry in its dataset, where it has no ``item_id``.
    """
    model, series = predictor.prediction_net, read_entry(entry)
    own, shape = seed_of(series, seed, place=place), model.shape
    count = int(from_network(num_samples, model.network_share).sum())
    keys = [(own, block) for block in range(-(-count // PATHS_PER_STREAM))]
    steps, normal = shape.horizon * noise_draws(model, predictor.sampling), []
    if keys:
        streams = NoiseStreams(keys, like=model.like.cpu(), kind=predictor.sampling.noise)
        normal = [streams()[:count].clone() for _ in range(steps)]
    else:
        normal = [model.like.new_zeros(0, shape.target_dim).cpu()] * steps
    drawn, others = torch.stack(normal), torch.zeros(0).long()
    if count < num_samples:
        position = (begin(entry) + len(series.values)) % shape.cycle
        places = in_phase(model.trajectories.positions.cpu(), position)
        others = picks(len(places), num_samples - count, own)
    return Noise(drawn.unflatten(0, (shape.horizon, -1)).numpy(), others.numpy())
