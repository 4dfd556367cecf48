"""The search that seeds the transformers: what is common, is it rigid or loose, how large, and where in each image?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from stn_cli.coloc.crops import Crops, random_boxes
from stn_cli.coloc.scene import Scene
from stn_cli.coloc.score.scorers import DenseScorer, RigidScorer, Scorer, WordsScorer
from stn_cli.coloc.search.closely import CloseSearch, SearchedSet, label_closely, search_closely
from stn_cli.coloc.search.rigid import (
    RANDOM_PATCHES,
    STRETCHES,
    RigidResult,
    apply_rigid,
    search_rigid,
)
from stn_cli.coloc.search.rotation import Alignment, learn_alignment, turned_crops
from stn_cli.coloc.search.visual_words import WordsResult, apply_words, search_words
from stn_cli.coloc.search.windows import quantile
from stn_cli.encoders import Appearance, Encoder, GradientEncoder
from stn_cli.media.cache import Cache
from stn_cli.runs.config import TrainConfig
from stn_cli.stn import by_name

CONTRAST_WEIGHT = 0.1
RIGID_BELOW, RIGID_BELOW_DENSE = 1.04, 0.95
"""The thing is taken for rigid when the rigid's objective + CONTRAST_WEIGHT x the loose contrast is below this; contrasts of words are higher
than those of dense features."""
STRETCH_GAIN = 0.02
TIGHTEN = 1 / 1.122
"""The size rule stops where the margin begins to break; the crop that is kept lies one step of the ladder inside."""
CHUNK = 64
LABELLED = 16
"""Images that are looked at closely at once while they are labelled: a chunk takes less than a second."""
OUTLINED = 4096
TURNED_IMAGES = 64
"""Images that a search over angles looks at: its windows are sixteen times as many."""
HOPELESS = 0.1
"""Images whose best crop has less margin than this share of all random patches hold no object that could be learnt from."""
SAME_KIND = 0.5
"""A further object is of a kind that was found before when in this share of the images its best place scores as that kind."""


@dataclass(slots=True)
class Kind:
    """One kind of common thing, and where the search places it.

    Attributes:
        kind: `rigid`, `words` or `dense`.
        scorer: what the search learnt, ready to scorer crops.
        boxes: (N, R, 4) in every image of the set, normalised letterbox boxes before they are turned about their centres; R
            is how many of this kind are looked for in each image.
        angles: (N, R) radians.
        present: (N, R) whether the object is believed to be there.
        curve: (side, triplet loss) of rigid crops of every side that was tried.
        rigid_objective, contrast: what the choice between rigid and loose was made by.
        common: how much the crops have in common, see `DenseSearch.common`; None where it is not known.
    """

    kind: str
    scorer: Scorer
    boxes: Tensor
    angles: Tensor
    present: Tensor
    curve: list[tuple[float, float]]
    rigid_objective: float | None
    contrast: float | None
    common: float | None = None

    def crops(self) -> Crops:
        """The search's crops, R of each image."""
        return turned_crops(self.boxes, self.angles)

    def placed(self, rank: int | None = None) -> Tensor:
        """Boxes (M, 4) of the objects that are believed to be there, of all where none is: what sizes are taken from.

        Args:
            rank: of which object in each image; of all of them when left out.
        """
        boxes, present = (self.boxes, self.present) if rank is None else (self.boxes[:, rank], self.present[:, rank])
        return boxes[present] if bool(present.any()) else boxes.reshape(-1, 4)

    def upright(self) -> Tensor:
        """Upright boxes (N, R, 4) of the search's crops."""
        return torch.cat([self.crops()[i].boxes() for i in torch.arange(len(self.boxes)).split(OUTLINED)])

    def add(self, boxes: Tensor, angles: Tensor, present: Tensor) -> None:
        """One more object of this kind in each image."""
        self.boxes = torch.cat([self.boxes, boxes[:, None]], 1)
        self.angles = torch.cat([self.angles, angles[:, None]], 1)
        self.present = torch.cat([self.present, present[:, None]], 1)


