"""`boxes.parquet` read back: one file as `localise --format parquet` writes it, or a folder of shards."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from stn_cli.errors import CheckpointError, InputError
from stn_cli.files import name_from_results
from stn_cli.formats.labels import OBJECT
from stn_cli.formats.packed import PackedRecords
from stn_cli.formats.parquet import require_pyarrow
from stn_cli.formats.shards import PREFIX, one_line, read_facts
from stn_cli.records import Localisation, PixelBox, corners

ROWS_AT_ONCE = 4096
"""Rows that are Python's objects at a time."""


@dataclass(frozen=True, slots=True)
class Shards:
    """What shards hold.

    Attributes:
        records: images in the order of their source.
        names: of the kinds of objects.
        source: the folder that names are relative to; None where they do not say it.
    """

    records: PackedRecords
    names: tuple[str, ...]
    source: str | None


def is_shards(path: Path) -> bool:
    """Whether a path is Parquet: a file, a folder of shards, or a results folder with `boxes.parquet` in it.

    Args:
        path: that somebody gave.

    Returns:
        True where `read_shards` takes it.
    """
    return path.suffix == ".parquet" or (path / "boxes.parquet").exists()


def read_shards(path: Path) -> Shards:
    """Read `boxes.parquet` back, one file or a folder of shards; what was skipped is left out.

    Args:
        path: of it, or of the folder that it lies in.

    Returns:
        The records; objects without a `theta` have that of their box.

    Raises:
        InputError: not readable, or without the columns of `boxes.parquet`.
    """
    require_pyarrow()
    from pyarrow import fs

    if path.suffix != ".parquet":
        path = path / "boxes.parquet"
    parts = sorted(path.glob(f"{PREFIX}*.parquet")) if path.is_dir() else [path]
    files, reader = fs.LocalFileSystem(), _Reader()
    for part in parts:
        try:
            facts = read_facts(files, str(part.absolute()))
        except CheckpointError as error:
            raise InputError("the file of boxes is no Parquet", part, error.why) from error
        reader.read(part, facts)
    reader.records.settle(np.argsort(np.asarray(reader.numbers), kind="stable").tolist())
    source = reader.facts.get("source")
    kinds = tuple(reader.kinds) or (OBJECT,)
    return Shards(reader.records, kinds, name_from_results(source) if isinstance(source, str) else None)


class _Reader:
    """Images by number, or by name where they have none, while shards are read: rows of a table may share a name."""

    def __init__(self) -> None:
        self.records, self.numbers = PackedRecords(), array("q")
        self._places: dict[str | int, int] = {}
        self.kinds: dict[str, int] = {}
        self.facts: dict[str, Any] = {}

    def read(self, part: Path, facts: dict[str, Any]) -> None:
        """One file."""
        import pyarrow
        import pyarrow.parquet

        self.facts = self.facts or facts
        for name in facts.get("names", ()):
            self.kinds.setdefault(str(name), len(self.kinds))
        try:
            file = pyarrow.parquet.ParquetFile(part)
            for batch in file.iter_batches(ROWS_AT_ONCE):
                for row in batch.to_pylist():
                    self._row(row)
        except (OSError, KeyError, TypeError, ValueError, pyarrow.ArrowException) as error:
            raise InputError("the file of boxes is not as this tool writes it", part, one_line(error)) from error

    def _row(self, row: dict[str, Any]) -> None:
        if row.get("reason") is not None:
            return
        name = name_from_results(row["file"])
        w, h = int(row["width"]), int(row["height"])
        number = row.get("number")
        key: str | int = name if number is None else int(number)
        place = self._places.get(key)
        if place is None:
            self.numbers.append(len(self.records) if number is None else int(number))
            place = self._places[key] = self.records.add_image(name, w, h)
        if row["x1"] is None:
            return
        x1, y1, x2, y2 = (float(row[key]) for key in ("x1", "y1", "x2", "y2"))
        box: PixelBox = x1, y1, x2, y2
        flat = row["quad"]
        quad = cast(Any, tuple(zip(flat[::2], flat[1::2], strict=True))) if flat else corners(box)
        own = ((x2 - x1) / w, 0, (x1 + x2) / w - 1, 0, (y2 - y1) / h, (y1 + y2) / h - 1)
        theta = tuple(row.get("theta") or own)
        kind = self.kinds.setdefault(row["kind"], len(self.kinds))
        believed = row.get("believed") is not False
        found = Localisation(name, w, h, box, quad, theta, float(row["score"]), row["mask"], kind, believed)
        self.records.add_object(place, found)
