"""Parquet: a row per box for data frames, through pyarrow, in pieces so that memory does not grow with the number of images."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from stn_cli.errors import ResourceError
from stn_cli.files import name_in_results
from stn_cli.formats.labels import OBJECT
from stn_cli.formats.text_target import TextTarget
from stn_cli.records import ImageRecord

ROWS = 4096
"""Rows that are written at once, as a row group."""


def require_pyarrow() -> None:
    """See that Parquet can be written, before anything is computed.

    Raises:
        ResourceError: pyarrow is not installed.
    """
    if find_spec("pyarrow") is None:
        raise ResourceError("Parquet needs a package that is not installed", "pyarrow", todo="pip install 'stn-coloc[parquet]'")


class ParquetWriter:
    """`boxes.parquet`: file, width, height, kind, x1, y1, x2, y2, score, quad, mask.

    A row is a box; an image without an object has one row whose box is null. `quad` has the four corners x, y one after the other, `mask`
    COCO's compressed run lengths, null where there is no mask.

    Args:
        path: the target.
        names: of the kinds of objects.
        more: the name of a column of text after these, whose value `add` gets.

    Raises:
        ResourceError: pyarrow is not installed.
    """

    def __init__(self, path: Path, names: Sequence[str] = (OBJECT,), more: str | None = None) -> None:
        require_pyarrow()
        import pyarrow
        import pyarrow.parquet

        self._arrow: Any = pyarrow
        self._names, self._more = names, more
        self._rows = list[dict[str, Any]]()
        self._schema = pyarrow.schema([*arrow_columns(pyarrow), *([(more, pyarrow.string())] if more else [])])
        self._target = _Sink(path)
        self._file: Any = pyarrow.parquet.ParquetWriter(self._target, self._schema)

    def add(self, record: ImageRecord, *more: str) -> None:
        """Write the objects of one image, or that it has none."""
        image = {"file": name_in_results(record.file), "width": record.width, "height": record.height}
        if self._more:
            image[self._more] = more[0]
        for found in record.objects:
            x1, y1, x2, y2 = found.box
            box = {"kind": self._names[found.kind], "x1": x1, "y1": y1, "x2": x2, "y2": y2, "score": found.score}
            quad = [value for point in found.quad for value in point]
            self._rows.append({**image, **box, "quad": quad, "mask": found.mask})
        if not record.objects:
            self._rows.append(image)
        if len(self._rows) >= ROWS:
            self._write()

    def _write(self) -> None:
        self._file.write_table(self._arrow.Table.from_pylist(self._rows, self._schema))
        self._rows.clear()

    def close(self) -> None:
        """Put the file in place."""
        if self._rows:
            self._write()
        self._file.close()
        self._target.put_in_place()

    def abandon(self) -> None:
        """Remove the temporary file; what pyarrow would still write goes nowhere."""
        self._target.dropped = True
        self._file.close()
        self._target.abandon()


class _Sink(TextTarget):
    """What pyarrow takes for a file; it closes what it writes to, which must not put half a file in place."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "wb")
        self.closed = self.dropped = False

    def write(self, piece: str | bytes) -> int:
        """Write a piece."""
        return len(piece) if self.dropped else super().write(piece)

    def flush(self) -> None:
        """Nothing: the end does it."""

    def close(self) -> None:
        """Nothing: pyarrow is done."""

    def put_in_place(self) -> None:
        """Put the file in place."""
        super().close()


def arrow_columns(pyarrow: Any) -> list[tuple[str, Any]]:
    """Columns of `boxes.parquet`.

    Args:
        pyarrow: the module, which this one imports only where it is used.

    Returns:
        Names and types.
    """
    text, number, whole = pyarrow.string(), pyarrow.float64(), pyarrow.int32()
    numbers = [(name, number) for name in ("x1", "y1", "x2", "y2", "score")]
    image = [("file", text), ("width", whole), ("height", whole), ("kind", text)]
    return [*image, *numbers, ("quad", pyarrow.list_(number)), ("mask", text)]
