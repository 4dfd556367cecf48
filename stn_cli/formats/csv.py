"""CSV: a row per box, safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from stn_cli.errors import OutputError
from stn_cli.files import atomic, name_in_results
from stn_cli.formats.text_target import TextTarget
from stn_cli.records import ImageRecord, TrackedFrame

TRACK_HEADER = ("frame", "time", "id", "x1", "y1", "x2", "y2", "score", "interpolated")
HEADER = ("file", "width", "height", "x1", "y1", "x2", "y2", "score")


def neutral(cell: str) -> str:
    """A text that a spreadsheet does not take for a formula: a leading = + - @ gets an apostrophe before it.

    So does a text that looks as if it had got one, so that different texts stay different.
    """
    return "'" + cell if cell.lstrip("'")[:1] in ("=", "+", "-", "@", "\t", "\r") else cell


class CsvWriter:
    """`boxes.csv`: file, width, height, x1, y1, x2, y2, score; an image without an object has no row.

    Args:
        path: the target.
    """

    def __init__(self, path: Path) -> None:
        self._target = TextTarget(path)
        self._rows = csv.writer(self._target, lineterminator="\n")
        self._rows.writerow(HEADER)

    def add(self, record: ImageRecord) -> None:
        """Write the objects of one image."""
        for found in record.objects:
            numbers = [f"{v:.3f}" for v in found.box]
            self._rows.writerow(
                [neutral(name_in_results(record.file)), record.width, record.height, *numbers, f"{found.score:.4f}"]
            )

    def close(self) -> None:
        """Put the file in place."""
        self._target.close()

    def abandon(self) -> None:
        """Remove the temporary file."""
        self._target.abandon()


def write_track_rows(path: Path, frames: Iterable[TrackedFrame]) -> None:
    """`tracks.csv`: a row per object and frame; frames and ids as in tracks.json."""
    with atomic(path, "w") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(TRACK_HEADER)
        for frame in frames:
            for found in frame.objects:
                numbers = [f"{v:.3f}" for v in found.box]
                rows.writerow(
                    [frame.frame, f"{frame.time:.4f}", found.id, *numbers, f"{found.score:.4f}", int(found.interpolated)]
                )


def check_target(path: Path, header: Sequence[str], inputs: Iterable[Path], *, overwrite: bool = False) -> None:
    """See that a CSV can go to a path that a person named, before anything is computed.

    Args:
        path: the target. A file that this tool wrote there, with the same header, may be replaced.
        header: of the CSV.
        inputs: files and folders that are read; they and what lies in them are never replaced.
        overwrite: another file may be replaced.

    Raises:
        OutputError: something else stands there, or the folder does not exist.
    """
    todo = "Choose another --csv"
    if not path.parent.is_dir():
        raise OutputError("cannot write", path, "its folder does not exist", todo)
    if not os.path.lexists(path):
        return
    if path.is_symlink() or not path.is_file():
        raise OutputError("cannot write over", path, "a link" if path.is_symlink() else "not a file", todo)
    for source in inputs:
        with suppress(OSError):
            if os.path.samefile(path, source) or Path(os.path.realpath(source)) in Path(os.path.realpath(path)).parents:
                raise OutputError("cannot write over", path, "it is read by this call", todo)
    if not overwrite and not _has_header(path, header):
        raise OutputError("cannot write over", path, "not a CSV of this command", "Use --overwrite, or another --csv")


def _has_header(path: Path, header: Sequence[str]) -> bool:
    first = ",".join(header).encode()
    try:
        with open(path, "rb") as file:
            return file.read(len(first) + 1).strip() == first
    except OSError as error:
        raise OutputError("cannot write over", path, error.strerror, "Choose another --csv") from error
