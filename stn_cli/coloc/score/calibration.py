"""From margins to scores, and a look at whether the boxes make sense."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from stn_cli.coloc.crops import Crops, random_boxes
from stn_cli.coloc.scene import Scene, sample_indices
from stn_cli.coloc.score.scorers import RigidScorer, Scorer
from stn_cli.coloc.score.settings import CALIBRATION
from stn_cli.geometry import box_area, box_iou, common_area
from stn_cli.media.cache import Cache


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

    def fit(self, positive: Tensor, random: Tensor) -> None:
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
        ridge = torch.diag(torch.tensor([CALIBRATION.ridge, 0.0], dtype=torch.float64))
        for _ in range(CALIBRATION.newton_rounds):
            p = torch.sigmoid(design @ beta)
            gradient = design.T @ (weight * (p - target)) + ridge @ beta
            curve = (design * (weight * p * (1 - p)).clamp(min=1e-9)[:, None]).T @ design + ridge
            step = torch.linalg.solve(curve, gradient)
            beta = beta - step.clamp(-CALIBRATION.longest_step, CALIBRATION.longest_step)
        slope = float(beta[0].clamp(min=1e-3))
        self.slope.fill_(slope / float(scale))
        self.middle.fill_(float(offset) - float(beta[1]) / slope * float(scale))

    def forward(self, margin: Tensor) -> Tensor:
        """Margins (...) -> scores (...) in [0, 1], rising."""
        return self.most * torch.sigmoid(self.slope * (margin - self.middle))


@torch.no_grad()
def calibrate(
    predict: Callable[[Tensor], Crops], scorer: Scorer, cache: Cache, device: torch.device, seed: int
) -> tuple[Calibration, str]:
    """Fit scores on the margins of the first crops against those of random patches that overlap none of the crops.

    Of many images some are drawn. A rigid scorer also learns from both what crops and patches look like.

    Args:
        predict: places crops: indices (B,) of images -> R crops of each.
        scorer: gives the margins.
        cache: the images.
        device: to work on.
        seed: of the images that are drawn and of the random patches.

    Returns:
        The calibration, and what is suspicious about the first crops, see `collapse`.
    """
    index = sample_indices(len(cache), CALIBRATION.images, seed)
    found = predict(index)
    boxes = found.boxes()
    rectangles = cache.rectangles()[index].to(device)
    generator = torch.Generator().manual_seed(seed)
    first = boxes[:, 0]
    at = random_boxes(rectangles, CALIBRATION.random_patches, first[:, 2:] - first[:, :2], generator)
    clear = (box_iou(at[:, :, None], boxes[:, None]) < CALIBRATION.clear).all(-1)
    crops, patches = found[:, :1], Crops.of_boxes(at)
    chunks = torch.arange(len(index)).split(CALIBRATION.images_at_once)
    if isinstance(scorer, RigidScorer):
        seen = chunks[: CALIBRATION.observed]
        e = [torch.cat([scorer.embed(cache.batch(index[i], device), c[i]) for i in seen]) for c in (crops, patches)]
        scorer.observe(*e)
    margins = torch.cat([scorer.margins(Scene.of(cache, index[i], device, keep=True), crops[i], patches[i]) for i in chunks])
    positive, random = margins[:, 0], margins[:, 1:]
    calibration = Calibration()
    calibration.fit(positive, random[clear] if bool(clear.any()) else random.flatten())
    return calibration, collapse(first, rectangles)


def little_in_common(common: Sequence[float | None]) -> list[bool]:
    """Which kinds of objects are in doubt because their crops have too little in common.

    Args:
        common: how much the crops of each kind have in common, the first kind first; None of a kind that is not told by that.

    Returns:
        For each kind, whether it is in doubt.

    >>> little_in_common([0.56, 0.38, None]), little_in_common([0.3])
    ([False, True, False], [True])
    """
    first = common[0] or 0.0
    rule = CALIBRATION
    least = [rule.least_common] + [max(rule.least_common, rule.further_common * first)] * (len(common) - 1)
    return [value is not None and value < bar for value, bar in zip(common, least, strict=True)]


def collapse(boxes: Tensor, rectangles: Tensor) -> str:
    """What is suspicious about a set of boxes.

    Args:
        boxes: (N, 4) one in each image.
        rectangles: (N, 4) the images' outlines.

    Returns:
        A sentence; empty when nothing is.
    """
    rule = CALIBRATION
    if len(boxes) < rule.least_boxes:
        return ""
    centre, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    if float(centre.std(0).max()) < rule.same_place and float((sides.std(0) / sides.mean(0)).max()) < rule.same_size:
        return "all boxes are alike: the transformer may have learnt a place, not an object"
    if float((common_area(boxes, rectangles) < rule.half_off * box_area(boxes)).float().mean()) > rule.many_off:
        return "many crops lie half off their image: the transformer has not found the object"
    wide = rectangles[:, 2:] - rectangles[:, :2]
    gap = torch.minimum(boxes[:, :2] - rectangles[:, :2], rectangles[:, 2:] - boxes[:, 2:]) / wide
    small = (sides / wide).prod(1) < rule.small
    if float(((gap.amin(1) < rule.touches) & small).float().mean()) > rule.nearly_all:
        return "nearly all boxes touch the border: the transformer may have learnt background"
    return ""
