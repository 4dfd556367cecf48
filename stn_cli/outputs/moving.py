"""The last step of a call: whole results are put in their place, in an order that can be gone on with wherever it is stopped.

`unfinished/.whole` says that everything is written; then the earlier files go, and it becomes `.cleared`; then the new ones are moved in.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from stn_cli.errors import OutputError, printable
from stn_cli.files import TEMPORARY
from stn_cli.outputs.manifest import (
    MANIFEST,
    STAGING,
    STAGING_MARKER,
    Facts,
    is_staging,
    read_manifest,
    remove_written,
    write_manifest,
)

JOURNAL = "records.jsonl"
"""What a call goes on from; it serves no purpose when the results are whole."""
WHOLE_STEP, CLEARED_STEP = ".whole", ".cleared"
"""Files in `unfinished` that say which steps are done."""
NO_RESULTS = frozenset([STAGING_MARKER, MANIFEST, JOURNAL, WHOLE_STEP, CLEARED_STEP])
"""Files in `unfinished` that are no results."""


def is_moving(folder: Path) -> bool:
    """Whether a call was stopped while it put whole results in their place.

    Args:
        folder: of the results.

    Returns:
        True where `go_on_moving` has something to do.
    """
    staging = folder / STAGING
    return is_staging(staging) and any((staging / step).is_file() for step in (WHOLE_STEP, CLEARED_STEP))


def put_in_place(folder: Path, command: str) -> None:
    """Put what lies in `unfinished` in the place of the earlier results.

    Args:
        folder: of the results.
        command: that wrote them.

    Raises:
        FileExistsError: a file of somebody else has come in the way.
        OSError: they cannot be moved.
    """
    staging = folder / STAGING
    new = {name: Facts.of(staging / name) for name in _written(staging) if name not in NO_RESULTS}
    old = read_manifest(folder)
    for name in new:
        if os.path.lexists(folder / name) and not old.is_own(folder, name):
            raise FileExistsError(17, f"'{printable(name)}' has come in the way")
    write_manifest(staging / MANIFEST, command, new)
    (staging / WHOLE_STEP).touch()
    go_on_moving(folder)


def _written(staging: Path) -> list[str]:
    """All files in `unfinished`, with `/`; what a killed call left half written goes, and the disk has the rest."""
    names = []
    for root, _, files in os.walk(staging):
        below = os.path.relpath(root, staging).replace(os.sep, "/")
        for stale in (n for n in files if n.startswith(TEMPORARY)):  # of the killed call that this one goes on from
            with suppress(PermissionError):  # Windows: it is still open, and goes with its folder
                os.unlink(os.path.join(root, stale))
        names += [f"{below}/{n}" if below != "." else n for n in files if not n.startswith(TEMPORARY)]
        _sync_folder(root)
    return names


def go_on_moving(folder: Path) -> None:
    """Put whole results in their place, from whichever step a call was stopped at.

    Args:
        folder: of the results.
    """
    staging = folder / STAGING
    if (staging / WHOLE_STEP).is_file():
        remove_written(folder, read_manifest(folder))
        os.replace(staging / WHOLE_STEP, staging / CLEARED_STEP)
    _move_into(staging, folder, NO_RESULTS)
    if (staging / MANIFEST).is_file():
        os.replace(staging / MANIFEST, folder / MANIFEST)
    _sync_folder(folder)
    shutil.rmtree(staging, ignore_errors=True)


def _move_into(source: Path, target: Path, left: frozenset[str] = frozenset()) -> None:
    """Move what is in a folder into another one, folder by folder where they are there: somebody else's files stay beside them."""
    for name in sorted(os.listdir(source)):
        if name in left or name.startswith(TEMPORARY):
            continue
        here, there = source / name, target / name
        if not os.path.lexists(there):
            os.replace(here, there)
        elif here.is_dir() and there.is_dir() and not there.is_symlink():
            _move_into(here, there)
        else:
            raise FileExistsError(17, f"'{printable(name)}' has come in the way")


def check_plain_files(staging: Path) -> None:
    """See that a folder that is gone on with holds plain files and folders only: it may come from a stranger.

    Args:
        staging: the folder.

    Raises:
        OutputError: it holds a link, a pipe or a device.
    """
    for root, folders, files in os.walk(staging):
        for path in (os.path.join(root, n) for n in [*folders, *files]):
            if not stat.S_ISDIR(mode := os.lstat(path).st_mode) and not stat.S_ISREG(mode):
                raise OutputError(
                    "cannot go on in", staging, f"{printable(path)} is no plain file", "Remove it, or use --overwrite"
                )


def files_below(folder: Path, name: str) -> Iterator[str]:
    """What is at a name: the file itself or, of a folder, the files in it; relative to `folder`, with `/`.

    Args:
        folder: of the results.
        name: of a file or folder in it.

    Yields:
        Relative names.
    """
    path = folder / name
    if path.is_symlink() or not path.is_dir():
        if os.path.lexists(path):
            yield name
        return
    for root, folders, files in os.walk(path):
        below = os.path.relpath(root, folder).replace(os.sep, "/")
        yield from (f"{below}/{n}" for n in files)
        yield from (f"{below}/{n}" for n in folders if os.path.islink(os.path.join(root, n)))


def _sync_folder(folder: str | os.PathLike[str]) -> None:
    """Wait until the disk has a folder's entries; not on systems where folders cannot be opened."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
