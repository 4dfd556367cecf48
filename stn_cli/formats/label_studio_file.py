"""Label Studio's export as JSON: the annotations of each task's image."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from stn_cli.bounds import shown
from stn_cli.errors import InputError, counted
from stn_cli.formats.json_file import number, whole
from stn_cli.formats.labels import OBJECT
from stn_cli.records import AnnotatedImage, PixelBox

RECTANGLES = ("rectanglelabels", "rectangle", "labels")
OTHER_SHAPES = ("polygonlabels", "polygon", "ellipselabels", "ellipse", "brushlabels", "brush", "keypointlabels", "keypoint")


def is_label_studio(data: object) -> bool:
    """Whether JSON is an export of Label Studio's, or tasks to import there.

    Args:
        data: what a file held.

    Returns:
        True where it is a list of tasks.
    """
    return (
        isinstance(data, list)
        and bool(data)
        and all(isinstance(row, dict) and isinstance(row.get("data"), dict) for row in data)
    )


def parse_label_studio(data: list[dict[str, Any]], path: Path) -> tuple[list[AnnotatedImage], tuple[str, ...], list[str]]:
    """The annotations of images; tasks that nobody has submitted, and predictions, say nothing.

    Args:
        data: the tasks.
        path: where they were read, for messages.

    Returns:
        Images, names of the kinds, and what a person should know. Of several annotations of a task the one that is marked as ground truth
        counts, else the last one.

    Raises:
        InputError: a task is none of images and rectangles.
    """
    images: list[AnnotatedImage] = []
    kinds: dict[str, int] = {}
    several = 0
    for task in data:
        given = task.get("annotations") or []
        try:
            if not isinstance(given, list) or not all(isinstance(row, dict) for row in given):
                raise ValueError("its annotations are no list of objects")
            done = [row for row in given if not row.get("was_cancelled")]
            if not done:
                continue
            several += len(done) > 1
            last = next((row for row in reversed(done) if row.get("ground_truth")), done[-1])
            images.append(_image(_name(task["data"]), last.get("result") or [], kinds))
        except (KeyError, TypeError, ValueError) as error:
            why = f"task {shown(task.get('id', '?'))}: {f'{error} is missing' if isinstance(error, KeyError) else error}"
            raise InputError("not an export of Label Studio with rectangles", path, why) from error
    if not images:
        raise InputError("nobody has annotated a task yet", path, None, "Export annotations, not tasks: format JSON")
    notes = (
        [f"{counted(several, 'task')} annotated more than once: the ground truth or the last one is taken"] if several else []
    )
    return images, tuple(kinds) or (OBJECT,), notes


def _name(data: dict[str, Any]) -> str:
    """The image's name: as our own tasks have it, else what the server's address of it ends in."""
    if isinstance(data.get("file"), str) and data["file"]:
        return str(data["file"])
    address = data.get("image") or next((v for v in data.values() if isinstance(v, str) and "/" in v), None)
    if not isinstance(address, str) or not address:
        raise ValueError("it has no image")
    parts = urlsplit(address)
    local = parse_qs(parts.query).get("d")
    if local:
        return local[0]
    folder, _, name = unquote(parts.path).rpartition("/")
    if "/upload" in folder and len(name) > 9 and name[8] == "-":  # the server puts eight digits before a name that is uploaded
        return name[9:]
    return f"{folder}/{name}".lstrip("/") if not parts.scheme else name


def _image(file: str, result: list[dict[str, Any]], kinds: dict[str, int]) -> AnnotatedImage:
    found: dict[object, tuple[PixelBox, str]] = {}
    width = height = 0
    for place, row in enumerate(result):
        kind, value = str(row.get("type")), row.get("value")
        if kind in OTHER_SHAPES:
            raise ValueError(f"it has {kind}, which are no boxes")
        if kind not in RECTANGLES or not isinstance(value, dict):
            continue  # choices, texts and the like are not about boxes
        if whole(row.get("image_rotation") or 0) % 360:
            raise ValueError("its image was turned in Label Studio, and boxes are of the upright image")
        width, height = whole(row["original_width"]), whole(row["original_height"])
        names = value.get(kind)
        key = row.get("id", place)  # a rectangle and its label may be two rows of one id
        label = str(names[0]) if isinstance(names, list) and names else found[key][1] if key in found else OBJECT
        found[key] = _box(value, width, height), label
    return AnnotatedImage(
        file, width, height, tuple((box, kinds.setdefault(label, len(kinds))) for box, label in found.values())
    )


def _box(value: dict[str, Any], width: int, height: int) -> PixelBox:
    """The upright box around a rectangle that is turned about its upper left corner; in percent of the image's sides."""
    x, y, w, h = (number(value[key]) / 100 for key in ("x", "y", "width", "height"))
    angle = math.radians(number(value.get("rotation") or 0))
    across, down = (w * width, h * height)
    corners = [
        (x * width + a * math.cos(angle) - b * math.sin(angle), y * height + a * math.sin(angle) + b * math.cos(angle))
        for a, b in ((0.0, 0.0), (across, 0.0), (across, down), (0.0, down))
    ]
    xs, ys = [p[0] for p in corners], [p[1] for p in corners]
    return min(xs), min(ys), max(xs), max(ys)
