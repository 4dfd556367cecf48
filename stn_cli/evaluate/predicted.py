"""Predicted boxes of a set of images: records, or a file of this tool or another."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stn_cli.bounds import shown
from stn_cli.errors import InputError, counted
from stn_cli.formats.coco_file import CocoBox, CocoFile, CocoImage, parse_coco, parse_results
from stn_cli.formats.json_file import read_json
from stn_cli.formats.labels import names_of_kinds
from stn_cli.formats.truth import Truth, orphans, repeated
from stn_cli.records import ImageRecord, PixelBox

Scored = tuple[float, PixelBox]


@dataclass(frozen=True, slots=True)
class Predicted:
    """Boxes by file name, best first, and what a person should know of them; an image without any is there with none."""

    images: dict[str, list[Scored]]
    notes: tuple[str, ...] = ()


def from_records(records: Iterable[ImageRecord]) -> Predicted:
    """What `localise` returns.

    Args:
        records: one for each image.

    Returns:
        Their boxes by file name.
    """
    images: dict[str, list[Scored]] = {}
    for record in records:
        images.setdefault(record.file, []).extend((o.score, o.box) for o in record.objects)
    return Predicted(_ranked(images))


def read_predicted(path: Path) -> Any:
    """The JSON of a file of boxes or tracks, for `from_json`.

    Args:
        path: the file.

    Returns:
        What `json` makes of it.

    Raises:
        InputError: it cannot be read, or is not JSON.
    """
    return read_json(path, "the file of boxes")


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
    coco = _listed_by_the_truth(parse_results(data, path), path, truth) if isinstance(data, list) else parse_coco(data, path)
    twice = () if isinstance(data, list) else repeated(coco, "predictions")
    boxes, notes = _of_the_category(coco, truth)
    images: dict[str, list[Scored]] = {image.file: [] for image in coco.images.values()}
    for box in boxes:
        images[coco.images[box.image].file].append((1.0 if box.score is None else box.score, box.box))
    if boxes and all(box.score is None for box in boxes):
        notes = (*notes, "the predicted boxes have no scores: AP and the better-scored half mean little")
    return Predicted(_ranked(images), (*notes, *twice, *orphans(coco, "predictions")))


def _listed_by_the_truth(coco: CocoFile, path: Path, truth: Truth) -> CocoFile:
    if not truth.ids:
        raise InputError("a list of results names images by id: its truth must be a COCO file", path)
    images = {key: CocoImage(name, 0, 0) for key, name in truth.ids.items()}
    unknown = next((box.image for box in coco.boxes if box.image not in images), None)
    if unknown is not None:
        raise InputError("a list of results has an image that the truth does not list", path, f"image_id {shown(unknown)}")
    return CocoFile(images, coco.boxes, {}, [])


def _of_the_category(coco: CocoFile, truth: Truth) -> tuple[Sequence[CocoBox], tuple[str, ...]]:
    """The boxes of the truth's category where the predictions tell categories apart; all boxes otherwise, also of kinds that nobody named."""
    used = {box.category for box in coco.boxes}
    unnamed = bool(coco.categories) and list(coco.categories.values()) == list(names_of_kinds((), len(coco.categories)))
    if len(used) < 2 or not truth.category or unnamed:
        return coco.boxes, ()
    kept = [
        box
        for box in coco.boxes
        if box.category is not None and coco.categories.get(box.category, box.category) in truth.category
    ]
    return kept, (f"{counted(len(coco.boxes) - len(kept), 'predicted object')} of other categories, not counted",)


def _ranked(images: dict[str, list[Scored]]) -> dict[str, list[Scored]]:
    return {name: sorted(found, key=lambda f: -f[0]) for name, found in images.items()}
