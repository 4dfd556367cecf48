"""Proposals of the instance network on the development sets: how many of the true objects they hold, and how well they rank.

    python -m benchmarks.instances WEIGHTS.safetensors [--sets SET ...] [--images N] [--sides 128 224 384] [--pictures FOLDER]

Recall of all true objects at 1 to 50 proposals an image (IoU above .5); average precision, class-agnostic: what is no object of the set
counts as wrong, although it may be an object; CorLoc of the best-scored proposal and of the best of 10 and of 50; the best centred box,
which knows the truth. Constants were chosen on half of the sets, drawn at random (`CHOSEN`); the other half stands beside it.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that it also runs as a file

from benchmarks.common import CHOSEN, PHOTOS, need, parser
from benchmarks.detections import RIGHT, centred, matched
from benchmarks.provenance import begin, save
from stn_cli.geometry import box_iou
from stn_cli.instances.proposals import SIDES, Proposals, propose
from stn_cli.instances.weights import quick, read_instances

MEASURES = ("stn_cli/pretrain/instances", "stn_cli/encoders/small_network.py")
COUNTS = (1, 5, 10, 20, 50)


def average_precision(scores: np.ndarray, right: np.ndarray, objects: int) -> float:
    """Area under the interpolated curve, percent."""
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(right[order])
    precision = np.maximum.accumulate((hits / np.arange(1, len(hits) + 1))[::-1])[::-1]
    return float(100 * (precision * right[order]).sum() / max(1, objects))


def measure(name: str, network: Any, sides: tuple[int, ...], most: int, pictures: Path | None) -> dict[str, Any]:
    """One row of the table."""
    truth = json.loads((PHOTOS / name / "boxes.json").read_text())
    names = sorted(truth)
    names = names[:: max(1, len(names) // most)][:most] if most else names
    truths, firsts, ranked, seconds, sheet = [], [], [], 0.0, []
    for file in names:
        image = cv2.imread(str(PHOTOS / name / "images" / file), cv2.IMREAD_COLOR_RGB)
        height, width = image.shape[:2]
        true = torch.tensor(truth[file]).double().view(-1, 4)
        begun = time.perf_counter()
        (found,) = propose(network, torch.from_numpy(image).permute(2, 0, 1).float()[None] / 255, sides)
        seconds += time.perf_counter() - begun
        boxes = found.boxes.double() * torch.tensor([width, height, width, height])
        overlaps = box_iou(boxes[:, None], true[None])
        truths.append((width, height, true))
        firsts.append(overlaps)
        ranked += list(zip(found.scores.tolist(), matched(overlaps), strict=True))
        if pictures is not None and len(sheet) < 24:
            sheet.append(drawn(image, boxes, found, true))
    if pictures is not None:
        rows = [np.hstack(sheet[i : i + 6]) for i in range(0, len(sheet) - 5, 6)]
        cv2.imwrite(str(pictures / f"{name}.png"), np.vstack(rows)[..., ::-1])
    objects = sum(len(true) for _, _, true in truths)
    scores, right = (np.array(v) for v in zip(*ranked, strict=True))
    recall = {f"r{n}": 100 * sum(float((o[:n].amax(0) > RIGHT).sum()) for o in firsts if len(o)) / objects for n in COUNTS}
    oracle = {
        f"c{n}": 100 * sum(bool(len(o)) and bool((o[:n] > RIGHT).any()) for o in firsts) / len(firsts) for n in (1, 10, 50)
    }
    return {
        **recall,
        "ap": average_precision(scores, right, objects),
        **oracle,
        "centred": centred(truths),
        "ms": 1000 * seconds / len(names),
    }


def drawn(image: np.ndarray, boxes: torch.Tensor, found: Proposals, true: torch.Tensor) -> np.ndarray:
    """A picture of 240 x 240 with the truth (green) and the eight best proposals (yellow, the best red)."""
    scale = 240 / max(image.shape[:2])
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    canvas = np.zeros((240, 240, 3), np.uint8)
    canvas[: small.shape[0], : small.shape[1]] = small[:240, :240]
    for box in true:
        x1, y1, x2, y2 = (box * scale).int().tolist()
        cv2.rectangle(canvas, (x1, y1), (x2, y2), (0, 255, 0), 2)
    for k in reversed(range(min(8, len(boxes)))):
        x1, y1, x2, y2 = (boxes[k] * scale).int().tolist()
        cv2.rectangle(canvas, (x1, y1), (x2, y2), (255, 0, 0) if not k else (255, 255, 0), 1)
        if k < 3:
            cv2.putText(canvas, f"{float(found.scores[k]):.2f}", (x1, y1 + 10), cv2.FONT_HERSHEY_PLAIN, 0.7, (255, 255, 255))
    return canvas


def main() -> None:
    options = parser(__doc__)
    options.add_argument("weights", type=Path)
    options.add_argument("--sets", nargs="+")
    options.add_argument("--images", type=int, default=0, help="of each set; all when left out")
    options.add_argument("--sides", nargs="+", type=int, default=SIDES)
    options.add_argument("--pictures", type=Path, help="folder for a sheet of each set")
    given = options.parse_args()
    need(PHOTOS)
    if given.pictures is not None:
        given.pictures.mkdir(parents=True, exist_ok=True)
    network, facts = read_instances(given.weights)
    every = sorted(path.name for path in PHOTOS.iterdir())
    names = given.sets or every
    ready, rows = quick(network, torch.device("cpu")), dict[str, dict[str, Any]]()
    begin()
    print({name: facts[name] for name in ("steps", "canvases", "minutes", "natural", "stuff")})
    columns = (*(f"r{n}" for n in COUNTS), "ap", "c1", "c10", "c50", "centred", "ms")
    print(f"{'set':18}" + "".join(f"{c:>8}" for c in columns))
    for name in names:
        rows[name] = measure(name, ready, tuple(given.sides), given.images, given.pictures)
        print(f"{name:18}" + "".join(f"{rows[name][c]:8.1f}" for c in columns), flush=True)
    for title, group in (("chosen on", CHOSEN), ("the others", [n for n in every if n not in CHOSEN])):
        part = [rows[n] for n in group if n in rows]
        if part:
            print(f"{title:18}" + "".join(f"{sum(r[c] for r in part) / len(part):8.1f}" for c in columns))
    if names == every and not given.images:
        save("instances", {"sets": rows, "facts": facts, "sides": list(given.sides)}, MEASURES)


if __name__ == "__main__":
    main()
