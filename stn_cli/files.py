"""Writing files: a reader never sees half of one, and names never lead out of their folder.

Every file is written to a temporary file beside its target, flushed, synced and renamed over it. A run
that is killed, or a disk that fills up, leaves the last good file.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote_from_bytes, unquote_to_bytes

from stn_cli.errors import OutputError, printable

TEMPORARY = ".tmp-stn-"
_PLAIN = bytes(range(32, 127)).replace(b"%", b"").decode()
_LIKE_AN_ESCAPE = re.compile(r"%(?=(?:25)*[89A-F][0-9A-F])|\\(?=[nrt]|x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8})")
_ESCAPED = re.compile(r"%25(?=(?:25)*[89A-F][0-9A-F])|%[89A-F][0-9A-F]|\\(?:[nrt]|x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8})")
_LONE = re.compile("[\ud800-\udc7f\udd00-\udfff]")
"""Halves of characters, which names on Windows can have; the others are bytes that are not UTF-8."""
_PICTURE = re.compile(r"(.*)\.(?:png|jpg)", re.DOTALL)
_NUMBERED = re.compile(r"(.*)\.(?:[2-9]|[1-9][0-9]+)", re.DOTALL)
_HASHED = re.compile(r"~[0-9a-f]{12}(?:\.[0-9]+)?(?:\.(?:png|jpg))?(?=/|\Z)")
_BINARY = getattr(os, "O_BINARY", 0)


@contextmanager
def atomic(path: Path, mode: str = "wb", *, sync: bool = True) -> Iterator[IO[Any]]:
    """Open a temporary file beside `path` that replaces it when the block ends without an error.

    Args:
        path: the target.
        mode: `wb`, or `w` for UTF-8 text.
        sync: wait until the disk has it. Of thousands of pictures each such wait costs ten times the writing: theirs is one for the whole
            folder, see `stn_cli.outputs.results`.

    Yields:
        The open file.

    Raises:
        OutputError: the file cannot be written (no permission, disk full, a folder in the way).
    """
    text = {} if "b" in mode else {"encoding": "utf-8", "newline": ""}
    temporary: Path | None = None
    try:
        # made with all rights less the umask, as any other file: nobody has to ask for the umask, which can only be asked by setting it
        name = path.parent / (TEMPORARY + secrets.token_hex(8))
        handle = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | _BINARY, 0o666)
        temporary = name
        with os.fdopen(handle, mode, **text) as file:  # type: ignore[call-overload]
            yield file
            file.flush()
            if sync:
                os.fsync(file.fileno())
        os.replace(temporary, path)
        temporary = None
    except OSError as error:
        raise OutputError("cannot write", path, error.strerror or error, "Free some space or choose another --out") from error
    finally:
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink()


def write_bytes(path: Path, data: bytes, *, sync: bool = True) -> None:
    """Write `data` to `path` atomically.

    Args:
        path: the file.
        data: its whole content.
        sync: wait until the disk has it.
    """
    with atomic(path, sync=sync) as file:
        file.write(data)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` atomically, as UTF-8.

    Args:
        path: the file.
        text: its whole content.
    """
    write_bytes(path, text.encode("utf-8"))


def escape(path: str) -> bytes:
    """A path as one line of plain ASCII: what is not printable, and `%`, percent-escaped.

    Args:
        path: any name.

    Returns:
        One line without its end.
    """
    return quote_from_bytes(os.fsencode(path), safe=_PLAIN).encode("ascii")


def unescape(line: bytes) -> str:
    """What `escape` was given.

    Args:
        line: from `escape`.

    Returns:
        The name.
    """
    return os.fsdecode(unquote_to_bytes(line))


def name_in_results(name: str) -> str:
    r"""An image's name as results have it: printable, and never that of another image.

    What is not printable is escaped as `printable` does it. What reads as such an escape but stands in the name itself gets `%25` for its
    `%` and `\x5c` for its backslash; all other names stay as they are.

    Args:
        name: of an image, relative to its source.

    Returns:
        The name for boxes.json and every other result.
    """
    name = _LIKE_AN_ESCAPE.sub(lambda found: "%25" if found[0] == "%" else "\\x5c", name)
    return printable(_LONE.sub(lambda half: f"\\u{ord(half[0]):04x}", name))


def name_from_results(name: str) -> str:
    """The name that `name_in_results` was given.

    Args:
        name: from `name_in_results`.

    Returns:
        The image's own name.
    """
    return _ESCAPED.sub(lambda found: _meant(found[0]), name)


