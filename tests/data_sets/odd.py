"""A small set with all that breaks data sets elsewhere: each object is a rectangle of its kind's colour, so that boxes can be looked at."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pycocotools.mask as coco_masks
from PIL import Image

from stn_cli.formats.coco import CocoWriter
from stn_cli.records import ImageRecord, Localisation, corners

RED, BLUE = (230, 20, 20), (20, 20, 230)
COLOURS = (RED, BLUE)
NAMES = ("red one", "blue & <b>")
Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Picture:
    """An image: its upright size (width, height), and boxes with their kinds."""

    size: tuple[int, int]
    boxes: tuple[tuple[int, Box], ...]
    exif: int = 1


PICTURES = {
    "plain.jpg": Picture((60, 44), ((0, (12, 8, 36, 30)),)),
    "border.png": Picture((60, 44), ((0, (0, 0, 20, 44)), (1, (40, 20, 60, 44)))),
    "sub/ü é, 魚.jpeg": Picture((80, 50), ((1, (30, 10, 64, 34)),)),
    'sub/it\'s "q" & <b>.png': Picture((64, 64), ((0, (16, 16, 48, 40)),)),
    "turned.jpg": Picture((40, 72), ((1, (4, 40, 30, 68)),), exif=6),
    "mirrored.jpg": Picture((72, 40), ((0, (4, 6, 30, 34)),), exif=2),
    "same.jpg": Picture((60, 44), ((0, (30, 20, 56, 40)),)),
    "same.png": Picture((60, 44), ((1, (4, 4, 30, 24)),)),
    "labels/images/deep.jpg": Picture((90, 60), ((0, (50, 20, 80, 50)), (0, (6, 6, 30, 30)))),
    "empty.jpg": Picture((60, 44), ()),
    "=1+1 fish-\U0001f41f.webp": Picture((60, 44), ((0, (20, 4, 50, 40)),)),
}
TURNS = {1: None, 2: Image.Transpose.FLIP_LEFT_RIGHT, 6: Image.Transpose.ROTATE_90}
"""How upright pixels are stored under an EXIF orientation."""


def upright(name: str) -> np.ndarray:
    """(H, W, 3) RGB: smooth grey noise that differs in each image, and its rectangles."""
    picture = PICTURES[name]
    rng = np.random.default_rng(sum(name.encode()))
    w, h = picture.size
    image = cv2.resize(rng.integers(60, 200, (6, 6, 1), np.uint8), (w, h), interpolation=cv2.INTER_CUBIC)[..., None].repeat(
        3, 2
    )
    for kind, (x1, y1, x2, y2) in picture.boxes:
        image[y1:y2, x1:x2] = COLOURS[kind]
    return np.ascontiguousarray(image)


def write_images(folder: Path) -> None:
    """All images, stored as their EXIF orientation says."""
    for name, picture in PICTURES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        stored = Image.fromarray(upright(name))
        turn = TURNS[picture.exif]
        stored = stored if turn is None else stored.transpose(turn)
        exif = Image.Exif()
        exif[274] = picture.exif
        data = io.BytesIO()
        kind = {".png": "PNG", ".webp": "WEBP"}.get(path.suffix, "JPEG")
        more = {"quality": 98, "subsampling": 0} if kind == "JPEG" else {"lossless": True} if kind == "WEBP" else {}
        stored.save(data, kind, **more, **({"exif": exif} if picture.exif > 1 else {}))
        path.write_bytes(data.getvalue())


def records(masks: bool = False) -> list[ImageRecord]:
    """What was found: the rectangles, scores falling; a mask is its rectangle without its first row."""
    out = []
    for name, picture in PICTURES.items():
        w, h = picture.size
        objects = []
        for number, (kind, box) in enumerate(picture.boxes):
            found = Localisation(
                name, w, h, tuple(map(float, box)), corners(tuple(map(float, box))), (), 0.9 - number / 10, kind=kind
            )
            objects.append(replace(found, mask=mask_of(box, (h, w))) if masks else found)
        out.append(ImageRecord(name, w, h, tuple(objects)))
    return out


def pixels_of(box: Box, size: tuple[int, int]) -> np.ndarray:
    """(H, W) the mask of a rectangle."""
    mask = np.zeros(size, np.uint8)
    mask[box[1] + 1 : box[3], box[0] : box[2]] = 1
    return mask


def mask_of(box: Box, size: tuple[int, int]) -> str:
    return coco_masks.encode(np.asfortranarray(pixels_of(box, size)))["counts"].decode()


def write_boxes(path: Path, found: list[ImageRecord], names: tuple[str, ...] = NAMES, **info: object) -> Path:
    """A boxes.json."""
    writer = CocoWriter(path, {"tool": "stn-coloc", **info}, names)
    for record in found:
        writer.add(record)
    writer.close()
    return path


def shows(image: np.ndarray, box: tuple[float, ...], kind: int) -> bool:
    """Whether a box, in an image as a reader sees it (RGB), is filled by the colour of its kind, and two pixels further out it is not."""
    x1, y1, x2, y2 = (round(v) for v in box)
    like = np.abs(image.astype(int) - COLOURS[kind]).max(-1) < 60
    h, w = like.shape
    frame = [like[y1:y2, x] for x in (x1 - 2, x2 + 1) if 0 <= x < w] + [like[y, x1:x2] for y in (y1 - 2, y2 + 1) if 0 <= y < h]
    return bool(like[y1 + 1 : y2 - 1, x1 + 1 : x2 - 1].all()) and not any(side.any() for side in frame) and x2 <= w and y2 <= h
