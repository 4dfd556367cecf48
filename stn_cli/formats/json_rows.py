"""JSON of any length, read row by row: only what stands between two rows of a list is in memory at a time.

A file is gone through once to see that it is JSON, and where its long lists begin; whoever wants their rows reads them from the file again.
"""

from __future__ import annotations

import codecs
import json
import re
import threading
import weakref
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from stn_cli.errors import InputError
from stn_cli.formats.json_file import LARGEST_FILE, cannot_read, read_json, too_little_memory
from stn_cli.reading import open_plain

LONG_LISTS = frozenset(["images", "annotations"])
"""Keys of a COCO file whose lists grow with the set."""
MOST_KEPT = 64
"""Keys of an object whose values are kept; one of more has a key for each image."""
CHUNK = 1 << 20
"""Bytes that are read at once."""
_SPACE = re.compile(r"[ \t\n\r]*")
_BOM = b"\xef\xbb\xbf"


@dataclass(slots=True, weakref_slot=True)
class _File:
    """An open file, closed when nobody needs it any more; every reader of it has a place of its own."""

    path: Path
    what: str
    file: BinaryIO
    lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def open(cls, path: Path, what: str, limit: int) -> _File:
        with ExitStack() as stack:
            file, _ = stack.enter_context(open_plain(path, limit, 0))
            opened = cls(path, what, file)
            weakref.finalize(opened, stack.pop_all().close)
        return opened

    def read(self, at: int, size: int) -> bytes:
        with self.lock:
            self.file.seek(at)
            return self.file.read(size)


class _Reader:
    """Goes through the text of a file from a byte on.

    Raises:
        ValueError: it is no JSON (in every method).
    """

    def __init__(self, file: _File, at: int = 0) -> None:
        self._file, self._next, self._at = file, at, 0
        self._start = at  # byte of the file at which the text begins
        self._text = ""
        self._ended = False
        self._coding = codecs.getincrementaldecoder("utf-8")("surrogatepass")
        self._value = json.JSONDecoder().raw_decode

    def _more(self) -> bool:
        """Read on, three times as much as there is at least: a long value is not tried often. False where there is nothing more."""
        if self._ended:
            return False
        data = self._file.read(self._next, max(CHUNK, 3 * (len(self._text) - self._at)))
        self._next += len(data)
        self._ended = not data
        gone, self._text = self._text[: self._at], self._text[self._at :]
        self._start += len(gone.encode("utf-8", "surrogatepass"))
        self._at = 0
        self._text += self._coding.decode(data, final=self._ended)
        return True

    @property
    def place(self) -> int:
        """The byte of the file that comes next."""
        return self._start + len(self._text[: self._at].encode("utf-8", "surrogatepass"))

    def peek(self) -> str:
        """The next character that is no space, which is not taken; none at the end."""
        if (found := self._text[self._at : self._at + 1]) and found not in " \t\n\r":
            return found
        while True:
            self._at = _SPACE.match(self._text, self._at).end()  # type: ignore[union-attr]
            if self._at < len(self._text) or not self._more():
                return self._text[self._at : self._at + 1]

    def take(self, wanted: str) -> str:
        """The next character that is no space.

        Raises:
            ValueError: it is none of `wanted`.
        """
        found = self.peek()
        if not found or found not in wanted:
            raise ValueError(f"one of {wanted} is missing")
        self._at += 1
        return found

    def value(self) -> Any:
        """The next value, whole."""
        self.peek()
        while True:
            try:
                value, end = self._value(self._text, self._at)
            except ValueError:
                if not self._more():
                    raise
                continue
            if end < len(self._text) or not self._more():  # a number may go on
                self._at = end
                return value

    def rows(self) -> Iterator[Any]:
        """The values of a list whose bracket was taken."""
        if self.peek() == "]":
            self.take("]")
            return
        while True:
            yield self.value()
            if self.take(",]") == "]":
                return

    def members(self) -> Iterator[str]:
        """The keys of an object whose brace was taken; whoever asks takes each value before the next key."""
        if self.peek() == "}":
            self.take("}")
            return
        while True:
            key = self.value() if self.peek() == '"' else None
            if key is None:
                raise ValueError("a key is missing")
            self.take(":")
            yield key
            if self.take(",}") == "}":
                return


