"""What a saved model says of itself, read without torch."""

from pathlib import Path
from typing import Any, NamedTuple

from timediff.checks import read_fields
from timediff.config import ModelConfig, SamplingConfig, flat_sampling
from timediff.errors import InputError
from timediff.kinds import shortened
from timediff.tools.files import read_json, tidy

__all__ = ["SavedModel", "saved_model"]

_FILES = ("forecaster.json", "data.safetensors", "predictor")


class SavedModel(NamedTuple):
    """What `timediff.forecaster.saved` wrote, as far as a command asks before it loads the model.

    Args:
        model: The network.
        sampling: How it draws paths.
        horizon: Steps of a forecast.
        reading: Fields of `timediff.cli.tables.Reading` that it fixes.
    """

    model: ModelConfig
    sampling: SamplingConfig
    horizon: int
    reading: dict[str, Any]


def saved_model(folder: Path, option: str) -> SavedModel:
    """What the model in a folder says of itself.

    Raises:
        InputError: The folder is not there, or holds no saved model.
    """
    tidy(folder.parent, folder.name)
    if missing := [name for name in _FILES if not (folder / name).exists()]:
        raise InputError(
            f"{option} is {folder}, which holds no {missing[0]}; give a folder that timediff train or "
            "timediff forecast --save wrote"
        )
    try:
        content = read_json(folder / _FILES[0])
        config = read_json(folder / "predictor" / "predictor.json")
        layout = content["layout"]
        columns = layout["columns"]
        reading = {
            "id_col": columns["id"],
            "time_col": columns["time"],
            "target_col": columns["target"],
            "futr": list(layout["futr"]),
            "hist": list(layout["hist"]),
            "freq": layout["freq"],
            "tz": layout["tz"],
        }
        return SavedModel(
            read_fields(ModelConfig(**content["model"])),
            flat_sampling(content["sampling"]),
            int(config["prediction_length"]),
            reading,
        )
    except Exception as error:  # a damaged file may fail in any way
        raise InputError(
            f"the model in {folder} cannot be read ({type(error).__name__}: "
            f"{shortened(str(error), 200)}); give a folder as it was saved"
        ) from error
