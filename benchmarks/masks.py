"""Masks of objects, where instances are known: how well they lie on the true ones.

    python -m benchmarks.masks [--boxes boxes.json] [--images N]

The pedestrians of Penn-Fudan. Masks are made from the true boxes, and from boxes whose sides are each off by 8 % of the box (one standard
deviation): mean IoU with the true mask, and the share of objects below 0.5, beside the box itself, an ellipse in it, and OpenCV's GrabCut
from that ellipse. Then with one number of the settings changed at a time. With `--boxes` the masks in a file that `localise --masks`
wrote are scored instead, of the objects whose box has an IoU above 0.5 with a true one, and nothing is saved.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that it also runs as a file

from benchmarks.common import PHOTOS, need, parser
from benchmarks.detections import RIGHT, matched
from benchmarks.provenance import begin, save
from stn_cli.coloc.masks.objects import ObjectMask, object_masks
from stn_cli.coloc.masks.settings import MASKS
from stn_cli.coloc.search.outline import grab_cut, without_specks
from stn_cli.formats.coco import read_coco
from stn_cli.geometry import box_iou
from stn_cli.media.decode import load
from stn_cli.records import overlap
from stn_cli.run_lengths import decode_mask

FOLDER = PHOTOS / "pennfudan"
MEASURES = ("stn_cli/coloc/masks", "stn_cli/coloc/search/outline.py", "stn_cli/geometry.py")
OFF = 0.08
"""Standard deviation of each side of the second boxes, share of the box."""
CHANGES: dict[str, tuple[float, ...]] = {
    "reach": (0.12, 0.3, 0.5), "side": (96, 160), "ellipse": (0.6, 0.8), "softness": (0.15, 0.6), "bands": (1, 5, 12),
    "colour_blur": (0.5, 1.0), "bare": (0.005, 0.1), "explained": (0.0, 0.3, 0.5), "most": (1.5, 3.0), "weight": (1.0, 3.0),
    "rounds": (1, 2, 8), "radius": (0.03,), "edge": (0.001, 0.01), "least_part": (0.0, 0.15),
}  # fmt: skip
"""What was tried of each number, besides what it is."""

Masker = Callable[[np.ndarray, np.ndarray], Iterator[ObjectMask]]


@dataclass(frozen=True, slots=True)
class Photo:
    """An image (H, W, 3), the boxes of its objects (M, 4), and their true masks, M of (H, W)."""

    name: str
    pixels: np.ndarray
    boxes: np.ndarray
    masks: list[np.ndarray]


def photos(count: int) -> list[Photo]:
    """The first ones of the set, each box with the instance that fits it best."""
    known = json.loads((FOLDER / "boxes.json").read_text("utf-8"))
    out = []
    for name in sorted(known)[: count or None]:
        numbers = cv2.imread(str(FOLDER / "masks" / f"{Path(name).stem}.png"), cv2.IMREAD_UNCHANGED)
        instances = [numbers == n for n in np.unique(numbers) if n]
        around = [box_of(mask) for mask in instances]
        best = [max(range(len(around)), key=lambda n: overlap(around[n], box)) for box in known[name]]
        out.append(Photo(name, load(FOLDER / "images" / name), np.array(known[name], float), [instances[n] for n in best]))
    return out


def box_of(mask: np.ndarray) -> tuple[float, ...]:
    x, y, w, h = cv2.boundingRect(mask.astype(np.uint8))
    return x, y, x + w, y + h


def moved(photo: Photo, rng: np.random.Generator) -> Photo:
    """The same with boxes that are a little off."""
    b = photo.boxes
    sides = np.tile(b[:, 2:] - b[:, :2], 2)
    h, w = photo.pixels.shape[:2]
    return replace(photo, boxes=np.clip(b + rng.normal(0, OFF, b.shape) * sides, 0, [w, h, w, h]))


def in_ellipse(size: float) -> Masker:
    """An ellipse in the box, or, of a size that is infinite, the box itself."""

    def make(_: np.ndarray, boxes: np.ndarray) -> Iterator[ObjectMask]:
        for x1, y1, x2, y2 in boxes:
            left, top, right, bottom = int(x1), int(y1), int(np.ceil(x2)), int(np.ceil(y2))
            u = (2 * (np.arange(left, right) + 0.5) - x1 - x2) / (x2 - x1)
            v = (2 * (np.arange(top, bottom) + 0.5) - y1 - y2) / (y2 - y1)
            yield ObjectMask(left, top, np.hypot(u[None], v[:, None]) < size)

    return make


def by_grab_cut(iterations: int, certain: float) -> Masker:
    """GrabCut in a window of our size: what is not in the box is ground, what is in the ellipse probably not, and its middle certainly not.

    Specks are removed; the ellipse is taken where less than a tenth of its area is left, as it is for ours.
    """

    def make(image: np.ndarray, boxes: np.ndarray) -> Iterator[ObjectMask]:
        h, w = image.shape[:2]
        for box, ellipse, middle in zip(boxes, *(in_ellipse(size)(image, boxes) for size in (0.8, certain)), strict=True):
            (x1, y1, x2, y2), (rows, columns) = box, ellipse.pixels.shape
            dx, dy = MASKS.reach * (x2 - x1), MASKS.reach * (y2 - y1)
            left, top, right, bottom = max(0, int(x1 - dx)), max(0, int(y1 - dy)), min(w, int(x2 + dx)), min(h, int(y2 + dy))
            labels = np.full((h, w), cv2.GC_BGD, np.uint8)
            inside = slice(ellipse.top, ellipse.top + rows), slice(ellipse.left, ellipse.left + columns)
            labels[inside] = np.where(ellipse.pixels, cv2.GC_PR_FGD, cv2.GC_PR_BGD)
            labels[inside][middle.pixels] = cv2.GC_FGD
            scale = min(1.0, MASKS.side / max(right - left, bottom - top))
            size = max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale))
            small = cv2.resize(image[top:bottom, left:right], size, interpolation=cv2.INTER_AREA)
            found = grab_cut(
                small, cv2.resize(labels[top:bottom, left:right], size, interpolation=cv2.INTER_NEAREST), iterations
            )
            clean = None if found is None else without_specks(found.astype(np.uint8))
            whole = np.zeros((h, w), np.float32)
            if clean is not None:
                whole[top:bottom, left:right] = cv2.resize(clean.astype(np.float32), (right - left, bottom - top))
            pixels = whole[inside] > 0.5
            none = pixels.sum() < MASKS.least_area * ellipse.pixels.sum()
            yield ObjectMask(ellipse.left, ellipse.top, ellipse.pixels if none else pixels)

    return make


def knowing_the_mean(photos_: list[Photo]) -> Masker:
    """Ours with the mean of all true masks as the prior: what a map of the object's form could give."""
    total = np.zeros((96, 48), np.float64)
    for photo in photos_:
        for (x1, y1, x2, y2), mask in zip(photo.boxes.round().astype(int), photo.masks, strict=True):
            total += cv2.resize(mask[y1:y2, x1:x2].astype(np.float32), (48, 96), interpolation=cv2.INTER_AREA)
    mean = (total / sum(len(photo.boxes) for photo in photos_)).astype(np.float32)
    return lambda image, boxes: object_masks(image, boxes, [mean] * len(boxes))


