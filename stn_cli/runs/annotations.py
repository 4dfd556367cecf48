"""annotations.json: a person's annotations of a run's images, so that the run can be gone on with without the file that they came from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from stn_cli.bounds import shown
from stn_cli.errors import CheckpointError
from stn_cli.files import name_from_results, name_in_results, write_bytes
from stn_cli.reading import is_plain, read_plain
from stn_cli.records import AnnotatedImage, PixelBox

ANNOTATIONS = "annotations.json"
MOST_BYTES = 1 << 30
LARGEST = 1e9
"""Pixels; no picture is that wide."""


def write_run_annotations(folder: Path, images: Iterable[AnnotatedImage]) -> None:
    """Write annotations.

    Args:
        folder: of the run.
        images: of it.
    """
    rows = [
        {
            "file": name_in_results(image.file),
            "size": [image.width, image.height],
            "boxes": [list(box) for box, _ in image.boxes],
            "kinds": [kind for _, kind in image.boxes],
            "rejected": [list(box) for box in image.rejected],
        }
        for image in images
    ]
    text = "[\n" + ",\n".join(json.dumps(row, allow_nan=False) for row in rows) + "\n]\n"
    write_bytes(folder / ANNOTATIONS, text.encode("ascii"))


def read_run_annotations(folder: Path) -> list[AnnotatedImage]:
    """What `write_run_annotations` wrote; a run may come from a stranger.

    Args:
        folder: of the run.

    Returns:
        The images; none where the run has no such file.

    Raises:
        CheckpointError: damaged.
    """
    path = folder / ANNOTATIONS
    if not is_plain(path):
        return []
    try:
        rows = json.loads(read_plain(path, MOST_BYTES))
        if not isinstance(rows, list):
            raise ValueError("no list")
        return [_image(row) for row in rows]
    except OSError as error:
        raise CheckpointError("cannot read the annotations", path, error.strerror, "Train again with --boxes") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError("damaged annotations", path, shown(error), "Train again with --boxes") from error


def annotations_digest(folder: Path) -> str:
    """What a training state says of the file, so that one is never gone on with beside the other of another training.

    Args:
        folder: of the run.

    Returns:
        SHA-256 of the file; empty where there is none.
    """
    path = folder / ANNOTATIONS
    return hashlib.sha256(read_plain(path, MOST_BYTES)).hexdigest() if is_plain(path) else ""


def _image(row: dict[str, Any]) -> AnnotatedImage:
    width, height = row["size"]
    kinds = row["kinds"]
    if not isinstance(row["file"], str) or not all(type(v) is int and 0 < v < LARGEST for v in (width, height)):
        raise ValueError("an image without name or size")
    if not all(type(kind) is int and 0 <= kind < LARGEST for kind in kinds):
        raise ValueError("a kind is no number")
    boxes = tuple(zip(map(_box, row["boxes"]), kinds, strict=True))
    return AnnotatedImage(name_from_results(row["file"]), width, height, boxes, tuple(map(_box, row["rejected"])))


def _box(values: Any) -> PixelBox:
    x1, y1, x2, y2 = values
    if not all(type(v) in (int, float) and abs(v) < LARGEST for v in values) or not (x1 < x2 and y1 < y2):
        raise ValueError("a box is none")
    return float(x1), float(y1), float(x2), float(y2)
