"""Checkpoints of a pretraining: one file, written atomically, read without running code."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch

from stn_cli.errors import CheckpointError
from stn_cli.files import write_bytes

NAME = "pretrain.pt"


def save_state(folder: Path, parts: dict[str, Any], epoch: int, log: list[dict[str, Any]]) -> None:
    """Write the state of every part (anything with `state_dict`), the next epoch and the log."""
    buffer = io.BytesIO()
    torch.save({"epoch": epoch, "log": log} | {name: part.state_dict() for name, part in parts.items()}, buffer)
    write_bytes(folder / NAME, buffer.getvalue())


def load_state(folder: Path, parts: dict[str, Any]) -> tuple[int, list[dict[str, Any]]]:
    """Set every part to the saved state.

    Returns:
        The epoch to go on with and the log so far; 0 and nothing where no state is.

    Raises:
        CheckpointError: the file is damaged, or of other parts.
    """
    if not (folder / NAME).is_file():
        return 0, []
    state = read_state(folder)
    try:
        for name, part in parts.items():
            part.load_state_dict(state[name])
        return int(state["epoch"]), list(state["log"])
    except Exception as error:
        raise _damaged(folder, error) from error


def read_state(folder: Path) -> dict[str, Any]:
    """What `save_state` wrote.

    Raises:
        CheckpointError: there is none, or it is damaged.
    """
    path = folder / NAME
    if not path.is_file():
        raise CheckpointError("no pretraining state", path)
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise _damaged(folder, error) from error
    return state


def _damaged(folder: Path, error: Exception) -> CheckpointError:
    return CheckpointError("damaged pretraining state", folder / NAME, type(error).__name__, "Train anew in another folder")
