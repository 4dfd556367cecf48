"""Objects of a folder pasted beside others of it: where several stand close together, exact boxes say which is which (Ghiasi et al. 2021)."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from stn_cli.geometry import box_area, common_area
from stn_cli.instances.labels import Labels

MOST = 3
"""Objects that are pasted into one canvas."""
BESIDE = 0.8
"""How often one is pasted beside an object that is there; else it lies anywhere."""
UPRIGHT = 0.25
"""How often beside means above or below."""
LIKE = (0.75, 1.3)
"""Its size in units of the object's that it is pasted beside."""
APART = (0.5, 1.15)
"""Distance of their middles in units of that at which their boxes touch."""
ALONG = 0.2
"""How far it is moved along the side at which they touch, share of its own."""
ANYWHERE = (0.15, 0.6)
"""Its size where it lies anywhere, share of the canvas."""
OUT = 0.3
"""How much of a side may lie outside of the canvas."""
LEAST = 4
"""Pixels along a side below which nothing is pasted."""
HIDDEN = 0.5
"""Share of an object's box that is not covered: where there is no room beside it, nothing is pasted."""


@dataclass(frozen=True, slots=True)
class Cutouts:
    """Objects of a folder, and how often they are pasted.

    Attributes:
        objects: (4, h, w) each: RGB in [0, 1], and how much of a pixel is the object's.
        share: of the canvases into which some are pasted.
    """

    objects: Sequence[Tensor] = ()
    share: float = 0.0

    def pasted(self, canvas: Tensor, labels: Labels, draw: random.Random) -> tuple[Tensor, Labels]:
        """A canvas (3, S, S) and what is in it, boxes in pixels, perhaps with some of the objects pasted into it."""
        if not self.objects or draw.random() >= self.share:
            return canvas, labels
        return paste(canvas, labels, self.objects, draw)


NOTHING = Cutouts()


def paste(canvas: Tensor, labels: Labels, cutouts: Sequence[Tensor], draw: random.Random) -> tuple[Tensor, Labels]:
    """Paste some objects into a canvas, most of them beside objects that are there.

    Args:
        canvas: (3, S, S) in [0, 1]; left as it is.
        labels: what is in it, boxes in pixels.
        cutouts: of the folder's objects, (4, h, w) each: RGB, and how much of a pixel is the object's, in [0, 1].
        draw: random numbers.

    Returns:
        The canvas, and what is in it now: what was pasted comes last.
    """
    canvas, side = canvas.clone(), canvas.shape[-1]
    for _ in range(draw.randint(1, MOST)):
        cutout = cutouts[draw.randrange(len(cutouts))]
        left, top, width, height = _place(cutout, labels, side, draw)
        box = torch.tensor([max(0, left), max(0, top), min(side, left + width), min(side, top + height)])
        if bool((box[2:] - box[:2] < LEAST).any()) or _hides(labels, box.to(labels.boxes)):
            continue
        small = F.interpolate(cutout[None], (height, width), mode="bilinear", align_corners=False, antialias=True)[0]
        small = small.flip(-1) if draw.random() < 0.5 else small
        x1, y1, x2, y2 = box.tolist()
        part = small[:, y1 - top : y2 - top, x1 - left : x2 - left]
        canvas[:, y1:y2, x1:x2] = torch.lerp(canvas[:, y1:y2, x1:x2], part[:3], part[3:].expand(3, -1, -1))
        labels = _with(labels, box.to(labels.boxes))
    return canvas, labels


def _place(cutout: Tensor, labels: Labels, side: int, draw: random.Random) -> tuple[int, int, int, int]:
    """Where a cutout is pasted: left, top, width, height, pixels."""
    high, wide = cutout.shape[-2:]
    hosts = labels.boxes[labels.known].tolist()
    if not hosts or draw.random() > BESIDE:
        scale = draw.uniform(*ANYWHERE) * side / max(high, wide)
        width, height = max(1, round(wide * scale)), max(1, round(high * scale))
        return draw.randint(0, side - width), draw.randint(0, side - height), width, height
    x1, y1, x2, y2 = hosts[draw.randrange(len(hosts))]
    scale = draw.uniform(*LIKE) * ((y2 - y1) / high if high >= wide else (x2 - x1) / wide)
    width, height = max(1, round(wide * scale)), max(1, round(high * scale))
    across, along = draw.choice((-1, 1)) * draw.uniform(*APART), draw.uniform(-ALONG, ALONG)
    touching_x, touching_y = (width + x2 - x1) / 2, (height + y2 - y1) / 2
    if draw.random() < UPRIGHT:
        dx, dy = along * width, across * touching_y
    else:
        dx, dy = across * touching_x, along * height
    return (
        _kept(round((x1 + x2 - width) / 2 + dx), width, side),
        _kept(round((y1 + y2 - height) / 2 + dy), height, side),
        width,
        height,
    )


def _kept(low: int, length: int, side: int) -> int:
    """Where something of a length begins, so that no more of it lies outside than may."""
    out = round(OUT * length)
    return max(-out, min(side + out - length, low))


def _hides(labels: Labels, box: Tensor) -> bool:
    """Whether a box (4,) covers most of an object that is believed."""
    boxes = labels.boxes[labels.known]
    return bool((common_area(boxes, box) > HIDDEN * box_area(boxes)).any())


def _with(labels: Labels, box: Tensor) -> Labels:
    """Labels with one more object."""
    one = labels.known.new_ones(1)
    return Labels(
        torch.cat([labels.boxes, box[None]]),
        torch.cat([labels.weights, labels.weights.new_ones(1)]),
        torch.cat([labels.known, one]),
    )
