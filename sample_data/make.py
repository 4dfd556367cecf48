"""Make the sample data: cluttered digits, a cup over real backgrounds, a clip of the same cup.

    pip install "stn-coloc[samples]" && python sample_data/make.py

Sources, both installed with their libraries: scikit-learn's `load_digits` (UCI, CC BY 4.0) and scikit-image's `coffee`, `grass`,
`gravel`, `brick` and `moon` (CC0 or public domain).
"""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
from photographs import write_truth
from skimage import data
from sklearn.datasets import load_digits

HERE = Path(__file__).parent
DIGIT = 3
SIDE, PATCH, PIECES, PIECE = 84, 28, 16, 6


def digits(count: int = 60) -> None:
    """One digit of 28x28 at a random place of 84x84, among 16 pieces of 6x6 cut from other digits."""
    rng = np.random.default_rng(3)
    source = load_digits()
    large = [cv2.resize(i.astype(np.float32) * 16, (20, 20), interpolation=cv2.INTER_CUBIC).clip(0, 255) for i in source.images]
    wanted = [i for i, t in enumerate(source.target) if t == DIGIT]
    folder = HERE / "digits" / "images"
    folder.mkdir(parents=True, exist_ok=True)
    truth = {}
    for n in range(count):
        letterbox = np.zeros((SIDE, SIDE), np.float32)
        for _ in range(PIECES):
            other = large[rng.integers(len(large))]
            y, x = rng.integers(0, 20 - PIECE, 2)
            v, u = rng.integers(0, SIDE - PIECE, 2)
            part = letterbox[v : v + PIECE, u : u + PIECE]
            np.maximum(part, other[y : y + PIECE, x : x + PIECE], out=part)
        y, x = (int(v) for v in rng.integers(0, SIDE - PATCH + 1, 2))
        part = letterbox[y + 4 : y + 24, x + 4 : x + 24]
        np.maximum(part, large[wanted[n]], out=part)
        name = f"{n:03d}.png"
        cv2.imwrite(str(folder / name), letterbox.astype(np.uint8))
        truth[name] = [[x, y, x + PATCH, y + PATCH]]
    write_truth("digits", truth)


def cut_out() -> tuple[np.ndarray, np.ndarray]:
    """The cup and saucer of `coffee` with a soft mask, tightly cut: (H, W, 3) BGR and (H, W) in [0, 1]."""
    image = cv2.cvtColor(data.coffee(), cv2.COLOR_RGB2BGR)
    mask = np.full(image.shape[:2], cv2.GC_BGD, np.uint8)
    cv2.ellipse(mask, (276, 233), (206, 158), 0, 0, 360, cv2.GC_PR_FGD, -1)
    cv2.ellipse(mask, (292, 120), (132, 110), 0, 0, 360, cv2.GC_PR_FGD, -1)
    cv2.ellipse(mask, (276, 240), (180, 125), 0, 0, 360, cv2.GC_FGD, -1)
    cv2.ellipse(mask, (290, 110), (108, 80), 0, 0, 360, cv2.GC_FGD, -1)
    cv2.grabCut(image, mask, None, np.zeros((1, 65)), np.zeros((1, 65)), 4, cv2.GC_INIT_WITH_MASK)
    alpha = np.isin(mask, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(alpha)
    alpha = (labels == 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())).astype(np.float32)
    alpha = cv2.GaussianBlur(cv2.morphologyEx(alpha, cv2.MORPH_OPEN, np.ones((5, 5))), (5, 5), 0)
    ys, xs = np.nonzero(alpha > 0.5)
    box = slice(ys.min(), ys.max() + 1), slice(xs.min(), xs.max() + 1)
    return image[box], alpha[box]


