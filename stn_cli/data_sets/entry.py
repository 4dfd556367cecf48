"""One image of a data set, as the formats take it."""

from __future__ import annotations

from dataclasses import dataclass

from stn_cli.records import ImageRecord


@dataclass(frozen=True, slots=True)
class Entry:
    """One image of a data set.

    Attributes:
        record: its objects, cut to the image; `file` is its name in the source.
        stem: its name in the data set, without an extension.
        picture: its file in the data set, relative with `/`; None where there is none.
        split: the part that it belongs to; empty where the set has no parts.
    """

    record: ImageRecord
    stem: str
    picture: str | None
    split: str