def iou(found: ObjectMask, true: np.ndarray) -> float:
    h, w = found.pixels.shape
    shared = int((true[found.top : found.top + h, found.left : found.left + w] & found.pixels).sum())
    return shared / max(1, int(found.pixels.sum()) + int(true.sum()) - shared)


def measure(make: Masker, photos_: list[Photo]) -> tuple[float, float, float]:
    """Mean IoU, share of objects below .5, and milliseconds of processor an object."""
    scores, seconds = [], 0.0
    for photo in photos_:
        begun = time.process_time()
        found = list(make(photo.pixels, photo.boxes))
        seconds += time.process_time() - begun
        scores += [iou(mask, true) for mask, true in zip(found, photo.masks, strict=True)]
    return float(np.mean(scores)), float((np.array(scores) < RIGHT).mean()), 1000 * seconds / len(scores)


def score_file(path: Path, photos_: list[Photo]) -> None:
    """Print how well the masks of a file lie on those that their boxes match."""
    records = {Path(record.file).name: record for record in read_coco(path)}
    scores, filled, objects, masks = [], [], 0, 0
    for photo in photos_:
        objects += len(photo.boxes)
        record = records.get(photo.name)
        if record is None or not record.objects:
            continue
        boxes = torch.tensor([found.box for found in record.objects], dtype=torch.float64)
        overlaps = box_iou(boxes[:, None], torch.from_numpy(photo.boxes)[None])
        for found, right, best in zip(record.objects, matched(overlaps), overlaps.argmax(1).tolist(), strict=True):
            if not right:
                continue
            masks += found.mask is not None
            pixels = decode_mask(found.mask, (found.height, found.width)) if found.mask else np.zeros_like(photo.masks[best])
            scores.append(iou(ObjectMask(0, 0, pixels), photo.masks[best]))
            box = next(in_ellipse(np.inf)(photo.pixels, np.array([found.box])))
            filled.append(iou(box, photo.masks[best]))
    if not scores:
        raise SystemExit("no box has an IoU above 0.5 with a true one")
    print(f"{len(scores)} of {objects} objects have a box with an IoU above {RIGHT}, {masks} of these a mask")
    print(
        f"mean IoU of masks {np.mean(scores):.3f} (of the boxes themselves {np.mean(filled):.3f}), median {np.median(scores):.3f}"
    )


