"""Truth of a set of images, in any form that is read."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from stn_cli.bounds import shown
from stn_cli.errors import InputError, UsageError, counted
from stn_cli.files import is_inside
from stn_cli.formats.coco_file import CocoFile, Id, is_coco, parse_coco
from stn_cli.formats.json_file import corner_box, read_json
from stn_cli.formats.voc import read_voc
from stn_cli.records import PixelBox, TrueObject

URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_DRIVE = re.compile(r"[A-Za-z]:(?![/\\])")
LISTED = 5
"""Categories that a note names."""


@dataclass(frozen=True, slots=True)
class Truth:
    """Marked objects of a set of images.

    Attributes:
        images: objects by file name; an image without any is there with none.
        ids: file names by the ids of a COCO file, for lists of results that name images by id.
        category: names and ids of the category that was asked for; empty when all count.
        notes: what a person should know of it.
    """

    images: dict[str, list[TrueObject]]
    ids: dict[Id, str] = field(default_factory=dict)
    category: frozenset[Id] = frozenset()
    notes: tuple[str, ...] = ()


def plain_truth(boxes: Mapping[str, Sequence[PixelBox]], path: Path | None = None, what: str = "truth") -> Truth:
    """Truth from boxes [x1, y1, x2, y2] by file name; `path` is where they were read.

    Args:
        boxes: true boxes by file name, pixels.
        path: where they were read, for messages.
        what: they are, for messages.

    Returns:
        The truth.

    Raises:
        InputError: a value is no list of such boxes.
    """
    images = {}
    for name, given in boxes.items():
        try:
            if not isinstance(given, list | tuple):
                raise ValueError("no list")
            images[name] = [TrueObject(corner_box(box)) for box in given]
        except ValueError as error:
            why = f"{shown(name)}: {error}"
            raise InputError(f"{what} has a value that is no list of [x1, y1, x2, y2]", path, why) from error
    return Truth(images)


def read_truth(path: Path, category: str | None = None) -> Truth:
    """True objects by file name.

    Args:
        path: a JSON file {"file": [[x1, y1, x2, y2], ...]}, a COCO file, or a folder of Pascal VOC XML.
        category: name or id of the category whose objects count, of a COCO file or VOC; all when None.

    Returns:
        The truth.

    Raises:
        InputError: unreadable, of another form, or naming files outside the set (`..`, absolute).
        UsageError: no such category.
    """
    truth, names = _read(path)
    if not truth.images:
        raise InputError("truth has no image", path)
    for name in truth.images:
        if is_outside(name):
            raise InputError("truth names a file outside the set", shown(name), path)
    if category is not None:
        return _only(truth, names, category)
    used = sorted(
        {str(names.get(o.category, o.category)) for objects in truth.images.values() for o in objects if o.category is not None}
    )
    if len(used) < 2:
        return truth
    note = f"truth has {len(used)} categories ({_listed(used)}): objects of all of them count; --category takes one"
    return Truth(truth.images, truth.ids, notes=(*truth.notes, note))


def _read(path: Path) -> tuple[Truth, dict[Id, str]]:
    """Truth with objects of all categories, and the categories' names by their ids."""
    if path.is_dir():
        images = read_voc(path)
        return Truth(images), {
            o.category: str(o.category) for objects in images.values() for o in objects if o.category is not None
        }
    data = read_json(path, "truth")
    if is_coco(data):
        coco = parse_coco(data, path)
        return _of_coco(coco), coco.categories
    if not isinstance(data, dict):
        raise InputError("truth must be an object of file names and boxes", path)
    return plain_truth(data, path), {}


def _of_coco(coco: CocoFile) -> Truth:
    images: dict[str, list[TrueObject]] = {image.file: [] for image in coco.images.values()}
    for box in coco.boxes:
        images[coco.images[box.image].file].append(TrueObject(box.box, box.category, crowd=box.crowd))
    ids = {key: image.file for key, image in coco.images.items()}
    return Truth(images, ids, notes=(*repeated(coco, "truth"), *orphans(coco, "truth")))


def repeated(coco: CocoFile, what: str) -> tuple[str, ...]:
    """A note on names that several images have, if there are any.

    Args:
        coco: the file.
        what: `predictions` or `truth`, for the note.

    Returns:
        The note, or nothing.
    """
    twice = [name for name, count in Counter(image.file for image in coco.images.values()).items() if count > 1]
    return (
        (f"{what}: {counted(len(twice), 'name')} of several images ({_listed(twice)}), whose objects are taken together",)
        if twice
        else ()
    )


def orphans(coco: CocoFile, what: str) -> tuple[str, ...]:
    """A note on annotations whose image is not listed, if there are any.

    Args:
        coco: the file.
        what: `predictions` or `truth`, for the note.

    Returns:
        The note, or nothing.
    """
    if not coco.orphans:
        return ()
    example = shown(coco.orphans[0].image)
    return (
        f"{what}: {counted(len(coco.orphans), 'annotation')} of images that are not listed (image_id {example}), not counted",
    )


def _only(truth: Truth, names: dict[Id, str], category: str) -> Truth:
    """Truth with the objects of one category, given by name or id."""
    wanted = {key for key, name in names.items() if name == category}
    wanted = wanted or {key for key, name in names.items() if name.casefold() == category.casefold()}
    wanted = wanted or {key for key in names if str(key) == category}
    if not wanted:
        known = sorted(name if name == key else f"{name} ({key})" for key, name in names.items())
        has = f"truth has {_listed(known)}" if known else "truth has no categories"
        raise UsageError("--category is none of the truth's", category, has)
    images = {file: [o for o in objects if o.category in wanted] for file, objects in truth.images.items()}
    return Truth(images, truth.ids, frozenset(wanted | {names[key] for key in wanted}), truth.notes)


def _listed(names: Sequence[str]) -> str:
    more = len(names) - LISTED
    return ", ".join(shown(name) for name in names[:LISTED]) + (f" and {more} more" if more > 0 else "")


def is_outside(name: str) -> bool:
    """Whether a name leads out of the set that it belongs to: absolute on any system, or with `..`; a URL is not absolute.

    `C:a.png` is a file's plain name on most systems, and names of truth are only compared, never opened.

    Args:
        name: of an image.

    Returns:
        True where it leads out.
    """
    return ".." in re.split(r"[/\\]", name) if URL.match(name) else not is_inside(_DRIVE.sub("", name))
