"""From a file of boxes to a data set: what `stn-coloc export` does."""

from __future__ import annotations

import os
import time
from array import array
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from stn_cli.data_sets.alike import Thumbnail, near_duplicates
from stn_cli.data_sets.entry import Entry, LookedAtImages, SetEntries
from stn_cli.data_sets.layouts import LabelFiles, Making
from stn_cli.data_sets.look import LookedAt, look_at, within
from stn_cli.data_sets.names import plain_label, stems
from stn_cli.data_sets.options import ExportOptions, ExportSummary
from stn_cli.data_sets.pictures import PicturePlan, crop, encoded, plan, put_picture, write_file
from stn_cli.data_sets.sources import find_images
from stn_cli.data_sets.split import SPLITS, splits_of
from stn_cli.errors import ColocError, InputError, UsageError, counted
from stn_cli.formats.csv import TableWriter
from stn_cli.formats.given import Given, read_given
from stn_cli.formats.results_folder import boxes_in
from stn_cli.formats.writer import about
from stn_cli.media.decode import MAX_PIXELS, Unusable, decoded
from stn_cli.outputs.results import Results
from stn_cli.records import ImageRecord, Localisation, Skipped, reasons
from stn_cli.review.places import ReviewFiles
from stn_cli.runs.folder import SKIPPED, write_skipped
from stn_cli.runtime.ordered import ordered_map
from stn_cli.runtime.progress import Reporter, Silent
from stn_cli.runtime.stopping import StopRequest
from stn_cli.runtime.threads import default_workers

LISTING = "images.csv"
MANY = 50
"""Images of a data set from which on it is said that a part is far from its share: of fewer that is chance."""
_Item = TypeVar("_Item")
_Done = TypeVar("_Done")


def export_boxes(
    boxes: str | os.PathLike[str],
    out: str | os.PathLike[str],
    options: ExportOptions,
    *,
    overwrite: bool = False,
    reporter: Reporter | None = None,
) -> ExportSummary:
    """Make a data set of a file of boxes.

    Args:
        boxes: boxes.json, COCO of another tool, or what `evaluate` takes for truth; see `stn_cli.formats.given`.
        out: the data set's folder.
        options: what is wanted.
        overwrite: an earlier data set there may be replaced.
        reporter: is told of progress.

    Returns:
        What came of it.

    Raises:
        InputError: no boxes, none of their images is there, or no image is left.
        UsageError: names do not fit the kinds.
        OutputError: the data set cannot be written.
        Interrupted: a signal came; nothing is left behind.
    """
    begun, path, folder = time.monotonic(), boxes_in(Path(boxes)), Path(out)
    reporter = reporter or Silent()
    with StopRequest() as stop:
        given = _named(read_given(path), options)
        for note in (*given.notes, *_better_ones(path)):
            reporter.warn(note)
        found = find_images(given.records.files, path, given.source, options.source)
        parents = sorted({os.path.dirname(image) for image in found.values()})
        results = Results(folder, "export", (*options.form.names, LISTING, SKIPPED), parents, [path], overwrite=overwrite)
        summary = ExportSummary(folder, doubt="not believed" if options.min_score is None else "below --min-score")
        job = _Exporting(given, found, options, summary, reporter, stop)
        entries = job.entries(job.look(path))
        results.check_names(job.names(entries))
        with results.open() as work:
            job.write(
                entries, Making(work, os.path.realpath(folder), given.names, _parts(options), about(None, "exif-applied"))
            )
    job.summary.seconds = time.monotonic() - begun
    return job.summary


def _better_ones(boxes: Path) -> tuple[str, ...]:
    """A note where a person has corrected these boxes, and they are not exported."""
    files = ReviewFiles.beside(boxes)
    corrected = files.result.is_file() and files.journal.is_file() and files.journal.stat().st_size > 0
    return (f"these boxes were corrected: {files.result} has the corrected ones, name it to export them",) if corrected else ()


def _parts(options: ExportOptions) -> Sequence[str]:
    return [name for name, share in zip(SPLITS, options.shares, strict=False) if share > 0] or ("",)


