"""`stn-coloc evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stn_cli.cli.options import Debug, Json
from stn_cli.errors import UsageError


def evaluate(
    predicted: Annotated[
        Path, typer.Argument(metavar="PRED", help="boxes.json of localise; tracks.json or tracks.txt of track.")
    ],
    truth: Annotated[
        Path,
        typer.Argument(
            help="JSON {file: [[x1, y1, x2, y2]]}, COCO JSON, a folder of VOC XML; of a video a JSON list of boxes or MOTChallenge text."
        ),
    ],
    iou: Annotated[float, typer.Option(help="A box is right above this IoU.")] = 0.5,
    csv: Annotated[Path | None, typer.Option(help="Write a row per image, or frame, here.", show_default=False)] = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Score boxes against truth (CorLoc, mean IoU), or tracks (success AUC, precision; HOTA, IDF1, MOTA)."""
    if not 0 <= iou < 1:
        raise UsageError("--iou must be 0 to 1", iou)
    from stn_cli import evaluate as scoring
    from stn_cli import evaluate_tracks as tracks
    from stn_cli.cli.console import print_json, print_table

    if not truth.is_dir() and tracks.is_tracks(predicted):
        _evaluate_tracks(predicted, truth, csv, json)
        return
    result = scoring.score_boxes(predicted, truth, iou)
    if csv is not None:
        scoring.write_per_image(csv, result)
    best, rest = result.best_half()
    if json:
        print_json(
            {
                "corloc": round(result.corloc, 2),
                "mean_iou": round(result.mean_iou, 4),
                "images": len(result.images),
                "missing": result.missing,
                "corloc_best_half": round(best, 2),
                "corloc_rest": round(rest, 2),
            }
        )
        return
    print_table(
        [
            (f"CorLoc (IoU > {iou:g})", f"{result.corloc:.1f} %"),
            ("mean IoU", f"{result.mean_iou:.3f}"),
            ("images", str(len(result.images))),
            ("without a box", str(result.missing)),
            ("CorLoc of the better-scored half", f"{best:.1f} %"),
            ("CorLoc of the rest", f"{rest:.1f} %"),
        ]
    )


def _evaluate_tracks(predicted: Path, truth: Path, csv: Path | None, json: bool) -> None:
    from stn_cli import evaluate_tracks as scoring
    from stn_cli.cli.console import print_json, print_table
    from stn_cli.records import TrackedFrame

    found, true = scoring.read_any_tracks(predicted), scoring.read_track_truth(truth)
    several = [frame for frame in true if isinstance(frame, TrackedFrame)]
    if several:
        if csv is not None:
            raise UsageError("--csv is for the truth of one object", csv)
        result = scoring.score_several(found, several)
        rows = {"hota": result.hota, "detection": result.detection, "association": result.association, "idf1": result.idf1}
        values: dict[str, float | int | None] = {**rows, "mota": result.mota, "id_switches": result.switches}
    else:
        one = scoring.score_one(found, [box for box in true if not isinstance(box, TrackedFrame)])
        if csv is not None:
            scoring.write_per_frame(csv, one)
        values = {
            "success_auc": one.success,
            "precision_20px": one.precision,
            "precision_normalised": one.normalised_precision,
            "mean_iou": one.mean_iou,
            "false_alarms": one.false_alarms,
            "frames": len(one.frames),
        }
    rounded = {name: round(value, 4) if isinstance(value, float) else value for name, value in values.items()}
    if json:
        print_json(rounded)
        return
    print_table([(name.replace("_", " "), "-" if value is None else f"{value:g}") for name, value in rounded.items()])