def _meant(escape: str) -> str:
    if escape[0] == "%":
        return "%" if escape == "%25" else chr(0xDC00 + int(escape[1:], 16))
    if escape[1] in "nrt":
        return {"n": "\n", "r": "\r", "t": "\t"}[escape[1]]
    code = int(escape[2:], 16)
    return chr(code) if code < 0x110000 else escape


def is_inside(name: str) -> bool:
    r"""Whether a relative name stays below the folder that it is joined to, on any system: no `..`, no root, no drive, no NUL.

    Args:
        name: relative, with `/` or a backslash.

    Returns:
        True where it can be joined to a folder without leaving it.
    """
    parts = re.split(r"[/\\]", name)
    return bool(name) and "\0" not in name and ".." not in parts and parts[0] != "" and not re.match(r"[A-Za-z]:", name)


def safe_name(relative: str, suffix: str, limit: int = 255) -> str:
    r"""A relative output name for a relative input name: extension kept, `suffix` added, every part at most `limit` bytes.

    `a/x.jpg` and `a/x.png` stay apart because the extension is kept; a part that would grow too long is
    cut and ended with a hash of the whole name. A name that would lead out of the output folder on any system (absolute, `..`, `..\`,
    `C:\`) loses what leads out and is told from others by a hash, too.

    Args:
        relative: name of the input.
        suffix: of the output, with its dot.
        limit: bytes of each part of a path.

    Returns:
        A relative name with `/`.
    """
    parts = _inward(relative)
    if not is_inside(relative):
        suffix = f"~{_digest(os.fsencode(relative))}{suffix}"
    parts[-1] += suffix
    for i, part in enumerate(parts):
        raw = os.fsencode(part)
        if len(raw) > limit:
            end = suffix if i == len(parts) - 1 else ""
            digest = f"~{_digest(raw)}{end}"
            head = raw[: limit - len(digest)].decode("utf-8", "ignore")
            parts[i] = head + digest
    return "/".join(parts)


class PictureNames:
    """Names of the pictures that are made of a set of images, several of each: none is another's, and none is a folder of another.

    A picture's name is its image's with an extension, `a.jpg.png`, the second object's `a.jpg.2.png`. Where that could be, in the set, the
    name of another image's picture or of a folder, also on a system that takes capitals for small letters, the image's pictures get a hash
    of its name: `a.jpg~0123456789ab.png`. It depends on nothing but the names of the set.

    Args:
        names: relative ones of all images of the set.
    """

    def __init__(self, names: Iterable[str]) -> None:
        keys = {name: _folded("/".join(_inward(name))) for name in names}
        images = Counter(keys.values())
        folders: set[str] = set()
        for folder in {key.rpartition("/")[0] for key in images}:
            while folder and folder not in folders:
                folders.add(folder)
                folder = folder.rpartition("/")[0]
        pictures = {found[1] for folder in folders if (found := _PICTURE.fullmatch(folder))}
        pictures |= {found[1] for stem in pictures if (found := _NUMBERED.fullmatch(stem))}

        def clashes(name: str, key: str) -> bool:
            numbered = _NUMBERED.fullmatch(key)
            return (
                images[key] > 1
                or key in pictures
                or (numbered is not None and numbered[1] in images)
                or _HASHED.search(key) is not None
                or not is_inside(name)
            )

        self._hashed = frozenset(name for name, key in keys.items() if clashes(name, key))

    def of(self, name: str, extension: str, number: int = 1) -> str:
        """The name of the picture of an image's object, by the object's number from 1.

        Args:
            name: of the image, one of the set.
            extension: `.png` or `.jpg`.
            number: of the object.
        """
        suffix = extension if number == 1 else f".{number}{extension}"
        if name not in self._hashed:
            return safe_name(name, suffix)
        *folders, last = _inward(name)
        # a folder that is called as such a picture is called otherwise
        folders = [
            f"{folder}~" if _PICTURE.fullmatch(folded := _folded(folder)) and _HASHED.search(folded) else folder
            for folder in folders
        ]
        return safe_name("/".join((*folders, last)), f"~{_digest(os.fsencode(name))}{suffix}")


def _inward(relative: str) -> list[str]:
    """The parts of a name, without what leads out of the folder that it is joined to."""
    if is_inside(relative):
        return relative.split("/")
    plain = [re.sub(r"[:\0]", "_", part) for part in re.split(r"[/\\]", relative) if part not in ("", ".", "..")]
    return plain or ["unnamed"]


def _folded(name: str) -> str:
    """A name as systems compare it that tell neither capitals from small letters nor one spelling of an accent from another."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _digest(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()[:12]
