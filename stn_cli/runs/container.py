"""Tensors and the facts about them in one safetensors file under one SHA-256."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import safetensors.torch
from torch import Tensor, uint8

KEY = "stn_coloc"


class Damaged(ValueError):
    """The bytes are no such file, or not as they were written; the text says which."""


def pack(tensors: dict[str, Tensor], facts: dict[str, Any]) -> bytes:
    """Tensors by name and JSON facts as the bytes of a safetensors file.

    Args:
        tensors: by name.
        facts: about them, which JSON can hold.

    Returns:
        The file's bytes.
    """
    ready = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
    text = json.dumps(facts, sort_keys=True)
    return _in_order(safetensors.torch.save(ready, metadata={KEY: text, "sha256": _digest(ready, text)}))


def _in_order(data: bytes) -> bytes:
    """The same file with its metadata sorted: safetensors writes them in another order each time, and equal models are to be equal files."""
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of 8 bytes
    return b"".join((len(text).to_bytes(8, "little"), text, memoryview(data)[8 + size :]))


def unpack(data: bytes) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `pack` wrote.

    Args:
        data: the file's bytes.

    Returns:
        The tensors by name, and the facts.

    Raises:
        Damaged: truncated, of another kind, or the checksum does not match.
    """
    try:
        tensors = safetensors.torch.load(data)
        size = int.from_bytes(data[:8], "little")
        metadata = json.loads(data[8 : 8 + size])["__metadata__"]
        text, digest = metadata[KEY], metadata["sha256"]
        facts = json.loads(text)
    except Exception as error:  # any damage: the reader's errors are of many kinds
        raise Damaged("not a file of stn-coloc, or truncated") from error
    if not isinstance(facts, dict) or not isinstance(text, str):
        raise Damaged("not a file of stn-coloc")
    if _digest(tensors, text) != digest:
        raise Damaged("checksum does not match")
    return tensors, facts


def _digest(tensors: dict[str, Tensor], text: str) -> str:
    total = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        t = tensors[name]
        total.update(f"{name} {t.dtype} {tuple(t.shape)}".encode())
        total.update(t.contiguous().view(-1).view(uint8).numpy().tobytes())
    return total.hexdigest()
