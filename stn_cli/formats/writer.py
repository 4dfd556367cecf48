"""What every format does: take records as they come, and finish."""

from __future__ import annotations

from typing import Protocol

from stn_cli.records import ImageRecord


class Writer(Protocol):
    """A format being written. Records are streamed; the result appears under its name when `close` is called."""

    def add(self, record: ImageRecord) -> None:
        """Write one image and its objects."""

    def close(self) -> None:
        """Finish and put the result in place."""

    def abandon(self) -> None:
        """Leave no trace: an error ended the run."""
