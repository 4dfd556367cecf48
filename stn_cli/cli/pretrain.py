"""`stn-coloc pretrain`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
    Threads,
    Verbose,
    Workers,
    one_or_all,
    out_folder,
)
from stn_cli.errors import UsageError, counted
from stn_cli.runtime.launch import launched
from stn_cli.runtime.threads import use_threads

if TYPE_CHECKING:
    from stn_cli.cli.console import Progress
    from stn_cli.pretrain.folder import PretrainOptions
    from stn_cli.pretrain.selfsupervised import SelfSupervisedRecipe

Images = Annotated[
    list[str],
    typer.Argument(
        help="Folders, images, globs, .txt lists of paths, or - for paths on stdin; thousands of images.", show_default=False
    ),
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with a pretraining that was stopped; the same settings.")]
Start = Annotated[
    str,
    typer.Option(
        "--from", help="small: begin from the package's own weights, which were learnt with class labels; scratch: from none."
    ),
]


def pretrain(
    source: Images,
    out: Annotated[Path | None, out_folder(ENCODER)] = None,
    overwrite: Overwrite = False,
    resume: Resume = False,
    start: Start = "small",
    steps: Annotated[int, typer.Option(help="Optimiser steps.")] = 2000,
    batch: Annotated[int, typer.Option(help="Images per step, two views of each.")] = 64,
    view: Annotated[int, typer.Option(help="Side of a view, pixels.")] = 64,
    imgsz: Annotated[int, typer.Option(help="Images are reduced to this many pixels on their longer side.")] = 192,
    lr: Annotated[float, typer.Option(help="Highest learning rate.")] = 1e-3,
    seed: Annotated[int, typer.Option(help="Seed of the random numbers: the same seed, the same results.")] = 0,
    device: Device = None,
    threads: Threads = None,
    workers: Workers = None,
    max_pixels: MaxPixels = None,
    strict: Strict = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    debug: Debug = False,
) -> None:
    """Learn an encoder from many images; none of them needs a label.

    It needs thousands of images. Use the folder that it writes with train --encoder FOLDER.
    """
    if start not in ("small", "scratch"):
        raise UsageError("unknown --from", start, "known: small, scratch")
    check_shared(workers=workers, max_pixels=max_pixels)
    check_within("--steps", steps, 10, 10_000_000, whole=True)
    check_within("--imgsz", imgsz, 32, 2048, whole=True)
    use_threads(threads)

    from stn_cli.cli.console import Progress
    from stn_cli.pretrain.folder import PretrainOptions
    from stn_cli.pretrain.selfsupervised import SelfSupervisedRecipe

    recipe = SelfSupervisedRecipe(steps, batch, view, lr=lr, seed=seed)
    if view > imgsz:
        raise UsageError("--view must be no larger than --imgsz", view)
    options = PretrainOptions(imgsz, start == "scratch", device or "auto", workers, max_pixels)
    progress = Progress(quiet=quiet or not launched().speaks, verbose=verbose)
    _pretrain(source, out or Path(ENCODER), recipe, options, overwrite, resume, progress, json, strict)


def _pretrain(
    source: list[str], folder: Path, recipe: SelfSupervisedRecipe, options: PretrainOptions, overwrite: bool, resume: bool,
    progress: Progress, json: bool, strict: bool,
) -> None:  # fmt: skip
    """Train, and say what came of it."""
    from stn_cli.cli.console import conclude
    from stn_cli.pretrain import folder as room

    try:
        result = room.pretrain_folder(
            one_or_all(source) or [], folder, recipe, options, overwrite=overwrite, resume=resume, reporter=progress
        )
    finally:
        progress.close()
    if not launched().speaks:
        return
    progress.skipped(result.skipped)
    progress.say(
        f"{counted(result.images, 'image')}, loss {result.loss:.2f}, {result.seconds:.0f} s; stn-coloc train ... --encoder {folder}"
    )
    facts = {
        "encoder": str(folder),
        "images": result.images,
        "skipped": len(result.skipped),
        "loss": round(result.loss, 4),
        "seconds": round(result.seconds, 2),
    }
    conclude(folder, facts, result.skipped, folder, json=json, strict=strict)
