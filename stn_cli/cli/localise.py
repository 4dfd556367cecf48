"""`stn-coloc localise`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stn_cli.bounds import check_shared
from stn_cli.cli.options import (
    BOXES,
    RUN,
    Debug,
    Device,
    Json,
    MaxPixels,
    Overwrite,
    Quiet,
    Strict,
    Verbose,
    Workers,
    one_or_all,
    out_folder,
)
from stn_cli.errors import UsageError, counted


def localise(
    source: Annotated[
        list[str] | None,
        typer.Argument(help="As for train; the run's own images when left out.", show_default=False),
    ] = None,
    model: Annotated[Path, typer.Option("--model", "-m", help="Run folder.")] = Path(RUN),
    out: Annotated[Path | None, out_folder(BOXES)] = None,
    overwrite: Overwrite = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a call that was stopped: repeat it, with this.")] = False,
    min_score: Annotated[float, typer.Option(help="Leave out objects below this score.")] = 0.0,
    format: Annotated[str, typer.Option(help="Formats beside COCO, with commas: csv, coco-results.")] = "",
    crops: Annotated[bool, typer.Option("--crops", help="Cut pose-normalised crops at full resolution.")] = False,
    crop_size: Annotated[int, typer.Option(help="Longer side of a crop, pixels.")] = 256,
    overlay: Annotated[bool, typer.Option("--overlay", help="Write the images with boxes drawn.")] = False,
    device: Device = None,
    batch: Annotated[int, typer.Option(help="Images per call of the network.")] = 64,
    workers: Workers = None,
    max_pixels: MaxPixels = None,
    strict: Strict = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    debug: Debug = False,
) -> None:
    """Give a box, a confidence and a crop for each image; writes boxes.json (COCO)."""
    check_shared(min_score=min_score, batch=batch, crop_size=crop_size, workers=workers, max_pixels=max_pixels)
    if resume and overwrite:
        raise UsageError("--resume goes on with what --overwrite would replace", None, None, "Give one of them")

    from stn_cli.cli.console import Progress, print_json
    from stn_cli.errors import InputError
    from stn_cli.jobs.localise import LocaliseOptions, localise_source

    progress = Progress(quiet=quiet, verbose=verbose)
    options = LocaliseOptions(
        min_score=min_score,
        formats=tuple(part.strip() for part in format.split(",") if part.strip()),
        crops=crops,
        crop_size=crop_size,
        overlay=overlay,
        batch=batch,
        workers=workers,
        max_pixels=max_pixels,
    )
    folder = out or Path(BOXES)
    try:
        summary = localise_source(
            one_or_all(source),
            model,
            folder,
            options,
            overwrite=overwrite,
            resume=resume,
            device=device or "auto",
            reporter=progress,
        )
    finally:
        progress.close()
    progress.skipped(summary.skipped)
    progress.say(
        f"{counted(summary.images, 'image')}, {counted(summary.objects, 'object')}, {summary.doubtful} of them below 0.5, "
        f"{summary.images / max(summary.seconds, 1e-9):.0f} images/s"
    )
    if json:
        print_json(
            {
                "boxes": str(folder / "boxes.json"),
                "images": summary.images,
                "objects": summary.objects,
                "doubtful": summary.doubtful,
                "skipped": len(summary.skipped),
                "seconds": round(summary.seconds, 2),
            }
        )
    else:
        print(folder / "boxes.json")
    if strict and summary.skipped:
        raise InputError(f"{counted(len(summary.skipped), 'file')} skipped", folder / "skipped.jsonl", "--strict")
