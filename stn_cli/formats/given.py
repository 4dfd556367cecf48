"""Boxes of images in any form that is read: files of this tool, COCO of others, and what `evaluate` takes for truth."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stn_cli.bounds import shown
from stn_cli.errors import InputError, counted
from stn_cli.files import name_from_results
from stn_cli.formats.coco import localisation
from stn_cli.formats.coco_file import CocoFile, Id, fault, is_coco, parse_coco
from stn_cli.formats.json_rows import JsonRows, read_long_json
from stn_cli.formats.labels import OBJECT
from stn_cli.formats.outlines import any_mask
from stn_cli.formats.packed import PackedRecords
from stn_cli.formats.parquet_file import is_shards, read_shards
from stn_cli.formats.results_folder import boxes_in
from stn_cli.formats.truth import Truth, is_outside, orphans, plain_truth, repeated, voc_truth
from stn_cli.records import Localisation, corners

BOXES = "the file of boxes"
"""What is read, for messages."""


@dataclass(frozen=True, slots=True)
class Given:
    """Boxes of a set of images.

    Attributes:
        records: an image each, by its own name, its objects best first; width and height are 0 where the file does not say them.
        names: of the kinds of objects.
        source: the folder that names are relative to, as the file says; None where it does not.
        notes: what a person should know of it.
    """

    records: PackedRecords
    names: tuple[str, ...]
    source: str | None = None
    notes: tuple[str, ...] = ()


def read_given(path: Path) -> Given:
    """Boxes of a set of images.

    Args:
        path: a COCO file, of this tool or another, or a folder with `boxes.json` in it; `boxes.parquet`, a file or a folder of shards, or the
            folder that it lies in; a JSON file {"file": [[x1, y1, x2, y2], ...]}; or a folder of Pascal VOC XML.

    Returns:
        The boxes. Objects without a score have 1; regions that are marked as crowds are left out, with a note.

    Raises:
        InputError: unreadable, of another form, without an image, or naming files outside the set.
    """
    path = boxes_in(path)
    if is_shards(path):
        shards = read_shards(path)
        found = Given(shards.records, shards.names, shards.source)
    elif path.is_dir():
        found = _of_truth(voc_truth(path, BOXES))
    else:
        data = read_long_json(path, BOXES)
        if isinstance(data, list | JsonRows):
            todo = "Give a COCO file that lists the images, too"
            raise InputError("a list of results names images by id only", path, None, todo)
        if is_coco(data):
            found = _of_coco(parse_coco(data, path), path, data)
        elif isinstance(data, Mapping):
            found = _of_truth(plain_truth(data, path, BOXES))
        else:
            raise InputError("no boxes of images", path, "neither COCO nor an object of file names and boxes")
    if not found.records:
        raise InputError("the file of boxes has no image", path)
    for file in found.records.files:
        if is_outside(file):
            raise InputError("the file of boxes names a file outside the set", shown(file), path)
    return found


def _of_coco(coco: CocoFile, path: Path, data: Mapping[str, Any]) -> Given:
    kinds: dict[Id | None, int] = {key: number for number, key in enumerate(coco.categories)}
    info = data["info"] if isinstance(data.get("info"), dict) else {}
    own = info.get("tool") == "stn-coloc"
    seen = {row["file_name"] for row in data["images"] if (own or info.get("reviewed") is True) and row.get("reviewed") is True}
    records, places = _images(coco, seen, escaped=own)
    crowds = unmasked = 0
    for box in coco.boxes:
        image = coco.images[box.image]
        if box.crowd:
            crowds += 1
            continue
        if kinds and box.category not in kinds:
            error: Exception = ValueError(f"its category {shown(box.category)} is not listed")
            raise fault(path, f"image {shown(image.file)}", error)
        size = image.height, image.width
        try:
            found = localisation(box, image, kinds.get(box.category, 0))
            if found.mask is None and all(size):
                found = replace(found, mask=any_mask(box.row.get("segmentation"), size))
            elif not all(size):
                unmasked += bool(box.row.get("segmentation"))
        except (TypeError, ValueError, KeyError) as fails:
            raise fault(path, f"image {shown(image.file)}", fails) from fails
        at = coco.images.place(box.image)
        assert at is not None  # listed
        records.add_object(places[at], found)
    records.settle()
    notes = [*repeated(coco, "boxes"), *orphans(coco, "boxes")]
    if crowds:
        notes.append(f"{counted(crowds, 'region')} marked as a crowd, left out")
    if unmasked:
        notes.append(f"{counted(unmasked, 'mask')} of images whose size the file does not say, left out")
    source = info.get("source")
    where = name_from_results(source) if isinstance(source, str) and source else None
    return Given(records, tuple(coco.categories.values()) or (OBJECT,), where, tuple(notes))


def _images(coco: CocoFile, seen: set[str], *, escaped: bool) -> tuple[PackedRecords, Sequence[int]]:
    """A record for each name, and for each image of the file which one is its. Of several of one name the last is in its place, and the first
    one says the size.
    """
    records, names = PackedRecords(), coco.images.names
    place_of = {name: n for n, name in enumerate(names)}
    first = dict[str, int]()
    if len(place_of) < len(names):
        for n, name in enumerate(names):
            first.setdefault(name, n)
    for n, name in enumerate(names):
        if place_of[name] == n:
            image, file = coco.images.at(first.get(name, n)), name_from_results(name) if escaped else name
            place_of[name] = -1 - records.add_image(file, image.width, image.height, reviewed=name in seen)
    return records, array("i", (-1 - place_of[name] for name in names))


def _of_truth(truth: Truth) -> Given:
    names = sorted({str(category) for category in truth.categories})
    kinds = {name: number for number, name in enumerate(names)}
    records = PackedRecords()
    for file, objects in truth.images.items():
        place = records.add_image(file, 0, 0)
        for o in objects:
            kind = 0 if o.category is None else kinds[str(o.category)]
            records.add_object(place, Localisation(file, 0, 0, o.box, corners(o.box), (), 1.0, kind=kind))
    records.settle()
    return Given(records, tuple(names) or (OBJECT,))
