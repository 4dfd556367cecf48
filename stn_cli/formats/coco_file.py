"""What a COCO file holds: detection files of this tool and of others, truth, and bare lists of results."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stn_cli.bounds import shown
from stn_cli.errors import InputError
from stn_cli.formats.json_file import as_id, number, side_box, whole
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


@dataclass(frozen=True, slots=True)
class CocoFile:
    """What a COCO file holds.

    Attributes:
        images: by id; of a list of results none.
        boxes: the annotations of listed images, in the file's order.
        categories: names by id.
        orphans: annotations whose image is not listed.
    """

    images: dict[Id, CocoImage]
    boxes: list[CocoBox]
    categories: dict[Id, str]
    orphans: list[CocoBox]


def is_coco(data: object) -> bool:
    """Whether JSON is a COCO detection file by its keys.

    Args:
        data: what a file held.

    Returns:
        True where it has the keys of one.
    """
    return isinstance(data, dict) and "annotations" in data and "images" in data


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
    images: dict[Id, CocoImage] = {}
    categories: dict[Id, str] = {}
    for row in _rows(data["images"], "images", path):
        try:
            key = as_id(row["id"])
            if key in images:
                raise ValueError(f"two images have the id {shown(key)}")
            images[key] = CocoImage(_text(row["file_name"]), _side(row.get("width")), _side(row.get("height")))
        except (KeyError, ValueError) as error:
            raise fault(path, f"image {shown(row.get('file_name', row.get('id')))}", error) from error
    for row in _rows(data.get("categories") or [], "categories", path):
        try:
            categories[as_id(row["id"])] = _text(row.get("name", str(row["id"])))
        except (KeyError, ValueError) as error:
            raise fault(path, "categories", error) from error
    found = [_box(row, images, path) for row in _rows(data["annotations"], "annotations", path)]
    listed, orphans = [b for b in found if b.image in images], [b for b in found if b.image not in images]
    return CocoFile(images, listed, categories, orphans)


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
    return CocoFile({}, [_box(row, {}, path) for row in _rows(data, "results", path)], {}, [])


def _box(row: dict[str, Any], images: dict[Id, CocoImage], path: Path) -> CocoBox:
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


def _where(key: object, images: dict[Id, CocoImage]) -> str:
    """The image that a faulty row belongs to: its name, its id where it is not listed."""
    return f"image {shown(images[key].file if isinstance(key, int | str) and key in images else key)}"


def _rows(value: object, name: str, path: Path) -> list[dict[str, Any]]:
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
