"""What is common to a set: is it rigid or deformable, how large is it, and where is it in each image?

The rigid hypothesis lays crops over each other, the deformable one tells cells inside windows from cells outside. Both are searched
for, and one is believed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from stn_cli.coloc.crops import Crops, random_boxes
from stn_cli.coloc.objective import SIZE_REWARD, sized_loss
from stn_cli.coloc.scene import Scene
from stn_cli.coloc.search.outlined import OutlinedSearch, label_all, search_outlined
from stn_cli.coloc.search.rigid import RigidResult, apply_rigid, embed_cut, search_rigid
from stn_cli.coloc.search.rotation import Alignment, learn_alignment
from stn_cli.coloc.search.searched import Placed, SearchedSet
from stn_cli.coloc.search.settings import CHOICE, RIGID, ROTATION
from stn_cli.coloc.search.visual_words import WordsResult, apply_words, search_words
from stn_cli.encoders import GradientEncoder


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """The hypothesis that is believed, and where it places the common thing.

    Attributes:
        evidence: what its search found: `RigidResult`, or of the deformable ones `WordsResult` or `OutlinedSearch`.
        boxes: (N, 4) the first object in every image of the set, normalised letterbox boxes before they are turned about their centres.
        angles: (N,) radians.
        place: boxes (N, K, 4) that are taken -> boxes (N, 4) and angles (N,) of the best places outside of them; None on a network's
            features, where objects are chosen among proposals.
        rigid: what the rigid search found, believed or not; None where it was not run, or no window fits.
        contrast: of the deformable hypothesis; None where it was not tried.
    """

    evidence: RigidResult | WordsResult | OutlinedSearch
    boxes: Tensor
    angles: Tensor
    place: Callable[[Tensor], Placed] | None
    rigid: RigidResult | None
    contrast: float | None


def choose(seen: SearchedSet, taken: Tensor | None) -> Hypothesis:
    """Search for what is common under both hypotheses, and say which is believed.

    Args:
        seen: the set; `config.search` may leave one hypothesis out.
        taken: (N, K, 4) boxes of objects that were found before, where this one is not; None for the first.

    Returns:
        What is believed, and where it places the first object.
    """
    config, encoder = seen.config, seen.encoder
    if config.search == "rigid" and (rigid := _rigid(seen, taken)) is not None:
        return place_rigid(seen, rigid, None, taken)
    seen.progress("windows of cells")
    if encoder.dense:
        outlined = search_outlined(seen, taken)
        rigid, believed = _rigid_if_likely(seen, taken, outlined.windows.contrast, CHOICE.rigid_below_dense)
        return believed or _dense(seen, rigid, outlined)
    assert isinstance(encoder, GradientEncoder)
    cells = torch.cat([encoder.maps(part) for part in seen.scene.images.split(CHOICE.images_at_once)])
    words = search_words(encoder, cells, seen.scene.rectangles, seed=config.seed, sides=seen.sides, taken=seen.held(taken))
    rigid, believed = _rigid_if_likely(seen, taken, words.contrast, CHOICE.rigid_below)
    return believed or _words(seen, rigid, words, taken)


def _rigid_if_likely(
    seen: SearchedSet, taken: Tensor | None, contrast: float, below: float
) -> tuple[RigidResult | None, Hypothesis | None]:
    """What the rigid search found, and the hypothesis where it is believed.

    A few images are searched before all of them: fewer crops agree better by chance, so that what is not good enough in those is not in
    all of them either. Sides so small that the reward for size alone rules them out are not tried.
    """
    if seen.config.search != "auto":
        return None, None
    least, step = least_believed(contrast, below), max(1, len(seen.chosen) // CHOICE.tried_images)
    rigid = None
    for one_of in sorted({step, 1}, reverse=True):
        rigid = _rigid(seen, taken, least, one_of)
        if rigid is None or not is_rigid(rigid, contrast, below):
            return rigid, None
    assert rigid is not None
    return rigid, place_rigid(seen, rigid, contrast, taken)


def _rigid(seen: SearchedSet, taken: Tensor | None, least: float = 0.0, one_of: int = 1) -> RigidResult | None:
    """The rigid search over the images that are looked at, or one of so many of them."""
    held, some = seen.held(taken), slice(None, None, one_of)
    return search_rigid(
        seen.encoder, seen.scene.images[some], seen.scene.rectangles[some], seed=seen.config.seed, sides=seen.sides,
        ladder=seen.ladder, least=least, angles=seen.angles, taken=None if held is None else held[some], progress=seen.progress,
    )  # fmt: skip


def least_believed(contrast: float, below: float) -> float:
    """The side below which no rigid crop is believed, however well they agree.

    Args:
        contrast: of the deformable hypothesis.
        below: the bar of `is_rigid`.

    Returns:
        A share of the letterbox.
    """
    return math.exp((CHOICE.contrast_weight * contrast - below) / (2 * SIZE_REWARD))


def is_rigid(rigid: RigidResult, contrast: float, below: float = CHOICE.rigid_below) -> bool:
    """Whether the rigid hypothesis is believed: its crops, laid over each other, must agree well enough.

    Args:
        rigid: what was found under it; told by its loss less the reward for size.
        contrast: of the deformable hypothesis: the more clearly that one stands out, the better the rigid one must be.
        below: the bar.

    Returns:
        True where it is.
    """
    return rigid.objective + CHOICE.contrast_weight * contrast < below


def place_rigid(seen: SearchedSet, rigid: RigidResult, contrast: float | None, taken: Tensor | None) -> Hypothesis:
    """Crops of one layout of edges, turned where the transformation turns.

    Args:
        seen: the set.
        rigid: the layout.
        contrast: of the deformable hypothesis; None where it was not tried.
        taken: (N, K, 4) boxes of objects that were found before; None for the first.

    Returns:
        The hypothesis, with a place in every image.
    """
    turns = len(rigid.angles) > 1
    stretches = (1.0,) if turns else choose_stretches(seen, rigid, taken)
    alignment = _align(seen, rigid, taken) if turns else None

    def place(index: Tensor, out_of: Tensor | None) -> Placed:
        scene = Scene.of(seen.cache, index, seen.device)
        box, angle = apply_rigid(rigid, seen.encoder, scene.images, scene.rectangles, stretches, out_of)
        box = tighten(box, RIGID.tighten)
        return (box, angle) if alignment is None else alignment.apply(scene.images, box, angle)

    boxes, angles = seen.everywhere(place, taken)
    return Hypothesis(rigid, boxes, centred(angles), partial(seen.everywhere, place), rigid, contrast)


def _words(seen: SearchedSet, rigid: RigidResult | None, words: WordsResult, taken: Tensor | None) -> Hypothesis:
    """Windows by the margins of words, where the encoder's cells are plain values."""

    def place(index: Tensor, out_of: Tensor | None) -> Placed:
        scene = Scene.of(seen.cache, index, seen.device)
        box = apply_words(words, scene.appearance(seen.encoder).cells, scene.rectangles, seen.sides, out_of)
        return box, torch.zeros_like(box[:, 0])

    return Hypothesis(words, *seen.everywhere(place, taken), partial(seen.everywhere, place), rigid, words.contrast)


