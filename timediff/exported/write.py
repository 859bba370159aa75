"""A trained model as two graphs of ONNX and the numbers around them, for `timediff.exported.runner`."""

import copy
import json
import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from timediff import __version__
from timediff.arguments import checked
from timediff.checks import check_sampling
from timediff.errors import InputError
from timediff.exported.clock import Frequency
from timediff.exported.graphs import PastGraph, StepGraph, noise_draws, reachable_lags
from timediff.exported.runner import FACTS, FORMAT, GRAPHS, INPUT, NUMBERS, OUTPUT
from timediff.frequency import calendar_fields, split_freq, to_period_freq
from timediff.gluon.paths import PathPredictor
from timediff.kinds import shortened, shown
from timediff.timegrad.trajectories import FEWEST
from timediff.tools.files import whole_folder

__all__ = ["OPSET", "check_exportable", "check_folder", "export", "frequency_of"]

#: Version of ONNX's operators, which the oldest onnxruntime of the extra "runner" has.
OPSET = 20
#: What a frequency without an anchor ends with.
_ANCHORS = {"W": "SUN", "Q": "DEC", "Y": "DEC"}


@checked
def export(model: Any, path: str | Path) -> None:
    """Writes a folder with which `timediff.exported.runner.Runner` forecasts without torch.

    It holds the network with the sampler of ``sampling``, the linear forecast and its past errors, and gives
    plain forecasts: what-if forecasts, likelihoods and horizons longer than trained stay with the library. An
    exported model that is there already is replaced.

    Args:
        model: A trained `TimeGradPredictor` or `Forecaster`.
        path: The folder.

    Raises:
        InputError: The model has covariates or samples in a way that is not exported, the folder is there
            and no exported model, or the extra "export" is not installed.
    """
    path = Path(path)
    predictor = model if isinstance(model, PathPredictor) else getattr(model, "predictor", model)
    if not isinstance(predictor, PathPredictor):
        raise InputError(
            f"export was given {shown(model)}; give a trained TimeGradPredictor or Forecaster"
        )
    check_folder(path)
    check_exportable(predictor)
    network = copy.deepcopy(predictor.prediction_net).cpu().eval()
    past = PastGraph(network)
    step = StepGraph(network, predictor.sampling._replace(compile=False), past)
    with whole_folder(path) as folder:
        _write_graph(past, folder / GRAPHS[0], paths={})
        _write_graph(step, folder / GRAPHS[1], paths=step.paths)
        np.savez(folder / NUMBERS, **_numbers(predictor))
        facts = _facts(predictor, past)
        (folder / FACTS).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def check_folder(path: Path) -> None:
    """Raises `InputError` for what is there and no exported model."""
    empty = path.is_dir() and not any(path.iterdir())
    if path.exists() and not empty and not (path / FACTS).is_file():
        raise InputError(f"{path} is there and no exported model; choose another folder")


def check_exportable(predictor: PathPredictor) -> None:
    """Raises `InputError` for a model that cannot be exported as it is."""
    network, sampling = predictor.prediction_net, predictor.sampling
    predictor.check_sound()
    check_sampling(sampling, network.config)
    if network.shape.covariates:
        names = sorted({covariate.field for covariate in network.shape.covariates})
        raise InputError(
            f"the model was trained with covariates ({', '.join(names)}), which exported models do not take; "
            "train one without, or serve it with timediff itself"
        )
    if sampling.noise != "independent":
        raise InputError(
            f"sampling.noise is {sampling.noise!r}, but paths of exported models are independent; set "
            "predictor.sampling to one with noise='independent'"
        )
    if sampling.precision != "float32":
        raise InputError(
            f"sampling.precision is {sampling.precision!r}, but exported models are float32; set "
            "predictor.sampling to one with precision='float32'"
        )
    if missing := [name for name in ("onnx", "onnxscript") if find_spec(name) is None]:
        raise InputError(
            f"{missing[0]} is not installed; install the extra 'export' to export models"
        )


