"""The kinds of common things in a set, each with its scorer: what the search hands on to the training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache as cache_result
from functools import partial

import torch
from torch import Tensor

from stn_cli.coloc.annotations import Annotations
from stn_cli.coloc.crops import Crops, random_boxes, turned_crops
from stn_cli.coloc.scene import Scene
from stn_cli.coloc.score.annotated_search import AnnotatedSearch
from stn_cli.coloc.score.object_search import ObjectSearch
from stn_cli.coloc.score.scorers import DenseScorer, RigidScorer, Scorer, WordsScorer
from stn_cli.coloc.score.settings import SCORE
from stn_cli.coloc.search.background import Background, find_background
from stn_cli.coloc.search.choose import Hypothesis, choose, place_rigid
from stn_cli.coloc.search.rigid import RigidResult
from stn_cli.coloc.search.rigid_example import like_examples
from stn_cli.coloc.search.searched import Placed, SearchedSet
from stn_cli.coloc.search.settings import CHOICE, RIGID
from stn_cli.coloc.search.statistics import quantile
from stn_cli.coloc.search.visual_words import WordsResult
from stn_cli.encoders import Appearance, Encoder
from stn_cli.geometry import box_iou
from stn_cli.instances.proposer import Proposer
from stn_cli.media.cache import Cache
from stn_cli.runs.config import MOST_KINDS, TrainConfig
from stn_cli.runtime.memory import hand_back


@dataclass(slots=True)
class Kind:
    """One kind of common thing, and where the search places it.

    Attributes:
        kind: `rigid`, `words` or `dense`.
        scorer: what the search learnt, ready to score crops.
        boxes: (N, R, 4) in every image of the set, normalised letterbox boxes before they are turned about their centres; R
            is how many of this kind are looked for in each image.
        angles: (N, R) radians.
        present: (N, R) whether the object is believed to be there.
        curve: (side, triplet loss) of rigid crops of every side that was tried.
        rigid_objective, contrast: what the choice between rigid and deformable was made by.
        common: how much the crops have in common, see `DenseSearch.common`; None where it is not known.
        proposer: of whole objects, which has learnt those of the set; None for a kind that is told by edges or words.
        background: of the cameras that the set is of; None where they are not fixed.
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
    proposer: Proposer | None = None
    background: Background | None = None

    def crops(self) -> Crops:
        """The search's crops, R of each image."""
        return turned_crops(self.boxes, self.angles)

    def placed(self, number: int | None = None) -> Tensor:
        """Boxes (M, 4) of the objects that are believed to be there, or of all where none is; sizes are measured on these.

        Args:
            number: which object of each image, 0 is the first; all of them when left out.

        Returns:
            (M, 4) normalised letterbox boxes.
        """
        boxes, present = (self.boxes, self.present) if number is None else (self.boxes[:, number], self.present[:, number])
        return boxes[present] if bool(present.any()) else boxes.reshape(-1, 4)

    def upright(self) -> Tensor:
        """Upright boxes (N, R, 4) of the search's crops."""
        return torch.cat([self.crops()[i].boxes() for i in torch.arange(len(self.boxes)).split(SCORE.boxes_at_once)])

    def add(self, boxes: Tensor, angles: Tensor, present: Tensor) -> None:
        """Take up one more object of this kind in each image.

        Args:
            boxes: (N, 4).
            angles: (N,) radians.
            present: (N,) whether it is believed to be there.
        """
        self.boxes = torch.cat([self.boxes, boxes[:, None]], 1)
        self.angles = torch.cat([self.angles, angles[:, None]], 1)
        self.present = torch.cat([self.present, present[:, None]], 1)

    def fix(self, annotations: Annotations) -> None:
        """Put a person's annotations in the place of what was found: these crops stay where they are."""
        for i, known in annotations.boxes.items():
            self.present[i] = False
            own, free = known.to(self.boxes.device), list(range(len(known)))
            for r in range(min(len(own), self.boxes.shape[1])):  # each the one that is nearest to what was found
                best = max(free, key=lambda j: float(box_iou(own[j], self.boxes[i, r])))
                free.remove(best)
                self.boxes[i, r], self.angles[i, r], self.present[i, r] = own[best], 0.0, True


