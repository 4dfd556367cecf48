"""A batch of images as everything that looks at it shares it: what an encoder sees in it is computed once."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from stn_cli.coloc.encoders import Appearance, Encoder
from stn_cli.media.cache import Cache
from stn_cli.stn import Pyramid


@dataclass(slots=True)
class Scene:
    """Images on their canvases.

    Attributes:
        images: (B, 3, S, S) in [0, 1].
        rectangles: (B, 4) the images' outlines, normalised.
    """

    images: Tensor
    rectangles: Tensor
    _pyramid: Pyramid | None = None
    _appearances: dict[int, Appearance] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.images)

    @property
    def pyramid(self) -> Pyramid:
        """The images and their halvings, for crops of any size."""
        if self._pyramid is None:
            self._pyramid = Pyramid(self.images)
        return self._pyramid

    def appearance(self, encoder: Encoder) -> Appearance:
        """What an encoder sees in the images."""
        key = id(encoder)
        if key not in self._appearances:
            self._appearances[key] = encoder.appearance(self.images)
        return self._appearances[key]

    @classmethod
    def of(cls, cache: Cache, index: Tensor, device: torch.device) -> Scene:
        """Some images of a set."""
        return cls(cache.batch(index, device), cache.rectangles()[index].to(device))
