"""The encoder e(): what search, objective and localiser see of one.

An encoder gives two dense maps of a batch of images. `structure` has one value per kind of evidence, zero where there is
none: laid out over a window it is the rigid embedding e(crop) of appendix A.2. `appearance` says what a cell looks like:
pooled over a window it is the embedding of things that change their form.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

CELLS_ALONG = 4
"""Cells along a side of a rigid window."""


@dataclass(frozen=True, slots=True)
class Appearance:
    """What the cells of images look like.

    Attributes:
        cells: (B, C, h, w), cells of equal size that cover the letterbox.
        objectness: (B, h, w) log odds that a cell is part of an object of some kind; None where the encoder does not know.
    """

    cells: Tensor
    objectness: Tensor | None = None

    def __getitem__(self, index: Tensor | slice) -> Appearance:
        """Some of the images."""
        return Appearance(self.cells[index], None if self.objectness is None else self.objectness[index])

    @classmethod
    def join(cls, parts: list[Appearance]) -> Appearance:
        """Parts of a set as one."""
        known = [p.objectness for p in parts if p.objectness is not None]
        return cls(torch.cat([p.cells for p in parts]), torch.cat(known) if known else None)


class Encoder(Protocol):
    """The small interface that search, objective and localiser see."""

    name: str
    """What a run calls it: enough to build it again, to load the run's own weights into."""
    dense: bool
    """Whether `appearance` gives a trained network's features, which margins can be linear in; other cells are first quantised into words."""
    patch: int
    """Side of a crop that is embedded, pixels."""
    stride: int
    """Pixels between neighbouring cells of `structure`."""
    spread: int
    """Cells between neighbouring cells of a window: `CELLS_ALONG * spread * stride` is about `patch`."""

    def structure(self, images: Tensor) -> Tensor:
        """What is laid out: values that are zero where there is no evidence of their kind.

        Args:
            images: (B, 3, H, W) in [0, 1].

        Returns:
            (B, C, h, w), a cell every `stride` pixels.
        """

    def appearance(self, images: Tensor, pad: int = 0, objectness: bool = True) -> Appearance:
        """What the images' cells look like.

        Args:
            images: (B, 3, H, W) in [0, 1].
            pad: pixels by which they are mirrored outwards while they are looked at; the cells are those of the images alone.
            objectness: whether it is wanted; else it is not computed.
        """

    def to(self, device: torch.device) -> Any:
        """Move to a device."""


def embed_crops(encoder: Encoder, crops: Tensor) -> Tensor:
    """e(crop): the structure of 4 x 4 cells in their places.

    Args:
        encoder: gives the structure.
        crops: (B, 3, patch, patch) in [0, 1].

    Returns:
        (B, D).
    """
    cells = encoder.structure(crops)[..., :: encoder.spread, :: encoder.spread]
    return cells[..., :CELLS_ALONG, :CELLS_ALONG].flatten(1)


@dataclass(frozen=True, slots=True)
class WindowMap:
    """e of every window of `patch` pixels, before the windows are laid out one by one: sixteen times smaller.

    Attributes:
        cells: (B, C, h, w) structure.
        spread: cells between neighbouring cells of a window.
        step: cells between neighbouring windows.
        left: the windows' left edges along a side, pixels (sqrt P,).
    """

    cells: Tensor
    spread: int
    step: int
    left: Tensor

    @property
    def shape(self) -> tuple[int, int, int]:
        """(B, P, D) of the embeddings."""
        return len(self.cells), len(self.left) ** 2, self.cells.shape[1] * CELLS_ALONG * CELLS_ALONG

    def embed(self, part: slice = slice(None)) -> Tensor:
        """Embeddings of all windows, row by row.

        Args:
            part: which of the images; all when left out.

        Returns:
            (B, P, D).
        """
        n, p, d = self.shape
        if p == 0:
            return self.cells.new_zeros((n, 0, d))[part]
        return F.unfold(self.cells[part], CELLS_ALONG, dilation=self.spread, stride=self.step).transpose(1, 2)


def map_windows(encoder: Encoder, images: Tensor, most: int = 40) -> WindowMap:
    """Look at every window of `patch` pixels.

    Args:
        encoder: gives the structure.
        images: (B, 3, L, L).
        most: windows along a side; where there would be more, every second (third, ...) is taken.

    Returns:
        The windows, not laid out yet.
    """
    cells = encoder.structure(images)
    along = max(0, cells.shape[-1] - (CELLS_ALONG - 1) * encoder.spread)
    step = 1 + along // (most + 1)
    left = torch.arange(0, along, step, device=images.device) * float(encoder.stride)
    return WindowMap(cells, encoder.spread, step, left)
