"""CorLoc and IoU of boxes against truth."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import torch

from stn_cli.errors import InputError, printable
from stn_cli.files import atomic
from stn_cli.formats.coco import read_coco
from stn_cli.formats.csv import neutral
from stn_cli.geometry import box_iou
from stn_cli.records import Box, ImageRecord


@dataclass(frozen=True, slots=True)
class ImageScore:
    """One image: IoU of its best-scored box with the true box that it fits best, and that box's score."""

    file: str
    iou: float
    score: float | None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A set.

    Attributes:
        images: one row per image of the truth.
        threshold: IoU above which a box is right.
    """

    images: list[ImageScore]
    threshold: float

    @property
    def corloc(self) -> float:
        """Share of images whose best-scored box is right, percent. An image without a box is wrong."""
        return 100 * sum(i.iou > self.threshold for i in self.images) / max(1, len(self.images))

    @property
    def mean_iou(self) -> float:
        """Mean IoU; an image without a box counts 0."""
        return sum(i.iou for i in self.images) / max(1, len(self.images))

    @property
    def missing(self) -> int:
        """Images of the truth without a box."""
        return sum(i.score is None for i in self.images)

    def best_half(self) -> tuple[float, float]:
        """CorLoc of the half with the higher scores, and of the rest, percent: what the score is worth."""
        ranked = sorted(self.images, key=lambda i: -(i.score or 0.0))
        half = (len(ranked) + 1) // 2
        parts = ranked[:half], ranked[half:]
        best, rest = (100 * sum(i.iou > self.threshold for i in p) / max(1, len(p)) for p in parts)
        return best, rest


def read_truth(path: Path) -> dict[str, list[Box]]:
    """True boxes by file name.

    Args:
        path: a JSON file {"file": [[x1, y1, x2, y2], ...]}, a COCO file, or a folder of Pascal VOC XML.

    Raises:
        InputError: unreadable, of another form, or naming files outside the set (`..`, absolute).
    """
    if path.is_dir():
        from stn_cli.formats.voc import read_voc

        truth = read_voc(path)
    else:
        try:
            data = json.loads(path.read_text("utf-8"))
        except OSError as error:
            raise InputError("cannot read truth", path, error.strerror) from error
        except ValueError as error:
            raise InputError("truth is not JSON", path, error) from error
        if isinstance(data, dict) and "annotations" in data and "images" in data:
            truth = {r.file: [o.box for o in r.objects] for r in read_coco(path)}
        else:
            truth = _plain(data, path)
    if not truth:
        raise InputError("truth has no image", path)
    for name in truth:
        if name.startswith("/") or ".." in PurePosixPath(name).parts:
            raise InputError("truth names a file outside the set", name, path)
    return truth


def _plain(data: object, path: Path) -> dict[str, list[Box]]:
    if not isinstance(data, dict):
        raise InputError("truth must be an object of file names and boxes", path)
    truth: dict[str, list[Box]] = {}
    for name, boxes in data.items():
        try:
            truth[name] = [(float(a), float(b), float(c), float(d)) for a, b, c, d in boxes]
        except (TypeError, ValueError):
            raise InputError("truth has a value that is no list of [x1, y1, x2, y2]", name, path) from None
    return truth


def score_boxes(
    predicted: Sequence[ImageRecord] | str | Path, truth: dict[str, list[Box]] | str | Path, threshold: float = 0.5
) -> Evaluation:
    """Score boxes.

    Args:
        predicted: records, or a COCO file.
        truth: boxes by file name, or a file or folder that `read_truth` reads.
        threshold: IoU above which a box is right.

    Raises:
        InputError: no file of the truth is among the predictions, or a file cannot be read.
    """
    records = read_coco(Path(predicted)) if isinstance(predicted, str | Path) else predicted
    boxes = read_truth(Path(truth)) if isinstance(truth, str | Path) else truth
    by_name = {r.file: r for r in records}
    if not by_name.keys() & boxes.keys():
        by_name = {PurePosixPath(r.file).name: r for r in records}
    if not by_name.keys() & boxes.keys():
        raise InputError("truth and predictions have no file in common", next(iter(boxes), None))
    rows = []
    for name, true in boxes.items():
        record = by_name.get(name)
        if record is None or not record.objects:
            rows.append(ImageScore(name, 0.0, None))
            continue
        best = record.objects[0]
        iou = float(box_iou(torch.tensor(best.box).double(), torch.tensor(true).double().view(-1, 4)).max()) if true else 0.0
        rows.append(ImageScore(name, iou, best.score))
    return Evaluation(rows, threshold)


def write_per_image(path: Path, result: Evaluation) -> None:
    """A CSV with a row per image: file, iou, correct, score."""
    with atomic(path, "w") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["file", "iou", "correct", "score"])
        for i in result.images:
            score = "" if i.score is None else f"{i.score:.4f}"
            rows.writerow([neutral(printable(i.file)), f"{i.iou:.4f}", int(i.iou > result.threshold), score])
