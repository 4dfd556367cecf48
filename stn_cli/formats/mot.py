"""MOTChallenge text: frame, id, left, top, width, height, confidence, -1, -1, -1; frames, ids and pixels from 1."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from stn_cli.errors import InputError
from stn_cli.files import atomic
from stn_cli.records import TrackedFrame, TrackedObject, corners


def write_mot(path: Path, frames: Iterable[TrackedFrame]) -> None:
    """Write tracks; a frame without an object has no line."""
    with atomic(path, "w") as file:
        for frame in frames:
            for found in frame.objects:
                x1, y1, x2, y2 = found.box
                numbers = f"{x1 + 1:.3f},{y1 + 1:.3f},{x2 - x1:.3f},{y2 - y1:.3f},{found.score:.4f}"
                file.write(f"{frame.frame + 1},{found.id},{numbers},-1,-1,-1\n")


def read_mot(path: Path) -> list[TrackedFrame]:
    """Read tracks or truth; of truth, rows that are marked as not to be scored (confidence 0) are left out.

    Raises:
        InputError: not readable, or not such a file.
    """
    frames: dict[int, list[TrackedObject]] = {}
    try:
        lines = path.read_text("utf-8").splitlines()
    except OSError as error:
        raise InputError("cannot read", path, error.strerror) from error
    except UnicodeDecodeError as error:
        raise InputError("not a MOTChallenge file", path, "not text") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            frame, track, left, top, width, height, score, *_ = (float(v) for v in line.split(","))
        except ValueError:
            raise InputError("not a MOTChallenge file", path, f"line {number}") from None
        if score == 0:
            continue
        box = (left - 1, top - 1, left - 1 + width, top - 1 + height)
        frames.setdefault(int(frame) - 1, []).append(TrackedObject(int(track), box, score if score > 0 else 1.0, corners(box)))
    return [TrackedFrame(frame, 0.0, tuple(objects)) for frame, objects in sorted(frames.items())]
