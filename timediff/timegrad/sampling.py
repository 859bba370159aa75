"""Joint sample paths of windows, drawn one time step after another.

Paths are independent of each other, so they are drawn in chunks that fit into memory, on a CPU several chunks
side by side.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from timediff.config import SamplingConfig
from timediff.networks.encoder import map_state
from timediff.timegrad.batch import Batch, integrate
from timediff.timegrad.noise import PATHS_PER_STREAM, NoiseStreams, steps_at_a_time
from timediff.timegrad.reverse import Compiler, ReverseChains, network_calls
from timediff.timegrad.trajectories import from_network
from timediff.tools.threads import side_by_side, workers_for

if TYPE_CHECKING:
    from timediff.timegrad.encoded import EncodedPast
    from timediff.timegrad.model import TimeGrad

__all__ = ["WORTH_A_WORKER", "bytes_per_path", "chunks_of", "draw_paths", "rollout"]

#: Bytes of paths that pay for another thread: in smaller chunks, threads mostly wait for Python's lock.
WORTH_A_WORKER = 4.5e6


@torch.no_grad()
def draw_paths(
    model: "TimeGrad",
    batch: Batch,
    *,
    num_samples: int,
    seeds: list[int],
    sampling: SamplingConfig,
    memory: float,
    on_step: Callable[[int], None],
    compiler: Compiler,
) -> Iterator[Tensor]:
    """Paths ``[S, T, D]``, float64, of one window after another; arguments are those of `TimeGrad.draw`."""
    past = model.encode(batch)
    drawn = from_network(num_samples, model.network_share)
    count = int(drawn.sum())
    network = _network_paths(model, past, count, seeds, sampling, memory, on_step, compiler)
    if count == num_samples:
        yield from network
        return
    assert past.mean is not None
    for window, seed in enumerate(seeds):
        more = model.trajectories.draw(batch, past.mean, window, num_samples - count, seed)
        more = more * past.scale[window] + past.loc[window]
        more = model.support(more, None if past.repeated is None else past.repeated[window]).cpu()
        paths = more.new_empty(num_samples, *more.shape[1:])
        if count:
            paths[drawn] = next(network)
        paths[~drawn] = more
        on_step(len(more) * more.shape[1])
        yield paths


def _network_paths(
    model: "TimeGrad",
    past: "EncodedPast",
    num_samples: int,
    seeds: list[int],
    sampling: SamplingConfig,
    memory: float,
    on_step: Callable[[int], None],
    compiler: Compiler,
) -> Iterator[Tensor]:
    """The paths that the network draws."""
    chains = ReverseChains(model, sampling, compiler)
    blocks = -(-num_samples // PATHS_PER_STREAM)
    streams = [(window, block) for window in range(len(seeds)) for block in range(blocks)]
    workers, size = chunks_of(model, len(streams), sampling, memory)
    chunks = [streams[first : first + size] for first in range(0, len(streams), size)]
    lock = threading.Lock()

    def chunk_paths(chunk: list[tuple[int, int]], check: Callable[[], None]) -> Tensor:
        def advanced(paths: int) -> None:
            check()
            with lock:
                on_step(paths)

        rows = torch.tensor([window for window, _ in chunk], device=past.loc.device)
        keys = [(seeds[window], block) for window, block in chunk]
        noise = NoiseStreams(keys, like=model.like, kind=sampling.noise)
        rows = rows.repeat_interleave(PATHS_PER_STREAM)
        return rollout(model, past, rows, partial(chains, noise=noise), on_step=advanced)

    tasks = [partial(chunk_paths, chunk) for chunk in chunks]
    # Closed at once where the caller stops, so that no thread draws for nobody.
    with closing(side_by_side(tasks, workers=workers)) as results:
        for chunk, paths in zip(chunks, results, strict=True):
            for (_, block), part in zip(chunk, paths.split(PATHS_PER_STREAM), strict=True):
                if block == 0:
                    window = part.new_empty(blocks * PATHS_PER_STREAM, *part.shape[1:])
                window[block * PATHS_PER_STREAM : (block + 1) * PATHS_PER_STREAM] = part
                if block == blocks - 1:
                    yield window[:num_samples]
            del paths, part


@torch.no_grad()
def rollout(
    model: "TimeGrad",
    past: "EncodedPast",
    rows: Tensor,
    step: Callable[[Tensor], Tensor],
    *,
    on_step: Callable[[int], None] = lambda paths: None,
) -> Tensor:
    """A path for each of the windows ``rows [R]``, each fed back its own values, ``[R, T, D]`` on the CPU.

    They are float64, as location and scale are; what is fed back is in units and the network's precision.

    Args:
        model: What tells the conditions of a step.
        past: The windows, encoded.
        rows: The window of each path.
        step: Gives the scaled values of a time step ``[R, D]`` under the conditions ``[R, cond_size]``.
        on_step: Called after every time step with the number of paths that advanced by one.
    """
    paths = model.like.new_empty(model.shape.horizon, len(rows), model.shape.target_dim)
    state = map_state(past.state, rows)
    for t in range(len(paths)):
        cond, state = model.advance(past, rows, paths, state, t)
        start, size = model.placement(past, rows, paths, t)
        paths[t] = start + size * step(cond) if model.config.linear else step(cond)
        on_step(len(rows))
    # In place: with long horizons the paths are most of what a chunk takes.
    values = torch.empty_like(paths, dtype=torch.float64)
    for t in range(len(paths)):
        torch.mul(paths[t], past.scale_at(t)[rows], out=values[t]).add_(past.loc_at(t)[rows])
    if past.start is not None:
        integrate(values, past.start, rows)
    for t in range(len(paths)):
        repeated = past.repeated_at(t)
        values[t] = model.support(values[t], None if repeated is None else repeated[rows])
    return values.transpose(0, 1).cpu()


def chunks_of(
    model: "TimeGrad", streams: int, sampling: SamplingConfig, memory: float
) -> tuple[int, int]:
    """The number of workers that draw the streams, 0 for the caller alone, and of streams in a chunk."""
    stream_bytes = bytes_per_path(model, sampling) * PATHS_PER_STREAM
    fitting = max(1, int(memory // stream_bytes))
    # A compiled chain serves one size of chunk, and uses all threads.
    most = 0 if sampling.compile else workers_for(model.like.device)
    worth = max(1, int(streams * stream_bytes // WORTH_A_WORKER))
    workers = min(most, worth, fitting, streams)
    parts = max(1, workers)
    return workers, min(fitting // parts, -(-streams // parts))


def bytes_per_path(model: "TimeGrad", sampling: SamplingConfig) -> int:
    """Memory that one path takes while it is sampled: itself three times, its noise, and the network's own.

    It is there in scaled units, and twice in the data's, which are float64.
    """
    dim = model.shape.target_dim
    ahead = network_calls(sampling, model.config, model.schedule) if sampling.compile else 0
    vectors = 5 * model.shape.horizon + steps_at_a_time(dim) + ahead + 8
    floats = vectors * dim + model.denoiser.floats_per_row
    return floats * model.like.element_size()
