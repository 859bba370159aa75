"""The commit and the machine that a result belongs to."""

import os
import platform
import subprocess
from pathlib import Path
from typing import Any

__all__ = ["commit", "hardware"]


def commit() -> str | None:
    """The commit this code was checked out at, with ``+`` for changes since; None for an installed wheel."""
    home = Path(__file__).resolve().parents[2]
    if not (home / ".git").exists():
        return None
    try:
        head, changed = (
            subprocess.run(
                ["git", "-C", str(home), *arguments], capture_output=True, text=True, check=True
            ).stdout.strip()
            for arguments in (["rev-parse", "HEAD"], ["status", "--porcelain", "--", "timediff"])
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return head + ("+" if changed else "")


def hardware(device: str) -> dict[str, Any]:
    """Device, processor and threads that measured seconds belong to, by name."""
    import torch  # not above: those who only read records need not wait for it

    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if "model name" in line]
    facts = {
        "device": device,
        "cpu": names[0] if names else model,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
    }
    if device.startswith("cuda"):
        facts["gpu"] = torch.cuda.get_device_name(device)
    return facts
