"""Which predicted image is which image of the truth, by their names."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from stn_cli.files import name_in_results
from stn_cli.formats.truth import URL
from stn_cli.media.scan import EXTENSIONS

DEEPEST = 12
"""Folders above a file that are compared."""

_GUARDED = re.compile(r"%25(?=(?:25)*[89A-F][0-9A-F])|\\x5c")
"""What `name_in_results` puts before what only looks like an escape."""

Parts = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pairs:
    """Names that belong together.

    Attributes:
        predicted: the predicted name by the true one.
        by_end: true names that were matched by their ends only.
    """

    predicted: dict[str, str]
    by_end: list[str]


def pair_names(predicted: Collection[str], truth: Collection[str]) -> Pairs:
    r"""Pair names, first those that are equal, then those that are equal below the folder that each side has in common, then by
    their ends.

    An end is a file name with as many folders as both have, down to the file name alone. It counts only where no other name of
    either side has it. Backslashes and URLs are read as paths; as a last resort upper and lower case are one, and a name without an
    extension is that of a file with one.

    Args:
        predicted: names as `localise` writes them.
        truth: names of the truth.

    Returns:
        The pairs.
    """
    written = set(predicted)
    found = _by_whole_names(written, truth)
    if len(found) == len(truth):
        return Pairs(found, [])  # as of most large sets: the parts of a million names take more than their boxes
    by_end = _below_the_common_folder(found, predicted, truth)
    deepest = min(DEEPEST, *(max((len(name_parts(name)) for name in names), default=0) for names in (predicted, truth)))
    for same in (_as_it_is, _folded, _without_extension):
        for depth in range(deepest, 0, -1):
            if len(found) == len(truth):
                return Pairs(found, by_end)
            ends = (_unique(_ends(names, same, depth)) for names in (predicted, truth))
            by_end += _join(found, *ends, loose=same is _without_extension)
    return Pairs(found, by_end)


def _ends(names: Collection[str], same: Callable[[Parts], Parts], depth: int) -> Iterator[tuple[str, str]]:
    """Those that have so many parts, by their last ones as they are compared."""
    for name in names:
        parts = name_parts(name)
        if len(parts) >= depth:
            yield "/".join(same(parts[-depth:])), name


def _by_whole_names(written: set[str], truth: Collection[str]) -> dict[str, str]:
    """Pairs of equal names. Names of truth may be those of files or those of results: all are read the way that fits more of them, then what
    is left the other way. No prediction is taken twice.
    """
    plain = {name: name for name in truth if name in written}
    escaped = {name: other for name in truth if (other := name_in_results(name)) in written}
    first, second = (plain, escaped) if len(plain) > len(escaped) else (escaped, plain)
    taken = set(first.values())
    found = dict(first)
    for name, other in second.items():
        if name not in found and other not in taken:
            found[name] = other
            taken.add(other)
    return found


def name_parts(name: str) -> Parts:
    r"""The folders and the file of a name: `a\b.jpg`, `./a/b.jpg` and `https://host/a/b.jpg?x` are (a, b.jpg).

    Args:
        name: of an image, in any spelling.

    Returns:
        Its folders and, last, the file.
    """
    if URL.match(name):
        try:
            name = unquote(urlsplit(name).path)
        except ValueError:  # a host in brackets that is none
            name = name.split("://", 1)[1]
    name = _GUARDED.sub(lambda guard: "%" if guard[0] == "%25" else "\\", name)
    return tuple(part for part in name.replace("\\", "/").split("/") if part not in ("", "."))


def _below_the_common_folder(found: dict[str, str], ours: Collection[str], theirs: Collection[str]) -> list[str]:
    """Add pairs that are equal without the folders that all names of a side have; those whose folders differ are returned."""
    a, b = _common(ours), _common(theirs)
    new = _join(
        found, *(_unique(("/".join(name_parts(name)[n:]), name) for name in names) for names, n in ((ours, a), (theirs, b)))
    )
    return new if a and b else []


def _common(names: Collection[str]) -> int:
    """How many leading folders that all names share; 0 for fewer than two names, which say nothing of it."""
    if len(names) < 2:
        return 0
    first, last = min(map(name_parts, names)), max(map(name_parts, names))  # in between all begin as these two do
    shared = 0
    while shared < min(len(first), len(last)) - 1 and first[shared] == last[shared]:
        shared += 1
    return shared


def _join(found: dict[str, str], ours: dict[str, str], theirs: dict[str, str], *, loose: bool = False) -> list[str]:
    """Add the pairs of the same key that are both free; returns the true names."""
    taken = set(found.values())
    new = []
    for key, name in theirs.items():
        other = ours.get(key)
        if other is None or name in found or other in taken:
            continue
        if loose and _has_extension(name) and _has_extension(other):
            continue  # x.png is not x.jpg
        found[name] = other
        new.append(name)
    return new


def _unique(keyed: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Names by key, without the keys that several names have."""
    by_key: dict[str, str] = {}
    twice = set()
    for key, name in keyed:
        if by_key.setdefault(key, name) != name:
            twice.add(key)
    for key in twice:
        del by_key[key]
    return by_key


def _as_it_is(parts: Parts) -> Parts:
    return parts


def _folded(parts: Parts) -> Parts:
    return tuple(unicodedata.normalize("NFC", part).casefold() for part in parts)


def _without_extension(parts: Parts) -> Parts:
    folded = _folded(parts)
    return (*folded[:-1], PurePosixPath(folded[-1]).stem if _has_extension(folded[-1]) else folded[-1]) if folded else folded


def _has_extension(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in EXTENSIONS
