"""From maps to proposals: boxes of whole objects, best first, over several sizes of the image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stn_cli.encoders.pretrained import standardise
from stn_cli.geometry import box_iou
from stn_cli.instances.network import COARSEST, STRIDE, Maps, boxes_of_cells
from stn_cli.runtime.suppression import nms

SIDES = (32, 48, 72, 108, 160)
"""Longer sides at which an image is looked at, pixels: small ones, where parts of an object are too small to be taken for whole ones."""
SMALLEST, LARGEST = 6.0, 150.0
"""Longer sides of boxes that are believed, pixels of the size at which they were seen: what was learned from."""
EACH = 200
"""Boxes that one size may give."""
AT_ONCE = 16
"""Canvases of one size that the network looks at in one call."""
ALIKE = 0.6
"""IoU above which two boxes are one."""


@dataclass(frozen=True, slots=True)
class Proposals:
    """Boxes of an image, best first.

    Attributes:
        boxes: (M, 4) x1, y1, x2, y2, shares of the image's sides.
        scores: (M,) the IoU with an object that is to be expected.
        looks: (M, 64) how each box's object looks, to the cell that speaks for it.
        means: (M, 4) of all boxes that each one stands for: righter than itself, but neighbours are drawn together, so that what is
            apart is told by the boxes.
    """

    boxes: Tensor
    scores: Tensor
    looks: Tensor
    means: Tensor

    def first(self, n: int) -> Proposals:
        """The n best."""
        return Proposals(self.boxes[:n], self.scores[:n], self.looks[:n], self.means[:n])


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
    boxes, scores = boxes_of_cells(maps.sides[number]).flatten(0, 1), maps.fit[number].sigmoid().flatten()
    boxes = torch.stack([boxes[:, 0::2].clamp(0, w), boxes[:, 1::2].clamp(0, h)], -1).flatten(1)
    sides = boxes[:, 2:] - boxes[:, :2]
    longer = sides.amax(1)
    most = LARGEST if max(h, w) > LARGEST else float(max(h, w))
    fits = (longer >= SMALLEST) & (longer <= most) & (sides.amin(1) > 1)
    scores, order = scores.masked_fill(~fits, -1).sort(descending=True)
    order = order[: min(EACH, int(fits.sum()))]
    looks = maps.looks[number].flatten(1)[:, order].T
    own = boxes[order] / boxes.new_tensor([w, h, w, h])
    return Proposals(own, scores[: len(order)], looks, own)


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
    return Proposals(boxes[kept], scores[kept], looks[kept], voted(boxes[kept], boxes, scores, ALIKE).clamp(0, 1))


def voted(kept: Tensor, boxes: Tensor, scores: Tensor, alike: float) -> Tensor:
    """Boxes that are the means of their likes, weighed by their scores (box voting, Gidaris and Komodakis 2015, arXiv 1505.01749).

    Args:
        kept: (..., K, 4), of the boxes.
        boxes: (..., M, 4).
        scores: (..., M), 0 or less where there is none.
        alike: IoU above which two boxes are one.

    Returns:
        (..., K, 4); a box that nothing is like, as one without an area, as it is.
    """
    votes = (box_iou(kept[..., :, None, :], boxes[..., None, :, :]) > alike) * scores.clamp(min=0)[..., None, :]
    total = votes.sum(-1, keepdim=True)
    mean = (votes[..., None] * boxes[..., None, :, :]).sum(-2) / total.clamp(
        min=1e-6
    )  # a product of matrices has other bits elsewhere
    return torch.where(total > 0, mean, kept)


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
def propose(network: nn.Module, images: Sequence[Tensor], sides: Sequence[int] = SIDES, most: int = 100) -> list[Proposals]:
    """Look at images, each at several sizes.

    Args:
        network: of `InstanceNetwork`, or its quick copy.
        images: B of (3, H, W) in [0, 1], each of its own size, on the network's device.
        sides: longer sides at which they are looked at.
        most: proposals of an image.

    Returns:
        Of each image its boxes, in shares of its sides, best first.
    """
    weight = next(network.parameters())
    parts: list[list[Proposals]] = [[] for _ in images]
    for side in sides:
        for canvases in _canvases(images, side).values():
            for begin in range(0, len(canvases), AT_ONCE):
                some = canvases[begin : begin + AT_ONCE]
                maps = network(
                    torch.stack([c for _, _, c in some]).to(weight.dtype).contiguous(memory_format=torch.channels_last)
                )
                for place, (number, size, _) in enumerate(some):
                    parts[number].append(read_maps(maps, place, size))
    return [merged(mine, most) for mine in parts]


def _canvases(images: Sequence[Tensor], side: int) -> dict[tuple[int, ...], list[tuple[int, tuple[int, int], Tensor]]]:
    """Images at a size, standardised and padded, by the size of their canvases: number, own (height, width) and canvas of each."""
    alike: dict[tuple[int, ...], list[int]] = {}
    for number, image in enumerate(images):
        alike.setdefault(tuple(image.shape[-2:]), []).append(number)
    out: dict[tuple[int, ...], list[tuple[int, tuple[int, int], Tensor]]] = {}
    for (h, w), numbers in alike.items():
        scale = side / max(h, w)
        size = max(STRIDE, round(h * scale)), max(STRIDE, round(w * scale))
        whole = torch.stack([images[number] for number in numbers])
        small = F.interpolate(whole, size, mode="bilinear", align_corners=False, antialias=True)
        padded = F.pad(standardise(small), (0, -size[1] % COARSEST, 0, -size[0] % COARSEST), mode="replicate")
        same = out.setdefault(tuple(padded.shape[-2:]), [])
        same += [(number, size, canvas) for number, canvas in zip(numbers, padded, strict=True)]
    return out
