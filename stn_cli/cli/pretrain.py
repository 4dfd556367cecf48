"""`stn-coloc pretrain`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stn_cli.bounds import check_shared, check_within
from stn_cli.cli.options import (
    ENCODER,
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


def pretrain(
    source: Annotated[
        list[str],
        typer.Argument(
            help="Folders, images, globs, .txt lists of paths, or - for paths on stdin; thousands of images.",
            show_default=False,
        ),
    ],
    out: Annotated[Path | None, out_folder(ENCODER)] = None,
    overwrite: Overwrite = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a pretraining that was stopped; the same settings.")
    ] = False,
    start: Annotated[
        str, typer.Option("--from", help="small: begin from the package's own weights; scratch: from none.")
    ] = "small",
    steps: Annotated[int, typer.Option(help="Optimiser steps.")] = 2000,
    batch: Annotated[int, typer.Option(help="Images per step, two views of each.")] = 64,
    view: Annotated[int, typer.Option(help="Side of a view, pixels.")] = 64,
    imgsz: Annotated[int, typer.Option(help="Longer side that images are reduced to.")] = 192,
    lr: Annotated[float, typer.Option(help="Highest learning rate.")] = 1e-3,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
    device: Device = None,
    workers: Workers = None,
    max_pixels: MaxPixels = None,
    strict: Strict = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    debug: Debug = False,
) -> None:
    """Learn an encoder from a large folder of images, without labels; use it with train --encoder FOLDER."""
    if start not in ("small", "scratch"):
        raise UsageError("unknown --from", start, "known: small, scratch")
    check_shared(workers=workers, max_pixels=max_pixels)
    check_within("--steps", steps, 10, 10_000_000, whole=True)
    check_within("--imgsz", imgsz, 32, 2048, whole=True)

    from stn_cli.cli.console import Progress, print_json
    from stn_cli.errors import InputError
    from stn_cli.pretrain.folder import pretrain_folder
    from stn_cli.pretrain.selfsupervised import Recipe

    progress = Progress(quiet=quiet, verbose=verbose)
    folder = out or Path(ENCODER)
    recipe = Recipe(steps, batch, view, lr=lr, seed=seed)
    if view > imgsz:
        raise UsageError("--view must be no larger than --imgsz", view)
    try:
        result = pretrain_folder(
            one_or_all(source) or [], folder, recipe, imgsz=imgsz, scratch=start == "scratch", overwrite=overwrite, resume=resume,
            device=device or "auto", workers=workers, max_pixels=max_pixels, reporter=progress,
        )  # fmt: skip
    finally:
        progress.close()
    progress.skipped(result.skipped)
    progress.say(
        f"{counted(result.images, 'image')}, loss {result.loss:.2f}, {result.seconds:.0f} s; stn-coloc train ... --encoder {folder}"
    )
    if json:
        print_json(
            {
                "encoder": str(folder),
                "images": result.images,
                "skipped": len(result.skipped),
                "loss": round(result.loss, 4),
                "seconds": round(result.seconds, 2),
            }
        )
    else:
        print(folder)
    if strict and result.skipped:
        raise InputError(f"{counted(len(result.skipped), 'file')} skipped", folder / "skipped.jsonl", "--strict")
