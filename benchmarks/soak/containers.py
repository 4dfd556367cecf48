"""Models and training states with odd content under a checksum that is right: what a stranger can hand over."""

from __future__ import annotations

import hashlib
import io
from typing import Any

import torch
from torch import Tensor

from benchmarks.soak.mutate import ODD_VALUES, Random, damage_value, pick
from stn_cli.runs.container import pack, unpack


def damaged_model(rng: Random, data: bytes) -> bytes:
    """A model (or an encoder) with odd facts or tensors."""
    tensors, facts = unpack(data)
    if rng.random() < 0.5:
        changed = damage_value(rng, facts)
        facts = changed if isinstance(changed, dict) else {"format": facts.get("format"), "odd": changed}
    else:
        key = pick(rng, sorted(tensors))
        _replace(rng, tensors, key)
    return pack(tensors, _plain(facts))


def damaged_state(rng: Random, data: bytes) -> bytes:
    """A training state with one value of it odd."""
    outer = torch.load(io.BytesIO(data), weights_only=True)
    state = torch.load(io.BytesIO(outer["state"].numpy().tobytes()), weights_only=True)
    state = _damaged(rng, state, 0)
    inner = io.BytesIO()
    torch.save(state, inner)
    content = inner.getvalue()
    out = io.BytesIO()
    whole = {
        "sha256": hashlib.sha256(content).hexdigest(),
        "state": torch.frombuffer(bytearray(content), dtype=torch.uint8),
    }
    torch.save(whole, out)
    return out.getvalue()


def _damaged(rng: Random, value: Any, depth: int) -> Any:
    """A copy of nested dictionaries, lists and tensors with one place of it odd."""
    if isinstance(value, dict) and value and rng.random() < 0.97:
        out, key = dict(value), pick(rng, list(value))
        if depth and rng.random() < 0.15:
            del out[key]
        else:
            out[key] = _damaged(rng, value[key], depth + 1)
        return out
    if isinstance(value, list | tuple) and value and rng.random() < 0.9:
        out_list, at = list(value), int(rng.integers(len(value)))
        out_list[at] = _damaged(rng, value[at], depth + 1)
        return type(value)(out_list)
    if isinstance(value, Tensor):
        held = {"it": value}
        _replace(rng, held, "it")
        return held.get("it")
    return _plain(pick(rng, ODD_VALUES))


def _replace(rng: Random, tensors: dict[str, Tensor], key: str) -> None:
    """Make one tensor odd: missing, of another shape or type, not finite, huge, or random."""
    t = tensors[key]
    action = int(rng.integers(8))
    if action == 0:
        del tensors[key]
    elif action == 1:
        tensors[key] = t.reshape(-1)[: max(0, t.numel() - 1)].clone()
    elif action == 2:
        tensors[key] = torch.zeros((0,), dtype=t.dtype)
    elif action == 3:
        tensors[key] = t.to(pick(rng, (torch.int64, torch.float64, torch.float16, torch.bool)))
    elif action == 4 and t.is_floating_point():
        tensors[key] = torch.full(t.shape, pick(rng, (float("nan"), float("inf"), -float("inf"), 1e30, 0.0))).to(t.dtype)
    elif action == 5 and t.is_floating_point():
        tensors[key] = t + torch.randn(t.shape, generator=torch.Generator().manual_seed(int(rng.integers(2**31)))).to(t.dtype)
    elif action == 6:
        tensors[f"odd.{key}"] = t.clone()
    else:
        tensors[key] = -t if t.is_floating_point() else t + 1 if t.dtype != torch.bool else ~t


def _plain(value: Any) -> Any:
    """What both containers can hold: no integer beyond 64 bits, no text that is not UTF-8."""
    if isinstance(value, dict):
        return {_plain(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_plain(v) for v in value]
    if isinstance(value, int) and not isinstance(value, bool):
        return value if abs(value) < 2**63 else float("inf")
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    return value
