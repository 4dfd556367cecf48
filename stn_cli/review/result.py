"""The corrected boxes.json: all boxes as they are now, and who said so. The file that was reviewed stays as it was."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from stn_cli.errors import OutputError
from stn_cli.files import atomic
from stn_cli.formats.coco_file import Id
from stn_cli.reading import open_plain
from stn_cli.review.state import CORRECTED, NONE, UNREVIEWED, ReviewImage, ReviewObject
from stn_cli.run_lengths import mask_area
from stn_cli.version import __version__

BEGINS = b'{"info": {"reviewed": true'
"""How a file begins that this module wrote: only such a one is replaced."""


def check_result(path: Path) -> None:
    """See that the corrected file can take its place: nothing is there, or what an earlier review wrote.

    Args:
        path: of the file.

    Raises:
        OutputError: something else is there.
    """
    try:
        with open_plain(path, float("inf")) as (file, _):
            same = file.read(len(BEGINS)) == BEGINS
    except FileNotFoundError:
        return
    except OSError as error:
        raise OutputError("cannot write over", path, error.strerror, "Move it away") from error
    if not same:
        raise OutputError("a file is in the way", path, "no review wrote it, and the corrected boxes go there", "Move it away")


def write_result(
    path: Path, data: dict[str, Any], images: Sequence[ReviewImage], categories: dict[Id, str], journal: str
) -> None:
    """Write the corrected file, a COCO detection file.

    Args:
        path: of the file.
        data: the JSON that was reviewed.
        images: in its order, with their states.
        categories: names of kinds by id.
        journal: name of the journal.

    Raises:
        OutputError: it cannot be written; the last one stays.
    """
    given = data.get("info")
    info = {"reviewed": True, **(given if isinstance(given, dict) else {}), "reviewed_with": f"stn-coloc {__version__}"}
    info |= {"reviewed": True, "journal": journal, "images_reviewed": sum(image.mark.status != UNREVIEWED for image in images)}
    rows = data["images"]
    named = {row.get("id"): row for row in data.get("categories") or []}
    kinds = [{"supercategory": name, **named.get(key, {}), "id": key, "name": name} for key, name in categories.items()]
    with atomic(path, "w") as file:
        file.write('{"info": ' + json.dumps(info) + ',\n"images": [\n')
        _rows(file, (_image(row, image) for row, image in zip(rows, images, strict=True)))
        file.write('\n],\n"categories": ' + json.dumps(kinds) + ',\n"annotations": [\n')
        _rows(file, _annotations(rows, images))
        file.write("\n]}\n")


def _rows(file: Any, rows: Iterator[dict[str, Any]]) -> None:
    for number, row in enumerate(rows):
        file.write(",\n" * (number > 0) + json.dumps(row, allow_nan=False))


def _image(row: dict[str, Any], image: ReviewImage) -> dict[str, Any]:
    mark = image.mark
    said: dict[str, Any] = {"width": image.width, "height": image.height, "reviewed": mark.status != UNREVIEWED}
    if said["reviewed"]:
        said["status"] = mark.status
    if mark.status in (CORRECTED, NONE):
        said["rejected"] = [[x1, y1, x2 - x1, y2 - y1] for x1, y1, x2, y2 in mark.rejected]
    return {**row, **said}


def _annotations(rows: Sequence[dict[str, Any]], images: Sequence[ReviewImage]) -> Iterator[dict[str, Any]]:
    number = 0
    for row, image in zip(rows, images, strict=True):
        for found in image.mark.objects:
            number += 1
            yield _annotation(found, number, row["id"], image)


def _annotation(found: ReviewObject, number: int, image_id: Id, image: ReviewImage) -> dict[str, Any]:
    """A box that a person drew or accepted is certain, whatever the model thought of it: what it thought is `model_score`."""
    x1, y1, x2, y2 = found.box
    reviewed = image.mark.status != UNREVIEWED
    row = {
        "id": number,
        "image_id": image_id,
        "category_id": found.kind,
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "area": _area(found, image),
        "iscrowd": 0,
        "segmentation": [],
        **found.kept,
        "reviewed": reviewed,
        "source": "human" if found.human else "model",
    }
    if reviewed:
        row["score"] = 1.0
        if found.score is not None:
            row["model_score"] = found.score
    elif found.score is not None:
        row["score"] = found.score
    return row


def _area(found: ReviewObject, image: ReviewImage) -> float:
    """Pixels of the mask where there is one, else of the box."""
    mask, size = found.kept.get("segmentation"), (image.height, image.width)
    if isinstance(mask, dict) and isinstance(mask.get("counts"), str) and mask.get("size") == list(size):
        with suppress(ValueError):  # not run lengths: another tool's
            return mask_area(mask["counts"], size)
    x1, y1, x2, y2 = found.box
    return (x2 - x1) * (y2 - y1)