def search(
    cache: Cache,
    encoder: Encoder,
    config: TrainConfig,
    device: torch.device,
    progress: Callable[[str], None] = lambda _: None,
    large: Cache | None = None,
) -> list[Kind]:
    """Search a set of images for `config.objects` objects in each.

    The search looks at `config.search_images` of them, drawn at random; the rest are labelled with what it found, some at a time. A further
    object is looked for where none was found yet: another one of a kind that is known, where most images hold one, or another kind.

    Args:
        cache: the images at the size that the transformer looks at.
        encoder: gives the embeddings.
        config: `search`, `size`, `search_images`, `transform`, `objects`, `cascade` and `seed` are used.
        device: to work on.
        progress: told what is being done.
        large: the same images, larger, for a dense encoder to look at closely; `cache` when left out.
    """
    generator = torch.Generator().manual_seed(config.seed)
    most = config.search_images if by_name(config.transform).angle is None else min(config.search_images, TURNED_IMAGES)
    chosen = torch.randperm(len(cache), generator=generator)[:most].sort().values
    seen = SearchedSet(cache, large or cache, encoder, config, device, chosen, Scene.of(cache, chosen, device), progress)
    found = [_search_kind(seen, None)]
    for number in range(1, config.objects):
        progress(f"object {number + 1}")
        taken = torch.cat([f.kind.upright() for f in found], 1)
        if not any(_another(seen, f, taken) for f in found):
            found.append(_search_kind(seen, taken))
    return [f.kind for f in found]


@dataclass(slots=True)
class _Found:
    """A kind, and how it was found: what is needed to look for another one.

    Attributes:
        kind: the kind.
        place: boxes (N, K, 4) that are taken -> boxes (N, 4) and angles (N,) outside of them, in every image.
        likely: the margin half-way between random patches and the first object.
    """

    kind: Kind
    place: Callable[[Tensor | None], tuple[Tensor, Tensor]]
    likely: float = 0.0


def _search_kind(seen: SearchedSet, taken: Tensor | None) -> _Found:
    """What is common outside of the boxes (N, K, 4) that are taken."""
    config, encoder = seen.config, seen.encoder
    held = None if taken is None else taken[seen.chosen]
    rigid = None
    if config.search != "deformable":
        rigid = search_rigid(
            encoder, seen.scene.images, seen.scene.rectangles, seed=config.seed, sides=seen.sides, ladder=seen.ladder,
            angles=seen.angles, taken=held, progress=seen.progress,
        )  # fmt: skip
    if config.search == "rigid" and rigid is not None:
        return _rigid(seen, rigid, None, taken)
    seen.progress("regions")
    if encoder.dense:
        dense = search_closely(seen, held)
        if rigid is not None and is_rigid(rigid, dense.first.contrast, RIGID_BELOW_DENSE):
            return _rigid(seen, rigid, dense.first.contrast, taken)
        return _loose_dense(seen, rigid, dense, taken)
    assert isinstance(encoder, GradientEncoder)
    appearance = torch.cat([encoder.maps(part) for part in seen.scene.images.split(CHUNK)])
    region = search_words(encoder, appearance, seen.scene.rectangles, seed=config.seed, sides=seen.sides, taken=held)
    if rigid is not None and is_rigid(rigid, region.contrast):
        return _rigid(seen, rigid, region.contrast, taken)
    return _loose_words(seen, rigid, region, taken)


def _rigid(seen: SearchedSet, rigid: RigidResult, contrast: float | None, taken: Tensor | None) -> _Found:
    """The rigid hypothesis: crops of one layout of edges, turned where the transformation turns."""
    held = None if taken is None else taken[seen.chosen]
    scorer = RigidScorer.of(rigid, seen.encoder)
    turns = len(rigid.angles) > 1
    stretches = (1.0,) if turns else choose_stretches(scorer, rigid, seen, held)
    alignment = _align(seen, rigid, held) if turns else None

    def place(index: Tensor, out_of: Tensor | None) -> tuple[Tensor, Tensor]:
        scene = Scene.of(seen.cache, index, seen.device)
        box, angle = apply_rigid(rigid, seen.encoder, scene.images, scene.rectangles, stretches, out_of)
        box = tighten(box, TIGHTEN)
        return (box, angle) if alignment is None else alignment.apply(scene.images, box, angle)

    found = _Found(_empty_kind(seen, scorer, rigid, contrast), _everywhere(seen, place))
    boxes, angles = found.place(taken)
    angles = centred(angles)
    crops = turned_crops(boxes[:, None], angles[:, None])[seen.chosen]
    scorer.prototype.copy_(scorer.embed(seen.scene.images, crops).mean((0, 1)))
    return _with_first(seen, found, boxes, angles)