def frequency_of(freq: str) -> Frequency:
    """Multiple, base and anchor of a frequency."""
    multiple, base = split_freq(freq)
    return multiple, base, freq.partition("-")[2] or _ANCHORS.get(base, "")


def _write_graph(module: Any, file: Path, *, paths: dict[str, int]) -> None:
    """One graph, its weights in it.

    Args:
        module: A graph of `timediff.exported.graphs`.
        file: Where to.
        paths: The inputs whose axis of paths may have any length, and which axis that is.
    """
    rows = torch.export.Dim("paths", min=2, max=2**20)
    sizes = {name: {paths[name]: rows} if name in paths else {} for name in module.example}
    try:
        # With gradients, which no weight has: "conv" has a way of its own without, on memory that it reuses.
        with _quiet(), torch.enable_grad():
            # By torch.export itself, as torch.onnx goes on with the example's number of paths if that fails.
            program = torch.export.export(
                module, tuple(module.example.values()), dynamic_shapes=(tuple(sizes.values()),)
            )
            graph: Any = torch.onnx.export(
                program,
                (),
                input_names=[INPUT + name for name in module.example],
                output_names=[OUTPUT + name for name in module.outputs],
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
    except Exception as error:  # the exporter may fail in any way, on a part of a user's own
        reason = shortened(re.sub(r"\x1b\[\d+m", "", str(error)), 300)
        raise InputError(
            f"{file.name} could not be exported ({type(error).__name__}: {reason}); parts of your own must "
            "be such that torch.export can trace them, and onnxscript must be as new as torch"
        ) from error
    _strip(graph.model.graph)
    graph.save(file, external_data=False)


def _strip(graph: Any) -> None:
    """Removes where operators come from: lines of code and paths of this machine, most of a small file."""
    for node in graph.all_nodes():
        for part in (node, *node.outputs):
            part.metadata_props.clear()
            part.doc_string = None


@contextmanager
def _quiet() -> Iterator[None]:
    """No warnings of the exporter, which are about itself and packages that it does not need."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _numbers(predictor: PathPredictor) -> dict[str, Any]:
    """What the runner adds to the graphs: past errors, and the values that series may have."""
    network, support = predictor.prediction_net, predictor.prediction_net.support
    errors = np.zeros((0, network.shape.horizon, network.shape.target_dim), np.float16)
    positions = np.zeros(0, np.int64)
    if network.config.linear:
        errors = network.trajectories.errors.cpu().numpy()
        positions = network.trajectories.positions.cpu().numpy()
    return {
        "errors": errors,
        "positions": positions,
        "bounds": support.bounds.cpu().numpy(),
        "whole": support.whole.cpu().numpy(),
        "sits": support.sits.cpu().numpy(),
    }


def _facts(predictor: PathPredictor, past: PastGraph) -> dict[str, Any]:
    """What the runner reads of the model, plain values."""
    network, shape = predictor.prediction_net, predictor.prediction_net.shape
    freq = to_period_freq(predictor.freq)
    adaptive = {
        name: getattr(shape, name)
        for name in ("cycles", "half_life", "scale_half_life", "profiles")
    }
    return {
        "format": FORMAT,
        "timediff": __version__,
        "torch": torch.__version__,
        "names": predictor.names,
        "freq": freq,
        "prediction_length": predictor.prediction_length,
        "lead_time": predictor.lead_time,
        "dim": shape.target_dim,
        "horizon": shape.horizon,
        "context": shape.context_length,
        "history": shape.history_length,
        "lags": reachable_lags(network),
        "frequency": frequency_of(freq),
        "calendar": calendar_fields(freq),
        "cycle": shape.cycle,
        "adaptive": adaptive if shape.cycles else None,
        "state": past.state,
        "draws": noise_draws(network, predictor.sampling),
        "network_share": network.network_share,
        "fewest": FEWEST,
        "sampling": predictor.sampling.flat(),
    }
