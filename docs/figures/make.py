"""The pictures of docs/transformers.md: for each transformation where a crop is read from, and the crop.

python docs/figures/make.py
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from stn_cli.geometry import normalised_to_pixels
from stn_cli.stn import TRANSFORMS, TRANSFORMS_3D, Cascade, SpatialTransformer, Transformation, by_name, flatten_volume, sample

HERE = Path(__file__).parent
SIDE = 128
Picture = npt.NDArray[np.uint8]


def scene() -> Picture:
    """A letter in a frame of squares, turned a little, on a ground of discs."""
    rng = np.random.default_rng(4)
    out = np.full((SIDE, SIDE, 3), (92, 106, 96), np.uint8)
    for _ in range(26):
        x, y, r = int(rng.integers(SIDE)), int(rng.integers(SIDE)), int(rng.integers(4, 11))
        cv2.circle(out, (x, y), r, tuple(int(v) for v in rng.integers(70, 150, 3)), -1, cv2.LINE_AA)
    tile = np.full((64, 64, 3), (235, 238, 240), np.uint8)
    for i in range(8):
        for a, b in ((i, 0), (i, 7), (0, i), (7, i)):
            cv2.rectangle(tile, (8 * a, 8 * b), (8 * a + 7, 8 * b + 7), (60, 60, 200) if (a + b) % 2 else (250, 250, 250), -1)
    cv2.putText(tile, "R", (17, 47), cv2.FONT_HERSHEY_DUPLEX, 1.4, (40, 40, 40), 3, cv2.LINE_AA)
    matrix = cv2.getRotationMatrix2D((31.5, 31.5), -18, 1.05)
    matrix[:, 2] += (38, 30)
    place = cv2.warpAffine(np.ones((64, 64), np.float32), matrix, (SIDE, SIDE))[..., None]
    return np.asarray(out * (1 - place) + cv2.warpAffine(tile, matrix, (SIDE, SIDE)) * place, np.uint8)


def example(name: str, transform: Transformation) -> Tensor:
    """A theta that shows what the transformation can do, on the letter."""
    centre = torch.tensor([0.08, -0.02])
    shape = transform.shape_of_box(torch.tensor([0.55, 0.62 if name in ("box", "affine") else 0.55]))
    turn = torch.zeros_like(shape)
    if transform.angle is not None:
        turn[transform.angle] = np.radians(18)
    if name == "affine":
        turn[3] = 0.25  # a shear
    if name == "projective":
        turn[4:] = torch.tensor([0.25, 0.3])
    if name == "structured":
        turn[4:] = 0.12 * torch.tensor([1.0, 0, -1, 0.5, 0, 1, 0.5, -1])
    theta = transform.theta(centre, shape + turn)
    if name in ("piecewise_affine", "thin_plate_spline"):
        theta = theta + 0.07 * torch.randn(theta.shape, generator=torch.Generator().manual_seed(3))
    return theta


def outlined(picture: Picture, transform: Transformation, theta: Tensor) -> Picture:
    """The picture at twice its size with the net of lines that the crop is read along; its upper side is yellow."""
    out = cv2.resize(picture, None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR)
    t = torch.linspace(-1, 1, 41)
    for at in torch.linspace(-1, 1, 7).tolist():
        for line in (torch.stack([t, torch.full_like(t, at)], -1), torch.stack([torch.full_like(t, at), t], -1)):
            pixels = normalised_to_pixels(transform.points(theta, line).detach(), (2 * SIDE, 2 * SIDE))
            upper = bool((line[:, 1] == -1).all())
            colour = (40, 220, 250) if upper else (255, 255, 255)
            cv2.polylines(out, [pixels.round().int().numpy()[:, None]], False, colour, 2 if upper else 1, cv2.LINE_AA)
    return np.asarray(out, np.uint8)


def pair(name: str) -> Picture:
    """Where the crop is read from, and the crop."""
    picture, transform = scene(), by_name(name)
    theta = example(name, transform)
    U = torch.from_numpy(picture).permute(2, 0, 1)[None].float()
    crop = sample(U, transform.grid(theta[None], (2 * SIDE, 2 * SIDE)), kernel="bicubic", padding="border")[0]
    right = crop.detach().clamp(0, 255).round().byte().permute(1, 2, 0).numpy()
    return np.concatenate([outlined(picture, transform, theta), np.full((2 * SIDE, 8, 3), 255, np.uint8), right], 1)


def volume(name: str) -> Picture:
    """A letter in a volume, flattened as it lies, and found, turned and flattened."""
    grey = torch.from_numpy(cv2.putText(np.zeros((40, 40), np.uint8), "R", (6, 32), 0, 1.2, 255, 4)).float() / 255
    transform = by_name(name)
    block = grey[None, None, None].expand(1, 1, 14, 40, 40)
    a, b = 0.9, 0.5  # turned about x and y
    turn = torch.tensor([[np.cos(b), np.sin(a) * np.sin(b), np.cos(a) * np.sin(b)], [0, np.cos(a), -np.sin(a)],
                         [-np.sin(b), np.sin(a) * np.cos(b), np.cos(a) * np.cos(b)]], dtype=torch.float32)  # fmt: skip
    half, centre = torch.tensor([20.0, 20.0, 7.0]), torch.tensor([0.2, -0.1, 0.1])
    into = turn.T * (32 / half[:, None])  # volume -> block
    theta = torch.cat([into, -(into @ centre)[:, None]], 1).flatten()
    space = sample(block, by_name("affine3d").grid(theta[None], (64, 64, 64)))
    of_affine = torch.cat([turn * 0.7, centre[:, None]], 1).flatten()
    back = of_affine if name == "affine3d" else torch.tensor([0.75, *centre.tolist()])
    seen = sample(space, transform.grid(back[None], (64, 64, 64)))
    panels = [flatten_volume(v, "z")[0, 0] for v in (space, seen)]
    drawn = [cv2.resize((255 * p / p.max()).byte().numpy(), (256, 256), interpolation=cv2.INTER_LINEAR) for p in panels]
    return np.concatenate([drawn[0], np.full((256, 8), 255, np.uint8), drawn[1]], 1)


class Told(nn.Module):
    """An f_loc that is told theta."""

    def __init__(self, theta: Tensor) -> None:
        super().__init__()
        self.theta = theta

    def forward(self, U: Tensor) -> Tensor:
        """The same for every picture."""
        return self.theta.expand(len(U), -1)


def cascade() -> Picture:
    """Three levels, each in the last one's crop: where each reads, and what it sees; all are read from the picture itself."""
    picture, transform = scene(), by_name("similarity")
    poses = ((0.7, 0.0, 0.05, -0.05), (0.75, 0.2, 0.05, 0.0), (0.6, 0.1, 0.0, 0.05))
    size = 2 * SIDE, 2 * SIDE
    levels = Cascade([SpatialTransformer(Told(torch.tensor(pose)), transform, size) for pose in poses])
    U = torch.from_numpy(picture).permute(2, 0, 1)[None].float()
    thetas = [level.regress(U) for level in levels.levels]
    left = cv2.resize(picture, None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR)
    panels = [left]
    for depth in range(1, len(poses) + 1):
        points = levels.points(thetas[:depth], size)
        pixels = normalised_to_pixels(points[0], size).round().int().numpy()
        outline = np.concatenate([pixels[0], pixels[:, -1], pixels[-1, ::-1], pixels[::-1, 0]])
        cv2.polylines(left, [outline[:, None]], True, (255, 255, 255), 1, cv2.LINE_AA)
        cv2.polylines(left, [pixels[0][:, None]], False, (40, 220, 250), 2, cv2.LINE_AA)
        crop = levels.levels[0].read(U, points)[0].clamp(0, 255).round().byte().permute(1, 2, 0).numpy()
        panels += [np.full((size[0], 8, 3), 255, np.uint8), crop]
    return np.concatenate(panels, 1)


def main() -> None:
    """Write a figure for every transformation, and one of a cascade."""
    cv2.imwrite(str(HERE / "cascade.png"), cv2.resize(cascade(), None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA))
    for name in TRANSFORMS | TRANSFORMS_3D:
        picture = pair(name) if name in TRANSFORMS else volume(name)
        small = cv2.resize(picture, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(HERE / f"{name}.png"), small, [cv2.IMWRITE_PNG_COMPRESSION, 9])


if __name__ == "__main__":
    main()
