"""The search that seeds the transformers: what is common, is it rigid or loose, how large, and where in each image?"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from stn_cli.coloc.alignment import Alignment, learn_alignment, turned_crops
from stn_cli.coloc.config import TrainConfig
from stn_cli.coloc.encoders import Appearance, Encoder
from stn_cli.coloc.judge import Judge, RegionJudge, TemplateJudge
from stn_cli.coloc.patches import Crops, random_boxes
from stn_cli.coloc.region import Region, apply_region, search_region
from stn_cli.coloc.scene import Scene
from stn_cli.coloc.template import (
    LADDER,
    RANDOM_PATCHES,
    STRETCHES,
    TURNS,
    UPRIGHT,
    Template,
    apply_template,
    search_template,
)
from stn_cli.media.cache import Cache
from stn_cli.stn import by_name

CONTRAST_WEIGHT = 0.1
RIGID_BELOW = 1.04
"""The thing is taken for rigid when the template's objective + CONTRAST_WEIGHT x the region's contrast is below this."""
STRETCH_GAIN = 0.02
TIGHTEN = 1 / 1.122
"""The size rule stops where the margin begins to break; the crop that is kept lies one step of the ladder inside."""
CHUNK = 64
TURNED_IMAGES = 64
"""Images that a search over angles looks at: its windows are sixteen times as many."""
SAME_KIND = 0.5
"""A further object is of a kind that was found before when in this share of the images its best place scores as that kind."""


@dataclass(slots=True)
class Kind:
    """One kind of common thing, and where the search places it.

    Attributes:
        kind: `template` or `region`.
        judge: what the search learnt, ready to judge crops.
        boxes: (N, R, 4) in every image of the set, normalised canvas boxes before they are turned about their centres; R
            is how many of this kind are looked for in each image.
        angles: (N, R) radians.
        present: (N, R) whether the object is believed to be there; the first one always is.
        curve: (side, triplet loss) of rigid crops of every side that was tried.
        template_objective, contrast: what the choice between rigid and loose was made by.
    """

    kind: str
    judge: Judge
    boxes: Tensor
    angles: Tensor
    present: Tensor
    curve: list[tuple[float, float]]
    template_objective: float | None
    contrast: float | None

    def crops(self) -> Crops:
        """The search's crops, R of each image."""
        return turned_crops(self.boxes, self.angles)

    def add(self, boxes: Tensor, angles: Tensor, present: Tensor) -> None:
        """One more object of this kind in each image."""
        self.boxes = torch.cat([self.boxes, boxes[:, None]], 1)
        self.angles = torch.cat([self.angles, angles[:, None]], 1)
        self.present = torch.cat([self.present, present[:, None]], 1)


@dataclass(slots=True)
class _Set:
    """What a search works on: the whole set, and the images of it that the search looks at."""

    cache: Cache
    encoder: Encoder
    config: TrainConfig
    device: torch.device
    chosen: Tensor
    scene: Scene
    progress: Callable[[str], None]

    @property
    def sides(self) -> tuple[float, float] | None:
        """The sides that were asked for."""
        return None if self.config.size == (0.0, 0.0) else self.config.size

    @property
    def ladder(self) -> tuple[float, ...]:
        """Sides that are tried: with a cascade also smaller ones, for the angles only every second."""
        step = LADDER[1] / LADDER[0]
        count = round(math.log(2) / math.log(step)) * (self.config.cascade - 1)
        smaller = tuple(LADDER[0] / step**i for i in range(count, 0, -1))
        whole = smaller + LADDER
        return whole if self.angles == UPRIGHT else whole[::2]

    @property
    def angles(self) -> tuple[float, ...]:
        """Angles that are tried: all around where the transformation turns."""
        return UPRIGHT if by_name(self.config.transform).angle is None else TURNS


