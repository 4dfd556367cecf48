"""The manifest of a results folder: what this tool wrote there, and so may replace."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from stn_cli.files import atomic, escape, is_inside, unescape
from stn_cli.reading import read_plain

MANIFEST = ".stn-coloc"
"""Lists what this tool wrote into the folder that it lies in."""
STAGING = "unfinished"
STAGING_MARKER = ".stn-coloc-unfinished"
VERSION = 2
"""Of the manifest's form."""
_LARGEST = 1 << 30
"""Bytes of a manifest that is read."""


PICTURES = frozenset([".png", ".jpg", ".mp4", ".webm"])
HEAD = 1 << 16
"""Bytes of a picture that tell whether it is still the same; other files are read whole, as a person may change a letter of them."""
LARGEST_HASHED = 1 << 30
"""Bytes above which of other files only the first ones are hashed, too: a sparse file may claim more than can be read in a day."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a file was when it was written: its size in bytes and a hash of its content; times change when a folder is copied.

    Of a link it is where it leads that counts: the file there is not this tool's.
    """

    size: int
    digest: str

    @classmethod
    def of(cls, path: Path) -> Facts:
        """The facts of a file that is there."""
        return cls(path.lstat().st_size, _digest(path))

    def hold(self, path: Path) -> bool:
        """Whether a file is still what it was."""
        try:
            found = path.lstat()
            plain = stat.S_ISREG(found.st_mode) or stat.S_ISLNK(found.st_mode)
            return plain and found.st_size == self.size and _digest(path) == self.digest
        except OSError:
            return False


def _digest(path: Path) -> str:
    if path.is_symlink():
        return "link-" + hashlib.blake2b(os.fsencode(os.readlink(path)), digest_size=8).hexdigest()
    with open(path, "rb") as file:
        if path.suffix.lower() in PICTURES or path.stat().st_size > LARGEST_HASHED:
            return hashlib.blake2b(file.read(HEAD), digest_size=8).hexdigest()
        total = hashlib.blake2b(digest_size=8)
        while part := file.read(1 << 20):
            total.update(part)
        return total.hexdigest()


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a manifest says: the command that wrote, and the files by their relative names, with `/`."""

    command: str = ""
    files: dict[str, Facts] = field(default_factory=dict)

    def is_own(self, folder: Path, name: str) -> bool:
        """Whether a file of the folder is what this tool wrote there."""
        facts = self.files.get(name)
        return facts is not None and facts.hold(folder / name)


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a folder; an empty one where there is none, or none that this version understands.

    Names that would lead out of the folder are left out: a folder may come from a stranger.

    Args:
        folder: of results.

    Returns:
        What it says.
    """
    try:
        first, *lines = read_plain(folder / MANIFEST, _LARGEST).split(b"\n")
        head = json.loads(first)
        if not (isinstance(head, dict) and head.get("tool") == "stn-coloc" and head.get("manifest") == VERSION):
            return Manifest()
        files = {}
        for line in filter(None, lines):
            size, digest, escaped = line.split(b" ", 2)
            if is_inside(name := unescape(escaped)):
                files[name] = Facts(int(size), digest.decode("ascii"))
    except (OSError, ValueError, RecursionError):
        return Manifest()
    return Manifest(str(head.get("command", "")), files)


def written_by_tool(folder: str | os.PathLike[str]) -> dict[str, int]:
    """The files, relative to `folder` and with `/`, that this tool wrote into it, and their sizes in bytes; none where it holds no manifest.

    Args:
        folder: of results.

    Returns:
        Sizes by name.
    """
    return {name: facts.size for name, facts in read_manifest(Path(folder)).files.items()}


def is_staging(folder: str | os.PathLike[str]) -> bool:
    """Whether a folder is one in which a call of this tool works, or was stopped.

    Args:
        folder: of any kind.

    Returns:
        True where it is one.
    """
    named = os.path.basename(folder) == STAGING and not os.path.islink(folder)
    return named and os.path.isfile(os.path.join(folder, STAGING_MARKER))


def note_written(folder: Path, name: str) -> None:
    """Add a file that was written later to the manifest of its folder, where it has one.

    Args:
        folder: of results.
        name: of the file in it.
    """
    manifest = read_manifest(folder)
    if manifest.command:
        write_manifest(folder / MANIFEST, manifest.command, manifest.files | {name: Facts.of(folder / name)})


def write_manifest(path: Path, command: str, files: Mapping[str, Facts]) -> None:
    """Write a manifest: the command, and what it wrote by relative names, with `/`.

    Args:
        path: of the manifest.
        command: that wrote the results.
        files: their facts by relative name.
    """
    with atomic(path) as file:
        file.write(json.dumps({"tool": "stn-coloc", "manifest": VERSION, "command": command}).encode() + b"\n")
        for name, facts in sorted(files.items()):
            file.write(f"{facts.size} {facts.digest} ".encode() + escape(name) + b"\n")


def renew_manifest(folder: Path) -> None:
    """Take what a folder's manifest lists as it is now.

    Args:
        folder: of results.
    """
    manifest = read_manifest(folder)
    if manifest.command:
        there = {n: Facts.of(folder / n) for n in manifest.files if (folder / n).is_file() and not (folder / n).is_symlink()}
        write_manifest(folder / MANIFEST, manifest.command, manifest.files | there)


def remove_written(folder: Path, manifest: Manifest) -> None:
    """Remove what a manifest lists and what is still as it was written, and folders that are empty then; nothing is reached through a link.

    Args:
        folder: of results.
        manifest: of it.
    """
    emptied: set[str] = set()
    real: dict[str, bool] = {"": True}
    for name in manifest.files:
        parent = name.rpartition("/")[0]
        if not _is_plain(folder, parent, real) or not manifest.is_own(folder, name):
            continue
        with suppress(FileNotFoundError):
            (folder / name).unlink()
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
