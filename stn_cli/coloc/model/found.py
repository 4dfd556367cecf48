"""From crops on letterboxes to records in the images' own pixels, and from records to crops at full resolution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import numpy as np
import torch
from torch import Tensor

from stn_cli.coloc.crops import Crops, cut
from stn_cli.geometry import clip_boxes, image_to_part, normalised_to_pixels, points_to_box
from stn_cli.media.cache import Letterbox
from stn_cli.media.decode import Pixels
from stn_cli.records import ImageRecord, Localisation, Point, overlap

SAME_OBJECT = 0.5
"""IoU above which two crops have found one object. Not measured."""


def records_of(letterboxes: Sequence[Letterbox], found: Sequence[tuple[Crops, Tensor]]) -> list[ImageRecord]:
    """A record for each image, with its objects of all kinds, best first.

    Args:
        letterboxes: B images.
        found: for each kind of object its crops, R of each image, and their scores (B, R), below 0 for what is none.

    Returns:
        B records; of objects that lie on each other the best one is kept, and those that the calibration calls none are not believed.
    """
    objects: list[list[Localisation]] = [[] for _ in letterboxes]
    for kind, (crops, scores) in enumerate(found):
        for mine, more in zip(objects, _localisations(letterboxes, crops, scores, kind), strict=True):
            mine += more
    return [
        ImageRecord(c.file.name, c.frame.width, c.frame.height, best_apart(mine)).doubted()
        for c, mine in zip(letterboxes, objects, strict=True)
    ]


def _localisations(letterboxes: Sequence[Letterbox], crops: Crops, scores: Tensor, kind: int) -> list[list[Localisation]]:
    """R crops (B, R, d, k) and scores (B, R) as records of each letterbox; all at once, because small tensors cost more than they compute."""
    frames = [letterbox.frame for letterbox in letterboxes]
    sizes = torch.tensor([[f.height, f.width] for f in frames], dtype=torch.float64)[:, None]  # (B, 1, 2)
    on_letterbox = Crops(crops.transform, crops.matrix.cpu().double())
    moved = on_letterbox.after(torch.stack([f.letterbox_to_image() for f in frames])[:, None])
    quads = normalised_to_pixels(moved.quads(), sizes[:, :, None])  # (B, R, 4, 2)
    boxes = clip_boxes(normalised_to_pixels(moved.boxes().unflatten(-1, (2, 2)), sizes[:, :, None]).flatten(-2), sizes)
    columns = boxes.tolist(), quads.tolist(), moved.matrix.flatten(2).tolist(), scores.cpu().double().clamp(max=1).tolist()
    return [
        [
            Localisation(
                letterbox.file.name,
                letterbox.frame.width,
                letterbox.frame.height,
                cast(tuple[float, float, float, float], tuple(box)),
                cast(tuple[Point, Point, Point, Point], tuple((x, y) for x, y in quad)),
                tuple(theta),
                score,
                kind=kind,
            )
            for box, quad, theta, score in zip(*rows, strict=True)
            if score >= 0
        ]
        for letterbox, *rows in zip(letterboxes, *columns, strict=True)
    ]


def best_apart(objects: Sequence[Localisation]) -> tuple[Localisation, ...]:
    """Objects by falling score, without those that lie on a better one.

    Args:
        objects: of one image.

    Returns:
        Those that are left, best first.
    """
    kept: list[Localisation] = []
    for found in sorted(objects, key=lambda o: -o.score):
        if all(overlap(found.box, other.box) <= SAME_OBJECT for other in kept):
            kept.append(found)
    return tuple(kept)


def scored_at_least(record: ImageRecord, least: float) -> ImageRecord:
    """The same image, with its better objects only.

    Args:
        record: an image.
        least: score that an object must have.

    Returns:
        The record with what is left, perhaps nothing.
    """
    if all(found.score >= least for found in record.objects):
        return record
    return replace(record, objects=tuple(found for found in record.objects if found.score >= least))


def believed_from(record: ImageRecord, least: float) -> ImageRecord:
    """The same, where a person named the score: whoever does believes what has it.

    Args:
        record: an image.
        least: score that an object must have.

    Returns:
        The record with what is left, all of it believed.
    """
    return replace(record, objects=tuple(replace(found, believed=True) for found in record.objects if found.score >= least))


def cut_full(image: Pixels, crop: Crops, side: int) -> Pixels:
    """Cut one crop out of an image at full resolution.

    Args:
        image: (H, W, 3) uint8.
        crop: one crop of one image, in normalised coordinates of the whole image.
        side: longer side of the result, pixels; the other one follows from the crop's quad.

    Returns:
        (H', W', 3) uint8.
    """
    quad = normalised_to_pixels(crop.quads()[0, 0], image.shape[:2])
    width, height = float((quad[1] - quad[0]).norm()), float((quad[3] - quad[0]).norm())
    longest = max(width, height, 1e-6)
    size = max(1, round(side * height / longest)), max(1, round(side * width / longest))
    reach = normalised_to_pixels(crop.points((16, 16), 16 / 15)[0, 0].flatten(0, 1), image.shape[:2])
    part = _pixels_within(points_to_box(reach), image)
    x1, y1, x2, y2 = part
    pixels = torch.from_numpy(np.ascontiguousarray(image[y1:y2, x1:x2])).permute(2, 0, 1)[None].float()
    out = cut(pixels, crop.after(image_to_part(image.shape[:2], part)), size)[0, 0]
    return cast(Pixels, out.round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).contiguous().numpy())


def _pixels_within(box: Tensor, image: Pixels) -> tuple[int, int, int, int]:
    """The pixels (x1, y1, x2, y2) that a crop with an upright box (4,) can touch, at least one."""
    h, w = image.shape[:2]
    x1, y1 = min(w - 1, max(0, int(box[0]) - 2)), min(h - 1, max(0, int(box[1]) - 2))
    return x1, y1, max(x1 + 1, min(w, int(box[2]) + 3)), max(y1 + 1, min(h, int(box[3]) + 3))
