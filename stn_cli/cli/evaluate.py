"""`stn-coloc evaluate`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stn_cli.cli.options import Debug, Json, Quiet, parse_csv
from stn_cli.errors import UsageError, counted

if TYPE_CHECKING:
    from stn_cli.evaluate import Evaluation
    from stn_cli.formats.tracks import Tracks


Predicted = Annotated[
    Path,
    typer.Argument(metavar="PRED", help="Folder or file of localise or track, COCO of another tool, or MOTChallenge text."),
]
Truth = Annotated[
    Path,
    typer.Argument(
        help="JSON {file: [[x1, y1, x2, y2]]}, COCO JSON, a folder of VOC XML; of a video a JSON list of boxes or MOTChallenge text."
    ),
]


def evaluate(
    predicted: Predicted,
    truth: Truth,
    iou: Annotated[float, typer.Option(help="A box is right above this IoU.")] = 0.5,
    score: Annotated[float, typer.Option(help="Recall and precision are of boxes with at least this score.")] = 0.5,
    category: Annotated[
        str | None, typer.Option(help="Only objects of this category of the truth: name or id.", show_default="all")
    ] = None,
    csv: Annotated[
        Path | None,
        typer.Option(metavar="<path>", parser=parse_csv, help="Write a row per image, or frame, here.", show_default=False),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="--csv may replace an earlier --csv, and nothing else.")
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Compare boxes, or tracks, with the truth.

    Of boxes it prints CorLoc, mean IoU and AP; of one tracked object success AUC and precision, of several HOTA, IDF1 and MOTA.
    """
    if not 0 <= iou < 1:
        raise UsageError("--iou must be 0 to 1", iou)
    if not math.isfinite(score):
        raise UsageError("--score must be a number", score)
    from stn_cli.cli.console import print_json, print_table
    from stn_cli.evaluate.predicted import read_predicted
    from stn_cli.evaluate.tracks import is_text
    from stn_cli.formats.results_folder import predictions_in
    from stn_cli.formats.tracks import is_tracks, parse_tracks

    predicted = predictions_in(predicted)
    data = None if is_text(predicted) else read_predicted(predicted)
    if is_text(predicted) or is_tracks(data):
        if category is not None:
            raise UsageError("--category is for boxes of images", category)
        tracks = None if data is None else parse_tracks(data, predicted)
        _evaluate_tracks(predicted, tracks, truth, csv, overwrite, json, quiet)
        return
    result = _evaluate_boxes(data, predicted, truth, iou, score, category, csv, overwrite, quiet)
    if json:
        print_json(_as_json(result))
    else:
        print_table(_as_table(result))


def _evaluate_boxes(
    data: object,
    predicted: Path,
    truth: Path,
    iou: float,
    score: float,
    category: str | None,
    csv: Path | None,
    overwrite: bool,
    quiet: bool,
) -> Evaluation:
    """Score boxes of images, write --csv, and say what there is to note."""
    from stn_cli import evaluate as scoring
    from stn_cli.cli.console import Progress
    from stn_cli.formats.csv import csv_kind
    from stn_cli.outputs.targets import check_target

    if csv is not None:
        check_target(csv, csv_kind(scoring.HEADER), [predicted, truth], overwrite=overwrite)
    result = scoring.score_json(data, predicted, scoring.read_truth(truth, category), iou, score=score)
    if csv is not None:
        scoring.write_per_image(csv, result)
    notes = Progress(quiet=quiet)
    for note in result.notes:
        notes.say(f"note: {note}")
    return result


def _as_json(result: Evaluation) -> dict[str, float | int | None]:
    best, rest = result.best_half()
    counts = result.counts
    return {
        "corloc": round(result.corloc, 2),
        "mean_iou": round(result.mean_iou, 4),
        "images": len(result.images),
        "missing": result.missing,
        "corloc_best_half": round(best, 2),
        "corloc_rest": round(rest, 2),
        "ap50": _rounded(result.ap50),
        "ap": _rounded(result.ap),
        "score": result.score,
        "recall": _rounded(counts.recall),
        "precision": _rounded(counts.precision),
        "objects": counts.objects,
        "boxes": counts.right + counts.wrong,
        "images_without_object": len(result.empty),
        "not_predicted": result.not_predicted,
        "without_truth": result.without_truth,
        "difficult": result.difficult,
        "crowd": result.crowd,
    }


def _as_table(result: Evaluation) -> list[tuple[str, str]]:
    best, rest = result.best_half()
    at = f"(score >= {result.score:g}, IoU > {result.threshold:g})"
    return [
        (f"CorLoc (IoU > {result.threshold:g})", _percent(result.corloc)),
        ("mean IoU", f"{result.mean_iou:.3f}"),
        ("images", str(len(result.images))),
        ("without a box", str(result.missing)),
        *([("of these not among the predictions", str(result.not_predicted))] if result.not_predicted else []),
        ("CorLoc of the better-scored half", _percent(best)),
        ("CorLoc of the rest", _percent(rest)),
        ("AP (IoU .5)", _percent(result.ap50)),
        ("AP (IoU .5 to .95)", _percent(result.ap)),
        (f"recall {at}", _percent(result.counts.recall)),
        (f"precision {at}", _percent(result.counts.precision)),
        ("objects", str(result.counts.objects)),
    ]


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} %"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)


def _evaluate_tracks(
    predicted: Path, tracks: Tracks | None, truth: Path, csv: Path | None, overwrite: bool, json: bool, quiet: bool
) -> None:
    from stn_cli.cli.console import Progress, print_json, print_table
    from stn_cli.evaluate import tracks as scoring
    from stn_cli.formats.csv import csv_kind
    from stn_cli.outputs.targets import check_target
    from stn_cli.records import TrackedFrame

    if csv is not None:
        check_target(csv, csv_kind(scoring.FRAME_HEADER), [predicted, truth], overwrite=overwrite)
    found = scoring.read_any_tracks(predicted) if tracks is None else tracks.frames
    if tracks is not None and not tracks.complete:
        held = counted(len(found), "frame")
        Progress(quiet=quiet).say(
            f"note: the track was stopped before it was done and holds {held}; an object in any other counts as missed"
        )
    true = scoring.read_track_truth(truth)
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