def _dense(seen: SearchedSet, rigid: RigidResult | None, found: OutlinedSearch) -> Hypothesis:
    """Outlined windows on a network's dense features."""
    return Hypothesis(found, *label_all(seen, found), None, rigid, found.windows.contrast)


def choose_stretches(seen: SearchedSet, rigid: RigidResult, taken: Tensor | None) -> tuple[float, ...]:
    """The sides that single images may take, in units of the common one: other ones than 1 only if the objective gains by it.

    Args:
        seen: the set.
        rigid: what was found in it.
        taken: (N, K, 4) boxes of objects that were found before; None for the first.

    Returns:
        Factors of the common side.
    """
    low, high = seen.sides or (0.0, 1.0)
    stretches = tuple(s for s in RIGID.stretches if low <= s * rigid.side <= high) or (1.0,)
    scene, encoder = seen.scene, seen.encoder
    generator = torch.Generator().manual_seed(seen.config.seed)
    full = scene.rectangles.new_tensor([2 * rigid.side, 2 * rigid.side])
    random = Crops.of_boxes(random_boxes(scene.rectangles, RIGID.random_patches, full, generator))
    losses = []
    for choice in ((1.0,), stretches):
        boxes, _ = apply_rigid(rigid, encoder, scene.images, scene.rectangles, choice, seen.held(taken))
        crops = Crops.of_boxes(boxes[:, None])
        positive, away = (embed_cut(encoder, scene.pyramid, c) / rigid.scale for c in (crops, random))
        losses.append(float(sized_loss(positive[:, 0], away, crops.log_area(), seen.config.margin)))
    return stretches if losses[1] < losses[0] - RIGID.stretch_gain else (1.0,)


def _align(seen: SearchedSet, rigid: RigidResult, taken: Tensor | None) -> Alignment:
    scene = seen.scene
    boxes, angles = apply_rigid(rigid, seen.encoder, scene.images, scene.rectangles, (1.0,), seen.held(taken))
    generator = torch.Generator().manual_seed(seen.config.seed)
    return learn_alignment(seen.encoder, scene.images, scene.rectangles, tighten(boxes, RIGID.tighten), angles, generator)


def centred(angles: Tensor) -> Tensor:
    """Turn all angles by one, so that their mean direction is 0: crops come upright when most objects stand upright.

    Args:
        angles: (N,) radians.

    Returns:
        (N,) in (-pi, pi]; turned by nothing where they point everywhere, for then no direction is upright.

    >>> centred(torch.tensor([0.5, 0.7])).round(decimals=3).tolist()
    [-0.10000000149011612, 0.10000000149011612]
    """
    middle = torch.atan2(angles.sin().mean(), angles.cos().mean())
    if float(torch.hypot(angles.sin().mean(), angles.cos().mean())) < ROTATION.upright_above:
        middle = torch.zeros_like(middle)  # they point everywhere: no direction is upright
    turned = angles - middle
    return torch.atan2(turned.sin(), turned.cos())


def tighten(boxes: Tensor, share: float) -> Tensor:
    """Shrink boxes about their centres.

    Args:
        boxes: (N, 4).
        share: of their sides that is left.

    Returns:
        (N, 4).

    >>> tighten(torch.tensor([[-1.0, -0.5, 1.0, 0.5]]), 0.5).tolist()
    [[-0.5, -0.25, 0.5, 0.25]]
    """
    centre, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2
    return torch.cat([centre - share * half, centre + share * half], 1)
