"""Numbers that steer a method, each with its meaning, the range that was tried, and where it was measured."""

from __future__ import annotations

from dataclasses import field
from typing import TypeVar

T = TypeVar("T")
NOT_MEASURED = "not measured"
"""Of a number that works and was never varied alone."""


def setting(value: T, meaning: str, *, tried: str = "", measured: str = NOT_MEASURED) -> T:
    """A field of a frozen dataclass of settings.

    Args:
        value: the number.
        meaning: what it is, with its unit.
        tried: the values that it was compared with.
        measured: words of `docs/experiments.md`, exactly as they stand there, by which the figures are found.

    Returns:
        What `dataclasses.field` gives; its type is that of the value.

    >>> from dataclasses import dataclass, fields
    >>> @dataclass(frozen=True)
    ... class Blur:
    ...     sigma: float = setting(0.7, "cells")
    >>> Blur().sigma, fields(Blur)[0].metadata["measured"]
    (0.7, 'not measured')
    """
    return field(default=value, metadata={"meaning": meaning, "tried": tried, "measured": measured})
