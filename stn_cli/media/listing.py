"""Walking folders; this tool's own results and other systems' leftovers are left out."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from stn_cli.errors import counted
from stn_cli.media.header import Unusable, opened
from stn_cli.media.signatures import (
    APPLE_DOUBLE,
    EXTENSIONS,
    HEAD,
    VIDEO_EXTENSIONS,
    Foreign,
    foreign,
    has_foreign_extension,
    looks_like_image,
)
from stn_cli.outputs.manifest import MANIFEST, STAGING, is_staging, written_by_tool
from stn_cli.records import Skipped

LEFTOVER_FOLDERS = frozenset(
    [
        "__macosx", "@eadir", ".@__thumb", "#recycle", "@recycle", "$recycle.bin", "recycler", "system volume information",
        ".ipynb_checkpoints", ".thumbnails", ".appledouble", ".spotlight-v100", ".fseventsd", ".temporaryitems",
        ".documentrevisions-v100", ".picasaoriginals", "lost+found",
    ]
)  # fmt: skip
LEFTOVER_FILES = frozenset(["thumbs.db", "ehthumbs.db"])


def _is_leftover_folder(name: str) -> bool:
    """Whether a folder of this name holds other systems' copies and thumbnails."""
    low = name.lower()
    return low in LEFTOVER_FOLDERS or low.startswith(".trash")


def read_head(path: str) -> bytes:
    """A file's first bytes; none of what cannot be read.

    Args:
        path: of the file.

    Returns:
        Up to `HEAD` bytes.
    """
    with suppress(Unusable), opened(path, most=1 << 62) as (file, _):
        return file.read(HEAD)
    return b""


@dataclass(slots=True)
class PassedOver:
    """What a walk meets beside the images.

    Attributes:
        skipped: files and folders that were wanted and cannot be taken, by name.
        own: files that this tool wrote.
        unfinished: folders in which a call of this tool works, or was stopped.
        leftovers: names of leftovers of other systems, counted.
        foreign: formats that cannot be decoded, counted.
        videos: in folders, where only images are looked for.
    """

    skipped: list[Skipped] = field(default_factory=list)
    own: int = 0
    unfinished: int = 0
    leftovers: Counter[str] = field(default_factory=Counter)
    foreign: Counter[Foreign] = field(default_factory=Counter)
    videos: int = 0

    def notes(self) -> list[str]:
        """What the user should hear of it, with counts."""
        out = []
        if self.own:
            out.append(f"{counted(self.own, 'file')} left out: results of stn-coloc, listed in {MANIFEST}")
        if self.unfinished:
            out.append(f"{counted(self.unfinished, 'folder')} left out: unfinished results of stn-coloc, named {STAGING}")
        if self.leftovers:
            names = ", ".join(name for name, _ in self.leftovers.most_common(5))
            out.append(f"{counted(self.leftovers.total(), 'leftover')} of other systems left out: {names}")
        if self.videos:
            out.append(f"{counted(self.videos, 'video')} left out: name a video itself, and its frames are taken")
        out += [f"{counted(n, kind.name + ' file')} left out: {kind.todo}" for kind, n in self.foreign.most_common()]
        return out

    def skip_foreign(self, name: str, kind: Foreign) -> None:
        """Note a file of a format that cannot be decoded."""
        self.foreign[kind] += 1
        self.skipped.append(Skipped(name, kind.reason))


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder on a walk.

    Attributes:
        path: where it is.
        prefix: of its files' names, relative to where the walk began; ends with `/`, or is empty.
        own: of it and those above, how long the prefix is and what this tool wrote there, with its size.
    """

    path: str
    prefix: str = ""
    own: tuple[tuple[int, dict[str, int]], ...] = ()

    def below(self, entry: os.DirEntry[str]) -> Folder:
        """A folder in it."""
        return Folder(entry.path, f"{self.prefix}{entry.name}/", self.own)

    def is_own(self, name: str, path: str) -> bool:
        """Whether this tool wrote the file of this name; a file of another size is a person's, put in its place."""
        sizes = [names[name[start:]] for start, names in self.own if name[start:] in names]
        if not sizes:
            return False
        with suppress(OSError):
            return os.lstat(path).st_size in sizes
        return False

    def marked(self) -> Folder:
        """The same, knowing what its own manifest lists."""
        return Folder(self.path, self.prefix, (*self.own, (len(self.prefix), written_by_tool(self.path))))


