"""The trained network of a run: f_loc on the image's own maps, T_theta, coarse to fine where the run is a cascade."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stn_cli.coloc.encoder import GradientEncoder
from stn_cli.coloc.patches import Crops, cut
from stn_cli.geometry import index_to_normalised
from stn_cli.stn import Attention, HeatmapLocalisation, SpatialTransformer, Transformation
from stn_cli.stn.grids.attention import diagonal
from stn_cli.stn.localisation import Seen

CROP = 64
"""Side of the transformer's crops, pixels."""
CONTEXT = 2.5
"""A finer level of a cascade looks at the last level's crop enlarged this much: what the coarse level missed by is still in view."""
FINE = 64
"""Side at which a finer level looks at its window, pixels."""


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
        centre, shape, _ = self.body.read(self.look(U, rectangles))
        return self.body.grid.theta(centre, shape)

    def look(self, U: Tensor, rectangles: Tensor) -> Seen:
        """As `forward`, but returns the maps before anything is read off them."""
        maps = self.maps.appearance(U)
        maps = (maps - self.mean.view(-1, 1, 1)) / self.std.view(-1, 1, 1)
        return self.body.see(maps, cells_inside(rectangles, (maps.shape[-2], maps.shape[-1])))


def cells_inside(rectangles: Tensor, size: tuple[int, int]) -> Tensor:
    """Cells of a map whose centre lies in the image: rectangles (B, 4) -> (B, h, w)."""
    h, w = size
    x = index_to_normalised(torch.arange(w, device=rectangles.device, dtype=rectangles.dtype), w)
    y = index_to_normalised(torch.arange(h, device=rectangles.device, dtype=rectangles.dtype), h)
    x1, y1, x2, y2 = (v[:, None, None] for v in rectangles.unbind(-1))
    return (x >= x1) & (x <= x2) & (y[:, None] >= y1) & (y[:, None] <= y2)


def options_for(transform: str, boxes: Tensor) -> dict[str, float]:
    """Options of a transformation for objects at boxes (N, R, 4): the scale, where it is fixed, is theirs."""
    if transform not in ("fixed_attention", "euclidean"):
        return {}
    half = (boxes[..., 2:] - boxes[..., :2]) / 2
    return {"scale": float(half.clamp(min=1e-3).log().mean().exp())}


class Finder(nn.Module):
    """The transformers that find one kind of object: `ranks` crops of each image, through one or more levels.

    Transformers of one kind share f_loc and take the peaks of its heatmap in turn; the coarse levels of a cascade are
    attention windows, the last one is the transformation that was asked for.

    Args:
        grid: T_theta of the crops.
        ranks: how many objects of this kind are looked for in each image.
        levels: D; the first level sees the canvas reduced by 2^(D-1).
    """

    def __init__(self, grid: Transformation, ranks: int = 1, levels: int = 1) -> None:
        super().__init__()
        kinds = [Attention() for _ in range(levels - 1)] + [grid]
        self.levels = nn.ModuleList(
            SpatialTransformer(ImageLocalisation(kind), kind, (CROP, CROP), padding="border") for kind in kinds
        )
        self.ranks = ranks
        self.reduction = 2 ** (levels - 1)

    def transformer(self, level: int = -1) -> SpatialTransformer:
        """The transformer of a level."""
        out = self.levels[level]
        assert isinstance(out, SpatialTransformer)
        return out

    def localisation(self, level: int = -1) -> ImageLocalisation:
        """f_loc of a level."""
        out = self.transformer(level).localisation
        assert isinstance(out, ImageLocalisation)
        return out

    def coarse(self, images: Tensor) -> Tensor:
        """What the first level sees of canvases (B, 3, S, S)."""
        return images if self.reduction == 1 else F.avg_pool2d(images, self.reduction)

    def forward(self, images: Tensor, rectangles: Tensor, depth: int | None = None) -> Crops:
        """Canvases (B, 3, S, S) in [0, 1] and the images' outlines (B, 4) -> R crops of each, by the first `depth` levels."""
        first = self.transformer(0)
        body = self.localisation(0).body
        seen = self.localisation(0).look(self.coarse(images), rectangles)
        poses = body.peaks(seen, self.ranks) if self.ranks > 1 else [body.read(seen)[:2]]
        crops = Crops(first.grid, first.grid.matrix(torch.stack([first.grid.theta(c, s) for c, s in poses], 1)))
        for level in range(1, depth or len(self.levels)):
            windows = window_of(crops)
            part, inside = look_through(images, rectangles, windows)
            theta = self.transformer(level).localisation(part, inside)
            grid = self.transformer(level).grid
            matrix = grid.after(windows.flatten(0, 1), grid.matrix(theta))
            crops = Crops(grid, matrix.unflatten(0, windows.shape[:2]))
        return crops


def window_of(crops: Crops) -> Tensor:
    """The upright windows (B, R, 2, 3) around crops in which the next level looks."""
    box = crops.detach().boxes()
    half = ((box[..., 2:] - box[..., :2]) / 2).amax(-1, keepdim=True).clamp(1e-3, 1.0)
    return diagonal((CONTEXT * half).expand(*half.shape[:-1], 2), crops.detach().centres())


def look_through(images: Tensor, rectangles: Tensor, windows: Tensor) -> tuple[Tensor, Tensor]:
    """Windows (B, R, 2, 3) of canvases at full resolution (B R, 3, FINE, FINE), and the images' outlines in them (B R, 4)."""
    crops = Crops(Attention(), windows)
    scale, shift = windows[..., 0, 0, None], windows[..., 2]
    corners = (rectangles[:, None].unflatten(-1, (2, 2)) - shift[..., None, :]) / scale[..., None]
    return cut(images, crops, FINE).flatten(0, 1), corners.flatten(-2).flatten(0, 1)
