"""Photographs with the `gradient` encoder, which has no weights: CorLoc on the development sets.

    python -m benchmarks.gradient_photos [SET ...]

Beside it the best centred box of one size, which knows the truth: a hard baseline where photographers centre their subject.
Also CorLoc of the better-scored half of each set and of the rest: what the score is worth.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that it also runs as a file

from benchmarks.common import PROGRAM, SHARED, chosen, corloc, need, timed
from benchmarks.provenance import LEARNING, begin, earlier, save
from stn_cli.evaluate import score_boxes
from stn_cli.formats.coco import read_coco
from stn_cli.geometry import box_iou

SETS = [
    "bccd_wbc",
    "foda_hammer",
    "foda_clamp",
    "fruit_apple",
    "voc07_motorbike",
    "voc07_aeroplane",
    "voc10coseg_cat",
    "raccoon",
]


def best_centred_box(boxes: Path, truth: Path) -> float:
    """CorLoc of the centred box whose size fits the truth best, percent."""
    records = {r.file: (r.width, r.height) for r in read_coco(boxes)}
    true = json.loads(truth.read_text())
    best = 0.0
    for sx in range(10, 101, 5):
        for sy in range(10, 101, 5):
            right = 0
            for name, (w, h) in records.items():
                half = torch.tensor([w * sx / 200, h * sy / 200])
                middle = torch.tensor([w / 2, h / 2])
                box = torch.cat([middle - half, middle + half])
                right += float(box_iou(box, torch.tensor(true[name]).float()).max()) > 0.5
            best = max(best, 100 * right / len(records))
    return best


def main() -> None:
    names = chosen(__doc__, "SET", SETS)
    need(SHARED / "data" / "photos")
    rows = earlier("gradient_photos")
    begin()
    print(f"{'set':16} {'CorLoc':>7} {'centred':>8} {'best half':>10} {'rest':>6} {'seconds':>8} {'GB':>5}")
    for number, name in enumerate(names, 1):
        source = SHARED / "data" / "photos" / name
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            command = [*PROGRAM, "train", str(source / "images"), "--encoder", "gradient", "-q", "-o", str(folder / "run")]
            seconds, memory = timed(command)
            timed([*PROGRAM, "localise", "-q", "-m", str(folder / "run"), "-o", str(folder / "boxes")])
            boxes = folder / "boxes/boxes.json"
            best, rest = score_boxes(boxes, source / "boxes.json").best_half()
            rows[name] = {
                "corloc": corloc(boxes, source / "boxes.json"),
                "centred": best_centred_box(boxes, source / "boxes.json"),
                "best_half": best,
                "rest": rest,
                "seconds": round(seconds, 1),
                "gigabytes": round(memory, 2),
            }
        save("gradient_photos", {"sets": {n: rows[n] for n in SETS if n in rows}}, LEARNING, rows=names[:number])
        r = rows[name]
        print(
            f"{name:16} {r['corloc']:7.1f} {r['centred']:8.1f} {best:10.1f} {rest:6.1f} {seconds:8.1f} {memory:5.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