@dataclass(slots=True)
class Entries:
    """What is in a folder: folders, links to folders, and files; some of these are no plain files (pipes, links to nowhere)."""

    folders: list[Folder] = field(default_factory=list)
    links: list[Folder] = field(default_factory=list)
    files: list[tuple[str, str, bool]] = field(default_factory=list)


def entries(
    folder: Folder,
    found: PassedOver,
    accept: Callable[[str], bool] = lambda _: True,
    *,
    files: bool = True,
    folders: bool = True,
) -> Entries:
    """Read a folder.

    Args:
        folder: which.
        found: what is passed over is noted there.
        accept: names that are wanted.
        files, folders: what is wanted.

    Returns:
        The folders, links to folders, and (path, name, whether it is a plain file) of the others.
    """
    out = Entries()
    try:
        with os.scandir(folder.path) as listed:
            listing = list(listed)
    except OSError as error:
        row = Skipped(folder.prefix.rstrip("/") or folder.path, f"unreadable folder: {error.strerror}")
        if row not in found.skipped[-1:]:  # a pattern reads a folder for its files and for its folders
            found.skipped.append(row)
        return out
    if any(entry.name == MANIFEST for entry in listing):
        folder = folder.marked()
    for entry in listing:
        if not accept(entry.name):
            continue
        name = folder.prefix + entry.name
        try:
            if not _is_folder(entry):
                if files:
                    _take_file(entry, name, folder, found, out)
            elif folders:
                _take_folder(entry, folder, found, out)
        except OSError as error:
            found.skipped.append(Skipped(name, f"unreadable: {error.strerror}"))
    return out


def _is_folder(entry: os.DirEntry[str]) -> bool:
    return entry.is_dir(follow_symlinks=False) or (entry.is_symlink() and entry.is_dir())


def _take_folder(entry: os.DirEntry[str], folder: Folder, found: PassedOver, out: Entries) -> None:
    if _is_leftover_folder(entry.name):
        found.leftovers[entry.name] += 1
    elif entry.is_symlink():
        out.links.append(folder.below(entry))
    elif entry.name == STAGING and is_staging(entry.path):
        found.unfinished += 1
    else:
        out.folders.append(folder.below(entry))


def _take_file(entry: os.DirEntry[str], name: str, folder: Folder, found: PassedOver, out: Entries) -> None:
    if _is_leftover_file(entry):
        found.leftovers["._*" if entry.name.startswith("._") else entry.name] += 1
    elif folder.own and folder.is_own(name, entry.path):
        found.own += os.path.splitext(name)[1].lower() in EXTENSIONS
    else:
        out.files.append((entry.path, name, entry.is_file()))


def _is_leftover_file(entry: os.DirEntry[str]) -> bool:
    if entry.name.startswith("._"):
        return entry.is_file() and read_head(entry.path).startswith(APPLE_DOUBLE)
    return entry.name[:1] in "TtEe" and entry.name.lower() in LEFTOVER_FILES


def walk(root: str, found: PassedOver) -> Iterator[tuple[str, str]]:
    """Go through the images in a folder and those below it, in no order; links to folders are not followed.

    Args:
        root: the folder.
        found: what is passed over is noted there.

    Yields:
        Path, and name relative to `root` with `/`.
    """
    folders = [Folder(root)]
    while folders:
        folder = folders.pop()
        inside = entries(folder, found)
        folders += inside.folders
        found.skipped += [Skipped(link.prefix.rstrip("/"), "symlinked folder") for link in inside.links]
        for path, name, plain in inside.files:
            if not plain:
                if os.path.splitext(name)[1].lower() in EXTENSIONS:
                    found.skipped.append(Skipped(name, _no_file(path)))
            elif _is_wanted(path, name, found):
                yield path, name


def _is_wanted(path: str, name: str, found: PassedOver) -> bool:
    """Whether to take a file for an image, by its extension or its first bytes; formats that are not decoded are noted in `found`."""
    extension = os.path.splitext(path)[1].lower()
    if extension in EXTENSIONS:
        return True
    head = read_head(path)
    kind = foreign(head, path)
    if kind is None:
        found.videos += extension in VIDEO_EXTENSIONS
        return looks_like_image(head) or has_foreign_extension(path)  # empty, or a pointer: decoding says so
    if kind.decodable:
        return True
    found.skip_foreign(name, kind)
    return False


def _no_file(path: str) -> str:
    """Why something that is no plain file is skipped."""
    if os.path.islink(path) and not os.path.exists(path):
        return "link to nowhere"
    return "not a regular file"
