"""A glimpse: where an object went since the last look, by the correlation of its pixels, where that leaves no doubt.

It costs a tenth of a look. An object that moves without turning looks the same in the next frames; one that does not is looked at in full.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from stn_cli.media.decode import Pixels
from stn_cli.tracking.settings import GLIMPSE, VIEW
from stn_cli.tracking.view import resized_part


class Glimpse:
    """What an object looked like when it was last looked at.

    Args:
        frame: (H, W, 3) uint8 RGB.
        box: (x1, y1, x2, y2) of the object in it, pixels.
        side: of the window that it was looked at in, pixels.
    """

    def __init__(self, frame: Pixels, box: Sequence[float], side: int) -> None:
        scale = VIEW.side / side
        edge = (1 - GLIMPSE.inner) / 2
        left, top, right, bottom = (
            min(length, max(0.0, (1 - edge) * near + edge * far))
            for near, far, length in zip(box, (*box[2:], *box[:2]), (*frame.shape[1::-1], *frame.shape[1::-1]), strict=True)
        )
        w, h = round((right - left) * scale), round((bottom - top) * scale)
        # always a part of one size around it: whole pixels, resized by one scale
        self._size = w + 2 * GLIMPSE.reach, h + 2 * GLIMPSE.reach
        self._sides = round(self._size[0] / scale), round(self._size[1] / scale)
        self._step = self._sides[0] / self._size[0], self._sides[1] / self._size[1]
        self._at = left, top
        around, self._at = self._around(frame, (0.0, 0.0))
        self._patch = around[GLIMPSE.reach : GLIMPSE.reach + h, GLIMPSE.reach : GLIMPSE.reach + w]
        self._tells = min(w, h) >= GLIMPSE.least and float(self._patch.std()) >= 1

    def moved(self, frame: Pixels, expected: tuple[float, float]) -> tuple[float, float] | None:
        """How far the object went since it was last seen.

        Args:
            frame: (H, W, 3) uint8 RGB, the next one.
            expected: how far it is expected to have gone (x, y), pixels.

        Returns:
            (x, y) in pixels; None where that is in doubt.
        """
        if not self._tells:
            return None
        around, at = self._around(frame, expected)
        found = cv2.matchTemplate(around, self._patch, cv2.TM_CCOEFF_NORMED)
        _, best, _, (i, j) = cv2.minMaxLoc(found)
        if best < GLIMPSE.clear or not 0 < i < found.shape[1] - 1 or not 0 < j < found.shape[0] - 1:
            return None
        x = at[0] + (i + _vertex(found[j, i - 1 : i + 2]) - GLIMPSE.reach) * self._step[0]
        y = at[1] + (j + _vertex(found[j - 1 : j + 2, i]) - GLIMPSE.reach) * self._step[1]
        before, self._at = self._at, (x, y)
        return x - before[0], y - before[1]

    def _around(self, frame: Pixels, expected: tuple[float, float]) -> tuple[npt.NDArray[np.uint8], tuple[float, float]]:
        """Grey pixels around the expected place, and where in the frame the corner of that place then is."""
        left, top = (round(at + by - GLIMPSE.reach * step) for at, by, step in zip(self._at, expected, self._step, strict=True))
        grey = cv2.cvtColor(resized_part(frame, left, top, self._sides, self._size), cv2.COLOR_RGB2GRAY)
        return grey, (left + GLIMPSE.reach * self._step[0], top + GLIMPSE.reach * self._step[1])  # type: ignore[return-value]


def _vertex(values: npt.NDArray[Any]) -> float:
    """Where between three values the highest point of a parabola through them lies, from the middle one, in steps."""
    low, middle, high = (float(v) for v in values)
    bend = low - 2 * middle + high
    return 0.0 if bend >= 0 else max(-0.5, min(0.5, 0.5 * (low - high) / bend))
