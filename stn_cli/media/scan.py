"""What is in a source: folders, files, patterns, lists, standard input, or several of them."""

from __future__ import annotations

import glob
import os
import re
import stat
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stn_cli.errors import InputError, counted
from stn_cli.files import unescape
from stn_cli.media.header import Unusable, read_bytes
from stn_cli.media.listing import PassedOver, read_head, walk
from stn_cli.media.patterns import matching
from stn_cli.media.signatures import (
    APPLE_DOUBLE,
    EXTENSIONS,
    VIDEO_EXTENSIONS,
    foreign,
    has_foreign_extension,
    looks_like_image,
)
from stn_cli.records import Skipped, reasons

__all__ = [
    "EXTENSIONS", "VIDEO_EXTENSIONS", "ImageFile", "Scan", "Source", "looks_like_image", "places_of", "require_images", "root_of", "scan",
]  # fmt: skip

LARGEST_LIST = 1 << 30
"""Bytes of a list of paths: ten million of them."""
RUN_LIST = b"# relative to "
"""What the list of a run begins with: `images.txt`, whose lines are percent-escaped."""
_UTF16 = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}
_COMMENT = re.compile(r"\s*#(\s|#|$)")
_URL = re.compile(r"(https?|ftp|s3|gs|file)://", re.IGNORECASE)

Path_ = str | os.PathLike[str]
Source = Path_ | Iterable[Path_]


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
    """What a scan found: images in a stable order, what it left out by name, and remarks on what it left out without names."""

    images: Sequence[ImageFile] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def scan(source: Source) -> Scan:
    """List the images of a source.

    Args:
        source: a folder (subfolders too), an image, a pattern, a `.txt` list of paths (relative ones are relative to the list; it may name
            folders), `-` for such a list on standard input; or several of these.

    Returns:
        Images by content, not by extension: a file without an image extension counts if its first bytes are an image's. Files
        with an image extension are all listed; whether they can be decoded shows later. What this tool wrote, and leftovers of other
        systems, are left out of folders and patterns, with a note; files that are named themselves are taken.

    Raises:
        InputError: the source does not exist, or is a video.
    """
    several = not isinstance(source, str | os.PathLike)
    given = [os.fspath(s) for s in source] if several else [os.fspath(source)]  # type: ignore[union-attr,arg-type]
    found = PassedOver()
    if len(given) == 1 and os.path.isdir(given[0]):
        images = [ImageFile(path, name) for path, name in _in_folder(given[0], found)]
    else:
        paths: list[str] = []
        for text in given:
            paths += _paths_of(text, several, found)
        images = _named(paths)
    return Scan(images, found.skipped, found.notes())


def _in_folder(root: str, found: PassedOver) -> list[tuple[str, str]]:
    return sorted(walk(root, found), key=lambda file: os.fsencode(file[1]))


def _paths_of(text: str, several: bool, found: PassedOver) -> list[str]:
    """The files of one source."""
    if text == "-":
        return _listed(_lines(sys.stdin.buffer.read(), "standard input"), "", found)
    if os.path.isdir(text):
        return [path for path, _ in _in_folder(text, found)]
    extension = os.path.splitext(text)[1].lower()
    if os.path.lexists(text):
        if extension == ".txt":
            return _from_list(text, found)
        if extension in VIDEO_EXTENSIONS:
            raise InputError("source is a video", text, None, "Follow it with stn-coloc track, or extract frames into a folder")
        return _usable([text], "", found)
    if glob.has_magic(text) and "\0" not in text:
        matched = sorted(matching(text, found))
        if not matched and not (found.skipped or found.notes()):
            raise InputError("no file matches", text)
        return _usable(matched, "", found)
    if several and extension in EXTENSIONS:  # it has gone since the shell listed it
        return _usable([text], "", found)
    raise InputError("no such file or folder", text, "a URL: download it first" if _URL.match(text) else None)


def _from_list(path: str, found: PassedOver) -> list[str]:
    try:
        data = read_bytes(path, LARGEST_LIST)
    except Unusable as reason:
        if str(reason) == "empty":
            return []
        raise InputError("cannot read list", path, reason) from None
    return _listed(_lines(data, path), os.path.dirname(path), found)


def _lines(data: bytes, where: str) -> list[str]:
    """The paths of a list: a line each, or ended by NUL bytes; in UTF-8 or UTF-16 with a byte order mark, or whatever bytes the names have.

    Raises:
        InputError: it is no text.
    """
    coding = _UTF16.get(data[:2])
    try:
        if coding is not None:
            data = data[2:].decode(coding).encode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        raise InputError("list is not text", where, f"UTF-16 that ends or is broken at byte {error.start}") from None
    data = data.removeprefix(b"\xef\xbb\xbf")
    if data.startswith(RUN_LIST):
        return [unescape(line) for line in data.splitlines()[1:] if line]
    if b"\0" not in data:
        return [os.fsdecode(line) for line in data.splitlines() if line.strip()]
    if where != "standard input":
        raise InputError("list is not text", where, "it holds NUL bytes", "Save it as UTF-8, a path per line")
    return [os.fsdecode(line) for line in data.split(b"\0") if line.strip()]


