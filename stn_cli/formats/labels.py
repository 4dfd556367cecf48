"""What kinds of objects are called in results: one name for all, or one for each kind."""

from __future__ import annotations

from collections.abc import Sequence

from stn_cli.bounds import shown
from stn_cli.errors import UsageError, counted, printable

OBJECT = "object"
"""What an object is called that nobody named."""
LONGEST = 100
"""Characters of a name: it becomes the name of a folder, too."""


def parse_labels(label: str | None, labels: str | None) -> tuple[str, ...]:
    """The names that `--label` and `--labels` give.

    Args:
        label: one name for all kinds.
        labels: a name for each kind, with commas.

    Returns:
        The names; none where nothing was named.

    Raises:
        UsageError: both were given, or a name is empty, too long, not printable or there twice.
    """
    if label is not None and labels is not None:
        raise UsageError("--label and --labels name the same", None, None, "Give one of them")
    if label is not None:
        return check_labels((label.strip(),), "--label")
    return () if labels is None else check_labels(tuple(part.strip() for part in labels.split(",")), "--labels")


def check_labels(names: Sequence[str], flag: str = "labels") -> tuple[str, ...]:
    """See that names can be those of categories.

    Args:
        names: of the kinds, in their order.
        flag: that gave them, for messages.

    Returns:
        The same names.

    Raises:
        UsageError: one cannot.
    """
    for name in names:
        if not name:
            raise UsageError(f"{flag} has an empty name", ",".join(names))
        if printable(name) != name or len(name) > LONGEST:
            raise UsageError(f"{flag} must be printable text of at most {LONGEST} characters", shown(name))
    if len(set(names)) < len(names):
        raise UsageError(f"{flag} has a name twice", ",".join(names))
    return tuple(names)


def names_of_kinds(labels: Sequence[str], kinds: int) -> tuple[str, ...]:
    """A name for each kind of a run.

    Args:
        labels: as they were given; none where nothing was named.
        kinds: how many there are.

    Returns:
        As many names.

    Raises:
        UsageError: there are more or fewer names than kinds.
    """
    if not labels:
        return (OBJECT,) if kinds == 1 else tuple(f"{OBJECT} {number}" for number in range(1, kinds + 1))
    if len(labels) != kinds:
        has = f"the run looks for {counted(kinds, 'kind')} of objects"
        raise UsageError("there must be a name for each kind", ",".join(labels), has, "Name as many with --labels")
    return tuple(labels)
