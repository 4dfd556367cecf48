"""CorLoc, IoU, average precision, recall and precision of boxes against truth."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stn_cli.bounds import shown
from stn_cli.errors import InputError, counted
from stn_cli.evaluate.names import Pairs, pair_names
from stn_cli.evaluate.precision import Counts, Image, average_precision, count
from stn_cli.evaluate.predicted import Predicted, Scored, from_json, from_records, read_predicted
from stn_cli.files import atomic, name_in_results
from stn_cli.formats.csv import neutral
from stn_cli.formats.truth import Truth, plain_truth, read_truth
from stn_cli.records import ImageRecord, PixelBox, TrueObject, overlap

HEADER = ("file", "iou", "correct", "score")
"""Of the CSV with a row per image."""


@dataclass(frozen=True, slots=True)
class ImageScore:
    """One image: IoU of its best-scored box with the true box that it fits best, and that box's score.

    `iou` is None where the image has no object to be found.
    """

    file: str
    iou: float | None
    score: float | None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A set.

    Attributes:
        images: one row per image of the truth that has an object; the other measures but AP, recall and precision are over these.
        threshold: IoU above which a box is right.
        empty: one row per image of the truth without an object.
        not_predicted: images of the truth with an object that the predictions do not have: missed.
        without_truth: predicted images that the truth does not have: they do not count.
        difficult, crowd: objects that are neither to be found nor missed.
        score: boxes below it do not count for `counts`.
        counts: of which recall and precision come.
        ap50, ap: average precision at IoU .5 and its mean over .5 to .95, percent.
        notes: what a person should know of these numbers.
    """

    images: list[ImageScore]
    threshold: float
    empty: list[ImageScore]
    not_predicted: int
    without_truth: int
    difficult: int
    crowd: int
    score: float
    counts: Counts
    ap50: float
    ap: float
    notes: tuple[str, ...]

    @property
    def corloc(self) -> float:
        """Share of images whose best-scored box is right, percent. An image without a box is wrong."""
        return self._corloc(self.images)

    @property
    def mean_iou(self) -> float:
        """Mean IoU; an image without a box counts 0."""
        return sum(i.iou or 0.0 for i in self.images) / len(self.images)

    @property
    def missing(self) -> int:
        """Images with an object, but without a box."""
        return sum(i.score is None for i in self.images)

    def best_half(self) -> tuple[float, float]:
        """CorLoc of the half with the higher scores, and of the rest, percent: what the score is worth."""
        ranked = sorted(self.images, key=lambda i: -(i.score or 0.0))
        half = (len(ranked) + 1) // 2
        return self._corloc(ranked[:half]), self._corloc(ranked[half:])

    def _corloc(self, rows: Sequence[ImageScore]) -> float:
        return 100 * sum((i.iou or 0.0) > self.threshold for i in rows) / max(1, len(rows))


def score_boxes(
    predicted: Sequence[ImageRecord] | str | Path,
    truth: Truth | Mapping[str, Sequence[PixelBox]] | str | Path,
    threshold: float = 0.5,
    *,
    score: float = 0.5,
    category: str | None = None,
) -> Evaluation:
    """Score boxes.

    Args:
        predicted: records, or a COCO file: with images, or a bare list of results where the truth is a COCO file.
        truth: boxes by file name, or a file or folder that `read_truth` reads.
        threshold: IoU above which a box is right.
        score: boxes with less do not count for recall and precision.
        category: name or id; only objects of this category of the truth count.

    Returns:
        The scores of the set.

    Raises:
        InputError: no file of the truth is among the predictions, no object is in the truth, or a file cannot be read.
        UsageError: the truth has no such category.
    """
    if isinstance(predicted, str | Path):
        return score_json(read_predicted(Path(predicted)), Path(predicted), _as_truth(truth, category), threshold, score=score)
    return _score(from_records(predicted), _as_truth(truth, category), threshold, score)


def score_json(data: Any, path: Path, truth: Truth, threshold: float = 0.5, *, score: float = 0.5) -> Evaluation:
    """`score_boxes` for predictions whose JSON has been read.

    Args:
        data: the JSON.
        path: where it was read, for messages.
        truth: true objects by file name.
        threshold: IoU above which a box is right.
        score: of the boxes that recall and precision count.

    Returns:
        The scores.

    Raises:
        InputError: as `score_boxes`.
    """
    return _score(from_json(data, path, truth), truth, threshold, score)


