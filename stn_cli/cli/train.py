"""`stn-coloc train`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stn_cli.cli.options import (
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
from stn_cli.errors import OutputError, UsageError, counted

if TYPE_CHECKING:
    from stn_cli.cli.console import Progress
    from stn_cli.runs.config import TrainConfig

TRANSFORMS = (
    "attention", "fixed_attention", "box", "euclidean", "similarity", "affine", "projective", "piecewise_affine",
    "thin_plate_spline", "structured",
)  # fmt: skip
"""Names of `stn_cli.stn.TRANSFORMS`, written out because help must not wait for torch; a test holds them together."""


def train(
    source: Annotated[
        list[str] | None,
        typer.Argument(help="Folders, images, globs, .txt lists of paths, or - for paths on stdin.", show_default=False),
    ] = None,
    out: Annotated[Path | None, out_folder(RUN)] = None,
    overwrite: Overwrite = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was stopped, with its own settings.")] = False,
    encoder: Annotated[
        str | None,
        typer.Option(
            help="small, gradient, a torchvision network, dino_vits16, or a folder of stn-coloc pretrain.", show_default="small"
        ),
    ] = None,
    weights: Annotated[str | None, typer.Option(help="File with the encoder's weights.", show_default=False)] = None,
    layer: Annotated[str | None, typer.Option(help="Layer of the encoder to take.", show_default="last of stride 16")] = None,
    transform: Annotated[
        str | None, typer.Option(help=f"What crops may do: {', '.join(TRANSFORMS)}.", show_default="box")
    ] = None,
    objects: Annotated[int | None, typer.Option(help="Objects to find in each image.", show_default="1")] = None,
    cascade: Annotated[
        int | None, typer.Option(help="Levels, coarse to fine, for small objects in large images.", show_default="1")
    ] = None,
    search: Annotated[
        str | None,
        typer.Option(help="What the object is: rigid (keeps its form), deformable (does not), or auto.", show_default="auto"),
    ] = None,
    size: Annotated[
        str | None, typer.Option(help="LO-HI: side of the object as a share of the image's.", show_default="auto")
    ] = None,
    imgsz: Annotated[int | None, typer.Option(help="Longer side images are looked at.", show_default="128")] = None,
    margin: Annotated[float | None, typer.Option(help="Margin of the triplet loss.", show_default="1.0")] = None,
    steps: Annotated[int | None, typer.Option(help="Regression steps at most.", show_default="400")] = None,
    finetune: Annotated[
        int | None, typer.Option(help="Steps that lower the loss of the transformer's own crops.", show_default="40")
    ] = None,
    search_images: Annotated[
        int | None, typer.Option(help="Images that the search looks at; it labels them all.", show_default="160")
    ] = None,
    batch: Annotated[int | None, typer.Option(help="Images per step.", show_default="32")] = None,
    lr: Annotated[float | None, typer.Option(help="Base learning rate.", show_default="0.03")] = None,
    localisation_lr: Annotated[float | None, typer.Option(help="Share of the rate for f_loc.", show_default="0.1")] = None,
    seed: Annotated[int | None, typer.Option(help="Of everything random.", show_default="0")] = None,
    device: Device = None,
    workers: Workers = None,
    max_pixels: MaxPixels = None,
    config: Annotated[Path | None, typer.Option(help="TOML file with settings; flags win.", show_default=False)] = None,
    print_config: Annotated[bool, typer.Option("--print-config", help="Print the settings as TOML and exit.")] = False,
    report: Annotated[bool, typer.Option("--report/--no-report", help="Write report.html at the end.")] = True,
    strict: Strict = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    debug: Debug = False,
) -> None:
    """Learn from a folder of images where their common object is; writes a run folder."""
    flags: dict[str, Any] = {
        "encoder": encoder, "weights": weights, "layer": layer, "transform": transform, "objects": objects,
        "cascade": cascade, "search": search,
        "size": None if size is None else parse_size(size), "imgsz": imgsz, "margin": margin, "steps": steps,
        "finetune": finetune, "search_images": search_images, "batch": batch, "lr": lr,
        "localisation_lr": localisation_lr, "seed": seed, "device": device, "workers": workers, "max_pixels": max_pixels,
    }  # fmt: skip
    given = {name: value for name, value in flags.items() if value is not None}

    from stn_cli.runs.config import TrainConfig, read_toml

    values = (read_toml(config) if config else {}) | given
    settings = TrainConfig.read(values, str(config) if config else "the command line")
    if print_config:
        typer.echo(settings.toml().encode("utf-8"), nl=False)  # TOML is UTF-8 whatever the terminal is
        return
    if not source and not resume:
        raise UsageError("train needs a SOURCE", None, None, "stn-coloc train ./images")

    from stn_cli.cli.console import Progress, print_json
    from stn_cli.coloc.model.architecture import in_words
    from stn_cli.coloc.train import run
    from stn_cli.errors import InputError

    progress = Progress(quiet=quiet, verbose=verbose)
    folder = out or Path(RUN)
    if resume:
        _check_settings(settings, values, folder)
    elif config:
        _check_apart(config, folder)
    try:
        result = run.train(one_or_all(source), folder, settings, overwrite=overwrite, resume=resume, reporter=progress)
        if report:
            _report(folder, settings.device, progress)
    finally:
        progress.close()
    progress.skipped(result.skipped)
    kinds = [in_words(kind) for kind in result.kind.split(", ")]
    progress.say(
        f"{counted(result.images, 'image')} in {result.seconds:.0f} s. The object is taken for {' and '.join(kinds)}. The boxes that were "
        f"learnt overlap those that the search found by {result.agreement:.2f} on average (1 is the same)"
        + (f". Look at {folder / 'report.html'}" if report else "")
    )
    if json:
        print_json(
            {
                "run": str(folder),
                "images": result.images,
                "skipped": len(result.skipped),
                "kind": result.kind,
                "agreement": round(result.agreement, 4),
                "warnings": result.warnings,
                "seconds": round(result.seconds, 2),
            }
        )
    else:
        print(folder)
    if strict and result.skipped:
        raise InputError(f"{counted(len(result.skipped), 'file')} skipped", folder / "skipped.jsonl", "--strict")


def _check_settings(settings: TrainConfig, named: Iterable[str], folder: Path) -> None:
    """See that settings that are named with --resume are those that the run began with.

    Raises:
        UsageError: they are not.
        CheckpointError: the run's are damaged.
    """
    from stn_cli.outputs.manifest import STAGING
    from stn_cli.runs.checkpoint import STATE
    from stn_cli.runs.config import TrainConfig

    begun = next((place for place in (folder / STAGING, folder) if (place / STATE).is_file()), None)
    names = list(named)
    if begun is None or not names:  # where there is nothing to resume the training says so
        return
    own = TrainConfig.of_run(begun)
    pairs = [(name, getattr(own, name), getattr(settings, name)) for name in names]
    others = [f"{name}: {value!r} in the run, {wanted!r} given" for name, value, wanted in pairs if value != wanted]
    if others:
        raise UsageError("--resume takes the run's own settings", folder, "; ".join(others), "Leave them out")


def _check_apart(config: Path, folder: Path) -> None:
    """See that settings are not read from the folder whose results are going to be replaced.

    Raises:
        OutputError: they are.
    """
    from stn_cli.outputs.places import Place

    if Place.of(config).is_below(Place.of(folder)):
        what = "results would take the place of the settings that they are made with"
        raise OutputError(what, config, f"it lies in {folder}", "Choose another --out, or copy it elsewhere")


def _report(folder: Path, device: str, progress: Progress) -> None:
    from stn_cli.report.page import write_report
    from stn_cli.runtime.stopping import StopRequest

    with StopRequest(f"The run is whole; stn-coloc report {folder} writes its page"):
        write_report(folder, device=device, reporter=progress)


def parse_size(text: str) -> tuple[float, float]:
    """`LO-HI` or one number as (LO, HI).

    Raises:
        UsageError: it is neither.
    """
    number = r"\s*(\d*\.?\d+)\s*"
    match = re.fullmatch(f"{number}(?:-{number})?", text)
    if match is None:
        raise UsageError("--size must be LO-HI", text, "for example 0.2-0.5")
    low = float(match[1])
    return low, float(match[2]) if match[2] else low
