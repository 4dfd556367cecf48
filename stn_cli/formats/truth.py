"""Truth of a set of images, in any form that is read."""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from stn_cli.bounds import shown
from stn_cli.errors import InputError, UsageError, counted
from stn_cli.files import is_inside
from stn_cli.formats.coco_file import CocoFile, CocoImages, Id, is_coco, parse_coco
from stn_cli.formats.json_file import corner_box
from stn_cli.formats.json_rows import JsonMembers, read_long_json
from stn_cli.formats.packed import BoxColumns, ByName
from stn_cli.formats.voc import each_voc
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
        ids: of a COCO file its images by their ids, for lists of results that name images by id.
        category: names and ids of the category that was asked for; empty when all count.
        notes: what a person should know of it.
        categories: ids or names that objects have, each once, in the order in which they come.
    """

    images: Mapping[str, Sequence[TrueObject]]
    ids: CocoImages | None = None
    category: frozenset[Id] = frozenset()
    notes: tuple[str, ...] = ()
    categories: tuple[Id, ...] = ()


class Marking:
    """Objects of images on their way into a `Truth`."""

    def __init__(self) -> None:
        self._columns = BoxColumns()
        self._categories: dict[Id | None, int] = {None: 0}

    def add_image(self, name: str) -> int:
        """The place of an image, that may have none of them."""
        return self._columns.place(name)

    def begin_image(self, name: str) -> int:
        """The same; what was said of it before does not count."""
        if name in self._columns.places:
            self._columns.drop(self._columns.place(name))
        return self._columns.place(name)

    def add(self, place: int, marked: TrueObject) -> None:
        """One of its objects."""
        number = self._categories.setdefault(marked.category, len(self._categories))
        self._columns.add(place, marked.box, number, marked.difficult + 2 * marked.crowd)

    def truth(self, ids: CocoImages | None = None, notes: tuple[str, ...] = ()) -> Truth:
        """All of them."""
        self._columns.settle()
        known = list(self._categories)
        images = ByName(self._columns, lambda box, n, flags: TrueObject(box, known[int(n)], bool(flags & 1), bool(flags & 2)))
        return Truth(images, ids, notes=notes, categories=tuple(c for c in known if c is not None))


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
    marking = Marking()
    for name, given in boxes.pairs() if isinstance(boxes, JsonMembers) else boxes.items():
        try:
            if not isinstance(given, list | tuple):
                raise ValueError("no list")
            place = marking.begin_image(name)
            for box in given:
                marking.add(place, TrueObject(corner_box(box)))
        except ValueError as error:
            why = f"{shown(name)}: {error}"
            raise InputError(f"{what} has a value that is no list of [x1, y1, x2, y2]", path, why) from error
    return marking.truth()


def voc_truth(folder: Path, what: str = "truth") -> Truth:
    """Truth from a folder of Pascal VOC XML.

    Args:
        folder: of it.
        what: it is, for messages.

    Returns:
        The truth.

    Raises:
        InputError: as `each_voc`.
    """
    marking = Marking()
    for name, objects in each_voc(folder, what):
        place = marking.add_image(name)
        for found in objects:
            marking.add(place, found)
    return marking.truth()


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
    used = sorted({str(names.get(category, category)) for category in truth.categories})
    if len(used) < 2:
        return truth
    note = f"truth has {len(used)} categories ({_listed(used)}): objects of all of them count; --category takes one"
    return replace(truth, notes=(*truth.notes, note))


def _read(path: Path) -> tuple[Truth, dict[Id, str]]:
    """Truth with objects of all categories, and the categories' names by their ids."""
    if path.is_dir():
        truth = voc_truth(path)
        return truth, {category: str(category) for category in truth.categories}
    data = read_long_json(path, "truth")
    if is_coco(data):
        coco = parse_coco(data, path)
        return _of_coco(coco), coco.categories
    if not isinstance(data, Mapping):
        raise InputError("truth must be an object of file names and boxes", path)
    return plain_truth(data, path), {}


def _of_coco(coco: CocoFile) -> Truth:
    marking, names = Marking(), coco.images.names
    places = array("i", (marking.add_image(name) for name in names))
    for box in coco.boxes:
        at = coco.images.place(box.image)
        assert at is not None  # listed
        marking.add(places[at], TrueObject(box.box, box.category, crowd=box.crowd))
    return marking.truth(coco.images, (*repeated(coco, "truth"), *orphans(coco, "truth")))


def repeated(coco: CocoFile, what: str) -> tuple[str, ...]:
    """A note on names that several images have, if there are any.

    Args:
        coco: the file.
        what: `predictions` or `truth`, for the note.

    Returns:
        The note, or nothing.
    """
    names = coco.images.names
    once = set(names)
    twice = [name for name, count in Counter(names).items() if count > 1] if len(once) < len(names) else []
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
    lost = coco.boxes.orphans
    if not lost:
        return ()
    example = shown(lost[0])
    return (f"{what}: {counted(len(lost), 'annotation')} of images that are not listed (image_id {example}), not counted",)


def _only(truth: Truth, names: dict[Id, str], category: str) -> Truth:
    """Truth with the objects of one category, given by name or id."""
    wanted = {key for key, name in names.items() if name == category}
    wanted = wanted or {key for key, name in names.items() if name.casefold() == category.casefold()}
    wanted = wanted or {key for key in names if str(key) == category}
    if not wanted:
        known = sorted(name if name == key else f"{name} ({key})" for key, name in names.items())
        has = f"truth has {_listed(known)}" if known else "truth has no categories"
        raise UsageError("--category is none of the truth's", category, has)
    marking = Marking()
    for file, objects in truth.images.items():
        place = marking.add_image(file)
        for found in objects:
            if found.category in wanted:
                marking.add(place, found)
    left = marking.truth(truth.ids, truth.notes)
    return replace(left, category=frozenset(wanted | {names[key] for key in wanted}))


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
