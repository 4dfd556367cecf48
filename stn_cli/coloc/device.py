"""Which device to work on."""

from __future__ import annotations

import functools
import os
import re

import torch

from stn_cli.bounds import shown
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
    match = re.fullmatch(r"(cpu|mps|cuda)(?::(\d+))?", name, re.ASCII)
    if match is None or (match[2] and match[1] != "cuda"):
        raise UsageError("unknown --device", shown(name), "known: auto, cpu, cuda, cuda:N, mps")
    there = {
        "cuda": torch.cuda.is_available() and int((match[2] or "0")[:9]) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }[match[1]]
    if not there:
        raise ResourceError(
            "no such device", shown(name), "torch does not see it", "Use --device auto, or run stn-coloc doctor"
        )
    return torch.device(name)


@functools.cache
def survive_forks() -> None:
    """Let a process that is forked from this one compute, with one thread.

    Only the thread that forks lives on in the child, and OpenMP would wait for the others for ever. Safe to call often.
    """
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=functools.partial(torch.set_num_threads, 1))
