"""Photographs with the default settings: the table by which the tool's accuracy is told, on the sixteen development sets.

    python -m benchmarks.photos [--sets SET ...] [--seeds 0 1 2] [--images N] [--sheets FOLDER] [--out FILE]

Each set is trained on and localised by the command line, as a user would. Of each set, as means over seeds, and as means of groups of sets:

- CorLoc; beside it the best centred box of one size, which knows the truth, a hard baseline where photographers centre their subject; and
  LOST with DINO ViT-S/16, as published.
- AP50 over all true objects; AUROC of scores for right against wrong boxes; expected calibration error of scores in 10 bins, over all
  boxes; recall and precision of boxes that score at least .5, and how many of them an image has; how many true objects it has.
- Seconds of training and of localising, whole processes, and the most memory of either; seconds of both for 100 photographs, beside twice a
  forward pass of ViT-S/16 on each at full size (`benchmarks/vit.py`): timed on 8 of the images that are spread over the set, once before
  the training and once after localising, and extrapolated.

Results of separate calls come together in the result file, by set and seed. With --images nothing is written there: a part of a set is not
the set. "-" is what was not measured, or not to be had: where all boxes are right there is no AUROC.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import cv2

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that it also runs as a file

from benchmarks import vit
from benchmarks.common import PHOTOS, PROGRAM, SCORER, all_objects, corloc, need, parser, timed
from benchmarks.detections import HALF, best_centred_box, calibration_error, scored
from benchmarks.photo_sheets import sheet
from benchmarks.photo_table import SETS, in_order, key_of, text
from benchmarks.provenance import LOCALISING, RESULTS, begin, save

SEEDS = (0, 1, 2)


@dataclass(frozen=True, slots=True)
class Run:
    """What came of training and localising.

    Attributes:
        boxes: boxes.json.
        train_seconds, localise_seconds: of the whole processes.
        gigabytes: the most memory of either.
    """

    boxes: Path
    train_seconds: float
    localise_seconds: float
    gigabytes: float


def run(source: Path, folder: Path, *options: str) -> Run:
    """Train and localise by the command line, with default settings but for the options of the training."""
    trained = folder / "run"
    train_seconds, most = timed([*PROGRAM, "train", str(source), "-q", "-o", str(trained), "--overwrite", *options])
    localise = [*PROGRAM, "localise", "-q", "-m", str(trained), "-o", str(folder / "boxes"), "--overwrite"]
    localise_seconds, more = timed(localise)
    return Run(folder / "boxes/boxes.json", train_seconds, localise_seconds, max(most, more))


def part_of(name: str, count: int | None, folder: Path) -> tuple[Path, Path]:
    """The images and the truth of a set; of its first images by name where a count is given, copied into the folder."""
    images, truth = PHOTOS / name / "images", PHOTOS / name / "boxes.json"
    if count is None:
        return images, truth
    files = sorted(images.iterdir())[:count]
    (folder / "images").mkdir()
    for file in files:
        shutil.copy(file, folder / "images")
    true = json.loads(truth.read_text())
    (folder / "truth.json").write_text(json.dumps({file.name: true[file.name] for file in files}))
    return folder / "images", folder / "truth.json"


def accuracy(boxes: Path, truth: Path) -> dict[str, Any]:
    """How right the boxes are, and their scores."""
    objects = [len(true) for true in json.loads(truth.read_text()).values()]
    scores, right = scored(boxes, truth)
    said = all_objects(boxes, truth)
    return {
        "images": len(objects),
        "corloc": corloc(boxes, truth),
        "centred": best_centred_box(boxes, truth),
        "ap50": said["ap"],
        "auroc": said["auroc"],
        "calibration": calibration_error(scores, right),
        "recall": said["recall_at_half"],
        "precision": said["precision_at_half"],
        "found": sum(score >= HALF for score in scores) / len(objects),
        "objects": mean(objects),
    }


def cost(done: Run, images: int, forward: float) -> dict[str, float]:
    """Seconds and memory, beside two forward passes on each image.

    Args:
        done: what was timed.
        images: in the set.
        forward: seconds of one forward pass of ViT-S/16.
    """
    per_100 = 100 * (done.train_seconds + done.localise_seconds) / images
    return {
        "train_seconds": round(done.train_seconds, 2),
        "localise_seconds": round(done.localise_seconds, 2),
        "gigabytes": round(done.gigabytes, 2),
        "per_100": round(per_100, 2),
        "vits_per_100": round(200 * forward, 2),
        "ratio": round(per_100 / (200 * forward), 3),
    }


def forward_seconds(images: Path) -> float:
    """Of ViT-S/16 on an image of a folder; in a process of its own, as what it is compared with."""
    command = [sys.executable, vit.__file__, str(images)]
    return float(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)


def measure(name: str, seed: int, count: int | None, sheets: Path | None) -> dict[str, Any]:
    """One row of the result file."""
    with tempfile.TemporaryDirectory() as temporary:
        images, truth = part_of(name, count, Path(temporary))
        before = forward_seconds(images)
        done = run(images, Path(temporary), "--seed", str(seed))
        forward = (before + forward_seconds(images)) / 2
        if sheets is not None:
            picture = sheet(images, done.boxes, truth, f"{name}, seed {seed}")
            cv2.imwrite(str(sheets / f"{name}.png"), picture)
        row = accuracy(done.boxes, truth)
        return {"set": name, "seed": seed, **row, **cost(done, row["images"], forward)}


def merge(out: Path, rows: dict[str, Any], seeds: list[int]) -> dict[str, Any]:
    """Put rows into a result file, in the place of those of the same set and seed.

    Args:
        out: the file, which need not be there.
        rows: all that this process has measured so far.
        seeds: that it measures.

    Returns:
        All rows of the file.
    """
    before = json.loads(out.read_text("utf-8"))["sets"] if out.is_file() else {}
    together = in_order({**before, **rows})
    save("photos", {"sets": together}, LOCALISING, rows=list(rows), seeds=seeds, out=out)
    return together


def arguments() -> Namespace:
    options = parser(__doc__)
    options.add_argument("--sets", nargs="+", metavar="SET", choices=SETS, default=SETS, help=f"of {', '.join(SETS)}")
    options.add_argument("--seeds", nargs="+", metavar="SEED", type=int, default=SEEDS)
    options.add_argument("--images", type=int, metavar="N", help="only the first N of each set, for a quick look")
    options.add_argument(
        "--sheets", type=Path, metavar="FOLDER", help="for a picture of 24 images of each set, of the first seed"
    )
    options.add_argument("--out", type=Path, metavar="FILE", help="result file; with --images none when left out")
    given = options.parse_args()
    if given.images is not None and given.images < 1:
        options.error(f"--images must be at least 1, not {given.images}")
    if min(given.seeds) < 0:
        options.error(f"--seeds must not be negative: {min(given.seeds)}")
    return given


def main() -> None:
    given = arguments()
    need(PHOTOS)
    need(SCORER)
    out = given.out or (None if given.images else RESULTS / "photos.json")
    if given.sheets is not None:
        given.sheets.mkdir(parents=True, exist_ok=True)
    begin()
    rows = dict[str, Any]()
    together = rows
    for seed in given.seeds:
        for name in given.sets:
            key = key_of(name, seed)
            rows[key] = measure(name, seed, given.images, given.sheets if seed == given.seeds[0] else None)
            print(key, {k: v for k, v in rows[key].items() if k not in ("set", "seed")}, flush=True)
            if out is not None:
                together = merge(out, rows, list(given.seeds))
    print(text(together))


if __name__ == "__main__":
    main()
