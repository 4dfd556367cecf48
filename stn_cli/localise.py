"""From a source and a run to files: what `stn-coloc localise` does."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import stn_cli
from stn_cli.coloc.localiser import BATCH, Localiser
from stn_cli.coloc.reporting import Reporter, Silent
from stn_cli.coloc.stopping import StopRequest
from stn_cli.errors import InputError, UsageError, printable
from stn_cli.files import clear_results, prepare_folder, safe_name
from stn_cli.formats.coco import CocoWriter
from stn_cli.formats.csv import CsvWriter
from stn_cli.formats.writer import Writer
from stn_cli.media.cache import default_workers, ordered_map
from stn_cli.media.decode import MAX_PIXELS, Unusable, load
from stn_cli.media.scan import ImageFile, Scan, require_images, scan
from stn_cli.records import ImageRecord, Skipped
from stn_cli.report.figures import draw, write_picture
from stn_cli.runfolder import SKIPPED, read_images, write_skipped

FORMATS = {"csv": ("boxes.csv", CsvWriter)}
RESULTS = ("boxes.json", "boxes.csv", "crops", "overlay", SKIPPED)


@dataclass(frozen=True, slots=True)
class LocaliseOptions:
    """What is wanted.

    Attributes:
        min_score: objects below it are left out.
        formats: formats beside COCO.
        crops, overlay: also write pictures.
        crop_size: longer side of a crop, pixels.
        batch: images per call of the network.
        workers: decoding threads; one per core when left out.
        max_pixels: images with more are skipped.
    """

    min_score: float = 0.0
    formats: tuple[str, ...] = ()
    crops: bool = False
    crop_size: int = 256
    overlay: bool = False
    batch: int = BATCH
    workers: int | None = None
    max_pixels: int | None = None

    def __post_init__(self) -> None:
        for name in self.formats:
            if name not in FORMATS and name != "coco":
                raise UsageError("unknown --format", name, f"known: coco, {', '.join(FORMATS)}")


@dataclass(slots=True)
class LocaliseSummary:
    """What came of it; `doubtful` objects have a score below 0.5."""

    out: Path
    skipped: list[Skipped]
    images: int = 0
    objects: int = 0
    doubtful: int = 0
    seconds: float = 0.0


def localise_source(
    source: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] | None,
    run: str | os.PathLike[str] = "stn-coloc-run",
    out: str | os.PathLike[str] = "stn-coloc-boxes",
    options: LocaliseOptions | None = None,
    *,
    overwrite: bool = False,
    device: str = "auto",
    reporter: Reporter | None = None,
) -> LocaliseSummary:
    """Localise every image of a source and write the results.

    Args:
        source: see `stn_cli.media.scan.scan`; the images that the run was trained on when None.
        run: the run folder.
        out: the results' folder.
        options: what is wanted.
        overwrite: results of an earlier call may be replaced.
        device: for the model.
        reporter: hears of progress.

    Raises:
        CheckpointError: the run has no usable model.
        InputError: no image could be used.
        OutputError: the results cannot be written.
    """
    options = options or LocaliseOptions()
    reporter = reporter or Silent()
    folder = Path(out)
    begun = time.monotonic()
    localiser = Localiser.load(run, device)
    found = Scan(read_images(Path(run)), []) if source is None else scan(source)
    require_images(found, source if source is not None else run)
    if overwrite:
        clear_results(folder, RESULTS)
    prepare_folder(folder, overwrite=overwrite)
    summary = LocaliseSummary(folder, list(found.skipped))
    info = {
        "tool": "stn-coloc",
        "version": stn_cli.__version__,
        "run": printable(os.fspath(run)),
        "orientation": "exif-applied",
    }
    writers: list[Writer] = [CocoWriter(folder / "boxes.json", info)]
    writers += [FORMATS[name][1](folder / FORMATS[name][0]) for name in options.formats if name != "coco"]
    reporter.stage("localise", len(found.images))
    try:
        with StopRequest() as stop:
            for item in _results(localiser, found, folder, options, reporter):
                reporter.advance(1)
                if isinstance(item, Skipped):
                    summary.skipped.append(item)
                    continue
                summary.images += 1
                summary.objects += len(item.objects)
                summary.doubtful += sum(o.score < 0.5 for o in item.objects)
                for writer in writers:
                    writer.add(item)
                if stop.signum:
                    break
            for writer in writers:
                writer.close()
            write_skipped(folder, summary.skipped)
            stop.check(f"{summary.images} images are in {folder / 'boxes.json'}")
    except BaseException:
        for writer in writers:
            with suppress(OSError):
                writer.abandon()
        raise
    summary.seconds = time.monotonic() - begun
    if not summary.images:
        raise InputError("no image could be used", todo=f"{len(summary.skipped)} skipped: see {folder / SKIPPED}")
    return summary


def _results(
    localiser: Localiser, found: Scan, folder: Path, options: LocaliseOptions, reporter: Reporter
) -> Iterator[ImageRecord | Skipped]:
    workers = options.workers or default_workers()
    records = localiser.localise_files(
        found.images,
        min_score=options.min_score,
        batch=options.batch,
        workers=workers,
        max_pixels=options.max_pixels or MAX_PIXELS,
        warn=reporter.warn,
    )
    if not (options.crops or options.overlay):
        yield from records
        return
    pairs = zip(found.images, records, strict=True)
    yield from ordered_map(lambda pair: _write_pictures(localiser, *pair, folder, options), pairs, workers)


def _write_pictures(
    localiser: Localiser, file: ImageFile, item: ImageRecord | Skipped, folder: Path, options: LocaliseOptions
) -> ImageRecord | Skipped:
    """Crops and overlay of one image, from its pixels at full size; decoded again, so that no full image waits in memory."""
    if isinstance(item, Skipped):
        return item
    try:
        image = load(file.path, max_pixels=options.max_pixels or MAX_PIXELS)
    except Unusable as reason:
        return Skipped(file.name, str(reason))
    if options.overlay:
        drawn = image
        for found in reversed(item.objects):
            drawn = draw(drawn, found)
        write_picture(folder / "overlay" / safe_name(file.name, ".jpg"), drawn)
    if options.crops:
        for number, found in enumerate(item.objects, 1):
            suffix = ".png" if number == 1 else f".{number}.png"
            crop = localiser.crop(image, found, options.crop_size)
            write_picture(folder / "crops" / safe_name(file.name, suffix), crop)
    return item
