"""A person's annotations of images: review's result, Label Studio's export, and what `evaluate` takes for truth, in one form."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stn_cli.bounds import shown
from stn_cli.errors import InputError, counted
from stn_cli.formats.coco_file import Id, fault, is_coco, parse_coco
from stn_cli.formats.given import BOXES
from stn_cli.formats.json_file import read_json, side_box
from stn_cli.formats.label_studio_file import is_label_studio, parse_label_studio
from stn_cli.formats.results_folder import corrections_in
from stn_cli.formats.truth import is_outside, orphans, plain_truth
from stn_cli.formats.voc import read_voc
from stn_cli.records import AnnotatedImage, PixelBox

TODO = "Correct some of them first: stn-coloc review"


@dataclass(frozen=True, slots=True)
class AnnotationFile:
    """The annotations of a file.

    Attributes:
        images: by name, each once.
        kinds: names of the kinds of objects.
        notes: what a person should know of it.
    """

    images: tuple[AnnotatedImage, ...]
    kinds: tuple[str, ...]
    notes: tuple[str, ...] = ()


def read_annotations(path: Path) -> AnnotationFile:
    """A person's annotations of images.

    Args:
        path: review's result, where only images count that were reviewed; another tool's COCO file or Label Studio's export; JSON
            {"file": [[x1, y1, x2, y2], ...]}; a folder that was reviewed; or one of Pascal VOC XML. An image without a box holds no object.

    Returns:
        What it says.

    Raises:
        InputError: unreadable, of another form, naming files outside the set, contradicting itself, or nothing in it is of a person.
    """
    path = corrections_in(path)
    if path.is_dir():
        found = _of_truth({file: [o.box for o in objects] for file, objects in read_voc(path, BOXES).items()})
    else:
        data = read_json(path, BOXES, once=True)
        if is_label_studio(data):
            found = _joined(*parse_label_studio(data, path), path)
        elif is_coco(data):
            found = _of_coco(data, path)
        elif isinstance(data, dict):
            truth = plain_truth(data, path, BOXES)
            found = _of_truth({file: [o.box for o in objects] for file, objects in truth.images.items()})
        else:
            raise InputError(
                "no boxes of images", path, "neither COCO, nor Label Studio's, nor an object of file names and boxes"
            )
    for image in found.images:
        if is_outside(image.file):
            raise InputError("the file of boxes names a file outside the set", shown(image.file), path)
    if not found.images:
        raise InputError("the file of boxes says nothing of any image", path)
    return found


def plain_annotations(boxes: Mapping[str, Sequence[PixelBox]]) -> AnnotationFile:
    """The annotations of Python callers: boxes [x1, y1, x2, y2] by file name, none where an image holds no object.

    Args:
        boxes: pixels of the upright images.

    Returns:
        The same as of a file.

    Raises:
        InputError: a value is no list of such boxes, or there is none.
    """
    if not boxes:
        raise InputError("boxes say nothing of any image")
    return _of_truth({file: [o.box for o in objects] for file, objects in plain_truth(boxes, None, "boxes").images.items()})


def _of_truth(images: Mapping[str, Sequence[PixelBox]]) -> AnnotationFile:
    return AnnotationFile(
        tuple(AnnotatedImage(file, 0, 0, tuple((box, 0) for box in boxes)) for file, boxes in images.items()), ()
    )


def _of_coco(data: dict[str, Any], path: Path) -> AnnotationFile:
    coco = parse_coco(data, path)
    info = data["info"] if isinstance(data.get("info"), dict) else {}
    own = info.get("tool") == "stn-coloc"
    reviewed = info.get("reviewed") is True or (own and any(row.get("reviewed") is True for row in data["images"]))
    if own and not reviewed:
        raise InputError("these boxes are a model's own, nobody has looked at them", path, None, TODO)
    kinds: dict[Id | None, int] = {key: number for number, key in enumerate(coco.categories)}
    rows = {row["id"]: row for row in data["images"] if not reviewed or row.get("reviewed") is True}
    boxes: dict[Id, list[tuple[PixelBox, int]]] = {key: [] for key in rows}
    crowds = 0
    for box in coco.boxes:
        if box.image not in rows or box.row.get("believed") is False:
            continue
        if box.crowd:
            crowds += 1
        elif kinds and box.category not in kinds:
            unknown = ValueError(f"its category {shown(box.category)} is not listed")
            raise fault(path, f"image {shown(coco.images[box.image].file)}", unknown)
        else:
            boxes[box.image].append((box.box, kinds.get(box.category, 0)))
    if reviewed and not rows:
        raise InputError("nobody has looked at an image yet", path, None, TODO)
    images = []
    for key, row in rows.items():
        image = coco.images[key]
        if row.get("status") == "none" and boxes[key]:
            raise _contradiction(path, image.file)
        images.append(
            AnnotatedImage(image.file, image.width, image.height, tuple(boxes[key]), _rejected(row, path, image.file))
        )
    notes = list(orphans(coco, "boxes"))
    if crowds:
        notes.append(f"{counted(crowds, 'region')} marked as a crowd, left out")
    return _joined(images, tuple(coco.categories.values()), notes, path)


def _rejected(row: dict[str, Any], path: Path, file: str) -> tuple[PixelBox, ...]:
    """Boxes of the model that a person took away."""
    try:
        rows = row.get("rejected") or []
        if not isinstance(rows, list):
            raise ValueError("its rejected boxes are no list")
        return tuple(side_box(box) for box in rows)
    except ValueError as error:
        raise fault(path, f"image {shown(file)}", error) from error


def _joined(images: Iterable[AnnotatedImage], kinds: tuple[str, ...], notes: Sequence[str], path: Path) -> AnnotationFile:
    """Each image once.

    Raises:
        InputError: one entry of an image says that it holds nothing, and another one has a box.
    """
    once: dict[str, AnnotatedImage] = {}
    twice = set()
    for image in images:
        before = once.get(image.file)
        if before is None:
            once[image.file] = image
            continue
        if bool(before.boxes) != bool(image.boxes):
            raise _contradiction(path, image.file)
        twice.add(image.file)
        boxes = tuple(dict.fromkeys((*before.boxes, *image.boxes)))
        once[image.file] = replace(before, boxes=boxes, rejected=(*before.rejected, *image.rejected))
    if twice:
        notes = [*notes, f"boxes: {counted(len(twice), 'image')} named twice (such as {shown(min(twice))}), taken together"]
    return AnnotationFile(tuple(once.values()), kinds, tuple(notes))


def _contradiction(path: Path, file: str) -> InputError:
    what = "the file of boxes contradicts itself"
    return InputError(what, path, f"{shown(file)} is marked to hold no object, and has a box", "Take one of the two out")
