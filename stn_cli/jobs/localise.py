"""From a source and a run to files: what `stn-coloc localise` does."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from stn_cli.coloc.model.fast_file import digest_of
from stn_cli.coloc.model.localiser import Localiser
from stn_cli.errors import CheckpointError, ColocError, InputError, counted
from stn_cli.files import PictureNames
from stn_cli.formats.coco import CocoWriter
from stn_cli.formats.coco_file import parse_coco
from stn_cli.formats.journal import Journal
from stn_cli.formats.json_rows import read_long_json
from stn_cli.formats.labels import names_of_kinds
from stn_cli.formats.writer import COMPLETE, FORMATS, Believed, Writer, about, write_all
from stn_cli.jobs.localise_options import LocaliseOptions
from stn_cli.jobs.object_pictures import ObjectPictures
from stn_cli.media.decode import MAX_PIXELS
from stn_cli.media.scan import ImageFile, Scan, places_of, require_images, root_of, scan
from stn_cli.outputs.moving import JOURNAL
from stn_cli.outputs.results import Results
from stn_cli.records import EVEN, ImageRecord, Skipped, reasons
from stn_cli.report.localised import BoxesPage
from stn_cli.report.page import REPORT
from stn_cli.runs.folder import SKIPPED, read_images, read_skipped, write_skipped
from stn_cli.runtime.ordered import ordered_map
from stn_cli.runtime.progress import Reporter, Silent
from stn_cli.runtime.stopping import StopRequest
from stn_cli.runtime.threads import default_workers
from stn_cli.version import __version__

BOXES_FILE = "boxes.json"
LOCALISE_NAMES = (BOXES_FILE, *(name for name, _ in FORMATS.values()), "crops", "overlay", "masks", REPORT, SKIPPED)
MOST_PARTIAL_IMAGES = 20_000
"""Images up to which a call that is stopped writes the formats, which takes less than a second; `--resume` writes them of any number."""


@dataclass(slots=True)
class LocaliseSummary:
    """What came of it.

    Attributes:
        out: the results' folder, or its URL in an object store.
        skipped: files that could not be used.
        images: that were localised.
        objects: that were found, and are believed.
        doubtful: those of them with a score below 0.5.
        left_out: boxes that are in boxes.json only, because they are not believed.
        resumed: images that an earlier call had done.
        seconds: of the whole call, but for what a fast look learns first.
    """

    out: Path | str
    skipped: list[Skipped] = field(default_factory=list)
    images: int = 0
    objects: int = 0
    doubtful: int = 0
    left_out: int = 0
    resumed: int = 0
    seconds: float = 0.0

    def count(self, record: ImageRecord) -> None:
        """Take in an image."""
        self.images += 1
        for found in record.objects:
            self.count_object(found.score, found.believed)

    def count_object(self, score: float, believed: bool) -> None:
        """Take in one of its objects."""
        self.objects += believed
        self.doubtful += believed and score < EVEN
        self.left_out += not believed


def localise_source(
    source: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] | None,
    run: str | os.PathLike[str] = "stn-coloc-run",
    out: str | os.PathLike[str] = "stn-coloc-boxes",
    options: LocaliseOptions | None = None,
    *,
    overwrite: bool = False,
    resume: bool = False,
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
        resume: go on where an earlier call of the same kind was stopped.
        device: for the model.
        reporter: is told of progress.

    Returns:
        What came of it.

    Raises:
        CheckpointError: the run has no usable model, or there is nothing to resume.
        InputError: no image could be used.
        OutputError: the results cannot be written.
        Interrupted: a signal came; what was found so far lies in `unfinished` of the results' folder.
    """
    options, reporter, folder, begun = options or LocaliseOptions(), reporter or Silent(), Path(out), time.monotonic()
    with StopRequest() as stop:
        localiser = Localiser.load(run, device)
        names = names_of_kinds(options.labels, len(localiser.parts))
        found = Scan(read_images(Path(run)), []) if source is None else scan(source)
        folders, beside = places_of(source, found)
        results = Results(folder, "localise", LOCALISE_NAMES, folders, [run, *beside], overwrite=overwrite, resume=resume)
        if resume and not results.has_begun():
            return _nothing_left(results, begun)
        require_images(found, source if source is not None else run)
        for note in found.notes:
            reporter.warn(note)
        localiser, begun = _fast(localiser, found, _Stoppable(reporter, stop)) if options.fast else (localiser, begun)
        with results.open() as work:
            job = _Localising(localiser, found, work, options, names, reporter, stop)
            summary = job.run(results, _head(localiser, options, found), resume)
    summary.out, summary.seconds = folder, time.monotonic() - begun
    return summary


def _fast(localiser: Localiser, found: Scan, reporter: Reporter) -> tuple[Localiser, float]:
    """The fast way of a run, and when it was there: what is learnt once is not what an image takes."""
    return localiser.fast(found.images, reporter), time.monotonic()


def _nothing_left(results: Results, begun: float) -> LocaliseSummary:
    """What came of a call that was stopped in its last step, which is done now.

    Raises:
        CheckpointError: there was no such call.
    """
    if not results.finished:
        why = "its results are whole" if results.replaces else "nothing was begun"
        raise CheckpointError("nothing to resume", results.folder, why, "Start without --resume")
    summary = LocaliseSummary(results.folder, read_skipped(results.folder))
    coco = parse_coco(read_long_json(results.folder / BOXES_FILE, "the file of boxes"), results.folder / BOXES_FILE)
    summary.images = len(coco.images)
    for box in coco.boxes:
        summary.count_object(1.0 if box.score is None else box.score, box.row.get("believed") is not False)
    summary.resumed, summary.seconds = summary.images, time.monotonic() - begun
    return summary


