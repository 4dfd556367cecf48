"""What a source is cut into for many machines: pieces that a task reads, and in them the chunks that the network looks at in one call."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from stn_cli.media.scan import ImageFile


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of the source, small enough to be sent to whoever reads it.

    Attributes:
        chunk: number of its first chunk, from 0.
        first: number of its first image in the source, from 0.
        count: its images.
        files: that it consists of; empty where it is rows of a table.
        table: path of a Parquet file whose rows it is.
        group: the row group of that file.
        done: chunks of it that are not wanted any more.
        refused: why images are not to be decoded again, by their number: they ended the process that did.
    """

    chunk: int
    first: int
    count: int
    files: tuple[ImageFile, ...] = ()
    table: str = ""
    group: int = 0
    done: frozenset[int] = frozenset()
    refused: dict[int, str] = field(default_factory=dict)

    def chunks(self, batch: int) -> range:
        """Numbers of its chunks of `batch` images; the last one may have fewer."""
        return range(self.chunk, self.chunk - (-self.count // batch))

    def without(self, done: set[int], batch: int) -> Piece | None:
        """What is left of it when some chunks are done already; None where nothing is."""
        made = frozenset(done.intersection(self.chunks(batch)))
        return None if len(made) == len(self.chunks(batch)) else replace(self, done=made)


def pieces_of_files(files: Sequence[ImageFile], batch: int) -> Iterator[Piece]:
    """A piece for each chunk of a list of files: the same images together as on one machine.

    Args:
        files: of the source, in order.
        batch: images of a chunk.

    Yields:
        The pieces; paths are absolute, because workers start elsewhere.
    """
    for chunk, first in enumerate(range(0, len(files), batch)):
        part = tuple(files[first : first + batch])
        yield Piece(chunk, first, len(part), part)


def absolute(files: Sequence[ImageFile]) -> list[ImageFile]:
    """Files by absolute paths.

    Args:
        files: of a scan.

    Returns:
        The same files.
    """
    return [ImageFile(os.path.abspath(file.path), file.name) for file in files]


def pieces_of_tables(groups: Sequence[tuple[str, Sequence[int]]], batch: int) -> Iterator[Piece]:
    """A piece for each row group of Parquet files.

    Args:
        groups: each file's path and the rows of its groups.
        batch: images of a chunk.

    Yields:
        The pieces.
    """
    chunk = first = 0
    for path, sizes in groups:
        for group, rows in enumerate(sizes):
            if rows:
                yield Piece(chunk, first, rows, (), path, group)
            chunk += -(-rows // batch)
            first += rows
