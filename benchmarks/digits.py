"""The paper's appendix A.2: co-localise digits, translated (T) and in clutter (TC); default settings, nothing told.

    python -m benchmarks.digits [SET ...]

Sets that are named are measured again; the summary takes the others from the results of an earlier run.

For each set: CorLoc on its own 100 images, and on 100 new images of the same digit that were not in training; time and memory of the
whole training process.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that it also runs as a file

from benchmarks.common import PROGRAM, SHARED, chosen, corloc, need, timed
from benchmarks.provenance import LEARNING, begin, earlier, save

SETS = [f"{kind}{digit}" for kind in ("T", "TC") for digit in range(10)]


def new_images(folder: Path, name: str, count: int = 100, side: int = 84, patch: int = 28, piece: int = 6) -> None:
    """The same kind of image from MNIST's test digits."""
    with np.load(SHARED / "data" / "mnist" / "test.npz") as data:
        digits, labels = data["images"], data["labels"]
    digit = int(name[-1])
    rng = np.random.default_rng(1000 + digit)
    wanted = digits[labels == digit]
    truth = {}
    (folder / "images").mkdir(parents=True)
    for i in range(count):
        letterbox = np.zeros((side, side), np.uint8)
        for _ in range(16 if name.startswith("TC") else 0):
            other = digits[rng.integers(len(digits))]
            y, x = rng.integers(0, patch - piece, 2)
            v, u = rng.integers(0, side - piece, 2)
            part = letterbox[v : v + piece, u : u + piece]
            np.maximum(part, other[y : y + piece, x : x + piece], out=part)
        x, y = (int(v) for v in rng.integers(0, side - patch + 1, 2))
        part = letterbox[y : y + patch, x : x + patch]
        np.maximum(part, wanted[rng.integers(len(wanted))], out=part)
        cv2.imwrite(str(folder / "images" / f"{i:03d}.png"), letterbox)
        truth[f"{i:03d}.png"] = [[x, y, x + patch, y + patch]]
    (folder / "boxes.json").write_text(json.dumps(truth))


def main() -> None:
    names = chosen(__doc__, "SET", SETS)
    need(SHARED / "data" / "digits")
    rows = earlier("digits")
    begin()
    print(f"{'set':5} {'CorLoc':>7} {'new':>7} {'seconds':>8} {'GB':>5}")
    for number, name in enumerate(names, 1):
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            source = SHARED / "data" / "digits" / name
            seconds, memory = timed([*PROGRAM, "train", str(source / "images"), "-q", "-o", str(folder / "run")])
            localise = [*PROGRAM, "localise", "-q", "-m", str(folder / "run")]
            timed([*localise, "-o", str(folder / "own")])
            new_images(folder / "new", name)
            timed([*localise, str(folder / "new/images"), "-o", str(folder / "other")])
            rows[name] = {
                "corloc": corloc(folder / "own/boxes.json", source / "boxes.json"),
                "corloc_new": corloc(folder / "other/boxes.json", folder / "new/boxes.json"),
                "seconds": round(seconds, 1),
                "gigabytes": round(memory, 2),
            }
        save("digits", {"sets": {n: rows[n] for n in SETS if n in rows}}, LEARNING, rows=names[:number])
        r = rows[name]
        print(f"{name:5} {r['corloc']:7.0f} {r['corloc_new']:7.0f} {r['seconds']:8.1f} {r['gigabytes']:5.2f}", flush=True)
    for kind in ("T", "TC"):
        own = [r for n, r in rows.items() if n.rstrip("0123456789") == kind]
        if own:
            mean = {k: sum(r[k] for r in own) / len(own) for k in own[0]}
            least = min(r["corloc"] for r in own)
            print(
                f"{kind}: mean {mean['corloc']:.1f} (least {least:.0f}), new {mean['corloc_new']:.1f}, "
                f"{mean['seconds']:.0f} s (most {max(r['seconds'] for r in own):.0f}), {mean['gigabytes']:.2f} GB"
            )


if __name__ == "__main__":
    main()
