"""Damage: to bytes, to the values of a JSON document, to the lines of a text."""

from __future__ import annotations

import json
import struct
import sys
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

Random = np.random.Generator

ODD_BYTES = (
    b"\x00",
    b"\xff",
    b"\x7f",
    b"\x80",
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\xff\xff\xff\x7f",
    b"\x00\x00\x00\x00",
)
ODD_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, -(2**63), 10**400, 0.5, -0.0, 1e308, float("nan"), float("inf"), float("-inf"),
    "", "x", "nan", "1e400", "../../x", "/etc/passwd", "C:\\x", "a\nb", "\x00", "\ud800", "\x1b[31m", "x" * 70_000, [], {}, [[]],
    [None], [0, 0, 0, 0], [1e300, 1e300, -1e300, -1e300], ["a", "b", "c", "d"], {"a": 1}, [[[[]]]],
)  # fmt: skip


def pick(rng: Random, options: Any) -> Any:
    """One of a sequence."""
    return options[int(rng.integers(len(options)))]


def place(rng: Random, length: int) -> int:
    """A place in something of a length; half of the time near its beginning, where the headers are."""
    if length <= 0:
        return 0
    return int(rng.integers(min(length, 200) if rng.random() < 0.5 else length))


def damage(rng: Random, data: bytes) -> bytes:
    """One to a few random changes to bytes."""
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 4))):
        pick(rng, _CHANGES)(rng, changed)
    return bytes(changed)


def _set(rng: Random, data: bytearray) -> None:
    if data:
        for _ in range(int(rng.integers(1, 5))):
            data[place(rng, len(data))] = int(rng.integers(256))


def _flip(rng: Random, data: bytearray) -> None:
    if data:
        data[place(rng, len(data))] ^= 1 << int(rng.integers(8))


def _odd(rng: Random, data: bytearray) -> None:
    at, odd = place(rng, len(data)), pick(rng, ODD_BYTES)
    data[at : at + len(odd)] = odd


def _cut(rng: Random, data: bytearray) -> None:
    del data[place(rng, len(data)) :]


def _drop(rng: Random, data: bytearray) -> None:
    at = place(rng, len(data))
    del data[at : at + int(rng.integers(1, 40))]


def _insert(rng: Random, data: bytearray) -> None:
    at = place(rng, len(data))
    data[at:at] = rng.bytes(int(rng.integers(1, 40)))


def _repeat(rng: Random, data: bytearray) -> None:
    at, length = place(rng, len(data)), int(rng.integers(1, 300))
    data[at:at] = data[at : at + length] * int(rng.integers(1, 4))


def _move(rng: Random, data: bytearray) -> None:
    one, other, length = place(rng, len(data)), place(rng, len(data)), int(rng.integers(1, 64))
    data[one : one + length] = data[other : other + length]


def _zero(rng: Random, data: bytearray) -> None:
    at = place(rng, len(data))
    data[at : at + 512] = bytes(len(data[at : at + 512]))


_CHANGES: tuple[Callable[[Random, bytearray], None], ...] = (
    _set,
    _set,
    _flip,
    _odd,
    _cut,
    _drop,
    _insert,
    _repeat,
    _move,
    _zero,
)


def right_checksums(data: bytes) -> bytes:
    """A damaged PNG with the checksum of every chunk put right, so that the damage gets as far as the decoder."""
    out, at = bytearray(data), 8
    while at + 12 <= len(out):
        end = at + 8 + int.from_bytes(out[at : at + 4], "big")
        if end + 4 > len(out):
            break
        out[end : end + 4] = struct.pack(">I", zlib.crc32(out[at + 4 : end]))
        at = end + 4
    return bytes(out)


def damage_value(rng: Random, value: Any) -> Any:
    """A copy of a JSON value with one part of it odd, missing, doubled or nested deep."""
    if isinstance(value, dict) and value and rng.random() < 0.85:
        key = pick(rng, list(value))
        out = dict(value)
        action = rng.random()
        if action < 0.15:
            del out[key]
        elif action < 0.25:
            out[str(pick(rng, ("", "x", "../x", "\x00", "annotations", "frames", "images")))] = out.pop(key)
        else:
            out[key] = damage_value(rng, value[key])
        return out
    if isinstance(value, list) and value and rng.random() < 0.85:
        at = int(rng.integers(len(value)))
        action = rng.random()
        if action < 0.1:
            return value[:at] + value[at + 1 :]
        if action < 0.2:
            return [*value[:at], value[at], *value[at:]]
        return [*value[:at], damage_value(rng, value[at]), *value[at + 1 :]]
    if isinstance(value, int | float) and not isinstance(value, bool) and rng.random() < 0.3:
        factor = pick(rng, (-1, 0, 1e6, 1e-6, 1e300))
        return value if abs(value) > sys.float_info.max else value * factor  # a whole number can be beyond all floats
    return pick(rng, ODD_VALUES)


def damage_json(rng: Random, value: Any) -> bytes:
    """A JSON document with odd values, and sometimes odd text around them."""
    action = rng.random()
    if action < 0.03:
        depth = int(rng.integers(500, 200_000))
        return b"[" * depth + b"]" * depth
    for _ in range(int(rng.integers(1, 4))):
        value = damage_value(rng, value)
    text = json.dumps(value, ensure_ascii=bool(rng.random() < 0.5))
    if action < 0.08:
        text = text.replace(": ", pick(rng, (': 1e400, "a": ', ": -", ": 0x", ': NaN, "b": ', " ")), 1)
    return in_other_encoding(rng, text)


def damage_lines(rng: Random, text: str) -> bytes:
    """A text with lines doubled, cut, swapped or odd."""
    lines = text.splitlines()
    for _ in range(int(rng.integers(1, 4))):
        at = int(rng.integers(len(lines))) if lines else 0
        odd = pick(rng, ODD_VALUES)
        wrong = odd if isinstance(odd, str) else json.dumps(odd)
        action = int(rng.integers(6))
        if action == 0:
            lines.insert(at, wrong)
        elif not lines:
            continue
        elif action == 1:
            del lines[at]
        elif action == 2:
            lines[at] = wrong
        elif action == 3:
            lines[at] = lines[at][: int(rng.integers(len(lines[at]) + 1))]
        elif action == 4:
            words = lines[at].replace("=", " = ").split(" ")
            words[int(rng.integers(len(words)))] = wrong
            lines[at] = " ".join(words)
        else:
            parts = lines[at].split(",")
            parts[int(rng.integers(len(parts)))] = wrong
            lines[at] = ",".join(parts)
    return in_other_encoding(rng, "\n".join(lines) + "\n")


def in_other_encoding(rng: Random, text: str) -> bytes:
    """A text as bytes: mostly plain UTF-8, sometimes as editors on other systems write it."""
    action = rng.random()
    encoding = "utf-16" if action < 0.03 else "utf-8-sig" if action < 0.06 else "utf-16-le" if action < 0.08 else "utf-8"
    if 0.08 <= action < 0.12:
        text = text.replace("\n", "\r\n")
    return text.encode(encoding, "surrogatepass")
