"""Average precision, and recall and precision at a score, over all objects of all images."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stn_cli.evaluate.predicted import Scored
from stn_cli.records import PixelBox, TrueObject, overlap

THRESHOLDS = np.linspace(0.5, 0.95, 10).tolist()
"""IoU at which COCO calls a box right."""
RECALLS = np.linspace(0, 1, 101)
"""At which COCO looks up precision."""
WRONG, RIGHT, NEITHER = range(3)
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


def count(images: Iterable[Image], threshold: float, score: float) -> Counts:
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


def average_precision(images: Iterable[Image]) -> tuple[float, float]:
    """AP at IoU .5, and its mean over IoU .5 to .95, in percent, as COCO's scorer counts it (pycocotools' `COCOeval`).

    All boxes of an image count, not its 100 best. What is held of a box is its score and, for each IoU, whether it is right.

    Args:
        images: the set; boxes in images without an object are false alarms.

    Returns:
        AP50 and AP.
    """
    scores, states, objects = array("d"), bytearray(), 0
    for found, true in images:
        scores.extend(score for score, _ in found)
        states += _matched([box for _, box in found], true)
        objects += sum(not (o.difficult or o.crowd) for o in true)
    if not objects:
        raise ValueError("there is no object to be found")
    order = np.argsort(-np.asarray(scores), kind="stable")
    by_threshold = np.frombuffer(bytes(states), np.uint8).reshape(-1, len(THRESHOLDS))
    means = [_mean_precision(by_threshold[order, t], objects) for t in range(len(THRESHOLDS))]
    return 100 * means[0], 100 * float(np.mean(means))


def _mean_precision(states: npt.NDArray[np.uint8], objects: int) -> float:
    """Mean over `RECALLS` of the best precision at that recall or more, of boxes from the best-scored on."""
    right, wrong = (np.cumsum(states == state).astype(np.float64) for state in (RIGHT, WRONG))
    recall, precision = right / objects, right / (right + wrong + np.spacing(1))
    best = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)  # 0 where the recall is not reached
    return float(best[np.searchsorted(recall, RECALLS)].mean())


def _matched(boxes: Sequence[PixelBox], true: Sequence[TrueObject]) -> bytes:
    """What each box, best first, is at each threshold: (boxes * thresholds,) of `RIGHT`, `WRONG` and `NEITHER`.

    From the best-scored on, each takes the free object that it overlaps most; what is neither to be found nor missed only where no such
    object fits, and a crowd takes any number.
    """
    ordered = [o for o in true if not (o.difficult or o.crowd)]
    wanted = len(ordered)
    ordered += [o for o in true if o.difficult or o.crowd]
    shares = [[_coco_share(box, o) for o in ordered] for box in boxes]
    out = bytearray([WRONG]) * (len(boxes) * len(THRESHOLDS))
    for t, threshold in enumerate(THRESHOLDS):
        taken = set[int]()
        for n, row in enumerate(shares):
            at, best = -1, threshold
            for place, share in enumerate(row):
                if place in taken and not ordered[place].crowd:
                    continue
                if place >= wanted > at >= 0:
                    break  # an object that counts fits
                if share >= best:
                    at, best = place, share
            if at >= 0:
                taken.add(at)
                out[n * len(THRESHOLDS) + t] = RIGHT if at < wanted else NEITHER
    return bytes(out)


def _coco_share(box: PixelBox, other: TrueObject) -> float:
    """IoU, or with a crowd the part of the box that lies in it, from sides as pycocotools takes them: equal to the last bit."""
    x, y, w, h = box[0], box[1], box[2] - box[0], box[3] - box[1]
    left, top, right, bottom = other.box
    across, down = right - left, bottom - top
    wide = min(x + w, left + across) - max(x, left)
    high = min(y + h, top + down) - max(y, top)
    if wide <= 0 or high <= 0:
        return 0.0
    inside = wide * high
    return inside / (w * h if other.crowd else w * h + across * down - inside)