def _loose_words(seen: SearchedSet, rigid: RigidResult | None, region: WordsResult, taken: Tensor | None) -> _Found:
    """The loose hypothesis where cells are values: margins of words."""
    scorer = WordsScorer.of(region, seen.encoder)

    def place(index: Tensor, out_of: Tensor | None) -> tuple[Tensor, Tensor]:
        scene = Scene.of(seen.cache, index, seen.device)
        box = apply_words(region, scene.appearance(seen.encoder).cells, scene.rectangles, seen.sides, out_of)
        return box, torch.zeros_like(box[:, 0])

    found = _Found(_empty_kind(seen, scorer, rigid, region.contrast), _everywhere(seen, place))
    return _with_first(seen, found, *found.place(taken))


def _loose_dense(seen: SearchedSet, rigid: RigidResult | None, dense: CloseSearch, taken: Tensor | None) -> _Found:
    """The loose hypothesis on a network's features: the mean of both outlines."""
    first = (dense.outlines.boxes + dense.outlined(dense.last).boxes) / 2
    rest = torch.ones(len(seen.cache), dtype=torch.bool).index_fill(0, seen.chosen, False).nonzero()[:, 0]

    def every(sample: Tensor, out_of: Tensor | None) -> tuple[Tensor, Tensor]:
        boxes = torch.zeros((len(seen.cache), 4), device=seen.device)
        boxes[seen.chosen] = sample
        for number, part in enumerate(rest.split(LABELLED) if len(rest) else ()):
            seen.progress(f"labelled {number * LABELLED} of {len(rest)}")
            boxes[part] = label_closely(seen, dense, part, taken, out_of)
        return boxes, boxes[:, 0] * 0

    def place(out_of: Tensor | None) -> tuple[Tensor, Tensor]:
        if out_of is None:
            return every(first, None)
        further = dense.search.outside(dense.last, out_of[seen.chosen])
        return every(dense.outlined(further).boxes, out_of)

    parts = [Scene.of(seen.cache, i, seen.device).appearance(seen.encoder) for i in seen.chosen.split(CHUNK)]
    scorer = DenseScorer.of(seen.encoder, Appearance.join(parts), seen.scene.rectangles, first)
    found = _Found(_empty_kind(seen, scorer, rigid, dense.last.contrast), place)
    found.kind.common = dense.search.common(dense.first.boxes)
    return _with_first(seen, found, *found.place(None))


def _empty_kind(seen: SearchedSet, scorer: Scorer, rigid: RigidResult | None, contrast: float | None) -> Kind:
    none = torch.zeros((len(seen.cache), 0), device=seen.device)
    curve, objective = (rigid.curve, rigid.objective) if rigid else ([], None)
    return Kind(scorer.kind, scorer, none[..., None].expand(-1, 0, 4), none, none.bool(), curve, objective, contrast)


def _with_first(seen: SearchedSet, found: _Found, boxes: Tensor, angles: Tensor) -> _Found:
    """Give a kind its first object in each image; where the margin says that there is none, there is nothing to learn from."""
    found.kind.add(boxes, angles, torch.ones_like(angles, dtype=torch.bool))
    random, first = _typical_margins(seen, found.kind)
    found.likely = float(random.median() + first.median()) / 2
    if isinstance(found.kind.scorer, DenseScorer):
        margins = _margins_of(seen, found.kind, boxes, angles)
        found.kind.present[:, 0] &= margins > quantile(random.flatten(), HOPELESS)
    return found


