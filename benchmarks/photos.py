"""Photographs with the default settings: CorLoc on the development sets.

    python -m benchmarks.photos [SET ...]

Beside it: the best centred box of one size, which knows the truth, a hard baseline where photographers centre their subject; LOST with
DINO ViT-S/16, pretrained on ImageNet, as published; the search that the transformer learnt from; and CorLoc of the better-scored half of
each set and of the rest, which is what the score is worth.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that it also runs as a file

from benchmarks.common import OLD_SETS, PHOTOS, PROGRAM, chosen, corloc, need, timed
from benchmarks.detections import best_centred_box
from benchmarks.provenance import LEARNING, begin, earlier, save
from stn_cli.evaluate import score_boxes
from stn_cli.formats.coco import read_coco
from stn_cli.geometry import Frame, box_iou
from stn_cli.runs.checkpoint import load_model, load_state

LOST = {"voc07_motorbike": 72.2, "voc07_aeroplane": 84.0}
LEAST = dict(zip(OLD_SETS, (90, 70, 75, 68, 68, 65, 68, 75), strict=True))
"""What was asked for."""


def search_corloc(run: Path, boxes: Path, truth: Path) -> float:
    """CorLoc of what the search placed, percent: a run keeps it in its training state."""
    state, (_, facts) = load_state(run), load_model(run)
    sizes = {r.file: (r.width, r.height) for r in read_coco(boxes)}
    true = json.loads(truth.read_text())
    places = state["kinds"][0]["places"][0][:, 0].double()
    right = 0
    for name, box in zip(state["names"], places, strict=True):
        found = Frame(*sizes[name], facts["letterbox"]).boxes_from_letterbox(box)
        right += float(box_iou(found, torch.tensor(true[name]).double()).max()) > 0.5
    return 100 * right / len(places)


def run(source: Path, folder: Path, *options: str) -> tuple[Path, float, float]:
    """Train and localise: (boxes.json, seconds of the training's process, its memory in GB)."""
    command = [*PROGRAM, "train", str(source), "-q", "-o", str(folder / "run"), "--overwrite", *options]
    seconds, memory = timed(command)
    timed([*PROGRAM, "localise", "-q", "-m", str(folder / "run"), "-o", str(folder / "boxes"), "--overwrite"])
    return folder / "boxes/boxes.json", seconds, memory


def measure(name: str) -> dict[str, Any]:
    """One row of the table."""
    truth = PHOTOS / name / "boxes.json"
    with tempfile.TemporaryDirectory() as temporary:
        boxes, seconds, memory = run(PHOTOS / name / "images", Path(temporary))
        best, rest = score_boxes(boxes, truth).best_half()
        kind = load_state(Path(temporary) / "run")["kinds"][0]["kind"]
        return {
            "corloc": corloc(boxes, truth),
            "search": round(search_corloc(Path(temporary) / "run", boxes, truth), 1),
            "centred": best_centred_box(boxes, truth),
            "lost": LOST.get(name),
            "least": LEAST[name],
            "best_half": best,
            "rest": rest,
            "kind": kind,
            "seconds": round(seconds, 1),
            "gigabytes": round(memory, 2),
        }


def main() -> None:
    names = chosen(__doc__, "SET", OLD_SETS)
    need(PHOTOS)
    rows = earlier("photos")
    begin()
    columns = ("corloc", "search", "centred", "lost", "least", "best_half", "rest", "kind", "seconds", "gigabytes")
    print(f"{'set':16}" + "".join(f"{c:>10}" for c in columns))
    for number, name in enumerate(names, 1):
        rows[name] = measure(name)
        save("photos", {"sets": {n: rows[n] for n in OLD_SETS if n in rows}}, LEARNING, rows=names[:number])
        cells = [rows[name][c] for c in columns]
        texts = (f"{c:10.1f}" if isinstance(c, float) else f"{'' if c is None else c:>10}" for c in cells)
        print(f"{name:16}" + "".join(texts), flush=True)


if __name__ == "__main__":
    main()
