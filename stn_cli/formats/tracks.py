"""tracks.json: info, video, and the objects of each frame; valid JSON at every moment while it is written."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stn_cli.errors import InputError, OutputError
from stn_cli.files import atomic
from stn_cli.records import TrackedFrame, TrackedObject, corners

TAIL = b"\n]}\n"


class TracksStream:
    """Writes frames as they come, so that a process that is killed leaves a file of what it had.

    Each frame is written over the end of the list together with a new end, in one call.

    Args:
        path: the target.
        info: the `info` object.
        video: the `video` object.
    """

    def __init__(self, path: Path, info: dict[str, Any], video: dict[str, Any]) -> None:
        self.path = path
        self._first = True
        try:
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
            self._at = 0
            self._put(_head(info, video).encode(), TAIL)
        except OSError as error:
            raise OutputError("cannot write", path, error.strerror, "Choose another --out") from error

    def add(self, frame: TrackedFrame) -> None:
        """Write one frame."""
        text = ("" if self._first else ",\n") + json.dumps(as_json(frame), allow_nan=False)
        self._first = False
        try:
            self._put(text.encode(), TAIL)
        except OSError as error:
            raise OutputError("cannot write", self.path, error.strerror, "Free some space") from error

    def close(self) -> None:
        """Finish."""
        os.close(self._file)

    def _put(self, data: bytes, tail: bytes) -> None:
        whole = data + tail
        written = os.pwrite(self._file, whole, self._at)
        if written < len(whole):
            raise OSError(28, "No space left on device")
        self._at += len(data)


def write_tracks(path: Path, info: dict[str, Any], video: dict[str, Any], frames: Iterable[TrackedFrame]) -> None:
    """Write a finished tracks.json in place of what is there."""
    with atomic(path) as file:
        file.write(_head(info, video).encode())
        for number, frame in enumerate(frames):
            file.write((",\n" if number else "").encode() + json.dumps(as_json(frame), allow_nan=False).encode())
        file.write(TAIL)


def _head(info: dict[str, Any], video: dict[str, Any]) -> str:
    return (
        '{"info": '
        + json.dumps(info, allow_nan=False)
        + ',\n"video": '
        + json.dumps(video, allow_nan=False)
        + ',\n"frames": [\n'
    )


def as_json(frame: TrackedFrame) -> dict[str, Any]:
    """A frame as it stands in tracks.json; `interpolated` is there only where it is true."""
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
    """What a tracks.json holds."""

    video: dict[str, Any]
    frames: list[TrackedFrame]


def read_tracks(path: Path) -> Tracks:
    """Read tracks.json back.

    Raises:
        InputError: not readable, not JSON, or not such a file.
    """
    try:
        data = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise InputError("cannot read", path, error.strerror) from error
    except ValueError as error:
        raise InputError("not JSON", path, error) from error
    try:
        frames = [
            TrackedFrame(int(f["frame"]), float(f.get("time", 0.0)), tuple(_object(o) for o in f["objects"]))
            for f in data["frames"]
        ]
        return Tracks(dict(data.get("video", {})), frames)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError("not a tracks file", path, f"{type(error).__name__}: {error}") from error


def _object(value: dict[str, Any]) -> TrackedObject:
    x, y, w, h = (float(v) for v in value["bbox"])
    box = (x, y, x + w, y + h)
    return TrackedObject(
        int(value["id"]), box, float(value.get("score", 1.0)), corners(box), bool(value.get("interpolated", False))
    )
