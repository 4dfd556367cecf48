"""The scorer of a deformable thing on a network's dense features: a margin linear in each cell's feature, and a likeness to the set's crops."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from stn_cli.coloc.crops import Crops
from stn_cli.coloc.scene import Scene
from stn_cli.coloc.score.laid_out import lay_out_crops
from stn_cli.coloc.score.maps import beyond_ring, ring_margins
from stn_cli.coloc.score.settings import ANNOTATIONS, SCORE
from stn_cli.coloc.search.discriminant import LinearMargin, Projection, likeness
from stn_cli.coloc.search.layout import cells_of, lay_out
from stn_cli.coloc.search.settings import DENSE
from stn_cli.coloc.search.statistics import otsu
from stn_cli.encoders import Appearance, Encoder


@dataclass(frozen=True, slots=True)
class Anchors:
    """A person's annotations of some of N images that a scorer learns from.

    Attributes:
        boxes: by the image's place among the N, (M, 4) of its objects, normalised letterbox boxes; none where it holds none.
        rejected: likewise, of what is no object.
        share: how much the annotated images count together, the others the rest.
    """

    boxes: dict[int, Tensor]
    rejected: dict[int, Tensor]
    share: float

    def cells(self, inside: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What cells tell objects from what is around them.

        Args:
            inside: (N, h, w) cells of what was found in each image.

        Returns:
            (N, h, w) cells of objects, (N,) how much each image counts, and (N, h, w) by how much more cells do that were rejected.
        """
        n, size = len(inside), (inside.shape[1], inside.shape[2])
        inside, hard = inside.clone(), torch.zeros(inside.shape, device=inside.device)
        weights = torch.full((n,), (1 - self.share) / max(1, n - len(self.boxes)), device=inside.device)
        for i, boxes in self.boxes.items():
            weights[i] = self.share / len(self.boxes)
            inside[i] = cells_of(boxes.to(inside.device), size).any(0)
            hard[i] = ANNOTATIONS.rejected * cells_of(self.rejected[i].to(inside.device), size).any(0)
        return inside, weights * n, hard

    def examples(self, z: Tensor, found: Tensor) -> Tensor:
        """What crops hold that others are compared with: the annotated ones, where there are any.

        Args:
            z: (N, h, w, d) projected cells.
            found: (N, d) what the found crops hold.

        Returns:
            (K, d).
        """
        held = [held_beyond(z[i : i + 1], Crops.of_boxes(b.to(z.device)[None]))[0] for i, b in self.boxes.items() if len(b)]
        return torch.cat(held) if held else found


