"""From a source to a run and its report: `stn_cli.train`, for scripts and notebooks."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from stn_cli.coloc.train import run
from stn_cli.coloc.train.annotated_images import Annotator
from stn_cli.coloc.train.run import TrainResult
from stn_cli.errors import InputError, counted
from stn_cli.evaluate.names import pair_names
from stn_cli.files import name_in_results
from stn_cli.formats.annotations import plain_annotations, read_annotations
from stn_cli.records import AnnotatedImage, PixelBox
from stn_cli.report import page
from stn_cli.runs.config import TrainConfig
from stn_cli.runtime.launch import launched
from stn_cli.runtime.progress import Bar, Reporter, Silent
from stn_cli.runtime.stopping import StopRequest


def train(
    source: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] | None,
    out: str | os.PathLike[str] = "stn-coloc-run",
    config: TrainConfig | None = None,
    *,
    boxes: str | os.PathLike[str] | Mapping[str, Sequence[PixelBox]] | None = None,
    start: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    resume: bool = False,
    report: bool = True,
    progress: bool = True,
    reporter: Reporter | None = None,
    cache: str | os.PathLike[str] | None = None,
) -> TrainResult:
    """Learn from a folder of images where their common object is, as `stn-coloc train` does.

    Args:
        source: what to learn from: a folder, an image, a glob, a list of paths; not needed to resume, nor with `start`.
        out: the run folder.
        config: settings; with `resume` those of the run are taken, and with `start` where none are given.
        boxes: a person's annotations of some of the images: a file that `--boxes` takes, or boxes (x1, y1, x2, y2) in pixels of the upright
            image by file name, none of an image that holds no object.
        start: a finished run to go on from, with what it knows; it stays as it is.
        overwrite: a run that is there may be replaced.
        resume: go on where a run that was stopped stands.
        report: write report.html at the end.
        progress: show bars, on a terminal or in a notebook.
        reporter: is told of progress instead.
        cache: folder in which decoded images are kept for further trainings.

    Returns:
        A summary; everything else is in the run folder.

    Raises:
        ColocError: see `stn_cli.coloc.train.run.train`.
    """
    bar = Bar()
    hears = reporter or (bar if progress else Silent())
    try:
        annotator = None if boxes is None else _annotator(boxes, hears)
        result = run.train(
            source, out, config, annotator=annotator, start=start, overwrite=overwrite, resume=resume, reporter=hears, cache=cache,
        )  # fmt: skip
        if report and launched().speaks:
            with StopRequest(f"The run is whole; stn-coloc report {Path(out)} writes its page"):
                page.write_report(Path(out), device=config.device if config else "auto", reporter=hears)
    finally:
        bar.close()
    return result


def _annotator(boxes: str | os.PathLike[str] | Mapping[str, Sequence[PixelBox]], hears: Reporter) -> Annotator:
    """The annotations, to be asked for by the names of the images.

    Raises:
        InputError: the file cannot be used.
    """
    told = plain_annotations(boxes) if isinstance(boxes, Mapping) else read_annotations(Path(boxes))
    where = "boxes" if isinstance(boxes, Mapping) else os.fspath(boxes)
    for note in told.notes:
        hears.warn(note)

    def of(names: Sequence[str]) -> list[AnnotatedImage]:
        own = {name_in_results(name): name for name in names}
        images = {image.file: image for image in told.images}
        pairs = pair_names(list(own), list(images)).predicted
        missing = [file for file in images if file not in pairs]
        if not pairs:
            example = f"it names '{missing[0]}', the folder has '{next(iter(own))}'"
            raise InputError("the file of boxes names none of the images", where, example)
        if missing:
            few = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
            hears.warn(f"{counted(len(missing), 'image')} of the file of boxes not among the images, left out: {few}")
        return [replace(images[file], file=own[name]) for file, name in pairs.items()]

    return of
