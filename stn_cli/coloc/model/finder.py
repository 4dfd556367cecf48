"""The trained network of a run: f_loc on the image's own maps, T_theta, coarse to fine where the run is a cascade."""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stn_cli.coloc.crops import Crops, cut
from stn_cli.coloc.model.settings import FINDER
from stn_cli.coloc.scene import Scene
from stn_cli.coloc.score.scorers import DenseScorer, Scorer
from stn_cli.coloc.search.layout import or_middle
from stn_cli.encoders import GradientEncoder
from stn_cli.geometry import index_to_normalised
from stn_cli.media.cache import Cache
from stn_cli.stn import Attention, HeatmapLocalisation, SpatialTransformer, Transformation, by_name
from stn_cli.stn.localisation import Seen
from stn_cli.stn.transforms.attention import diagonal


class Reader(Protocol):
    """What f_loc reads instead of raw pixels."""

    channels: int
    hideable: int
    """How many of the first channels are many views of one thing, of which some can be hidden while f_loc learns."""

    def maps(self, scene: Scene) -> Tensor:
        """(B, channels, h, w), without gradients."""


class EdgeReader:
    """Orientation and colour, as the gradient encoder sees them."""

    channels = 14
    hideable = 0

    def __init__(self) -> None:
        self.encoder = GradientEncoder()

    def maps(self, scene: Scene) -> Tensor:
        """(B, 14, S / 4, S / 4)."""
        return self.encoder.maps(scene.images)


class ImageLocalisation(nn.Module):
    """f_loc that reads an encoder's maps instead of raw pixels, and looks only where the image is.

    The maps are not learnt with it, so that a hundred images are enough to learn from.

    Args:
        transform: the transformation whose theta is regressed.
        reader: gives the maps; it is shared, not a part.
        width: channels of the body.
    """

    mean: Tensor
    std: Tensor
    reader: Reader

    def __init__(self, transform: Transformation, reader: Reader | None = None, width: int = FINDER.width) -> None:
        super().__init__()
        object.__setattr__(self, "reader", reader or EdgeReader())
        channels = self.reader.channels
        self.body = HeatmapLocalisation(transform, channels=channels, width=width)
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("std", torch.ones(channels))

    def standardise(self, scene: Scene) -> None:
        """Take the maps' mean and spread from a sample of images."""
        maps = self.reader.maps(scene)
        self.mean.copy_(maps.mean((0, 2, 3)))
        self.std.copy_(maps.std((0, 2, 3)).clamp(min=FINDER.spread))

    def begin_at(self, sides: Tensor) -> None:
        """State the crop's half sides (2,) that training starts from."""
        self.body.start.copy_(self.body.transform.shape_of_box(sides))

    def forward(self, scene: Scene) -> Tensor:
        """Theta (B, theta_dim) of the one object of each of B images."""
        centre, shape, _ = self.body.read(self.look(scene))
        return self.body.transform.theta(centre, shape)

    def look(self, scene: Scene, shown: Tensor | None = None) -> Seen:
        """As `forward`, but returns the heatmap and the map of shapes before a pose is read off them.

        Args:
            scene: B images.
            shown: (B, k) weights of the first k maps that are read; all are 1 when left out.

        Returns:
            Logits (B, h, w) and what each cell says of the pose.
        """
        maps = self.reader.maps(scene)
        maps = (maps - self.mean.view(-1, 1, 1)) / self.std.view(-1, 1, 1)
        if shown is not None:
            maps = maps * F.pad(shown, (0, maps.shape[1] - shown.shape[1]), value=1.0)[..., None, None]
        return self.body.see(maps, cells_inside(scene.rectangles, (maps.shape[-2], maps.shape[-1])))


def cells_inside(rectangles: Tensor, size: tuple[int, int]) -> Tensor:
    """Cells of a map whose centre lies in the image, those along its middle where it is thinner than a cell.

    Args:
        rectangles: (B, 4) the images' outlines on their letterboxes.
        size: (h, w) of the map.

    Returns:
        (B, h, w) of bool.
    """
    h, w = size
    x = index_to_normalised(torch.arange(w, device=rectangles.device, dtype=rectangles.dtype), w)
    y = index_to_normalised(torch.arange(h, device=rectangles.device, dtype=rectangles.dtype), h)
    x1, y1, x2, y2 = (v[:, None, None] for v in rectangles.unbind(-1))
    y = y[:, None]
    across = or_middle((x >= x1) & (x <= x2), x - (x1 + x2) / 2, -1)
    return across & or_middle((y >= y1) & (y <= y2), y - (y1 + y2) / 2, -2)


def options_for(transform: str, boxes: Tensor) -> dict[str, float]:
    """Options of a transformation for objects of a size.

    Args:
        transform: its name.
        boxes: (M, 4) of the objects.

    Returns:
        The objects' scale where the transformation has a fixed one; else nothing.
    """
    if transform not in ("fixed_attention", "euclidean"):
        return {}
    half = (boxes[..., 2:] - boxes[..., :2]) / 2
    return {"scale": float(half.clamp(min=1e-3).log().mean().exp())}


