"""records.jsonl: what was found, a line per image as it comes, from which a call that was killed goes on."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from stn_cli.errors import CheckpointError, OutputError
from stn_cli.records import ImageRecord, Localisation, PixelBox, Point, Skipped
from stn_cli.run_lengths import checked_mask

_LONGEST = 64 << 20
"""Bytes of a line; longer ones are no lines of ours."""


class Journal:
    """Appends records to a file; whole lines are what was finished.

    Args:
        path: the file, new.
        head: what the records depend on; `go_on` compares it.
    """

    def __init__(self, path: Path, head: dict[str, Any]) -> None:
        self.path = path
        self.names: list[str] = []
        self._file: IO[bytes] = _opened(path, "xb")
        self._write(json.dumps(head, sort_keys=True, allow_nan=False))
        self.flush()

    @classmethod
    def go_on(cls, path: Path, head: dict[str, Any], multiple: int) -> Journal:
        """Open a journal that a stopped call left, cut back to a multiple of `multiple` images.

        Raises:
            CheckpointError: there is none, it is damaged, or its records depend on something else.
        """
        try:
            names, end = _whole_lines(path, head, multiple)
        except OSError as error:
            raise CheckpointError("nothing to resume", path.parent.parent, error.strerror, "Start without --resume") from error
        journal = cls.__new__(cls)
        journal.path, journal.names = path, names
        journal._file = _opened(path, "r+b")
        journal._file.truncate(end)
        journal._file.seek(end)
        return journal

    def add(self, item: ImageRecord | Skipped) -> None:
        """Write one image."""
        self.names.append(item.file)
        self._write(json.dumps(_as_json(item), allow_nan=False))

    def _write(self, line: str) -> None:
        try:
            self._file.write(line.encode("ascii") + b"\n")
        except OSError as error:
            raise OutputError("cannot write", self.path, error.strerror, "Free some space and go on with --resume") from error

    def flush(self) -> None:
        """Hand to the system what was written: a kill no longer loses it."""
        try:
            self._file.flush()
        except OSError as error:
            raise OutputError("cannot write", self.path, error.strerror, "Free some space and go on with --resume") from error

    def close(self) -> None:
        """Finish; what cannot be written any more is lost."""
        try:
            self._file.close()
        except OSError as error:
            raise OutputError("cannot write", self.path, error.strerror, "Free some space and go on with --resume") from error

    def items(self) -> Iterator[ImageRecord | Skipped]:
        """Everything that was written, in its order."""
        self.flush()
        with open(self.path, "rb") as file:
            next(file)
            for line in file:
                yield _from_json(json.loads(line))


def _opened(path: Path, mode: str) -> IO[Any]:
    try:
        return open(path, mode)
    except OSError as error:
        raise OutputError("cannot write", path, error.strerror, "Choose another --out") from error


def _whole_lines(path: Path, head: dict[str, Any], multiple: int) -> tuple[list[str], int]:
    """Names of the images of the whole lines, cut to a multiple, and where they end."""
    names: list[str] = []
    ends: list[int] = []
    with open(path, "rb") as file:
        at = 0
        while (line := file.readline(_LONGEST)).endswith(b"\n"):
            at += len(line)
            try:
                value = json.loads(line)
                if not ends:
                    _compare(value, head, path)
                else:
                    names.append(_from_json(value).file)
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
                raise CheckpointError(
                    "damaged records", path, f"line {len(ends) + 1}", "Start anew with --overwrite"
                ) from error
            ends.append(at)
    if not ends:
        raise CheckpointError("damaged records", path, "no whole line", "Start anew with --overwrite")
    done = len(names) // multiple * multiple
    return names[:done], ends[done]


def _compare(found: dict[str, Any], wanted: dict[str, Any], path: Path) -> None:
    differing = sorted(k for k in {*found, *wanted} if found.get(k) != wanted.get(k))
    if differing:
        listed = ", ".join(f"{k}: {found.get(k)!r}, now {wanted.get(k)!r}" for k in differing)
        raise CheckpointError(
            "the unfinished results were made otherwise",
            path.parent.parent,
            listed,
            "Repeat the same command, or use --overwrite",
        )


def _as_json(item: ImageRecord | Skipped) -> dict[str, Any]:
    if isinstance(item, Skipped):
        return {"file": os.fspath(item.file), "skipped": item.reason}
    objects = [_object_as_json(found) for found in item.objects]
    return {"file": item.file, "size": [item.width, item.height], "objects": objects}


def _object_as_json(found: Localisation) -> dict[str, Any]:
    row = {"box": found.box, "quad": found.quad, "theta": found.theta, "score": found.score}
    doubt = {} if found.believed else {"believed": False}
    return row | ({} if found.mask is None else {"mask": found.mask}) | ({"kind": found.kind} if found.kind else {}) | doubt


def _from_json(value: dict[str, Any]) -> ImageRecord | Skipped:
    file = str(value["file"])
    if "skipped" in value:
        return Skipped(file, str(value["skipped"]))
    width, height = (int(v) for v in value["size"])
    objects = []
    for o in value["objects"]:
        x1, y1, x2, y2 = (float(v) for v in o["box"])
        box: PixelBox = x1, y1, x2, y2
        a, b, c, d = ((float(x), float(y)) for x, y in o["quad"])
        quad: tuple[Point, Point, Point, Point] = a, b, c, d
        theta, score = tuple(float(v) for v in o["theta"]), float(o["score"])
        mask = checked_mask(o["mask"], (height, width)) if "mask" in o else None
        kind, believed = int(o.get("kind", 0)), o.get("believed") is not False
        objects.append(Localisation(file, width, height, box, quad, theta, score, mask, kind, believed))
    return ImageRecord(file, width, height, tuple(objects))
