"""The instance network's weights as a file: half precision, under a SHA-256, with the facts of their training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from stn_cli.encoders.small import MOST_ENCODER_BYTES, quick_halves
from stn_cli.encoders.small_network import fused
from stn_cli.encoders.weights import fill
from stn_cli.errors import CheckpointError
from stn_cli.files import write_bytes
from stn_cli.instances.network import InstanceNetwork
from stn_cli.reading import read_plain
from stn_cli.runs.container import Damaged, pack, unpack

FILE = "instances.safetensors"
ARCHITECTURE = "instances-1"


def write_instances(path: Path, network: InstanceNetwork, facts: dict[str, Any]) -> None:
    """Write weights, with facts about how they came to be.

    Args:
        path: the file.
        network: on any device.
        facts: that JSON can hold.
    """
    state = {name: t.half() for name, t in network.state_dict().items() if not name.endswith("num_batches_tracked")}
    write_bytes(path, pack(state, {"architecture": ARCHITECTURE, **facts}))


def read_instances(path: Path) -> tuple[InstanceNetwork, dict[str, Any]]:
    """The network that `write_instances` wrote, for looking only, and the facts.

    Args:
        path: the file.

    Returns:
        The network, on the CPU, and the facts.

    Raises:
        CheckpointError: missing, damaged, or of another architecture.
    """
    todo = "Make it with python -m stn_cli.pretrain.instances train"
    try:
        tensors, facts = unpack(read_plain(path, MOST_ENCODER_BYTES))
    except OSError as error:
        raise CheckpointError("no instance network", path, error.strerror, todo) from error
    except Damaged as error:
        raise CheckpointError("damaged instance network", path, error, todo) from error
    if facts.get("architecture") != ARCHITECTURE:
        why = f"{facts.get('architecture')}, this version reads {ARCHITECTURE}"
        raise CheckpointError("instance network of another version", path, why, todo)
    network = InstanceNetwork()
    fill(network, {name: t.float() for name, t in tensors.items()}, "instances", path)
    return network.eval().requires_grad_(False), facts


def quick(network: InstanceNetwork, device: torch.device) -> InstanceNetwork:
    """A copy for looking at images on a device: half the time on a CPU.

    Args:
        network: trained.
        device: for the copy.

    Returns:
        The copy.
    """
    dtype = torch.bfloat16 if quick_halves(device) else torch.float32
    return fused(network.to(device), dtype)
