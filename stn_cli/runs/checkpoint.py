"""model.safetensors for use and state.pt for going on; both are checked before they are believed."""

from __future__ import annotations

import hashlib
import io
import pickletools
import re
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stn_cli.bounds import shown
from stn_cli.errors import CheckpointError
from stn_cli.files import write_bytes
from stn_cli.outputs.manifest import STAGING
from stn_cli.reading import is_plain, read_plain
from stn_cli.runs import older
from stn_cli.runs.container import Damaged, pack, unpack
from stn_cli.runs.folder import MODEL as MODEL

STATE = "state.pt"
FORMAT = 4
"""Number of the form that models and states are written in."""
MOST_BYTES = 8 << 30
"""Of a model or a training state: thrice the largest published network's."""


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

    Args:
        folder: of the run.

    Returns:
        The tensors by name, and the facts.

    Raises:
        CheckpointError: missing, damaged (checksum), of another format; the message names the last good state if there is one.
    """
    path = folder / MODEL
    if not is_plain(path):
        raise _no_model(folder)
    try:
        data = read_plain(path, MOST_BYTES)
    except OSError as error:
        raise CheckpointError(
            "cannot read the model", path, error.strerror, "Look at its permissions, or train again"
        ) from error
    try:
        tensors, facts = unpack(data)
    except Damaged as error:
        raise CheckpointError("damaged model", path, error, _way_back(folder)) from error
    if facts.get("format") == older.FORMAT:
        return older.renewed(tensors, facts)
    if facts.get("format") != FORMAT:
        why = f"format {facts.get('format')}, this version reads {FORMAT}"
        raise CheckpointError("model of another version", path, why, "Train again, or install the version that made it")
    return tensors, facts


def _no_model(folder: Path) -> CheckpointError:
    """What to do where a model is not: go on with a training that was stopped, or begin one."""
    if any(is_plain(place / STATE) for place in (folder, folder / STAGING)):
        return CheckpointError("unfinished run", folder, "no model yet", f"Go on with stn-coloc train --resume -o {folder}")
    why = "a folder is in its place" if (folder / MODEL).is_dir() else "no such file"
    return CheckpointError("no trained model", folder / MODEL, why, "Train one with stn-coloc train")


def _way_back(folder: Path) -> str:
    try:
        load_state(folder)
    except CheckpointError:
        return "Train again with --overwrite"
    return f"The last good one is {folder / STATE}: stn-coloc train --resume -o {folder} rebuilds the model"


def save_state(folder: Path, state: dict[str, Any]) -> None:
    """Write `state.pt` atomically, with a checksum of its content.

    Args:
        folder: of the run.
        state: plain values and tensors.
    """
    inner = io.BytesIO()
    torch.save(state, inner)
    data = inner.getvalue()
    outer = io.BytesIO()
    torch.save(
        {"sha256": hashlib.sha256(data).hexdigest(), "state": torch.frombuffer(bytearray(data), dtype=torch.uint8)}, outer
    )
    write_bytes(folder / STATE, outer.getvalue())


def load_state(folder: Path) -> dict[str, Any]:
    """Read `state.pt` back, in today's words; no code in it is run.

    Args:
        folder: of the run.

    Returns:
        The state.

    Raises:
        CheckpointError: missing, damaged, or holding anything but plain values and tensors.
    """
    path = folder / STATE
    if not is_plain(path):
        raise CheckpointError("nothing to resume", folder, f"no {STATE}", "Start without --resume")
    try:
        data = read_plain(path, MOST_BYTES)
    except OSError as error:
        raise CheckpointError("cannot read the training state", path, error.strerror, _last_good(folder)) from error
    try:
        outer = unpickle(data)
        inner = outer["state"].numpy().tobytes()
        if hashlib.sha256(inner).hexdigest() != outer["sha256"]:
            raise Damaged("checksum does not match")
        state = unpickle(inner)
    except Exception as error:  # any damage: the reader's errors are of many kinds
        why = str(error) if isinstance(error, Damaged) else "truncated, or not a training state"
        raise CheckpointError("damaged training state", path, why, _last_good(folder)) from error
    return older.renewed_state(state)


def unpickle(data: bytes) -> dict[str, Any]:
    """A dictionary of plain values and tensors that `torch.save` wrote, from bytes that may be anybody's: no code is run, and no more
    memory is taken than the bytes have.

    Args:
        data: bytes of a file.

    Returns:
        The dictionary.

    Raises:
        Damaged: something else is in it.
        Exception: of many kinds, where the bytes are damaged.
    """
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise Damaged("packed, as a training state never is")
        names = [entry.filename for entry in archive.infolist() if entry.filename.endswith(".pkl")]
        for name in names:
            _check_pickle(archive.read(name))
    state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    if not isinstance(state, dict):
        raise Damaged("not a training state")
    _check_tensors(state, len(data))
    return state


def _check_pickle(code: bytes) -> None:
    """See that a pickle names nothing but tensors and ordered dictionaries: others that torch allows take memory at will."""
    for operation, argument, _ in pickletools.genops(code):
        if operation.name in ("STACK_GLOBAL", "INST", "EXT1", "EXT2", "EXT4"):
            raise Damaged("not a training state")
        if operation.name == "GLOBAL" and not _GLOBALS.fullmatch(str(argument)):
            raise Damaged(f"holds {argument}")


_GLOBALS = re.compile(r"collections OrderedDict|torch\._utils _rebuild_tensor_v2|torch \w+Storage")


def _check_tensors(state: dict[str, Any], most: int) -> None:
    """See that the tensors of a state are no larger than the bytes they came from."""
    queue: list[Any] = [state]
    seen: set[int] = set()
    while queue:
        value = queue.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, dict):
            queue += value.values()
        elif isinstance(value, list | tuple):
            queue += value
        elif isinstance(value, Tensor) and value.numel() * value.element_size() > min(most, value.untyped_storage().nbytes()):
            raise Damaged("holds a tensor that is larger than its numbers")


def _last_good(folder: Path) -> str:
    path = folder / MODEL
    if path.is_file():
        return f"The last good file is {path}, ready for stn-coloc localise; train anew with --overwrite"
    return "Train anew with --overwrite"


def check_fit(expected: dict[str, Tensor], found: dict[str, Tensor], path: Path) -> None:
    """See that a model's tensors are those of the network that this version builds, and hold numbers.

    Args:
        expected: tensors by name, of the network that was built.
        found: those of the file.
        path: of the file, for the message.

    Raises:
        CheckpointError: they are not; the differences are listed.
    """
    differences = [f"missing {n}" for n in expected.keys() - found.keys()]
    differences += [f"unknown {n}" for n in found.keys() - expected.keys()]
    for name in expected.keys() & found.keys():
        if expected[name].shape != found[name].shape:
            differences.append(f"{name} is {tuple(found[name].shape)}, not {tuple(expected[name].shape)}")
        elif expected[name].is_floating_point() != found[name].is_floating_point() or found[name].is_complex():
            differences.append(f"{name} is of {found[name].dtype}")
        elif found[name].is_floating_point() and not bool(found[name].float().isfinite().all()):
            differences.append(f"{name} is not finite")
    if differences:
        listed = "; ".join(shown(difference) for difference in sorted(differences)[:8])
        raise CheckpointError("model of another architecture", path, listed, "Train again with this version")
