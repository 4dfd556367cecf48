"""What a page asks for, checked: it becomes a state of an image, or is refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from stn_cli.formats.coco_file import Id
from stn_cli.formats.json_file import as_id, corner_box, whole
from stn_cli.records import PixelBox
from stn_cli.review.state import ACCEPTED, CORRECTED, NONE, STATUSES, UNREVIEWED, Mark, ReviewImage, ReviewObject

SAME_PLACE = 0.5
"""Overlap (IoU) from which a box of the model counts as moved, and not as rejected."""


def wanted_mark(asked: dict[str, Any], image: ReviewImage, categories: dict[Id, str]) -> Mark:
    """The state that a page asks for. A box that lies exactly where the model's lay, and is of its kind, stays the model's.

    Args:
        asked: `status`, and for `corrected` the `objects`: each with `box` and `kind`.
        image: the image.
        categories: the kinds that there are.

    Returns:
        The state, without a number. Nothing left is `none`, the model's boxes untouched are `accepted`.

    Raises:
        ValueError, KeyError, TypeError: no such status, kind, or box.
    """
    status = asked["status"]
    if status not in STATUSES:
        raise ValueError(f"no such status: {status}")
    if status == UNREVIEWED:
        return Mark(UNREVIEWED, image.model)
    objects: tuple[ReviewObject, ...] = ()
    if status == ACCEPTED:
        objects = image.model
    elif status == CORRECTED:
        objects = tuple(_wanted_object(o, image, categories) for o in asked["objects"])
    if not objects:
        return Mark(NONE, (), tuple(o.box for o in image.model))
    if sorted(o.box for o in objects) == sorted(o.box for o in image.model) and not any(o.human for o in objects):
        return Mark(ACCEPTED, objects)
    rejected = tuple(o.box for o in image.model if all(_iou(o.box, left.box) < SAME_PLACE for left in objects))
    return Mark(CORRECTED, objects, rejected)


def _wanted_object(asked: dict[str, Any], image: ReviewImage, categories: dict[Id, str]) -> ReviewObject:
    box, kind = corner_box(asked["box"]), as_id(asked["kind"])
    if kind not in categories:
        raise ValueError(f"no such kind: {kind}")
    for known in (*image.model, *image.mark.objects):
        if known.box == box and known.kind == kind:
            return known
    w, h = image.width, image.height
    x1, x2 = (min(max(v, 0.0), w) for v in (box[0], box[2]))
    y1, y2 = (min(max(v, 0.0), h) for v in (box[1], box[3]))
    if x2 - x1 < 1 or y2 - y1 < 1:
        raise ValueError("a box is at least a pixel wide and high, and inside the image")
    return ReviewObject((x1, y1, x2, y2), kind, human=True)


def _iou(a: PixelBox, b: PixelBox) -> float:
    """Intersection over union; `geometry.overlap` would load torch, for which a person would have to wait."""
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if w <= 0 or h <= 0:
        return 0.0
    both = w * h
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def place_of(asked: dict[str, Any], images: Sequence[ReviewImage]) -> int:
    """Which image a page means.

    Args:
        asked: with its number `i`.
        images: all of them.

    Returns:
        The number.

    Raises:
        ValueError, KeyError: there is none such.
    """
    place = whole(asked["i"])
    if not 0 <= place < len(images):
        raise ValueError(f"no such image: {place}")
    return place
