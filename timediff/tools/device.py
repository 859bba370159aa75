"""Devices by name."""

import torch

from timediff.errors import InputError


def device_of(name: str) -> str:
    """The device that a name such as ``auto`` means."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda"):
        found = torch.cuda.device_count()
        if int(name.partition(":")[2] or 0) >= found:
            raise InputError(
                f"device {name} is not there ({found} CUDA devices found); use --device cpu"
            )
    return name
