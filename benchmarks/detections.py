"""Found boxes beside true ones: which are right, what their scores are worth as probabilities, and the best centred box."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch

from stn_cli.formats.coco import read_coco
from stn_cli.geometry import box_iou

RIGHT = 0.5
"""IoU above which a box is right."""
HALF = 0.5
"""Score from which on a box counts as found."""
BINS = 10


def matched(overlaps: torch.Tensor) -> list[bool]:
    """Which boxes (M, objects), best first, take a true box that is free: each the one that it fits best, as `score/ap.py` does."""
    taken, out = set(), []
    for row in overlaps:
        best = int(row.argmax())
        out.append(bool(row[best] > RIGHT) and best not in taken)
        if out[-1]:
            taken.add(best)
    return out


def scored(boxes: Path, truth: Path) -> tuple[list[float], list[bool]]:
    """The score of every box of a COCO file, and whether it is right."""
    true = json.loads(truth.read_text())
    scores, right = list[float](), list[bool]()
    for record in read_coco(boxes):
        if record.objects:
            found = torch.tensor([o.box for o in record.objects], dtype=torch.float64)
            right += matched(box_iou(found[:, None], torch.tensor(true[record.file], dtype=torch.float64)[None]))
            scores += [o.score for o in record.objects]
    return scores, right


def calibration_error(scores: Sequence[float], right: Sequence[bool]) -> float | None:
    """Expected calibration error (Naeini et al. 2015): how far scores are from the share of boxes that are right.

    Scores fall into bins of equal width. Of each bin |mean score - share that is right| is taken; the bins are weighted by their boxes.

    Args:
        scores: from 0 to 1.
        right: whether each is right.

    Returns:
        From 0 to 1; None where there is no box.
    """
    if not scores:
        return None
    excess = [0.0] * BINS
    for score, hit in zip(scores, right, strict=True):
        excess[min(BINS - 1, int(score * BINS))] += score - hit
    return sum(map(abs, excess)) / len(scores)


def centred(truths: Sequence[tuple[int, int, torch.Tensor]]) -> float:
    """CorLoc of the centred box whose size fits best, percent.

    Args:
        truths: of each image its width, its height and its true boxes (objects, 4), in pixels.
    """
    shares = torch.arange(0.1, 1.01, 0.05, dtype=torch.float64)
    sizes = torch.cartesian_prod(shares, shares)
    right = torch.zeros(len(sizes), dtype=torch.float64)
    for width, height, true in truths:
        half, middle = sizes * torch.tensor([width / 2, height / 2]), torch.tensor([width / 2, height / 2])
        boxes = torch.cat([middle - half, middle + half], 1)
        right += (box_iou(boxes[:, None], true[None]).amax(1) > RIGHT).double()
    return float(100 * right.max() / len(truths))


def best_centred_box(boxes: Path, truth: Path) -> float:
    """`centred` of the images of a COCO file, which knows their sizes."""
    true = json.loads(truth.read_text())
    return centred([(r.width, r.height, torch.tensor(true[r.file], dtype=torch.float64)) for r in read_coco(boxes)])
