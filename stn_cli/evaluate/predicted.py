"""Predicted boxes of a set of images: records, or a file of this tool or another."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stn_cli.bounds import shown
from stn_cli.errors import InputError, counted
from stn_cli.formats.coco_file import CocoFile, Id, parse_coco, parse_results
from stn_cli.formats.json_rows import JsonRows, read_long_json
from stn_cli.formats.labels import names_of_kinds
from stn_cli.formats.packed import BoxColumns, ByName
from stn_cli.formats.truth import Truth, orphans, repeated
from stn_cli.records import ImageRecord, PixelBox

Scored = tuple[float, PixelBox]


@dataclass(frozen=True, slots=True)
class Predicted:
    """Boxes by file name, best first, and what a person should know of them; an image without any is there with none."""

    images: Mapping[str, list[Scored]]
    notes: tuple[str, ...] = ()


def from_records(records: Iterable[ImageRecord]) -> Predicted:
    """What `localise` returns.

    Args:
        records: one for each image.

    Returns:
        Their boxes by file name.
    """
    columns = BoxColumns()
    for record in records:
        place = columns.place(record.file)
        for found in record.objects:
            columns.add(place, found.box, found.score)
    return Predicted(_ranked(columns))


def read_predicted(path: Path) -> Any:
    """The JSON of a file of boxes or tracks, for `from_json`.

    Args:
        path: the file.

    Returns:
        As `read_long_json`.

    Raises:
        InputError: it cannot be read, or is not JSON.
    """
    return read_long_json(path, "the file of boxes")


def from_json(data: Any, path: Path, truth: Truth) -> Predicted:
    """A COCO detection file, or a bare list of results whose image ids are those of the truth.

    Args:
        data: the JSON.
        path: where it was read, for messages.
        truth: what it will be compared with. Of a file with several categories only the wanted one counts.

    Returns:
        The boxes by file name.

    Raises:
        InputError: it is neither.
    """
    bare = isinstance(data, list | JsonRows)
    coco = parse_results(data, path) if bare else parse_coco(data, path)
    images = truth.ids if bare else coco.images
    if not images and bare:
        raise InputError("a list of results names images by id: its truth must be a COCO file", path)
    assert images is not None
    columns, kept = BoxColumns(), _kept(coco, truth)
    places = array("i", map(columns.place, images.names))
    left_out, scored = 0, False
    for box in coco.boxes:
        at = images.place(box.image)
        if at is None:
            why = f"image_id {shown(box.image)}"
            raise InputError("a list of results has an image that the truth does not list", path, why)
        if kept is not None and box.category not in kept:
            left_out += 1
            continue
        scored = scored or box.score is not None
        columns.add(places[at], box.box, 1.0 if box.score is None else box.score)
    notes = [] if kept is None else [f"{counted(left_out, 'predicted object')} of other categories, not counted"]
    if len(coco.boxes) > left_out and not scored:
        notes.append("the predicted boxes have no scores: AP and the better-scored half mean little")
    twice = () if bare else repeated(coco, "predictions")
    return Predicted(_ranked(columns), (*notes, *twice, *orphans(coco, "predictions")))


def _kept(coco: CocoFile, truth: Truth) -> set[Id] | None:
    """The categories of boxes that are the truth's, where the predictions tell categories apart; None: all, also of kinds that nobody named."""
    used = coco.boxes.categories
    unnamed = bool(coco.categories) and list(coco.categories.values()) == list(names_of_kinds((), len(coco.categories)))
    if len(used) < 2 or not truth.category or unnamed:
        return None
    return {key for key in used if key is not None and coco.categories.get(key, key) in truth.category}


def _ranked(columns: BoxColumns) -> Mapping[str, list[Scored]]:
    columns.settle(ranked=True)
    return ByName(columns, lambda box, score, _: (score, box))
