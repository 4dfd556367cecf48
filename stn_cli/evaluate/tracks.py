"""Scores of tracks against truth: one object (Wu et al. 2013; Mueller et al. 2018), or several by the functions of the `trackers` library."""

from __future__ import annotations

import csv
import math
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stn_cli.errors import InputError, ResourceError
from stn_cli.files import atomic
from stn_cli.formats.json_file import corner_box, read_json
from stn_cli.formats.mot import MotWriter, read_mot
from stn_cli.formats.tracks import is_tracks, parse_tracks, read_tracks
from stn_cli.formats.writer import write_all
from stn_cli.records import PixelBox, TrackedFrame, overlap

THRESHOLDS = 21
"""Points of the success curve: 0, 0.05 ... 1."""
NEAR = 20.0
"""Pixels between the centres."""
NORMALISED = 0.5
"""Largest distance of the normalised precision, in units of the true box's sides."""
FRAME_HEADER = ("frame", "present", "found", "iou", "distance")
"""Of the CSV with a row per frame."""


@dataclass(frozen=True, slots=True)
class FrameScore:
    """One frame of one object: None where truth or track say that it is absent."""

    frame: int
    iou: float | None
    distance: float | None
    normalised: float | None
    present: bool
    found: bool


@dataclass(frozen=True, slots=True)
class TrackEvaluation:
    """One object through a video.

    Attributes:
        frames: one row per frame of the truth.
    """

    frames: list[FrameScore]

    @property
    def _true(self) -> list[FrameScore]:
        return [f for f in self.frames if f.present]

    @property
    def success(self) -> float:
        """Area under the success curve: share of frames with IoU above t, mean over t = 0, 0.05 ... 1; a missed frame counts 0."""
        count = len(self._true)
        return _mean(
            [sum((f.iou or 0.0) > t / (THRESHOLDS - 1) for f in self._true) / max(1, count) for t in range(THRESHOLDS)]
        )

    @property
    def precision(self) -> float:
        """Share of frames whose centres are at most 20 pixels apart."""
        return _mean([float(f.distance is not None and f.distance <= NEAR) for f in self._true])

    @property
    def normalised_precision(self) -> float:
        """Area under the curve of the same by distances in units of the true sides, up to 0.5."""
        steps = [NORMALISED * t / (THRESHOLDS - 1) for t in range(THRESHOLDS)]
        return _mean([_mean([float(f.normalised is not None and f.normalised <= t) for f in self._true]) for t in steps])

    @property
    def mean_iou(self) -> float:
        """Mean IoU; a missed frame counts 0."""
        return _mean([f.iou or 0.0 for f in self._true])

    @property
    def false_alarms(self) -> float | None:
        """Share of the frames without the object in which one was found; None where there are no such frames."""
        absent = [f for f in self.frames if not f.present]
        return _mean([float(f.found) for f in absent]) if absent else None


@dataclass(frozen=True, slots=True)
class SeveralEvaluation:
    """Several objects: HOTA (Luiten et al. 2021), IDF1 (Ristani et al. 2016), MOTA (Bernardin and Stiefelhagen 2008), in [0, 1]."""

    hota: float
    detection: float
    association: float
    idf1: float
    mota: float
    switches: int


def read_any_tracks(path: Path) -> list[TrackedFrame]:
    """tracks.json or MOTChallenge text.

    Args:
        path: the file.

    Returns:
        A frame for each that the file names.

    Raises:
        InputError: neither.
    """
    return read_mot(path) if is_text(path) else read_tracks(path).frames


def is_text(path: Path) -> bool:
    """Whether a file is taken for MOTChallenge text.

    Args:
        path: the file.

    Returns:
        True by its extension alone.
    """
    return path.suffix.lower() == ".txt"


def read_track_truth(path: Path) -> list[PixelBox | None] | list[TrackedFrame]:
    """Truth of one object, a box or None for each frame, or of several.

    Args:
        path: a JSON list of [x1, y1, x2, y2] or null for each frame; tracks.json; or MOTChallenge text.

    Returns:
        A box or None for each frame, or the frames of several objects.

    Raises:
        InputError: it cannot be read or is of another form.
    """
    truth = read_mot(path) if is_text(path) else _json_truth(path)
    if not truth:
        raise InputError("truth has no frame", path)
    return truth


def _json_truth(path: Path) -> list[PixelBox | None] | list[TrackedFrame]:
    data = read_json(path, "truth")
    if is_tracks(data):
        return parse_tracks(data, path).frames
    form = "truth of a video must be a list of [x1, y1, x2, y2] or null for each frame"
    if not isinstance(data, list):
        raise InputError(form, path)
    boxes: list[PixelBox | None] = []
    for number, box in enumerate(data):
        try:
            boxes.append(None if box is None else corner_box(box))
        except ValueError as error:
            raise InputError(form, path, f"frame {number}: {error}") from error
    return boxes