class Finder(nn.Module):
    """The transformers that find one kind of object: `objects` crops of each image, through one or more levels.

    Transformers of one kind share f_loc and take the peaks of its heatmap in turn; the coarse levels of a cascade are
    attention windows, the last one is the transformation that was asked for.

    Args:
        transform: T_theta of the crops.
        objects: how many objects of this kind are looked for in each image.
        levels: D; the first level sees the letterbox reduced by 2^(D-1).
        reader: what the first level reads; orientation and colour when left out, as finer levels do.
    """

    def __init__(self, transform: Transformation, objects: int = 1, levels: int = 1, reader: Reader | None = None) -> None:
        super().__init__()
        kinds = [Attention() for _ in range(levels - 1)] + [transform]
        readers = [reader] + [None] * (levels - 1)
        self.levels = nn.ModuleList(
            SpatialTransformer(ImageLocalisation(kind, eyes), kind, (FINDER.crop_side, FINDER.crop_side), padding="border")
            for kind, eyes in zip(kinds, readers, strict=True)
        )
        self.objects = objects
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

    def read_with(self, scorer: Scorer) -> None:
        """Let the first level read what a scorer sees, where f_loc can read that; one with the same projection as the last."""
        if isinstance(scorer, DenseScorer):
            object.__setattr__(self.localisation(0), "reader", scorer)

    def coarse(self, scene: Scene) -> Scene:
        """What the first level sees."""
        return scene if self.reduction == 1 else Scene(F.avg_pool2d(scene.images, self.reduction), scene.rectangles)

    def forward(self, scene: Scene, depth: int | None = None) -> Crops:
        """Find the objects in a batch of images.

        Args:
            scene: B images on letterboxes.
            depth: how many levels look; all of them when left out.

        Returns:
            R crops of each image, in normalised letterbox coordinates.
        """
        first = self.transformer(0)
        body = self.localisation(0).body
        seen = self.localisation(0).look(self.coarse(scene))
        poses = body.peaks(seen, self.objects) if self.objects > 1 else [body.read(seen)[:2]]
        crops = Crops(first.transform, first.transform.matrix(torch.stack([first.transform.theta(c, s) for c, s in poses], 1)))
        for level in range(1, depth or len(self.levels)):
            windows = window_of(crops)
            theta = self.transformer(level).localisation(look_through(scene, windows))
            transform = self.transformer(level).transform
            matrix = transform.after(windows.flatten(0, 1), transform.matrix(theta))
            crops = Crops(transform, matrix.unflatten(0, windows.shape[:2]))
        return crops


def make_finder(transform: str, options: dict[str, float], objects: int, levels: int, scorer: Scorer) -> Finder:
    """A finder that has learnt nothing yet.

    Args:
        transform: name of the transformation of its crops.
        options: of that transformation, see `options_for`.
        objects: how many objects of this kind are looked for in each image.
        levels: of the cascade.
        scorer: where it reads features that f_loc can read too, f_loc reads those.

    Returns:
        The finder, on the CPU. Its weights are drawn from torch's own generator.
    """
    reader = scorer if isinstance(scorer, DenseScorer) else None
    return Finder(by_name(transform, **options), objects, levels, reader)


@torch.no_grad()
def predict(
    finder: Finder, cache: Cache, device: torch.device, index: Tensor, depth: int | None = None, chunk: int = 64
) -> Crops:
    """The crops of some images of a set.

    Args:
        finder: on `device`.
        cache: the set.
        device: to work on.
        index: (B,) which images.
        depth: how many levels of the finder look; all of them when left out.
        chunk: images per call of the network.

    Returns:
        R crops of each of the B images.
    """
    parts = [finder(Scene.of(cache, i, device, keep=True), depth) for i in index.split(chunk)]
    return Crops(parts[0].transform, torch.cat([p.matrix for p in parts]))


def window_of(crops: Crops) -> Tensor:
    """The upright windows in which the next level looks.

    Args:
        crops: R of each of B images, by the last level.

    Returns:
        (B, R, 2, 3) from a window to the letterbox, without gradients.
    """
    box = crops.detach().boxes()
    half = ((box[..., 2:] - box[..., :2]) / 2).amax(-1, keepdim=True).clamp(1e-3, 1.0)
    return diagonal((FINDER.context * half).expand(*half.shape[:-1], 2), crops.detach().centres())


def look_through(scene: Scene, windows: Tensor) -> Scene:
    """What windows show at full resolution.

    Args:
        scene: B images.
        windows: (B, R, 2, 3) from a window to the letterbox.

    Returns:
        B R square images; the outlines are those of the whole images, as seen from the windows.
    """
    crops = Crops(Attention(), windows)
    scale, shift = windows[..., 0, 0, None], windows[..., 2]
    corners = (scene.rectangles[:, None].unflatten(-1, (2, 2)) - shift[..., None, :]) / scale[..., None]
    return Scene(cut(scene.pyramid, crops, FINDER.window_side).flatten(0, 1), corners.flatten(-2).flatten(0, 1))
