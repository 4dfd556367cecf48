"""What runs on the machines of a cluster before the actors: tasks that read and decode."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from stn_cli.formats.shards import one_line
from stn_cli.jobs.cluster.finding import times_begun
from stn_cli.jobs.cluster.pieces import Piece
from stn_cli.jobs.cluster.tables import Columns, Row, read_rows
from stn_cli.media.cache import Letterbox, load_letterbox
from stn_cli.media.scan import ImageFile
from stn_cli.records import Skipped
from stn_cli.runtime.ordered import ordered_map

FAR_AWAY = 16
"""Files that a task reads at once where each is a request to an object store."""
SUSPICIOUS = 2
"""Times that a task was begun in vain after which its images are decoded each in a process of its own."""
ENDED = "ended the process that decoded it"
"""Why an image is skipped that no process survives."""
Loaded = Letterbox | Skipped


@dataclass(frozen=True, slots=True)
class Decoding:
    """How tasks read and decode.

    Attributes:
        files: pyarrow's file system; None for paths of the machine's own.
        columns: of tables.
        batch: images of a chunk.
        letterbox: side that images are decoded onto, pixels.
        max_pixels: images with more are skipped.
        load: decodes one image.
    """

    files: Any
    columns: Columns | None
    batch: int
    letterbox: int
    max_pixels: int
    load: Callable[..., Loaded] = load_letterbox

    def chunks(self, piece: Piece) -> Iterator[tuple[int, list[int], list[Loaded]]]:
        """Number, numbers of the images, and the decoded images of each chunk of a piece that is still wanted.

        Args:
            piece: of the source.
        """
        first, threads = piece.first, 1 if self.files is None else FAR_AWAY
        for chunk, items in zip(piece.chunks(self.batch), self._items(piece), strict=True):
            numbers = list(range(first, first + len(items)))
            first += len(items)
            if chunk not in piece.done:
                todo = zip(numbers, items, strict=True)
                yield chunk, numbers, list(ordered_map(lambda item: self._decoded(piece, *item), todo, threads))

    def one(self, piece: Piece, number: int) -> Loaded:
        """One image of a piece, decoded by itself.

        Args:
            piece: of the source.
            number: of the image in the source.
        """
        first = piece.first
        for items in self._items(piece):
            if number < first + len(items):
                return self._decoded(piece, number, items[number - first])
            first += len(items)
        raise IndexError(number)

    def deadly(self, piece: Piece) -> dict[int, str]:
        """Why images of a piece cannot be decoded: each is decoded by itself, in a process that may be ended.

        Args:
            piece: of the source.

        Returns:
            Reasons by the number of the image.
        """
        import ray

        alone = ray.remote(num_cpus=0, max_retries=0)(decode_alone)
        refused = dict(piece.refused)
        for chunk in piece.chunks(self.batch):
            first = piece.first + (chunk - piece.chunk) * self.batch
            wanted = range(first, min(first + self.batch, piece.first + piece.count)) if chunk not in piece.done else ()
            for number in wanted:
                try:
                    ray.get(alone.remote(self, piece, number))
                except ray.exceptions.WorkerCrashedError:
                    refused[number] = ENDED
        return refused

    def _items(self, piece: Piece) -> Iterator[Sequence[ImageFile | Row]]:
        if not piece.table:
            yield piece.files
        elif self.columns is not None:
            yield from read_rows(self.files, piece.table, piece.group, self.columns, self.batch)

    def _decoded(self, piece: Piece, number: int, item: ImageFile | Row) -> Loaded:
        if number in piece.refused:
            return Skipped(item.name, piece.refused[number])
        try:
            if isinstance(item, Row):
                path, data = item.path, item.data
                if path is None and not data:
                    return Skipped(item.name, "empty")
                data = data if path is None else self._read(path)
                return self.load(ImageFile(path or "", item.name), self.letterbox, self.max_pixels, data)
            data = None if self.files is None else self._read(item.path)
            return self.load(item, self.letterbox, self.max_pixels, data)
        except FileNotFoundError:
            return Skipped(item.name, "vanished")
        except OSError as error:
            return Skipped(item.name, f"unreadable: {error.strerror or one_line(error)}")
        except Exception as error:  # of any decoder: one picture must not end a job of a million
            return Skipped(item.name, f"cannot be decoded: {type(error).__name__}: {one_line(error)}")

    def _read(self, path: str) -> bytes:
        from pyarrow import fs

        files = self.files
        if "://" in path:
            files, path = fs.FileSystem.from_uri(path)
        with files.open_input_stream(path) as file:
            return bytes(file.read())


def decode_pieces(batch: Any, how: Decoding) -> Iterator[Any]:
    """The task of Ray Data: rows with pieces become rows with decoded chunks.

    Args:
        batch: a table with the column `piece`.
        how: to decode.

    Yields:
        A table of one row for each chunk: its number, and what is in it, pickled.
    """
    import pyarrow

    for cell in batch.column("piece"):
        piece = pickle.loads(cell.as_buffer())
        if times_begun() >= SUSPICIOUS:
            piece = replace(piece, refused=how.deadly(piece))
        for chunk, numbers, loaded in how.chunks(piece):
            content = pickle.dumps((numbers, loaded), 5)
            yield pyarrow.table(
                {"chunk": pyarrow.array([chunk], pyarrow.int64()), "content": pyarrow.array([content], "binary")}
            )


def decode_alone(how: Decoding, piece: Piece, number: int) -> None:
    """Decode one image, to see whether the process survives it.

    Args:
        how: to decode.
        piece: of the source.
        number: of the image.
    """
    how.one(piece, number)
