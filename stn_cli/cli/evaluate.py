"""`stn-coloc evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stn_cli.cli.options import Debug, Json
from stn_cli.errors import UsageError


def evaluate(
    predicted: Annotated[Path, typer.Argument(metavar="PRED", help="boxes.json that localise wrote.")],
    truth: Annotated[Path, typer.Argument(help="JSON {file: [[x1, y1, x2, y2]]}, COCO JSON, or a folder of VOC XML.")],
    iou: Annotated[float, typer.Option(help="A box is right above this IoU.")] = 0.5,
    csv: Annotated[Path | None, typer.Option(help="Write a row per image here.", show_default=False)] = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Score boxes against truth: CorLoc, mean IoU."""
    if not 0 <= iou < 1:
        raise UsageError("--iou must be 0 to 1", iou)
    from stn_cli import evaluate as scoring
    from stn_cli.cli.console import print_json, print_table

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
