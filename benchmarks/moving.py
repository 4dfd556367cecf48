"""Videos that are made for measuring: a camera that turns away, a disc that circles, a camera that moves over a photograph."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

from benchmarks.common import SHARED

VIDEO = SHARED / "data" / "video"
PHOTO = SHARED / "data" / "photos" / "voc07_motorbike"
MOTORBIKE = "003855.jpg"
"""Small in its picture, so that a camera has room to move."""
LENGTH, PAN = 20, 4
"""Frames that the camera looks away, and in which it turns."""


def turned_away(name: str) -> tuple[list[np.ndarray], list[list[float] | str | None]]:
    """Half of each frame, twice enlarged, that looks away from the object twice; truth, None where it is out of view, "part" where partly."""
    files = sorted((VIDEO / name / "frames").iterdir())
    boxes = json.loads((VIDEO / name / "boxes.json").read_text())
    count = len(files)
    starts = [count // 3, 2 * count // 3] if count >= 60 else [count // 2 - LENGTH // 2]
    frames: list[np.ndarray] = []
    truth: list[list[float] | str | None] = []
    place = None
    for i, file in enumerate(files):
        image = cv2.imread(str(file))
        assert image is not None
        H, W = image.shape[:2]
        w, h = W // 2, H // 2
        b = np.array(boxes[i])
        centre = (b[:2] + b[2:]) / 2
        room = np.array([W - w, H - h])
        home = np.clip(centre - [w / 2, h / 2], 0, room)
        far = max(
            (np.array(c) * room for c in ((0, 0), (1, 0), (0, 1), (1, 1))),
            key=lambda c: np.abs(np.add(c, [w / 2, h / 2]) - centre).sum(),
        )
        away = max([min(1.0, (i - s + 1) / PAN, (s + LENGTH - i) / PAN) for s in starts if 0 <= i - s < LENGTH], default=0.0)
        wanted = (1 - away) * home + away * far
        near = place is not None and np.abs(wanted - place).max() < 20
        place = 0.7 * place + 0.3 * wanted if near and not away else wanted
        x, y = np.round(np.clip(place, 0, room)).astype(int)
        frames.append(cv2.resize(image[y : y + h, x : x + w], (2 * w, 2 * h), interpolation=cv2.INTER_LINEAR))
        whole = 2 * (b - [x, y, x, y])
        seen = np.clip(whole, 0, [2 * w, 2 * h, 2 * w, 2 * h])
        share = np.prod(seen[2:] - seen[:2]) / np.prod(whole[2:] - whole[:2])
        truth.append(seen.tolist() if share >= 0.5 else None if share < 0.1 else "part")
    return frames, truth


def make_video(path: Path, frames: int, size: tuple[int, int], side: int, background: np.ndarray | None = None) -> list[float]:
    """A disc that circles over a picture, as MP4; its first box."""
    h, w = size
    if background is None:
        background = cv2.GaussianBlur(np.random.default_rng(0).integers(30, 220, (h, w, 3), np.uint8), (0, 0), 3)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 25.0, (w, h))
    first: list[float] = []
    for i in range(frames):
        image = cv2.resize(background, (w, h)).copy()
        x, y = round(w / 2 + 0.35 * w * np.cos(i / 40)), round(h / 2 + 0.3 * h * np.sin(i / 40))
        cv2.circle(image, (x, y), side // 2, (30, 30, 220), -1, cv2.LINE_AA)
        cv2.line(image, (x - side // 4, y), (x + side // 4, y), (240, 255, 255), max(2, side // 9))
        cv2.line(image, (x, y - side // 4), (x, y + side // 4), (240, 255, 255), max(2, side // 9))
        first = first or [x - side / 2, y - side / 2, x + side / 2, y + side / 2]
        writer.write(image)
    writer.release()
    return first


def over_photograph(path: Path, frames: int = 600, size: tuple[int, int] = (1280, 720)) -> list[list[float]]:
    """A camera that pans and zooms over an enlarged photograph of a motorbike, as MP4; its box in each frame.

    Periods that share no multiple, and grain that is drawn anew: no two frames are alike. It moves by up to 7 pixels a frame.
    """
    photo = cv2.imread(str(PHOTO / "images" / MOTORBIKE))
    assert photo is not None
    enlarged = 2 * size[0] / photo.shape[1]
    large = cv2.resize(photo, None, fx=enlarged, fy=enlarged, interpolation=cv2.INTER_CUBIC)
    (box,) = json.loads((PHOTO / "boxes.json").read_text())[MOTORBIKE]
    box, whole, view = np.array(box) * enlarged, np.array(large.shape[1::-1]), np.array(size)
    middle, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 25.0, size)
    rng = np.random.default_rng(0)
    truth = []
    for i in range(frames):
        zoom = 0.75 + 0.08 * np.cos(i / 53)
        at = view / 2 + np.array([0.17 * size[0] * np.sin(i / 31), 0.17 * size[1] * np.sin(i / 23)])
        at = np.clip(at, view - zoom * (whole - middle), zoom * middle)  # the photograph fills the view
        move = np.array([[zoom, 0, at[0] - zoom * middle[0]], [0, zoom, at[1] - zoom * middle[1]]])
        frame = cv2.warpAffine(large, move, size, flags=cv2.INTER_LINEAR)
        grain = rng.integers(-4, 5, (size[1] // 2, size[0] // 2), np.int16).repeat(2, 0).repeat(2, 1)
        writer.write((frame.astype(np.int16) + grain[..., None]).clip(0, 255).astype(np.uint8))
        truth.append([float(v) for v in (*(at - zoom * half), *(at + zoom * half))])
    writer.release()
    return truth


def real_clip(path: Path, name: str = "vot-bag", height: int = 720) -> list[list[float]]:
    """A sequence's own frames, once each, enlarged, as MP4; the object's box in each."""
    files = sorted((VIDEO / name / "frames").iterdir())
    boxes = json.loads((VIDEO / name / "boxes.json").read_text())
    first = cv2.imread(str(files[0]))
    assert first is not None
    scale = height / first.shape[0]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 25.0, (round(first.shape[1] * scale), height))
    for file in files:
        image = cv2.imread(str(file))
        assert image is not None
        writer.write(cv2.resize(image, (round(first.shape[1] * scale), height), interpolation=cv2.INTER_CUBIC))
    writer.release()
    return [[v * scale for v in b] for b in boxes]
