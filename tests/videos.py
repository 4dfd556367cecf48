"""Made videos with truth, and surgery on MP4 files."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

SIZE = (120, 160)
PixelBox = tuple[float, float, float, float]


def ground(seed: int = 0, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Grey texture, RGB."""
    noise = np.random.default_rng(seed).integers(40, 200, (*size, 1), np.uint8).repeat(3, 2)
    return cv2.GaussianBlur(noise, (0, 0), 1.2)


def paint(frame: np.ndarray, x: float, y: float, side: int = 28) -> PixelBox:
    """A red disc with a white cross, its middle at (x, y); its box."""
    c = (round(x), round(y))
    cv2.circle(frame, c, side // 2, (215, 30, 25), -1, cv2.LINE_AA)
    cv2.line(frame, (c[0] - side // 4, c[1]), (c[0] + side // 4, c[1]), (255, 255, 240), 3)
    cv2.line(frame, (c[0], c[1] - side // 4), (c[0], c[1] + side // 4), (255, 255, 240), 3)
    half = side / 2
    return c[0] - half, c[1] - half, c[0] + half, c[1] + half


def moving(count: int = 30, gone: range = range(0)) -> tuple[list[np.ndarray], list[PixelBox | None]]:
    """A disc that circles over still ground, out of the picture in some frames: RGB frames and boxes."""
    frames, boxes = [], []
    still = ground()
    for i in range(count):
        frame = still.copy()
        box = paint(frame, 80 + 40 * np.cos(i / 8), 60 + 28 * np.sin(i / 8)) if i not in gone else None
        frames.append(frame)
        boxes.append(box)
    return frames, boxes


def discs_along(
    *paths: Sequence[tuple[float, float]], size: tuple[int, int] = SIZE, changing: bool = False
) -> tuple[list[np.ndarray], list[list[PixelBox]]]:
    """Discs whose middles follow paths of one length: RGB frames, and the boxes in each, in the order of the paths.

    The ground is still, or another one in each frame.
    """
    frames, boxes = [], []
    for i, places in enumerate(zip(*paths, strict=True)):
        frames.append(ground(i if changing else 0, size))
        boxes.append([paint(frames[-1], x, y) for x, y in places])
    return frames, boxes


def passing(count: int) -> tuple[list[np.ndarray], list[list[PixelBox]]]:
    """Two discs that pass each other: RGB frames, and both boxes in each."""
    return discs_along([(25 + 4 * i, 30) for i in range(count)], [(135 - 4 * i, 90) for i in range(count)])


def write_frames(folder: Path, frames: list[np.ndarray]) -> Path:
    """A folder of PNG frames."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, frame in enumerate(frames):
        done, data = cv2.imencode(".png", frame[..., ::-1])
        assert done
        (folder / f"{i:05d}.png").write_bytes(data.tobytes())
    return folder


def write_video(path: Path, frames: list[np.ndarray], fps: float = 25.0, codec: str = "mp4v") -> Path:
    """A video file."""
    h, w = frames[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), fps, (w, h))
    assert writer.isOpened()
    for frame in frames:
        writer.write(np.ascontiguousarray(frame[..., ::-1]))
    writer.release()
    return path


def boxes_of(data: bytes, start: int, end: int) -> list[tuple[str, int, int]]:
    """(kind, start, end) of the atoms of an MP4 between two offsets."""
    out = []
    while start + 8 <= end:
        size = struct.unpack(">I", data[start : start + 4])[0]
        out.append((data[start + 4 : start + 8].decode("latin1"), start, start + size))
        start += size
    return out


def find(data: bytes, *path: str) -> list[tuple[int, int]]:
    """Offsets of every atom along a path, outermost first."""
    start, end, found = 0, len(data), []
    for kind in path:
        start, end = next((a, b) for k, a, b in boxes_of(data, start, end) if k == kind)
        found.append((start, end))
        start += 8
    return found


def rotated(path: Path) -> None:
    """Say in the metadata that the video is to be turned by 90 degrees clockwise."""
    data = bytearray(path.read_bytes())
    start, _ = find(data, "moov", "trak", "tkhd")[-1]
    version = data[start + 8]
    matrix = start + 8 + (52 if version else 40)
    data[matrix : matrix + 36] = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    path.write_bytes(data)


def uneven(path: Path, first: int, factor: int) -> None:
    """Give all frames after the first ones `factor` times the duration: a variable frame rate."""
    data = bytearray(path.read_bytes())
    atoms = find(data, "moov", "trak", "mdia", "minf", "stbl", "stts")
    start, end = atoms[-1]
    count, delta = struct.unpack(">II", data[start + 16 : start + 24])
    assert atoms[0][0] > data.find(b"mdat")  # nothing that offsets point to moves
    edits = find(data, "moov", "trak", "edts", "elst")[-1][0] + 16
    length = struct.unpack(">I", data[edits : edits + 4])[0]
    data[edits : edits + 4] = struct.pack(">I", length * factor)  # else the edit list cuts the end off
    table = struct.pack(">IIIII", 2, first, delta, count - first, factor * delta)
    data[start + 12 : end] = table
    for begin, _ in atoms:
        size = struct.unpack(">I", data[begin : begin + 4])[0]
        data[begin : begin + 4] = struct.pack(">I", size + 8)
    path.write_bytes(data)
