"""A file that is written piece by piece and appears when it is whole."""

from __future__ import annotations

from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import IO, Any

from stn_cli.errors import OutputError
from stn_cli.files import atomic


class TextTarget:
    """`stn_cli.files.atomic` for a writer that lives longer than one block.

    Args:
        path: the target.
        mode: `w` for UTF-8 text, or `wb`.

    Raises:
        OutputError: it cannot be written (here and in every method but `abandon`).
    """

    def __init__(self, path: Path, mode: str = "w") -> None:
        self.path = path
        self._context: AbstractContextManager[IO[Any]] = atomic(path, mode)
        self._file = self._context.__enter__()

    def write(self, piece: str | bytes) -> int:
        """Write a piece; with this it is also what `csv.writer` and pyarrow write to."""
        try:
            return self._file.write(piece)
        except OSError as error:
            raise OutputError("cannot write", self.path, error.strerror, "Free some space") from error

    def close(self) -> None:
        """Put the file in place."""
        self._context.__exit__(None, None, None)

    def abandon(self) -> None:
        """Remove the temporary file, also where the disk is full."""
        with suppress(GeneratorExit, OutputError):
            self._context.__exit__(GeneratorExit, GeneratorExit(), None)


class TextWriter:
    """What every format of lines ends with; the format itself adds `add`, see `stn_cli.formats.writer.Writer`.

    Args:
        path: the target.
    """

    def __init__(self, path: Path) -> None:
        self._target = TextTarget(path)

    def close(self) -> None:
        """Put the file in place."""
        self._target.close()

    def abandon(self) -> None:
        """Remove the temporary file."""
        self._target.abandon()
