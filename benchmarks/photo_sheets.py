"""Contact sheets: images spread over a set, with the truth, what was found, and its scores."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from benchmarks.common import spread
from benchmarks.detections import HALF
from stn_cli.formats.coco import read_coco
from stn_cli.records import ImageRecord, PixelBox

Colour = tuple[int, int, int]
"""As OpenCV has it: blue first."""
IMAGES = 24
ACROSS = 4
WIDTH = 1500
CELL = WIDTH // ACROSS
STRIP = 18
"""Pixels for a line of text."""
FONT, LETTERS = cv2.FONT_HERSHEY_SIMPLEX, 0.42
GREEN, RED, GREY, WHITE, BLACK = (0, 200, 0), (0, 0, 230), (150, 150, 150), (255, 255, 255), (0, 0, 0)


def sheet(images: Path, boxes: Path, truth: Path, title: str) -> np.ndarray:
    """The picture (H, 1500, 3), blue first.

    Args:
        images: the folder.
        boxes: what was found, a COCO file.
        truth: {"file": [[x1, y1, x2, y2], ...]}.
        title: stands at the top.
    """
    true = json.loads(truth.read_text())
    records = sorted(read_coco(boxes), key=lambda record: record.file)
    drawn = [cell(cv2.imread(str(images / r.file)), r, true[r.file]) for r in spread(records, IMAGES)]
    legend = f"{title}: truth green, found with score >= {HALF} red, below grey"
    head = np.zeros((STRIP, WIDTH, 3), np.uint8)
    write(head, legend, (0, 0), WHITE, BLACK)
    return np.vstack([head, *(_row(drawn[i : i + ACROSS]) for i in range(0, len(drawn), ACROSS))])


def cell(image: np.ndarray, record: ImageRecord, true: Sequence[PixelBox]) -> np.ndarray:
    """One image (H, 375, 3) with its boxes, and its name under it."""
    scale = min(CELL / image.shape[1], CELL / image.shape[0])
    kind = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    size = (max(1, round(scale * image.shape[1])), max(1, round(scale * image.shape[0])))
    small = cv2.resize(image, size, interpolation=kind)
    out = np.zeros((size[1] + STRIP, CELL, 3), np.uint8)
    out[: size[1], : size[0]] = small
    picture = out[: size[1], : size[0]]
    worst_first = record.objects[::-1]
    for box in true:
        _rectangle(picture, box, scale, GREEN, 4)  # seen beside a box on it
    for found in worst_first:
        if found.score < HALF:
            _rectangle(picture, found.box, scale, GREY, 1)
    for found in worst_first:
        if found.score >= HALF:
            _rectangle(picture, found.box, scale, RED, 2)
    for found in worst_first:
        place = round(scale * found.box[0]), round(scale * found.box[1]) - STRIP  # above the box, where there is room
        write(picture, f"{found.score:.2f}", place, *((WHITE, RED) if found.score >= HALF else (BLACK, GREY)))
    write(out, record.file, (0, size[1]), WHITE, BLACK)
    return out


def write(picture: np.ndarray, words: str, place: tuple[int, int], colour: Colour, ground: Colour) -> None:
    """Letters on a ground of one colour, from their upper left; kept inside the picture."""
    (width, height), below = cv2.getTextSize(words, FONT, LETTERS, 1)
    tall = height + below + 2
    x, y = max(0, min(place[0], picture.shape[1] - width - 4)), max(0, min(place[1], picture.shape[0] - tall))
    cv2.rectangle(picture, (x, y), (x + width + 3, y + tall - 1), ground, cv2.FILLED)
    cv2.putText(picture, words, (x + 2, y + height + 1), FONT, LETTERS, colour, 1, cv2.LINE_AA)


def _rectangle(picture: np.ndarray, box: PixelBox, scale: float, colour: Colour, line: int) -> None:
    x1, y1, x2, y2 = (round(scale * side) for side in box)
    cv2.rectangle(picture, (x1, y1), (min(x2, picture.shape[1] - 1), min(y2, picture.shape[0] - 1)), colour, line)


def _row(drawn: Sequence[np.ndarray]) -> np.ndarray:
    height = max(image.shape[0] for image in drawn)
    row = np.zeros((height, WIDTH, 3), np.uint8)
    for i, image in enumerate(drawn):
        row[: image.shape[0], i * CELL : (i + 1) * CELL] = image
    return row
