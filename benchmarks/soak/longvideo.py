"""An hour of video out of three seconds: an MP4 whose index names the same frames again and again.

A track in an MP4 is a table of where each frame lies in the file. Some seconds are encoded once, and the table is written as if they came
many times: the file stays small, and whoever reads it decodes every frame.
"""

from __future__ import annotations

import struct
from pathlib import Path

import cv2

FPS = 25.0
CONTAINERS = (b"moov", b"trak", b"mdia", b"minf", b"stbl")


def enlarge(clip: Path, target: Path, size: tuple[int, int]) -> int:
    """A clip at a size (height, width); its number of frames."""
    reader = cv2.VideoCapture(str(clip))
    writer = cv2.VideoWriter(str(target), cv2.VideoWriter.fourcc(*"mp4v"), FPS, size[::-1])
    count = 0
    while True:
        done, frame = reader.read()
        if not done:
            break
        writer.write(cv2.resize(frame, size[::-1], interpolation=cv2.INTER_CUBIC))
        count += 1
    writer.release()
    return count


def repeat(source: Path, target: Path, times: int) -> None:
    """Write an MP4 of one video track whose frames are those of `source`, so many times.

    Raises:
        ValueError: the source is of a layout that OpenCV's writer does not make.
    """
    data = source.read_bytes()
    boxes = dict(_boxes(data, 0, len(data)))
    if b"moov" not in boxes or b"mdat" not in boxes or boxes[b"mdat"][0] > boxes[b"moov"][0]:
        raise ValueError("not an MP4 with its index at the end")
    begin, end = boxes[b"moov"]
    target.write_bytes(data[: begin - 8] + _box(b"moov", _repeated(data, begin, end, times)))


def _boxes(data: bytes, at: int, end: int) -> list[tuple[bytes, tuple[int, int]]]:
    """The boxes of a stretch: name, and where the content begins and ends."""
    out = []
    while at + 8 <= end:
        length, name = struct.unpack(">I4s", data[at : at + 8])
        if length < 8:
            raise ValueError("a box of a kind that OpenCV's writer does not make")
        out.append((name, (at + 8, at + length)))
        at += length
    return out


def _box(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), name) + content


def _repeated(data: bytes, begin: int, end: int, times: int) -> bytes:
    """A container's boxes with the tables of frames and the durations made longer."""
    out = b""
    for name, (start, stop) in _boxes(data, begin, end):
        content = data[start:stop]
        if name in CONTAINERS:
            content = _repeated(data, start, stop, times)
        elif name in _TABLES:
            content = _TABLES[name](content, times, data, (begin, end))
        elif name in (b"edts", b"udta"):
            continue
        out += _box(name, content)
    return out


def _duration(at: int, content: bytes, times: int) -> bytes:
    (value,) = struct.unpack(">I", content[at : at + 4])
    return content[:at] + struct.pack(">I", value * times) + content[at + 4 :]


def _rows(content: bytes, times: int) -> bytes:
    """Every row of a table that counts in runs, again and again."""
    (count,) = struct.unpack(">I", content[4:8])
    return content[:4] + struct.pack(">I", count * times) + content[8:] * times


def _sizes(content: bytes, times: int) -> bytes:
    (count,) = struct.unpack(">I", content[8:12])
    return content[:8] + struct.pack(">I", count * times) + content[12:] * times


def _keys(content: bytes, times: int, data: bytes, around: tuple[int, int]) -> bytes:
    """Numbers of the frames that can be decoded alone, shifted by the length of the loop each time."""
    (count,) = struct.unpack(">I", content[4:8])
    keys = struct.unpack(f">{count}I", content[8 : 8 + 4 * count])
    frames = _count(data, around, b"stsz", 8)
    shifted = [key + n * frames for n in range(times) for key in keys]
    return content[:4] + struct.pack(f">I{len(shifted)}I", len(shifted), *shifted)


def _chunks(content: bytes, times: int, data: bytes, around: tuple[int, int]) -> bytes:
    """Frames for each chunk: the runs again, beginning at later chunks."""
    (count,) = struct.unpack(">I", content[4:8])
    rows = [struct.unpack(">III", content[8 + 12 * i : 20 + 12 * i]) for i in range(count)]
    chunks = _count(data, around, b"stco", 4)
    shifted = [(first + n * chunks, each, kind) for n in range(times) for first, each, kind in rows]
    return content[:4] + struct.pack(">I", len(shifted)) + b"".join(struct.pack(">III", *row) for row in shifted)


def _count(data: bytes, around: tuple[int, int], name: bytes, at: int) -> int:
    start, _ = dict(_boxes(data, *around))[name]
    return int(struct.unpack(">I", data[start + at : start + at + 4])[0])


_TABLES = {
    b"mvhd": lambda content, times, *_: _duration(16, content, times),
    b"tkhd": lambda content, times, *_: _duration(20, content, times),
    b"mdhd": lambda content, times, *_: _duration(16, content, times),
    b"stts": lambda content, times, *_: _rows(content, times),
    b"stco": lambda content, times, *_: _rows(content, times),
    b"stsz": lambda content, times, *_: _sizes(content, times),
    b"stss": _keys,
    b"stsc": _chunks,
}
"""What is done with the boxes that know of frames; all of them as OpenCV writes them, of version 0."""
