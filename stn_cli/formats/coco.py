"""COCO detection JSON, streamed: memory does not grow with the number of images."""

from __future__ import annotations

import json
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from stn_cli.errors import InputError, OutputError, printable
from stn_cli.files import atomic
from stn_cli.records import ImageRecord, Localisation


class CocoWriter:
    """`boxes.json`: info, images, categories, annotations.

    Images and annotations go to two spools beside the target, because COCO wants one list after the other;
    `close` joins them into the target atomically.

    Args:
        path: the target.
        info: the `info` object.
        category: name of the only category.
    """

    def __init__(self, path: Path, info: dict[str, Any], category: str = "object") -> None:
        self.path, self.info, self.category = path, info, category
        self.images = self.annotations = 0
        try:
            self._images = _spool(path.parent)
            self._annotations = _spool(path.parent)
        except OSError as error:
            raise OutputError("cannot write", path, error.strerror, "Choose another --out") from error

    def add(self, record: ImageRecord) -> None:
        """Write one image and its objects."""
        self.images += 1
        image = {
            "id": self.images,
            "file_name": printable(record.file),
            "width": record.width,
            "height": record.height,
        }
        try:
            _append(self._images, image, first=self.images == 1)
            for found in record.objects:
                self.annotations += 1
                _append(self._annotations, annotation(found, self.annotations, self.images), first=self.annotations == 1)
        except OSError as error:
            raise OutputError("cannot write", self.path, error.strerror, "Free some space") from error

    def close(self) -> None:
        """Join the spools into the target."""
        with atomic(self.path, "w") as out:
            out.write('{"info": ' + json.dumps(self.info, allow_nan=False) + ',\n"images": [\n')
            _copy(self._images, out)
            categories = [{"id": 1, "name": self.category}]
            out.write('\n],\n"categories": ' + json.dumps(categories) + ',\n"annotations": [\n')
            _copy(self._annotations, out)
            out.write("\n]}\n")
        self.abandon()

    def abandon(self) -> None:
        """Drop the spools."""
        for spool in (self._images, self._annotations):
            with suppress(OSError):
                spool.close()


def _spool(folder: Path) -> IO[str]:
    """An unnamed file: the system removes it even if the process is killed."""
    return tempfile.TemporaryFile("w+", encoding="utf-8", dir=folder)


def _append(spool: IO[str], value: dict[str, Any], *, first: bool) -> None:
    spool.write(("" if first else ",\n") + json.dumps(value, allow_nan=False))


def _copy(spool: IO[str], out: IO[str]) -> None:
    spool.flush()
    spool.seek(0)
    shutil.copyfileobj(spool, out)


def annotation(found: Localisation, number: int, image: int) -> dict[str, Any]:
    """One object as a COCO annotation, with `score`, `quad` and `theta` as extra keys."""
    x1, y1, x2, y2 = found.box
    return {
        "id": number,
        "image_id": image,
        "category_id": 1,
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "area": (x2 - x1) * (y2 - y1),
        "iscrowd": 0,
        "score": found.score,
        "quad": [list(point) for point in found.quad],
        "theta": list(found.theta),
    }


def read_coco(path: Path) -> list[ImageRecord]:
    """Read a COCO file back as records, each image's objects best first; annotations without a score get 1.

    Raises:
        InputError: not readable, not JSON, or not COCO.
    """
    try:
        data = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise InputError("cannot read", path, error.strerror) from error
    except ValueError as error:
        raise InputError("not JSON", path, error) from error
    try:
        objects: dict[int, list[Localisation]] = {image["id"]: [] for image in data["images"]}
        sizes = {i["id"]: (str(i["file_name"]), int(i["width"]), int(i["height"])) for i in data["images"]}
        for a in data["annotations"]:
            name, width, height = sizes[a["image_id"]]
            x, y, w, h = (float(v) for v in a["bbox"])
            quad = a.get("quad") or [[x, y], [x + w, y], [x + w, y + h], [x, y + h]]
            theta = a.get("theta") or (w / width, 0, (2 * x + w) / width - 1, 0, h / height, (2 * y + h) / height - 1)
            objects[a["image_id"]].append(
                Localisation(
                    name,
                    width,
                    height,
                    (x, y, x + w, y + h),
                    tuple((float(p), float(q)) for p, q in quad),  # type: ignore[arg-type]
                    tuple(float(v) for v in theta),
                    float(a.get("score", 1.0)),
                )
            )
    except (KeyError, TypeError, ValueError, AttributeError, ZeroDivisionError) as error:
        raise InputError("not a COCO detection file", path, f"{type(error).__name__}: {error}") from error
    return [ImageRecord(*sizes[key], tuple(sorted(found, key=lambda o: -o.score))) for key, found in objects.items()]
