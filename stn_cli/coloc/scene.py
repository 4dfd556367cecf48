"""A batch of images as everything that looks at it shares it: what an encoder sees in it is computed once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

from stn_cli.encoders import Appearance, Encoder
from stn_cli.media.cache import Cache
from stn_cli.stn import Pyramid

T = TypeVar("T")
KEPT = 200
"""Images of a set up to which scenes of it are kept: some 600 kB each, by which a training of as many as a search looks at saves a tenth."""


@dataclass(slots=True)
class Scene:
    """Images on their letterboxes.

    Attributes:
        images: (B, 3, S, S) in [0, 1].
        rectangles: (B, 4) the images' outlines, normalised.
    """

    images: Tensor
    rectangles: Tensor
    _pyramid: Pyramid | None = None
    _seen: dict[object, Any] = field(default_factory=dict)

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
        return self.once(encoder, lambda: encoder.appearance(self.images))

    def once(self, who: object, look: Callable[[], T]) -> T:
        """What somebody sees in the images, computed the first time that it is asked for.

        Args:
            who: by which it is kept.
            look: computes it.
        """
        if who not in self._seen:
            self._seen[who] = look()
        return cast(T, self._seen[who])

    @classmethod
    def of(cls, cache: Cache, index: Tensor, device: torch.device, *, keep: bool = False) -> Scene:
        """Some images of a set.

        Args:
            cache: the set.
            index: (B,) which images.
            device: to work on.
            keep: the same images will be asked for again; a small set keeps them, with all that was seen in them.
        """
        key = (device, tuple(index.tolist()))
        known = cache.kept.get(key)
        if isinstance(known, Scene):
            return known
        scene = cls(cache.batch(index, device), cache.rectangles()[index].to(device))
        if keep and len(cache) <= KEPT:
            cache.kept[key] = scene
        return scene


def sample_indices(count: int, most: int, seed: int) -> Tensor:
    """Which images of a set to look at where a figure about the set needs no more of them.

    Args:
        count: N, images of the set.
        most: how many to look at.
        seed: decides which.

    Returns:
        Indices in rising order: all N, or `most` that are drawn at random.

    >>> sample_indices(3, 8, seed=0)
    tensor([0, 1, 2])
    """
    if count <= most:
        return torch.arange(count)
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))[:most].sort().values
