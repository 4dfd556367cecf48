"""YOLO: a line per object with its class from 0 and places in 0 to 1 of the image; boxes, outlines, or corners of turned boxes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence

from stn_cli.formats.outlines import outer_polygon
from stn_cli.records import ImageRecord, Localisation, Point


def box_lines(record: ImageRecord) -> str:
    """A detection label: class, centre x, centre y, width, height.

    Args:
        record: the image; its boxes lie in it.

    Returns:
        The label file's text; empty where there is no object. There is no score: a sixth column makes trainers drop the image.
    """
    return _lines(record, _box)


def outline_lines(record: ImageRecord) -> str:
    """A segmentation label: class, x1, y1, x2, y2, ... of the mask's outer outline; the box's corners where an object has no mask.

    Args:
        record: the image.

    Returns:
        The label file's text.
    """
    return _lines(record, _outline)


def corner_lines(record: ImageRecord) -> str:
    """A label of oriented boxes: class, x1, y1 to x4, y4 of the quad, each moved into the image, because trainers drop others.

    Args:
        record: the image.

    Returns:
        The label file's text.
    """
    return _lines(record, lambda found: _points(found.quad, found))


def data_yaml(root: str, folders: dict[str, str], names: Sequence[str]) -> str:
    """`data.yaml`: where a trainer finds the pictures, and what the classes are called.

    Args:
        root: the data set's folder, absolute.
        folders: of pictures below it, by split; `val` must be among them, or trainers refuse the file.
        names: of the kinds of objects.

    Returns:
        YAML. Texts are written as JSON writes them, which YAML reads.
    """
    where = [f"{split}: {_text(folder)}" for split, folder in folders.items()]
    classes = [f"  {number}: {_text(name)}" for number, name in enumerate(names)]
    moved = "# change this line when the folder was moved; Ultralytics also works without it"
    return "\n".join([moved, f"path: {_text(root)}", *where, f"nc: {len(names)}", "names:", *classes, ""])


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _lines(record: ImageRecord, numbers: Callable[[Localisation], Iterable[float]]) -> str:
    return "".join(f"{o.kind} {' '.join(f'{min(1.0, max(0.0, v)):.8g}' for v in numbers(o))}\n" for o in record.objects)


def _box(found: Localisation) -> Iterable[float]:
    x1, y1, x2, y2 = found.box
    w, h = found.width, found.height
    return (x1 + x2) / 2 / w, (y1 + y2) / 2 / h, (x2 - x1) / w, (y2 - y1) / h


def _outline(found: Localisation) -> Iterable[float]:
    if found.mask is None:
        x1, y1, x2, y2 = found.box
        return _points([(x1, y1), (x2, y1), (x2, y2), (x1, y2)], found)
    return _points(outer_polygon(found.mask, (found.height, found.width)), found)


def _points(points: Iterable[Point], found: Localisation) -> Iterable[float]:
    return (value for x, y in points for value in (x / found.width, y / found.height))
