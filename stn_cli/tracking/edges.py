"""Edges and colours of a window, the gradient encoder's maps, by OpenCV: they are made of many small steps, which cost a third of torch's."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch

from stn_cli.encoders.gradient_maps import CELL_BLUR, orientation_mixing
from stn_cli.media.decode import Pixels

Plane = npt.NDArray[np.float32]

RADIUS = 2
"""Reach of the blur before edges are taken, pixels."""
GREY = np.full((1, 3), 1 / 3, np.float32)
MIXING: Plane = orientation_mixing(torch.float32).numpy()


def edges(window: Pixels) -> Plane:
    """What `GradientEncoder.maps` gives, to some thousandths.

    Args:
        window: (H, W, 3) uint8 RGB, sides multiples of 4.

    Returns:
        (14, H / 4, W / 4).
    """
    rgb = window.astype(np.float32) * np.float32(1 / 255)
    lab = cv2.cvtColor(rgb, cv2.COLOR_RGB2Lab) * np.float32(0.01)
    mean = _cells(lab)
    spread = np.sqrt(np.maximum(_cells(lab * lab) - mean * mean, 1e-6))
    grey = cv2.GaussianBlur(
        cv2.transform(rgb, GREY), (2 * RADIUS + 1, 2 * RADIUS + 1), CELL_BLUR, borderType=cv2.BORDER_REPLICATE
    )
    gx, gy = (cv2.Sobel(grey, cv2.CV_32F, x, 1 - x, ksize=1, scale=0.5, borderType=cv2.BORDER_REPLICATE) for x in (1, 0))
    xx, yy = gx * gx, gy * gy
    square = xx + yy + np.float32(1e-10)
    m = np.sqrt(square)
    c2, s2 = (xx - yy) / square, 2 * gx * gy / square
    c4, s4 = c2 * c2 - s2 * s2, 2 * c2 * s2
    c6, s6 = c4 * c2 - s4 * s2, s4 * c2 + c4 * s2
    harmonics = [_cells(part) for part in (cv2.merge((m, m * c2, m * s2)), cv2.merge((m * c4, m * s4, m * c6, m * s6)))]
    energy = np.maximum(np.concatenate(harmonics, 2) @ MIXING.T, 0)
    return np.ascontiguousarray(np.concatenate([mean, spread, np.sqrt(energy + 1e-9)], 2, dtype=np.float32).transpose(2, 0, 1))


def _cells(planes: npt.NDArray[Any]) -> Plane:
    """Means over cells of 8 pixels every 4: (H, W, C) -> (H / 4, W / 4, C)."""
    wide = cv2.copyMakeBorder(planes, 2, 2, 2, 2, cv2.BORDER_REPLICATE)
    quarter = cv2.resize(wide, (wide.shape[1] // 4, wide.shape[0] // 4), interpolation=cv2.INTER_AREA)
    rows = quarter[1:] + quarter[:-1]
    return (rows[:, 1:] + rows[:, :-1]) * np.float32(0.25)