@dataclass(frozen=True, slots=True)
class JsonRows(Collection[Any]):
    """A list in a file; each time that it is gone through its values are read again.

    Attributes:
        count: of its values.
        of_objects: all of them are objects.
    """

    _file: _File
    _place: int
    count: int
    of_objects: bool

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Any]:
        try:
            yield from _Reader(self._file, self._place).rows()
        except (ValueError, OSError) as error:
            raise _changed(self._file, error) from error

    def __contains__(self, value: object) -> bool:
        return any(value == other for other in self)


@dataclass(frozen=True, slots=True)
class JsonMembers(Mapping[str, Any]):
    """An object in a file: of the usual number of keys, with its long lists as `JsonRows`; of many, read again each time.

    Attributes:
        kept: the values by key; None where they are many.
        count: of its keys, those that stand twice counted twice.
        long: which of `LONG_LISTS` are among them.
    """

    _file: _File
    _place: int
    kept: dict[str, Any] | None
    count: int
    long: frozenset[str]

    def __contains__(self, key: object) -> bool:
        return key in self.long if self.kept is None and key in LONG_LISTS else Mapping.__contains__(self, key)

    def __len__(self) -> int:
        return self.count if self.kept is None else len(self.kept)

    def __iter__(self) -> Iterator[str]:
        return iter(self.kept) if self.kept is not None else (key for key, _ in self._pairs())

    def __getitem__(self, key: str) -> Any:
        if self.kept is not None:
            return self.kept[key]
        found = [value for name, value in self._pairs() if name == key]
        if not found:
            raise KeyError(key)
        return found[-1]

    def pairs(self) -> Iterator[tuple[str, Any]]:
        """Keys and values, in one go."""
        return iter(self.kept.items()) if self.kept is not None else self._pairs()

    def _pairs(self) -> Iterator[tuple[str, Any]]:
        try:
            reader = _Reader(self._file, self._place)
            for key in reader.members():
                yield key, reader.value()
        except (ValueError, OSError) as error:
            raise _changed(self._file, error) from error


def read_long_json(path: Path, what: str, limit: int = LARGEST_FILE) -> Any:
    """A JSON file whose lists of rows, or whose keys, may be many.

    Args:
        path: the file.
        what: what it is, for messages.
        limit: bytes.

    Returns:
        What `read_json` makes of it, but `JsonMembers` for an object and `JsonRows` for a list; and the lists of `LONG_LISTS` as `JsonRows`.

    Raises:
        InputError, ResourceError: as `read_json`.
    """
    try:
        file = _File.open(path, what, limit)
        if file.read(0, len(_BOM)) != _BOM:
            return _long(file, 0)
        return _long(file, len(_BOM))
    except OSError as error:
        raise cannot_read(what, path, error) from error
    except MemoryError as error:
        raise too_little_memory(what, path) from error
    except (ValueError, RecursionError):  # no JSON: it says where; or in UTF-16, or one value
        return read_json(path, what, limit)


def _long(file: _File, at: int) -> JsonRows | JsonMembers:
    reader = _Reader(file, at)
    found: JsonRows | JsonMembers = _rows(file, reader) if reader.take("[{") == "[" else _members(file, reader)
    if reader.peek():
        raise ValueError("something stands behind it")
    return found


def _rows(file: _File, reader: _Reader) -> JsonRows:
    place, count, objects = reader.place, 0, True
    for row in reader.rows():
        count += 1
        objects = objects and isinstance(row, dict)
    return JsonRows(file, place, count, objects)


def _members(file: _File, reader: _Reader) -> JsonMembers:
    place, count, kept, long = reader.place, 0, dict[str, Any](), set[str]()
    for key in reader.members():
        count += 1
        if key in LONG_LISTS:
            long.add(key)
        if key in LONG_LISTS and reader.peek() == "[":
            reader.take("[")
            value: Any = _rows(file, reader)
        else:
            value = reader.value()
        if count <= MOST_KEPT:
            kept[key] = value
        elif kept:
            kept.clear()
    return JsonMembers(file, place, kept if count <= MOST_KEPT else None, count, frozenset(long))


def _changed(file: _File, error: Exception) -> InputError:
    return InputError(f"{file.what} was changed while it was read", file.path, error)