def search(
    cache: Cache,
    encoder: Encoder,
    config: TrainConfig,
    device: torch.device,
    progress: Callable[[str], None] = lambda _: None,
) -> list[Kind]:
    """Search a set of images for `config.objects` objects in each.

    The search looks at `config.search_images` of them; the rest are labelled with what it found. A further object is looked for where none was
    found yet: another one of a kind that is known, where most images hold one, or another kind.

    Args:
        cache: the images.
        encoder: gives the embeddings.
        config: `search`, `size`, `search_images`, `transform`, `objects`, `cascade` and `seed` are used.
        device: to work on.
        progress: told what is being done.
    """
    generator = torch.Generator().manual_seed(config.seed)
    most = config.search_images if by_name(config.transform).angle is None else min(config.search_images, TURNED_IMAGES)
    chosen = torch.randperm(len(cache), generator=generator)[:most].sort().values
    seen = _Set(cache, encoder, config, device, chosen, Scene.of(cache, chosen, device), progress)
    found = [_search_kind(seen, None)]
    for number in range(1, config.objects):
        progress(f"object {number + 1}")
        taken = torch.cat([f.kind.crops().boxes() for f in found], 1)
        if not any(_another(seen, f, taken) for f in found):
            found.append(_search_kind(seen, taken))
    return [f.kind for f in found]


@dataclass(slots=True)
class _Found:
    """A kind, and how it was found: what is needed to look for another one."""

    kind: Kind
    template: Template | None
    stretches: tuple[float, ...]
    alignment: Alignment | None = None
    likely: float = 0.0
    """The margin half-way between random patches and the first object."""


def _search_kind(seen: _Set, taken: Tensor | None) -> _Found:
    """What is common outside of the boxes (N, K, 4) that are taken."""
    config, encoder = seen.config, seen.encoder
    held = None if taken is None else taken[seen.chosen]
    template = region = None
    if config.search != "region":
        template = search_template(
            encoder, seen.scene.images, seen.scene.rectangles, seed=config.seed, sides=seen.sides, ladder=seen.ladder,
            angles=seen.angles, taken=held, progress=seen.progress,
        )  # fmt: skip
    if config.search != "template" or template is None:
        seen.progress("regions")
        appearance = Appearance.join([encoder.appearance(part) for part in seen.scene.images.split(CHUNK)]).cells
        region = search_region(encoder, appearance, seen.scene.rectangles, seed=config.seed, sides=seen.sides, taken=held)
    judge: Judge
    stretches: tuple[float, ...] = (1.0,)
    if region is None or (template is not None and is_rigid(template, region)):
        assert template is not None
        judge = TemplateJudge.of(template, encoder)
        if len(template.angles) == 1:
            stretches = choose_stretches(judge, template, seen, held)
    else:
        judge = RegionJudge.of(region, encoder)
    curve = template.curve if template else []
    contrast = region.contrast if region else None
    none = torch.zeros((len(seen.cache), 0), device=seen.device)
    kind = Kind(
        judge.kind, judge, none[..., None].expand(-1, 0, 4), none, none.bool(), curve,
        template.objective if template else None, contrast,
    )  # fmt: skip
    found = _Found(kind, template, stretches)
    if isinstance(judge, TemplateJudge) and template is not None and len(template.angles) > 1:
        found.alignment = _align(seen, template, held)
    boxes, angles = _place(seen, found, taken)
    if isinstance(judge, TemplateJudge):
        angles = centred(angles)
        crops = turned_crops(boxes[:, None], angles[:, None])[seen.chosen]
        judge.prototype.copy_(judge.embed(seen.scene.images, crops).mean((0, 1)))
    kind.add(boxes, angles, torch.ones(len(boxes), dtype=torch.bool, device=boxes.device))
    if config.objects > 1:
        found.likely = _half_way(seen, kind)
    return found


def _place(seen: _Set, found: _Found, taken: Tensor | None) -> tuple[Tensor, Tensor]:
    """Boxes (N, 4) and angles (N,) of a kind in every image of the set, outside of boxes (N, K, 4) that are taken."""
    judge, template = found.kind.judge, found.template
    rectangles = seen.cache.rectangles().to(seen.device)
    boxes, angles = [], []
    for index in torch.arange(len(seen.cache)).split(CHUNK):
        images, frames = seen.cache.batch(index, seen.device), rectangles[index]
        held = None if taken is None else taken[index]
        if isinstance(judge, RegionJudge):
            box = apply_region(judge.region(), seen.encoder.appearance(images).cells, frames, seen.sides, held)
            angle = torch.zeros_like(box[:, 0])
        else:
            assert template is not None
            box, angle = apply_template(template, seen.encoder, images, frames, found.stretches, held)
            box = tighten(box, TIGHTEN)
            if found.alignment is not None:
                box, angle = found.alignment.apply(images, box, angle)
        boxes.append(box)
        angles.append(angle)
    return torch.cat(boxes), torch.cat(angles)


