"""COCO detection JSON: written as a stream, so that memory does not grow with the number of images, and read back."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from stn_cli.bounds import shown
from stn_cli.errors import OutputError
from stn_cli.files import atomic, name_in_results
from stn_cli.formats.coco_file import CocoBox, CocoImage, Id, fault, parse_coco
from stn_cli.formats.json_file import number, read_json
from stn_cli.formats.labels import OBJECT
from stn_cli.formats.text_target import TextTarget
from stn_cli.records import ImageRecord, Localisation, PixelBox, Point, corners
from stn_cli.run_lengths import checked_mask, mask_area

SOURCES = ("human", "model")
"""Who said that a box is right, where a person has looked at its image."""


class CocoWriter:
    """`boxes.json`: info, images, categories, annotations.

    Images and annotations go to two spools beside the target, because COCO wants one list after the other;
    `close` joins them into the target atomically.

    Args:
        path: the target.
        info: the `info` object.
        names: of the kinds of objects, whose numbers from 1 are the ids of the categories.
    """

    def __init__(self, path: Path, info: dict[str, Any], names: Sequence[str] = (OBJECT,)) -> None:
        self.path, self.info, self.names = path, info, names
        self.images = self.annotations = 0
        try:
            self._images = _spool(path.parent)
            self._annotations = _spool(path.parent)
        except OSError as error:
            raise OutputError("cannot write", path, error.strerror, "Choose another --out") from error

    def add(self, record: ImageRecord, tracks: Sequence[int] | None = None) -> None:
        """Write one image and its objects.

        Args:
            record: the image.
            tracks: of a frame of a video, the id of the track of each of its objects; readers look for it in two places.
        """
        self.images += 1
        image = {
            "id": self.images,
            "file_name": name_in_results(record.file),
            "width": record.width,
            "height": record.height,
        }
        if record.reviewed:
            image["reviewed"] = True
        try:
            _append(self._images, image, first=self.images == 1)
            for place, found in enumerate(record.objects):
                self.annotations += 1
                row = annotation(found, self.annotations, self.images)
                if tracks is not None:
                    row |= {"track_id": tracks[place], "attributes": {"track_id": tracks[place]}}
                _append(self._annotations, row, first=self.annotations == 1)
        except OSError as error:
            raise OutputError("cannot write", self.path, error.strerror, "Free some space") from error

    def close(self) -> None:
        """Join the spools into the target."""
        try:
            with atomic(self.path, "w") as out:
                out.write('{"info": ' + json.dumps(self.info, allow_nan=False) + ',\n"images": [\n')
                _copy(self._images, out)
                categories = [{"id": n, "name": name, "supercategory": name} for n, name in enumerate(self.names, 1)]
                out.write('\n],\n"categories": ' + json.dumps(categories) + ',\n"annotations": [\n')
                _copy(self._annotations, out)
                out.write("\n]}\n")
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Drop the spools."""
        for spool in (self._images, self._annotations):
            with suppress(OSError):
                spool.close()


class CocoResultsWriter:
    """`boxes.results.json`: the bare list that pycocotools' `loadRes` takes; image ids are those of boxes.json.

    Args:
        path: the target.
        names: of the kinds of objects, which a list of results tells by their numbers only.
    """

    def __init__(self, path: Path, names: Sequence[str] = ()) -> None:
        self._images = self._rows = 0
        self._target = TextTarget(path)
        self._target.write("[\n")

    def add(self, record: ImageRecord) -> None:
        """Write the objects of one image."""
        self._images += 1
        for found in record.objects:
            row = annotation(found, 0, self._images)
            kept = {key: row[key] for key in ("image_id", "category_id", "bbox", "score")}
            if found.mask is not None:
                kept["segmentation"] = row["segmentation"]
            _append(self._target, kept, first=self._rows == 0)
            self._rows += 1

    def close(self) -> None:
        """Put the file in place."""
        self._target.write("\n]\n")
        self._target.close()

    def abandon(self) -> None:
        """Remove the temporary file."""
        self._target.abandon()


def _spool(folder: Path) -> IO[str]:
    """An unnamed file: the system removes it even if the process is killed."""
    return tempfile.TemporaryFile("w+", encoding="utf-8", dir=folder)


