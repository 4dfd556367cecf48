"""Boxes that hold a group: told by what other images hold alone, and what the proposer then learns."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from stn_cli.coloc.score.groups import find_groups
from stn_cli.coloc.score.object_search import side_by_side, unsure
from stn_cli.instances.labels import Labels
from stn_cli.instances.proposer import Proposed

GROUP = (-0.6, -0.4, 0.6, 0.4)
LEFT, RIGHT = (-0.6, -0.4, -0.02, 0.4), (0.02, -0.4, 0.6, 0.4)
ELSEWHERE = (0.7, 0.7, 0.9, 0.9)


def looking(degrees: float) -> list[float]:
    """What looks so, beside noise that is everywhere the same."""
    turn = math.radians(degrees)
    return [math.cos(turn), math.sin(turn), *[0.0] * 62]


def folder(alone: float, several: float, parts: float, count: int = 12) -> Proposed:
    """A folder of which half the images have a best box of one thing, half one that holds two boxes.

    Each image also has a box of something else, so that the mean of all looks is none of them.

    Args:
        alone: how the one thing looks, degrees.
        several: how the box around two looks.
        parts: how the two look.
        count: images.
    """
    boxes, looks = [], []
    for number in range(count):
        best = LEFT if number % 2 else GROUP
        boxes.append([best, LEFT, RIGHT, ELSEWHERE])
        looks.append([looking(alone if number % 2 else several), looking(parts), looking(parts), looking(200.0)])
    odds = torch.tensor([1.0, 0.5, 0.5, -4.0]).repeat(count, 1)
    odds[1::2, 1:3] = -torch.inf  # one alone has nothing in it
    return Proposed(torch.tensor(boxes), odds, torch.tensor(looks))


def test_a_box_around_two_of_what_other_images_show_alone_is_a_group() -> None:
    assert find_groups(folder(alone=0, several=60, parts=2)).tolist() == [True, False] * 6


def test_a_thing_with_two_parts_is_none() -> None:
    """Wheels lie side by side in a bicycle, but no image shows one alone as its best."""
    assert find_groups(folder(alone=0, several=2, parts=60)).any().item() is False


def test_what_is_not_side_by_side_or_covers_little_is_no_group() -> None:
    found = folder(alone=0, several=60, parts=2)
    boxes = found.boxes.clone()
    boxes[::2, 2] = torch.tensor(LEFT)  # the same one twice
    assert find_groups(Proposed(boxes, found.odds, found.looks)).any().item() is False
    boxes[::2, 1:3] = torch.tensor([(-0.6, -0.4, -0.4, -0.2), (0.4, 0.2, 0.6, 0.4)])
    assert find_groups(Proposed(boxes, found.odds, found.looks)).any().item() is False


def test_unlikely_parts_are_no_group() -> None:
    found = folder(alone=0, several=60, parts=2)
    odds = found.odds.clone()
    odds[::2, 1] = -15.0
    assert find_groups(Proposed(found.boxes, odds, found.looks)).any().item() is False


def test_a_few_images_or_proposals_without_looks_have_no_groups() -> None:
    found = folder(alone=0, several=60, parts=2, count=2)
    assert find_groups(found).any().item() is False
    whole = folder(alone=0, several=60, parts=2)
    assert find_groups(Proposed(whole.boxes, whole.odds)).any().item() is False
    assert (
        find_groups(Proposed(torch.zeros(5, 1, 4), torch.full((5, 1), -torch.inf), torch.zeros(5, 1, 64))).any().item() is False
    )


def test_where_objects_are_unlike_likeness_says_nothing() -> None:
    found = folder(alone=0, several=60, parts=2, count=40)
    assert found.looks is not None
    looks = found.looks.clone()
    noise = torch.randn(20, 60, generator=torch.Generator().manual_seed(0))
    looks[1::2, 0, 4:] = 4 * noise  # what is alone differs from image to image, and two of a group are like none of them
    assert not find_groups(Proposed(found.boxes, found.odds, looks)).any()


def test_nothing_is_asked_of_a_group() -> None:
    labels = unsure(Labels(torch.tensor([LEFT, RIGHT]), torch.ones(2), torch.ones(2, dtype=torch.bool)))
    assert len(labels.boxes) == 2
    assert not labels.known.any()


def test_batches_of_other_widths_are_joined() -> None:
    def some(images: int, count: int) -> Proposed:
        looks: Tensor = torch.ones(images, count, 64)
        return Proposed(torch.ones(images, count, 4), torch.zeros(images, count), looks)

    both = side_by_side([some(2, 3), some(1, 5)])
    assert both.looks is not None
    assert (both.boxes.shape, both.odds.shape, both.looks.shape) == ((3, 5, 4), (3, 5), (3, 5, 64))
    assert (both.odds[:2, 3:] == -torch.inf).all()
