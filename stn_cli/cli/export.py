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
from stn_cli.errors import UsageError, counted
from stn_cli.runtime.threads import use_picture_threads, use_threads

if TYPE_CHECKING:
    from stn_cli.cli.console import Progress
    from stn_cli.data_sets.options import ExportOptions, ExportSummary

ONNX, ONNX_OUT = "onnx", "stn-coloc-finder.onnx"
"""The format that takes a run, and where its file goes unless `--out` says otherwise."""
CROP = 256
"""Side of a crop unless `--crop-size` says otherwise, pixels."""
Boxes = Annotated[
    Path,
    typer.Argument(
        metavar="BOXES|RUN",
        help="Folder or boxes.json of localise, COCO of another tool, JSON {file: [[x1, y1, x2, y2]]}, or VOC XML; for onnx a run folder.",
    ),
]
SetFormat = Annotated[
    str,
    typer.Option(
        "--format",
        help="coco, coco-results, yolo, yolo-segment, yolo-obb, voc, label-studio, csv, parquet, or crops; onnx for a run.",
        autocompletion=offers(
            *(
                "coco",
                "coco-results",
                "yolo",
                "yolo-segment",
                "yolo-obb",
                "voc",
                "label-studio",
                "csv",
                "parquet",
                "crops",
                "onnx",
            )
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
    out: Annotated[Path | None, out_folder(f"{DATA_SET}; for onnx {ONNX_OUT}")] = None,
    overwrite: Overwrite = False,
    split: Split = None,
    min_score: KeptScore = None,
    images: Images = None,
    source: Source = None,
    label: Label = None,
    labels: Labels = None,
    group_by: GroupBy = "alike",
    crop_size: CropSide = CROP,
    threads: Threads = None,
    workers: Workers = None,
    max_pixels: MaxPixels = None,
    strict: Strict = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    debug: Debug = False,
) -> None:
    """Make a data set of boxes, or an ONNX file of a run.

    With --format onnx a run becomes a file that other programs can run. Images of a data set that look alike, as copies and frames of one
    clip do, are never on both sides of the split; files that are added later move no others but those that they look alike to.
    """
    check_shared(min_score=min_score, crop_size=crop_size, workers=workers, max_pixels=max_pixels)
    use_threads(threads) if format == ONNX else use_picture_threads(threads)
    from stn_cli.cli.console import Progress
    from stn_cli.formats.labels import parse_labels

    called = parse_labels(label, labels)
    _check_fit(boxes, format, out)
    progress = Progress(quiet=quiet, verbose=verbose)
    if format == ONNX:
        own: dict[str, object] = {"split": split, "images": images, "source": source, "workers": workers}
        own |= {"max-pixels": max_pixels, "group-by": group_by != "alike", "crop-size": crop_size != CROP, "strict": strict}
        _refuse(own)
        _export_run(boxes, out or Path(ONNX_OUT), min_score, called, overwrite, progress, json=json)
        return
    from stn_cli.data_sets.options import ExportOptions
    from stn_cli.data_sets.split import parse_split

    shares = None if split is None else parse_split(split)
    options = ExportOptions(format, shares, min_score, images, called, source, group_by, crop_size, workers, max_pixels)
    _export_set(boxes, out or Path(DATA_SET), options, overwrite, progress, json=json, strict=strict)


def _export_set(
    boxes: Path, folder: Path, options: ExportOptions, overwrite: bool, progress: Progress, *, json: bool, strict: bool
) -> None:
    """Make a data set of boxes."""
    from stn_cli.cli.console import conclude
    from stn_cli.jobs.export import export_boxes

    try:
        summary = export_boxes(boxes, folder, options, overwrite=overwrite, reporter=progress)
    finally:
        progress.close()
    progress.skipped(summary.skipped)
    progress.say(_in_words(summary))
    conclude(folder, _facts(summary), summary.skipped, folder, json=json, strict=strict)


def _check_fit(given: Path, format: str, out: Path | None) -> None:
    """See that what is exported, the format and the target are of one kind: a run, or boxes.

    Raises:
        UsageError: they are not.
    """
    from stn_cli.runs.folder import MODEL

    is_run = (given / MODEL).is_file()
    if format == ONNX and given.exists() and not given.is_dir():
        raise UsageError(
            "--format onnx is for a run folder, and this is a file", given, None, "Name the folder that train wrote"
        )
    if format != ONNX and is_run:
        todo = "Use --format onnx, or first stn-coloc localise, which writes boxes.json"
        raise UsageError("a run has no boxes to make a data set of", given, f"--format {format}", todo)
    if format != ONNX and out is not None and out.suffix.lower() == ".onnx":
        raise UsageError("an ONNX file is written with --format onnx", out, f"--format {format}")


def _refuse(given: dict[str, object]) -> None:
    """Refuse options that say how a data set is made, by their names; None and False are those that were left out.

    Raises:
        UsageError: there are some.
    """
    for name, value in given.items():
        if value is not None and value is not False:
            raise UsageError(f"--{name} is for data sets, not for --format onnx", None, None, "Leave it out")


def _export_run(
    run: Path, out: Path, min_score: float | None, labels: tuple[str, ...], overwrite: bool, progress: Progress, *, json: bool
) -> None:
    """Write a run as an ONNX file."""
    from stn_cli.cli.console import print_json
    from stn_cli.jobs.export_onnx import export_run

    try:
        done = export_run(run, out, min_score=min_score, labels=labels, overwrite=overwrite, reporter=progress)
    finally:
        progress.close()
    progress.say(f"{done.size / 1e6:.1f} MB, pictures in (B, H, W, 3), boxes and scores out")
    if json:
        print_json({"onnx": str(done.out), "bytes": done.size, "names": done.names, "seconds": round(done.seconds, 2)})
    else:
        print(done.out)


def _in_words(summary: ExportSummary) -> str:
    total = sum(summary.images.values())
    parts = ", ".join(f"{name} {count}" for name, count in sorted(summary.images.items(), key=lambda part: -part[1]) if name)
    words = counted(total, "image") + (
        f" in {counted(summary.groups, 'group')} that {'is' if summary.groups == 1 else 'are'} not split ({parts})"
        if parts
        else ""
    )
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
