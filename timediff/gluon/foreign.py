"""What the files of a saved predictor, perhaps a stranger's, are allowed to say, checked before it is made.

The header of the weights tells the shape of every tensor. A network of which only shapes exist is held
against it first, so that no file has more memory taken than its own size.
"""

import math
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch.overrides import TorchFunctionMode

from timediff.checks import LONGEST, check_lags, check_sampling, read_fields
from timediff.config import ModelConfig, SamplingConfig
from timediff.errors import InputError, check_whole
from timediff.frequency import to_period_freq
from timediff.kinds import shortened
from timediff.options import read_kinds
from timediff.timegrad.batch import Shape
from timediff.timegrad.model import TimeGrad
from timediff.tools import files

__all__ = ["Unallocated", "check_content", "check_sizes", "read_json", "unreadable"]

#: Tensors of which a model keeps as many rows as there were.
_ANY_LENGTH = ("trajectories.errors", "trajectories.positions")
#: Tensors that 0.1.0 did not write.
_LATER = "support."


def unreadable(folder: Path, error: Exception) -> InputError:
    """The error of files whose content is damaged."""
    reason = shortened(str(error), 200)
    return InputError(
        f"the predictor in {folder} cannot be read ({type(error).__name__}: {reason}); give a folder "
        "as it was saved"
    )


def read_json(path: Path) -> Any:
    """The content of a JSON file of bounded size.

    Raises:
        InputError: It is larger, or no JSON.
    """
    try:
        return files.read_json(path)
    except (OSError, ValueError) as error:
        raise InputError(
            f"the JSON file {path} is damaged ({shortened(str(error), 200)}); give a folder as it was saved"
        ) from error


def check_content(
    folder: Path,
    content: dict[str, Any],
    options: ModelConfig,
    shape: Shape,
    sampling: SamplingConfig,
) -> None:
    """Raises `InputError` for a value of predictor.json of the wrong kind, or out of all measure."""
    try:
        for name in ("prediction_length", "batch_size"):
            check_whole(name, content[name])
        check_whole("lead_time", content["lead_time"], least=0)
        if content.get("distilled") is not None:
            check_whole("distilled", content["distilled"])
        memory = content["memory"]
        if isinstance(memory, bool) or not isinstance(memory, int | float) or not 0 < memory < 1e18:
            raise InputError(f"memory is {memory!r}; it must be a number of bytes")
        if not isinstance(content["freq"], str):
            raise InputError(f"freq is {content['freq']!r}; it must be a text such as 'h'")
        to_period_freq(content["freq"])
        if not isinstance(content.get("choices"), dict | None):
            raise InputError("choices are no mapping")
        read_fields(options)
        check_sampling(sampling, options)
        read_kinds(shape)
        for covariate in shape.covariates:
            read_kinds(covariate)
        _check_measures(content, options, shape)
    except InputError as error:
        raise InputError(f"the predictor in {folder} is damaged: {error}") from error


def _check_measures(content: dict[str, Any], options: ModelConfig, shape: Shape) -> None:
    """Raises `InputError` for sizes that no tensor tells."""
    if shape.horizon != content["prediction_length"] + content["lead_time"]:
        raise InputError(
            f"its horizon is {shape.horizon}, but prediction_length and lead_time are "
            f"{content['prediction_length']} and {content['lead_time']}"
        )
    chain = content.get("chain")
    if chain is not None and len(chain["alpha"]) != options.diffusion_steps + 1:
        raise InputError(
            f"diffusion_steps is {options.diffusion_steps}, but its chain has {len(chain['alpha']) - 1}"
        )
    measures = {
        "horizon": shape.horizon,
        "context_length": shape.context_length,
        "difference": shape.difference,
        **{f"cycle {cycle}": cycle for cycle in shape.cycles},
    }
    check_lags(shape.lags)
    for name, value in measures.items():
        if value > LONGEST:
            raise InputError(f"{name} is {value}, and {LONGEST} is the most")
    check_whole("context_length", shape.context_length)
    check_whole("difference", shape.difference, least=0)
    for cycle, half_life in shape.profiles:
        if cycle not in range(1, LONGEST + 1) or not 0 < half_life < math.inf:
            raise InputError(
                f"profiles hold {[cycle, half_life]}; each is a cycle of 1 to {LONGEST} steps and a "
                "half-life above 0"
            )


def check_sizes(path: Path, options: ModelConfig, shape: Shape) -> None:
    """Raises `InputError` unless the tensors of a file are those of a model, by the header alone."""
    with safe_open(path, framework="pt") as file:
        slices = {name: file.get_slice(name) for name in file.keys()}
        found = {name: (tuple(s.get_shape()), s.get_dtype()) for name, s in slices.items()}
    layers = options.denoiser_layers + options.num_layers
    if layers > len(found):
        raise InputError(
            f"{path} holds {len(found)} tensors, too few for {layers} layers (denoiser_layers and "
            "num_layers); give a folder as it was saved"
        )
    dims = found.get("training_level", ((shape.target_dim,), ""))[0]
    if dims != (shape.target_dim,):  # as many as there are, before so many are asked for
        raise InputError(
            f"{path} holds training_level of shape {list(dims)}, but {[shape.target_dim]} follows from the "
            "options beside it; give a folder as it was saved"
        )
    with Unallocated():
        expected = TimeGrad(options, shape).state_dict()
    missing = [n for n in expected if n not in found and not n.startswith(_LATER)]
    strange = [n for n in found if n not in expected]
    if missing or strange:
        raise InputError(
            f"{path} {'lacks' if missing else 'holds'} {[*missing, *strange][0][:80]}, which a model of "
            f"these options {'has' if missing else 'has not'}; give a folder as it was saved"
        )
    for name, (size, dtype) in found.items():
        wanted, first = tuple(expected[name].shape), 0
        if name in _ANY_LENGTH:
            first, rows = 1, found[_ANY_LENGTH[0]][0][0]
            if size[:1] != (rows,):
                raise InputError(
                    f"{path} holds {name} of {size[:1]} rows, and {rows} errors; both are one each"
                )
        if size[first:] != wanted[first:]:
            raise InputError(
                f"{path} holds {name} of shape {list(size)}, but {list(wanted)} follows from the options "
                "beside it; give a folder as it was saved"
            )
        if _kind(dtype) != _kind(str(expected[name].dtype).removeprefix("torch.")):
            raise InputError(
                f"{path} holds {name} as {dtype}, but it is {expected[name].dtype} in a model; give a folder "
                "as it was saved"
            )


class Unallocated(TorchFunctionMode):
    """Has the weights of modules take no memory, and no time to be drawn.

    Not all is on the device "meta": many operators load torch's compiler there, which takes seconds.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        options = kwargs or {}
        if func in (torch.empty, torch.randn):
            return torch.empty(*args, **{**options, "device": "meta"})
        if getattr(func, "__name__", "") in ("normal_", "uniform_"):
            weight = args[0] if args else options["tensor"]
            if weight.is_meta:
                return weight
        return func(*args, **options)


def _kind(dtype: str) -> str:
    """What a data type, as torch or a header calls it, is of: fractions, whole numbers or truth."""
    name = dtype.lower()
    return "float" if name.startswith(("f", "bf")) else "bool" if name == "bool" else "int"
