"""The tracks of a video drawn over its frames: boxes, ids, scores and trails."""

from __future__ import annotations

import colorsys
import math
from collections import deque
from itertools import pairwise

import cv2

from stn_cli.media.decode import Pixels
from stn_cli.records import TrackedFrame

TRAIL = 30
"""Frames of a track whose centres are drawn."""


def track_colour(number: int) -> tuple[int, int, int]:
    """A colour of its own for each track: hues a golden angle apart.

    Args:
        number: the track's id.

    Returns:
        (red, green, blue), 0 to 255.
    """
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