@dataclass(frozen=True, slots=True)
class _Found:
    """A kind, and what is needed to look for another object of it.

    Attributes:
        kind: the kind.
        place: see `Hypothesis`.
        likely: the margin half-way between random patches and the first object.
    """

    kind: Kind
    place: Callable[[Tensor], Placed] | None
    likely: float


def find_kinds(
    cache: Cache,
    encoder: Encoder,
    config: TrainConfig,
    device: torch.device,
    progress: Callable[[str], None] = lambda _: None,
    large: Cache | None = None,
    annotations: Sequence[Annotations | None] = (None,),
) -> list[Kind]:
    """Search a set of images for what they have in common.

    The search looks at `config.search_images` of them, drawn at random; the rest are labelled with what it found, some at a time. Further
    kinds are looked for where nothing was found yet. On a network's features the objects are chosen among proposals of whole ones, and those
    beside the first are found in the same way by the model; of a kind that is told by edges there is one, and each further one that a
    number asks for is searched for.

    Args:
        cache: N images at the size that the transformer looks at.
        encoder: gives the embeddings.
        config: `search`, `size`, `search_images`, `transform`, `objects`, `kinds`, `cascade` and `seed` are used.
        device: to work on.
        progress: told what is being done.
        large: the same images, larger, for a dense encoder to look at closely; `cache` when left out.
        annotations: a person's, of some of the images, for each kind; None where there are none.

    Returns:
        The kinds, in the order in which they were found.
    """
    known = [i for own in annotations if own is not None for i in own.boxes]
    seen = SearchedSet.of(cache, large or cache, encoder, config, device, progress, known)
    background = cache_result(partial(_background, seen))  # rigid kinds have no use for it
    kinds = list[Kind]()
    for number in range(config.kinds):
        progress(f"kind {number + 1}")
        taken = torch.cat([kind.upright() for kind in kinds], 1) if kinds else None
        found = _find_kind(seen, taken, background, annotations[number] if number < len(annotations) else None)
        kinds.append(found.kind)
        if found.place is not None:
            _add_others(seen, found, found.place, kinds)
    return kinds


def _add_others(seen: SearchedSet, found: _Found, place: Callable[[Tensor], Placed], kinds: list[Kind]) -> None:
    """Look for further objects of a kind in each image, until most images hold no other; as many as are asked for at most."""
    for number in range(1, min(seen.config.objects, MOST_KINDS)):
        seen.progress(f"object {number + 1}")
        if not _add_another(seen, found, place, torch.cat([kind.upright() for kind in kinds], 1)):
            return


def _background(seen: SearchedSet) -> Background | None:
    """The background of fixed cameras, if the images that the search looks at are of such."""
    seen.progress("background")
    scene = Scene.of(seen.large, seen.chosen, seen.device)
    found = find_background(scene.images, scene.rectangles)
    return None if found is None else found.to(seen.device)


def _find_kind(
    seen: SearchedSet, taken: Tensor | None, background: Callable[[], Background | None], annotations: Annotations | None
) -> _Found:
    """What is common outside of the boxes (N, K, 4) that are taken, with its scorer and its first object in each image."""
    chosen = choose(seen, taken)
    hand_back()
    if annotations is not None and annotations.objects and isinstance(chosen.evidence, RigidResult):
        chosen = place_rigid(seen, like_examples(seen, chosen.evidence, annotations), chosen.contrast, taken)
    appearance = cache_result(partial(appearance_of, seen))  # scorers of other kinds have no use for it
    scorer, common = _scorer_of(seen, chosen, appearance), None
    proposer = place = None
    there = torch.ones_like(chosen.angles, dtype=torch.bool)
    if isinstance(scorer, DenseScorer):
        place = background()
        proposer = Proposer().to(seen.device)
        if annotations is None:
            proposer, boxes = ObjectSearch(seen, scorer, chosen.boxes, taken, place).find(proposer)
            chosen = replace(chosen, boxes=boxes)
            scorer = _scorer_of(seen, chosen, appearance)  # what the objects are like, in place of what the windows were like
        else:
            found = AnnotatedSearch(seen, annotations, appearance(), taken, place, known=False).find(proposer, chosen.boxes)
            proposer, scorer, there = found.proposer, found.scorer, found.there
            chosen = replace(chosen, boxes=found.boxes)
    if place is None and not isinstance(chosen.evidence, RigidResult | WordsResult):
        common = chosen.evidence.common()  # before a background it would be about the place
    curve, objective = (chosen.rigid.curve, chosen.rigid.objective) if chosen.rigid else ([], None)
    kind = Kind(
        scorer.kind,
        scorer,
        chosen.boxes[:, None],
        chosen.angles[:, None],
        there[:, None],
        curve,
        objective,
        chosen.contrast,
        common,
        proposer,
        place,
    )
    random, first = _typical_margins(seen, kind)
    if isinstance(scorer, DenseScorer):  # where the margin says that there is none, there is nothing to learn from
        margins = _margins_of(seen, kind, chosen.boxes, chosen.angles)
        kind.present[:, 0] &= margins > quantile(random.flatten(), SCORE.hopeless)
    if annotations is not None:
        kind.fix(annotations)
    return _Found(kind, chosen.place, float(random.median() + first.median()) / 2)


