"""CSV: a row per box, safe to open in a spreadsheet."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from stn_cli.files import name_in_results
from stn_cli.formats.labels import OBJECT
from stn_cli.formats.text_target import TextWriter
from stn_cli.outputs.targets import TargetKind
from stn_cli.records import ImageRecord, TrackedFrame

TRACK_HEADER = ("frame", "time", "id", "x1", "y1", "x2", "y2", "score", "interpolated")
HEADER = ("file", "width", "height", "x1", "y1", "x2", "y2", "score")


def neutral(cell: str) -> str:
    """A text that a spreadsheet does not take for a formula: a leading = + - @ gets an apostrophe before it.

    So does a text that looks as if it had got one, so that different texts stay different.

    Args:
        cell: a text.

    Returns:
        A text that stands for it alone.
    """
    return "'" + cell if cell.lstrip("'")[:1] in ("=", "+", "-", "@", "\t", "\r") else cell


class CsvWriter(TextWriter):
    """`boxes.csv`: file, width, height, x1, y1, x2, y2, score; an image without an object has no row.

    Args:
        path: the target.
        names: of the kinds of objects, for a column `label`; there is none where nobody named them.
        more: the name of a column after these, whose value `add` gets.
    """

    def __init__(self, path: Path, names: Sequence[str] = (), more: str | None = None) -> None:
        super().__init__(path)
        self._names = () if tuple(names) == (OBJECT,) else tuple(names)
        self._rows = csv.writer(self._target, lineterminator="\n")
        self._rows.writerow([*HEADER, *(["label"] if self._names else []), *([more] if more else [])])

    def add(self, record: ImageRecord, *more: str) -> None:
        """Write the objects of one image."""
        for found in record.objects:
            numbers = [f"{v:.3f}" for v in found.box]
            label = [neutral(self._names[found.kind])] if self._names else []
            image = [neutral(name_in_results(record.file)), record.width, record.height]
            self._rows.writerow([*image, *numbers, f"{found.score:.4f}", *label, *more])


class TableWriter(TextWriter):
    """A table of texts, safe to open in a spreadsheet.

    Args:
        path: the target.
        header: the names of its columns.
    """

    def __init__(self, path: Path, header: Sequence[str]) -> None:
        super().__init__(path)
        self._rows = csv.writer(self._target, lineterminator="\n")
        self._rows.writerow(header)

    def add(self, row: Sequence[str]) -> None:
        """Write a row; names of files are written as in all results."""
        self._rows.writerow([neutral(name_in_results(cell)) for cell in row])


class TrackRowsWriter(TextWriter):
    """`tracks.csv`: a row per object and frame; frames and ids as in tracks.json.

    Args:
        path: the target.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._rows = csv.writer(self._target, lineterminator="\n")
        self._rows.writerow(TRACK_HEADER)

    def add(self, frame: TrackedFrame) -> None:
        """Write the objects of one frame."""
        for found in frame.objects:
            numbers = [f"{v:.3f}" for v in found.box]
            self._rows.writerow(
                [frame.frame, f"{frame.time:.4f}", found.id, *numbers, f"{found.score:.4f}", int(found.interpolated)]
            )


def csv_kind(header: Sequence[str]) -> TargetKind:
    """A CSV with this header, as the target that `--csv` names.

    Args:
        header: the names of its columns.

    Returns:
        The kind, for `check_target`.
    """
    first = ",".join(header).encode()
    return TargetKind("a CSV of this command", "--csv", lambda head: b"\0" not in head and head.splitlines()[:1] == [first])
