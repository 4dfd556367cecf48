"""The rivals of reading images: a plain loop that decodes each file in full, and the best loop that can be written with OpenCV."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

import cv2
import numpy as np
from PIL import Image

from stn_cli.runtime.threads import default_workers

REDUCED = {8: cv2.IMREAD_REDUCED_COLOR_8, 4: cv2.IMREAD_REDUCED_COLOR_4, 2: cv2.IMREAD_REDUCED_COLOR_2, 1: cv2.IMREAD_COLOR}


def decoded(path: Path, flag: int) -> None:
    """Read and decode one file."""
    assert cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), flag) is not None


def full_loop(files: Sequence[Path]) -> float:
    """Images a second: every file in full, one after the other."""
    begun = time.perf_counter()
    for path in files:
        decoded(path, cv2.IMREAD_COLOR)
    return len(files) / (time.perf_counter() - begun)


def best_flags(files: Sequence[Path], side: int) -> list[int]:
    """For each file the strongest reduction by the decoder whose longer side still has `side` pixels."""
    flags = []
    for path in files:
        with Image.open(path) as image:
            longer = max(image.size)
        flags.append(next(flag for by, flag in REDUCED.items() if longer // by >= side or by == 1))
    return flags


def best_loop(files: Sequence[Path], flags: Sequence[int]) -> float:
    """Images a second: reduced by the decoder, in as many threads as we take; the flags are known beforehand."""
    begun = time.perf_counter()
    with ThreadPoolExecutor(default_workers()) as pool:
        for _ in pool.map(decoded, files, flags):
            pass
    return len(files) / (time.perf_counter() - begun)


def beside(files: Sequence[Path], side: int, ours: Callable[[], float], rounds: int = 3, share: int = 1) -> dict[str, float]:
    """Ours and both loops in turn, so that what disturbs the machine disturbs all of them.

    Args:
        files: that `ours` reads too.
        side: pixels that ours needs of the longer side.
        ours: gives its images a second.
        rounds: the median of so many is taken.
        share: the full loop reads one of so many files.

    Returns:
        Images a second of `full_loop`, `best_loop` and `ours`, and ours as a ratio to both.
    """
    flags = best_flags(files, side)
    rates = [(full_loop(files[::share]), best_loop(files, flags), ours()) for _ in range(rounds)]
    full, best, mine = (median(rate[i] for rate in rates) for i in range(3))
    return {
        "full_loop": round(full, 1),
        "best_loop": round(best, 1),
        "ours": round(mine, 1),
        "ratio_full": round(mine / full, 3),
        "ratio_best": round(mine / best, 3),
    }
