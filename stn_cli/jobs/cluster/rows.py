"""What actors hand to the driver: the records of a chunk, whole or not at all. Little is imported here: an actor may need no more."""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterator, Sequence
from typing import Any

from stn_cli.formats.shards import Outcome

Found = tuple[int, Any, Outcome, list[tuple[str, str]]]
"""Of a chunk its number, its table of records, what came of it, and remarks on single images."""


def found_rows(rows: Sequence[Found]) -> Any:
    """What actors hand to the driver.

    Args:
        rows: of each chunk its number, its table of records, what came of it, and remarks on single images.

    Returns:
        A table with a row for each chunk, which therefore comes whole or not at all.
    """
    import pyarrow

    tables = []
    for _, table, _, _ in rows:
        sink = io.BytesIO()
        with pyarrow.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        tables.append(sink.getvalue())
    return pyarrow.table(
        {
            "chunk": pyarrow.array([row[0] for row in rows], pyarrow.int64()),
            "records": pyarrow.array(tables, "binary"),
            "counts": pyarrow.array([pickle.dumps((row[2], row[3])) for row in rows], "binary"),
        }
    )


def read_found(batch: Any) -> Iterator[Found]:
    """What `found_rows` was given.

    Args:
        batch: the table.

    Yields:
        A row of each chunk.
    """
    import pyarrow

    columns = (batch.column(name) for name in ("chunk", "records", "counts"))
    for chunk, records, counts in zip(*columns, strict=True):
        table = pyarrow.ipc.open_stream(records.as_buffer()).read_all()
        yield chunk.as_py(), table, *pickle.loads(counts.as_buffer())
