"""What every format does: take items as they come, and finish; all formats of one call together; and those that stand beside boxes.json."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol, TypeVar

from stn_cli.errors import ColocError, printable
from stn_cli.files import name_in_results
from stn_cli.formats.coco import CocoResultsWriter
from stn_cli.formats.csv import CsvWriter
from stn_cli.formats.label_studio import LabelStudioWriter
from stn_cli.formats.parquet import ParquetWriter
from stn_cli.records import ImageRecord
from stn_cli.version import __version__

Item = TypeVar("Item")
Given = TypeVar("Given", contravariant=True)


class Writer(Protocol[Given]):
    """A format being written. Items are streamed; the result appears under its name when `close` is called."""

    def add(self, item: Given, /) -> None:
        """Write one image and its objects, or one frame."""

    def close(self) -> None:
        """Finish and put the result in place."""

    def abandon(self) -> None:
        """Leave no trace: an error ended the call."""


def write_all(makers: Sequence[Callable[[], Writer[Item]]], items: Iterable[Item]) -> None:
    """Write items in several formats at once; an error leaves none of them.

    Args:
        makers: each opens a format.
        items: to write, each of them in every format.

    Raises:
        OutputError: one of the formats cannot be written.
    """
    writers: list[Writer[Item]] = []
    try:
        for make in makers:
            writers.append(make())  # noqa: PERF401 -- those that are open are abandoned when the next cannot be opened
        for item in items:
            for writer in writers:
                writer.add(item)
        for writer in writers:
            writer.close()
    except BaseException:
        for writer in writers:
            with suppress(OSError, ColocError):
                writer.abandon()
        raise


def about(run: str | os.PathLike[str] | None, orientation: str, source: str | None = None) -> dict[str, Any]:
    """The `info` object of a file of results.

    Args:
        run: the run that found the objects; None where there was none.
        orientation: how the pixels lie that boxes are told in.
        source: the folder that the images' names are relative to; None where it is not to be told.

    Returns:
        What JSON holds of it.
    """
    named = None if run is None else printable(os.fspath(run))
    info = {"tool": "stn-coloc", "version": __version__, "run": named, "orientation": orientation}
    return info if source is None else {**info, "source": name_in_results(source)}


class Maker(Protocol):
    """Opens a format: its file, and what the kinds of objects are called."""

    def __call__(self, path: Path, names: Sequence[str] = ..., /) -> Writer[ImageRecord]:
        """Open it."""


FORMATS: dict[str, tuple[str, Maker]] = {
    "csv": ("boxes.csv", CsvWriter),
    "coco-results": ("boxes.results.json", CocoResultsWriter),
    "label-studio": ("boxes.label-studio.json", LabelStudioWriter),
    "parquet": ("boxes.parquet", ParquetWriter),
}
"""By the name of `--format`: the file's name and what writes it."""
COMPLETE = "coco-results"
"""The format that also holds what is not believed: precision is averaged over all that was found."""


class Believed:
    """A format that holds the objects that are believed, and no others.

    Args:
        make: opens the format.
    """

    def __init__(self, make: Callable[[], Writer[ImageRecord]]) -> None:
        self._writer = make()

    def add(self, record: ImageRecord) -> None:
        """Write one image and those of its objects."""
        self._writer.add(record.with_believed())

    def close(self) -> None:
        """Finish the format."""
        self._writer.close()

    def abandon(self) -> None:
        """Leave no trace of it."""
        self._writer.abandon()
