"""What an image's cells should say where some of its objects are believed to be known."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from stn_cli.instances.network import STRIDE
from stn_cli.instances.proposals import LARGEST, SMALLEST

CENTRAL = 0.5
"""Half sides of the ellipse whose cells speak for a box, as a share of the box's."""


@dataclass(frozen=True, slots=True)
class Labels:
    """Boxes in one image.

    Attributes:
        boxes: (M, 4) x1, y1, x2, y2.
        weights: (M,) how much each counts.
        known: (M,) whether it is believed; of the others nothing is asked.
    """

    boxes: Tensor
    weights: Tensor
    known: Tensor


@dataclass(frozen=True, slots=True)
class CellTargets:
    """What the cells of B images should say.

    Attributes:
        owned: (B, h, w) whether a cell speaks for a box.
        boxes: (B, h, w, 4) which one, pixels.
        box_weight, fit_weight: (B, h, w) how much its sides and its score count.
        asked: (B, h, w) whether a cell that speaks for none should say so.
        objects: how many there are in all, by weight, at least 1.
    """

    owned: Tensor
    boxes: Tensor
    box_weight: Tensor
    fit_weight: Tensor
    asked: Tensor
    objects: float

    @classmethod
    def of(cls, labels: list[Labels], side: int) -> CellTargets:
        """The cells of B canvases of `side` pixels, with boxes in pixels."""
        at = (torch.arange(side // STRIDE) + 0.5) * STRIDE
        places = torch.stack(torch.meshgrid(at, at, indexing="xy"), -1)  # (h, w, 2) x, y
        rows = [_one(own, places) for own in labels]
        owned, boxes, box_weight, fit_weight, asked = (torch.stack(part) for part in zip(*(r[:5] for r in rows), strict=True))
        return cls(owned, boxes, box_weight, fit_weight, asked, max(1.0, sum(r[5] for r in rows)))


def _one(own: Labels, places: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, float]:
    """The cells of one image, in the order of the attributes."""
    h, w = places.shape[:2]
    owner = torch.full((h, w), -1)
    asked, boxes = torch.ones(h, w), torch.zeros(h, w, 4)
    box_weight, fit_weight = torch.zeros(h, w), torch.zeros(h, w)
    if not len(own.boxes):
        return owner >= 0, boxes, box_weight, fit_weight, asked, 0.0
    longer = (own.boxes[:, 2:] - own.boxes[:, :2]).amax(1)
    learnt = own.known & (longer >= SMALLEST) & (longer <= LARGEST)
    middle, half = (own.boxes[:, :2] + own.boxes[:, 2:]) / 2, (own.boxes[:, 2:] - own.boxes[:, :2]) / 2
    off = (places[None] - middle[:, None, None]).abs() / (half * CENTRAL).clamp(min=0.6 * STRIDE)[:, None, None]
    within = off.square().sum(-1) < 1  # (M, h, w)
    for k in half.prod(1).argsort(descending=True).tolist():  # what lies on something larger is in front of it
        if learnt[k]:
            owner[within[k]] = k
    asked[(within & ~learnt[:, None, None]).any(0)] = 0
    mine = owner >= 0
    if bool(mine.any()):
        of = owner[mine]
        count = torch.bincount(of, minlength=len(own.boxes)).float()
        boxes[mine] = own.boxes[of]
        box_weight[mine] = own.weights[of] / count[of]
        fit_weight[mine] = own.weights[of] * count[of].rsqrt()
    return mine, boxes, box_weight, fit_weight, asked, float(own.weights[owner[mine].unique()].sum())
