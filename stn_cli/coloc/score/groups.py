"""Which images' best boxes hold a group: two boxes side by side in one that are as like the folder's other objects as it is.

That something lies in a box says nothing, because objects have parts. But a part is never the best box of another image, and what is one of
a group is, where another image shows one alone: so the parts of a box are compared with what other images hold, as the triplet objective
compares crops. Boxes that are explained by two are then told by the two, and the others are compared with these.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from stn_cli.coloc.score.settings import GROUPS
from stn_cli.geometry import box_area, common_area
from stn_cli.instances.proposer import Proposed


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Boxes side by side in the best box of an image.

    Attributes:
        first, second: (P,) their numbers.
        odds: (P,) of the less likely one of the two, less those of the best box.
    """

    first: Tensor
    second: Tensor
    odds: Tensor


def find_groups(found: Proposed) -> Tensor:
    """The images whose best box holds two objects rather than one.

    Args:
        found: M boxes of each of n images, how likely they are objects of the kind, and how they look.

    Returns:
        (n,) True where it does; nowhere, where the folder's objects are so unlike each other that likeness says nothing.
    """
    odds, best, number = found.odds.cpu(), found.odds.argmax(1).cpu(), len(found.odds)
    groups = torch.zeros(number, dtype=torch.bool)
    if found.looks is None or number <= GROUPS.least_neighbours:
        return groups
    boxes, looks = found.boxes.cpu(), found.looks.cpu()
    looks = F.normalize(looks - looks[odds > -torch.inf].mean(0), dim=-1)
    pairs = [_pairs_in(own, its, int(at)) for own, its, at in zip(boxes, odds, best, strict=True)]
    objects = [looks[i, [int(at)]] for i, at in enumerate(best)]
    told = list(objects)
    for _ in range(GROUPS.rounds):
        explained = [_explained(looks[i], int(best[i]), pairs[i], torch.cat(told[:i] + told[i + 1 :])) for i in range(number)]
        told = [
            one if two is None else looks[i, list(two)] for i, (one, two) in enumerate(zip(objects, explained, strict=True))
        ]
    groups = torch.tensor([two is not None for two in explained])
    single = torch.cat(objects)[~groups]
    return groups if _alike(single) >= GROUPS.alike else torch.zeros_like(groups)


def _alike(objects: Tensor) -> float:
    """How alike K objects (K, 64) are to those that are most alike, the median of them; 0 of too few."""
    if len(objects) <= GROUPS.least_neighbours:
        return 0.0
    alike = (objects @ objects.T).fill_diagonal_(-1.0)
    nearest = max(GROUPS.least_neighbours, len(objects) // GROUPS.neighbours)
    return float(alike.topk(min(nearest, len(objects) - 1), 1).values.mean(1).median())


def _pairs_in(boxes: Tensor, odds: Tensor, best: int) -> _Pairs:
    """The pairs in the best box of an image with M boxes (M, 4) and log odds (M,)."""
    area = box_area(boxes).clamp(min=1e-9)
    within = common_area(boxes, boxes[best])
    part = (within > GROUPS.within * area) & (area < GROUPS.smaller * area[best]) & (odds > -torch.inf)
    parts = part.nonzero()[:, 0]
    parts = parts[odds[parts].argsort(descending=True, stable=True)[: GROUPS.tried]]
    both = common_area(boxes[parts][:, None], boxes[parts][None])
    apart = both <= GROUPS.apart * torch.minimum(area[parts][:, None], area[parts][None])
    covered = within[parts][:, None] + within[parts][None] - both >= GROUPS.covered * area[best]
    a, b = (apart & covered).triu(1).nonzero().T
    first, second = parts[a], parts[b]
    return _Pairs(first, second, torch.minimum(odds[first], odds[second]) - odds[best])


def _explained(looks: Tensor, best: int, pairs: _Pairs, objects: Tensor) -> tuple[int, int] | None:
    """The pair that explains the best box of an image with looks (M, 64) best, beside other images' objects (K, 64)."""
    if not len(pairs.first):
        return None
    nearest = max(GROUPS.least_neighbours, len(objects) // GROUPS.neighbours)
    alike = (looks @ objects.T).topk(min(nearest, len(objects)), 1).values.mean(1)
    worth = torch.minimum(alike[pairs.first], alike[pairs.second]) - alike[best] + GROUPS.odds * pairs.odds
    most = int(worth.argmax())
    return (int(pairs.first[most]), int(pairs.second[most])) if worth[most] > GROUPS.worth else None
