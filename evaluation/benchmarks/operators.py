"""Where the time goes and how much is computed: operators by group, and floating-point operations."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from timediff.config import SamplingConfig
from timediff.timegrad.model import TimeGrad
from timediff.timegrad.noise import PATHS_PER_STREAM

#: Operators of each group by the words in their names; the first group that fits takes them.
GROUPS = {
    "matrix products": ("mm", "linear", "matmul"),
    "convolutions": ("conv",),
    "layer norm": ("layer_norm",),
    "activations": ("tanh", "sigmoid", "silu", "leaky_relu", "gelu", "softmax"),
    "noise": ("normal", "randn"),
    "copies": ("copy", "cat", "stack", "gather", "index", "clone", "fill", "zero", "arange", "pad"),
    "elementwise": (
        *("add", "sub", "mul", "div", "exp", "lerp", "where", "neg", "pow", "sqrt", "sum", "abs"),
        *("gt", "clamp", "mean", "cumsum"),
    ),
}


def group_of(name: str) -> str:
    plain = name.removeprefix("aten::")
    return next((g for g, words in GROUPS.items() if any(w in plain for w in words)), "other")


@contextmanager
def in_this_thread() -> Iterator[None]:
    """Everything in one thread, this one: torch counts operators of the thread that asks."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with patch("timediff.timegrad.model.workers_for", lambda device: 0):
            yield
    finally:
        torch.set_num_threads(threads)


def operator_count(run: Callable[[], Any]) -> int:
    """ATen operators that run, those called by others included."""
    with in_this_thread(), torch.no_grad(), profile(activities=[ProfilerActivity.CPU]) as seen:
        run()
    return sum(event.name.startswith("aten::") for event in seen.events())


def time_shares(run: Callable[[], Any], device: str) -> dict[str, float]:
    """Share of the operators' own time that each group of `GROUPS` takes."""
    on_gpu = device.startswith("cuda")
    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if on_gpu else [])
    with in_this_thread(), profile(activities=activities) as seen:
        run()
    spent: Counter[str] = Counter()
    for event in seen.key_averages():
        if event.key.startswith("aten::"):
            own = event.self_device_time_total if on_gpu else event.self_cpu_time_total
            spent[group_of(event.key)] += own
    total = sum(spent.values())
    return {group: spent[group] / total for group in (*GROUPS, "other")}


def flops(run: Callable[[], Any]) -> int:
    """Floating-point operations of all matrix products and convolutions, counted while it runs on the CPU."""
    with in_this_thread(), FlopCounterMode(display=False) as counted:
        run()
    return counted.get_total_flops()


def flops_by_hand(
    model: TimeGrad, sampling: SamplingConfig, *, windows: int, paths: int
) -> int | None:
    """The same from the sizes of the weights, each of which a row meets once; None for convolutions."""
    if model.config.denoiser != "mlp":
        return None
    denoiser, shape = model.denoiser, model.shape
    rnn, prepared = model.encoder.rnn, _weights(denoiser.condition) + _weights(denoiser.first)
    encoder, first = _weights(rnn), rnn.weight_ih_l0.numel()
    # Of the first layer's inputs a path itself has only the lags that reach into it.
    of_lag = shape.target_dim * len(rnn.bias_ih_l0)
    reached = sum(max(0, shape.horizon - lag) for lag in shape.lags)
    called = _weights(denoiser) - _weights(denoiser.condition) - _weights(denoiser.level)
    calls = model.network_calls(sampling) // shape.horizon
    rows = windows * -(-paths // PATHS_PER_STREAM) * PATHS_PER_STREAM
    per_step = encoder - first + _weights(model.condition) + prepared + calls * called
    per_window = shape.context_length * encoder
    per_window += shape.horizon * shape.num_features * len(rnn.bias_ih_l0)
    per_window += sum(min(shape.horizon, lag) for lag in shape.lags) * of_lag
    return 2 * (rows * (shape.horizon * per_step + reached * of_lag) + windows * per_window)


def _weights(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters() if parameter.dim() > 1)
