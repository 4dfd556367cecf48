"""The whole of a run as one module of tensors: pictures in; boxes, corners, scores and kinds out. What `Localiser.localise_batch` finds."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from stn_cli.coloc.crops import Crops
from stn_cli.coloc.graph.choosing import best
from stn_cli.coloc.graph.proposals import ProposerGraph
from stn_cli.coloc.graph.resizing import OnLetterbox, place_all, reducing
from stn_cli.coloc.model.found import SAME_OBJECT
from stn_cli.coloc.model.kind_model import KindModel, upright
from stn_cli.coloc.scene import Scene
from stn_cli.coloc.score.objects import candidates
from stn_cli.coloc.score.scorers import DenseScorer
from stn_cli.coloc.score.settings import OBJECTS, TAUGHT
from stn_cli.geometry import clip_boxes, normalised_to_pixels
from stn_cli.runs.config import MOST_OBJECTS


class KindGraph(nn.Module):
    """One kind of object: what `stn_cli.coloc.model.kind_model.find` finds.

    Args:
        model: of the kind, in single precision and on the CPU.
    """

    def __init__(self, model: KindModel) -> None:
        super().__init__()
        self.finder, self.scorer, self.calibration = model.finder, model.scorer, model.calibration
        self.proposer = None if model.proposer is None else ProposerGraph(model.proposer)
        self.most = model.finder.objects if self.proposer is None else min(model.objects or MOST_OBJECTS, 1 + OBJECTS.proposals)

    def forward(self, scene: Scene, closely: Scene, placed: OnLetterbox) -> tuple[Crops, Tensor]:
        """The objects of this kind.

        Args:
            scene: B pictures of one size, as the finder looks at them.
            closely: the same as the proposer does.
            placed: where they lie on their letterboxes.

        Returns:
            Crops, `most` of each picture, and their scores (B, most), below 0 where a picture has fewer.
        """
        crops = self.finder(scene)
        proposer, scorer = self.proposer, self.scorer
        if proposer is None or not isinstance(scorer, DenseScorer):
            return crops, self.calibration(scorer.margins(scene, crops))
        windows = crops.boxes()[:, 0]
        found = candidates(
            lambda images, _, most: proposer(images, placed, most), scorer, None, scene, closely, windows, TAUGHT
        )
        scores = found.odds.sigmoid()
        likely = scores >= scores.amax(1, keepdim=True).clamp(max=OBJECTS.least)
        chosen = best(found.boxes, torch.where(likely, scores, -1.0), OBJECTS.apart, self.most)
        there = chosen.scores >= 0
        return upright(crops, chosen.of(found.drawn), chosen.index == 0), torch.where(
            there, self.calibration.most * chosen.scores, -1.0
        )


class FinderGraph(nn.Module):
    """A run, from pictures to boxes.

    Args:
        kinds: models of the kinds of objects, in their order.
        letterbox: side at which pictures are looked at, pixels.
        coarse: side at which finders look; `letterbox` where nothing looks more closely.
        least: score below which an object is left out.
    """

    reduction: Tensor

    def __init__(self, kinds: list[KindModel], letterbox: int, coarse: int, least: float) -> None:
        super().__init__()
        self.kinds = nn.ModuleList(KindGraph(kind) for kind in kinds)
        self.letterbox, self.coarse, self.least = letterbox, coarse, least
        self.register_buffer("reduction", reducing(letterbox, coarse))

    @property
    def most(self) -> int:
        """K, how many objects a picture may have."""
        return sum(kind.most for kind in self.kinds)  # type: ignore[misc]

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Find every object.

        Args:
            images: (B, H, W, 3) uint8, RGB, upright, of one size.

        Returns:
            boxes (B, K, 4) x1, y1, x2, y2 in pixels of the pictures; scores (B, K), falling, below 0 where a picture has fewer; kinds (B, K)
            from 0; quads (B, K, 4, 2), the crops' corners.
        """
        placed = OnLetterbox.of(images.shape[1], images.shape[2], self.letterbox)
        large = place_all(images, placed) / 255
        rectangles = placed.rectangle().float().expand(images.shape[0], 4)
        scene = closely = Scene(large, rectangles)
        if self.coarse < self.letterbox:
            scene = Scene(self.reduction @ large @ self.reduction.T, rectangles)
        parts = []
        for number, kind in enumerate(self.kinds):
            crops, scores = kind(scene, closely, placed)
            parts.append((*_in_pixels(crops, placed), scores.clamp(max=1), torch.full_like(scores, number, dtype=torch.int64)))
        boxes, quads, scores, kinds = (torch.cat(part, 1) for part in zip(*parts, strict=True))
        found = best(boxes, torch.where(scores >= self.least, scores, -1.0), SAME_OBJECT, self.most)
        there = found.scores >= 0
        boxes, quads = found.of(boxes).float(), found.of(quads).float()
        return (
            torch.where(there[..., None], boxes, 0.0),
            found.scores,
            torch.where(there, found.of(kinds), 0),
            torch.where(there[..., None, None], quads, 0.0),
        )


def _in_pixels(crops: Crops, placed: OnLetterbox) -> tuple[Tensor, Tensor]:
    """Upright boxes (B, R, 4) and corners (B, R, 4, 2) of crops, in double precision as records have them."""
    moved = Crops(crops.transform, crops.matrix.to(torch.float64)).after(placed.letterbox_to_image())
    boxes = normalised_to_pixels(moved.boxes().unflatten(-1, (2, 2)), placed.size).flatten(-2)
    return clip_boxes(boxes, placed.size), normalised_to_pixels(moved.quads(), placed.size)
