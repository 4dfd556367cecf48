"""From maps to proposals: boxes of whole objects, best first, over several sizes of the image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stn_cli.encoders.pretrained import standardise
from stn_cli.instances.network import COARSEST, STRIDE, Maps
from stn_cli.runtime.suppression import nms

SIDES = (32, 48, 72, 108, 160)
"""Longer sides at which an image is looked at, pixels: small ones, where parts of an object are too small to be taken for whole ones."""
SMALLEST, LARGEST = 6.0, 150.0
"""Longer sides of boxes that are believed, pixels of the size at which they were seen: what was learned from."""
EACH = 200
"""Boxes that one size may give."""
ALIKE = 0.6
"""IoU above which two boxes are one."""


@dataclass(frozen=True, slots=True)
class Proposals:
    """Boxes of an image, best first.

    Attributes:
        boxes: (M, 4) x1, y1, x2, y2, shares of the image's sides.
        scores: (M,) the IoU with an object that is to be expected.
        looks: (M, 64) how each box's object looks, to the cell that speaks for it.
    """

    boxes: Tensor
    scores: Tensor
    looks: Tensor

    def first(self, n: int) -> Proposals:
        """The n best."""
        return Proposals(self.boxes[:n], self.scores[:n], self.looks[:n])


def read_maps(maps: Maps, number: int, size: tuple[int, int]) -> Proposals:
    """Boxes of one image's maps that are believed, best first, those of one object still side by side.

    Args:
        maps: of a batch.
        number: which image of it.
        size: (height, width) of the image in pixels, less what it was padded with.

    Returns:
        Boxes, in shares of the image's sides.
    """
    h, w = size
    boxes, scores = maps.boxes()[number].flatten(0, 1), maps.fit[number].sigmoid().flatten()
    boxes = torch.stack([boxes[:, 0::2].clamp(0, w), boxes[:, 1::2].clamp(0, h)], -1).flatten(1)
    sides = boxes[:, 2:] - boxes[:, :2]
    longer = sides.amax(1)
    most = LARGEST if max(h, w) > LARGEST else float(max(h, w))
    fits = (longer >= SMALLEST) & (longer <= most) & (sides.amin(1) > 1)
    scores, order = scores.masked_fill(~fits, -1).sort(descending=True)
    order = order[: min(EACH, int(fits.sum()))]
    looks = maps.looks[number].flatten(1)[:, order].T
    return Proposals(boxes[order] / boxes.new_tensor([w, h, w, h]), scores[: len(order)], looks)


def merged(parts: Sequence[Proposals], most: int) -> Proposals:
    """Proposals of several sizes together, without those that are like a better one.

    Args:
        parts: of each size.
        most: proposals that are kept.

    Returns:
        Proposals, best first.
    """
    boxes, scores, looks = (torch.cat(of) for of in zip(*((p.boxes, p.scores, p.looks) for p in parts), strict=True))
    order = scores.argsort(descending=True)
    kept = order[suppress(boxes[order], ALIKE)[:most]]
    return Proposals(boxes[kept], scores[kept], looks[kept])


def suppress(boxes: Tensor, alike: float) -> Tensor:
    """Which boxes to keep: those that are not like a better one that is kept.

    Args:
        boxes: (M, 4), best first.
        alike: IoU above which two boxes are one.

    Returns:
        (K,) indices, rising.
    """
    falling = torch.arange(len(boxes), 0, -1, dtype=boxes.dtype, device=boxes.device)
    return nms(boxes, falling, alike).sort().values


@torch.inference_mode()
def propose(network: nn.Module, images: Tensor, sides: Sequence[int] = SIDES, most: int = 100) -> list[Proposals]:
    """Look at images of one size, each at several sizes.

    Args:
        network: of `InstanceNetwork`, or its quick copy.
        images: (B, 3, H, W) in [0, 1], on the network's device.
        sides: longer sides at which they are looked at.
        most: proposals of an image.

    Returns:
        Of each image its boxes, in shares of its sides, best first.
    """
    weight = next(network.parameters())
    parts: list[list[Proposals]] = [[] for _ in images]
    for side in sides:
        h, w = images.shape[-2:]
        scale = side / max(h, w)
        size = max(STRIDE, round(h * scale)), max(STRIDE, round(w * scale))
        small = F.interpolate(images, size, mode="bilinear", align_corners=False, antialias=True)
        padded = F.pad(standardise(small), (0, -size[1] % COARSEST, 0, -size[0] % COARSEST), mode="replicate")
        maps = network(padded.to(weight.dtype).contiguous(memory_format=torch.channels_last))
        for number, mine in enumerate(parts):
            mine.append(read_maps(maps, number, size))
    return [merged(mine, most) for mine in parts]
