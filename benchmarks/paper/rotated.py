"""Digits at any angle in clutter, co-localised from the pictures alone, with `similarity` and with `box`.

    python -m benchmarks.paper.rotated [DIGIT ...] [--quick]

Printed: CorLoc; the sharpness of the mean of all crops, which is the share of the single crops' edges (root mean square gradient)
that survives in their mean, percent; and for `similarity` how far the crops' angles are from the truth: the length of the mean
direction of the error (1 is perfect) and its median. The mean crops of both go to docs/figures/rotated_means.png.
"""

from __future__ import annotations

import json
import math
import sys
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).parents[2]))  # so that it also runs as a file

from benchmarks.common import PROGRAM, corloc, parser, timed
from benchmarks.provenance import LEARNING, ROOT, begin, save
from benchmarks.scenes import write_scenes

PICTURE = ROOT / "docs" / "figures" / "rotated_means.png"


def angle_error(boxes: Path, angles: list[float]) -> tuple[float, float]:
    """Length of the mean direction, and median in degrees, of what the crops' angles are off by (less a common angle, which nobody can know)."""
    data = json.loads(boxes.read_text())
    found = {a["image_id"]: a["quad"] for a in data["annotations"]}
    off = []
    for image, angle in zip(data["images"], angles, strict=True):
        (x1, y1), (x2, y2) = found[image["id"]][:2]
        off.append(math.atan2(y2 - y1, x2 - x1) - angle)
    mean = np.exp(1j * np.array(off)).mean()
    rest = np.abs(np.angle(np.exp(1j * (np.array(off) - np.angle(mean)))))
    return float(abs(mean)), float(np.degrees(np.median(rest)))


def mean_crop(folder: Path) -> tuple[npt.NDArray[np.uint8], float]:
    """The mean of a folder of crops, 96 x 96, and its sharpness."""
    crops = [cv2.resize(cv2.imread(str(f), 0), (96, 96), interpolation=cv2.INTER_AREA) for f in sorted(folder.glob("*.png"))]
    mean = np.mean(crops, 0)
    return np.asarray(mean.round(), np.uint8), 100 * edges(mean) / float(np.mean([edges(c) for c in crops]))


def edges(picture: npt.NDArray[Any]) -> float:
    """Root mean square gradient of a grey picture."""
    y, x = np.gradient(picture.astype(np.float64))
    return float(np.sqrt((x**2 + y**2).mean()))


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("digits", nargs="*", type=int, default=[3, 4, 7])
    arguments.add_argument("--quick", action="store_true", help="one digit, 24 images, 40 steps, nothing saved")
    options = arguments.parse_args()
    rows, pictures = {}, []
    begin()
    print(f"{'digit':6} {'transform':12} {'CorLoc':>7} {'sharpness':>10} {'direction':>10} {'median error':>13} {'seconds':>8}")
    for digit in options.digits[:1] if options.quick else options.digits:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            angles = write_scenes(folder, [digit], count=24 if options.quick else 100, turned=True, seed=digit)
            pair = []
            for transform in ("box", "similarity"):
                train = [*PROGRAM, "train", str(folder / "images"), "-q", "--no-report", "-o", str(folder / transform)]
                train += ["--transform", transform, *(["--steps", "40"] if options.quick else [])]
                seconds, _ = timed(train)
                out = folder / f"{transform}-boxes"
                timed([*PROGRAM, "localise", "-q", "-m", str(folder / transform), "--crops", "-o", str(out)])
                mean, sharpness = mean_crop(out / "crops")
                pair.append(mean)
                r: dict[str, float] = {
                    "corloc": corloc(out / "boxes.json", folder / "boxes.json"),
                    "sharpness": round(sharpness, 1),
                }
                if transform == "similarity":
                    direction, median = angle_error(out / "boxes.json", angles)
                    r |= {"direction": round(direction, 3), "median_error": round(median, 1)}
                r["seconds"] = round(seconds, 1)
                rows[f"{digit} {transform}"] = r
                turned = f"{r['direction']:10.2f} {r['median_error']:12.0f}°" if "direction" in r else " " * 24
                print(
                    f"{digit:<6} {transform:12} {r['corloc']:7.0f} {r['sharpness']:10.1f} {turned} {seconds:8.0f}", flush=True
                )
            pictures.append(np.concatenate(pair, 1))
    if not options.quick:
        PICTURE.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(PICTURE), np.concatenate(pictures))
        save("paper_rotated", {"rows": rows}, LEARNING)


if __name__ == "__main__":
    main()
