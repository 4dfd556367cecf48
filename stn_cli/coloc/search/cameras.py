"""Which images of a folder are frames of one fixed camera, in one light: their edges lie at the same places in most parts of the image.

Edges and not colours are compared, block by block: plain ground looks alike in many photographs, and the direction of an edge does not
change with the light. An object hides only the blocks that it stands in front of.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stn_cli.coloc.crops import Crops
from stn_cli.coloc.search.camera_settings import CAMERAS
from stn_cli.coloc.search.statistics import quantile
from stn_cli.stn import sample


@dataclass(frozen=True, slots=True)
class Textures:
    """Edges of images, block by block.

    Attributes:
        blocks: (N, blocks, d) unit vectors: the gradients of each block, strong ones cut down to faint ones; zero where a block is plain.
        sides: (N, 2) of the images on their letterboxes, normalised: frames of one camera have one shape.
    """

    blocks: Tensor
    sides: Tensor

    @classmethod
    def of(cls, images: Tensor, rectangles: Tensor) -> Textures:
        """The edges of images.

        Args:
            images: (N, 3, S, S) in [0, 1], on letterboxes.
            rectangles: (N, 4) the images' outlines.
        """
        n, inner = CAMERAS.blocks, CAMERAS.blocks * CAMERAS.pixels
        points = Crops.of_boxes(rectangles[:, None]).points((inner + 2, inner + 2))[:, 0]
        edges = gradients(sample(images.mean(1, keepdim=True), points, padding="border"))[..., 1:-1, 1:-1]
        strength = edges.norm(dim=1)
        middle = quantile(strength.flatten(1), 0.5).clamp(min=CAMERAS.faint)[:, None, None]
        soft = edges / (strength + middle)[:, None]
        blocks = soft.unflatten(-1, (n, -1)).unflatten(-3, (n, -1)).permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)
        return cls(F.normalize(blocks, dim=-1, eps=1e-3), rectangles[:, 2:] - rectangles[:, :2])

    def agreement(self, other: Textures) -> Tensor:
        """In how much of the image two images show the same edges.

        Args:
            other: M images.

        Returns:
            (N, M) share of the blocks; 0 for images of other shapes.
        """
        alike = self.blocks.new_zeros((len(self.blocks), len(other.blocks)))
        for own, others in zip(self.blocks.unbind(1), other.blocks.unbind(1), strict=True):
            alike += own @ others.T > CAMERAS.alike
        shaped = (self.sides[:, None] - other.sides).abs().amax(2) < 2 / CAMERAS.side
        return alike * shaped / self.blocks.shape[1]


def gradients(grey: Tensor) -> Tensor:
    """Differences of each pixel's neighbours.

    Args:
        grey: (N, 1, h, w).

    Returns:
        (N, 2, h, w) along x and y.
    """
    p = F.pad(grey, (1, 1, 1, 1), mode="replicate")
    return torch.cat([p[..., 1:-1, 2:] - p[..., 1:-1, :-2], p[..., 2:, 1:-1] - p[..., :-2, 1:-1]], 1)


def groups(agreement: Tensor) -> list[Tensor]:
    """Groups of images that agree with each other on the average (agglomerative clustering, average linkage).

    Args:
        agreement: (N, N) symmetric.

    Returns:
        The members of each group that is large enough, the largest first.
    """
    mean = agreement.cpu().numpy().astype(np.float64)
    np.fill_diagonal(mean, -1)
    members = [[i] for i in range(len(mean))]
    while len(mean) and mean.max() >= CAMERAS.joined:
        a, b = divmod(int(mean.argmax()), len(mean))
        joined = (mean[a] * len(members[a]) + mean[b] * len(members[b])) / (len(members[a]) + len(members[b]))
        mean[a], mean[:, a] = joined, joined
        mean[a, a] = mean[b] = mean[:, b] = -1
        members[a], members[b] = members[a] + members[b], []
    large = sorted((sorted(own) for own in members if len(own) >= CAMERAS.least), key=lambda own: (-len(own), own))
    return [torch.tensor(own, device=agreement.device) for own in large[: CAMERAS.most]]