def rows_of(photos_: list[Photo]) -> dict[str, Masker]:
    """What is compared, by its name."""
    rows: dict[str, Masker] = {"the box itself": in_ellipse(np.inf), "an ellipse of .8": in_ellipse(0.8)}
    rows |= {f"GrabCut, {n} iterations": by_grab_cut(n, 0) for n in (1, 3)}
    rows["GrabCut, the middle certain"] = by_grab_cut(3, 0.7)
    rows |= {"masks": object_masks, "... given the mean of the true masks": knowing_the_mean(photos_)}
    for name, values in CHANGES.items():
        for value in values:
            settings = replace(MASKS, **{name: value})
            rows[f"{name} {value:g}"] = lambda image, boxes, s=settings: object_masks(image, boxes, None, s)  # type: ignore[misc]
    return rows


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--boxes", type=Path, help="a COCO file with masks, of the whole set")
    options.add_argument("--images", type=int, default=0, help="so many of the set; all when left out")
    given = options.parse_args()
    need(FOLDER)
    every = photos(given.images)
    if given.boxes is not None:
        score_file(given.boxes, every)
        return
    begin()
    rng = np.random.default_rng(0)
    off = [moved(photo, rng) for photo in every]
    rows: dict[str, dict[str, Any]] = {}
    print(f"{'':38}{'IoU':>8}{'below .5':>10}{'ms':>6}{'off: IoU':>10}{'below .5':>10}")
    for name, make in rows_of(every).items():
        (mean, bad, ms), (mean_off, bad_off, _) = measure(make, every), measure(make, off)
        rows[name] = {"iou": mean, "bad": bad, "ms": ms, "iou_off": mean_off, "bad_off": bad_off}
        print(f"{name:38}{mean:8.3f}{bad:10.3f}{ms:6.1f}{mean_off:10.3f}{bad_off:10.3f}", flush=True)
    if not given.images:
        objects = sum(len(photo.boxes) for photo in every)
        pairs = [overlap(a, b) for p, q in zip(every, off, strict=True) for a, b in zip(p.boxes, q.boxes, strict=True)]
        save("masks", {"rows": rows, "objects": objects, "box_iou_off": float(np.mean(pairs))}, MEASURES)


if __name__ == "__main__":
    main()
