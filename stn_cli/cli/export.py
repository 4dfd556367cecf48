"""`stn-coloc export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stn_cli.bounds import check_shared
from stn_cli.cli.completion import offers
from stn_cli.cli.options import (
    DATA_SET,
    Debug,
    Json,
    KeptScore,
    Label,
    Labels,
    MaxPixels,
    Overwrite,
    Quiet,
    Strict,
    Threads,
    Verbose,
    Workers,
    out_folder,
)
from stn_cli.errors import counted
from stn_cli.runtime.threads import use_threads

if TYPE_CHECKING:
    from stn_cli.data_sets.options import ExportSummary

Boxes = Annotated[
    Path,
    typer.Argument(
        metavar="BOXES", help="boxes.json of localise, COCO of another tool, JSON {file: [[x1, y1, x2, y2]]}, or VOC XML."
    ),
]
SetFormat = Annotated[
    str,
    typer.Option(
        "--format",
        help="coco, coco-results, yolo, yolo-segment, yolo-obb, voc, label-studio, csv, parquet, or crops.",
        autocompletion=offers(
            "coco", "coco-results", "yolo", "yolo-segment", "yolo-obb", "voc", "label-studio", "csv", "parquet", "crops"
        ),
    ),
]
Split = Annotated[
    str | None,
    typer.Option(
        help="Percents of training, validation and test, such as 80,10,10.",
        show_default="80,20; label-studio, csv and parquet are not split",
    ),
]
Images = Annotated[
    str | None,
    typer.Option(
        help="copy or link the pictures into the data set, or none.", show_default="copy; none for the three that are not split"
    ),
]
Source = Annotated[
    Path | None, typer.Option(help="Folder of the images.", show_default="as BOXES says, or the folder that BOXES lies in")
]
GroupBy = Annotated[
    str,
    typer.Option(
        help="What stays in one part: alike (images that look alike), folder (those of one folder), or file (each by itself)."
    ),
]
CropSide = Annotated[int, typer.Option(help="Side of a crop, pixels.")]


def export(
    boxes: Boxes,
    format: SetFormat = "coco",
    out: Annotated[Path | None, out_folder(DATA_SET)] = None,
    overwrite: Overwrite = False,
    split: Split = None,
    min_score: KeptScore = None,
    images: Images = None,
    source: Source = None,
    label: Label = None,
    labels: Labels = None,
    group_by: GroupBy = "alike",
    crop_size: CropSide = 256,
    threads: Threads = None,
    workers: Workers = None,
    max_pixels: MaxPixels = None,
    strict: Strict = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    debug: Debug = False,
) -> None:
    """Make a data set of boxes, for a trainer or an annotation tool.

    Images that look alike, as copies and frames of one clip do, are never on both sides of the split. Files that are added later move no
    others from one side to the other, but for those that they look alike to.
    """
    check_shared(min_score=min_score, crop_size=crop_size, workers=workers, max_pixels=max_pixels)
    use_threads(threads)
    from stn_cli.data_sets.split import parse_split
    from stn_cli.formats.labels import parse_labels

    shares = None if split is None else parse_split(split)
    called = parse_labels(label, labels)

    from stn_cli.cli.console import Progress, conclude
    from stn_cli.data_sets.options import ExportOptions
    from stn_cli.jobs.export import export_boxes

    progress = Progress(quiet=quiet, verbose=verbose)
    options = ExportOptions(format, shares, min_score, images, called, source, group_by, crop_size, workers, max_pixels)
    folder = out or Path(DATA_SET)
    try:
        summary = export_boxes(boxes, folder, options, overwrite=overwrite, reporter=progress)
    finally:
        progress.close()
    progress.skipped(summary.skipped)
    progress.say(_in_words(summary))
    conclude(folder, _facts(summary), summary.skipped, folder, json=json, strict=strict)


def _in_words(summary: ExportSummary) -> str:
    total = sum(summary.images.values())
    parts = ", ".join(f"{name} {count}" for name, count in sorted(summary.images.items(), key=lambda part: -part[1]) if name)
    words = counted(total, "image") + (f" in {counted(summary.groups, 'group')} ({parts})" if parts else "")
    below = f", {counted(summary.below, 'object')} {summary.doubt} left out" if summary.below else ""
    return f"{words}, {counted(summary.objects, 'object')}{below}"


def _facts(summary: ExportSummary) -> dict[str, Any]:
    """What `--json` prints."""
    return {
        "dataset": str(summary.out),
        "images": sum(summary.images.values()),
        "parts": {name: count for name, count in summary.images.items() if name},
        "groups": summary.groups,
        "objects": summary.objects,
        "below": summary.below,
        "doubtful": summary.doubtful,
        "rewritten": summary.rewritten,
        "cut": summary.cut,
        "skipped": len(summary.skipped),
        "seconds": round(summary.seconds, 2),
    }
