"""What else is asked of photographs: new images, images without the object, several instances, speed.

    python -m benchmarks.photos_more [halves|absent|several|speed ...]

halves: trained on half of each set, measured on the other half (frames of videos are halved in order, so that neighbours do not tell).
absent: a quarter as many images of another set mixed in before training; AUROC of the score as a sign that the object is there.
several: recall and precision at IoU 0.5 with `--objects 3` where images hold several, of objects that score at least 0.5.
speed: images/s of `localise`, the whole process and without its start, beside a plain loop that decodes the same files in full, and the
best one: reduced by the decoder, in as many threads; in turn, three times.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that it also runs as a file

from benchmarks.common import OLD_SETS, PHOTOS, PROGRAM, chosen, corloc, need, timed
from benchmarks.decoding import beside
from benchmarks.photos import run
from benchmarks.provenance import LEARNING, begin, save
from stn_cli.formats.coco import read_coco
from stn_cli.geometry import box_iou
from stn_cli.media.scan import scan

MIXED = {
    "bccd_wbc": "fruit_apple",
    "foda_hammer": "raccoon",
    "foda_clamp": "voc07_motorbike",
    "fruit_apple": "voc07_aeroplane",
    "voc07_motorbike": "voc10coseg_cat",
    "voc07_aeroplane": "foda_hammer",
    "voc10coseg_cat": "voc07_motorbike",
    "raccoon": "fruit_apple",
}
SEVERAL = ("fruit_apple", "voc07_aeroplane", "voc07_motorbike")
TIMED = ("raccoon", "voc07_motorbike")


def _copy(files: list[Path], folder: Path, prefix: str = "") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        shutil.copy(file, folder / (prefix + file.name))


def _images(name: str) -> list[Path]:
    return sorted((PHOTOS / name / "images").iterdir())


def halves(name: str) -> dict[str, Any]:
    """CorLoc on the half that was trained on, and on the other half."""
    files = _images(name)
    frames = name.startswith("foda")
    first = files[: len(files) // 2] if frames else files[::2]
    second = files[len(files) // 2 :] if frames else files[1::2]
    truth = json.loads((PHOTOS / name / "boxes.json").read_text())
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        out: dict[str, Any] = {}
        _copy(first, folder / "first")
        _copy(second, folder / "second")
        boxes = run(folder / "first", folder).boxes
        again = folder / "again"
        timed([*PROGRAM, "localise", str(folder / "second"), "-q", "-m", str(folder / "run"), "-o", str(again)])
        for part, files_of, found in (("trained on", first, boxes), ("new", second, again / "boxes.json")):
            (folder / "truth.json").write_text(json.dumps({f.name: truth[f.name] for f in files_of}))
            out[part] = corloc(found, folder / "truth.json")
    return out


def auroc(positive: list[float], negative: list[float]) -> float:
    """Share of pairs in which the positive one scores higher."""
    p, n = torch.tensor(positive)[:, None], torch.tensor(negative)[None]
    return float(((p > n).double() + 0.5 * (p == n).double()).mean())


def absent(name: str) -> dict[str, Any]:
    """AUROC of the score between images with the object and those of another set."""
    files = _images(name)
    others = _images(MIXED[name])
    count = len(files) // 4
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        _copy(files, folder / "images", "has_")
        _copy(others[:: max(1, len(others) // count)][:count], folder / "images", "lacks_")
        boxes = run(folder / "images", folder).boxes
        score = {r.file: max((o.score for o in r.objects), default=0.0) for r in read_coco(boxes)}
        (folder / "truth.json").write_text(
            json.dumps({"has_" + k: v for k, v in json.loads((PHOTOS / name / "boxes.json").read_text()).items()})
        )
        has = [v for k, v in score.items() if k.startswith("has_")]
        lacks = [v for k, v in score.items() if k.startswith("lacks_")]
        return {"with": MIXED[name], "auroc": round(auroc(has, lacks), 3), "corloc": corloc(boxes, folder / "truth.json")}


def several(name: str) -> dict[str, Any]:
    """Recall and precision of all instances."""
    truth = json.loads((PHOTOS / name / "boxes.json").read_text())
    with tempfile.TemporaryDirectory() as temporary:
        boxes = run(PHOTOS / name / "images", Path(temporary), "--objects", "3").boxes
        hits = found = wanted = 0
        for record in read_coco(boxes):
            true = torch.tensor(truth[record.file]).float()
            free = torch.ones(len(true), dtype=torch.bool)
            wanted += len(true)
            for item in sorted(record.objects, key=lambda o: -o.score):
                if item.score < 0.5:
                    continue
                found += 1
                overlap = box_iou(torch.tensor(item.box).float(), true) * free
                if float(overlap.max()) > 0.5:
                    hits += 1
                    free[overlap.argmax()] = False
    return {"recall": round(100 * hits / wanted, 1), "precision": round(100 * hits / max(1, found), 1), "found": found}


def speed(name: str, copies: int = 10) -> dict[str, Any]:
    """Images/s: a plain decoding loop, the best one, the whole command; and the model with decoding, without its start."""
    from stn_cli.coloc.model.localiser import Localiser

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        run(PHOTOS / name / "images", folder)
        for i in range(copies):
            _copy(_images(name), folder / "many", f"{i}_")
        many = scan(folder / "many").images
        localiser = Localiser.load(folder / "run")
        command = [*PROGRAM, "localise", str(folder / "many"), "-q", "-m", str(folder / "run"), "-o", str(folder / "out")]
        used, model = [], []

        def ours() -> float:
            begun = time.perf_counter()
            for _ in localiser.localise_files(many):
                pass
            model.append(len(many) / (time.perf_counter() - begun))
            seconds, memory = timed([*command, "--overwrite"])
            used.append(memory)
            return len(many) / seconds

        row = beside([Path(f.path) for f in many], localiser.letterbox, ours)
    without_start = median(model)
    return {
        "images": len(many),
        **row,
        "model": round(without_start, 1),
        "model_ratio_full": round(without_start / row["full_loop"], 3),
        "model_ratio_best": round(without_start / row["best_loop"], 3),
        "gigabytes": round(max(used), 2),
    }


PARTS = {"halves": (halves, OLD_SETS), "absent": (absent, OLD_SETS), "several": (several, SEVERAL), "speed": (speed, TIMED)}


def main() -> None:
    names = chosen(__doc__, "PART", PARTS)
    need(PHOTOS)
    begin()
    for part in names:
        measure, sets = PARTS[part]
        rows: dict[str, Any] = {}
        for name in sets:
            rows[name] = measure(name)
            save(f"photos_{part}", {"sets": rows}, LEARNING)
            print(f"{part:8} {name:16} {rows[name]}", flush=True)


if __name__ == "__main__":
    main()
