"""Average precision, and recall and precision at a score, over all objects of all images."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from stn_cli.evaluate.predicted import Scored
from stn_cli.geometry import overlap
from stn_cli.records import PixelBox, TrueObject

Image = tuple[Sequence[Scored], Sequence[TrueObject]]
"""Predicted boxes, best first, and true objects."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Boxes with at least some score.

    Attributes:
        objects: true ones that count.
        right: objects that were found.
        wrong: boxes that are none of them.
    """

    objects: int
    right: int
    wrong: int

    @property
    def recall(self) -> float:
        """Share of the objects that were found, percent."""
        return 100 * self.right / self.objects if self.objects else 0.0

    @property
    def precision(self) -> float | None:
        """Share of the boxes that are right, percent; None where there is no box."""
        return 100 * self.right / (self.right + self.wrong) if self.right + self.wrong else None


def count(images: Sequence[Image], threshold: float, score: float) -> Counts:
    """Match boxes to objects: from the best-scored on, each takes the free object of its image that it overlaps most.

    A box that fits no such object but one that is neither to be found nor missed is neither right nor wrong.

    Args:
        images: the set.
        threshold: IoU above which a box fits.
        score: boxes below it are left out.

    Returns:
        The counts.
    """
    objects = right = wrong = 0
    for found, true in images:
        free = [o.box for o in true if not (o.difficult or o.crowd)]
        aside = [o for o in true if o.difficult or o.crowd]
        objects += len(free)
        for confidence, box in found:
            if confidence < score:
                break
            fit, place = max(((overlap(box, other), i) for i, other in enumerate(free)), default=(0.0, -1))
            if fit > threshold:
                free.pop(place)
                right += 1
            elif not any(_share(box, o) > threshold for o in aside):
                wrong += 1
    return Counts(objects, right, wrong)


def _share(box: PixelBox, aside: TrueObject) -> float:
    """IoU with a difficult object; with a crowd the part of the box that lies in it, as COCO counts it."""
    if not aside.crowd:
        return overlap(box, aside.box)
    x1, y1, x2, y2 = (
        max(box[0], aside.box[0]),
        max(box[1], aside.box[1]),
        min(box[2], aside.box[2]),
        min(box[3], aside.box[3]),
    )
    return max(0.0, x2 - x1) * max(0.0, y2 - y1) / max(1e-12, (box[2] - box[0]) * (box[3] - box[1]))


def average_precision(images: Sequence[Image]) -> tuple[float, float] | None:
    """AP at IoU .5, and its mean over IoU .5 to .95, in percent, by pycocotools; None where it is not installed.

    All boxes of an image count, not its 100 best.

    Args:
        images: the set; boxes in images without an object are false alarms.

    Returns:
        AP50 and AP, or None.
    """
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError:
        return None
    with contextlib.redirect_stdout(io.StringIO()):  # it reports its steps there
        true, found = COCO(), COCO()
        listed = [{"id": n} for n in range(1, len(images) + 1)]
        rows = [_annotation(n, o.box, 1.0, o) for n, (_, objects) in enumerate(images, 1) for o in objects]
        true.dataset = {"images": listed, "categories": [{"id": 1}], "annotations": _numbered(rows)}
        rows = [_annotation(n, box, score) for n, (boxes, _) in enumerate(images, 1) for score, box in boxes]
        found.dataset = {"images": listed, "categories": [{"id": 1}], "annotations": _numbered(rows)}
        true.createIndex()
        found.createIndex()
        scorer = COCOeval(true, found, "bbox")
        scorer.params.areaRng, scorer.params.areaRngLbl = [[0, float("inf")]], ["all"]
        scorer.params.maxDets = [max([1, *(len(boxes) for boxes, _ in images)])]
        scorer.evaluate()
        scorer.accumulate()
    precision = scorer.eval["precision"]  # (IoU, recall, 1, 1, 1)
    return 100 * float(precision[0].mean()), 100 * float(precision.mean())


def _annotation(image: int, box: PixelBox, score: float, true: TrueObject | None = None) -> dict[str, Any]:
    x1, y1, x2, y2 = box
    difficult = true is not None and true.difficult
    area = -1.0 if difficult else (x2 - x1) * (y2 - y1)  # an area outside the range is what pycocotools leaves out
    crowd = int(true is not None and true.crowd)
    return {
        "image_id": image,
        "category_id": 1,
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "area": area,
        "iscrowd": crowd,
        "score": score,
    }


def _numbered(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**row, "id": n} for n, row in enumerate(rows, 1)]