def _listed(lines: list[str], base: str, found: PassedOver) -> list[str]:
    """The files that the lines of a list name, without its comments: `# ` at the start of what names nothing."""
    comments = {line for line in lines if _COMMENT.match(line) and not os.path.lexists(_look(base, line)[0])}
    return _usable([line for line in lines if line not in comments] if comments else lines, base, found)


def _usable(lines: list[str], base: str, found: PassedOver) -> list[str]:
    """The files that lines name, and those in the folders that they name; why others are skipped is noted in `found`."""
    kept: list[str] = []
    for line in lines:
        path, mode = _look(base, line)
        if mode is None or not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            found.skipped.append(Skipped(path, _why_not(line, path, mode)))
        elif stat.S_ISDIR(mode):
            kept += [inside for inside, _ in _in_folder(path, found)]
        elif _is_image(path, found):
            kept.append(path)
    return kept


def _look(base: str, line: str) -> tuple[str, int | None]:
    """A line's path and what is there; a line is tried as it is, then without spaces around it and without quotes."""
    first = os.path.join(base, line)
    for text in (line, line.strip(), line.strip().strip("\"'").strip()):
        path = os.path.join(base, text)
        try:
            return os.path.normpath(path), os.stat(path).st_mode
        except (OSError, ValueError):
            if os.path.lexists(path):
                return os.path.normpath(path), None
    return os.path.normpath(first), None


def _why_not(line: str, path: str, mode: int | None) -> str:
    if mode is not None:
        return "not a regular file"
    if _URL.match(line.strip().strip("\"'")):
        return "URL: download it first"
    try:
        os.stat(path)
    except FileNotFoundError as error:
        return "link to nowhere" if os.path.islink(path) else error.strerror or "not there"
    except OSError as error:
        return error.strerror or "unreadable"
    return "unreadable"


def _is_image(path: str, found: PassedOver) -> bool:
    """Whether a file that was named itself is to be tried: all are but those that are known not to be images."""
    extension = os.path.splitext(path)[1].lower()
    if extension in VIDEO_EXTENSIONS:
        found.skipped.append(Skipped(path, "video: follow it with stn-coloc track"))
        return False
    if os.path.basename(path).startswith("._") and read_head(path).startswith(APPLE_DOUBLE):
        found.leftovers["._*"] += 1
        return False
    if has_foreign_extension(path):
        kind = foreign(read_head(path), path)
        if kind is not None and not kind.decodable:
            found.skip_foreign(path, kind)
            return False
    return True


def _named(paths: list[str]) -> list[ImageFile]:
    """Files by names relative to the folder that all are in; a file that comes twice is taken once."""
    full = {os.path.normcase(os.path.abspath(path)): path for path in reversed(paths)}
    unique = [full.pop(key) for path in paths if (key := os.path.normcase(os.path.abspath(path))) in full]
    try:
        root = os.path.commonpath([os.path.dirname(os.path.abspath(path)) for path in unique]) if unique else ""
    except ValueError:  # on several drives
        root = ""
    names = [os.path.relpath(os.path.abspath(path), root) if root else os.path.abspath(path) for path in unique]
    return [ImageFile(path, name.replace(os.sep, "/")) for path, name in zip(unique, names, strict=True)]


def root_of(images: Sequence[ImageFile]) -> str | None:
    """The folder that the names of a scan's images are relative to.

    Args:
        images: of the scan.

    Returns:
        Its absolute path; None where there is no such folder, as of images on several drives.
    """
    if not images:
        return None
    full, name = os.path.abspath(images[0].path), os.path.normpath(images[0].name)
    return full.removesuffix(name).rstrip(os.sep) or os.sep if full.endswith(os.sep + name) else None


def require_images(found: Scan, source: object, least: int = 1) -> None:
    """See that a scan has at least `least` images.

    Args:
        found: the scan.
        source: what was scanned, for the message.
        least: how many images there must be.

    Raises:
        InputError: it has not; the message counts what was found and says why the rest was left out.
    """
    if len(found.images) < least:
        counts = (
            f"{counted(len(found.images), 'image')}, {reasons(found.skipped)}"
            if found.skipped
            else f"{counted(len(found.images), 'image')}, 0 skipped"
        )
        subject = source if isinstance(source, str | Path) else "source"
        what = f"at least {least} images are needed" if least > 1 else "no image found"
        raise InputError(what, subject, "; ".join([counts, *found.notes]))


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
