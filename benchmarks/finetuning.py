"""What the last stage of a training is worth: the transformer's own windows before and after fine-tuning by the triplet objective.

    python -m benchmarks.finetuning [--sets SET ...] [--seeds 0]

Each set is trained with default settings. Of the window that the finder gives for each image, before the stage and after it: CorLoc and mean IoU
with the best of the true objects; the objective of images that are held out of the steps, and whether the weights after it were kept. Sizes are
matched to the search's in both. (What `localise` gives is chosen among proposals as well: `benchmarks.photos`.)
"""

from __future__ import annotations

import copy
import json
import sys
import tempfile
from pathlib import Path
from statistics import mean
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that it also runs as a file

from benchmarks.common import PHOTOS, need, parser
from benchmarks.photo_table import HALVES, SETS
from benchmarks.provenance import begin, earlier, save
from stn_cli.coloc.model.finder import predict
from stn_cli.coloc.score.scorers import DenseScorer
from stn_cli.coloc.train import run
from stn_cli.coloc.train.context import Context
from stn_cli.coloc.train.finetune import finetune, match_sizes
from stn_cli.coloc.train.state import RunState
from stn_cli.geometry import box_iou

MEASURES = ("stn_cli/coloc", "stn_cli/encoders", "stn_cli/instances")


class _Done(Exception):
    """The stage was measured; the rest of the training is not needed."""


def overlaps(context: Context, state: RunState, truth: dict[str, Any]) -> torch.Tensor:
    """IoU (N,) of the finder's window in each image with the best of its true objects."""
    found = predict(state.finder, context.cache, context.device, torch.arange(len(context.cache))).boxes()[:, 0].double()
    out = []
    for box, name, frame in zip(found, context.cache.names, context.cache.frames, strict=True):
        true = frame.boxes_to_letterbox(torch.tensor(truth[name], dtype=torch.float64).view(-1, 4))
        out.append(box_iou(box[None], true).max() if len(true) else torch.zeros((), dtype=torch.float64))
    return torch.stack(out)


def measure(name: str, seed: int) -> dict[str, Any]:
    """One row of the table."""
    truth, row = json.loads((PHOTOS / name / "boxes.json").read_text()), dict[str, Any]()

    def said(when: str, context: Context, state: RunState) -> None:
        iou = overlaps(context, state, truth)
        row[f"corloc_{when}"], row[f"iou_{when}"] = 100 * float((iou > 0.5).double().mean()), float(iou.mean())

    def watched(context: Context, state: RunState) -> None:
        weights = copy.deepcopy(state.finder.state_dict())
        if isinstance(state.kind.scorer, DenseScorer):
            match_sizes(state.finder, state.kind, context.cache, context.device, context.config.seed)
        said("before", context, state)
        state.finder.load_state_dict(weights)
        finetune(context, state)
        said("after", context, state)
        lines = (context.folder / "metrics.jsonl").read_text("utf-8").splitlines()
        last = next(line for line in reversed([json.loads(line) for line in lines]) if "kept" in line)
        row.update({key: last[key] for key in ("objective_before", "objective_after", "kept")}, kind=state.kind.kind)
        raise _Done

    run.WORK["finetune"] = watched
    with tempfile.TemporaryDirectory() as folder:
        try:
            run.train(PHOTOS / name / "images", Path(folder) / "run", run.TrainConfig(seed=seed))
        except _Done:
            return row
    raise AssertionError("there was no fine-tuning")


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--sets", nargs="+", metavar="SET", choices=SETS, default=SETS)
    options.add_argument("--seeds", nargs="+", metavar="SEED", type=int, default=(0,))
    given = options.parse_args()
    need(PHOTOS)
    begin()
    rows, measured = earlier("finetuning"), list[str]()
    print(f"{'set':24}{'CorLoc':>14}{'mean IoU':>16}{'objective':>18}  kept")
    for name in given.sets:
        for seed in given.seeds:
            key = f"{name} {seed}"
            r = rows[key] = measure(name, seed)
            measured.append(key)
            print(
                f"{key:24}{r['corloc_before']:6.1f} -> {r['corloc_after']:4.1f}{r['iou_before']:8.3f} -> {r['iou_after']:.3f}"
                f"{r['objective_before']:9.3f} -> {r['objective_after']:.3f}  {r['kept']}",
                flush=True,
            )
            save("finetuning", {"sets": rows}, MEASURES, rows=measured, seeds=given.seeds)
    for title, names in HALVES.items():
        kept = [r for key, r in rows.items() if key.rpartition(" ")[0] in names]
        if kept:
            figures = [mean(r[f"{what}_{when}"] for r in kept) for what in ("corloc", "iou") for when in ("before", "after")]
            print("{:34}{:6.1f} -> {:4.1f}{:8.3f} -> {:.3f}".format(title, *figures))


if __name__ == "__main__":
    main()
