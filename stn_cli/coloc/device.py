"""Which device to work on."""

from __future__ import annotations

import torch

from stn_cli.errors import ResourceError, UsageError


def pick_device(name: str) -> torch.device:
    """`auto`, `cpu`, `cuda`, `cuda:N` or `mps` as a device that is there.

    Raises:
        UsageError: not a device's name.
        ResourceError: this machine has no such device.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError("unknown --device", name, "known: auto, cpu, cuda, cuda:N, mps") from None
    missing = {
        "cuda": not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count(),
        "mps": not torch.backends.mps.is_available(),
        "cpu": False,
    }.get(device.type)
    if missing is None:
        raise UsageError("unknown --device", name, "known: auto, cpu, cuda, cuda:N, mps")
    if missing:
        raise ResourceError("no such device", name, "torch does not see it", "Use --device auto, or run stn-coloc doctor")
    return device
