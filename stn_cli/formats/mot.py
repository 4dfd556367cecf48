"""MOTChallenge text: frame, id, left, top, width, height, confidence, class, visibility, -1; frames, ids and pixels from 1."""

from __future__ import annotations

from pathlib import Path

from stn_cli.errors import InputError
from stn_cli.formats.json_file import number, read_file, side_box, whole
from stn_cli.formats.text_target import TextWriter
from stn_cli.records import TrackedFrame, TrackedObject, corners


class MotWriter(TextWriter):
    """`tracks.txt`; a frame without an object has no line.

    Class and visibility are 1: scorers of results do not look at them, annotation tools take -1 for no label and for hidden.

    Args:
        path: the target.
    """

    def add(self, frame: TrackedFrame) -> None:
        """Write the objects of one frame."""
        for found in frame.objects:
            x1, y1, x2, y2 = found.box
            numbers = f"{x1 + 1:.3f},{y1 + 1:.3f},{x2 - x1:.3f},{y2 - y1:.3f},{found.score:.4f}"
            self._target.write(f"{frame.frame + 1},{found.id},{numbers},1,1,-1\n")


def read_mot(path: Path) -> list[TrackedFrame]:
    """Read tracks or truth; of truth, rows that are marked as not to be scored (confidence 0) are left out.

    Args:
        path: the file.

    Returns:
        A frame for each that has a row; frames from 0, boxes in 0-based pixels.

    Raises:
        InputError: not readable, or not such a file; names the line.
    """
    frames: dict[int, list[TrackedObject]] = {}
    try:
        lines = read_file(path, "the file of tracks").decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InputError("not a MOTChallenge file", path, "not text") from error
    for count, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            frame, track, left, top, width, height, score, *_ = (number(float(v)) for v in line.split(","))
            box = side_box([left - 1, top - 1, width, height])
            found = TrackedObject(whole(track), box, score if score > 0 else 1.0, corners(box))
            if score != 0:
                frames.setdefault(whole(frame) - 1, []).append(found)
        except ValueError as error:
            raise InputError("not a MOTChallenge file", path, f"line {count}: {error}") from error
    return [TrackedFrame(frame, 0.0, tuple(objects)) for frame, objects in sorted(frames.items())]
