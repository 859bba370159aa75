"""The precision of matrix products."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["matmul_precision", "network_precision"]


@contextmanager
def matmul_precision(precision: str, device: torch.device) -> Iterator[None]:
    """TF32 matrix products on this device while in the context, if that is the precision."""
    before = torch.get_float32_matmul_precision()
    if precision == "tf32" and device.type == "cuda":
        torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@contextmanager
def network_precision(precision: str, device: torch.device) -> Iterator[None]:
    """Matrix products of networks in "float32", "tf32" (a GPU's) or "bf16" while in the context."""
    bf16 = torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")
    with matmul_precision(precision, device), bf16:
        yield
