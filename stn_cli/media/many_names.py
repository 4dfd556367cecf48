"""Many names as one text: of a million images the strings themselves would take 80 MB, and keep what lies between them from being freed."""

from __future__ import annotations

from array import array
from collections.abc import Iterable

from stn_cli.on_demand import OnDemand


class ManyNames(OnDemand[str]):
    """Names that are made when they are asked for.

    Args:
        names: in their order, of any characters.

    >>> names = ManyNames(["a.jpg", "b/c.jpg"])
    >>> len(names), names[1], list(names[:1]), names == ["a.jpg", "b/c.jpg"]
    (2, 'b/c.jpg', ['a.jpg'], True)
    """

    def __init__(self, names: Iterable[str]) -> None:
        text, self._ends = bytearray(), array("q", [0])
        for name in names:
            text += name.encode("utf-8", "surrogatepass")
            self._ends.append(len(text))
        self._text = bytes(text)

    def __len__(self) -> int:
        return len(self._ends) - 1

    def make(self, place: int) -> str:
        """One name."""
        return self._text[self._ends[place] : self._ends[place + 1]].decode("utf-8", "surrogatepass")