def background(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """A random piece of a real texture in a random tint, (H, W, 3)."""
    name = ("grass", "gravel", "brick", "moon")[rng.integers(4)]
    whole = getattr(data, name)()
    h, w = size
    scale = rng.uniform(max(h, w) / 500, 1.0)
    ph, pw = int(h / scale), int(w / scale)
    ph, pw = min(ph, whole.shape[0]), min(pw, whole.shape[1])
    y, x = rng.integers(0, whole.shape[0] - ph + 1), rng.integers(0, whole.shape[1] - pw + 1)
    part = cv2.resize(whole[y : y + ph, x : x + pw], (w, h), interpolation=cv2.INTER_AREA).astype(np.float32)
    tint = np.array([rng.uniform(0.6, 1.0), rng.uniform(0.7, 1.0), rng.uniform(0.6, 1.0)], np.float32)
    return part[..., None] * tint * rng.uniform(0.7, 1.1)


def paste(letterbox: np.ndarray, cup: np.ndarray, alpha: np.ndarray, x: float, y: float, width: float) -> list[float]:
    """Blend the cup into the letterbox at (x, y) with a width in pixels; returns its box."""
    scale = width / cup.shape[1]
    move = np.array([[scale, 0, x], [0, scale, y]])
    small = cv2.GaussianBlur(cup, (0, 0), max(0.01, 0.45 / scale)) if scale < 1 else cup
    soft = cv2.GaussianBlur(alpha, (0, 0), max(0.01, 0.45 / scale)) if scale < 1 else alpha
    size = letterbox.shape[1], letterbox.shape[0]
    picture = cv2.warpAffine(small, move, size, flags=cv2.INTER_LINEAR).astype(np.float32)
    cover = cv2.warpAffine(soft, move, size, flags=cv2.INTER_LINEAR)[..., None]
    letterbox[:] = letterbox * (1 - cover) + picture * cover
    return [round(v, 1) for v in (x, y, x + width, y + cup.shape[0] * scale)]


def cups(count: int = 48, size: tuple[int, int] = (240, 320)) -> None:
    """The cup at a random place, a quarter to a half of the picture wide, sometimes mirrored and in other light."""
    rng = np.random.default_rng(5)
    cup, alpha = cut_out()
    folder = HERE / "cups" / "images"
    folder.mkdir(parents=True, exist_ok=True)
    truth = {}
    for n in range(count):
        letterbox = background(rng, size)
        width = size[1] * rng.uniform(0.25, 0.5)
        height = width * cup.shape[0] / cup.shape[1]
        x, y = rng.uniform(2, size[1] - width - 2), rng.uniform(2, size[0] - height - 2)
        flip = bool(rng.integers(2))
        lit = np.clip(cup.astype(np.float32) * rng.uniform(0.75, 1.15), 0, 255)
        box = paste(letterbox, lit[:, ::-1] if flip else lit, alpha[:, ::-1] if flip else alpha, x, y, width)
        letterbox += rng.normal(0, 3, letterbox.shape)
        name = f"{n:03d}.jpg"
        cv2.imwrite(str(folder / name), letterbox.clip(0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 82])
        truth[name] = [box]
    write_truth("cups", truth)


def clip(frames: int = 75, size: tuple[int, int] = (240, 320), fps: float = 25.0) -> None:
    """The cup on a moving ground: it drifts, comes nearer, and leaves the picture for a while."""
    cup, alpha = cut_out()
    ground = data.gravel()
    folder = HERE / "clip"
    folder.mkdir(exist_ok=True)
    h, w = size
    writer = cv2.VideoWriter(str(folder / "cup.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), fps, (w, h))
    truth: list[list[float] | None] = []
    for t in range(frames):
        s = t / (frames - 1)
        y0, x0 = int(40 + 60 * s), int(20 + 100 * s)
        letterbox = ground[y0 : y0 + h, x0 : x0 + w].astype(np.float32)[..., None] * np.array([0.75, 0.85, 0.9], np.float32)
        width = w * (0.24 + 0.12 * np.sin(np.pi * s))
        # away between frames 45 and 58: it goes out on the right and comes back
        away = max(0.0, 1 - abs(t - 51) / 14)
        x, y = w * (0.1 + 0.45 * s) + away * w, h * (0.3 + 0.2 * np.sin(2 * np.pi * s))
        box = paste(letterbox, cup.astype(np.float32), alpha, x, y, width)
        seen = min(box[2], w) - box[0] > 0.3 * width
        truth.append([box[0], box[1], min(box[2], float(w)), box[3]] if seen else None)
        writer.write(letterbox.clip(0, 255).astype(np.uint8))
    writer.release()
    (folder / "boxes.json").write_text(json.dumps(truth) + "\n")


if __name__ == "__main__":
    digits()
    cups()
    clip()
