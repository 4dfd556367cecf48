"""Boxes drawn to the outlines of the objects in them, before the proposer learns from them.

What is proposed before a folder is known takes in some of what is beside an object, or cuts some of it off. The colours of an image know its
edges better than a network that was taught on small pictures; what a folder's boxes have in common is then learnt from these.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from stn_cli.coloc.masks.objects import ObjectMask, object_masks
from stn_cli.coloc.masks.settings import MASKS
from stn_cli.coloc.score.settings import TIGHTENING
from stn_cli.instances.labels import Labels


def tightened(image: Tensor, labels: Labels) -> Labels:
    """Draw the boxes that are believed to the outlines of what is in them.

    Args:
        image: (3, h, w) in [0, 1].
        labels: boxes in shares of its sides.

    Returns:
        The same labels with these boxes moved; those too small to have an outline are left.
    """
    h, w = image.shape[-2:]
    size = np.array([w, h, w, h], np.float64)
    pixels = (image.movedim(0, -1) * 255).round().to(torch.uint8).numpy()
    large = ((labels.boxes[:, 2:] - labels.boxes[:, :2]) * torch.tensor([w, h])).amin(1) >= TIGHTENING.least_pixels
    numbers = (labels.known & large).nonzero()[:, 0]
    if not len(numbers):
        return labels
    drawn = around_outlines(pixels, labels.boxes[numbers].numpy().astype(np.float64) * size) / size
    boxes = labels.boxes.clone()
    boxes[numbers] = torch.from_numpy(drawn.astype(np.float32)).to(boxes)
    return replace(labels, boxes=boxes)


def around_outlines(image: npt.NDArray[np.uint8], boxes: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The boxes of the outlines of what is in boxes, which may reach a little beyond them.

    Args:
        image: (H, W, 3) RGB.
        boxes: (M, 4) x1, y1, x2, y2, pixels, one object in each.

    Returns:
        (M, 4).
    """
    beyond = TIGHTENING.beyond * np.tile(boxes[:, 2:] - boxes[:, :2], 2) * [-1, -1, 1, 1]
    settings = replace(MASKS, side=TIGHTENING.side, ellipse=MASKS.ellipse / (1 + 2 * TIGHTENING.beyond))
    return np.stack([_extent(mask) for mask in object_masks(image, boxes + beyond, settings=settings)])


def _extent(mask: ObjectMask) -> npt.NDArray[np.float64]:
    """The box of a mask's pixels."""
    columns, rows = (np.flatnonzero(mask.pixels.any(axis)) for axis in (0, 1))
    left, top = mask.left, mask.top
    return np.array([left + columns[0], top + rows[0], left + columns[-1] + 1, top + rows[-1] + 1], np.float64)
