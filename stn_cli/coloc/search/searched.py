"""The whole set, and the images of it that a search looks at."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from stn_cli.coloc.scene import Scene
from stn_cli.coloc.search.settings import CHOICE, RIGID
from stn_cli.coloc.search.square_windows import UPRIGHT
from stn_cli.encoders import Encoder
from stn_cli.media.cache import Cache
from stn_cli.runs.config import TrainConfig
from stn_cli.stn import by_name

Placed = tuple[Tensor, Tensor]
"""One object in each image: boxes (N, 4), normalised letterbox boxes before they are turned about their centres, and angles (N,), radians."""


@dataclass(slots=True)
class SearchedSet:
    """What a search works on.

    Attributes:
        cache: N images at the size that the transformer looks at.
        large: the same images, larger, for a network's features and for outlines.
        encoder: gives the embeddings.
        config: of the training.
        device: to work on.
        chosen: (n,) the images that the search looks at, in their order.
        scene: those images.
        progress: told what is being done.
    """

    cache: Cache
    large: Cache
    encoder: Encoder
    config: TrainConfig
    device: torch.device
    chosen: Tensor
    scene: Scene
    progress: Callable[[str], None]

    @classmethod
    def of(
        cls,
        cache: Cache,
        large: Cache,
        encoder: Encoder,
        config: TrainConfig,
        device: torch.device,
        progress: Callable[[str], None],
        always: Iterable[int] = (),
    ) -> SearchedSet:
        """Draw the images that the search looks at by the seed: `config.search_images` of them, fewer where angles are tried.

        Args:
            cache, large, encoder, config, device, progress: see the attributes.
            always: numbers of images that it looks at in any case.
        """
        generator = torch.Generator().manual_seed(config.seed)
        most = (
            config.search_images if by_name(config.transform).angle is None else min(config.search_images, RIGID.turned_images)
        )
        drawn = torch.randperm(len(cache), generator=generator)[:most]
        chosen = torch.cat([drawn, torch.tensor(sorted(always), dtype=torch.long)]).unique()
        return cls(cache, large, encoder, config, device, chosen, Scene.of(cache, chosen, device), progress)

    @property
    def sides(self) -> tuple[float, float] | None:
        """The smallest and the largest longer side that were asked for, shares of the letterbox; None where none were."""
        return None if self.config.size == (0.0, 0.0) else self.config.size

    @property
    def ladder(self) -> tuple[float, ...]:
        """Sides of rigid crops that are tried, see `ladder_of`."""
        return ladder_of(self.config)

    @property
    def angles(self) -> tuple[float, ...]:
        """Angles that are tried, radians: all around where the transformation turns."""
        return angles_of(self.config)

    def held(self, taken: Tensor | None) -> Tensor | None:
        """Of boxes (N, K, 4) in the whole set, those in the images that the search looks at (n, K, 4)."""
        return None if taken is None else taken[self.chosen]

    def everywhere(self, place: Callable[[Tensor, Tensor | None], Placed], taken: Tensor | None) -> Placed:
        """Place an object in every image of the set, some images at a time.

        Args:
            place: images (B,) by their numbers, and the boxes (B, K, 4) that are taken in them -> one object in each.
            taken: (N, K, 4) boxes in which the object is not looked for; None where there are none.

        Returns:
            Boxes (N, 4) and angles (N,).
        """
        # room for all: parts that are kept between large blocks would keep glibc from using the memory of those again
        boxes, angles = (torch.zeros((len(self.cache), *of), device=self.device) for of in ((4,), ()))
        for number, i in enumerate(torch.arange(len(self.cache)).split(CHOICE.images_at_once)):
            self.progress(f"labelled {number * CHOICE.images_at_once} of {len(self.cache)}")
            boxes[i], angles[i] = place(i, None if taken is None else taken[i.to(taken.device)])
        return boxes, angles


def angles_of(config: TrainConfig) -> tuple[float, ...]:
    """Angles that a search for a rigid thing tries.

    Args:
        config: of the training.

    Returns:
        Radians: all around where the transformation turns.
    """
    return UPRIGHT if by_name(config.transform).angle is None else RIGID.angles


def ladder_of(config: TrainConfig) -> tuple[float, ...]:
    """Sides of rigid crops that a search tries: with a cascade also smaller ones, for the angles only every second.

    Args:
        config: of the training.

    Returns:
        Shares of the letterbox's side, rising.
    """
    step = RIGID.side_step
    count = round(math.log(2) / math.log(step)) * (config.cascade - 1)
    smaller = tuple(RIGID.least_side / step**i for i in range(count, 0, -1))
    whole = smaller + RIGID.ladder
    return whole if angles_of(config) == UPRIGHT else whole[::2]
