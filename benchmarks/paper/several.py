"""Several objects in each image, and small ones in large images: what `--objects` and `--cascade` are worth.

    python -m benchmarks.paper.several [--quick]

Scenes of MNIST digits among clutter. Recall and precision at IoU > 0.5 over all objects; CorLoc for the small ones.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[2]))  # so that it also runs as a file

from benchmarks.common import PROGRAM, corloc, parser, timed
from benchmarks.provenance import LEARNING, begin, save
from benchmarks.scenes import write_scenes
from stn_cli.formats.coco import read_coco
from stn_cli.geometry import box_iou

SEVERAL = {"two 3s": ([3, 3], 1), "a 3 and an 8": ([3, 8], 2)}


def recall_and_precision(boxes: Path, truth: Path) -> tuple[float, float]:
    """Percent of true boxes that are met, and of boxes that meet one; best scores first, each true box once."""
    wanted = json.loads(truth.read_text())
    met = found = total = 0
    for record in read_coco(boxes):
        true = torch.tensor(wanted[record.file]).float()
        free = torch.ones(len(true), dtype=torch.bool)
        total, found = total + len(true), found + len(record.objects)
        for item in record.objects:
            overlap = box_iou(torch.tensor(item.box), true) * free
            if float(overlap.max()) > 0.5:
                free[int(overlap.argmax())] = False
                met += 1
    return 100 * met / total, 100 * met / max(1, found)


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--quick", action="store_true", help="16 images, 40 steps, nothing saved")
    options = arguments.parse_args()
    count, short = (16, ["--steps", "40"]) if options.quick else (100, [])
    rows: dict[str, dict[str, float]] = {}
    begin()
    with tempfile.TemporaryDirectory() as temporary:
        for name, (digits, seed) in SEVERAL.items():
            folder = Path(temporary) / name
            write_scenes(folder, digits, count=count, side=112, seed=seed)
            seconds = run(folder, ["--objects", "2", *short])
            recall, precision = recall_and_precision(folder / "out/boxes.json", folder / "boxes.json")
            rows[f"{name}, --objects 2"] = {"recall": recall, "precision": precision, "seconds": round(seconds, 1)}
            print(f"{name + ', --objects 2':34} recall {recall:5.1f}  precision {precision:5.1f}  {seconds:5.0f} s", flush=True)
        folder = Path(temporary) / "small"
        write_scenes(folder, [3], count=count, side=336, clutter=60, seed=3)
        for levels in (1, 3) if options.quick else (1, 2, 3):
            seconds = run(folder, ["--cascade", str(levels), *short])
            right = corloc(folder / "out/boxes.json", folder / "boxes.json")
            rows[f"28 of 336 pixels, --cascade {levels}"] = {"corloc": right, "seconds": round(seconds, 1)}
            print(f"{f'28 of 336 pixels, --cascade {levels}':34} CorLoc {right:5.1f}  {seconds:18.0f} s", flush=True)
    if not options.quick:
        save("paper_several", {"rows": rows}, LEARNING)


def run(folder: Path, flags: list[str]) -> float:
    """Train on folder/images and localise it into folder/out; the seconds of the training."""
    run = str(folder / "run")
    seconds, _ = timed([*PROGRAM, "train", str(folder / "images"), "-q", "--no-report", "--overwrite", "-o", run, *flags])
    timed([*PROGRAM, "localise", "-q", "-m", run, "--overwrite", "-o", str(folder / "out")])
    return seconds


if __name__ == "__main__":
    main()
