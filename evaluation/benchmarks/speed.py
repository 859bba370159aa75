"""How fast timediff is: its two presets against the published TimeGrad and against the machine itself.

    python evaluation/benchmarks/speed.py [--device cuda] [--dims 8 370] [--threads 2] [--quick]

times sampling and training at each number of dimensions, all with the same threads on the same data, and
holds the results against their targets (`targets.py`). The published TimeGrad is `reference.py`, written from
what is known of the public code. Writes a record (``--out``) and, beside it, a picture of seconds against
dimensions.
Needs an idle machine: two threads that share a core with others are many times slower.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from contenders import (
    HORIZON,
    PATHS,
    WINDOWS,
    forecast,
    forecast_flops,
    hourly,
    make_predictor,
    make_reference,
    network_calls,
    reference_forecast,
    reference_training_step,
    training_seconds,
)
from machine import MIB, alternated, available_memory, matrix_rates, measure, timed
from memory import in_fresh_process
from operators import flops_by_hand, operator_count, time_shares
from targets import PUBLISHED_MS, PUBLISHED_OPERATORS, Found, judged, show

from timediff.presets import PRESETS
from timediff.report.plots import save_figure
from timediff.tools.files import plain, write_text
from timediff.tools.machine import commit, hardware

HERE = Path(__file__).resolve().parent
#: Horizon steps that slow forecasts are timed on, and the most dimensions at which all are timed too.
SHORT, WHOLE_UP_TO = 2, 100
#: Most dimensions that the reference is run at, and memory per dimension that its training takes.
REFERENCE_UP_TO, REFERENCE_BYTES = 1000, 10 * MIB
#: Dimensions of the profile and of the matrix products that the machine is measured by.
TYPICAL = 370

Clock = Callable[[Callable[[], Any]], Found]


STARTED = time.perf_counter()


def say(text: str) -> None:
    print(f"{time.perf_counter() - STARTED:4.0f} s  {text}", file=sys.stderr, flush=True)


def sampling_seconds(
    make: Callable[[int], Callable[[], Any]], dim: int, device: str, clock: Clock
) -> Found:
    """Seconds of a forecast of all horizon steps: from a few of them and, for few dimensions, from all."""
    if dim <= WHOLE_UP_TO:
        whole, part = make(HORIZON), make(SHORT)
        part()  # warms up
        return {
            **alternated(whole, part, device, times=HORIZON // SHORT),
            "timed_steps": HORIZON,
        }
    short = clock(make(SHORT))
    scaled = short["seconds"] * HORIZON / SHORT
    return {"seconds": scaled, "timed_steps": SHORT, "runs": short["runs"]}


def time_reference(dim: int, device: str, clock: Clock) -> Found | None:
    """The published TimeGrad; None where it is not run."""
    if dim > REFERENCE_UP_TO:
        return None
    sampling = sampling_seconds(
        lambda horizon: reference_forecast(dim, device=device, horizon=horizon), dim, device, clock
    )
    calls = HORIZON * PRESETS["paper"].model.diffusion_steps
    published = PUBLISHED_MS.get(torch.get_num_threads(), {}) if device == "cpu" else {}
    fits = device != "cpu" or available_memory() > REFERENCE_BYTES * dim
    return {
        "sampling": sampling,
        "ms_per_call": 1000 * sampling["seconds"] / calls,
        "published_ms_per_call": published.get(dim),
        "training": clock(reference_training_step(dim, device=device)) if fits else None,
    }


def time_paper(dim: int, device: str, clock: Clock, rates: Found) -> Found:
    """The paper's preset, and the time that its arithmetic takes at least.

    The floor is that of its convolutions as matrix products, and of two sigmoids (one of them makes the tanh)
    for each channel of each block, which have their own rate, as they are far slower than a multiplication.
    """
    entries, config = hourly(dim), PRESETS["paper"].model

    def make(horizon: int) -> Callable[[], Any]:
        return forecast(make_predictor("paper", dim, device=device, horizon=horizon), entries)

    total = forecast_flops("paper", dim, windows=1)
    gates = config.denoiser_layers * 2 * config.denoiser_width * (dim + 4)
    activations = network_calls(make_predictor("paper", dim, device="cpu")) * PATHS * gates
    return {
        "sampling": sampling_seconds(make, dim, device, clock),
        "flops": total,
        "activations": activations,
        "floor_seconds": total / rates["flops_per_second"]
        + activations / rates["sigmoids_per_second"],
    }


def time_default(dim: int, device: str, clock: Clock, *, steps: int) -> Found:
    """The default preset: one window, seven windows, a training step, and the floors of its forecasts."""
    predictor = make_predictor("default", dim, device=device)
    width = PRESETS["default"].model.denoiser_width
    found: Found = {}
    for name, windows in (("one_window", 1), ("windows", WINDOWS)):
        entries = hourly(dim, windows=windows)
        counted = forecast_flops("default", dim, windows=windows)
        by_hand = flops_by_hand(
            predictor.prediction_net, predictor.sampling, windows=windows, paths=PATHS
        )
        # The rate of the same minute: a machine that others use is not always as fast.
        before = matrix_rates(device, dim=TYPICAL, width=width)
        timing = clock(forecast(predictor, entries))
        after = matrix_rates(device, dim=TYPICAL, width=width)
        best = max(*before.values(), *after.values())
        found[name] = {
            **timing,
            "flops": counted,
            "flops_by_hand": by_hand,
            "flops_per_second": best,
            "floor_seconds": counted / best,
        }
    runs = training_seconds("default", dim, device=device, steps=steps)
    found["training"] = {"seconds": statistics.median(runs), "runs": runs}
    return found


def profiles(dim: int, device: str, *, horizon: int) -> Found:
    """Shares of time by group of operators; of the slow two in one horizon step."""
    runs = {
        "reference": reference_forecast(dim, device=device, horizon=1),
        "paper": forecast(make_predictor("paper", dim, device=device, horizon=1), hourly(dim)),
        "default": forecast(
            make_predictor("default", dim, device=device, horizon=horizon), hourly(dim)
        ),
    }
    shares = {}
    for name, run in runs.items():
        say(f"profile of {name}, D = {dim}")
        run()
        shares[name] = time_shares(run, device)
    return {"dim": dim, "shares": shares}


def operators_per_call(dim: int = 8) -> int:
    """ATen operators of one step of the reference's chain."""
    chain, x = make_reference(dim, device="cpu").eval().chain, torch.randn(PATHS, 1, dim)
    cond = torch.randn(PATHS, 1, chain.network.conditioner.first.in_features)
    n = torch.full((PATHS,), 50)
    return operator_count(lambda: chain.back(x, cond, n, x))


