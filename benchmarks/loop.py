"""The labelling loop: what k corrected images are worth for the others, chosen by the tool and at random.

    python -m benchmarks.loop [--sets SET ...] [--runs FOLDER] [--counts 1 5 10 20 40] [--random 1 10 20] [--rivals 20]

A simulated annotator knows the truth. It corrects the k images that `stn-coloc review` shows first, those of the lowest score (*chosen*), or k
at random; the run learns them, and the *other* images are scored: CorLoc of the best box, AP50 over all objects, calibration error of the
scores; each beside what the run said of the same images before. At most 50 of the others are looked at, drawn once.

What is run is what `train --from` does, less what does not move boxes much: the finder, whose window is one candidate among a hundred, stays
as the run left it. The runs are trained with default settings where they are not in --runs.

Beside it, from the same k chosen images: FCOS (torchvision) with a feature pyramid on our encoder `small`, fine-tuned on their boxes for twice
the seconds that ours takes; and nearest neighbours: of proposals of the network as it is shipped the one that is most like one of the boxes.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that it also runs as a file

from benchmarks.common import PHOTOS, need, parser
from benchmarks.detections import calibration_error, matched
from benchmarks.loop_rivals import detector, neighbours
from benchmarks.photo_table import SETS
from benchmarks.provenance import begin, earlier, save
from stn_cli.coloc.annotations import Annotations
from stn_cli.coloc.score.corrections import annotated_search
from stn_cli.coloc.score.kinds import Kind
from stn_cli.coloc.score.object_search import ObjectSearch
from stn_cli.coloc.score.objects import separate
from stn_cli.coloc.score.settings import OBJECTS, TAUGHT
from stn_cli.coloc.search.searched import SearchedSet
from stn_cli.coloc.train import run
from stn_cli.coloc.train.decode import decode_images
from stn_cli.coloc.train.state import RunState
from stn_cli.encoders import make_encoder
from stn_cli.evaluate.precision import average_precision
from stn_cli.geometry import box_iou
from stn_cli.instances.proposer import Proposed
from stn_cli.media.scan import Scan
from stn_cli.records import TrueObject
from stn_cli.runs import checkpoint
from stn_cli.runs.config import TrainConfig
from stn_cli.runs.folder import read_images
from stn_cli.runtime.progress import Silent
from stn_cli.runtime.stopping import StopRequest

MEASURES = ("stn_cli/coloc", "stn_cli/encoders", "stn_cli/instances")
SCORED = 50
"""Untouched images that are looked at."""
CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class Trained:
    """A set, and a run that has learnt it."""

    seen: SearchedSet
    kind: Kind
    truth: list[Tensor]
    """(M, 4) of each image, normalised letterbox boxes."""

    def found(self, proposed: Proposed) -> list[tuple[Tensor, Tensor]]:
        """The boxes of each image, best first, and their scores."""
        index, there = separate(proposed.boxes, proposed.odds, 100, OBJECTS.least)
        rows = zip(proposed.boxes, proposed.odds.sigmoid(), index, there, strict=True)
        return [(boxes[own[keep]], scores[own[keep]]) for boxes, scores, own, keep in rows]

    def search(self, kind: Kind) -> ObjectSearch:
        assert kind.proposer is not None
        return ObjectSearch(self.seen, kind.scorer, kind.boxes[:, 0], None, kind.background)  # type: ignore[arg-type]


def load(name: str, runs: Path) -> Trained:
    """A set and its run, which is trained where it is not there."""
    folder = runs / name
    if not (folder / checkpoint.MODEL).is_file():
        run.train(PHOTOS / name / "images", folder, TrainConfig(), overwrite=True)
    config = TrainConfig.of_run(folder)
    encoder = make_encoder(config.encoder, None, config.layer)
    files = read_images(folder)
    with StopRequest() as stop, tempfile.TemporaryDirectory() as scratch:
        cache, large = decode_images(Scan(files, []), config, encoder.dense, Path(scratch), Silent(), stop)
    state = RunState.from_dict(checkpoint.load_state(folder), config, encoder, len(cache), CPU)
    seen = SearchedSet.of(cache, large, encoder, config, CPU, lambda _: None)
    true = json.loads((PHOTOS / name / "boxes.json").read_text())
    boxes = [
        frame.boxes_to_letterbox(torch.tensor(true[n], dtype=torch.float64).view(-1, 4)).float()
        for n, frame in zip(cache.names, cache.frames, strict=True)
    ]
    return Trained(seen, state.kinds[0], boxes)


def accuracy(found: list[tuple[Tensor, Tensor]], truth: list[Tensor]) -> dict[str, float]:
    """CorLoc and AP50 in percent, and the calibration error, of images side by side."""
    right, scores, hits, both = 0, list[float](), list[bool](), []
    for (boxes, score), true in zip(found, truth, strict=True):
        overlaps = box_iou(boxes[:, None], true[None])
        right += bool(len(boxes)) and float(overlaps[0].max()) > 0.5
        hits += matched(overlaps)
        scores += score.tolist()
        scored = [(s, tuple(1000 * v for v in box)) for s, box in zip(score.tolist(), boxes.tolist(), strict=True)]
        both.append((scored, [TrueObject(tuple(1000 * v for v in box)) for box in true.tolist()]))  # type: ignore[arg-type]
    precision = average_precision(both)  # type: ignore[arg-type]
    return {"corloc": 100 * right / len(truth), "ap50": precision[0], "calibration": calibration_error(scores, hits) or 0.0}


def measure(name: str, runs: Path, asked: list[tuple[str, int]], rivals: list[int]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows of one set, by policy and count."""
    of = load(name, runs)
    n = len(of.truth)
    assert of.kind.proposer is not None
    before = of.found(of.search(of.kind).candidates(of.kind.proposer, torch.arange(n), TAUGHT))
    yield "none", accuracy(before, of.truth)
    doubtful = sorted(range(n), key=lambda i: float(before[i][1].min()) if len(before[i][1]) else 0.0)
    orders = {"chosen": doubtful, "random": random.Random(0).sample(range(n), n)}
    for policy, k in asked:
        labelled = orders[policy][:k]
        others = sorted(random.Random(1).sample(sorted(set(range(n)) - set(labelled)), min(SCORED, n - k)))
        truth = [of.truth[i] for i in others]
        begun = time.process_time()
        annotations = Annotations({i: of.truth[i] for i in labelled}, {i: torch.zeros((0, 4)) for i in labelled})
        search = annotated_search(of.seen, of.kind, annotations)
        proposer, scorer = search.learn_all(of.kind.proposer, of.kind.boxes[:, 0])
        seconds = time.process_time() - begun
        found = of.found(search.search(scorer, of.kind.boxes[:, 0]).candidates(proposer, torch.tensor(others), TAUGHT))
        row = {"after": accuracy(found, truth), "before": accuracy([before[i] for i in others], truth), "seconds": seconds}
        if policy == "chosen" and k in rivals:
            row["detector"] = accuracy(detector(of.seen, annotations, others, 2 * seconds), truth)
            row["neighbours"] = accuracy(neighbours(of.seen, search, annotations, others), truth)
        yield f"{policy} {k}", row


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--sets", nargs="+", metavar="SET", choices=SETS, default=SETS)
    options.add_argument(
        "--runs", type=Path, default=Path(tempfile.gettempdir()) / "stn-coloc-loop", help="folder of runs, by set"
    )
    options.add_argument("--counts", nargs="*", type=int, default=[10, 20, 1, 5, 40], help="images that are chosen")
    options.add_argument("--random", nargs="*", type=int, default=[10, 20, 1], help="images that are drawn")
    options.add_argument("--rivals", nargs="*", type=int, default=[20], help="images that the rivals learn from")
    given = options.parse_args()
    need(PHOTOS)
    torch.set_num_threads(1)
    begin()
    rows, measured = earlier("loop"), list[str]()
    every = [("chosen", k) for k in given.counts] + [("random", k) for k in given.random]
    for name in given.sets:
        mine = rows.setdefault(name, {})
        asked = sorted(
            (a for a in every if f"{a[0]} {a[1]}" not in mine),
            key=lambda a: [10, 20, 1].index(a[1]) if a[1] in (10, 20, 1) else 3,
        )
        for key, row in measure(name, given.runs, asked, given.rivals):
            mine[key] = row
            measured += [] if name in measured else [name]
            save("loop", {"sets": rows}, MEASURES, rows=measured)
            print(f"{name:20}{key:>12}  {json.dumps(row)}", flush=True)


if __name__ == "__main__":
    main()
