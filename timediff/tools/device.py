"""Devices by name."""

import re

from timediff.errors import InputError

__all__ = ["check_device", "device_of"]


def check_device(name: str) -> None:
    """Raises `InputError` unless this may be the name of a device."""
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", name):
        raise InputError(f"device {name!r} is not known; choose auto, cpu, cuda or cuda:N")


def device_of(name: str) -> str:
    """The device that a name such as ``auto`` means.

    Raises:
        InputError: It is not there.
    """
    import torch  # not above: those who only check names need not wait for it

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    count = torch.cuda.device_count()
    if name.startswith("cuda") and int(name.partition(":")[2] or 0) >= count:
        raise InputError(f"device {name} is not there ({count} CUDA devices found); choose cpu")
    return name
