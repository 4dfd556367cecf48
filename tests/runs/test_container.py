"""The bytes of a model's file."""

from __future__ import annotations

import json
import subprocess
import sys

import safetensors.torch
import torch

from stn_cli.runs.container import KEY, pack, unpack

TENSORS = {"a.w": torch.arange(7.0), "ü": torch.ones(2, 3, dtype=torch.float16), "n": torch.arange(3)}
FACTS = {"kind": "x", "é\n": [1, 2.5]}


def test_the_same_content_is_the_same_bytes_in_every_process() -> None:
    """Safetensors puts its metadata into another order each time: half of these would differ."""
    program = (
        "import hashlib; from tests.runs.test_container import FACTS, TENSORS, pack;"
        "print({hashlib.sha256(pack(TENSORS, FACTS)).hexdigest() for _ in range(8)})"
    )
    said = {subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout for _ in range(2)}
    assert len(said) == 1
    assert said.pop().count("'") == 2


def test_what_is_packed_is_read_by_us_and_by_others() -> None:
    data = pack(TENSORS, FACTS)
    for tensors in (unpack(data)[0], safetensors.torch.load(data)):
        assert {name: (t.dtype, t.tolist()) for name, t in tensors.items()} == {
            name: (t.dtype, t.tolist()) for name, t in TENSORS.items()
        }
    assert unpack(data)[1] == FACTS
    assert int.from_bytes(data[:8], "little") % 8 == 0


def test_files_with_their_metadata_in_the_other_order_are_still_read() -> None:
    """They are what earlier versions wrote."""
    data = pack(TENSORS, FACTS)
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    assert list(header["__metadata__"]) == sorted(("sha256", KEY))
    header["__metadata__"] = dict(reversed(header["__metadata__"].items()))
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode().ljust(size)
    assert unpack(data[:8] + text + data[8 + size :])[1] == FACTS
