"""Reading files that others wrote: bounded, never a pipe, numbers finite, and one error for all that is wrong with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from stn_cli.bounds import shown
from stn_cli.errors import InputError, ResourceError
from stn_cli.reading import read_plain
from stn_cli.records import PixelBox

LARGEST_FILE = 2 << 30
"""Bytes; the annotations of a million images take a third of it."""
LARGEST_NUMBER = 1e9
"""Pixels, frames and ids: no picture is that wide, and areas stay far from overflow."""


def read_file(path: Path, what: str, limit: int = LARGEST_FILE) -> bytes:
    """The bytes of a file, whose size is looked at first.

    Args:
        path: the file.
        what: what it is, for the messages: `truth`, `the tracks file`.
        limit: bytes.

    Returns:
        Its bytes.

    Raises:
        InputError: it cannot be read, is a folder, pipe or device (which may never end), or is too large.
        ResourceError: memory does not hold it.
    """
    try:
        return read_plain(path, limit)
    except OSError as error:
        raise cannot_read(what, path, error) from error
    except MemoryError as error:
        raise too_little_memory(what, path) from error


def read_json(path: Path, what: str, limit: int = LARGEST_FILE, *, once: bool = False) -> Any:
    """A JSON file, with a byte order mark or without, in UTF-8, 16 or 32.

    Args:
        path: the file.
        what: what it is, for the messages.
        limit: bytes.
        once: a key may not stand twice in one object: `json` keeps the last one, and what the first one said would be lost.

    Returns:
        What `json` makes of it.

    Raises:
        InputError: as `read_file`; not JSON; nested more deeply than can be read.
        ResourceError: memory does not hold it.
    """
    data = read_file(path, what, limit)
    try:
        return json.loads(data, object_pairs_hook=_each_once) if once else json.loads(data)
    except RecursionError as error:
        raise InputError(f"{what} is not JSON that can be read", path, "nested too deeply") from error
    except ValueError as error:
        raise InputError(f"{what} is not JSON", path, error) from error
    except MemoryError as error:
        raise too_little_memory(what, path) from error


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"'{next(shown(key) for key in keys if keys.count(key) > 1)}' stands in it twice")
    return found


def cannot_read(what: str, path: Path, error: OSError) -> InputError:
    """The error of a file that cannot be read.

    Args:
        what: it is.
        path: of it.
        error: of the system.

    Returns:
        The error to raise.
    """
    todo = "Name a file in it" if isinstance(error, IsADirectoryError) else ""
    return InputError(f"cannot read {what}", path, error.strerror or error, todo)


def too_little_memory(what: str, path: Path) -> ResourceError:
    """The error of a file that memory does not hold.

    Args:
        what: it is.
        path: of it.

    Returns:
        The error to raise.
    """
    return ResourceError(f"memory does not hold {what}", path, todo="Use a smaller file, or a machine with more memory")


def number(value: object) -> float:
    """A JSON number that is finite and not beyond reason.

    Args:
        value: from JSON.

    Returns:
        The same as a float.

    Raises:
        ValueError: text, true, NaN, infinite, or larger than `LARGEST_NUMBER`.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= LARGEST_NUMBER:
        raise ValueError(
            f"not a number that can be used: {shown(value) if isinstance(value, int | float | str) else type(value)}"
        )
    return float(value)


def whole(value: object) -> int:
    """A JSON number without a fraction.

    Args:
        value: from JSON.

    Returns:
        The same as an int.

    Raises:
        ValueError: as `number`, or there is a fraction.
    """
    if not (found := number(value)).is_integer():
        raise ValueError(f"not a whole number: {found}")
    return int(found)


def as_id(value: object) -> int | str:
    """What COCO calls an id: a number or a text.

    Args:
        value: from JSON.

    Returns:
        The id.

    Raises:
        ValueError: something else.
    """
    return value if isinstance(value, str) else whole(value)


def corner_box(values: object) -> PixelBox:
    """A box from [x1, y1, x2, y2].

    Args:
        values: from JSON.

    Returns:
        (x1, y1, x2, y2), pixels.

    Raises:
        ValueError: not four usable numbers, or the corners in the wrong order.
    """
    x1, y1, x2, y2 = _four(values, "[x1, y1, x2, y2]")
    if x2 < x1 or y2 < y1:
        raise ValueError(f"corners in the wrong order: {[x1, y1, x2, y2]}")
    return x1, y1, x2, y2


def side_box(values: object) -> PixelBox:
    """A box (x1, y1, x2, y2) from [x, y, width, height].

    Args:
        values: from JSON.

    Returns:
        (x1, y1, x2, y2), pixels.

    Raises:
        ValueError: not four usable numbers, or a negative side.
    """
    x, y, w, h = _four(values, "[x, y, width, height]")
    if w < 0 or h < 0:
        raise ValueError(f"a negative side: {[x, y, w, h]}")
    return x, y, x + w, y + h


def _four(values: object, form: str) -> PixelBox:
    if not isinstance(values, list | tuple) or len(values) != 4:
        raise ValueError(f"a box is no {form}")
    a, b, c, d = (number(v) for v in values)
    return a, b, c, d