@dataclass(frozen=True, slots=True)
class _Stoppable:
    """A reporter that a signal ends."""

    reporter: Reporter
    stop: StopRequest

    def stage(self, name: str, total: int | None) -> None:
        self.reporter.stage(name, total)

    def advance(self, count: int = 1, note: str = "") -> None:
        self.stop.check()
        self.reporter.advance(count, note)

    def warn(self, text: str) -> None:
        self.reporter.warn(text)


def _head(localiser: Localiser, options: LocaliseOptions, found: Scan) -> dict[str, Any]:
    """What records depend on."""
    names = hashlib.sha256("\0".join(f.name for f in found.images).encode("utf-8", "surrogateescape")).hexdigest()
    return {
        "version": __version__,
        "model": digest_of(localiser.run),
        "images": names,
        **options.of_records(),
        **localiser.way(),
    }


@dataclass(frozen=True, slots=True)
class _Localising:
    """One call: images to records in a journal, and from the journal to the formats."""

    localiser: Localiser
    found: Scan
    work: Path
    options: LocaliseOptions
    names: Sequence[str]
    reporter: Reporter
    stop: StopRequest

    def run(self, results: Results, head: dict[str, Any], resume: bool) -> LocaliseSummary:
        batch = self.options.batch
        journal = self._go_on(head, results.folder) if resume else Journal(self.work / JOURNAL, head)
        done = len(journal.names)
        try:
            self.reporter.stage("localise", len(self.found.images))
            self.reporter.advance(done)
            for item in self._results(self.found.images[done:] if done else self.found.images):
                journal.add(item)
                self.reporter.advance(1)
                if len(journal.names) % batch == 0:
                    journal.flush()
                    results.keep = True
                    self.stop.todo = self._how_to_go_on(len(journal.names), results)
                self.stop.check(self.stop.todo)
            summary = self._write(journal, done)
            if not summary.images:
                results.keep = False
                raise InputError("no image could be used", todo=reasons(summary.skipped))
            if self.options.report:
                most_pixels = self.options.max_pixels or MAX_PIXELS
                page = BoxesPage(results.folder, self.localiser, self.found.images, journal.items, most_pixels)
                page.write(self.work / REPORT, summary.skipped, self.reporter, lambda: self.stop.check(self.stop.todo))
            return summary
        except BaseException as error:
            if results.keep and len(journal.names) <= MOST_PARTIAL_IMAGES:
                with suppress(Exception):  # a finished file of what was found so far
                    self._write(journal, done)
            if isinstance(error, ColocError) and results.keep and not error.todo:
                error.todo = self._how_to_go_on(len(journal.names), results)
            raise
        finally:
            with suppress(ColocError):
                journal.close()

    def _how_to_go_on(self, done: int, results: Results) -> str:
        return f"Done: {done} of {counted(len(self.found.images), 'image')}, in {results.staging}; go on with --resume"

    def _go_on(self, head: dict[str, Any], out: Path) -> Journal:
        """The journal of a stopped call.

        Raises:
            CheckpointError: there is none, or it is of other images.
        """
        journal = Journal.go_on(self.work / JOURNAL, head, self.options.batch)
        if journal.names != [f.name for f in self.found.images[: len(journal.names)]]:
            journal.close()
            what = "the images are not those of the unfinished results"
            raise CheckpointError(what, out, None, "Name the same SOURCE, or use --overwrite")
        for name in (BOXES_FILE, *(name for name, _ in FORMATS.values()), REPORT, SKIPPED):
            (self.work / name).unlink(missing_ok=True)  # of what was found so far, and perhaps not asked for any more
        return journal

    def _write(self, journal: Journal, resumed: int) -> LocaliseSummary:
        """The formats, from the journal."""
        summary = LocaliseSummary(self.work, list(self.found.skipped), resumed=resumed)
        info = about(self.localiser.run, "exif-applied", root_of(self.found.images)) | self.localiser.way()
        makers: list[Callable[[], Writer[ImageRecord]]] = [lambda: CocoWriter(self.work / BOXES_FILE, info, self.names)]
        for form in (form for form in self.options.formats if form != "coco"):
            name, kind = FORMATS[form]
            make = partial(kind, self.work / name, self.names)
            makers.append(make if form == COMPLETE else partial(Believed, make))
        write_all(makers, _counted(journal, summary))
        write_skipped(self.work, summary.skipped)
        return summary

    def _results(self, files: Sequence[ImageFile]) -> Iterator[ImageRecord | Skipped]:
        options = self.options
        workers = options.workers or default_workers()
        records = self.localiser.localise_files(
            files,
            min_score=options.min_score,
            batch=options.batch,
            workers=workers,
            max_pixels=options.max_pixels or MAX_PIXELS,
            warn=self.reporter.warn,
        )
        if not (options.crops or options.overlay or options.masks):
            yield from records
            return
        pictures = ObjectPictures(
            self.work,
            self.localiser,
            PictureNames(file.name for file in self.found.images),
            options.crop_size if options.crops else None,
            options.overlay,
            options.masks,
            options.max_pixels or MAX_PIXELS,
        )
        yield from ordered_map(lambda pair: pictures.write(*pair), zip(files, records, strict=True), workers)


def _counted(journal: Journal, summary: LocaliseSummary) -> Iterator[ImageRecord]:
    """The records of a journal, counted in a summary; files that were skipped go there alone."""
    for item in journal.items():
        if isinstance(item, Skipped):
            summary.skipped.append(item)
            continue
        summary.count(item)
        yield item
