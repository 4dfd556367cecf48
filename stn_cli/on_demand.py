"""Sequences whose items are made when they are asked for: a million of them at once would fill the memory."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from operator import eq
from typing import TypeVar, overload

Made = TypeVar("Made")


class OnDemand(Sequence[Made]):
    """A sequence that makes its items; it equals any other one of equal items."""

    @abstractmethod
    def make(self, place: int) -> Made:
        """Make one item.

        Args:
            place: from 0 to the length less 1.

        Returns:
            The item.
        """

    @overload
    def __getitem__(self, index: int) -> Made: ...
    @overload
    def __getitem__(self, index: slice) -> list[Made]: ...
    def __getitem__(self, index: int | slice) -> Made | list[Made]:
        """One item, or some."""
        places = range(len(self))[index]
        return [self.make(place) for place in places] if isinstance(places, range) else self.make(places)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(map(eq, self, other))

    __hash__ = None  # type: ignore[assignment]
