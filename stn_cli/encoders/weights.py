"""Weights of encoders: read without running code, and checked against the network before they are believed."""

from __future__ import annotations

from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from stn_cli.errors import CheckpointError
from stn_cli.reading import check_plain, read_plain

WRAPPERS = ("teacher", "student", "state_dict", "model")
"""Keys under which published checkpoints hold the weights."""
MOST_WEIGHT_BYTES = 8 << 30
"""Of a file of weights."""
PREFIXES = ("module.", "backbone.")


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a file of weights.

    Args:
        path: a .safetensors or .pth file.

    Returns:
        Tensors by names, without the prefixes that published files put before them.

    Raises:
        CheckpointError: it cannot be read, or holds anything but plain values and tensors.
    """
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load(read_plain(path, MOST_WEIGHT_BYTES))
        check_plain(path, MOST_WEIGHT_BYTES)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        why = error.strerror if isinstance(error, OSError) else type(error).__name__
        raise CheckpointError("cannot read weights", path, why) from error
    for key in WRAPPERS:
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise CheckpointError("cannot read weights", path, "not a state dict")
    for prefix in PREFIXES:
        state = {name.removeprefix(prefix): value for name, value in state.items()}
    return state


def fill(network: nn.Module, state: dict[str, Tensor], name: str, path: Path, unused: tuple[str, ...] = ()) -> None:
    """Load weights into a network.

    Args:
        network: to fill.
        state: what was read.
        name: the network's, for the message.
        path: the file's, for the message.
        unused: beginnings of keys that a published file holds and the network does not need.

    Raises:
        CheckpointError: keys or shapes differ; the differences are listed.
    """
    wanted = network.state_dict()
    found = {k: v for k, v in state.items() if not k.startswith(unused)} if unused else state
    differences = [f"missing {k}" for k in sorted(wanted.keys() - found.keys()) if not k.endswith("num_batches_tracked")]
    differences += [f"unknown {k}" for k in sorted(found.keys() - wanted.keys())]
    for key in sorted(wanted.keys() & found.keys()):
        if wanted[key].shape != found[key].shape:
            differences.append(f"{key} is {tuple(found[key].shape)}, not {tuple(wanted[key].shape)}")
        elif found[key].is_complex() or not bool(found[key].isfinite().all()):
            differences.append(f"{key} is not finite")
    if differences:
        more = f" and {len(differences) - 4} more" if len(differences) > 4 else ""
        raise CheckpointError(f"weights do not fit {name}", path, "; ".join(differences[:4]) + more)
    network.load_state_dict(found, strict=False)
