"""How long a training takes and how much memory, before anything is imported that could tell.

The numbers are rough: seconds of an optimiser step on two cores of the machine that made the records in
``evaluation/results``, which lie within a factor of two of these.
"""

import os
import re
from typing import NamedTuple

from timediff.config import Preset
from timediff.errors import InputError

__all__ = ["Cost", "bytes_of", "check_memory", "estimate", "memory_of_machine"]

#: Seconds of imports and files, of the linear forecaster, and bytes of all that is loaded.
_START, _CENTRE, _LOADED = 8.0, 4.0, 0.65e9
#: Seconds of a step of one window: of the "mlp" of the default, of other networks, and for each series.
_MLP, _OTHER, _SERIES = 26e-6, 80e-6, 0.5e-6
#: Bytes for each value of the table: units, profiles, windows of the linear forecaster.
_VALUE = 1600.0


class Cost(NamedTuple):
    """What a training takes.

    Args:
        seconds: Of all, the forecast included.
        memory: Bytes at most.
    """

    seconds: float
    memory: float

    def __str__(self) -> str:
        minutes = self.seconds / 60
        time = f"{minutes:.1f}" if minutes < 10 else f"{minutes:,.0f}"
        return f"about {time} minutes and {self.memory / 1e9:.1f} GB of memory"


def estimate(configs: Preset, *, series: int, steps: int, horizon: int) -> Cost:
    """The cost of training on a table and forecasting what follows."""
    model, train = configs.model, configs.train
    windows = train.batch_size * ((model.context_length or horizon) + horizon)
    network = _OTHER
    if model.denoiser == "mlp":
        size = model.denoiser_layers * model.denoiser_width**2 / (3 * 128**2)
        network = _MLP * (0.5 + 0.5 * size)
    length = train.time_budget
    if length is None:
        length = train.steps * windows * (network + _SERIES * series)
    memory = _LOADED + _VALUE * series * steps + 60.0 * windows * series
    return Cost(_START + _CENTRE + length, memory)


def bytes_of(text: object) -> float:
    """A size such as 2GB, 500MB or 1.5G."""
    match = re.fullmatch(r"(\d+|\d*\.\d+)\s*([KMGT]?)B?", str(text).strip(), flags=re.IGNORECASE)
    if match is None:
        raise ValueError(f"{text!r} is no size; give 2GB or 500MB, say")
    return float(match[1]) * 1000 ** " KMGT".index(match[2].upper() or " ")


def memory_of_machine() -> float | None:
    """Bytes of memory that this machine has; None where it does not tell."""
    try:
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, ValueError, OSError):
        return None


def check_memory(cost: Cost, most: float | None) -> None:
    """Raises `InputError` if more memory would be needed than there may be, or is unless that is told."""
    asked, most = most is not None, memory_of_machine() if most is None else most
    if most is not None and cost.memory > most:
        raise InputError(
            f"about {cost.memory / 1e9:.2g} GB of memory would be needed, and "
            f"{'--max-memory is' if asked else 'this machine has'} {most / 1e9:.2g} GB; give a table of "
            f"fewer series or rows, or {'more' if asked else 'say by --max-memory how much to go on with'}"
        )
