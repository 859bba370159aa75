"""The files that a trained predictor is kept in: two of JSON, and the weights as safetensors.

No file decides what is imported or run: a class that is not ours is shown and refused.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gluonts.model.predictor import Predictor
from safetensors.torch import load_file, save_file

from timediff.config import ModelConfig, SamplingConfig
from timediff.errors import InputError
from timediff.timegrad.batch import Shape
from timediff.timegrad.model import TimeGrad
from timediff.tools.files import whole

if TYPE_CHECKING:
    from timediff.gluon.predictor import TimeGradPredictor

__all__ = ["CLASS", "CLASSES", "FORMAT", "OPTIONS", "load", "save", "unreadable"]

FORMAT = 2
#: What a folder names as its class: a public path, which no move of modules changes.
CLASS = "timediff.TimeGradPredictor"
#: All that it may name: version 0.1.0 wrote the module that the class was in.
CLASSES = (CLASS, "timediff.predictor.TimeGradPredictor")
#: Arguments of the predictor that are kept as they are.
OPTIONS = ("freq", "prediction_length", "lead_time", "batch_size", "memory", "distilled")
_CONFIG, _PREDICTOR, _WEIGHTS = "gluonts-config.json", "predictor.json", "weights.safetensors"


def save(predictor: "TimeGradPredictor", folder: Path) -> None:
    """Writes the three files into a folder, which is made if it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    Predictor.serialize(predictor, folder)
    config = json.loads((folder / _CONFIG).read_text())
    (folder / _CONFIG).write_text(json.dumps(config | {"type": CLASS}))
    model: TimeGrad = predictor.prediction_net
    content = {
        "format": FORMAT,
        "class": CLASS,
        "model": model.config._asdict(),
        "sampling": predictor.sampling._asdict(),
        "shape": model.shape._asdict(),
        **{name: getattr(predictor, name) for name in OPTIONS},
    }
    weights = {name: value.cpu().contiguous() for name, value in model.state_dict().items()}
    with whole(folder / _WEIGHTS) as part:
        save_file(weights, part)
    (folder / _PREDICTOR).write_text(json.dumps(content, indent=1) + "\n")


def load(folder: Path) -> tuple[TimeGrad, dict[str, Any]]:
    """The model of a folder and the predictor's other arguments.

    Raises:
        InputError: A file is missing or damaged, or names a class that is not ours.
    """
    for name in (_CONFIG, _PREDICTOR, _WEIGHTS):
        if not (folder / name).is_file():
            raise InputError(
                f"{folder} holds no {name}; give a folder that a predictor was saved to"
            )
    try:
        config = json.loads((folder / _CONFIG).read_text())
        content = json.loads((folder / _PREDICTOR).read_text())
    except ValueError as error:
        raise InputError(f"the JSON files in {folder} are damaged ({error})") from error
    for name in [*_class_names(config), *_class_names(content)]:
        if name not in CLASSES:
            raise InputError(
                f"{folder} names the class {name!r}, which is not one of timediff's; it was not loaded"
            )
    form = content.get("format") if isinstance(content, dict) else None
    if form != FORMAT:
        raise InputError(f"{folder} has format {form}; this version reads {FORMAT}")
    try:
        model = TimeGrad(ModelConfig(**content["model"]), Shape(**content["shape"]))
        model.load_state_dict(load_file(folder / _WEIGHTS))
        arguments = {name: content[name] for name in OPTIONS if name != "distilled"}
        # Files from before there was distillation lack it.
        arguments["distilled"] = content.get("distilled")
        arguments["sampling"] = SamplingConfig(**content["sampling"])
    except Exception as error:  # a damaged file may fail in any way
        raise unreadable(folder, error) from error
    return model, arguments


def unreadable(folder: Path, error: Exception) -> InputError:
    """The error of files whose content is damaged."""
    return InputError(
        f"the predictor in {folder} cannot be read ({type(error).__name__}); save it again"
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
