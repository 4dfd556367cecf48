"""The manifest of a results folder: what this tool wrote there, and so what it may replace and what scans leave out."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from stn_cli.files import atomic, escape, is_inside, unescape
from stn_cli.reading import read_plain

MANIFEST = ".stn-coloc"
"""Lists what this tool wrote into the folder that it lies in."""
STAGING = "unfinished"
STAGING_MARKER = ".stn-coloc-unfinished"
_LARGEST = 1 << 30


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a manifest says: the command that wrote, and the relative names of the files, with `/`."""

    command: str = ""
    names: frozenset[str] = frozenset()


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a folder; an empty one where there is none, or none that this version understands.

    Names that would lead out of the folder are left out: a folder may come from a stranger.
    """
    path = folder / MANIFEST
    try:
        first, *lines = read_plain(path, _LARGEST).split(b"\n")
        head = json.loads(first)
        if not (isinstance(head, dict) and head.get("tool") == "stn-coloc" and head.get("manifest") == 1):
            return Manifest()
    except (OSError, ValueError, RecursionError):
        return Manifest()
    names = frozenset(name for line in lines if line and is_inside(name := unescape(line)))
    return Manifest(str(head.get("command", "")), names)


def written_by_tool(folder: str | os.PathLike[str]) -> frozenset[str]:
    """The files, relative to `folder` and with `/`, that this tool wrote into it; none where it holds no manifest."""
    return read_manifest(Path(folder)).names


def is_staging(folder: str | os.PathLike[str]) -> bool:
    """Whether a folder is one in which a call of this tool works, or was stopped."""
    return os.path.basename(folder) == STAGING and os.path.isfile(os.path.join(folder, STAGING_MARKER))


def note_written(folder: Path, name: str) -> None:
    """Add a file that was written later to the manifest of its folder, where it has one."""
    manifest = read_manifest(folder)
    if manifest.command and name not in manifest.names:
        write_manifest(folder / MANIFEST, manifest.command, [*manifest.names, name])


def write_manifest(path: Path, command: str, names: Iterable[str]) -> None:
    """Write a manifest: the command, and the relative names of what it wrote, with `/`."""
    with atomic(path) as file:
        file.write(json.dumps({"tool": "stn-coloc", "manifest": 1, "command": command}).encode() + b"\n")
        for name in sorted(names):
            file.write(escape(name) + b"\n")


def remove_written(folder: Path, names: Iterable[str]) -> None:
    """Remove files by their relative names, and folders that are empty then; nothing is reached through a link."""
    emptied: set[str] = set()
    real: dict[str, bool] = {"": True}
    for name in names:
        parent = name.rpartition("/")[0]
        if not _is_plain(folder, parent, real):
            continue
        path = folder / name
        with suppress(FileNotFoundError, IsADirectoryError):
            if not path.is_dir() or path.is_symlink():
                path.unlink()
        while parent:
            emptied.add(parent)
            parent = parent.rpartition("/")[0]
    for below in sorted(emptied, key=len, reverse=True):
        with suppress(OSError):  # something else is in it
            (folder / below).rmdir()


def _is_plain(folder: Path, below: str, known: dict[str, bool]) -> bool:
    """Whether a folder below another is reached through no link."""
    if below not in known:
        known[below] = _is_plain(folder, below.rpartition("/")[0], known) and not (folder / below).is_symlink()
    return known[below]
