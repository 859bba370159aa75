"""The folder that a forecaster is kept in: two files of its own, and its predictor's.

Everything is JSON or safetensors, and no file decides what is imported or run.
"""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from timediff.config import ModelConfig, SamplingConfig, TrainConfig, flat_sampling
from timediff.data.steps import Clock
from timediff.errors import InputError
from timediff.forecaster.drawing import Fitted
from timediff.forecaster.frames import Columns
from timediff.forecaster.known import Known, Layout
from timediff.gluon.paths import PathPredictor
from timediff.kinds import shortened
from timediff.tools.files import read_json, tidy, whole_folder

__all__ = ["Configs", "load", "save"]

Configs = tuple[ModelConfig, TrainConfig, SamplingConfig]
_FORMAT = 2
_JSON, _DATA, _PREDICTOR = "forecaster.json", "data.safetensors", "predictor"


def save(fitted: Fitted, configs: Configs, folder: Path, *, overwrite: bool) -> None:
    """Writes the folder, whole or not at all.

    Raises:
        InputError: Something is there that may not be replaced, or a series is called by what JSON has not.
    """
    if folder.exists():
        ours = folder.is_dir() and ((folder / _JSON).is_file() or not any(folder.iterdir()))
        if not ours:
            raise InputError(
                f"{folder} is there and no forecaster that was saved; choose another path"
            )
        if not overwrite and any(folder.iterdir()):
            raise InputError(f"{folder} is there already; give overwrite=True, or another path")
    groups = [group for group in fitted.known if group is not None]
    if odd := [name for name in [*fitted.layout.names, *groups] if not _in_json(name)]:
        raise InputError(
            f"a series or group, {odd[0]!r}, is called by a {type(odd[0]).__name__}; only strings and "
            "numbers can be saved"
        )
    model, train, sampling = configs
    content = {
        "format": _FORMAT,
        "layout": fitted.layout._asdict() | {"columns": fitted.layout.columns._asdict()},
        "groups": list(fitted.known),
        "clocks": [known.clock.state() for known in fitted.known.values()],
        "kind": fitted.kind,
        "model": model._asdict(),
        "train": train._asdict(),
        "sampling": sampling.flat(),
    }
    arrays = {}
    for i, known in enumerate(fitted.known.values()):
        arrays[f"{i}/values/"] = known.values
        for field in ("dynamic", "static"):
            for name, array in getattr(known, field).items():
                arrays[f"{i}/{field}/{name}"] = array
    with whole_folder(folder) as part:
        fitted.predictor.serialize(part / _PREDICTOR)
        # safetensors reorders what is not contiguous, in silence.
        save_file(
            {name: np.ascontiguousarray(array) for name, array in arrays.items()}, part / _DATA
        )
        (part / _JSON).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def load(folder: Path) -> tuple[Fitted, Configs]:
    """What `save` wrote.

    Raises:
        InputError: A file is missing or damaged.
    """
    tidy(folder.parent, folder.name)
    for name in (_JSON, _DATA, _PREDICTOR):
        if not (folder / name).exists():
            raise InputError(
                f"{folder} holds no {name}; give a folder that a forecaster was saved to"
            )
    predictor = PathPredictor.deserialize(folder / _PREDICTOR)
    try:
        content = read_json(folder / _JSON)
        form = content["format"]
        if form == _FORMAT:
            fields: dict[str, dict[str, np.ndarray]] = {}
            for name, array in load_file(folder / _DATA).items():
                place, field, own = name.split("/", 2)
                fields.setdefault(f"{place}/{field}", {})[own] = array
            layout = Layout(
                **content["layout"] | {"columns": Columns(**content["layout"]["columns"])}
            )
            known = {
                group: Known(
                    fields[f"{i}/values"][""],
                    Clock.restored(clock),
                    fields.get(f"{i}/dynamic", {}),
                    fields.get(f"{i}/static", {}),
                )
                for i, (group, clock) in enumerate(
                    zip(content["groups"], content["clocks"], strict=True)
                )
            }
            model, train = ModelConfig(**content["model"]), TrainConfig(**content["train"])
            configs = model, train, flat_sampling(content["sampling"])
            return Fitted(predictor, known, layout, content["kind"]), configs
    except Exception as error:  # a damaged file may fail in any way
        raise InputError(
            f"the forecaster in {folder} cannot be read ({type(error).__name__}: "
            f"{shortened(str(error), 200)}); give a folder as it was saved"
        ) from error
    raise InputError(f"{folder} has format {form}; this version reads {_FORMAT}")


def _in_json(name: Any) -> bool:
    return isinstance(name, str | int) or (isinstance(name, float) and math.isfinite(name))