def _append(spool: IO[str] | TextTarget, value: dict[str, Any], *, first: bool) -> None:
    spool.write(("" if first else ",\n") + json.dumps(value, allow_nan=False))


def _copy(spool: IO[str], out: IO[str]) -> None:
    spool.flush()
    spool.seek(0)
    shutil.copyfileobj(spool, out)


def annotation(found: Localisation, number: int, image: int) -> dict[str, Any]:
    """One object as a COCO annotation, with `score`, `quad` and `theta` as extra keys.

    `segmentation` has the object's mask, and `area` its pixels. Without a mask it is empty, not left out: readers ask for the key, and the
    box's outline would make annotation tools import polygons. What is not believed says so.

    Args:
        found: the object.
        number: the annotation's id, from 1.
        image: the image's id.

    Returns:
        The annotation as JSON has it.
    """
    x1, y1, x2, y2 = found.box
    size = found.height, found.width
    segmentation = [] if found.mask is None else {"size": list(size), "counts": found.mask}
    said = {"reviewed": True, "source": found.source} if found.source else {}
    return {
        "id": number,
        "image_id": image,
        "category_id": found.kind + 1,
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "area": (x2 - x1) * (y2 - y1) if found.mask is None else mask_area(found.mask, size),
        "segmentation": segmentation,
        "iscrowd": 0,
        "score": found.score,
        "quad": [list(point) for point in found.quad],
        "theta": list(found.theta),
        **({} if found.believed else {"believed": False}),
        **said,
    }


def read_coco(path: Path) -> list[ImageRecord]:
    """Read a COCO file back as records, each image's objects best first; annotations without a score get 1.

    Args:
        path: the file.

    Returns:
        A record for each image, in the file's order.

    Raises:
        InputError: not readable, not JSON, or not COCO.
    """
    coco = parse_coco(read_json(path, "the file of boxes"), path)
    objects: dict[Id, list[Localisation]] = {key: [] for key in coco.images}
    kinds: dict[Id | None, int] = {key: number for number, key in enumerate(coco.categories)}
    for box in coco.boxes:
        image = coco.images[box.image]
        try:
            objects[box.image].append(localisation(box, image, kinds.get(box.category, 0)))
        except (TypeError, ValueError) as error:
            raise fault(path, f"image {shown(image.file)}", error) from error
    return [
        ImageRecord(i.file, i.width, i.height, tuple(sorted(objects[key], key=lambda o: -o.score)))
        for key, i in coco.images.items()
    ]


def localisation(found: CocoBox, image: CocoImage, kind: int) -> Localisation:
    """An annotation as a record.

    Args:
        found: the annotation.
        image: that it belongs to.
        kind: number of its category, from 0.

    Returns:
        The object; without a score in the file it has 1.

    Raises:
        TypeError, ValueError: what this tool adds to COCO is not as it writes it.
    """
    x1, y1, x2, y2 = found.box
    w, h = image.width, image.height
    theta: tuple[float, ...] = ()
    if found.row.get("theta"):
        theta = tuple(number(v) for v in found.row["theta"])
    elif w and h:
        theta = ((x2 - x1) / w, 0, (x1 + x2) / w - 1, 0, (y2 - y1) / h, (y1 + y2) / h - 1)
    score = 1.0 if found.score is None else found.score
    mask = _mask(found.row.get("segmentation"), (h, w))
    quad, source = _quad(found.row.get("quad"), found.box), found.row.get("source")
    believed = found.row.get("believed") is not False
    said = source if source in SOURCES and found.row.get("reviewed") is True else ""
    return Localisation(image.file, w, h, found.box, quad, theta, score, mask, kind, believed, said)


def _mask(value: Any, size: tuple[int, int]) -> str | None:
    """A mask that is written as ours are; polygons and lists of numbers, as other tools write them, are left out."""
    if not isinstance(value, dict) or not isinstance(value.get("counts"), str) or value.get("size") != list(size):
        return None
    return checked_mask(value["counts"], size)


def _quad(value: Any, box: PixelBox) -> tuple[Point, Point, Point, Point]:
    if not value:
        return corners(box)
    a, b, c, d = ((number(x), number(y)) for x, y in value)
    return a, b, c, d
