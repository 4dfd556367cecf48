"""A glimpse: where an object went since the last look, by the correlation of its pixels, where that leaves no doubt.

It costs a tenth of a look. An object that moves without turning looks the same in the next frames; whoever does not is looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from stn_cli.media.decode import Pixels
from stn_cli.tracking.view import SIDE, View, cut_window

CLEAR = 0.93
"""Correlation from which there is no doubt."""
INNER = 0.8
"""Share of the box's sides that is correlated: near them is more of what lies behind."""
REACH = 12
"""How far from the expected place it is looked for, pixels of the window."""
LEAST = 6
"""Pixels of the window along a side below which an object has too few of them to tell."""


class Glimpse:
    """What an object looked like when it was last looked at.

    Args:
        view: the look.
        box: (x1, y1, x2, y2) of the object, pixels of the frame.
    """

    def __init__(self, view: View, box: Sequence[float]) -> None:
        self._side = view.side
        self._scale = SIDE / self._side
        (x1, x2), (y1, y2) = (
            (min(SIDE, max(0, round((middle + end * half - origin) * self._scale))) for end in (-INNER, INNER))
            for middle, half, origin in (
                ((box[0] + box[2]) / 2, (box[2] - box[0]) / 2, view.left),
                ((box[1] + box[3]) / 2, (box[3] - box[1]) / 2, view.top),
            )
        )
        self._patch = _grey(view.pixels)[y1:y2, x1:x2]
        self._corner = view.left + x1 / self._scale, view.top + y1 / self._scale

    def moved(self, frame: Pixels, expected: tuple[float, float]) -> tuple[float, float] | None:
        """How far it went since it was last seen, pixels; None where that is in doubt.

        Args:
            frame: (H, W, 3) uint8 RGB, the next one.
            expected: how far it is expected to have gone (x, y).
        """
        h, w = self._patch.shape
        if min(h, w) < LEAST or max(h, w) + 2 * REACH > SIDE or float(self._patch.std()) < 1:
            return None
        # a window around the expected place, cut as that of the look was: another cut would not look the same to the last pixel
        x, y = self._corner[0] + expected[0], self._corner[1] + expected[1]
        left, top = (round(at + n / self._scale / 2 - self._side / 2) for at, n in ((x, w), (y, h)))
        at_x, at_y = (round((at - origin) * self._scale) for at, origin in ((x, left), (y, top)))
        from_x, from_y = max(0, at_x - REACH), max(0, at_y - REACH)
        around = cut_window(frame, left, top, self._side)[from_y : at_y + h + REACH, from_x : at_x + w + REACH]
        found = cv2.matchTemplate(_grey(around), self._patch, cv2.TM_CCOEFF_NORMED)
        _, best, _, (i, j) = cv2.minMaxLoc(found)
        if best < CLEAR or not 0 < i < found.shape[1] - 1 or not 0 < j < found.shape[0] - 1:
            return None
        before = self._corner
        self._corner = (
            left + (from_x + i + _vertex(found[j, i - 1 : i + 2])) / self._scale,
            top + (from_y + j + _vertex(found[j - 1 : j + 2, i])) / self._scale,
        )
        return self._corner[0] - before[0], self._corner[1] - before[1]


def _grey(pixels: Pixels) -> npt.NDArray[np.uint8]:
    return cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)  # type: ignore[return-value]


def _vertex(values: npt.NDArray[Any]) -> float:
    """Where between three values the highest point of a parabola through them lies, from the middle one, in steps."""
    low, middle, high = (float(v) for v in values)
    bend = low - 2 * middle + high
    return 0.0 if bend >= 0 else max(-0.5, min(0.5, 0.5 * (low - high) / bend))
