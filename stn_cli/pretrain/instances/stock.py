"""What canvases are made of: cutouts with soft outlines, scenes without their object, and the file that holds both."""

from __future__ import annotations

import io
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from stn_cli.encoders.gradient_maps import blur
from stn_cli.errors import InputError
from stn_cli.files import write_bytes
from stn_cli.pretrain.instances.cutouts import Cutout, Mask

MOST_SCENE = 0.45
"""Share of a picture that an object may cover when what is left is to serve as a scene."""
LEVELS = 5
"""Halvings over which colours are spread beyond an outline."""


@dataclass(slots=True)
class Stock:
    """Everything in one place, on one device.

    Attributes:
        pictures: (N, 3, S, S) uint8, as they are.
        objects: (N, 3, S, S) uint8, the object's colours spread over what is beside it: no fringe of another background.
        alpha: (N, 1, S, S) uint8, soft outlines.
        extents: (N, 4) normalised boxes of the outlines.
        labels: (N,) classes.
        cut: (N, 4) sides along which the picture's border cuts the object: left, top, right, bottom.
        scenes: (M, 3, S, S) uint8, pictures whose object is painted over by what is around it.
        whole: (W,) cutouts that nothing cuts, in order of their classes.
        edged: (E,) cutouts that one side cuts. What two cut is seldom one object.
    """

    pictures: Tensor
    objects: Tensor
    alpha: Tensor
    extents: Tensor
    labels: Tensor
    cut: Tensor
    scenes: Tensor
    whole: Tensor
    edged: Tensor

    def to(self, device: torch.device) -> Stock:
        """The same on a device."""
        return Stock(*(getattr(self, field.name).to(device) for field in fields(self)))

    @classmethod
    def of(cls, pictures: Tensor, masks: Tensor, labels: Tensor, cut: Tensor) -> Stock:
        """Prepare pictures (N, S, S, 3) uint8 with outlines (N, S, S) of 0 and 1, their classes (N,) and sides that are cut (N, 4)."""
        order = labels.argsort(stable=True)
        pictures, masks, labels, cut = (
            pictures[order].permute(0, 3, 1, 2),
            masks[order][:, None].float(),
            labels[order],
            cut[order],
        )
        objects, alpha, scenes = [], [], []
        for rgb, mask in zip(pictures.split(2048), masks.split(2048), strict=True):
            inner = -F.max_pool2d(-mask, 3, 1, 1)  # the outermost pixels are half of the background
            objects.append(_spread(rgb.float(), inner))
            alpha.append((255 * blur(0.5 * (mask + inner), 0.7)).byte())
            outer = 1 - F.max_pool2d(mask, 5, 1, 2)
            fit = mask.mean((1, 2, 3)) < MOST_SCENE
            scenes.append(_spread(rgb.float()[fit], outer[fit]))
        return cls(
            pictures.contiguous(),
            torch.cat(objects),
            torch.cat(alpha),
            extents(masks),
            labels,
            cut,
            torch.cat(scenes),
            (~cut.any(1)).nonzero()[:, 0],
            ((cut.sum(1) == 1) & (masks.mean((1, 2, 3)) < MOST_SCENE)).nonzero()[:, 0],
        )


def extents(masks: Tensor) -> Tensor:
    """Boxes around masks.

    Args:
        masks: (N, 1, S, S).

    Returns:
        (N, 4) normalised.
    """
    side = masks.shape[-1]
    out = []
    for axis in (2, 3):
        line = masks.amax(axis)[:, 0] > 0.5  # (N, S) along x, then along y
        first, last = line.float().argmax(1), side - line.flip(1).float().argmax(1)
        out.append(torch.stack([first, last], 1))
    (x1, x2), (y1, y2) = (pair.unbind(1) for pair in out)
    return torch.stack([x1, y1, x2, y2], 1) * (2 / side) - 1


def _spread(rgb: Tensor, known: Tensor) -> Tensor:
    """Fill what is not known from what is around it, from fine to coarse (pull and push)."""
    colour, weight = rgb * known, known
    filled = [(colour, weight)]
    for _ in range(LEVELS):
        colour, weight = F.avg_pool2d(colour, 2), F.avg_pool2d(weight, 2)
        filled.append((colour, weight))
    out = filled[-1][0] / filled[-1][1].clamp(min=1e-4)
    for colour, weight in reversed(filled[:-1]):
        up = F.interpolate(out, colour.shape[-2:], mode="bilinear", align_corners=False)
        share = weight.clamp(max=1)
        out = colour + up * (1 - share)
    return out.clamp(0, 255).round().byte()


def write_stock(path: Path, blobs: list[bytes], outlines: list[Cutout], labels: npt.NDArray[np.int16]) -> None:
    """Write encoded pictures and their outlines into one file.

    Args:
        path: an .npz.
        blobs: the pictures as files.
        outlines: one for each.
        labels: (N,) classes.
    """
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        blob=np.frombuffer(b"".join(blobs), np.uint8),
        offset=np.cumsum([0, *map(len, blobs)]),
        label=labels,
        mask=np.stack([np.packbits(o.mask) for o in outlines]),
        cut=np.array([o.cut for o in outlines]),
    )
    write_bytes(path, buffer.getvalue())


def read_stock(path: Path) -> Stock:
    """Read what `write_stock` wrote, and prepare it.

    Args:
        path: the file.

    Returns:
        The stock, on the CPU.

    Raises:
        InputError: missing, or no such file.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            blob, offset, label, mask, cut = (file[name] for name in ("blob", "offset", "label", "mask", "cut"))
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            "not a file of cutouts", path, error, "Make one with python -m stn_cli.pretrain.instances cut"
        ) from error
    pixels = np.stack([_decoded(blob[a:b]) for a, b in pairwise(offset)])
    side = pixels.shape[1]
    masks = np.unpackbits(mask, axis=1).reshape(-1, side, side)
    return Stock.of(*(torch.from_numpy(a) for a in (pixels, masks, label.astype(np.int64), cut.astype(bool))))


def _decoded(data: npt.NDArray[np.uint8]) -> Mask:
    return cv2.imdecode(data, cv2.IMREAD_COLOR_RGB)  # type: ignore[return-value]