class DenseScorer(nn.Module):
    """Margins in a network's features, linear in each cell's (`LinearMargin`), and less where a crop is unlike the set's; also what f_loc reads.

    The direction of the margin tells objects from what lies around them, whatever they are: an object of another kind has a margin too.
    How alike a crop is to those of the set (`likeness`) tells kinds apart.

    Args:
        encoder: a dense one.
        channels: of its cells.
        objectness: whether it knows objects.
        dimensions: of the projected cells.
        examples: how many crops of the set it holds.
    """

    kind = "dense"
    centre: Tensor
    basis: Tensor
    direction: Tensor
    offset: Tensor
    threshold: Tensor
    map_spread: Tensor
    examples: Tensor

    def __init__(
        self, encoder: Encoder, channels: int, objectness: bool, dimensions: int = DENSE.dimensions, examples: int = 0
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.objectness = objectness
        self.hideable = min(SCORE.read, dimensions)
        self.channels = self.hideable + 1 + objectness
        self.register_buffer("centre", torch.zeros(channels))
        self.register_buffer("basis", torch.zeros(channels, dimensions))
        self.register_buffer("direction", torch.zeros(dimensions))
        self.register_buffer("examples", torch.zeros(examples, dimensions))
        self.register_buffer("offset", torch.zeros(()))
        self.register_buffer("threshold", torch.zeros(()))
        self.register_buffer("map_spread", torch.ones(()))

    @classmethod
    def of(
        cls,
        encoder: Encoder,
        seen: Appearance,
        rectangles: Tensor,
        boxes: Tensor,
        anchors: Anchors | None = None,
        projection: Projection | None = None,
    ) -> DenseScorer:
        """The discriminant of what a search found.

        Args:
            encoder: a dense one.
            seen: what it sees of the set at the size that the transformer looks at.
            rectangles: (N, 4).
            boxes: (N, 4) of the objects, normalised letterbox boxes.
            anchors: a person's annotations of some of the images, in place of what was found in them; None where there are none.
            projection: of the cells; that of the set when None.
        """
        layout = lay_out((seen.cells.shape[-2], seen.cells.shape[-1]), rectangles)
        if projection is None:
            projection = Projection.several(seen.cells.movedim(1, -1)[layout.valid], [DENSE.discriminant.whiten])[0]
        z = projection(seen.cells)
        inside, weights, hard = cells_of(boxes, layout.size), None, None
        examples = held_beyond(z, Crops.of_boxes(boxes[:, None]))[:, 0]
        if anchors is not None:
            inside, weights, hard = anchors.cells(inside)
            examples = anchors.examples(z, examples)
        margin = LinearMargin.fit(z, inside, layout, DENSE.discriminant.shrinkage, weights, hard)
        values = margin.map(z, DENSE.smoothing)
        dimensions = projection.basis.shape[1]
        scorer = cls(encoder, len(projection.centre), seen.objectness is not None, dimensions, len(examples)).to(z.device)
        scorer.centre.copy_(projection.centre)
        scorer.basis.copy_(projection.basis)
        scorer.direction.copy_(margin.direction)
        scorer.offset.copy_(margin.offset)
        scorer.threshold.copy_(otsu(values[layout.valid]))
        scorer.map_spread.copy_(values[layout.valid].std().clamp(min=1e-6))
        scorer.examples.copy_(examples)
        return scorer

    @property
    def projection(self) -> Projection:
        """Of an image's cells."""
        return Projection(self.centre, self.basis)

    def seen(self, scene: Scene) -> tuple[Tensor, Tensor]:
        """What is read of images, computed once for each scene.

        Args:
            scene: B images.

        Returns:
            Projected cells (B, h, w, d), and the score map in standard deviations above the threshold (B, h, w).
        """
        return scene.once(self, lambda: self._seen(scene))

    @torch.no_grad()
    def _seen(self, scene: Scene) -> tuple[Tensor, Tensor]:
        z = self.projection(scene.appearance(self.encoder).cells)
        values = LinearMargin(self.direction, self.offset).map(z, DENSE.smoothing)
        return z, (values - self.threshold) / self.map_spread

    def maps(self, scene: Scene) -> Tensor:
        """What f_loc reads: the first components, the score map, and objectness where the encoder knows it.

        Args:
            scene: B images.

        Returns:
            (B, channels, h, w), without gradients.
        """
        z, score_map = self.seen(scene)
        parts = [z[..., : SCORE.read].movedim(-1, 1), score_map[:, None]]
        odds = scene.appearance(self.encoder).objectness
        if odds is not None:
            parts.append(odds.detach()[:, None])
        return torch.cat(parts, 1)

    @torch.no_grad()
    def margins(self, scene: Scene, *crops: Crops) -> Tensor:
        """Margins of crops: the mean inside less half of the mean in a ring around, times the crop's likeness squared.

        Args:
            scene: B images.
            crops: of these, R of each in all.

        Returns:
            (B, R).
        """
        plain = ring_margins(self.seen(scene)[1], crops)
        alike = torch.cat([self.alike(scene, part) for part in crops], 1)
        return plain.clamp(max=0) + plain.clamp(min=0) * alike.square()

    @torch.no_grad()
    def alike(self, scene: Scene, crops: Crops) -> Tensor:
        """How alike crops are to those of the set.

        Args:
            scene: B images.
            crops: R of each.

        Returns:
            (B, R) in [0, 1].
        """
        return likeness(held_beyond(self.seen(scene)[0], crops), self.examples).clamp(min=0)

    def laid_out(self, scene: Scene, crops: Crops) -> Tensor:
        """e of crops, as `lay_out_crops` has it.

        Args:
            scene: B images.
            crops: R of each.

        Returns:
            (B, R, D).
        """
        return lay_out_crops(scene.appearance(self.encoder).cells, crops)


def held_beyond(z: Tensor, crops: Crops) -> Tensor:
    """What crops hold beyond their surroundings, in a network's features.

    Args:
        z: (B, h, w, d) projected cells.
        crops: R of each image.

    Returns:
        (B, R, d).
    """
    return beyond_ring(z.movedim(-1, 1), crops, SCORE.likeness_probes)
