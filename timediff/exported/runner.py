"""Forecasts of an exported model by numpy and onnxruntime; no torch, GluonTS, Lightning or pandas is loaded.

The graphs of the folder hold the network: ``past.onnx`` what is made of a window once (the encoder over its
context, the linear forecast), ``step.onnx`` one time step of all paths (encoder, Gaussian process, reverse
chain). Done here is what comes before and after them: calendar, units of the adaptive normalisation, the loop
over time steps, paths made of past errors, and the values that paths may take.

Axes: ``T`` time steps, ``D`` series, ``S`` sample paths, ``R`` of them drawn by the network, ``N`` normal
tensors that a reverse chain takes, ``M`` past errors; NaN is a missing value.
"""

import json
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from timediff.errors import InputError, check_whole
from timediff.exported.clock import calendar, ordinal_of
from timediff.exported.window import adaptive_window, last_rows
from timediff.kinds import shortened
from timediff.tools.numbers import first_too_large, numbers

__all__ = ["FACTS", "FORMAT", "GRAPHS", "INPUT", "NUMBERS", "OUTPUT", "Noise", "Runner"]

#: The number of the format, and the files of a folder.
FORMAT, FACTS, NUMBERS, GRAPHS = 1, "exported.json", "numbers.npz", ("past.onnx", "step.onnx")
#: What the names of inputs and outputs begin with, as torch's exporter lets one be that of a tensor between.
INPUT, OUTPUT = "in.", "out."

_Array = NDArray[Any]


class Noise(NamedTuple):
    """The random numbers of a forecast.

    Attributes:
        normal: Standard normal, float32 ``[T, N, R, D]``, the steps of a lead time among the T.
        picks: Places among the M past errors that the other paths are made of, integer ``[S - R]``.
    """

    normal: _Array
    picks: _Array


