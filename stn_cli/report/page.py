"""report.html: one self-contained page about a run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from stn_cli.coloc.model.localiser import Localiser
from stn_cli.errors import InputError, OutputError
from stn_cli.files import write_text
from stn_cli.media.scan import ImageFile
from stn_cli.outputs.manifest import note_written, written_by_tool
from stn_cli.outputs.places import Place
from stn_cli.outputs.targets import TargetKind, check_target
from stn_cli.records import ImageRecord, Skipped
from stn_cli.report.content import LearntDetails, PageContent, command, commands_for_boxes, render
from stn_cli.report.figures import MeanPicture, contrast, data_url
from stn_cli.report.learning import charts
from stn_cli.report.sheet import CROP, Pictured, SheetPicture, make_sheet, places_shown, square
from stn_cli.report.verdict import Tally
from stn_cli.runs.config import TrainConfig
from stn_cli.runs.folder import boxes_folder, read_images, read_skipped
from stn_cli.runs.metrics import NAME as METRICS
from stn_cli.runs.metrics import read_metrics
from stn_cli.runtime.progress import Reporter, Silent

REPORT = "report.html"
BEGINNING, TITLE = b"<!doctype html>", b"<title>stn-coloc report</title>"
MOST_LOOKED_AT = 2000
"""Images of a run that are localised for its page, and ranked; of more, so many at even distances."""
MOST_CROPS = 120
"""On the page."""
MEAN = 224
"""Side of the mean pictures, pixels."""
MOST_LINES = 500_000
"""Of a run's log."""
PAGE = TargetKind("a page of stn-coloc report", "--out", lambda head: head.startswith(BEGINNING) and TITLE in head)


def write_report(
    run: Path, out: Path | None = None, *, overwrite: bool = False, device: str = "auto", reporter: Reporter | None = None
) -> Path:
    """Write `report.html` of a run.

    Args:
        run: the run folder.
        out: the page; `report.html` in the run folder when left out, where an earlier one is replaced.
        overwrite: a page of an earlier call may be replaced; nothing else ever is.
        device: for the model.
        reporter: is told of progress.

    Returns:
        The page's path.

    Raises:
        CheckpointError: the run has no usable model.
        InputError: none of its images can be read any more.
        OutputError: another file is there, or the page cannot be written.
    """
    target = run / REPORT if out is None else Path(out)
    localiser = Localiser.load(run, device)
    files = read_images(run)
    own = _check_page(target, run, files, overwrite)
    content = _content(run, localiser, files, reporter or Silent())
    write_text(target, render(content))
    if own:
        note_written(run, REPORT)
    return target


def _check_page(target: Path, run: Path, files: Sequence[ImageFile], overwrite: bool) -> bool:
    """Whether the page is the run's own `report.html`; other places are checked.

    Raises:
        OutputError: something is there that is not to be replaced, or the page would lie among the run's other files.
    """
    own = target.name == REPORT and target.parent.is_dir() and os.path.samefile(target.parent, run)
    if own and REPORT in written_by_tool(run) and target.is_file() and not target.is_symlink():
        return True
    if not own and Place.of(target).is_below(Place.of(run)):
        why = f"of the run's folder only {REPORT} is the page's"
        raise OutputError("cannot write into", target, why, "Choose another --out, or leave it out")
    check_target(target, PAGE, (file.path for file in files), overwrite=overwrite)
    return own


def _content(run: Path, localiser: Localiser, files: Sequence[ImageFile], reporter: Reporter) -> PageContent:
    looked_at = _evenly(files)
    reporter.stage("report", len(looked_at))
    tally, seen, lost = Tally(), list[tuple[ImageFile, ImageRecord]](), list[Skipped]()
    for file, item in zip(looked_at, localiser.localise_files(looked_at), strict=True):
        reporter.advance(1)
        if isinstance(item, Skipped):
            lost.append(item)
        else:
            believed = item.with_believed()
            tally.add(believed)
            seen.append((file, believed))
    if not seen:
        raise InputError("none of the run's images can be read", run, f"{len(lost)} tried")
    verdict = tally.verdict()
    ranking = verdict.ranking()
    shown = [(int(place), *seen[ranking[place]]) for place in places_shown(ranking)]
    pictures, means, crops = list[SheetPicture](), (MeanPicture(CROP), MeanPicture(CROP)), list[tuple[float, str]]()
    wanted = set(np.linspace(0, len(shown) - 1, min(len(shown), MOST_CROPS)).round().astype(int).tolist())
    reporter.stage("page", len(shown))
    for number, made in enumerate(make_sheet(shown, cut=localiser.crop)):
        reporter.advance(1)
        if isinstance(made, Skipped):
            lost.append(made)
            continue
        pictures.append(made.picture)
        _take_crop(made, means, crops if number in wanted else [])
    mean_crop, mean_whole = (mean.picture() for mean in means)
    learnt = LearntDetails(
        localiser.facts,
        TrainConfig.of_run(run).toml(),
        data_url(square(mean_crop, MEAN)),
        data_url(square(mean_whole, MEAN)),
        contrast(mean_crop),
        contrast(mean_whole),
        sorted(crops, key=lambda crop: -crop[0]),
        charts(list(islice(read_metrics(run / METRICS), MOST_LINES)), _any_rigid(localiser)),
    )
    return PageContent(
        f"What {len(files):,} images have in common",
        verdict,
        len(files),
        pictures,
        next_commands(run),
        read_skipped(run) + lost,
        localiser.facts.get("warnings", []),
        learnt,
    )


def _evenly(files: Sequence[ImageFile]) -> Sequence[ImageFile]:
    if len(files) <= MOST_LOOKED_AT:
        return files
    return [files[i] for i in np.linspace(0, len(files) - 1, MOST_LOOKED_AT).round().astype(int)]


def _take_crop(made: Pictured, means: tuple[MeanPicture, MeanPicture], crops: list[tuple[float, str]]) -> None:
    if made.whole is None or made.crop is None:
        return
    means[0].add(made.crop)
    means[1].add(made.whole)
    crops.append((made.best, data_url(made.crop, 75)))


def _any_rigid(localiser: Localiser) -> bool:
    return any(kind["kind"] == "rigid" for kind in localiser.facts["kinds"])


def next_commands(run: Path) -> list[tuple[str, str]]:
    """What to do with a run, and what to type for it.

    Args:
        run: the run folder, as it was named.

    Returns:
        (what for, command) of each.
    """
    boxes = boxes_folder(run)
    boxes = run.with_name(boxes.name) if run.name else boxes  # beside it, and named as it was
    return [
        (
            "Boxes of all these images as a COCO file, and the images with their boxes drawn",
            command("localise", "--model", run, "--overlay", "--out", boxes),
        ),
        ("The same of other images", command("localise", "./new", "--model", run, "--overlay", "--out", "new-boxes")),
        ("Accept or correct the boxes in the browser, most doubtful first", command("review", run)),
        *commands_for_boxes(boxes / "boxes.json"),
    ]