def _scorer_of(seen: SearchedSet, chosen: Hypothesis, appearance: Callable[[], Appearance]) -> Scorer:
    """The scorer of what a search found."""
    evidence, encoder = chosen.evidence, seen.encoder
    if isinstance(evidence, RigidResult):
        scorer = RigidScorer.of(evidence, encoder)
        crops = turned_crops(chosen.boxes[:, None], chosen.angles[:, None])[seen.chosen]
        scorer.prototype.copy_(scorer.embed(seen.scene.images, crops).mean((0, 1)))
        return scorer
    if isinstance(evidence, WordsResult):
        return WordsScorer.of(evidence, encoder)
    return DenseScorer.of(encoder, appearance(), seen.scene.rectangles, chosen.boxes[seen.chosen])


def appearance_of(seen: SearchedSet) -> Appearance:
    """What the encoder sees of the images that the search looks at, at the size that the transformer looks at.

    Args:
        seen: the set.

    Returns:
        Of these images, in their order.
    """
    parts = seen.chosen.split(CHOICE.images_at_once)
    return Appearance.join([Scene.of(seen.cache, i, seen.device, keep=True).appearance(seen.encoder) for i in parts])


def _typical_margins(seen: SearchedSet, kind: Kind) -> tuple[Tensor, Tensor]:
    """Margins of random patches (n, R) and of a kind's first objects (n,), in the images that the search looks at."""
    crops = kind.crops()[seen.chosen]
    box = kind.boxes[seen.chosen, 0]
    generator = torch.Generator().manual_seed(seen.config.seed)
    patches = Crops.of_boxes(random_boxes(seen.scene.rectangles, RIGID.random_patches, box[:, 2:] - box[:, :2], generator))
    if isinstance(kind.scorer, RigidScorer):
        kind.scorer.observe(kind.scorer.embed(seen.scene.images, crops), kind.scorer.embed(seen.scene.images, patches))
    margins = kind.scorer.margins(seen.scene, crops, patches)
    return margins[:, 1:], margins[:, 0]


def _margins_of(seen: SearchedSet, kind: Kind, boxes: Tensor, angles: Tensor) -> Tensor:
    """Margins (N,) of one crop of each image of the set: boxes (N, 4) turned by angles (N,)."""
    crops = turned_crops(boxes[:, None], angles[:, None])
    out = torch.zeros(len(seen.cache), device=seen.device)
    for number, i in enumerate(torch.arange(len(seen.cache)).split(CHOICE.images_at_once)):
        seen.progress(f"scored {number * CHOICE.images_at_once} of {len(seen.cache)}")
        out[i] = kind.scorer.margins(Scene.of(seen.cache, i, seen.device, keep=True), crops[i])[:, 0]
    return out


def _add_another(seen: SearchedSet, found: _Found, place: Callable[[Tensor], Placed], taken: Tensor) -> bool:
    """Add one more object of a known kind, if in enough images the best place outside of what is taken is likely one."""
    boxes, angles = place(taken)
    present = _margins_of(seen, found.kind, boxes, angles) > found.likely
    if float(present.sum()) < SCORE.same_kind * len(present):
        return False
    found.kind.add(boxes, angles, present)
    return True
