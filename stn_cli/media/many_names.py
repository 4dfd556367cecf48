"""Many names as one text: of a million images the strings themselves would take 80 MB, and keep what lies between them from being freed."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from typing import overload


class ManyNames(Sequence[str]):
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

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        """One name, or some."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        at = range(len(self))[index]
        return self._text[self._ends[at] : self._ends[at + 1]].decode("utf-8", "surrogatepass")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]
