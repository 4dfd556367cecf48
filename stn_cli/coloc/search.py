"""The search that seeds the transformer: is the common thing rigid or loose, how large, and where in each image?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from stn_cli.coloc.config import TrainConfig
from stn_cli.coloc.encoder import Encoder
from stn_cli.coloc.judge import Judge, RegionJudge, TemplateJudge
from stn_cli.coloc.patches import random_boxes
from stn_cli.coloc.region import Region, apply_region, search_region
from stn_cli.coloc.template import RANDOM_PATCHES, STRETCHES, Template, apply_template, search_template
from stn_cli.geometry import box_to_matrix
from stn_cli.media.cache import Cache

CONTRAST_WEIGHT = 0.1
RIGID_BELOW = 1.04
"""The thing is taken for rigid when the template's objective + CONTRAST_WEIGHT x the region's contrast is below this."""
STRETCH_GAIN = 0.02
TIGHTEN = 1 / 1.122
"""The size rule stops where the margin begins to break; the crop that is kept lies one step of the ladder inside."""
CHUNK = 64


@dataclass(slots=True)
class SearchResult:
    """Where the search places the common thing.

    Attributes:
        kind: `template` or `region`.
        judge: what it learnt, ready to judge crops.
        boxes: (N, 4) in every image of the set, normalised canvas boxes.
        curve: (side, triplet loss) of rigid crops of every side that was tried.
        template_objective, contrast: what the choice between the two was made by.
    """

    kind: str
    judge: Judge
    boxes: Tensor
    curve: list[tuple[float, float]]
    template_objective: float | None
    contrast: float | None


def search(
    cache: Cache,
    encoder: Encoder,
    config: TrainConfig,
    device: torch.device,
    progress: Callable[[str], None] = lambda _: None,
) -> SearchResult:
    """Search a set of images.

    The search looks at `config.search_images` of them; the rest are labelled with what it found.

    Args:
        cache: the images.
        encoder: gives the embeddings.
        config: `search`, `size`, `search_images` and `seed` are used.
        device: to work on.
        progress: told what is being done.
    """
    generator = torch.Generator().manual_seed(config.seed)
    chosen = torch.randperm(len(cache), generator=generator)[: config.search_images].sort().values
    images = cache.batch(chosen, device)
    rectangles = cache.rectangles().to(device)
    seen = rectangles[chosen]
    sides = None if config.size == (0.0, 0.0) else config.size
    template = region = None
    if config.search != "region":
        template = search_template(encoder, images, seen, seed=config.seed, sides=sides, progress=progress)
    if config.search != "template" or template is None:
        progress("regions")
        appearance = torch.cat([encoder.appearance(part) for part in images.split(CHUNK)])
        region = search_region(encoder, appearance, seen, seed=config.seed, sides=sides)
    judge: Judge
    if region is None or (template is not None and is_rigid(template, region)):
        assert template is not None
        judge = TemplateJudge.of(template, encoder)
        stretches = choose_stretches(judge, template, images, seen, config)
        boxes = _label(cache, rectangles, device, lambda x, r: apply_template(template, encoder, x, r, stretches)[0])
        boxes = tighten(boxes, TIGHTEN)
        positive = judge.embed(images, box_to_matrix(boxes[chosen])[:, None])
        judge.prototype.copy_(positive.mean((0, 1)))
    else:
        found = region
        judge = RegionJudge.of(found, encoder)
        boxes = _label(cache, rectangles, device, lambda x, r: apply_region(found, encoder.appearance(x), r, sides))
    return SearchResult(
        judge.kind,
        judge,
        boxes,
        template.curve if template else [],
        template.objective if template else None,
        region.contrast if region else None,
    )


def tighten(boxes: Tensor, share: float) -> Tensor:
    """Boxes (N, 4) of `share` the sides about the same centres."""
    centre, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2
    return torch.cat([centre - share * half, centre + share * half], 1)


def is_rigid(template: Template, region: Region) -> bool:
    """Whether crops laid over each other agree well enough: the rigid hypothesis is judged by its loss less the reward for
    size, and must be the better the more clearly the loose one stands out.
    """
    return template.objective + CONTRAST_WEIGHT * region.contrast < RIGID_BELOW


def choose_stretches(
    judge: TemplateJudge, template: Template, images: Tensor, rectangles: Tensor, config: TrainConfig
) -> tuple[float, ...]:
    """Whether single images may take crops a little larger or smaller than the common side: only if the objective gains by it."""
    low, high = (0.0, 1.0) if config.size == (0.0, 0.0) else config.size
    stretches = tuple(s for s in STRETCHES if low <= s * template.side <= high) or (1.0,)
    generator = torch.Generator().manual_seed(config.seed)
    full = rectangles.new_tensor([2 * template.side, 2 * template.side])
    random = box_to_matrix(random_boxes(rectangles, RANDOM_PATCHES, full, generator))
    losses = []
    for choice in ((1.0,), stretches):
        boxes, _ = apply_template(template, judge.encoder, images, rectangles, choice)
        losses.append(float(judge.loss(images, rectangles, box_to_matrix(boxes)[:, None], random, config.margin)))
    return stretches if losses[1] < losses[0] - STRETCH_GAIN else (1.0,)


def _label(cache: Cache, rectangles: Tensor, device: torch.device, find: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Boxes (N, 4) of every image of the set, in chunks."""
    parts = [find(cache.batch(i, device), rectangles[i]) for i in torch.arange(len(cache)).split(CHUNK)]
    return torch.cat(parts)