def score_one(predicted: Sequence[TrackedFrame], truth: Sequence[PixelBox | None]) -> TrackEvaluation:
    """Score one object: of several in a frame the one with the best score counts.

    Args:
        predicted: frames of the tracks.
        truth: the true box (x1, y1, x2, y2) of each frame, pixels; None where the object is absent.

    Returns:
        A row for each frame, and the measures.

    Raises:
        InputError: the tracks have no frame of the truth.
    """
    by_frame = {frame.frame: frame for frame in predicted}
    if truth and not any(i in by_frame for i in range(len(truth))):
        raise InputError("truth and tracks have no frame in common")
    rows = []
    for number, true in enumerate(truth):
        objects = by_frame[number].objects if number in by_frame else ()
        best = max(objects, key=lambda o: o.score).box if objects else None
        if true is None or best is None:
            rows.append(FrameScore(number, None, None, None, true is not None, best is not None))
            continue
        dx, dy = ((best[0] + best[2] - true[0] - true[2]) / 2, (best[1] + best[3] - true[1] - true[3]) / 2)
        w, h = max(1e-9, true[2] - true[0]), max(1e-9, true[3] - true[1])
        rows.append(FrameScore(number, overlap(best, true), math.hypot(dx, dy), math.hypot(dx / w, dy / h), True, True))
    return TrackEvaluation(rows)


def score_several(predicted: Sequence[TrackedFrame], truth: Sequence[TrackedFrame]) -> SeveralEvaluation:
    """Score several objects.

    Args:
        predicted: frames of the tracks.
        truth: true objects of each frame.

    Returns:
        The measures.

    Raises:
        InputError: the truth is empty, or an id stands twice in a frame.
        ResourceError: the `trackers` library is not installed, or there is no temporary folder for its files.
    """
    try:
        from trackers.eval import evaluate_mot_sequence
    except ImportError as error:
        raise ResourceError("HOTA needs the trackers library", None, error, "pip install 'stn-coloc[track]'") from error
    if not any(frame.objects for frame in truth):
        raise InputError("truth has no object")
    if not any(frame.objects for frame in predicted):
        return SeveralEvaluation(0.0, 0.0, 0.0, 0.0, 0.0, 0)
    order = {frame: n for n, frame in enumerate(sorted({f.frame for f in (*predicted, *truth)}))}
    own, true = (_in_order(frames, order, what) for frames, what in ((predicted, "tracks"), (truth, "truth")))
    try:
        with tempfile.TemporaryDirectory(prefix="stn-mot-") as folder:
            files = Path(folder) / "truth.txt", Path(folder) / "tracks.txt"
            files[0].write_text("".join(_true_rows(true)), "utf-8")
            write_all([lambda: MotWriter(files[1])], own)
            found: Any = evaluate_mot_sequence(*files, metrics=["CLEAR", "HOTA", "Identity"])
    except OSError as error:
        raise ResourceError(
            "no temporary folder to score in", None, error.strerror, "Set TMPDIR to a folder with some space"
        ) from error
    return SeveralEvaluation(
        float(found.HOTA.HOTA),
        float(found.HOTA.DetA),
        float(found.HOTA.AssA),
        float(found.Identity.IDF1),
        float(found.CLEAR.MOTA),
        int(found.CLEAR.IDSW),
    )


def _in_order(frames: Sequence[TrackedFrame], order: dict[int, int], what: str) -> list[TrackedFrame]:
    """Frames numbered without gaps: the library goes through all numbers up to the last."""
    for frame in frames:
        if len({o.id for o in frame.objects}) < len(frame.objects):
            raise InputError(f"an id stands twice in a frame of the {what}", frame.frame)
    return [replace(frame, frame=order[frame.frame]) for frame in frames]


def _true_rows(truth: Sequence[TrackedFrame]) -> Iterator[str]:
    """Rows of MOTChallenge truth: to be scored, class 1, visible."""
    for frame in truth:
        for o in frame.objects:
            x1, y1, x2, y2 = o.box
            yield f"{frame.frame + 1},{o.id},{x1 + 1:.3f},{y1 + 1:.3f},{x2 - x1:.3f},{y2 - y1:.3f},1,1,1\n"


def write_per_frame(path: Path, result: TrackEvaluation) -> None:
    """A CSV with a row per frame: frame, present, found, iou, distance.

    Args:
        path: the CSV.
        result: of `score_one`.
    """
    with atomic(path, "w") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(FRAME_HEADER)
        for f in result.frames:
            numbers = ["" if v is None else f"{v:.4f}" for v in (f.iou, f.distance)]
            rows.writerow([f.frame, int(f.present), int(f.found), *numbers])


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
