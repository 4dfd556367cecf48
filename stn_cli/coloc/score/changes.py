"""What is new before the background of fixed cameras: there it takes the place of what the set has in common, which is the place itself."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from stn_cli.coloc.scene import Scene
from stn_cli.coloc.search.background import Background, regions


@dataclass(frozen=True, slots=True)
class Changes:
    """What differs from the background in B images.

    Attributes:
        score_map: (B, h, w) standard deviations above its threshold.
        known: (B,) whether an image is of a camera that is known; where not, the map says nothing.
        boxes: (B, R, 4) around regions that differ, normalised letterbox boxes.
        there: (B, R) whether there is such a region.
    """

    score_map: Tensor
    known: Tensor
    boxes: Tensor
    there: Tensor


def changes_in(background: Background | None, scene: Scene) -> Changes | None:
    """Look for what differs.

    Args:
        background: of the set; None where it is not of fixed cameras.
        scene: B images.

    Returns:
        What differs; None without a background.
    """
    if background is None:
        return None
    score_map, known = background.difference(scene.images, scene.rectangles)
    boxes, there = regions(score_map)
    return Changes(score_map, known, boxes, there & known[:, None])
