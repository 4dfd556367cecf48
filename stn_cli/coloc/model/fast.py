"""One cheap look instead of a run's own path: what its student says of images on their letterboxes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from stn_cli.coloc.crops import Crops
from stn_cli.coloc.model.kind_model import KindModel, of_boxes
from stn_cli.coloc.model.settings import FAST
from stn_cli.coloc.scene import Scene
from stn_cli.coloc.score.settings import OBJECTS
from stn_cli.encoders.pretrained import standardise
from stn_cli.encoders.small import quick_halves
from stn_cli.encoders.small_network import fused
from stn_cli.instances.network import STRIDE
from stn_cli.instances.proposals import voted
from stn_cli.instances.proposer import pixel_corners
from stn_cli.instances.student import EVEN_SIDES, StudentNetwork
from stn_cli.runs.config import MOST_OBJECTS
from stn_cli.runtime.suppression import nms

CELLS_OF = STRIDE**2
"""Pixels of a cell."""
APART = 4.0
"""How far apart images are laid for one suppression of all their boxes: letterboxes are 2 wide."""


@dataclass(frozen=True, slots=True)
class FastLook:
    """A student, and how it looks.

    Attributes:
        network: on the CPU, as it was learnt.
        side: longer side at which it looks at images, pixels: a multiple of 32.
        said: how well it agrees with the run's own path, in words.
    """

    network: StudentNetwork
    side: int
    said: str
    _quick: dict[torch.device, StudentNetwork] = field(default_factory=dict)

    def __getstate__(self) -> tuple[object, ...]:
        """Without quick copies: packed weights cannot be copied."""
        return self.network, self.side, self.said

    def __setstate__(self, state: tuple[object, ...]) -> None:
        """As it was, to be made quick again."""
        for name, value in zip(("network", "side", "said", "_quick"), (*state, {}), strict=True):
            object.__setattr__(self, name, value)

    def facts(self) -> dict[str, Any]:
        """What files of results say of it: another network's records are told from its."""
        total = hashlib.sha256()
        for value in self.network.state_dict().values():
            total.update(value.cpu().half().numpy().tobytes())
        return {"way": "fast", "fast": {"side": self.side, "agreement": self.said, "network": total.hexdigest()}}

    def find(self, scene: Scene, parts: Sequence[KindModel]) -> list[tuple[Crops, Tensor]]:
        """The objects of each kind in a batch of images.

        Args:
            scene: B images on letterboxes of `side` pixels.
            parts: the run's kinds.

        Returns:
            For each kind crops, R of each image, and scores (B, R), below 0 where an image has fewer.
        """
        boxes, scores = self._cells(scene)
        found = []
        for kind, part in enumerate(parts):
            some, score = best_of(boxes[:, kind], scores[:, kind], part.objects or MOST_OBJECTS)
            found.append((of_boxes(part.finder.transformer().transform, some), score))
        return found

    def _cells(self, scene: Scene) -> tuple[Tensor, Tensor]:
        """What the cells of B images say of K kinds: normalised boxes (B, K, C, 4) and their scores (B, K, C), -1 where there is no cell."""
        network, device = self._ready(scene.images.device), scene.images.device
        side = scene.images.shape[-1]
        alike: dict[tuple[int, int], list[int]] = {}
        for number, (x1, y1, x2, y2) in enumerate(pixel_corners(scene.rectangles, side)):
            shape = min(side, -(-(y2 - y1) // EVEN_SIDES) * EVEN_SIDES), min(side, -(-(x2 - x1) // EVEN_SIDES) * EVEN_SIDES)
            alike.setdefault(shape, []).append(number)
        count = max(h * w for h, w in alike) // CELLS_OF
        boxes = torch.zeros((len(scene), network.kinds, count, 4), device=device)
        scores = torch.full((len(scene), network.kinds, count), -1.0, device=device)
        dtype = next(network.parameters()).dtype
        for (h, w), numbers in alike.items():
            top, left = (side - h) // 2, (side - w) // 2
            cut = scene.images[numbers, :, top : top + h, left : left + w]
            glance = network(standardise(cut).to(dtype).contiguous(memory_format=torch.channels_last))
            own = (glance.boxes() + boxes.new_tensor([left, top, left, top])) * (2 / side) - 1
            low, high = (scene.rectangles[numbers][:, None, None, None, part] for part in (slice(0, 2), slice(2, 4)))
            own = torch.cat([own[..., :2].clamp(low, high), own[..., 2:].clamp(low, high)], -1)
            boxes[numbers, :, : own[0, 0, ..., 0].numel()] = own.flatten(2, 3)
            scores[numbers, :, : own[0, 0, ..., 0].numel()] = glance.fit.sigmoid().flatten(2)
        return boxes, scores

    def _ready(self, device: torch.device) -> StudentNetwork:
        """The network as it is used on a device."""
        if device not in self._quick:
            dtype = torch.bfloat16 if quick_halves(device) else torch.float32
            self._quick[device] = fused(self.network.to(device), dtype)
        return self._quick[device]


def best_of(boxes: Tensor, scores: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """Of each image the best boxes that do not lie on a better one, all images in one suppression; each is the mean of those that are like it.

    Args:
        boxes: (B, C, 4) normalised letterbox boxes.
        scores: (B, C), below 0 where there is none.
        most: boxes of an image.

    Returns:
        (B, R, 4) boxes, best first, and their scores (B, R), -1 where an image has fewer; R is at least 1.
    """
    likely = (scores >= 0) & (scores >= scores.amax(1, keepdim=True).clamp(max=OBJECTS.least))
    image, cell = likely.nonzero(as_tuple=True)
    some, score = boxes[image, cell], scores[image, cell]
    kept = nms(some + (APART * image)[:, None], score, OBJECTS.apart)  # best first
    kept = kept[image[kept].argsort(stable=True)]
    image = image[kept]
    first = torch.searchsorted(image, torch.arange(len(boxes), device=image.device))
    rank = torch.arange(len(image), device=image.device) - first[image]
    kept, image, rank = (part[rank < most] for part in (kept, image, rank))
    count = int(rank.max()) + 1 if len(rank) else 1
    out, of = boxes.new_zeros((len(boxes), count, 4)), scores.new_full((len(boxes), count), -1.0)
    out[image, rank], of[image, rank] = some[kept], score[kept]
    return voted(out, boxes, scores * likely, FAST.votes), of
