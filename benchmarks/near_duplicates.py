"""Which images `export` takes for near-duplicates: in sets of photographs, among frames of several clips, and of made copies.

python -m benchmarks.near_duplicates
"""

from __future__ import annotations

import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that it also runs as a file

from benchmarks.common import NEW_SETS, OLD_SETS, PHOTOS, SHARED, parser
from benchmarks.provenance import ROOT, begin, save
from stn_cli.data_sets.alike import DECODED, Thumbnail, near_duplicates, thumbnail
from stn_cli.data_sets.split import splits_of
from stn_cli.media.decode import Pixels, decoded

SHARES = (0.8, 0.2)
HALVES = 5
"""Random halves of a set; then the other half is added."""
COPIED = ("voc07_boat", "voc07_aeroplane", "pennfudan", "raccoon", "bccd_wbc")
COPIES: dict[str, Callable[[Pixels], Any]] = {
    "JPEG of quality 30": lambda p: cv2.imdecode(cv2.imencode(".jpg", p, [cv2.IMWRITE_JPEG_QUALITY, 30])[1], cv2.IMREAD_COLOR),
    "a third of the size": lambda p: cv2.resize(p, (p.shape[1] // 3, p.shape[0] // 3), interpolation=cv2.INTER_AREA),
    "squashed to a square": lambda p: cv2.resize(p, (256, 256), interpolation=cv2.INTER_AREA),
    "1.3 times as bright": lambda p: np.clip(p.astype(np.float32) * 1.3, 0, 255).astype(np.uint8),
    "5 % cut off each way": lambda p: np.ascontiguousarray(_cut(p, 0.025)),
    "mirrored, which is no copy": lambda p: np.ascontiguousarray(p[:, ::-1]),
}


def _cut(pixels: Pixels, share: float) -> Pixels:
    h, w = pixels.shape[:2]
    return pixels[int(share * h) : h - int(share * h), int(share * w) : w - int(share * w)]


def looked_at(paths: list[Path]) -> list[Thumbnail]:
    out = []
    for path in paths:
        with decoded(path, long_side=DECODED) as image:
            out.append(thumbnail(image.pixels))
    return out


def of_a_set(folder: Path) -> dict[str, float]:
    """How many groups a set has, and how many images change their part when the other half of the set is added."""
    paths = sorted((folder / "images").iterdir())
    looks, names = looked_at(paths), [path.name for path in paths]
    first = near_duplicates(looks)
    sizes, parts = Counter(first), splits_of(names, first, SHARES)
    moved, draw = 0, random.Random(0)
    for _ in range(HALVES):
        half = sorted(draw.sample(range(len(paths)), len(paths) // 2))
        before = splits_of([names[i] for i in half], near_duplicates([looks[i] for i in half]), SHARES)
        moved += sum(parts[i] != part for i, part in zip(half, before, strict=True))
    return {
        "images": len(paths),
        "groups": len(sizes),
        "largest": max(sizes.values()),
        "val": parts.count("val"),
        "moved": moved / HALVES / (len(paths) // 2),
    }


def of_clips() -> dict[str, float]:
    """All frames of all clips in one set: groups that hold two clips, and clips that are in one group."""
    frames = sorted((SHARED / "data" / "video").glob("*/frames/*"))
    clips = [path.parents[1].name for path in frames]
    looks = looked_at(frames)
    begun = time.perf_counter()
    first = near_duplicates(looks)
    seconds = time.perf_counter() - begun
    by_group, by_clip = dict[int, set[str]](), dict[str, set[int]]()
    for group, clip in zip(first, clips, strict=True):
        by_group.setdefault(group, set()).add(clip)
        by_clip.setdefault(clip, set()).add(group)
    return {
        "frames": len(frames),
        "clips": len(by_clip),
        "groups": len(by_group),
        "mixed": sum(len(inside) > 1 for inside in by_group.values()),
        "whole": sum(len(inside) == 1 for inside in by_clip.values()),
        "seconds": seconds,
    }


def of_copies() -> dict[str, float]:
    """The share of photographs that are grouped with a copy of theirs."""
    right, count = Counter[str](), 0
    for name in COPIED:
        for path in sorted((PHOTOS / name / "images").iterdir()):
            with decoded(path) as image:
                own, copies = thumbnail(image.pixels), {how: thumbnail(make(image.pixels)) for how, make in COPIES.items()}
            right.update(how for how, look in copies.items() if near_duplicates([own, look])[1] == 0)
            count += 1
    return {"photographs": count, **{how: right[how] / count for how in COPIES}}


def main() -> None:
    parser(__doc__).parse_args()
    begin()
    folders = {name: PHOTOS / name for name in sorted((*OLD_SETS, *NEW_SETS))}
    folders |= {f"sample_data/{name}": ROOT / "sample_data" / name for name in ("cups", "fish", "pelicans")}
    sets = {}
    for name, folder in folders.items():
        sets[name] = of_a_set(folder)
        print(name, sets[name], flush=True)
    clips, copies = of_clips(), of_copies()
    print(clips, copies, sep="\n")
    measures = ("stn_cli/data_sets/alike.py", "stn_cli/data_sets/split.py", "stn_cli/media")
    save("near_duplicates", {"sets": sets, "clips": clips, "copies": copies}, measures)


if __name__ == "__main__":
    main()
