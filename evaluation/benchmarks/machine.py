"""What a machine can do at best, and how long things take on it: the floor that `speed.py` compares with.

A rate is that of the quickest of several runs, a duration the median of them.
"""

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

MIB = 2**20
#: Seconds of a run in which what only the first one does is lost.
WARM_UP = 2.0


def synchronize(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def seconds_of(run: Callable[[], Any], device: str) -> float:
    synchronize(device)
    started = time.perf_counter()
    run()
    synchronize(device)
    return time.perf_counter() - started


def timed(
    run: Callable[[], Any], device: str, *, most: int = 7, budget: float = 24.0
) -> dict[str, Any]:
    """Median seconds of up to ``most`` runs that take about ``budget`` seconds in all.

    The first run warms up and does not count, unless it took so long that this makes no difference.
    """
    runs = [seconds_of(run, device)]
    while len(runs) <= most and sum(runs) + runs[-1] <= budget:
        runs.append(seconds_of(run, device))
    counted = runs[1:] if len(runs) > 1 and runs[0] < WARM_UP else runs
    return {"seconds": statistics.median(counted), "runs": counted}


def alternated(
    long: Callable[[], Any], short: Callable[[], Any], device: str, *, times: int, rounds: int = 2
) -> dict[str, Any]:
    """A long run beside ``times`` short ones that should take as long, half of them before and half after it.

    What slows the machine down for a while so slows both. Medians over the rounds; ``off`` is that of how far
    the short ones are from the long one of the same round.
    """
    wholes, sums = [], []
    for _ in range(rounds):
        before = sum(seconds_of(short, device) for _ in range(times // 2))
        wholes.append(seconds_of(long, device))
        sums.append(before + sum(seconds_of(short, device) for _ in range(times - times // 2)))
    off = statistics.median(
        abs(parts / whole - 1) for parts, whole in zip(sums, wholes, strict=True)
    )
    return {
        "seconds": statistics.median(wholes),
        "runs": wholes,
        "scaled_seconds": statistics.median(sums),
        "off": off,
    }


def matrix_rates(device: str, *, dim: int, width: int) -> dict[str, float]:
    """FLOP/s of products ``[rows, inner] x [inner, columns]`` like the network's, and of a big square one."""
    shapes = {
        "big": (2048, 2048, 2048),
        "input": (700, dim, width),
        "hidden": (700, width, width),
        "output": (700, width, dim),
        "encoder": (700, 4 * dim, 3 * width),
    }
    rates = {}
    for name, (rows, inner, columns) in shapes.items():
        left = torch.randn(rows, inner, device=device)
        right, out = torch.randn(inner, columns, device=device), left.new_empty(rows, columns)
        seconds = _quickest(lambda a=left, b=right, c=out: torch.mm(a, b, out=c), device)
        rates[f"{name} {rows} x {inner} x {columns}"] = 2 * rows * inner * columns / seconds
    return rates


def copy_bandwidth(device: str) -> float:
    """Bytes read and written per second when a tensor too large for a cache is copied."""
    source = torch.ones(64 * MIB, device=device)
    target = torch.empty_like(source)
    return (
        2 * source.numel() * source.element_size() / _quickest(lambda: target.copy_(source), device)
    )


def rate(fill: Callable[[torch.Tensor], Any], device: str, *, size: int = 2**18) -> float:
    """Numbers per second of an operation in place on a tensor that fits a cache."""
    x = torch.randn(size, device=device)
    return size / _quickest(lambda: fill(x), device)


def measure(device: str, *, dim: int, width: int) -> dict[str, Any]:
    """Rates of this machine with the threads that are set.

    Args:
        dim: Dimensions of the network whose products are timed.
        width: Its units.
    """
    rates = matrix_rates(device, dim=dim, width=width)
    return {
        "flops_per_second": max(rates.values()),
        "flops_per_second_of": rates,
        "bytes_copied_per_second": copy_bandwidth(device),
        "normal_numbers_per_second": rate(lambda x: x.normal_(), device),
        "sigmoids_per_second": rate(torch.sigmoid_, device),
    }


def _quickest(run: Callable[[], Any], device: str, *, seconds: float = 0.5) -> float:
    """Seconds of one run, by the quickest of the batches that fit into this time."""
    once = max(seconds_of(run, device), seconds_of(run, device), 1e-6)
    batch = max(1, int(seconds / 10 / once))

    def several() -> None:
        for _ in range(batch):
            run()

    return min(seconds_of(several, device) for _ in range(8)) / batch


def available_memory() -> float:
    """Bytes that a process may still take, infinite where Linux does not say."""
    info = Path("/proc/meminfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    found = [line.split()[1] for line in lines if line.startswith("MemAvailable")]
    return 1024.0 * int(found[0]) if found else float("inf")
