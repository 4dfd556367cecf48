"""Folders of scenes made from MNIST with their truth: digits among clutter, several of them, at any angle, or small in a large picture."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from benchmarks.common import SHARED, need

Grey = npt.NDArray[np.uint8]
PATCH = 28


def write_scenes(
    folder: Path,
    digits: Sequence[int],
    *,
    count: int = 100,
    side: int = 84,
    clutter: int = 16,
    piece: int = 6,
    turned: bool = False,
    split: str = "train",
    seed: int = 0,
) -> list[float]:
    """Write `images/` and `boxes.json` ({name: [[x1, y1, x2, y2], ...]}, the digits' 28x28 patches).

    Args:
        folder: made.
        digits: which digits each image shows, one patch each; they do not overlap.
        count, side: images, and their side in pixels.
        clutter, piece: pieces cut from other digits, and their side.
        turned: each digit at a random angle.
        split: of MNIST.
        seed: of everything.

    Returns:
        The angle of the first digit of each image, radians clockwise.
    """
    images, labels = mnist(split)
    rng = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True)
    truth, angles = {}, []
    for i in range(count):
        letterbox = _cluttered(images, rng, side, clutter, piece)
        boxes: list[list[int]] = []
        for number, digit in enumerate(digits):
            glyph = images[rng.choice(np.flatnonzero(labels == digit))]
            angle = rng.uniform(-math.pi, math.pi) if turned else 0.0
            if number == 0:
                angles.append(angle)
            boxes.append(_paste(letterbox, _turned(glyph, angle), boxes, rng))
        cv2.imwrite(str(folder / "images" / f"{i:03d}.png"), letterbox)
        truth[f"{i:03d}.png"] = boxes
    (folder / "boxes.json").write_text(json.dumps(truth))
    return angles


def write_digits(folder: Path, digit: int, *, clutter: int, count: int = 100, side: int = 84, piece: int = 6) -> None:
    """Write `images/` and `boxes.json` of the kind that the sets of the paper's appendix A.2 have, from MNIST's test digits.

    Args:
        folder: made.
        digit: which each image shows.
        clutter, piece: pieces cut from other digits, and their side.
        count, side: images, and their side in pixels.
    """
    images, labels = mnist("test")
    wanted = images[labels == digit]
    rng = np.random.default_rng(1000 + digit)
    (folder / "images").mkdir(parents=True)
    truth = {}
    for i in range(count):
        letterbox = _cluttered(images, rng, side, clutter, piece)
        x, y = (int(v) for v in rng.integers(0, side - PATCH + 1, 2))
        truth[f"{i:03d}.png"] = [_lay(letterbox, wanted[rng.integers(len(wanted))], x, y)]
        cv2.imwrite(str(folder / "images" / f"{i:03d}.png"), letterbox)
    (folder / "boxes.json").write_text(json.dumps(truth))


def mnist(split: str) -> tuple[Grey, npt.NDArray[np.integer]]:
    """`train` or `test`: images (N, 28, 28) and labels (N,)."""
    path = SHARED / "data" / "mnist" / f"{split}.npz"
    need(path)
    with np.load(path) as data:
        return data["images"], data["labels"]


def _cluttered(images: Grey, rng: np.random.Generator, side: int, count: int, piece: int) -> Grey:
    """A black ground with pieces of digits."""
    ground = np.zeros((side, side), np.uint8)
    for _ in range(count):
        other = images[rng.integers(len(images))]
        y, x = rng.integers(0, PATCH - piece, 2)
        v, u = rng.integers(0, side - piece, 2)
        part = ground[v : v + piece, u : u + piece]
        np.maximum(part, other[y : y + piece, x : x + piece], out=part)
    return ground


def _turned(glyph: Grey, angle: float) -> Grey:
    matrix = cv2.getRotationMatrix2D((13.5, 13.5), -math.degrees(angle), 1.0)  # OpenCV counts the other way round
    return np.asarray(cv2.warpAffine(glyph, matrix, (PATCH, PATCH), flags=cv2.INTER_LINEAR), np.uint8)


def _paste(letterbox: Grey, glyph: Grey, taken: list[list[int]], rng: np.random.Generator) -> list[int]:
    """Lay a digit where no other lies; its box."""
    while True:
        x, y = (int(v) for v in rng.integers(0, len(letterbox) - PATCH + 1, 2))
        if all(abs(x - t[0]) >= PATCH or abs(y - t[1]) >= PATCH for t in taken):
            return _lay(letterbox, glyph, x, y)


def _lay(letterbox: Grey, glyph: Grey, x: int, y: int) -> list[int]:
    part = letterbox[y : y + PATCH, x : x + PATCH]
    np.maximum(part, glyph, out=part)
    return [x, y, x + PATCH, y + PATCH]