def run(options: argparse.Namespace) -> Found:
    """The whole record."""
    device, threads = options.device, options.threads
    clock = partial(timed, device=device)
    if options.quick:
        clock = partial(clock, most=2, budget=2.0)
    width = PRESETS["default"].model.denoiser_width
    say("machine")
    rates = measure(device, dim=TYPICAL, width=width)
    results, rows = [], []
    for dim in options.dims:
        say(f"D = {dim}: reference")
        found: Found = {"dim": dim, "reference": time_reference(dim, device, clock)}
        say(f"D = {dim}: paper preset")
        found["paper"] = time_paper(dim, device, clock, rates)
        say(f"D = {dim}: default preset")
        steps = 5 if options.quick else 12
        found["default"] = time_default(dim, device, clock, steps=steps)
        say(f"D = {dim}: memory")
        found["memory"] = {
            preset: in_fresh_process(preset, dim, device=device, threads=threads)
            for preset in PRESETS
        }
        results.append(found)
        rows += judged(found)
    typical = TYPICAL if TYPICAL in options.dims else max(options.dims)
    sizes = {"horizon": HORIZON, "paths": PATHS, "windows": WINDOWS}
    presets = {
        name: {
            "model": preset.model._asdict(),
            "sampling": preset.sampling.flat(),
            "calls_per_step": network_calls(make_predictor(name, typical, device="cpu")) // HORIZON,
        }
        for name, preset in PRESETS.items()
    }
    return {
        "command": "python evaluation/benchmarks/speed.py "
        f"--device {device} --threads {threads}" + " --quick" * options.quick,
        "sizes": sizes,
        "presets": presets,
        "machine": rates,
        "rows": rows,
        "results": results,
        "profile": profiles(typical, device, horizon=1 if options.quick else HORIZON),
        "reference_operators_per_call": operators_per_call(),
        "published_operators_per_call": PUBLISHED_OPERATORS,
        "seconds": time.perf_counter() - STARTED,
        "commit": commit(),
        "hardware": hardware(device),
        "torch": torch.__version__,
    }


def draw(record: Found, path: Path) -> None:
    """Seconds of 100 paths of one window against the number of dimensions."""
    from matplotlib.figure import Figure

    results = record["results"]
    calls = {name: preset["calls_per_step"] for name, preset in record["presets"].items()}
    figure = Figure(figsize=(9, 6), dpi=100, layout="constrained")
    axes = figure.subplots()
    lines = [
        ("published TimeGrad, naive loop", "#222222", "-", lambda f: f["reference"]["sampling"]),
        (f"paper preset, {calls['paper']} calls", "#D55E00", "-", lambda f: f["paper"]["sampling"]),
        (
            f"default, {calls['default']} calls",
            "#0072B2",
            "-",
            lambda f: f["default"]["one_window"],
        ),
        ("matrix products of the default", "#0072B2", ":", lambda f: f["default"]["one_window"]),
    ]
    for label, colour, style, pick in lines:
        known = [found for found in results if found["reference"] or "published" not in label]
        field = "floor_seconds" if style == ":" else "seconds"
        dims, seconds = [f["dim"] for f in known], [pick(f)[field] for f in known]
        axes.plot(dims, seconds, color=colour, ls=style, marker="o", label=label)
    axes.set(xscale="log", yscale="log", xlabel="dimensions", ylabel="seconds")
    axes.set_xticks([f["dim"] for f in results], [str(f["dim"]) for f in results])
    axes.minorticks_off()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#DDDDDD", lw=0.6)
    device = record["hardware"]
    where = device.get("gpu") or f"{device['cpu']}, {device['threads']} thread(s)"
    axes.set_title(
        f"{PATHS} paths of {HORIZON} hours on {where}", loc="left", fontsize=13, fontweight="bold"
    )
    axes.legend(frameon=False)
    save_figure(figure, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dims", type=int, nargs="+", default=[8, 83, 370, 963, 2000])
    parser.add_argument("--out", type=Path, default=HERE.parent / "results" / "speed.json")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="few repeats, to try the script out")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    record = plain(run(options))
    write_text(options.out, json.dumps(record, indent=1) + "\n")
    draw(record, options.out.with_suffix(".png"))
    show(record)


if __name__ == "__main__":
    main()
