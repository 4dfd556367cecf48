"""Which device to work on, and what some devices cannot do."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable

import torch
from torch import Tensor

from stn_cli.bounds import shown
from stn_cli.errors import ResourceError, UsageError
from stn_cli.runtime.room import check_room

WITHOUT_DOUBLE = ("mps",)
"""Devices that have no float64: asked for one they raise a TypeError."""


def pick_device(name: str) -> torch.device:
    """`auto`, `cpu`, `cuda`, `cuda:N` or `mps` as a device that is there.

    `auto` is CUDA or the CPU. Apple's GPU is used where it is asked for: nobody has run the tests' trainings on one yet.

    Args:
        name: as `--device` has it.

    Returns:
        The device.

    Raises:
        UsageError: not a device's name.
        ResourceError: this machine has no such device, or a limit on memory leaves none to work in.
    """
    check_room()
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
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


def in_double(function: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    """Call a function with tensors in float64, those of whole numbers as they are; on the CPU where the device has no float64.

    Args:
        function: from tensors to one tensor.
        tensors: what it is called with.

    Returns:
        What it gives, as the first tensor is: on its device, in its precision.
    """
    first = tensors[0]
    at = torch.device("cpu") if first.device.type in WITHOUT_DOUBLE else first.device
    moved = (t.to(at) for t in tensors)
    return function(*(t.double() if t.is_floating_point() else t for t in moved)).to(first.device, first.dtype)
