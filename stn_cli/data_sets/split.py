"""Training, validation and test parts of a set: decided by a hash for each group of images, so that added files move no other."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from itertools import accumulate

from stn_cli.bounds import shown
from stn_cli.errors import UsageError

SPLITS = ("train", "val", "test")


def parse_split(text: str) -> tuple[float, ...]:
    """`--split`: percents of training, validation and test.

    Args:
        text: one to three numbers with commas that add up to 100.

    Returns:
        Shares of 1.

    Raises:
        UsageError: they are not.
    """
    todo = "Give percents of training, validation and test, such as 80,10,10"
    try:
        shares = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UsageError("--split is no list of numbers", shown(text), None, todo) from None
    if len(shares) > len(SPLITS) or not all(share >= 0 for share in shares) or not abs(sum(shares) - 100) < 1e-6:
        raise UsageError("--split must be up to three numbers that add up to 100", shown(text), None, todo)
    return tuple(share / 100 for share in shares)


def split_of(key: str, shares: Sequence[float]) -> str:
    """The part that a group belongs to.

    Args:
        key: the name of the group's first image.
        shares: of the parts; they add up to 1.

    Returns:
        One of `SPLITS`, of those whose share is not 0.
    """
    drawn = int.from_bytes(hashlib.sha256(os.fsencode(key)).digest()[:7], "big") / 2**56  # [0, 1)
    used = [(name, upto) for name, upto, share in zip(SPLITS, accumulate(shares), shares, strict=False) if share > 0]
    return next((name for name, upto in used if drawn < upto), used[-1][0])


def splits_of(names: Sequence[str], first: Sequence[int], shares: Sequence[float]) -> list[str]:
    """The part of each image; those of one group have one.

    Args:
        names: of the images.
        first: a number for each image that those of one group share; a range where each is by itself.
        shares: of the parts.

    Returns:
        Names of parts. A group's is decided by the smallest name in it: frames that are added behind others change nothing.
    """
    if isinstance(first, range):  # each by itself: of a million images the names of groups would take 150 MB
        return [split_of(name, shares) for name in names]
    keys: dict[int, str] = {}
    for name, group in zip(names, first, strict=True):
        keys[group] = min(name, keys.get(group, name))
    return [split_of(keys[group], shares) for group in first]