def _align(seen: _Set, template: Template, taken: Tensor | None) -> Alignment:
    boxes, angles = apply_template(template, seen.encoder, seen.scene.images, seen.scene.rectangles, (1.0,), taken)
    generator = torch.Generator().manual_seed(seen.config.seed)
    return learn_alignment(seen.encoder, seen.scene.images, seen.scene.rectangles, tighten(boxes, TIGHTEN), angles, generator)


def _half_way(seen: _Set, kind: Kind) -> float:
    """The margin half-way between the middle one of random patches and the middle one of a kind's first objects."""
    crops = kind.crops()[seen.chosen]
    box = kind.boxes[seen.chosen, 0]
    generator = torch.Generator().manual_seed(seen.config.seed)
    patches = Crops.of_boxes(random_boxes(seen.scene.rectangles, RANDOM_PATCHES, box[:, 2:] - box[:, :2], generator))
    if isinstance(kind.judge, TemplateJudge):
        kind.judge.observe(kind.judge.embed(seen.scene.images, crops), kind.judge.embed(seen.scene.images, patches))
    margins = kind.judge.margins(seen.scene, crops, patches)
    return float(margins[:, 0].median() + margins[:, 1:].median()) / 2


def _another(seen: _Set, found: _Found, taken: Tensor) -> bool:
    """Add one more object of a known kind, if in enough images the best place outside of what is taken is likely one."""
    boxes, angles = _place(seen, found, taken)
    crops = turned_crops(boxes[:, None], angles[:, None])
    margins = [
        found.kind.judge.margins(Scene.of(seen.cache, i, seen.device), crops[i])[:, 0]
        for i in torch.arange(len(seen.cache)).split(CHUNK)
    ]
    present = torch.cat(margins) > found.likely
    if float(present.float().mean()) < SAME_KIND:
        return False
    found.kind.add(boxes, angles, present)
    return True


def centred(angles: Tensor) -> Tensor:
    """Angles (N,) turned so that their mean direction is 0: crops come upright when most objects stand upright; in (-pi, pi]."""
    middle = torch.atan2(angles.sin().mean(), angles.cos().mean())
    if float(torch.hypot(angles.sin().mean(), angles.cos().mean())) < 0.3:
        middle = torch.zeros_like(middle)  # they point everywhere: no direction is upright
    turned = angles - middle
    return torch.atan2(turned.sin(), turned.cos())


def tighten(boxes: Tensor, share: float) -> Tensor:
    """Boxes (N, 4) of `share` the sides about the same centres."""
    centre, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2
    return torch.cat([centre - share * half, centre + share * half], 1)


def is_rigid(template: Template, region: Region) -> bool:
    """Whether crops laid over each other agree well enough: the rigid hypothesis is judged by its loss less the reward for
    size, and must be the better the more clearly the loose one stands out.
    """
    return template.objective + CONTRAST_WEIGHT * region.contrast < RIGID_BELOW


def choose_stretches(judge: TemplateJudge, template: Template, seen: _Set, taken: Tensor | None) -> tuple[float, ...]:
    """Whether single images may take crops a little larger or smaller than the common side: only if the objective gains by it."""
    low, high = seen.sides or (0.0, 1.0)
    stretches = tuple(s for s in STRETCHES if low <= s * template.side <= high) or (1.0,)
    generator = torch.Generator().manual_seed(seen.config.seed)
    full = seen.scene.rectangles.new_tensor([2 * template.side, 2 * template.side])
    random = Crops.of_boxes(random_boxes(seen.scene.rectangles, RANDOM_PATCHES, full, generator))
    losses = []
    for choice in ((1.0,), stretches):
        boxes, _ = apply_template(template, judge.encoder, seen.scene.images, seen.scene.rectangles, choice, taken)
        crops = Crops.of_boxes(boxes[:, None])
        losses.append(float(judge.loss(seen.scene, crops, random, seen.config.margin)))
    return stretches if losses[1] < losses[0] - STRETCH_GAIN else (1.0,)
