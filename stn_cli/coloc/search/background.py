"""The background of fixed cameras, and what differs from it.

Where a folder is frames of one place, what they have in common is the place: the search would find it in all of them. The pixels' medians
over frames of one camera in one light are the place without what moves, and what differs from them is what is looked for.
"""

from __future__ import annotations

import cv2
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stn_cli.coloc.scene import sample_indices
from stn_cli.coloc.search.camera_settings import CAMERAS
from stn_cli.coloc.search.cameras import Textures, gradients, groups
from stn_cli.coloc.search.layout import lay_out, normalise_cells
from stn_cli.coloc.search.settings import CHOICE
from stn_cli.coloc.search.statistics import otsu, quantile


class Background(nn.Module):
    """What fixed cameras see when nothing is in front of them: a picture for each camera and light.

    Args:
        count: K, how many pictures.
    """

    pictures: Tensor
    """(K, 3, P, P) on letterboxes, half precision."""
    spreads: Tensor
    """(K, 2, P, P) by how much frames differ from them in colour and in gradients where nothing moves."""
    rectangles: Tensor
    """(K, 4) the frames' outlines."""
    threshold: Tensor
    map_spread: Tensor
    share: Tensor
    """Of the set's images, how many are frames of these cameras."""

    def __init__(self, count: int) -> None:
        super().__init__()
        side = CAMERAS.side
        self.register_buffer("pictures", torch.zeros((count, 3, side, side), dtype=torch.half))
        self.register_buffer("spreads", torch.ones((count, 2, side, side), dtype=torch.half))
        self.register_buffer("rectangles", torch.zeros((count, 4)))
        self.register_buffer("threshold", torch.zeros(()))
        self.register_buffer("map_spread", torch.ones(()))
        self.register_buffer("share", torch.zeros(()))

    @torch.no_grad()
    def agreement(self, images: Tensor, rectangles: Tensor) -> Tensor:
        """How much of the backgrounds images show.

        Args:
            images: (B, 3, S, S) in [0, 1], on letterboxes.
            rectangles: (B, 4) their outlines.

        Returns:
            (B, K) the share of an image's blocks that are like those of each picture. Where all are below `CAMERAS.known`, the
            image is of another place.
        """
        own = Textures.of(self.pictures.float(), self.rectangles)
        return Textures.of(_small(images), rectangles).agreement(own)

    @torch.no_grad()
    def difference(self, images: Tensor, rectangles: Tensor) -> tuple[Tensor, Tensor]:
        """What differs from the background.

        Args:
            images: (B, 3, S, S) in [0, 1], on letterboxes.
            rectangles: (B, 4) their outlines.

        Returns:
            A map (B, h, w) in standard deviations above its threshold, 0 beside the images; and (B,) whether the image is a frame of a
            known camera: the map of any other one is 0 everywhere.
        """
        changed, known = self.changed(images, rectangles)
        valid = lay_out((CAMERAS.cells, CAMERAS.cells), rectangles).valid & known[:, None, None]
        return (changed - self.threshold) / self.map_spread * valid, known

    def changed(self, images: Tensor, rectangles: Tensor) -> tuple[Tensor, Tensor]:
        """How likely each cell has changed from the picture that is most like the image.

        Args:
            images: (B, 3, S, S) in [0, 1], on letterboxes.
            rectangles: (B, 4) their outlines.

        Returns:
            (B, h, w) from 0 to 1, and (B,) whether there is such a picture.
        """
        small = _small(images)
        shown = self.agreement(small, rectangles) >= CAMERAS.known
        best = small.new_ones((len(small), CAMERAS.cells, CAMERAS.cells))
        for k in range(len(self.pictures)):
            for i in shown[:, k].nonzero()[:, 0].split(CHOICE.images_at_once):
                apart = self.residuals(small[i], k) / self.spreads[k].float()
                own = F.adaptive_avg_pool2d(1 - 1 / (1 + (apart / CAMERAS.clear).square().sum(1)), CAMERAS.cells)
                nearer = own.mean((1, 2)) < best[i].mean((1, 2))
                best[i] = torch.where(nearer[:, None, None], own, best[i])
        return best, shown.any(1)

    def residuals(self, small: Tensor, k: int) -> Tensor:
        """By how much frames differ from a picture in the frames' light.

        Args:
            small: (B, 3, P, P) frames.
            k: the number of the picture.

        Returns:
            (B, 2, P, P) of colour, mean over the channels, and of gradients. The outermost pixels are taken for unchanged, as what lies
            beside the image is: else nothing that is cut off by the border stands out from its surroundings.
        """
        inside = self._inside(k)
        lit = relight(self.pictures[k].float().expand_as(small), small, inside)
        edges, behind = (gradients(picture.mean(1, keepdim=True)) for picture in (small, lit))
        return torch.stack([(small - lit).abs().mean(1), (edges - behind).norm(dim=1)], 1) * inside

    def learn(self, members: Tensor, rectangle: Tensor, k: int) -> None:
        """Make a picture from a group of frames.

        Its spreads are the pixels' median residuals, and nowhere less than those of half of the picture.

        Args:
            members: (n, 3, P, P) frames.
            rectangle: (4,) their outline.
            k: the number of the picture.
        """
        self.pictures[k] = quantile(members.movedim(0, -1), 0.5)
        self.rectangles[k] = rectangle
        own = quantile(self.residuals(members, k).movedim(0, -1), 0.5)
        least = quantile(own[:, self._inside(k)], 0.5).clamp(min=CAMERAS.noise)
        self.spreads[k] = torch.maximum(own, least[:, None, None])

    def _inside(self, k: int) -> Tensor:
        """The pixels (P, P) of a picture that are not its outermost; all of one that is so thin that it has no others."""
        valid = lay_out((CAMERAS.side, CAMERAS.side), self.rectangles[k : k + 1]).valid
        inside = F.max_pool2d(F.pad((~valid).float(), (1, 1, 1, 1), value=1.0), 3, 1)[0] == 0
        return inside if bool(inside.any()) else valid[0]


