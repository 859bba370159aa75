"""The files that a trained predictor is kept in: two of JSON, and the weights as safetensors.

No file decides what is imported or run: a class that is not ours is shown and refused.
"""

import json
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from gluonts.model.predictor import Predictor
from safetensors.torch import load_file, save_file

from timediff.checks import read_fields
from timediff.config import ModelConfig, SamplingConfig, flat_sampling
from timediff.diffusion.schedule import make_schedule
from timediff.errors import InputError
from timediff.gluon.foreign import check_content, check_sizes, read_json, unreadable
from timediff.kinds import MisfitError, plain, shown, words
from timediff.options import fields_of
from timediff.registry import TABLES
from timediff.timegrad.batch import Covariate, Shape
from timediff.timegrad.model import TimeGrad
from timediff.timegrad.soundness import first_fault
from timediff.tools.files import whole, write_text

if TYPE_CHECKING:
    from timediff.gluon.paths import PathPredictor

__all__ = [
    "CLASS",
    "CLASSES",
    "FORMAT",
    "OPTIONS",
    "SavedPart",
    "chain_of",
    "check_chain",
    "check_parts",
    "load",
    "parts_of",
    "save",
]

#: Format 3 names the versions of parts; format 2, of 0.1.0, is read too.
FORMAT = 3


#: What a folder names as its class: a public path, which no move of modules changes.
CLASS = "timediff.TimeGradPredictor"
#: All that it may name: version 0.1.0 wrote the module that the class was in.
CLASSES = (CLASS, "timediff.predictor.TimeGradPredictor")
#: Arguments of the predictor that are kept as they are.
OPTIONS = (
    *("freq", "prediction_length", "lead_time", "batch_size", "memory", "distilled"),
    *("choices", "names"),
)
#: Those that older files lack.
_LATER = ("distilled", "choices", "names")
_CONFIG, _PREDICTOR = "gluonts-config.json", "predictor.json"
#: The options name one of them, so that to save anew is one move of a file.
_WEIGHTS = ("weights.safetensors", "weights-2.safetensors")