def _everywhere(
    seen: SearchedSet, place: Callable[[Tensor, Tensor | None], tuple[Tensor, Tensor]]
) -> Callable[[Tensor | None], tuple[Tensor, Tensor]]:
    """What places objects in some images, as what places them in the whole set outside of boxes (N, K, 4) that are taken."""

    def whole(taken: Tensor | None) -> tuple[Tensor, Tensor]:
        parts = []
        for number, i in enumerate(torch.arange(len(seen.cache)).split(CHUNK)):
            seen.progress(f"labelled {number * CHUNK} of {len(seen.cache)}")
            parts.append(place(i, None if taken is None else taken[i.to(taken.device)]))
        return torch.cat([p[0] for p in parts]), torch.cat([p[1] for p in parts])

    return whole


def _align(seen: SearchedSet, rigid: RigidResult, taken: Tensor | None) -> Alignment:
    boxes, angles = apply_rigid(rigid, seen.encoder, seen.scene.images, seen.scene.rectangles, (1.0,), taken)
    generator = torch.Generator().manual_seed(seen.config.seed)
    return learn_alignment(seen.encoder, seen.scene.images, seen.scene.rectangles, tighten(boxes, TIGHTEN), angles, generator)


def _typical_margins(seen: SearchedSet, kind: Kind) -> tuple[Tensor, Tensor]:
    """Margins of random patches (n, R) and of a kind's first objects (n,), in the images that the search looks at."""
    crops = kind.crops()[seen.chosen]
    box = kind.boxes[seen.chosen, 0]
    generator = torch.Generator().manual_seed(seen.config.seed)
    patches = Crops.of_boxes(random_boxes(seen.scene.rectangles, RANDOM_PATCHES, box[:, 2:] - box[:, :2], generator))
    if isinstance(kind.scorer, RigidScorer):
        kind.scorer.observe(kind.scorer.embed(seen.scene.images, crops), kind.scorer.embed(seen.scene.images, patches))
    margins = kind.scorer.margins(seen.scene, crops, patches)
    return margins[:, 1:], margins[:, 0]


def _margins_of(seen: SearchedSet, kind: Kind, boxes: Tensor, angles: Tensor) -> Tensor:
    """Margins (N,) of one crop of each image of the set: boxes (N, 4) turned by angles (N,)."""
    crops = turned_crops(boxes[:, None], angles[:, None])
    parts = []
    for number, i in enumerate(torch.arange(len(seen.cache)).split(CHUNK)):
        seen.progress(f"judged {number * CHUNK} of {len(seen.cache)}")
        parts.append(kind.scorer.margins(Scene.of(seen.cache, i, seen.device), crops[i])[:, 0])
    return torch.cat(parts)


def _another(seen: SearchedSet, found: _Found, taken: Tensor) -> bool:
    """Add one more object of a known kind, if in enough images the best place outside of what is taken is likely one."""
    boxes, angles = found.place(taken)
    present = _margins_of(seen, found.kind, boxes, angles) > found.likely
    if float(present.sum()) < SAME_KIND * len(present):
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


def is_rigid(rigid: RigidResult, contrast: float, below: float = RIGID_BELOW) -> bool:
    """Whether crops laid over each other agree well enough: the rigid hypothesis is judged by its loss less the reward for
    size, and must be the better the more clearly the loose one stands out.
    """
    return rigid.objective + CONTRAST_WEIGHT * contrast < below


def choose_stretches(scorer: RigidScorer, rigid: RigidResult, seen: SearchedSet, taken: Tensor | None) -> tuple[float, ...]:
    """Whether single images may take crops a little larger or smaller than the common side: only if the objective gains by it."""
    low, high = seen.sides or (0.0, 1.0)
    stretches = tuple(s for s in STRETCHES if low <= s * rigid.side <= high) or (1.0,)
    generator = torch.Generator().manual_seed(seen.config.seed)
    full = seen.scene.rectangles.new_tensor([2 * rigid.side, 2 * rigid.side])
    random = Crops.of_boxes(random_boxes(seen.scene.rectangles, RANDOM_PATCHES, full, generator))
    losses = []
    for choice in ((1.0,), stretches):
        boxes, _ = apply_rigid(rigid, scorer.encoder, seen.scene.images, seen.scene.rectangles, choice, taken)
        crops = Crops.of_boxes(boxes[:, None])
        losses.append(float(scorer.loss(seen.scene, crops, random, seen.config.margin)))
    return stretches if losses[1] < losses[0] - STRETCH_GAIN else (1.0,)
