"""Parquet with a column of images or of their paths, as data sets on hubs and lakes have them."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from stn_cli.bounds import shown
from stn_cli.errors import InputError
from stn_cli.formats.shards import one_line

NAMES = ("file_name", "file", "path", "filename", "name", "image_path", "uri", "url", "key", "id")
"""Columns of text that are taken for paths, or for names of images beside their bytes, the first one that is there."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Where a table has its images.

    Attributes:
        images: column of bytes, of structs {bytes, path}, or of paths.
        paths: `images` holds paths.
        struct: `images` holds structs.
        names: column of names beside bytes; None where there is none.
    """

    images: str
    paths: bool
    struct: bool
    names: str | None

    @property
    def wanted(self) -> list[str]:
        """The columns to read."""
        return [self.images, *([self.names] if self.names else [])]


def choose_columns(schema: Any, wanted: str | None, table: str) -> Columns:
    """Where the images are.

    Args:
        schema: of the table.
        wanted: the column that was asked for; when left out the first one of bytes, else one of paths.
        table: for messages.

    Returns:
        The columns.

    Raises:
        InputError: there is no such column.
    """
    import pyarrow

    def holds(kind: Any) -> str:
        if pyarrow.types.is_binary(kind) or pyarrow.types.is_large_binary(kind):
            return "bytes"
        if pyarrow.types.is_struct(kind):
            inner = {kind.field(i).name: kind.field(i).type for i in range(kind.num_fields)}
            return "struct" if "bytes" in inner and holds(inner["bytes"]) == "bytes" else ""
        return "paths" if pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind) else ""

    kinds = {field.name: holds(field.type) for field in schema}
    texts = [name for name in NAMES if kinds.get(name) == "paths"]
    if wanted is not None:
        if not kinds.get(wanted):
            has = f"it has {', '.join(f'{f.name} ({f.type})' for f in schema)}"[:300]
            raise InputError("no column of images or paths", shown(wanted), has, "Name another --column")
        chosen = wanted
    else:
        binary = [name for name, kind in kinds.items() if kind in ("bytes", "struct")]
        if not (binary or texts):
            raise InputError(
                "no column of images or paths", table, f"columns: {', '.join(kinds)}"[:300], "Name it with --column"
            )
        chosen = (binary or texts)[0]
    paths = kinds[chosen] == "paths"
    beside = next((name for name in texts if name != chosen), None)
    return Columns(chosen, paths, kinds[chosen] == "struct", None if paths else beside)


def row_groups(files: Any, paths: Sequence[str]) -> tuple[list[tuple[str, list[int]]], Any]:
    """Rows of each group of each file, from their footers, and the first one's schema.

    Args:
        files: pyarrow's file system.
        paths: of Parquet files in it.

    Returns:
        (path, rows of its groups) for each file; the schema.

    Raises:
        InputError: one cannot be read, or has other columns than the first.
    """
    import pyarrow
    import pyarrow.parquet

    found, schema = [], None
    for path in paths:
        try:
            with files.open_input_file(path) as file:
                table = pyarrow.parquet.ParquetFile(file)
                own, meta = table.schema_arrow, table.metadata
                found.append((path, [meta.row_group(n).num_rows for n in range(meta.num_row_groups)]))
        except (OSError, pyarrow.ArrowException) as error:
            raise InputError("cannot read table", path, one_line(error)) from error
        if schema is not None and own.names != schema.names:
            raise InputError("tables have different columns", path, f"not those of {paths[0]}")
        schema = schema or own
    return found, schema


@dataclass(frozen=True, slots=True)
class Row:
    """An image of a table: its name, and its bytes or its path; neither where the cell is empty."""

    name: str
    data: bytes | None
    path: str | None


def read_rows(files: Any, path: str, group: int, columns: Columns, batch: int) -> Iterator[list[Row]]:
    """The rows of a row group, `batch` at a time: never all of them in memory.

    Args:
        files: pyarrow's file system.
        path: of the Parquet file.
        group: number of the row group.
        columns: where the images are.
        batch: rows of each list; the last one may have fewer.

    Yields:
        Lists of rows.
    """
    import pyarrow.parquet

    waiting, number = list[Row](), 0
    with files.open_input_file(path) as file:
        table = pyarrow.parquet.ParquetFile(file)
        for part in table.iter_batches(batch, row_groups=[group], columns=columns.wanted):
            for cell, name in zip(part.column(columns.images), _names(part, columns), strict=True):
                given = f"{posixpath.basename(path)}#{group}.{number}"
                waiting.append(_row(cell.as_py(), name, given, columns, posixpath.dirname(path)))
                number += 1
                if len(waiting) == batch:
                    yield waiting
                    waiting = []
    if waiting:
        yield waiting


def _names(part: Any, columns: Columns) -> Sequence[str | None]:
    return [None] * len(part) if columns.names is None else part.column(columns.names).to_pylist()


def _row(cell: Any, name: str | None, given: str, columns: Columns, folder: str) -> Row:
    if columns.paths:
        path = None if cell is None else cell if "://" in cell else posixpath.join(folder, cell)
        return Row(cell or given, None, path)
    if columns.struct:
        name, cell = name or (cell or {}).get("path"), (cell or {}).get("bytes")
    return Row(name or given, cell, None)
