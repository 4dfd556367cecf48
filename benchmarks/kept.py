"""Which boxes to keep, and in which order to look at images: what boxes that score less than 0.5 do to accuracy, and what finds mistakes.

    python -m benchmarks.kept [--sets SET ...] [--seeds 0 1] [--boxes FOLDER]

Each set is trained on and localised with `--min-score 0`, and the boxes are then left out by three rules: none; all that score less than
0.5; the same, but for the best one of each image. Of each: CorLoc, AP50, F1 of all boxes that are left at IoU 0.5, and how many an image has.

An image is wrong where the boxes that the third rule keeps are not its objects, all of them and no others. AUROC of three numbers as signs
of that, over the images of a set: the score of the best box, of the worst one of all, and of the worst one that is kept (`sureness`).

With --boxes the training is left out where FOLDER/SET-SEED-boxes/boxes.json is there.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that it also runs as a file

from benchmarks.common import PHOTOS, PROGRAM, need, parser, timed
from benchmarks.photo_table import SETS
from benchmarks.provenance import LOCALISING, begin, earlier, save
from stn_cli.evaluate.boxes import score_boxes
from stn_cli.evaluate.precision import count
from stn_cli.formats.coco import read_coco
from stn_cli.formats.truth import Truth, read_truth
from stn_cli.records import EVEN, ImageRecord, sureness

RULES: dict[str, Callable[[ImageRecord], ImageRecord]] = {
    "all": lambda record: record,
    "from_half": lambda record: replace(record, objects=tuple(o for o in record.objects if o.score >= EVEN)),
    "kept": lambda record: record.doubted().with_believed(),
}
ORDERS: dict[str, Callable[[Sequence[float]], float]] = {
    "best": lambda scores: max(scores, default=0.0),
    "worst": lambda scores: min(scores, default=0.0),
    "sureness": sureness,
}
RIGHT = 0.5


def auroc(values: Sequence[float], wrong: Sequence[bool]) -> float | None:
    """How well low values tell wrong images; None where all are alike."""
    low = [v for v, bad in zip(values, wrong, strict=True) if bad]
    high = [v for v, bad in zip(values, wrong, strict=True) if not bad]
    if not low or not high:
        return None
    won = sum((a < b) + 0.5 * (a == b) for a in low for b in high)
    return won / len(low) / len(high)


def is_wrong(record: ImageRecord, truth: Truth) -> bool:
    """Whether the boxes that are kept are not the image's objects."""
    objects = truth.images[record.file]
    counts = count([([(o.score, o.box) for o in record.objects], objects)], RIGHT, 0.0)
    return counts.wrong > 0 or counts.right < counts.objects


def accuracy(records: list[ImageRecord], truth: Truth) -> dict[str, float]:
    """Of the boxes that a rule leaves."""
    done = score_boxes(records, truth, RIGHT, score=0.0)
    recall, precision = done.counts.recall, done.counts.precision or 0.0
    f1 = 2 * recall * precision / (recall + precision) if recall + precision else 0.0
    boxes = sum(len(record.objects) for record in records) / len(records)
    measured = {
        "corloc": done.corloc,
        "ap50": done.ap50 or 0.0,
        "f1": f1,
        "precision": precision,
        "recall": recall,
        "boxes": boxes,
    }
    return {name: round(value, 2) for name, value in measured.items()}


def measure(name: str, seed: int, folder: Path) -> dict[str, Any]:
    """One row of the result file."""
    run, boxes = folder / f"{name}-{seed}", folder / f"{name}-{seed}-boxes"
    if not (boxes / "boxes.json").is_file():
        timed([*PROGRAM, "train", str(PHOTOS / name / "images"), "-q", "--no-report", "-o", str(run), "--seed", str(seed)])
        timed([*PROGRAM, "localise", "-q", "-m", str(run), "-o", str(boxes), "--min-score", "0"])
    truth = read_truth(PHOTOS / name / "boxes.json")
    records = [record for record in read_coco(boxes / "boxes.json") if record.file in truth.images]
    row: dict[str, Any] = {rule: accuracy([make(record) for record in records], truth) for rule, make in RULES.items()}
    wrong = [is_wrong(RULES["kept"](record), truth) for record in records]
    scores = [[found.score for found in record.objects] for record in records]
    orders = {order: auroc([value(own) for own in scores], wrong) for order, value in ORDERS.items()}
    row["wrong"] = round(sum(wrong) / len(wrong), 3)
    row["auroc"] = {order: None if value is None else round(value, 3) for order, value in orders.items()}
    return row


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--sets", nargs="+", metavar="SET", choices=SETS, default=SETS)
    options.add_argument("--seeds", nargs="+", metavar="SEED", type=int, default=(0,))
    options.add_argument("--boxes", type=Path, metavar="FOLDER", help="where runs and boxes lie, or are put")
    given = options.parse_args()
    need(PHOTOS)
    begin()
    together = earlier("kept")
    rows = list[str]()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.boxes or Path(temporary)
        for seed in given.seeds:
            for name in given.sets:
                key = f"{name} {seed}"
                together[key] = measure(name, seed, folder)
                rows.append(key)
                print(key, together[key], flush=True)
                save("kept", {"sets": together}, LOCALISING, rows=rows, seeds=list(given.seeds))


if __name__ == "__main__":
    main()
