"""Objects cut out of a folder's images along their outlines: the surest ones, to be pasted beside others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from stn_cli.coloc.masks.objects import ObjectMask, object_masks
from stn_cli.coloc.score.settings import CUTOUTS
from stn_cli.instances.labels import Labels
from stn_cli.instances.pasting import Cutouts


def cut_objects(images: Sequence[Tensor], labels: Sequence[Labels], sure: Tensor, groups: float) -> Cutouts:
    """Cut out the best object of each of the images in which it is surest, to be pasted as often as the folder shows groups.

    Args:
        images: N of (3, h, w) in [0, 1].
        labels: what is believed to be in each, boxes in shares of the image's sides, the best first.
        sure: (N,) how sure the best one of each is; any scale.
        groups: share of the folder's images that hold a group.

    Returns:
        The objects that could be cut out, and how often they are pasted.
    """
    if not groups or not len(images):
        return Cutouts()
    most = max(CUTOUTS.least_images, round(CUTOUTS.share * len(images)))
    tried = sure.argsort(descending=True, stable=True)[:most].tolist()
    known = [(i, labels[i].boxes[labels[i].known]) for i in tried]
    found = [_one(images[i], boxes) for i, boxes in known if len(boxes)]
    objects = [cutout for cutout in found if cutout is not None]
    return Cutouts(objects, groups)


def _one(image: Tensor, boxes: Tensor) -> Tensor | None:
    """The object of the first of an image's boxes (M, 4); None where its outline is not to be trusted, or the image's edge cuts it."""
    h, w = image.shape[-2:]
    if float(boxes[0].min()) < CUTOUTS.edge or float(boxes[0].max()) > 1 - CUTOUTS.edge:
        return None
    pixels = (image.movedim(0, -1) * 255).round().to(torch.uint8).numpy()
    mask: ObjectMask = next(iter(object_masks(pixels, (boxes * torch.tensor([w, h, w, h])).numpy())))
    rows, columns = (np.flatnonzero(mask.pixels.any(axis)) for axis in (1, 0))
    whole = mask.pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] if len(rows) else mask.pixels[:0]
    if min(*whole.shape) < CUTOUTS.least_pixels or whole.size < CUTOUTS.least_extent * mask.pixels.size:
        return None
    if whole.sum() < CUTOUTS.least_area * mask.pixels.size:
        return None
    top, left = mask.top + int(rows[0]), mask.left + int(columns[0])
    colours = image[:, top : top + whole.shape[0], left : left + whole.shape[1]]
    return torch.cat([colours, torch.from_numpy(whole)[None].to(colours)])
