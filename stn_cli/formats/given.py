"""Boxes of images in any form that is read: files of this tool, COCO of others, and what `evaluate` takes for truth."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stn_cli.bounds import shown
from stn_cli.errors import InputError, counted
from stn_cli.files import name_from_results
from stn_cli.formats.coco import localisation
from stn_cli.formats.coco_file import CocoFile, Id, fault, is_coco, parse_coco
from stn_cli.formats.json_file import read_json
from stn_cli.formats.labels import OBJECT
from stn_cli.formats.outlines import any_mask
from stn_cli.formats.parquet_file import is_shards, read_shards
from stn_cli.formats.results_folder import boxes_in
from stn_cli.formats.truth import Truth, is_outside, orphans, plain_truth, repeated
from stn_cli.formats.voc import read_voc
from stn_cli.records import ImageRecord, Localisation, TrueObject, corners

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

    records: list[ImageRecord]
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
        found = _of_truth(Truth(read_voc(path, BOXES)))
    else:
        data = read_json(path, BOXES)
        if isinstance(data, list):
            todo = "Give a COCO file that lists the images, too"
            raise InputError("a list of results names images by id only", path, None, todo)
        if is_coco(data):
            found = _of_coco(parse_coco(data, path), path, data)
        elif isinstance(data, dict):
            found = _of_truth(plain_truth(data, path, BOXES))
        else:
            raise InputError("no boxes of images", path, "neither COCO nor an object of file names and boxes")
    if not found.records:
        raise InputError("the file of boxes has no image", path)
    for record in found.records:
        if is_outside(record.file):
            raise InputError("the file of boxes names a file outside the set", shown(record.file), path)
    return found


def _of_coco(coco: CocoFile, path: Path, data: dict[str, Any]) -> Given:
    kinds: dict[Id | None, int] = {key: number for number, key in enumerate(coco.categories)}
    objects: dict[str, list[Localisation]] = {image.file: [] for image in coco.images.values()}
    images = {image.file: image for image in reversed(coco.images.values())}
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
        objects[image.file].append(found)
    notes = [*repeated(coco, "boxes"), *orphans(coco, "boxes")]
    if crowds:
        notes.append(f"{counted(crowds, 'region')} marked as a crowd, left out")
    if unmasked:
        notes.append(f"{counted(unmasked, 'mask')} of images whose size the file does not say, left out")
    info = data["info"] if isinstance(data.get("info"), dict) else {}
    ours = info.get("tool") == "stn-coloc" or info.get("reviewed") is True
    seen = {row["file_name"] for row in data["images"] if ours and row.get("reviewed") is True}
    records = [ImageRecord(i.file, i.width, i.height, _ranked(objects[i.file]), i.file in seen) for i in images.values()]
    if info.get("tool") == "stn-coloc":  # its names are escaped
        records = [replace(record, file=name_from_results(record.file)) for record in records]
    source = info.get("source")
    where = name_from_results(source) if isinstance(source, str) and source else None
    return Given(records[::-1], tuple(coco.categories.values()) or (OBJECT,), where, tuple(notes))


def _of_truth(truth: Truth) -> Given:
    names = sorted({str(o.category) for objects in truth.images.values() for o in objects if o.category is not None})
    kinds = {name: number for number, name in enumerate(names)}

    def found(file: str, marked: TrueObject) -> Localisation:
        kind = 0 if marked.category is None else kinds[str(marked.category)]
        return Localisation(file, 0, 0, marked.box, corners(marked.box), (), 1.0, kind=kind)

    records = [ImageRecord(file, 0, 0, tuple(found(file, o) for o in objects)) for file, objects in truth.images.items()]
    return Given(records, tuple(names) or (OBJECT,))


def _ranked(objects: Iterable[Localisation]) -> tuple[Localisation, ...]:
    return tuple(sorted(objects, key=lambda o: -o.score))
