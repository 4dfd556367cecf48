"""The run folder: model.safetensors for use, state.pt for going on, both checked before anything is believed."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stn_cli.coloc.container import Damaged, pack, unpack
from stn_cli.errors import CheckpointError
from stn_cli.files import write_bytes

MODEL = "model.safetensors"
STATE = "state.pt"
FORMAT = 3


def save_model(folder: Path, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
    """Write `model.safetensors`: weights, and what is needed to rebuild the network, under one SHA-256.

    Args:
        folder: the run.
        tensors: weights and buffers by name.
        facts: architecture and provenance; JSON values.
    """
    write_bytes(folder / MODEL, pack(tensors, {"format": FORMAT, **facts}))


def load_model(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read `model.safetensors` back.

    Raises:
        CheckpointError: missing, damaged (checksum), of another format; the message names the last good state if there is one.
    """
    path = folder / MODEL
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointError("no trained model", path, error.strerror, "Train one with stn-coloc train") from error
    try:
        tensors, facts = unpack(data)
    except Damaged as error:
        raise CheckpointError("damaged model", path, error, _way_back(folder)) from error
    if facts.get("format") != FORMAT:
        why = f"format {facts.get('format')}, this version reads {FORMAT}"
        raise CheckpointError("model of another version", path, why, "Train again, or install the version that made it")
    return tensors, facts


def _way_back(folder: Path) -> str:
    try:
        load_state(folder)
    except CheckpointError:
        return "Train again with --overwrite"
    return f"The last good one is {folder / STATE}: stn-coloc train --resume -o {folder} rebuilds the model"


def save_state(folder: Path, state: dict[str, Any]) -> None:
    """Write `state.pt` atomically, with a checksum of its content."""
    inner = io.BytesIO()
    torch.save(state, inner)
    data = inner.getvalue()
    outer = io.BytesIO()
    torch.save(
        {"sha256": hashlib.sha256(data).hexdigest(), "state": torch.frombuffer(bytearray(data), dtype=torch.uint8)}, outer
    )
    write_bytes(folder / STATE, outer.getvalue())


def load_state(folder: Path) -> dict[str, Any]:
    """Read `state.pt` back; no code in it is run.

    Raises:
        CheckpointError: missing, damaged, or holding anything but plain values and tensors.
    """
    path = folder / STATE
    if not path.is_file():
        raise CheckpointError("nothing to resume", folder, f"no {STATE}", "Start without --resume")
    try:
        outer = torch.load(path, map_location="cpu", weights_only=True)
        data = outer["state"].numpy().tobytes()
        if hashlib.sha256(data).hexdigest() != outer["sha256"]:
            raise ValueError("checksum does not match")
        state: dict[str, Any] = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # any damage: the reader's errors are of many kinds
        why = str(error) if isinstance(error, ValueError) else "truncated, or not a training state"
        raise CheckpointError("damaged training state", path, why, _last_good(folder)) from error
    return state


def _last_good(folder: Path) -> str:
    path = folder / MODEL
    if path.is_file():
        return f"The last good file is {path}, ready for stn-coloc localise; train anew with --overwrite"
    return "Train anew with --overwrite"


def check_fit(expected: dict[str, Tensor], found: dict[str, Tensor], path: Path) -> None:
    """See that a model's tensors are those of the network that this version builds.

    Raises:
        CheckpointError: they are not; the differences are listed.
    """
    differences = [f"missing {n}" for n in expected.keys() - found.keys()]
    differences += [f"unknown {n}" for n in found.keys() - expected.keys()]
    for name in expected.keys() & found.keys():
        if expected[name].shape != found[name].shape:
            differences.append(f"{name} is {tuple(found[name].shape)}, not {tuple(expected[name].shape)}")
    if differences:
        listed = "; ".join(sorted(differences)[:8])
        raise CheckpointError("model of another architecture", path, listed, "Train again with this version")
