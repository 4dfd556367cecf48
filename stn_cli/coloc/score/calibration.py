"""From margins to scores, and a look at whether the boxes make sense."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from stn_cli.coloc.crops import Crops, random_boxes
from stn_cli.coloc.model.finder import Finder
from stn_cli.coloc.scene import Scene
from stn_cli.coloc.score.scorers import RigidScorer, Scorer
from stn_cli.coloc.train.steps import predict, some
from stn_cli.geometry import box_area, box_iou
from stn_cli.media.cache import Cache

PATCHES = 8
"""Random patches per image."""
CALIBRATED = 1024
"""Images at most whose margins scores are fitted on."""
CHUNK = 64
OBSERVED_CHUNKS = 8
LEAST_COMMON = 0.37
"""Crops that have less in common (see `DenseSearch.common`) are of no common object."""
FURTHER_COMMON = 0.7
"""The same for further kinds of objects, as a share of what the first one's crops have in common: what lies around an object has something
in common too."""
DOUBTFUL = 0.5
"""The highest score where the object itself is in doubt."""


class Calibration(nn.Module):
    """Margin -> score: a logistic curve through 0.5 where object and random patch are equally likely."""

    slope: Tensor
    middle: Tensor
    most: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("slope", torch.ones(()))
        self.register_buffer("middle", torch.zeros(()))
        self.register_buffer("most", torch.ones(()))

    def fit(self, positive: Tensor, random: Tensor, rounds: int = 60) -> None:
        """Platt's logistic fit by Newton's method, both sides weighing the same.

        Args:
            positive: (N,) margins of crops.
            random: (M,) margins of random patches.
        """
        x = torch.cat([positive, random]).cpu().double()
        scale = x.std().clamp(min=1e-9)
        offset = x.mean()
        x = (x - offset) / scale
        n, m = len(positive), len(random)
        target = torch.cat([torch.full((n,), (n + 1) / (n + 2)), torch.full((m,), 1 / (m + 2))]).double()
        weight = torch.cat([torch.full((n,), 0.5 / n), torch.full((m,), 0.5 / m)]).double()
        design = torch.stack([x, torch.ones_like(x)], 1)
        beta = torch.tensor([1.0, 0.0], dtype=torch.float64)
        ridge = torch.diag(torch.tensor([1e-3, 0.0], dtype=torch.float64))
        for _ in range(rounds):
            p = torch.sigmoid(design @ beta)
            gradient = design.T @ (weight * (p - target)) + ridge @ beta
            curve = (design * (weight * p * (1 - p)).clamp(min=1e-9)[:, None]).T @ design + ridge
            step = torch.linalg.solve(curve, gradient)
            beta = beta - step.clamp(-2, 2)
        slope = float(beta[0].clamp(min=1e-3))
        self.slope.fill_(slope / float(scale))
        self.middle.fill_(float(offset) - float(beta[1]) / slope * float(scale))

    def forward(self, margin: Tensor) -> Tensor:
        """Margins (...) -> scores (...) in [0, 1], rising."""
        return self.most * torch.sigmoid(self.slope * (margin - self.middle))


@torch.no_grad()
def calibrate(finder: Finder, scorer: Scorer, cache: Cache, device: torch.device, seed: int) -> tuple[Calibration, str]:
    """Fit scores on the margins of the first crops against those of random patches that overlap none of the crops.

    Of many images some are drawn. A rigid scorer also learns from both what crops and patches look like.

    Returns:
        The calibration, and what is suspicious about the first crops, see `collapse`.
    """
    index = some(len(cache), CALIBRATED, seed)
    found = predict(finder, cache, device, index)
    boxes = found.boxes()
    rectangles = cache.rectangles()[index].to(device)
    generator = torch.Generator().manual_seed(seed)
    first = boxes[:, 0]
    at = random_boxes(rectangles, PATCHES, first[:, 2:] - first[:, :2], generator)
    clear = (box_iou(at[:, :, None], boxes[:, None]) < 0.2).all(-1)
    crops, patches = found[:, :1], Crops.of_boxes(at)
    chunks = torch.arange(len(index)).split(CHUNK)
    if isinstance(scorer, RigidScorer):
        seen = chunks[:OBSERVED_CHUNKS]
        e = [torch.cat([scorer.embed(cache.batch(index[i], device), c[i]) for i in seen]) for c in (crops, patches)]
        scorer.observe(*e)
    margins = torch.cat([scorer.margins(Scene.of(cache, index[i], device), crops[i], patches[i]) for i in chunks])
    positive, random = margins[:, 0], margins[:, 1:]
    calibration = Calibration()
    calibration.fit(positive, random[clear] if bool(clear.any()) else random.flatten())
    return calibration, collapse(first, rectangles)


def little_in_common(common: Sequence[float | None]) -> list[bool]:
    """Of which kinds of objects, the first one first, the crops have too little in common; None is of a kind that is not judged by that."""
    first = common[0] or 0.0
    least = [LEAST_COMMON] + [max(LEAST_COMMON, FURTHER_COMMON * first)] * (len(common) - 1)
    return [value is not None and value < bar for value, bar in zip(common, least, strict=True)]


def collapse(boxes: Tensor, rectangles: Tensor) -> str:
    """What is suspicious about a set of boxes (N, 4) on images at (N, 4); empty when nothing is."""
    if len(boxes) < 8:
        return ""
    centre, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    if float(centre.std(0).max()) < 0.02 and float((sides.std(0) / sides.mean(0)).max()) < 0.05:
        return "all boxes are alike: the transformer may have learnt a place, not an object"
    inner = torch.cat([torch.maximum(boxes[:, :2], rectangles[:, :2]), torch.minimum(boxes[:, 2:], rectangles[:, 2:])], 1)
    if float((box_area(inner) < 0.5 * box_area(boxes)).float().mean()) > 0.2:
        return "many crops lie half off their image: the transformer has not found the object"
    wide = rectangles[:, 2:] - rectangles[:, :2]
    gap = torch.minimum(boxes[:, :2] - rectangles[:, :2], rectangles[:, 2:] - boxes[:, 2:]) / wide
    small = (sides / wide).prod(1) < 0.5
    if float(((gap.amin(1) < 0.01) & small).float().mean()) > 0.8:
        return "nearly all boxes touch the border: the transformer may have learnt background"
    return ""