def _named(given: Given, options: ExportOptions) -> Given:
    """The boxes with the names that were asked for.

    Raises:
        UsageError: there are more or fewer names than kinds.
        InputError: the format needs masks, and there are none.
    """
    if options.form.masks and given.records.objects and not given.records.masks:
        todo = "Make them with localise --masks, or use --format yolo or yolo-obb"
        raise InputError("no object has a mask, which this format is made of", options.format, None, todo)
    if len(options.labels) == 1:
        given.records.one_kind = True
        return replace(given, names=options.labels)
    if options.labels and len(options.labels) != len(given.names):
        has = f"the file of boxes has {counted(len(given.names), 'kind')}: {', '.join(given.names[:5])}"
        raise UsageError("there must be a name for each kind", ",".join(options.labels), has)
    return replace(given, names=options.labels or given.names)


@dataclass(frozen=True, slots=True)
class _Exporting:
    """One call: a look at each image, the parts, and then the files."""

    given: Given
    found: dict[str, str]
    options: ExportOptions
    summary: ExportSummary
    reporter: Reporter
    stop: StopRequest

    def look(self, boxes: Path) -> LookedAtImages:
        """The images that can be used; what is left of their boxes is counted.

        Raises:
            InputError: there are none.
        """
        options, records = self.options, self.given.records
        seen = LookedAtImages(records)
        if not self._needs_files():
            looked: Iterable[LookedAt | Skipped] = map(LookedAt, records)
        else:
            if not self.found:
                todo = "Name their folder with --source"
                example = f"{counted(len(records), 'image')}, such as {records[0].file}"
                raise InputError("none of the images is there", boxes, example, todo)
            alike = bool(options.shares) and options.group_by == "alike"
            looked = self._each("look", records, lambda r: look_at(r, self.found.get(r.file), self._most, pixels=alike))
        for place, item in enumerate(looked):
            if isinstance(item, Skipped):
                self.summary.skipped.append(item)
            elif self._counted(item.record):
                seen.add(place, item, self._plan(item))
        if not len(seen):
            raise InputError("no image is left for a data set", boxes, reasons(self.summary.skipped))
        return seen

    def _plan(self, item: LookedAt) -> PicturePlan | None:
        """What becomes of an image's file; None where it is not looked at."""
        return None if item.header is None else plan(item.header, item.record.file, jpeg=self.options.form.jpeg)

    @property
    def _most(self) -> int:
        return self.options.max_pixels or MAX_PIXELS

    def _needs_files(self) -> bool:
        options = self.options
        parted = bool(options.shares) and options.group_by == "alike"
        unsized = any(not all(self.given.records.sides(place)) for place in range(len(self.given.records)))
        return options.form.trains or options.way != "none" or parted or unsized

    def _each(self, stage: str, items: Collection[_Item], work: Callable[[_Item], _Done]) -> Iterator[_Done]:
        self.reporter.stage(stage, len(items))
        for done in ordered_map(work, items, self.options.workers or default_workers()):
            self.stop.check()
            self.reporter.advance(1)
            yield done

    def _counted(self, record: ImageRecord) -> bool:
        """Count what is left out of an image; False where all of it is."""
        inside, skipped, cut = within(record)
        self.summary.skipped += skipped
        self.summary.cut += cut
        good = self._good(inside)
        self.summary.below += len(inside.objects) - len(good)
        self.summary.doubtful += bool(inside.objects) and not good
        self.summary.empty += not record.objects
        return bool(good) or not inside.objects

    def _good(self, record: ImageRecord) -> tuple[Localisation, ...]:
        least = self.options.min_score
        return tuple(found for found in record.objects if (found.believed if least is None else found.score >= least))

    def names(self, entries: Iterable[Entry]) -> Iterator[str]:
        """Of the files of each image: trainers leave files of their own between them."""
        for entry in entries:
            yield from filter(None, [entry.picture, self.options.form.labels.format(split=entry.split, stem=entry.stem)])

    def write(self, entries: SetEntries, making: Making) -> None:
        """Write the data set."""
        layout = self.options.form.make(making)
        try:
            self._fill(entries, layout, making)
            layout.close()
        except BaseException:
            with suppress(OSError, ColocError):
                layout.abandon()
            raise
        write_skipped(making.folder, self.summary.skipped)
        self._remark()

    def entries(self, seen: LookedAtImages) -> SetEntries:
        """What each image is called, and the part that it belongs to."""
        options = self.options
        names = seen.files()
        parts = [""] * len(seen)
        if options.shares:
            first = _groups(names, seen.looks, options.group_by)
            self.summary.groups = len(first) if isinstance(first, range) else len(set(first))
            parts = splits_of(names, first, options.shares)
        pictures = options.form.pictures if options.way != "none" else None
        return SetEntries(seen, stems(names), parts, pictures, lambda record: replace(record, objects=self._good(record)))

    def _fill(self, entries: SetEntries, layout: LabelFiles, making: Making) -> None:
        listing = TableWriter(making.folder / LISTING, ("file", "split", "picture", "objects"))
        try:
            for done in self._each("write", entries, lambda entry: self._pictures(entry, making)):
                if isinstance(done, Skipped):
                    self.summary.skipped.append(done)
                    continue
                layout.add(done)
                listing.add([done.record.file, done.split, done.picture or "", str(len(done.record.objects))])
                self.summary.images[done.split] += 1
                self.summary.objects += len(done.record.objects)
            listing.close()
        except BaseException:
            listing.abandon()
            raise

    def _pictures(self, entry: Entry, making: Making) -> Entry | Skipped:
        """The pictures of one image, or why they cannot be made any more."""
        path = self.found.get(entry.record.file)
        try:
            if path is None:
                return entry
            if self.options.format == "crops":
                self._crops(path, entry, making)
            elif entry.picture is not None and entry.plan is not None:
                put_picture(path, making.folder / entry.picture, entry.plan, self.options.way, self._most)
                self.summary.rewritten += not entry.plan.as_it_is
        except Unusable as reason:
            return Skipped(entry.record.file, str(reason))
        return entry

    def _crops(self, path: str, entry: Entry, making: Making) -> None:
        if not entry.record.objects:
            return
        with decoded(path, max_pixels=self._most) as image:
            for number, found in enumerate(entry.record.objects, 1):
                name = f"{entry.stem}.png" if number == 1 else f"{entry.stem}.{number}.png"
                folder = making.folder / entry.split / plain_label(making.names[found.kind])
                write_file(folder / name, encoded(crop(image.pixels, found, self.options.crop_size), ".png"))

    def _remark(self) -> None:
        """What a person should know before training on it."""
        summary, warn = self.summary, self.reporter.warn
        if summary.doubtful:
            warn(f"{counted(summary.doubtful, 'image')} left out: all of their objects are {summary.doubt}")
        if summary.empty and self.options.form.trains:
            warn(f"{counted(summary.empty, 'image')} without a box: trainers are taught that the thing is not there")
        if summary.cut:
            warn(f"{counted(summary.cut, 'box')} reached out of the image, cut to it")
        if summary.rewritten:
            what = "turned by EXIF, or of a kind that readers differ on"
            warn(f"{counted(summary.rewritten, 'picture')} written anew with upright pixels ({what})")
        self._remark_parts(sum(summary.images.values()))

    def _remark_parts(self, whole: int) -> None:
        """Say which parts are far from the share of the images that was asked for."""
        summary = self.summary
        kept = f"{counted(summary.groups, 'group')} of images that are kept together"
        for name, share in zip(SPLITS, self.options.shares, strict=False):
            count, wanted = summary.images[name], whole * share
            if share > 0 and not count:
                todo = "use more images, another --split, or --group-by file"
                self.reporter.warn(f"{name} has no image: {kept}; {todo}")
            elif whole >= MANY and abs(count - wanted) > wanted / 2:
                what = f"{name} has {counted(count, 'image')} where {wanted:.0f} were asked for"
                self.reporter.warn(f"{what}: {kept}; --group-by file parts them evenly")


def _groups(names: Sequence[str], looks: Sequence[Thumbnail], by: str) -> Sequence[int]:
    """For each image a number that those of its group share."""
    if by == "file":
        return range(len(names))
    if by == "folder":
        places = dict[str, int]()
        return array("i", (places.setdefault(name.rpartition("/")[0], len(places)) for name in names))
    return near_duplicates(looks)
