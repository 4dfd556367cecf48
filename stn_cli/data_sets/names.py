"""What pictures are called in a data set: plain names without folders, told apart by what stands before their extensions."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

import numpy as np

from stn_cli.files import name_in_results

LONGEST = 200
"""Bytes of a name, so that a label's or crop's extension and number still fit behind it."""
_FORBIDDEN = re.compile(r'[/\\:*?<>|"%]')
"""What separates folders, or what some system or trainer does not take in a name."""
_HASHED = re.compile(r"~[0-9a-f]{12}\Z")


def stems(names: Sequence[str]) -> list[str]:
    r"""A plain name without an extension for each image; labels are found by it, so that no two images may have the same.

    Folders are joined by `_`: `a/b.jpg` is `a_b`. Where that is, but for capitals and the spelling of accents, also the name of another
    image, as of `x.jpg` and `x.png`, both are ended with `~` and a hash of their whole names.

    Args:
        names: of the images, relative with `/`, none twice.

    Returns:
        As many names.
    """
    plain = [_plain(name) for name in names]
    shared = _shared(plain)
    return [
        _hashed(stem, name) if _folded(stem) in shared or _HASHED.search(stem) or len(os.fsencode(stem)) > LONGEST else stem
        for stem, name in zip(plain, names, strict=True)
    ]


def _shared(plain: Sequence[str]) -> set[str]:
    """Folded names that several have; found by hashes, for of a million images the names themselves take 200 MB once more."""
    hashes = np.fromiter((hash(_folded(stem)) for stem in plain), np.int64, len(plain))
    values, counts = np.unique(hashes, return_counts=True)
    several = set(values[counts > 1].tolist())
    there = Counter(folded for stem in plain if hash(folded := _folded(stem)) in several) if several else Counter[str]()
    return {folded for folded, count in there.items() if count > 1}


def plain_label(label: str) -> str:
    """The name of a kind as that of a folder or file.

    Args:
        label: the kind's name.

    Returns:
        The same without what separates folders; a leading dot, which hides a folder, becomes `_`, too.
    """
    return re.sub(r"\A[.~]|[. ]\Z", "_", _FORBIDDEN.sub("_", label))


def _plain(name: str) -> str:
    stem = os.path.splitext(_FORBIDDEN.sub("_", name_in_results(name)))[0]
    return re.sub(r"\A[.~ -]|[. ]\Z", "_", stem) or "_"


def _hashed(stem: str, name: str) -> str:
    raw = os.fsencode(stem)[: LONGEST - 13].decode("utf-8", "ignore")
    return f"{raw}~{hashlib.sha256(os.fsencode(name)).hexdigest()[:12]}"


def _folded(stem: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", stem).casefold())
