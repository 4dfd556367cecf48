"""Bounds of settings that several commands share; the error names the flag as it is typed."""

from __future__ import annotations

from numbers import Integral, Real
from typing import cast

from stn_cli.errors import UsageError

MOST_SEED = 2**31 - 1
"""Largest `--seed`, but for `track`."""
BOUNDS: dict[str, tuple[float, float]] = {
    "batch": (1, 65_536),
    "crop_size": (1, 4096),
    "max_pixels": (100, 10**12),
    "min_score": (0, 1),
    "seed": (0, MOST_SEED),
    "threads": (1, 1024),
    "workers": (0, 1024),
}
"""Least and most value; 0 workers are one per core."""
WHOLE = frozenset(BOUNDS) - {"min_score"}
LONGEST = 60
"""Characters of a value that a message shows."""


def check_shared(**values: object) -> None:
    """See that settings of `BOUNDS` lie within theirs; None stands for a default.

    Raises:
        UsageError: one does not.
    """
    for name, value in values.items():
        if value is not None:
            check_within(flag(name), value, *BOUNDS[name], whole=name in WHOLE)


def check_within(name: str, value: object, least: float, most: float, *, whole: bool = False) -> None:
    """See that a value is a number from `least` to `most`.

    Args:
        name: for the message, as it is typed.
        value: of the setting.
        least: smallest value that is right.
        most: largest one.
        whole: whether it must be an integer.

    Raises:
        UsageError: no number (nor is a truth value one), not finite, or outside of the bounds.
    """
    number = type(value) is not bool and isinstance(value, Integral if whole else Real)
    if not number or not least <= cast(float, value) <= most:
        raise UsageError(f"{name} must be {bound(least)} to {bound(most)}", shown(value))


def check_text(name: str, value: object) -> None:
    """See that a value is text that a file can hold.

    Args:
        name: for the message, as it is typed.
        value: of the setting.

    Raises:
        UsageError: no text, or bytes of the command line that are not UTF-8.
    """
    if not isinstance(value, str):
        raise UsageError(f"{name} must be text", shown(value))
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise UsageError(f"{name} must be UTF-8", value, None, "Rename what it names") from None


def flag(name: str) -> str:
    """A setting's name as it is typed on the command line.

    Args:
        name: of the setting, as Python has it.

    Returns:
        `--name`, with hyphens.
    """
    return f"--{name.replace('_', '-')}"


def bound(value: float) -> str:
    """A bound for a message: whole numbers with all their digits.

    Args:
        value: the bound.

    Returns:
        Its text.

    >>> bound(10_000_000), bound(1e12), bound(0.02)
    ('10,000,000', '1,000,000,000,000', '0.02')
    """
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:g}"


def shown(value: object) -> str:
    """A value for a message: short, whatever it is.

    Args:
        value: any.

    Returns:
        Its text, cut to `LONGEST` characters.
    """
    try:
        text = str(value)
    except (ValueError, RecursionError):  # an integer of more digits than Python writes, lists in lists without end
        return f"a very large {type(value).__name__}"
    return text if len(text) <= LONGEST else text[:LONGEST] + "..."
