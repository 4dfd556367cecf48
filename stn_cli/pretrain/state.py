"""Checkpoints of a pretraining: one file, written atomically, read without running code."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch

from stn_cli.errors import CheckpointError
from stn_cli.files import write_bytes
from stn_cli.reading import read_plain
from stn_cli.runs.checkpoint import MOST_BYTES, unpickle

NAME = "pretrain.pt"


def save_pretraining(folder: Path, parts: dict[str, Any], epoch: int, log: list[dict[str, Any]]) -> None:
    """Write where a pretraining stands.

    Args:
        folder: of the encoder.
        parts: by name, anything with `state_dict`.
        epoch: the one to go on with; a step, where a pretraining counts those.
        log: what was logged so far.
    """
    buffer = io.BytesIO()
    torch.save({"epoch": epoch, "log": log} | {name: part.state_dict() for name, part in parts.items()}, buffer)
    write_bytes(folder / NAME, buffer.getvalue())


def load_pretraining(folder: Path, parts: dict[str, Any]) -> tuple[int, list[dict[str, Any]]]:
    """Set every part to the saved state.

    Args:
        folder: of the encoder.
        parts: by name, anything with `load_state_dict`; as they were saved.

    Returns:
        The epoch to go on with and the log so far; 0 and nothing where no state is.

    Raises:
        CheckpointError: the file is damaged, or of other parts.
    """
    path = folder / NAME
    if not path.is_file():
        return 0, []
    try:
        state = unpickle(read_plain(path, MOST_BYTES))
        for name, part in parts.items():
            part.load_state_dict(state[name])
        return int(state["epoch"]), list(state["log"])
    except Exception as error:
        raise CheckpointError(
            "damaged pretraining state", path, type(error).__name__, "Train anew in another folder"
        ) from error