@torch.no_grad()
def find_background(images: Tensor, rectangles: Tensor) -> Background | None:
    """Notice that a set is frames of fixed cameras, without a label.

    Args:
        images: (N, 3, S, S) in [0, 1], on letterboxes; of more than `CAMERAS.images` some are drawn.
        rectangles: (N, 4) their outlines.

    Returns:
        The background, or None where most images share none with others, or where nothing moves in most of them.
    """
    index = sample_indices(len(images), CAMERAS.images, seed=0).to(images.device)
    small, rectangles = _small(images[index]), rectangles[index]
    textures = Textures.of(small, rectangles)
    members = groups(textures.agreement(textures))
    if not members:
        return None
    background = Background(len(members)).to(images.device)
    for k, own in enumerate(members):
        background.learn(small[own], rectangles[own[0]], k)
    changed, known = background.changed(small, rectangles)
    background.share.copy_(known.float().mean())
    if background.share < CAMERAS.share:
        return None
    values = changed[lay_out((CAMERAS.cells, CAMERAS.cells), rectangles).valid & known[:, None, None]]
    background.threshold.copy_(otsu(values))
    background.map_spread.copy_(values.std().clamp(min=CAMERAS.least_spread))
    moves = (changed[known] > 0.5).sum((1, 2)) >= CAMERAS.least_region
    return background if moves.float().mean() >= CAMERAS.moving else None


def _small(images: Tensor) -> Tensor:
    """Images at the size at which they are compared."""
    size = (CAMERAS.side, CAMERAS.side)
    if images.shape[-2:] == size:
        return images
    parts = images.split(CHOICE.images_at_once)
    return torch.cat([F.interpolate(part, size, mode="bilinear", antialias=True, align_corners=False) for part in parts])


def relight(pictures: Tensor, images: Tensor, inside: Tensor) -> Tensor:
    """Pictures of a place in the light of images: a gain and an offset of each channel, fitted to the pixels that agree.

    Args:
        pictures: (B, 3, h, w) the place.
        images: (B, 3, h, w) the same place with something in front of it.
        inside: (h, w) pixels of the images.

    Returns:
        (B, 3, h, w), 0 elsewhere.
    """
    lit = torch.zeros_like(images)
    x, y = pictures[..., inside], images[..., inside]
    weights, own = torch.ones_like(y[:, :1]), x
    for _ in range(CAMERAS.light_rounds):
        total = weights.sum(2, keepdim=True)
        mean_x, mean_y = ((weights * v).sum(2, keepdim=True) / total for v in (x, y))
        held = CAMERAS.light_ridge * total
        slope = (weights * (x - mean_x) * (y - mean_y)).sum(2, keepdim=True) + held
        gain = slope / ((weights * (x - mean_x).square()).sum(2, keepdim=True) + held)
        own = mean_y + gain * (x - mean_x)
        error = (y - own).abs().mean(1, keepdim=True)
        middle = quantile(error, 0.5).clamp(min=CAMERAS.noise)[..., None]
        weights = 1 / (1 + (error / (CAMERAS.light_agrees * middle)).square()).square()
    lit[..., inside] = own
    return lit


def regions(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Boxes around what differs: connected regions at several levels, as proposals.

    Args:
        maps: (B, h, w) standard deviations above the threshold.

    Returns:
        (B, R, 4) normalised letterbox boxes, the largest first, and (B, R) whether there is one.
    """
    found = []
    for own in maps.float().cpu().numpy():
        boxes = []
        for level in CAMERAS.levels:
            stats = cv2.connectedComponentsWithStats((own > level).astype("uint8"))[2][1:]
            boxes += [(area, x, y, x + w, y + h) for x, y, w, h, area in stats.tolist() if area >= CAMERAS.least_region]
        found.append([box[1:] for box in sorted(boxes, reverse=True)[: CAMERAS.most_regions]])
    count = max(map(len, found), default=0)
    cells = torch.zeros((len(found), count, 4))
    there = torch.zeros((len(found), count), dtype=torch.bool)
    for i, own in enumerate(found):
        cells[i, : len(own)], there[i, : len(own)] = torch.tensor(own).view(-1, 4), True
    return normalise_cells(cells, (maps.shape[-2], maps.shape[-1])).to(maps), there.to(maps.device)
