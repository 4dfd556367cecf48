"""What is in a source: folders, files, globs, lists, standard input."""

from __future__ import annotations

import glob
import os
import stat
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stn_cli.errors import InputError
from stn_cli.records import Skipped
from stn_cli.results import MANIFEST, is_staging, written_by_tool

EXTENSIONS = frozenset(
    [
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".png",
        ".bmp",
        ".dib",
        ".gif",
        ".webp",
        ".tif",
        ".tiff",
        ".pbm",
        ".pgm",
        ".ppm",
        ".pnm",
        ".jp2",
        ".avif",
    ]
)
VIDEO_EXTENSIONS = frozenset([".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv"])


@dataclass(frozen=True, slots=True)
class ImageFile:
    """A file that is taken for an image.

    Attributes:
        path: where it is.
        name: relative to the source, with `/`; unique within a scan. Bytes that are not UTF-8 stay as
            surrogates here and are percent-escaped where the name is written.
    """

    path: str
    name: str


@dataclass(slots=True)
class Scan:
    """What a scan found: images in a stable order, and what it left out by name."""

    images: list[ImageFile] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)


def looks_like_image(head: bytes) -> bool:
    """Whether the first bytes (32 are enough) are those of an image format that can be decoded."""
    return (
        head.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*", b"\0\0\0\x0cjP  "))
        or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")
        or (head[:2] == b"BM" and head[6:10] == b"\0\0\0\0")
        or (head[:1] == b"P" and head[1:2] in b"123456" and head[2:3] in b" \t\r\n#" and len(head) > 2)
        or head[4:12] in (b"ftypavif", b"ftypavis")
    )


def scan(source: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> Scan:
    """List the images of a source.

    Args:
        source: a folder (subfolders too), an image, a glob pattern, a `.txt` list of paths (relative ones are relative to the
            list), `-` for paths on standard input, or an iterable of paths.

    Returns:
        Images by content, not by extension: a file without an image extension counts if its first bytes are an image's. Files
        with an image extension are all listed; whether they can be decoded shows later.

    Raises:
        InputError: the source does not exist, or is a video.
    """
    if not isinstance(source, str | os.PathLike):
        return _from_paths([os.fspath(p) for p in source])
    text = os.fspath(source)
    if text == "-":
        data = sys.stdin.buffer.read()
        separator = b"\0" if b"\0" in data else b"\n"
        return _from_paths([os.fsdecode(line.rstrip(b"\r")) for line in data.split(separator) if line.strip()])
    if os.path.isdir(text):
        return _from_folder(text)
    if os.path.lexists(text):
        extension = os.path.splitext(text)[1].lower()
        if extension == ".txt":
            return _from_list(text)
        if extension in VIDEO_EXTENSIONS:
            raise InputError("source is a video", text, None, "Follow it with stn-coloc track, or extract frames into a folder")
        return _from_paths([text])
    if glob.has_magic(text):
        found = sorted(glob.glob(text, recursive=True))
        if not found:
            raise InputError("no file matches", text)
        return _from_paths([p for p in found if not os.path.isdir(p)])
    raise InputError("no such file or folder", text)


def _from_folder(root: str) -> Scan:
    result = Scan()
    for path, name in _walk(root, "", result.skipped):
        result.images.append(ImageFile(path, name))
    result.images.sort(key=lambda f: os.fsencode(f.name))
    return result


def _walk(folder: str, prefix: str, skipped: list[Skipped]) -> Iterator[tuple[str, str]]:
    folders = [(folder, prefix)]
    ours: set[str] = set()
    while folders:
        folder, prefix = folders.pop()
        if is_staging(folder):
            continue
        try:
            with os.scandir(folder) as entries:
                listing = list(entries)
        except OSError as error:
            skipped.append(Skipped(prefix.rstrip("/") or folder, f"unreadable folder: {error.strerror}"))
            continue
        if any(entry.name == MANIFEST for entry in listing):
            ours |= {prefix + name for name in written_by_tool(folder)}
        for entry in listing:
            name = prefix + entry.name
            try:
                if entry.is_dir(follow_symlinks=False):
                    folders.append((entry.path, name + "/"))
                elif entry.is_symlink() and entry.is_dir():
                    skipped.append(Skipped(name, "symlinked folder"))
                elif entry.is_file():
                    if name not in ours and _wanted(entry.path):
                        yield entry.path, name
                elif os.path.splitext(entry.name)[1].lower() in EXTENSIONS:
                    skipped.append(Skipped(name, "not a regular file"))
            except OSError as error:
                skipped.append(Skipped(name, f"unreadable: {error.strerror}"))


def _wanted(path: str) -> bool:
    """Files with an image extension always; others if their first bytes are an image's."""
    if os.path.splitext(path)[1].lower() in EXTENSIONS:
        return True
    try:
        with open(path, "rb") as file:
            return looks_like_image(file.read(32))
    except OSError:
        return False


def _from_list(path: str) -> Scan:
    try:
        with open(path, "rb") as file:
            lines = file.read().splitlines()
    except OSError as error:
        raise InputError("cannot read list", path, error.strerror) from error
    base = os.path.dirname(path)
    return _from_paths([os.path.join(base, os.fsdecode(line)) for line in lines if line.strip()])


def _from_paths(paths: list[str]) -> Scan:
    result = Scan()
    kept: list[str] = []
    for path in dict.fromkeys(os.path.normpath(p) for p in paths):
        try:
            mode = os.stat(path).st_mode
        except OSError as error:
            result.skipped.append(Skipped(path, error.strerror or "unreadable"))
            continue
        if stat.S_ISDIR(mode):
            result.skipped.append(Skipped(path, "is a folder"))
        elif not stat.S_ISREG(mode):
            result.skipped.append(Skipped(path, "not a regular file"))
        else:
            kept.append(path)
    root = os.path.commonpath([os.path.dirname(os.path.abspath(p)) for p in kept]) if kept else ""
    for path in kept:
        name = os.path.relpath(os.path.abspath(path), root).replace(os.sep, "/")
        result.images.append(ImageFile(path, name))
    return result


def require_images(found: Scan, source: object, least: int = 1) -> None:
    """See that a scan has at least `least` images.

    Raises:
        InputError: it has not; the message counts what was found and what was skipped.
    """
    if len(found.images) < least:
        counts = f"{len(found.images)} images, {len(found.skipped)} skipped"
        subject = source if isinstance(source, str | Path) else "source"
        raise InputError(f"at least {least} images are needed" if least > 1 else "no image found", subject, counts)


def places_of(source: object, found: Scan) -> tuple[list[str], list[str]]:
    """Where a scan's files lie, so that results can be kept apart from them.

    Args:
        source: that was scanned.
        found: in it.

    Returns:
        The folders among the sources; and the real folders of images that were named one by one or are reached through links.
    """
    given: list[Any] = (
        [source] if isinstance(source, str | os.PathLike) else list(source) if isinstance(source, Iterable) else []
    )
    folders = [os.fspath(g) for g in given if os.path.isdir(g)]
    single = len(folders) < len(given) or not given
    parents: set[str] = set()
    for image in found.images:
        if os.path.islink(image.path):
            parents.add(os.path.dirname(os.path.realpath(image.path)))
        if single:
            parents.add(os.path.dirname(image.path) or ".")
    return folders, sorted(parents)
