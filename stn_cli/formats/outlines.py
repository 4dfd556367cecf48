"""Masks as polygons, for formats that have no others, and polygons as masks."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from stn_cli.formats.json_file import number, whole
from stn_cli.records import Point
from stn_cli.run_lengths import checked_mask, decode_mask

Loop = npt.NDArray[np.int32]


def outer_polygon(mask: str, size: tuple[int, int]) -> list[Point]:
    """The outer outline of a mask as one polygon; its parts are joined by lines without width, and its holes are filled.

    Args:
        mask: compressed run lengths, of at least one pixel.
        size: (H, W) of the image.

    Returns:
        Points (x, y) on the outermost pixels, at a quarter of them: readers that round and readers that cut off the fraction both come to the
        pixel itself, and have the mask back when they fill the polygon with its border. A part of one or two pixels is repeated to three points.
    """
    contours, _ = cv2.findContours(decode_mask(mask, size).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    first, *others = sorted((contour[:, 0] for contour in contours), key=len, reverse=True)
    loop: Loop = first.astype(np.int32)
    for part in others:
        loop = _joined(loop, part.astype(np.int32))
    points = [(x + 0.25, y + 0.25) for x, y in loop.tolist()]
    return points + points[-1:] * (3 - len(points))


def _joined(loop: Loop, part: Loop) -> Loop:
    """Two loops as one: from the point of the first that is nearest to the second across, around it, and back."""
    apart = ((loop[:, None] - part[None]) ** 2).sum(-1)
    i, j = (int(v) for v in np.unravel_index(int(apart.argmin()), apart.shape))
    return np.concatenate([loop[: i + 1], part[j:], part[: j + 1], loop[i:]])


def any_mask(segmentation: Any, size: tuple[int, int]) -> str | None:
    """A COCO segmentation in any of its forms as compressed run lengths.

    Args:
        segmentation: polygons, run lengths as a list, or compressed ones.
        size: (H, W) of the image.

    Returns:
        The mask; None where there is none, or no pixel of it.

    Raises:
        ValueError: it is none of these, or of another size than the image.
    """
    from pycocotools import mask as coco_masks

    if not segmentation:
        return None
    if isinstance(segmentation, dict):
        if segmentation.get("size") != list(size):
            raise ValueError("a mask is not as large as its image")
        counts = segmentation.get("counts")
        if isinstance(counts, list):
            lengths = [whole(v) for v in counts]
            if any(v < 0 for v in lengths) or sum(lengths) != size[0] * size[1]:
                raise ValueError("a mask is not as large as its image")
            counts = coco_masks.frPyObjects({"counts": lengths, "size": list(size)}, *size)["counts"].decode("ascii")
        return checked_mask(counts, size)
    if not isinstance(segmentation, list) or not all(isinstance(part, list) for part in segmentation):
        raise ValueError("a segmentation is neither polygons nor run lengths")
    polygons = [[number(v) for v in part] for part in segmentation if len(part) >= 6 and len(part) % 2 == 0]
    if not polygons:
        return None
    text: str = coco_masks.merge(coco_masks.frPyObjects(polygons, *size))["counts"].decode("ascii")
    return text if decode_mask(text, size).any() else None
