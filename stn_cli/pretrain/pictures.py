"""Pictures for pretraining: shards of small labelled pictures, and the random views that networks learn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from stn_cli.errors import InputError
from stn_cli.geometry import box_to_matrix
from stn_cli.runtime.ordered import ordered_map
from stn_cli.runtime.threads import default_workers

SMALLEST, LARGEST = 0.2, 1.0
"""Area of a view as a share of its picture's."""


@dataclass(slots=True)
class Pictures:
    """Small pictures in memory, on the CPU or on the device that learns from them.

    Attributes:
        pixels: (N, S, S, 3) uint8 RGB.
        labels: (N,) int64 classes; all 0 where there are none.
    """

    pixels: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.pixels)

    def to(self, device: torch.device) -> Pictures:
        """The same pictures on a device."""
        return Pictures(self.pixels.to(device), self.labels.to(device))

    def batch(self, index: Tensor) -> Tensor:
        """(B, 3, S, S) in [0, 1], where the pictures are."""
        return self.pixels[index.to(self.pixels.device)].permute(0, 3, 1, 2).float() / 255


def load_shards(paths: Sequence[Path]) -> Pictures:
    """Read .npz shards: `blob` encoded pictures one after the other, `offset` (N + 1,) where each begins, `label` (N,).

    Args:
        paths: of the shards.

    Returns:
        The pictures, in the order of the shards.

    Raises:
        InputError: a file is missing or no such shard.
    """
    pixels, labels = [], []
    for path in paths:
        try:
            with np.load(path, allow_pickle=False) as shard:
                blob, offset, label = shard["blob"], shard["offset"], shard["label"]
        except (OSError, ValueError, KeyError) as error:
            raise InputError("not a shard of pictures", path, error, "It needs the arrays blob, offset and label") from error

        def decode(span: tuple[int, int], blob: npt.NDArray[np.uint8] = blob) -> npt.NDArray[np.uint8]:
            return cv2.imdecode(blob[span[0] : span[1]], cv2.IMREAD_COLOR_RGB)  # type: ignore[return-value]

        spans = list(zip(offset[:-1].tolist(), offset[1:].tolist(), strict=True))
        pixels.append(np.stack(list(ordered_map(decode, spans, default_workers()))))
        labels.append(label.astype(np.int64))
    return Pictures(torch.from_numpy(np.concatenate(pixels)), torch.from_numpy(np.concatenate(labels)))


_LAST = torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 1.0]])


@dataclass(frozen=True, slots=True)
class Views:
    """Random views of pictures.

    Attributes:
        images: (B, 3, side, side) in [0, 1].
        affine: (B, 2, 3) from a view's normalised coordinates to its picture's.
    """

    images: Tensor
    affine: Tensor


def random_views(
    pictures: Tensor,
    side: int,
    g: torch.Generator,
    smallest: float = SMALLEST,
    rectangles: Tensor | None = None,
    part: tuple[slice, int] | None = None,
) -> Views:
    """Cut a window of random area and aspect out of each picture, mirror half of them, and change their colours.

    Args:
        pictures: (B, 3, S, S) in [0, 1].
        side: of the views, pixels.
        g: on the CPU.
        smallest: least area of a window, share of the picture.
        rectangles: (B, 4) where pictures lie on their canvases; they fill them when left out.
        part: which part of how many pictures these are, so that they get the views that they would get among all.

    Returns:
        The views.
    """
    n, device = len(pictures), pictures.device
    own, total = part or (slice(0, n), n)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return (low + (high - low) * torch.rand((total, *shape), generator=g)[own]).to(device)

    root = uniform(smallest**0.5, LARGEST**0.5)
    aspect = uniform(-0.3, 0.3).exp()
    half = torch.stack([root * aspect.sqrt(), root / aspect.sqrt()], 1).clamp(max=1.0)
    centre = uniform(-1, 1, 2) * (1 - half)
    flip = torch.where(uniform(0, 1) < 0.5, -1.0, 1.0)
    affine = torch.zeros((n, 2, 3), device=device)
    affine[:, 0, 0], affine[:, 1, 1], affine[:, :, 2] = half[:, 0] * flip, half[:, 1], centre
    if rectangles is not None:
        affine = torch.einsum("bij,bjk->bik", box_to_matrix(rectangles), F.pad(affine, (0, 0, 0, 1)) + _LAST.to(affine))
    grid = F.affine_grid(affine, [n, 3, side, side], align_corners=False)
    views = F.grid_sample(pictures, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    gain, tint = uniform(0.7, 1.3, 1, 1, 1), uniform(0.85, 1.15, 3, 1, 1)
    mean = views.mean((1, 2, 3), keepdim=True)
    grey = views.mean(1, keepdim=True)
    views = grey + (views - grey) * uniform(0.5, 1.4, 1, 1, 1)
    views = (mean + (views - mean) * uniform(0.7, 1.3, 1, 1, 1)) * gain * tint
    drained = (uniform(0, 1, 1, 1, 1) < 0.1).to(views)
    views = views * (1 - drained) + views.mean(1, keepdim=True) * drained
    return Views(views.clamp(0, 1), affine)
