"""What every format does: take records as they come, and finish; and the formats that stand beside boxes.json."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from stn_cli.formats.coco import CocoResultsWriter
from stn_cli.formats.csv import CsvWriter
from stn_cli.records import ImageRecord


class Writer(Protocol):
    """A format being written. Records are streamed; the result appears under its name when `close` is called."""

    def add(self, record: ImageRecord) -> None:
        """Write one image and its objects."""

    def close(self) -> None:
        """Finish and put the result in place."""

    def abandon(self) -> None:
        """Leave no trace: an error ended the run."""


FORMATS: dict[str, tuple[str, Callable[[Path], Writer]]] = {
    "csv": ("boxes.csv", CsvWriter),
    "coco-results": ("boxes.results.json", CocoResultsWriter),
}
"""By the name of `--format`: the file's name and what writes it."""