class Runner:
    """A forecaster in a folder that `timediff.export` wrote.

    Args:
        folder: The folder.
        threads: Of an operator.

    Attributes:
        facts: What the folder says of the model, such as ``names``, ``prediction_length`` and ``freq``.

    Raises:
        InputError: The folder holds no exported model, or one of another format.
    """

    def __init__(self, folder: str | Path, *, threads: int = 1) -> None:
        folder = Path(folder)
        for name in (FACTS, NUMBERS, *GRAPHS):
            if not (folder / name).is_file():
                raise InputError(
                    f"{folder} holds no {name}; give a folder that timediff export wrote"
                )
        runtime = _onnxruntime()
        try:
            self.facts: dict[str, Any] = json.loads((folder / FACTS).read_text(encoding="utf-8"))
            form = self.facts["format"]
            if form == FORMAT:
                with np.load(folder / NUMBERS, allow_pickle=False) as file:
                    self._numbers: dict[str, _Array] = dict(file)
                self._past, self._step = (
                    _session(runtime, folder / name, threads) for name in GRAPHS
                )
        except Exception as error:  # a damaged file may fail in any way
            raise InputError(
                f"the model in {folder} cannot be read ({type(error).__name__}: "
                f"{shortened(str(error), 200)}); give a folder as timediff export wrote it"
            ) from error
        if form != FORMAT:
            raise InputError(f"{folder} has format {form}; this version reads {FORMAT}")

    def forecast(
        self,
        past: Any,
        start: Any,
        *,
        num_samples: int = 100,
        seed: int | None = None,
        noise: Noise | None = None,
    ) -> _Array:
        """Joint sample paths of the steps after a past, in its units, float64 ``[S, T, D]``.

        Args:
            past: All that is known, ``[T, D]`` (``[T]`` for one series), NaN where missing.
            start: Stamp of its first step, anywhere in its hour, day, ..., on the clock of the training data:
                a ``datetime64`` or text such as ``"2024-05-01T00:00"``.
            num_samples: S.
            seed: The same seed gives the same paths; drawn anew when left out. They are not those that
                timediff draws with this seed, whose random numbers are torch's.
            noise: The random numbers themselves in place of a seed (`timediff.exported.noise.noise_of`).

        Raises:
            InputError: Past, start or noise do not fit the model.
        """
        check_whole("num_samples", num_samples)
        facts, values = self.facts, self._values(past)
        multiple, *rest = facts["frequency"]
        first = ordinal_of(start, (multiple, *rest))
        window = self._window(values, first)
        errors = self._errors((first // multiple + len(values)) % facts["cycle"])
        # As even as can be (`timediff.timegrad.trajectories.from_network`).
        place = np.arange(num_samples + 1) * facts["network_share"]
        drawn = np.diff(np.floor(place + 1e-9)) > 0
        if noise is None:
            noise = self._drawn(int(drawn.sum()), num_samples, len(errors), seed)
        self._check_noise(noise, int(drawn.sum()), num_samples, len(errors))
        paths = np.empty((facts["horizon"], num_samples, facts["dim"]))
        paths[:, drawn] = self._network_paths(window, noise.normal)
        if not drawn.all():
            around = window["mean"] + (errors - errors.mean(axis=0))[noise.picks]  # [S - R, T, D]
            paths[:, ~drawn] = around.swapaxes(0, 1)
        return self._in_data_units(paths, window)

    def _values(self, past: Any) -> _Array:
        if hasattr(past, "columns"):
            raise InputError("past is a frame; give its values [T, D] as an array, to_numpy()")
        values, dim = numbers(past, "past"), self.facts["dim"]
        rows = values[:, None] if values.ndim == 1 else values
        if rows.ndim != 2 or rows.shape[1] != dim or not len(rows):
            raise InputError(
                f"past has the shape {list(values.shape)}; it must be [T, D] with D = {dim} and T of 1 at "
                "least"
            )
        if (place := first_too_large(rows)) is not None:
            raise InputError(
                f"past has {rows[place]:g} at step {place[0]}; give NaN where missing, or a larger unit"
            )
        return rows

    def _window(self, values: _Array, first: int) -> dict[str, _Array]:
        """What the first graph makes of a past, and location, scale and repeated values of the steps ahead.

        Args:
            values: ``[T, D]``.
            first: Ordinal of their first step.
        """
        facts, steps = self.facts, len(values)
        near = np.arange(steps - facts["context"], steps + facts["horizon"])
        if facts["adaptive"] is None:
            shown = last_rows(values, facts["history"])
            window = {"target": np.nan_to_num(shown), "observed": ~np.isnan(shown)}
        else:
            window = adaptive_window(
                values,
                history=facts["history"],
                horizon=facts["horizon"],
                settings=facts["adaptive"],
            )
        frequency = tuple(facts["frequency"])
        window["features"] = calendar(first, near, frequency, facts["calendar"])
        window = {name: part[None] for name, part in window.items()}
        return window | _outputs(self._past, window)

    def _errors(self, position: int) -> _Array:
        """Past errors of forecasts from a position of the cycle, scaled, float32 ``[M, T, D]``."""
        errors, positions = self._numbers["errors"], self._numbers["positions"]
        same = positions == position
        return (errors[same] if same.sum() >= self.facts["fewest"] else errors).astype(np.float32)

    def _drawn(self, rows: int, num_samples: int, errors: int, seed: int | None) -> Noise:
        """Random numbers of numpy's."""
        rng, facts, others = np.random.default_rng(seed), self.facts, num_samples - rows
        size = (facts["horizon"], facts["draws"], rows, facts["dim"])
        rounds = [rng.permutation(errors) for _ in range(-(-others // max(errors, 1)))]
        picks = np.concatenate([np.zeros(0, np.int64), *rounds])[:others]
        return Noise(rng.standard_normal(size, dtype=np.float32), picks)

    def _check_noise(self, noise: Noise, rows: int, num_samples: int, errors: int) -> None:
        facts, others = self.facts, num_samples - rows
        size = (facts["horizon"], facts["draws"], rows, facts["dim"])
        if noise.normal.shape != size or noise.picks.shape != (others,):
            raise InputError(
                f"noise has the shapes {list(noise.normal.shape)} and {list(noise.picks.shape)}; "
                f"{num_samples} paths take {list(size)} and [{others}]"
            )
        if others and not (0 <= noise.picks.min() and noise.picks.max() < errors):
            raise InputError(f"picks of noise must lie in 0 .. {errors - 1}")

    def _network_paths(self, window: dict[str, _Array], normal: _Array) -> _Array:
        """Scaled paths that the network draws, each fed back its own values, float32 ``[T, R, D]``."""
        rows, names = normal.shape[2], self.facts["state"]
        paths = np.zeros((self.facts["horizon"], rows, self.facts["dim"]), np.float32)
        state = {name: window[name].repeat(rows, axis=1) for name in names}
        nothing = np.zeros_like(paths[0])
        for t in range(len(paths) if rows else 0):
            fed = {"gates": window["gates"][:, t], "noise": normal[t], **state}
            recent = [paths[t - lag] if lag <= t else nothing for lag in self.facts["lags"]]
            if recent:
                fed["recent"] = np.stack(recent)
            if "mean" in window:
                fed |= {"t": np.array([t]), "mean": window["mean"][:, t]}
                fed["error"] = paths[t - 1] - window["mean"][:, t - 1] if t else nothing
            after = _outputs(self._step, fed)
            paths[t] = after["values"]
            state = {name: after[f"{name}_after"] for name in names}
        return paths

    def _in_data_units(self, paths: _Array, window: dict[str, _Array]) -> _Array:
        """Scaled paths ``[T, S, D]`` as values that the series may have, ``[S, T, D]`` after a lead time."""
        own, scale = self._numbers, window["scale"].swapaxes(0, 1)  # [T or 1, 1, D]
        paths = paths * scale + window["location"].swapaxes(0, 1)
        if "start" in window:  # they are changes since a cycle ago
            cycle = window["start"].shape[1]
            for t in range(len(paths)):
                paths[t] += window["start"][:, t] if t < cycle else paths[t - cycle]
        paths = np.where(own["whole"], paths.round(), paths)
        if "repeated" in window:
            same = window["repeated"].swapaxes(0, 1)
            paths = np.where(own["sits"] & ~np.isnan(same), same, paths)
        paths = paths.clip(*own["bounds"])
        if not np.isfinite(paths).all():
            raise InputError("the forecast is not finite; give values in a larger unit")
        return np.ascontiguousarray(paths.swapaxes(0, 1)[:, self.facts["lead_time"] :])


def _onnxruntime() -> Any:
    try:
        return import_module("onnxruntime")
    except ImportError as error:
        raise InputError(
            "exported models are run by onnxruntime, which is not installed; install the extra "
            "'runner', or onnxruntime itself"
        ) from error


def _session(runtime: Any, file: Path, threads: int) -> Any:
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    return runtime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])


def _outputs(session: Any, values: dict[str, _Array]) -> dict[str, _Array]:
    """The outputs of a graph by name, from those of the values that it has as inputs."""
    inputs, outputs = (
        [each.name for each in part()] for part in (session.get_inputs, session.get_outputs)
    )
    fed = {name: values[name.removeprefix(INPUT)] for name in inputs}
    names = (name.removeprefix(OUTPUT) for name in outputs)
    return dict(zip(names, session.run(outputs, fed), strict=True))
