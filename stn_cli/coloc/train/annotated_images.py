"""A person's annotations of some of a training's images: matched with them, checked, and kept in the run folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from stn_cli.coloc.annotations import fitting
from stn_cli.coloc.train.resume import Begun
from stn_cli.errors import CheckpointError, InputError, UsageError, counted
from stn_cli.media.cache import Cache
from stn_cli.media.scan import ImageFile
from stn_cli.records import AnnotatedImage, Skipped
from stn_cli.runs.annotations import ANNOTATIONS, read_run_annotations, write_run_annotations
from stn_cli.runs.config import TrainConfig
from stn_cli.runs.folder import write_skipped
from stn_cli.runtime.distributed import Team
from stn_cli.runtime.progress import Reporter

UNREAD = "the image was skipped"
Annotator = Callable[[Sequence[str]], Sequence[AnnotatedImage]]
"""Names of a set's images -> the annotations of those of them that have one, under these names."""


def check_alone(team: Team, asked: bool) -> None:
    """See that annotations are learnt by one process.

    Args:
        team: the processes.
        asked: whether there are annotations, or a run is gone on from.

    Raises:
        UsageError: there are several.
    """
    if asked and team.size > 1:
        raise UsageError(
            "--boxes and --from are learnt by one process", None, f"{team.size} were started", "Start it without torchrun"
        )


def annotated_before(begun: Begun | None, images: Sequence[ImageFile], warn: Callable[[str], None]) -> list[AnnotatedImage]:
    """What a person gave before of images that are still the same files.

    Args:
        begun: the run that is gone on from; None where there is none.
        images: of the new training.
        warn: is told how many are of other files of the same names.

    Returns:
        The annotations.
    """
    if begun is None or not begun.annotations:
        return []
    names = {image.file for image in begun.annotations}
    own, now = ({f.name: os.path.realpath(f.path) for f in of if f.name in names} for of in (begun.images, images))
    there = [image for image in begun.annotations if image.file in now]
    same = [image for image in there if now[image.file] == own.get(image.file)]
    if len(same) < len(there):
        count = counted(len(there) - len(same), "annotation")
        warn(f"{count} of the earlier run left out: the images of these names are other files than those that it was given")
    return same


def keep_annotations(
    folder: Path,
    cache: Cache,
    config: TrainConfig,
    given: Sequence[AnnotatedImage] | None,
    before: Sequence[AnnotatedImage],
    reporter: Reporter,
) -> list[AnnotatedImage]:
    """The annotations of the images, now given and of the run that is gone on from; they are written to annotations.json.

    Args:
        folder: that is worked in.
        cache: the images; those whose annotations cannot be used are added to what it skipped.
        config: `kinds` is used.
        given: those of now, which win; None where none are given.
        before: those of the run that is gone on from, see `annotated_before`.
        reporter: is told of each image whose boxes cannot be used.

    Returns:
        What can be used.

    Raises:
        InputError: none that is given now can be used, or they are of more kinds than are looked for.
    """
    place = {name: number for number, name in enumerate(cache.names)}
    now, left_out = _fitting(given or (), place, cache, reporter)
    old, changed = _fitting(before, place, cache, reporter)
    if given is not None and not now:
        first = left_out[0] if left_out else Skipped(given[0].file, UNREAD) if given else None
        raise InputError("nothing of the boxes can be used", *(() if first is None else (first.file, first.reason)))
    kinds = 1 + max((kind for image in now for _, kind in image.boxes), default=0)
    if config.kinds > 1 and kinds > config.kinds:
        todo = "Use a larger --kinds"
        raise InputError(
            f"boxes are of {kinds} kinds of objects, and {counted(config.kinds, 'kind')} are looked for", todo=todo
        )
    every = {image.file: image for image in (*old, *now)}
    left_out += [row for row in changed if row.file not in every]
    if every:
        write_run_annotations(folder, every.values())
    if left_out:
        cache.skipped += [Skipped(row.file, f"boxes not used: {row.reason}") for row in left_out]
        write_skipped(folder, cache.skipped)
    return list(every.values())


def _fitting(
    given: Sequence[AnnotatedImage], place: Mapping[str, int], cache: Cache, reporter: Reporter
) -> tuple[list[AnnotatedImage], list[Skipped]]:
    """Annotations that can be used, and of images at known places (name -> number) those that cannot; the others were skipped before."""
    now, left_out = list[AnnotatedImage](), list[Skipped]()
    for image in given:
        if image.file not in place:
            reporter.warn(f"{image.file}: its annotation is not used: {UNREAD}")
            continue
        found = fitting(image, cache.frames[place[image.file]])
        if isinstance(found, Skipped):
            reporter.warn(f"{image.file}: its annotation is not used: {found.reason}")
            left_out.append(found)
        else:
            now.append(found)
    return now, left_out


def annotations_before(folder: Path, cache: Cache) -> list[AnnotatedImage]:
    """The annotations with which the training began that is resumed.

    Args:
        folder: that is worked in.
        cache: the images.

    Returns:
        The annotated images.

    Raises:
        CheckpointError: damaged, or of other images.
    """
    frames = dict(zip(cache.names, cache.frames, strict=True))
    annotations = read_run_annotations(folder)
    for image in annotations:
        frame = frames.get(image.file)
        if frame is None or (frame.width, frame.height) != (image.width, image.height):
            todo = "Start anew with --overwrite"
            raise CheckpointError("the annotations are not of the run's images", folder / ANNOTATIONS, image.file, todo)
    return annotations
