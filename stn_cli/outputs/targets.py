"""A single file that a person named as a target: when it may be written over."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from stn_cli.errors import OutputError
from stn_cli.outputs.manifest import written_by_tool
from stn_cli.outputs.places import Place
from stn_cli.reading import open_plain


@dataclass(frozen=True, slots=True)
class TargetKind:
    """What a target is going to hold.

    Attributes:
        name: for messages, with an article.
        flag: that names the target.
        begins: whether a file's first bytes are those of this kind.
    """

    name: str
    flag: str
    begins: Callable[[bytes], bool]


_HEAD = 1024
"""Bytes of a target by which its kind is told."""


def check_target(target: Path, kind: TargetKind, reads: Iterable[str | os.PathLike[str]], *, overwrite: bool) -> None:
    """See that a file can be written, before anything is computed; nothing is written here.

    Args:
        target: the file.
        kind: what it is going to hold.
        reads: files and folders that the call reads; they and what lies in them are never written over.
        overwrite: a file of the same kind, by its content, may be replaced; nothing else ever is.

    Raises:
        OutputError: its folder does not exist, or something stands there that is not to be replaced.
    """
    todo = f"Choose another {kind.flag}"
    if not target.parent.is_dir():
        raise OutputError("cannot write", target, "its folder does not exist", todo)
    if not os.path.lexists(target):
        return
    if target.is_symlink() or not target.is_file():
        why = "a link" if target.is_symlink() else "a folder" if target.is_dir() else "not a regular file"
        raise OutputError("cannot write over", target, why, todo)
    if _is_read(target, reads):
        raise OutputError("cannot write over", target, "it is read by this call", todo)
    if _is_listed(target):
        raise OutputError("cannot write over", target, "it belongs to the results in its folder", todo)
    try:
        with open_plain(target, math.inf) as (file, _):
            same = kind.begins(file.read(_HEAD))
    except OSError as error:
        raise OutputError("cannot write over", target, error.strerror, todo) from error
    if not same:
        raise OutputError("cannot write over", target, f"it is not {kind.name}", todo)
    if not overwrite:
        raise OutputError("the file is there already", target, None, f"Use --overwrite, or another {kind.flag}")


def names_a_folder(text: str) -> bool:
    """Whether a text can only name a folder: it ends with a separator, or with `.` or `..`.

    Args:
        text: a path as it was typed.

    Returns:
        True where it can be no file's.
    """
    return os.path.basename(text) in ("", ".", "..")


def _is_read(target: Path, reads: Iterable[str | os.PathLike[str]]) -> bool:
    place = Place.of(target)
    for source in reads:
        try:
            found = os.stat(source)
        except (OSError, ValueError):  # it has gone, or is no name
            continue
        if (found.st_dev, found.st_ino) in place.above:
            return True
    return False


def _is_listed(target: Path) -> bool:
    """Whether the manifest of its folder, or of one above it, lists the file."""
    real = Path(os.path.realpath(target))
    return any(real.relative_to(folder).as_posix() in written_by_tool(folder) for folder in real.parents)
