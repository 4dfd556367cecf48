"""Made pictures with a common object, and a short training on them, that the parts work with."""

from __future__ import annotations

import subprocess
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from benchmarks.common import PROGRAM

QUICK = ("--encoder", "gradient", "--steps", "40", "--finetune", "5", "--imgsz", "48", "--batch", "8")


def picture(seed: int, size: tuple[int, int] = (48, 60), side: int = 18) -> npt.NDArray[np.uint8]:
    """A red disc with a cross on grey noise, (H, W, 3) uint8 RGB."""
    rng = np.random.default_rng(seed)
    h, w = size
    image = cv2.GaussianBlur(rng.integers(60, 150, (h, w, 1), np.uint8).repeat(3, 2), (0, 0), 1.0)
    x, y = (int(rng.integers(side // 2 + 1, length - side // 2)) for length in (w, h))
    cv2.circle(image, (x, y), side // 2 - 1, (220, 30, 20), -1)
    cv2.line(image, (x - 4, y), (x + 4, y), (255, 255, 240), 2)
    cv2.line(image, (x, y - 4), (x, y + 4), (255, 255, 240), 2)
    return image  # type: ignore[return-value]


def encoded(image: npt.NDArray[np.uint8], extension: str) -> bytes:
    """RGB as the bytes of a file."""
    done, data = cv2.imencode(extension, image[..., ::-1])
    assert done
    return bytes(data.tobytes())


def write_set(folder: Path, count: int, size: tuple[int, int] = (48, 60)) -> Path:
    """A folder of pictures."""
    folder.mkdir(parents=True)
    for n in range(count):
        (folder / f"{n:05d}.png").write_bytes(encoded(picture(n, size), ".png"))
    return folder


def trained(work: Path, count: int = 12) -> Path:
    """A run folder, trained in a few seconds on made pictures."""
    images, run = write_set(work / "train-images", count), work / "run"
    command = [*PROGRAM, "train", str(images), "-o", str(run), "-q", "--no-report", *QUICK]
    subprocess.run(command, check=True, capture_output=True)
    return run
