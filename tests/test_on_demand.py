"""Items are made when they are asked for, at the places of a list."""

from __future__ import annotations

import pytest

from stn_cli.on_demand import OnDemand


class Squares(OnDemand[int]):
    def __init__(self, count: int) -> None:
        self.count, self.made = count, list[int]()

    def __len__(self) -> int:
        return self.count

    def make(self, place: int) -> int:
        self.made.append(place)
        return place**2


def test_it_is_like_a_list_whose_items_are_made_when_asked_for() -> None:
    squares, numbers = Squares(5), [0, 1, 4, 9, 16]
    assert squares.made == []
    assert squares[-1] == 16
    assert squares.made == [4]
    for part in (slice(None), slice(1, 4), slice(None, None, -2), slice(7, 9)):
        assert squares[part] == numbers[part]
    assert squares == numbers
    assert list(reversed(squares)) == numbers[::-1]
    assert squares != numbers[:4]
    assert squares != 3
    for place in (5, -6):
        with pytest.raises(IndexError):
            squares[place]
    with pytest.raises(TypeError):
        hash(squares)
