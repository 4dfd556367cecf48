"""Letterboxes kept in a folder between trainings (`train --cache`): an image that did not change is not decoded again.

`letterboxes-SIDE/NAME.rows` holds letterboxes of one side, one after the other, and `NAME.jsonl` a line about each: its file's path, bytes and
time, the image's size, the remark on it, and a checksum of the pixels. A training writes two files of its own, for the images that were not
there, and they get their names when they are whole: several may share a folder, and one that is killed leaves a temporary file.
"""

from __future__ import annotations

import json
import os
import secrets
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import cv2
import numpy as np
import numpy.typing as npt

from stn_cli.errors import OutputError
from stn_cli.files import TEMPORARY, write_text
from stn_cli.geometry import Frame
from stn_cli.media.cache import Letterbox, load_letterbox
from stn_cli.media.scan import ImageFile
from stn_cli.reading import read_plain
from stn_cli.records import Skipped
from stn_cli.version import __version__

FORMAT = 1
_Key = tuple[str | int, ...]
"""A file's path, bytes and time: of one that has changed an earlier state may be kept, too."""
MOST_LISTED = 4 << 30
"""Bytes of a list that is read: ten million images."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a letterbox lies, and what its line says."""

    rows: npt.NDArray[np.uint8]
    row: int
    size: tuple[int, int]
    note: str | None
    checksum: int


class LetterboxStore:
    """A folder with letterboxes of one side; in a block, at whose end what was added is kept, also where an error ended it.

    Args:
        folder: made if missing.
        side: of the letterboxes, pixels.
        warn: told where they cannot be kept: the training goes on without.

    Raises:
        OutputError: the folder cannot be made.
    """

    def __init__(self, folder: Path, side: int, warn: Callable[[str], None]) -> None:
        self._folder, self._side, self._warn = folder / f"letterboxes-{side}", side, warn
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError("cannot write into", folder, error.strerror, "Choose another --cache") from error
        self._known = {key: place for index in sorted(self._folder.glob("*.jsonl")) for key, place in self._listed(index)}
        self._lock = threading.Lock()
        self._file: IO[bytes] | None = None
        self._lines = list[dict[str, Any]]()
        self._trouble: OSError | None = None

    @property
    def _head(self) -> dict[str, Any]:
        """What pixels depend on: another version may decode or reduce otherwise."""
        return {"format": FORMAT, "version": __version__, "opencv": cv2.__version__, "side": self._side}

    def _listed(self, index: Path) -> Iterator[tuple[_Key, _Place]]:
        """What a pair of files holds, by path and stamp; nothing of one that is damaged, or was made otherwise."""
        with suppress(OSError, ValueError, KeyError, TypeError):
            head, *lines = [json.loads(line) for line in read_plain(index, MOST_LISTED).splitlines()]
            if head != self._head:
                return
            shape = len(lines), self._side, self._side, 3
            rows = np.memmap(index.with_suffix(".rows"), np.uint8, "r", shape=shape)
            for row, line in enumerate(lines):
                width, height = line["size"]
                key = line["path"], *map(int, line["stamp"])
                yield key, _Place(rows, row, (width, height), line["note"], line["checksum"])

    def __enter__(self) -> LetterboxStore:
        return self

    def load(self, file: ImageFile, side: int, max_pixels: int) -> Letterbox | Skipped:
        """The letterbox that is kept of a file, else a new one, which is kept; in any thread.

        Args:
            file: the image.
            side: of the letterbox, pixels: the folder's.
            max_pixels: images with more are skipped.

        Returns:
            As `load_letterbox`.
        """
        path, stamp = os.path.abspath(os.fsdecode(file.path)), _stamp(file.path)
        place = None if stamp is None else self._known.get((path, *stamp))
        if place is not None and place.size[0] * place.size[1] <= max_pixels:
            pixels = np.array(place.rows[place.row])
            if zlib.crc32(pixels.data) == place.checksum:
                return Letterbox(file, Frame(*place.size, side), pixels, place.note)
        made = load_letterbox(file, side, max_pixels)
        if isinstance(made, Letterbox) and stamp is not None:
            self._keep(made, path, stamp)
        return made

    def _keep(self, made: Letterbox, path: str, stamp: list[int]) -> None:
        pixels = np.ascontiguousarray(made.pixels)
        size = made.frame.width, made.frame.height
        line = {"path": path, "stamp": stamp, "size": size, "note": made.note, "checksum": zlib.crc32(pixels.data)}
        with self._lock:
            if self._trouble is not None:
                return
            try:
                if self._file is None:
                    self._file = open(self._folder / (TEMPORARY + secrets.token_hex(8)), "xb")  # noqa: SIM115 -- closed at the end
                self._file.write(pixels.data)
            except OSError as error:
                self._trouble = error
            else:
                self._lines.append(line)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._file is None:
            return
        temporary = Path(self._file.name)
        try:
            self._file.close()
            if self._trouble is None:
                name = secrets.token_hex(8)
                os.replace(temporary, self._folder / f"{name}.rows")
                write_text(
                    self._folder / f"{name}.jsonl", "".join(json.dumps(line) + "\n" for line in (self._head, *self._lines))
                )
        except (OSError, OutputError) as trouble:
            self._trouble = trouble if isinstance(trouble, OSError) else OSError(str(trouble))
        if self._trouble is not None:
            with suppress(OSError):
                temporary.unlink()
            self._warn(f"decoded images cannot be kept in {self._folder} ({self._trouble.strerror or self._trouble})")


def _stamp(path: Any) -> list[int] | None:
    """By what a changed file is known; None where there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return [found.st_size, found.st_mtime_ns]
