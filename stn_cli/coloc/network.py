"""The trained transformer: f_loc on the image's own maps, T_theta, sampler."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from stn_cli.coloc.encoder import GradientEncoder
from stn_cli.geometry import index_to_normalised
from stn_cli.stn import HeatmapLocalisation, SpatialTransformer, Transformation


class ImageLocalisation(nn.Module):
    """f_loc that reads orientation and colour maps instead of raw pixels, and looks only where the image is.

    Its first layers are the gradient encoder's (they have no weights), so that a hundred images are enough to learn from.

    Args:
        grid: the transformation whose theta is regressed.
        width: channels of the body.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, grid: Transformation, width: int = 48) -> None:
        super().__init__()
        self.maps = GradientEncoder()
        self.body = HeatmapLocalisation(grid, channels=self.channels, width=width)
        self.register_buffer("mean", torch.zeros(self.channels))
        self.register_buffer("std", torch.ones(self.channels))

    channels = 14

    def standardise(self, images: Tensor) -> None:
        """Take the maps' mean and spread from a sample of images (B, 3, S, S)."""
        maps = self.maps.appearance(images)
        self.mean.copy_(maps.mean((0, 2, 3)))
        self.std.copy_(maps.std((0, 2, 3)).clamp(min=1e-2))

    def begin_at(self, sides: Tensor) -> None:
        """State the crop's half sides (2,) that training starts from."""
        self.body.start.copy_(self.body.grid.shape_of_box(sides))

    def forward(self, U: Tensor, rectangles: Tensor) -> Tensor:
        """Canvases (B, 3, S, S) in [0, 1] and the images' outlines on them (B, 4) -> theta (B, theta_dim)."""
        centre, shape, _ = self.look(U, rectangles)
        return self.body.grid.theta(centre, shape)

    def look(self, U: Tensor, rectangles: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As `forward`, but returns (centre, shape, log of the heatmap)."""
        maps = self.maps.appearance(U)
        maps = (maps - self.mean.view(-1, 1, 1)) / self.std.view(-1, 1, 1)
        return self.body.look(maps, cells_inside(rectangles, (maps.shape[-2], maps.shape[-1])))


def cells_inside(rectangles: Tensor, size: tuple[int, int]) -> Tensor:
    """Cells of a map whose centre lies in the image: rectangles (B, 4) -> (B, h, w)."""
    h, w = size
    x = index_to_normalised(torch.arange(w, device=rectangles.device, dtype=rectangles.dtype), w)
    y = index_to_normalised(torch.arange(h, device=rectangles.device, dtype=rectangles.dtype), h)
    x1, y1, x2, y2 = (v[:, None, None] for v in rectangles.unbind(-1))
    return (x >= x1) & (x <= x2) & (y[:, None] >= y1) & (y[:, None] <= y2)


def build_transformer(grid: Transformation, side: int) -> SpatialTransformer:
    """The network of a run: its crops have `side` pixels."""
    return SpatialTransformer(ImageLocalisation(grid), grid, (side, side), padding="border")
