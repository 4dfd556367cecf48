"""tracks.json: info, video, and the objects of each frame; valid JSON at every moment while it is written."""

from __future__ import annotations

import errno
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stn_cli.errors import InputError, OutputError
from stn_cli.formats.json_file import number, read_json, side_box, whole
from stn_cli.formats.text_target import TextTarget
from stn_cli.records import TrackedFrame, TrackedObject, corners

TAIL = b"\n]}\n"


class TracksStream:
    """Writes frames as they come, so that a process that is killed leaves a file of what it had.

    Each frame is written over the end of the list together with a new end, in one call. Where a full disk cuts that call short, the old end
    is put back: its place in the file is there already.

    Args:
        path: the target.
        info: the `info` object; it is said to be of a part.
        video: the `video` object.
    """

    def __init__(self, path: Path, info: dict[str, Any], video: dict[str, Any]) -> None:
        self.path = path
        self._first = True
        self._at = 0
        try:
            self._file = open(path, "wb", buffering=0)  # noqa: SIM115 -- closed by `close`
            self._put(_head(info, video, complete=False).encode())
        except OSError as error:
            raise OutputError("cannot write", path, error.strerror, "Choose another --out") from error

    def add(self, frame: TrackedFrame) -> None:
        """Write one frame."""
        try:
            self._put(_row(frame, first=self._first).encode())
        except OSError as error:
            raise OutputError("cannot write", self.path, error.strerror, "Free some space") from error
        self._first = False

    def close(self) -> None:
        """Finish."""
        self._file.close()

    def _put(self, data: bytes) -> None:
        whole = data + TAIL
        self._file.seek(self._at)
        try:
            if self._file.write(whole) < len(whole):
                raise OSError(errno.ENOSPC, "No space left on device")
        except OSError:
            self._put_back()
            raise
        self._at += len(data)

    def _put_back(self) -> None:
        """The end as it stood before a piece that did not fit."""
        with suppress(OSError):
            self._file.seek(self._at)
            self._file.write(TAIL if self._at else b"")
            self._file.truncate()


class TracksWriter:
    """A finished tracks.json, which takes the place of what is there.

    Args:
        path: the target.
        info: the `info` object.
        video: the `video` object.
        complete: False where the call was stopped.
    """

    def __init__(self, path: Path, info: dict[str, Any], video: dict[str, Any], *, complete: bool = True) -> None:
        self._first = True
        self._target = TextTarget(path)
        self._target.write(_head(info, video, complete))

    def add(self, frame: TrackedFrame) -> None:
        """Write one frame."""
        self._target.write(_row(frame, first=self._first))
        self._first = False

    def close(self) -> None:
        """Put the file in place."""
        self._target.write(TAIL.decode())
        self._target.close()

    def abandon(self) -> None:
        """Remove the temporary file."""
        self._target.abandon()


def _row(frame: TrackedFrame, *, first: bool) -> str:
    return ("" if first else ",\n") + json.dumps(as_json(frame), allow_nan=False)


def _head(info: dict[str, Any], video: dict[str, Any], complete: bool) -> str:
    return (
        '{"info": '
        + json.dumps({**info, "complete": complete}, allow_nan=False)
        + ',\n"video": '
        + json.dumps(video, allow_nan=False)
        + ',\n"frames": [\n'
    )


def as_json(frame: TrackedFrame) -> dict[str, Any]:
    """A frame as it stands in tracks.json; `interpolated` is there only where it is true.

    Args:
        frame: of a track.

    Returns:
        What JSON can hold.
    """
    return {
        "frame": frame.frame,
        "time": frame.time,
        "objects": [
            {
                "id": o.id,
                "bbox": [o.box[0], o.box[1], o.box[2] - o.box[0], o.box[3] - o.box[1]],
                "score": o.score,
                "quad": [list(point) for point in o.quad],
                **({"interpolated": True} if o.interpolated else {}),
            }
            for o in frame.objects
        ],
    }


@dataclass(frozen=True, slots=True)
class Tracks:
    """What a tracks.json holds.

    Attributes:
        video: facts about it.
        frames: in their order.
        complete: whether the call that wrote it was not stopped; a file that does not say counts as complete.
    """

    video: dict[str, Any]
    frames: list[TrackedFrame]
    complete: bool = True


def read_tracks(path: Path) -> Tracks:
    """Read tracks.json back.

    Args:
        path: the file.

    Returns:
        What it holds.

    Raises:
        InputError: not readable, not JSON, or not such a file.
    """
    return parse_tracks(read_json(path, "the file of tracks"), path)


def is_tracks(data: object) -> bool:
    """Whether JSON holds tracks by its keys.

    Args:
        data: what a file held.

    Returns:
        True where it has the keys of one.
    """
    return isinstance(data, Mapping) and "frames" in data


def parse_tracks(data: Any, path: Path) -> Tracks:
    """The tracks of a tracks.json.

    Args:
        data: its JSON.
        path: where it was read, for messages.

    Returns:
        The tracks.

    Raises:
        InputError: not such a file; names the frame with the fault.
    """
    if not is_tracks(data) or not isinstance(data["frames"], list):
        raise InputError("not a tracks file", path, "frames is missing or no list")
    video = data.get("video")
    frames = [_frame(row, place, path) for place, row in enumerate(data["frames"])]
    if len({frame.frame for frame in frames}) < len(frames):
        raise InputError("not a tracks file", path, "a frame stands there twice")
    info = data.get("info")
    complete = not (isinstance(info, dict) and info.get("complete") is False)
    return Tracks(video if isinstance(video, dict) else {}, frames, complete)


def _frame(row: Any, place: int, path: Path) -> TrackedFrame:
    try:
        objects = row["objects"]
        if not isinstance(objects, list):
            raise ValueError("objects is no list")
        return TrackedFrame(whole(row["frame"]), number(row.get("time", 0.0)), tuple(_object(o) for o in objects))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError("not a tracks file", path, f"row {place} of frames: {type(error).__name__}: {error}") from error


def _object(value: dict[str, Any]) -> TrackedObject:
    box = side_box(value["bbox"])
    score = number(value.get("score", 1.0))
    return TrackedObject(whole(value["id"]), box, score, corners(box), bool(value.get("interpolated", False)))
