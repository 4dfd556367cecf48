"""What a COCO file holds: detection files of this tool and of others, truth, and bare lists of results."""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stn_cli.bounds import shown
from stn_cli.errors import InputError
from stn_cli.formats.json_file import as_id, number, side_box, whole
from stn_cli.formats.json_rows import JsonRows
from stn_cli.records import PixelBox

Id = int | str


@dataclass(frozen=True, slots=True)
class CocoImage:
    """An image; width and height are 0 where the file does not say them."""

    file: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class CocoBox:
    """An annotation, or a row of results; its category is None where the file has none."""

    image: Id
    category: Id | None
    box: PixelBox
    score: float | None
    crowd: bool
    row: dict[str, Any]


class CocoImages(Mapping[Id, CocoImage]):
    """Images by id, held as columns: a million of them take 100 MB."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._sides = array("i")
        self._places: dict[Id, int] | None = None  # while ids are 1, 2, 3, ... they say where an image is

    def add(self, key: Id, image: CocoImage) -> None:
        """One more, whose id no other has."""
        if self._places is None and key != len(self._names) + 1:
            self._places = {n: n - 1 for n in range(1, len(self._names) + 1)}
        if self._places is not None:
            self._places[key] = len(self._names)
        self._names.append(image.file)
        self._sides.extend((image.width, image.height))

    def place(self, key: object) -> int | None:
        """Where in the file an image stands, from 0; None where it has none of this id."""
        if self._places is not None:
            return self._places.get(key)  # type: ignore[call-overload]
        return key - 1 if isinstance(key, int) and 0 < key <= len(self._names) else None

    @property
    def names(self) -> Sequence[str]:
        """Of the files, in the file's order."""
        return self._names

    def at(self, place: int) -> CocoImage:
        """The image at a place."""
        return CocoImage(self._names[place], self._sides[2 * place], self._sides[2 * place + 1])

    def __contains__(self, key: object) -> bool:
        return self.place(key) is not None

    def __getitem__(self, key: Id) -> CocoImage:
        place = self.place(key)
        if place is None:
            raise KeyError(key)
        return self.at(place)

    def __iter__(self) -> Iterator[Id]:
        return iter(range(1, len(self._names) + 1) if self._places is None else self._places)

    def __len__(self) -> int:
        return len(self._names)


class CocoBoxes(Collection[CocoBox]):
    """The annotations of listed images, in the file's order, made of its rows each time that they are gone through.

    Args:
        rows: of the file.
        images: that it lists; of a bare list of results None, and all count.
        path: of the file, for messages.

    Attributes:
        orphans: images that are not listed, of one annotation each.
        categories: that the annotations name, None among them where one names none.

    Raises:
        InputError: a row is no annotation.
    """

    def __init__(self, rows: Collection[dict[str, Any]], images: CocoImages | None, path: Path) -> None:
        self._rows, self._images, self._path = rows, images, path
        self.orphans: list[Id] = []
        self.categories: set[Id | None] = set()
        for box in self._all():
            if images is not None and box.image not in images:
                self.orphans.append(box.image)
                continue
            self.categories.add(box.category)

    def _all(self) -> Iterator[CocoBox]:
        return (_box(row, self._images or {}, self._path) for row in self._rows)

    def __iter__(self) -> Iterator[CocoBox]:
        return (box for box in self._all() if self._images is None or box.image in self._images)

    def __len__(self) -> int:
        return len(self._rows) - len(self.orphans)

    def __contains__(self, box: object) -> bool:
        return any(box == other for other in self)


@dataclass(frozen=True, slots=True)
class CocoFile:
    """What a COCO file holds.

    Attributes:
        images: by id; of a list of results none.
        boxes: the annotations of listed images, in the file's order.
        categories: names by id.
    """

    images: CocoImages
    boxes: CocoBoxes
    categories: dict[Id, str]


def is_coco(data: object) -> bool:
    """Whether JSON is a COCO detection file by its keys.

    Args:
        data: what a file held.

    Returns:
        True where it has the keys of one.
    """
    return isinstance(data, Mapping) and "annotations" in data and "images" in data


def parse_coco(data: Any, path: Path) -> CocoFile:
    """A COCO detection file.

    Args:
        data: its JSON.
        path: where it was read, for messages.

    Returns:
        What the file holds.

    Raises:
        InputError: it is none; names the image with the fault.
    """
    if not is_coco(data):
        raise InputError("not a COCO detection file", path, "images or annotations are missing")
    images = CocoImages()
    categories: dict[Id, str] = {}
    for row in _rows(data["images"], "images", path):
        try:
            key = as_id(row["id"])
            if key in images:
                raise ValueError(f"two images have the id {shown(key)}")
            images.add(key, CocoImage(_text(row["file_name"]), _side(row.get("width")), _side(row.get("height"))))
        except (KeyError, ValueError) as error:
            raise fault(path, f"image {shown(row.get('file_name', row.get('id')))}", error) from error
    for row in _rows(data.get("categories") or [], "categories", path):
        try:
            categories[as_id(row["id"])] = _text(row.get("name", str(row["id"])))
        except (KeyError, ValueError) as error:
            raise fault(path, "categories", error) from error
    return CocoFile(images, CocoBoxes(_rows(data["annotations"], "annotations", path), images, path), categories)


def parse_results(data: Any, path: Path) -> CocoFile:
    """A bare list of results: {image_id, category_id, bbox, score}; the images are those of the truth.

    Args:
        data: what the file held.
        path: of the file, for messages.

    Returns:
        Its boxes, without images.

    Raises:
        InputError: it is none.
    """
    return CocoFile(CocoImages(), CocoBoxes(_rows(data, "results", path), None, path), {})


def _box(row: dict[str, Any], images: Mapping[Id, CocoImage], path: Path) -> CocoBox:
    try:
        category = row.get("category_id")
        return CocoBox(
            as_id(row["image_id"]),
            None if category is None else as_id(category),
            side_box(row["bbox"]),
            number(row["score"]) if "score" in row else None,
            bool(whole(row.get("iscrowd") or 0)),
            row,
        )
    except (KeyError, ValueError) as error:
        raise fault(path, _where(row.get("image_id"), images), error) from error


def _where(key: object, images: Mapping[Id, CocoImage]) -> str:
    """The image that a faulty row belongs to: its name, its id where it is not listed."""
    return f"image {shown(images[key].file if isinstance(key, int | str) and key in images else key)}"


def _rows(value: object, name: str, path: Path) -> Collection[dict[str, Any]]:
    if isinstance(value, JsonRows) and value.of_objects:
        return value
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        raise InputError("not a COCO detection file", path, f"{name} is no list of objects")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("a name is no text")
    return value


def _side(value: object) -> int:
    """A width or height, 0 where it is left out."""
    return 0 if value is None else max(0, whole(value))


def fault(path: Path, where: str, error: Exception) -> InputError:
    """The error that names what is wrong in a COCO file, and at which image.

    Args:
        path: of the file.
        where: the image, for people.
        error: what was wrong.

    Returns:
        The error to raise.
    """
    why = f"{error} is missing" if isinstance(error, KeyError) else str(error)
    return InputError("not a COCO detection file", path, f"{where}: {why}")
