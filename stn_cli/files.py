"""Writing files so that a reader never sees half of one.

Every file is written to a temporary file beside its target, flushed, synced and renamed over it. A run
that is killed, or a disk that fills up, leaves the last good file and no temporary.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from stn_cli.errors import OutputError

TEMPORARY = ".tmp-stn-"
MARKER = ".stn-coloc"
"""Stands in every output folder, so that a scan does not read results as input."""


@contextmanager
def atomic(path: Path, mode: str = "wb") -> Iterator[IO[Any]]:
    """Open a temporary file beside `path` that replaces it when the block ends without an error.

    Raises:
        OutputError: the file cannot be written (no permission, disk full, a folder in the way).
    """
    text = {} if "b" in mode else {"encoding": "utf-8", "newline": ""}
    temporary: Path | None = None
    try:
        handle, name = tempfile.mkstemp(prefix=TEMPORARY, dir=path.parent)
        temporary = Path(name)
        with os.fdopen(handle, mode, **text) as file:  # type: ignore[call-overload]
            yield file
            file.flush()
            os.fsync(file.fileno())
        umask = _umask()
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
        temporary = None
    except OSError as error:
        raise OutputError("cannot write", path, error.strerror or error, "Free some space or choose another --out") from error
    finally:
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path` atomically."""
    with atomic(path) as file:
        file.write(data)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` atomically, as UTF-8."""
    write_bytes(path, text.encode("utf-8"))


def prepare_folder(path: Path, *, overwrite: bool = False, keep: bool = False) -> None:
    """Make an output folder before anything is decoded, and see that it can be written to.

    Args:
        path: the folder.
        overwrite: a folder with content of an earlier run may be written into.
        keep: the folder may have content because the run goes on from it (`--resume`).

    Raises:
        OutputError: a file is in the way, the folder is not empty, or it cannot be written to.
    """
    if path.exists() and not path.is_dir():
        raise OutputError("cannot write into", path, "a file is in the way", "Choose another --out")
    try:
        if path.is_dir() and not (overwrite or keep) and any(path.iterdir()):
            raise OutputError("output folder is not empty", path, None, "Use --overwrite, or another --out")
        path.mkdir(parents=True, exist_ok=True)
        for stale in path.glob(TEMPORARY + "*"):  # of a run that was killed while it wrote
            stale.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError("cannot write into", path, error.strerror, "Choose another --out") from error
    write_text(path / MARKER, "Made by stn-coloc: scans for images leave this folder out.\n")


def clear_results(folder: Path, names: Iterable[str]) -> None:
    """Remove an earlier call's results, so that old crops do not stay among new ones; only from a folder made by this tool."""
    if not (folder / MARKER).is_file():
        return
    for name in names:
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def safe_name(relative: str, suffix: str, limit: int = 255) -> str:
    """A relative output name for a relative input name: extension kept, `suffix` added, every part at most `limit` bytes.

    `a/x.jpg` and `a/x.png` stay apart because the extension is kept; a part that would grow too long is
    cut and ended with a hash of the whole name.
    """
    parts = relative.split("/")
    parts[-1] += suffix
    for i, part in enumerate(parts):
        raw = part.encode("utf-8", "surrogateescape")
        if len(raw) > limit:
            end = suffix if i == len(parts) - 1 else ""
            digest = "~" + hashlib.sha256(raw).hexdigest()[:12] + end
            head = raw[: limit - len(digest)].decode("utf-8", "ignore")
            parts[i] = head + digest
    return "/".join(parts)
