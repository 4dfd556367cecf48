"""What runs on the machines of a cluster: tasks that read and decode, actors that hold the run and find."""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from stn_cli.errors import ResourceError
from stn_cli.formats.shards import Outcome, one_line, rows_of
from stn_cli.jobs.cluster.pieces import Piece
from stn_cli.jobs.cluster.rows import found_rows
from stn_cli.jobs.cluster.tables import Columns, Row, read_rows
from stn_cli.media.cache import Letterbox, load_letterbox, ordered_map
from stn_cli.media.scan import ImageFile
from stn_cli.records import Skipped
from stn_cli.version import __version__

FAR_AWAY = 16
"""Files that a task reads at once where each is a request to an object store."""
SUSPICIOUS = 2
"""Times that a task was begun in vain after which its images are decoded each in a process of its own."""
HOPELESS = 10
"""Times that an actor was ended at the same images after which the job is given up."""
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


def times_begun() -> int:
    """How often the task of Ray that this is called in was begun before, because the process or the machine was ended.

    Returns:
        0 the first time.
    """
    from ray._private import worker

    core: Any = getattr(worker.global_worker, "core_worker", None)
    asked = getattr(core, "get_current_task_attempt_number", None)
    return int(asked()) if asked is not None else 0


@dataclass(frozen=True, slots=True)
class Finding:
    """How actors find.

    Attributes:
        min_score: objects below it are left out; the model's own least score where none is given.
        batch: images per call of the network.
        device: for the model.
        names: of the kinds of objects.
        version: of the package that the job was started with.
    """

    min_score: float | None
    batch: int
    device: str
    names: tuple[str, ...]
    version: str = field(default=__version__)


class FindingActor:
    """An actor of Ray Data: holds a run, and finds its objects in chunks of decoded images.

    Args:
        files: the content of the run's files, in the object store.
        names: of the files: the model's, and that of the fast network where it is to look.
        how: to find.

    Raises:
        ResourceError: this machine has another version of the package, or not the device.
    """

    def __init__(self, files: Any, names: Sequence[str], how: Finding) -> None:
        import ray
        import torch

        from stn_cli.coloc.model.localiser import Localiser

        if how.version != __version__:
            raise ResourceError("stn-coloc differs between machines", __version__, f"the job is of {how.version}")
        torch.set_num_threads(1)  # as many bits as on one machine with one thread; there are as many actors as processors
        self._how = how
        with tempfile.TemporaryDirectory() as folder:
            for name, content in zip(names, files, strict=True):
                (Path(folder) / name).write_bytes(ray.get(content))
            localiser = Localiser.load(folder, how.device)
            self._localiser = localiser.fast() if len(names) > 1 else localiser

    def __call__(self, batch: Any) -> Any:
        """Rows with decoded chunks become rows with found ones.

        Args:
            batch: a table as `decode_pieces` makes it.

        Returns:
            A table as `found_rows` makes it.

        Raises:
            ResourceError: processes end again and again at these images.
        """
        from stn_cli.coloc.model.many import localise_loaded

        if times_begun() >= HOPELESS:
            todo = "Lower --batch, or use machines with more memory"
            raise ResourceError("workers end again and again at the same images", todo=todo)
        how = self._how
        rows = []
        for chunk, content in zip(batch.column("chunk").to_pylist(), batch.column("content"), strict=True):
            numbers, loaded = pickle.loads(content.as_buffer())
            items, _ = localise_loaded(self._localiser, loaded, how.min_score, how.batch)
            notes = [(c.file.name, c.note) for c in loaded if isinstance(c, Letterbox) and c.note]
            rows.append((chunk, rows_of(items, numbers, how.names), Outcome.of(items), notes))
        return found_rows(rows)