def save(predictor: "PathPredictor", folder: Path) -> None:
    """Writes the three files into a folder, which is made if it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="timediff-") as place:
        Predictor.serialize(predictor, Path(place))
        config = json.loads((Path(place) / _CONFIG).read_text())
    model: TimeGrad = predictor.prediction_net
    content = {
        "format": FORMAT,
        "class": CLASS,
        "weights": _WEIGHTS[0],
        "model": model.config._asdict(),
        "sampling": read_fields(predictor.sampling).flat(),
        "shape": model.shape.plain(),
        **{name: getattr(predictor, name) for name in OPTIONS},
        "parts": [part._asdict() for part in parts_of(model.config, predictor.sampling)],
        "chain": chain_of(model.config),
    }
    weights = {name: value.cpu().contiguous() for name, value in model.state_dict().items()}
    before = _WEIGHTS[0]
    with suppress(InputError):  # none was there, or what was is damaged
        before = _named_weights(folder)
        content["weights"] = _WEIGHTS[1 - _WEIGHTS.index(before)]
    with whole(folder / content["weights"]) as numbers:
        save_file(weights, numbers)
    write_text(folder / _CONFIG, json.dumps(config | {"type": CLASS}))
    write_text(folder / _PREDICTOR, json.dumps(content, indent=1) + "\n")
    if before != content["weights"]:
        (folder / before).unlink(missing_ok=True)


def _check_there(file: Path) -> None:
    if not file.is_file():
        raise InputError(
            f"{file.parent} holds no {file.name}; give a folder that a predictor was saved to"
        )


def _named_weights(folder: Path) -> str:
    """The name of the file of the weights, which older folders do not tell.

    Raises:
        InputError: The options are not there or damaged, or name another file.
    """
    content = read_json(folder / _PREDICTOR)
    name = content.get("weights", _WEIGHTS[0]) if isinstance(content, dict) else _WEIGHTS[0]
    if name not in _WEIGHTS:
        raise InputError(
            f"{folder / _PREDICTOR} names weights {name!r:.99}; give a folder as it was saved"
        )
    return str(name)


def load(folder: Path) -> tuple[TimeGrad, dict[str, Any]]:
    """The model of a folder and the predictor's other arguments.

    Raises:
        InputError: A file is missing or damaged, or names a class that is not ours.
    """
    for name in (_CONFIG, _PREDICTOR):
        _check_there(folder / name)
    numbers = folder / _named_weights(folder)
    _check_there(numbers)
    config, content = read_json(folder / _CONFIG), read_json(folder / _PREDICTOR)
    for name in [*_class_names(config), *_class_names(content)]:
        if name not in CLASSES:
            raise InputError(
                f"{folder} names the class {name!r}, which is not one of timediff's; it was not loaded"
            )
    form = content.get("format") if isinstance(content, dict) else None
    if form not in (2, FORMAT):
        raise InputError(f"{folder} has format {form}; this version reads 2 and {FORMAT}")
    check_parts(folder, content)
    try:
        shape = Shape(**content["shape"])
        shape = shape._replace(covariates=[Covariate(**one) for one in shape.covariates])  # type: ignore[arg-type]
        try:
            options = ModelConfig(**content["model"])
        except InputError as error:
            raise InputError(f"the predictor in {folder} is damaged: {error}") from error
        arguments = {name: content[name] for name in OPTIONS if name not in _LATER}
        arguments |= {name: content.get(name) for name in _LATER}
        # Whether to compile is up to those who forecast, whoever trained the model.
        sampling = flat_sampling(content["sampling"])._replace(compile=False)
        check_content(folder, content, options, shape, sampling)
        check_chain(folder, content, options)
        check_sizes(numbers, options, shape)
        model = TimeGrad(options, shape)
        weights = load_file(numbers)
        # 0.1.0 knew no support.
        weights = {**model.support.state_dict(prefix="support."), **weights}
        model.load_state_dict(weights)
        fault = first_fault(model)
        arguments["sampling"] = sampling
    except InputError:
        raise
    except Exception as error:  # a damaged file may fail in any way
        raise unreadable(folder, error) from error
    if fault is not None:
        raise InputError(
            f"the predictor in {folder} is damaged: its {fault}; give a folder as it was saved, or train anew"
        )
    return model, arguments


class SavedPart(NamedTuple):
    """A part that a predictor needs, as its folder names it.

    Args:
        kind: Kind of part.
        name: Its name.
        version: Its version.
        module: Where it is registered, to be shown and never imported; None for the library's own.
    """

    kind: str
    name: str
    version: int
    module: str | None


def parts_of(model: ModelConfig, sampling: SamplingConfig) -> list[SavedPart]:
    """All parts that configurations name."""
    saved = []
    for config in (model, sampling):
        for field in fields_of(type(config)).values():
            if field.kind is not None:
                name = getattr(config, field.name)
                part = TABLES[field.kind].parts[name]
                module = None if part.built_in else part.module
                saved.append(SavedPart(field.kind, name, part.version, module))
    return saved


def chain_of(config: ModelConfig) -> dict[str, list[float]]:
    """The numbers of the chain that training began with, ``[N + 1]`` each."""
    schedule = make_schedule(
        config.schedule,
        num_steps=config.diffusion_steps,
        beta_start=config.beta_start,
        beta_end=config.beta_end,
    )
    return {name: schedule.floats[name] for name in ("alpha", "sigma")}


def check_parts(folder: Path, content: dict[str, Any]) -> None:
    """Raises `InputError` unless every part that a folder needs is registered here, and the same."""
    try:
        needed = [SavedPart(**part) for part in content.get("parts", [])]
    except TypeError as error:
        raise unreadable(folder, error) from error
    for part in needed:
        for name, kind in SavedPart.__annotations__.items():
            try:
                plain(getattr(part, name), kind)
            except MisfitError:
                given = shown(getattr(part, name))
                raise InputError(
                    f"{folder} names a part whose {name} is {given}; it must be {words(kind)}"
                ) from None
        what = f"{folder} needs the {part.kind} {part.name!r}, version {part.version}"
        if part.kind not in TABLES or part.name not in TABLES[part.kind]:
            raise InputError(
                f"{what}, which is not registered; import the module that registers it first (it was "
                f"{part.module}), or give it as --plugin"
            )
        here = TABLES[part.kind].parts[part.name]
        if here.version != part.version:
            raise InputError(
                f"{what}, but version {here.version} is registered here, by {here.module}; register the one "
                "it was trained with"
            )


def check_chain(folder: Path, content: dict[str, Any], config: ModelConfig) -> None:
    """Raises `InputError` unless the schedule registered here has the numbers of the one in a folder."""
    if "chain" not in content:
        return
    then, now = (
        np.array([chain["alpha"], chain["sigma"]]) for chain in (content["chain"], chain_of(config))
    )
    if then.shape != now.shape or not np.allclose(then, now, rtol=1e-6, atol=1e-9):
        module = TABLES["schedule"].parts[config.schedule].module
        raise InputError(
            f"{folder} was trained with other numbers of the schedule {config.schedule!r} than the one that "
            f"{module} registers now; register the one it was trained with"
        )


def _class_names(value: Any) -> Iterator[str]:
    """Names that a decoder of this JSON might take for those of classes."""
    if isinstance(value, dict):
        for key in ("class", "type", "__kind__"):
            if isinstance(value.get(key), str):
                yield value[key]
        for inner in value.values():
            yield from _class_names(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _class_names(inner)
