"""The annotated video: boxes, ids, scores and trails."""

from __future__ import annotations

import colorsys
import math
import os
import shutil
import tempfile
from collections import deque
from itertools import pairwise
from pathlib import Path
from types import TracebackType

import cv2

from stn_cli.errors import OutputError
from stn_cli.files import TEMPORARY
from stn_cli.media.decode import Pixels
from stn_cli.records import TrackedFrame

TRAIL = 30
"""Frames of a track whose centres are drawn."""
CODEC = "mp4v"


def track_colour(number: int) -> tuple[int, int, int]:
    """A colour of its own for each track: hues a golden angle apart."""
    r, g, b = colorsys.hsv_to_rgb((0.33 + (number - 1) * 0.381966) % 1, 0.85, 0.95)
    return round(255 * r), round(255 * g), round(255 * b)


class Artist:
    """Draws the tracks of one frame after another."""

    def __init__(self) -> None:
        self._trails: dict[int, deque[tuple[int, int]]] = {}
        self._now: set[int] = set()

    def draw(self, pixels: Pixels, frame: TrackedFrame) -> Pixels:
        """A copy of a frame (H, W, 3) with its objects drawn; interpolated boxes are thin and without a score."""
        out = pixels.copy()
        thick = max(1, round(max(out.shape[:2]) / 400))
        before, self._now = self._now, {found.id for found in frame.objects}
        for back in self._now - before:  # a trail does not lead through where nothing was seen
            self._trails.pop(back, None)
        for found in frame.objects:
            x1, y1, x2, y2 = found.box
            trail = self._trails.setdefault(found.id, deque(maxlen=TRAIL))
            trail.append((round((x1 + x2) / 2), round((y1 + y2) / 2)))
            colour = track_colour(found.id)
            for number, (a, b) in enumerate(pairwise(trail)):
                cv2.line(out, a, b, colour, max(1, math.ceil(thick * (number + 1) / TRAIL)), cv2.LINE_AA)
            corner = round(x1), round(y1)
            cv2.rectangle(out, corner, (round(x2), round(y2)), colour, 1 if found.interpolated else thick, cv2.LINE_AA)
            label = f"{found.id}" if found.interpolated else f"{found.id} {found.score:.2f}"
            size = 0.4 * max(1.0, thick / 1.5)
            (w, h), _ = cv2.getTextSize(label, cv2.FONT_HERSHEY_SIMPLEX, size, 1)
            top = corner[1] - h - 4 if corner[1] > h + 6 else round(y2)
            cv2.rectangle(out, (corner[0], top), (corner[0] + w + 4, top + h + 4), colour, -1)
            cv2.putText(out, label, (corner[0] + 2, top + h + 2), cv2.FONT_HERSHEY_SIMPLEX, size, (0, 0, 0), 1, cv2.LINE_AA)
        return out


class Film:
    """A video file being written.

    OpenCV writes to a private folder under a plain name; the finished file is moved to its place.

    Args:
        path: the target, `.mp4`.
        size: (height, width) of the frames.
        fps: frames per second.

    Raises:
        OutputError: no such video can be written.
    """

    def __init__(self, path: Path, size: tuple[int, int], fps: float) -> None:
        self.path = path
        self._size = size
        self._folder = tempfile.TemporaryDirectory(prefix="stn-film-")
        self._file = Path(self._folder.name) / "video.mp4"
        self._writer = cv2.VideoWriter(str(self._file), cv2.VideoWriter.fourcc(*CODEC), fps, (size[1], size[0]))
        if not self._writer.isOpened():
            self._folder.cleanup()
            raise OutputError("cannot write video", path, f"{CODEC}, {size[1]} x {size[0]}, {fps:g} frames/s")

    def __enter__(self) -> Film:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._writer.release()
        temporary = self.path.parent / (TEMPORARY + self.path.name)
        try:
            if error is None:
                if not self._file.is_file() or self._file.stat().st_size == 0:
                    raise OutputError("cannot write video", self.path, "the encoder gave nothing")
                shutil.copyfile(self._file, temporary)
                os.replace(temporary, self.path)
        except OSError as failure:
            temporary.unlink(missing_ok=True)
            raise OutputError(
                "cannot write", self.path, failure.strerror, "Free some space or choose another --out"
            ) from failure
        finally:
            self._folder.cleanup()

    def add(self, pixels: Pixels) -> None:
        """Write one RGB frame."""
        if pixels.shape[:2] != self._size:
            raise OutputError("cannot write video", self.path, f"a frame of {pixels.shape[1]} x {pixels.shape[0]}")
        self._writer.write(cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
