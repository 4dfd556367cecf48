"""`stn-coloc localise`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stn_cli.bounds import check_shared
from stn_cli.cli.completion import offers_list
from stn_cli.cli.options import (
    BOXES,
    RUN,
    Debug,
    Device,
    Json,
    Label,
    Labels,
    LeastScore,
    MaxPixels,
    Overwrite,
    Quiet,
    Strict,
    Threads,
    Verbose,
    Workers,
    names_in,
    one_or_all,
    out_folder,
    parse_place,
)
from stn_cli.errors import UsageError, counted
from stn_cli.runtime.threads import use_threads

if TYPE_CHECKING:
    from stn_cli.cli.console import Progress
    from stn_cli.jobs.localise import LocaliseSummary
    from stn_cli.jobs.localise_options import LocaliseOptions


ImageSource = Annotated[
    list[str] | None,
    typer.Argument(help="As for train; the run's own images when left out.", show_default=False),
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with a call that was stopped: the same command, with this flag.")]
FORMAT_NAMES = ("csv", "coco-results", "label-studio", "parquet")
"""Names of `stn_cli.formats.writer.FORMATS`, written out because help must not wait for them; a test holds them together."""
BoxFormats = Annotated[
    str,
    typer.Option(
        "--format",
        help=f"Formats besides COCO, with commas: {', '.join(FORMAT_NAMES)}.",
        autocompletion=offers_list(*FORMAT_NAMES),
    ),
]
ImageCrops = Annotated[
    bool, typer.Option("--crops", help="Save each object as a picture, turned upright where --transform allows.")
]
CropSize = Annotated[int, typer.Option(help="Longer side of a crop, pixels.")]
Overlay = Annotated[bool, typer.Option("--overlay", help="Write the images with boxes drawn.")]
Masks = Annotated[bool, typer.Option("--masks", help="Also say which pixels are the object's, in boxes.json and as pictures.")]
Report = Annotated[
    bool, typer.Option("--report", help="Write report.html, too: the images with their boxes, most doubtful first.")
]
Batch = Annotated[int, typer.Option(help="Images per call of the network.")]
Fast = Annotated[
    bool,
    typer.Option(
        "--fast",
        help="Look once, by a small network that first learns what the run finds (a minute, once); not where they differ.",
    ),
]
Engine = Annotated[
    str, typer.Option(help="local, or ray: on many machines; SOURCE and --out may be s3://... then, SOURCE also Parquet.")
]
Address = Annotated[
    str | None, typer.Option(help="Of a running Ray cluster, HOST:PORT or auto.", show_default="started on this machine")
]
Concurrency = Annotated[
    int | None, typer.Option(help="Workers of the cluster that hold the run.", show_default="as many as fit")
]
Column = Annotated[
    str | None,
    typer.Option(help="Of Parquet, where the images or their paths are.", show_default="the first of bytes, or of paths"),
]


def localise(
    source: ImageSource = None,
    model: Annotated[Path, typer.Option("--model", "-m", help="Run folder.")] = Path(RUN),
    out: Annotated[str | None, out_folder(BOXES, parse_place)] = None,
    overwrite: Overwrite = False,
    resume: Resume = False,
    min_score: LeastScore = None,
    format: BoxFormats = "",
    crops: ImageCrops = False,
    crop_size: CropSize = 256,
    overlay: Overlay = False,
    masks: Masks = False,
    report: Report = False,
    fast: Fast = False,
    label: Label = None,
    labels: Labels = None,
    device: Device = None,
    batch: Batch = 64,
    threads: Threads = None,
    workers: Workers = None,
    max_pixels: MaxPixels = None,
    engine: Engine = "local",
    address: Address = None,
    concurrency: Concurrency = None,
    column: Column = None,
    strict: Strict = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    debug: Debug = False,
) -> None:
    """Find the object in images: boxes and scores.

    It writes boxes.json (COCO), with --crops a picture of each object, with --masks its outline, and with --report a page that shows all.
    """
    check_shared(min_score=min_score, batch=batch, crop_size=crop_size, workers=workers, max_pixels=max_pixels)
    if resume and overwrite:
        raise UsageError("--resume goes on with what --overwrite would replace", None, None, "Give one of them")
    check_engine_flags(engine, cluster := {"--address": address, "--concurrency": concurrency, "--column": column}, out)
    use_threads(threads)

    from stn_cli.cli.console import Progress
    from stn_cli.formats.labels import parse_labels
    from stn_cli.jobs.localise_options import LocaliseOptions

    called, formats = parse_labels(label, labels), names_in(format)
    wanted = min_score, formats, crops, crop_size, overlay, batch, workers, max_pixels, masks, called, report, fast
    progress, machines = Progress(quiet=quiet, verbose=verbose), list(cluster.values()) if engine == "ray" else None
    how = {"overwrite": overwrite, "resume": resume, "device": device or "auto", "reporter": progress}
    _localise(one_or_all(source), model, out or BOXES, LocaliseOptions(*wanted), machines, how, json, strict)


def _localise(
    images: str | list[str] | None, model: Path, folder: str, options: LocaliseOptions, cluster: list[Any] | None,
    how: dict[str, Any], json: bool, strict: bool,
) -> None:  # fmt: skip
    """Find the objects, here or on a cluster, and say what came of it."""
    from stn_cli.cli.console import conclude

    progress, boxes = how["reporter"], os.path.join(folder, "boxes.json" if cluster is None else "boxes.parquet")
    try:
        if cluster is not None:
            from stn_cli.jobs.cluster.engine import ClusterOptions, localise_on_cluster
            from stn_cli.jobs.cluster.source import is_store, place_below, without_keys

            summary = localise_on_cluster(images, model, folder, options, ClusterOptions(*cluster), **how)
            if is_store(folder):
                folder, boxes = (without_keys(place_below(folder, name)) for name in ("", "boxes.parquet"))
        else:
            from stn_cli.jobs.localise import localise_source

            summary = localise_source(images, model, folder, options, **how)
    finally:
        progress.close()
    _tell(summary, progress, Path(folder) / "report.html" if options.report else None)
    conclude(boxes, _facts(summary, boxes), summary.skipped, folder, json=json, strict=strict)


def check_engine_flags(engine: str, cluster: Mapping[str, object], out: str | None) -> None:
    """See that flags fit the engine.

    Args:
        engine: as it was typed.
        cluster: flags that only ray has, and their values.
        out: where results go.

    Raises:
        UsageError: they do not.
    """
    if engine not in ("local", "ray"):
        raise UsageError("unknown --engine", engine, "known: local, ray")
    if engine == "local":
        for name, value in cluster.items():
            if value is not None:
                raise UsageError(f"{name} is of a cluster", value, None, "Add --engine ray")
        if out is not None and "://" in out:
            raise UsageError("--out is a URL, and this engine writes folders", out, None, "Add --engine ray")


def _tell(summary: LocaliseSummary, progress: Progress, page: Path | None) -> None:
    """Say what came of it, and where to look."""
    progress.skipped(summary.skipped)
    progress.say(_in_words(summary) + (f". Look at {page}" if page else ""))


def _in_words(summary: LocaliseSummary) -> str:
    speed = (summary.images - summary.resumed) / max(summary.seconds, 1e-9)
    found = f"{counted(summary.objects, 'object')}, {summary.doubtful} of them below 0.5"
    if summary.left_out:
        found += f", {counted(summary.left_out, 'less likely box')} left out (they are in boxes.json, marked)"
    return f"{counted(summary.images, 'image')}, {found}, {speed:.0f} images/s"


def _facts(summary: LocaliseSummary, boxes: str) -> dict[str, Any]:
    """What `--json` prints."""
    return {
        "boxes": boxes,
        "images": summary.images,
        "objects": summary.objects,
        "doubtful": summary.doubtful,
        "left_out": summary.left_out,
        "skipped": len(summary.skipped),
        "seconds": round(summary.seconds, 2),
    }