def _as_truth(truth: Truth | Mapping[str, Sequence[PixelBox]] | str | Path, category: str | None) -> Truth:
    if isinstance(truth, Truth):
        return truth
    return read_truth(Path(truth), category) if isinstance(truth, str | Path) else plain_truth(truth)


def _score(found: Predicted, truth: Truth, threshold: float, score: float) -> Evaluation:
    pairs = pair_names(found.images, truth.images)
    if not pairs.predicted:
        ours, theirs = (shown(next(iter(names), "none")) for names in (found.images, truth.images))
        raise InputError(
            "truth and predictions have no file in common", None, f"truth has '{theirs}', predictions have '{ours}'"
        )
    both = _Both(found, truth, pairs)
    rows = [_row(name, *image) for name, image in zip(truth.images, both, strict=True)]
    images = [row for row in rows if row.iou is not None]
    if not images:
        raise InputError("truth has no object that is to be found")
    ap50, ap = average_precision(both)
    marked = Counter((o.difficult, o.crowd) for _, true in both for o in true)
    result = Evaluation(
        images=images,
        threshold=threshold,
        empty=[row for row in rows if row.iou is None],
        not_predicted=sum(row.file not in pairs.predicted for row in images),
        without_truth=len(found.images) - len(pairs.predicted),
        difficult=sum(n for (difficult, _), n in marked.items() if difficult),
        crowd=sum(n for (_, crowd), n in marked.items() if crowd),
        score=score,
        counts=count(both, threshold, score),
        ap50=ap50,
        ap=ap,
        notes=(),
    )
    return replace(result, notes=(*truth.notes, *found.notes, *_notes(result, pairs)))


@dataclass(frozen=True, slots=True)
class _Both:
    """Predicted boxes and true objects of each image of the truth, looked up each time that they are gone through."""

    found: Predicted
    truth: Truth
    pairs: Pairs

    def __iter__(self) -> Iterator[Image]:
        for name, true in self.truth.images.items():
            other = self.pairs.predicted.get(name)
            yield [] if other is None else self.found.images[other], true


def _row(name: str, found: Sequence[Scored], true: Sequence[TrueObject]) -> ImageScore:
    best = found[0] if found else None
    wanted = [o.box for o in true if not (o.difficult or o.crowd)]
    if not wanted:
        return ImageScore(name, None, None if best is None else best[0])
    if best is None:
        return ImageScore(name, 0.0, None)
    return ImageScore(name, max(overlap(best[1], box) for box in wanted), best[0])


def _notes(result: Evaluation, pairs: Pairs) -> list[str]:
    notes = []
    if pairs.by_end:
        name = pairs.by_end[0]
        example = f"'{shown(name)}' with '{shown(pairs.predicted[name])}'"
        notes.append(f"{counted(len(pairs.by_end), 'name')} of the truth matched by the end: {example}")
    groups = [
        (result.not_predicted, "image", "of the truth not among the predictions, counted as missed"),
        (result.without_truth, "predicted image", "without truth, not counted"),
        (len(result.empty), "image", "without an object, left out of CorLoc; boxes there are false alarms of AP and precision"),
        (result.difficult, "difficult object", "neither to be found nor missed"),
        (result.crowd, "crowd", "neither to be found nor missed"),
    ]
    notes += [f"{counted(count, noun)} {what}" for count, noun, what in groups if count]
    return notes


def write_per_image(path: Path, result: Evaluation) -> None:
    """A CSV with a row per image: file, iou, correct, score; images without an object have neither iou nor correct.

    Args:
        path: the CSV.
        result: of `score_boxes`.
    """
    with atomic(path, "w") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(HEADER)
        for i in (*result.images, *result.empty):
            score = "" if i.score is None else f"{i.score:.4f}"
            fit = ["", ""] if i.iou is None else [f"{i.iou:.4f}", int(i.iou > result.threshold)]
            rows.writerow([neutral(name_in_results(i.file)), *fit, score])
