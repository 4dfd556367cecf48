"""The instance network as a part of a model: what it proposes in images on their letterboxes."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from stn_cli.instances.network import LOOKS, InstanceNetwork
from stn_cli.instances.proposals import Proposals, propose
from stn_cli.instances.weights import FILE, quick, read_instances


@dataclass(frozen=True, slots=True)
class Proposed:
    """Boxes of whole objects in B images, of whatever class.

    Attributes:
        boxes: (B, M, 4) normalised letterbox boxes; zeros where an image has fewer.
        odds: (B, M) log odds that a box is of one whole object; -inf where an image has fewer.
        looks: (B, M, 64) how each box's object looks; None where nobody asks.
        means: (B, M, 4) of all boxes that each one stands for, see `Proposals`; None where they are the boxes.
    """

    boxes: Tensor
    odds: Tensor
    looks: Tensor | None = None
    means: Tensor | None = None

    @property
    def drawn(self) -> Tensor:
        """(B, M, 4) what to say of each box once it is chosen."""
        return self.boxes if self.means is None else self.means


class Proposer(nn.Module):
    """The instance network in half precision, as models hold it.

    Args:
        loaded: False builds it without weights, to load a run's own into.

    Raises:
        CheckpointError: the package's weights are missing or damaged.
    """

    _quick: tuple[tuple[Any, ...], InstanceNetwork] | None

    def __init__(self, *, loaded: bool = True) -> None:
        super().__init__()
        network = read_instances(Path(str(resources.files("stn_cli.instances") / FILE)))[0] if loaded else InstanceNetwork()
        self.network = network.half().eval().requires_grad_(False)
        object.__setattr__(self, "_quick", None)  # not a part: it has no weights of its own

    @classmethod
    def of(cls, network: InstanceNetwork) -> Proposer:
        """The proposer of a network that is trained."""
        out = cls(loaded=False)
        out.network = copy.deepcopy(network).half().eval().requires_grad_(False)
        return out

    def shift(self, offset: float) -> None:
        """Add an offset to the log odds of all boxes."""
        assert self.network.read.bias is not None
        with torch.no_grad():
            self.network.read.bias[0] += offset
        object.__setattr__(self, "_quick", None)  # it is made anew with the offset

    def weights(self) -> dict[str, Tensor]:
        """The tensors that a model or a state holds."""
        return {name: value for name, value in self.state_dict().items() if value.is_floating_point()}

    def load_weights(self, weights: dict[str, Tensor]) -> None:
        """Take over what `weights` gave.

        Args:
            weights: by name, as they were saved.

        Raises:
            RuntimeError: they are not those of this network.
        """
        counted = {name: value for name, value in self.state_dict().items() if not value.is_floating_point()}
        self.load_state_dict(counted | weights)

    def __getstate__(self) -> dict[str, Any]:
        """Without the quick copy: packed weights cannot be copied."""
        return {**self.__dict__, "_quick": None}

    def _ready(self) -> InstanceNetwork:
        """The network as it is used: made anew whenever weights were loaded or moved."""
        weight = next(self.network.parameters())
        now = (weight.device, weight.data_ptr(), weight._version)
        if self._quick is None or self._quick[0] != now:
            object.__setattr__(self, "_quick", (now, quick(copy.deepcopy(self.network).float(), weight.device)))
        assert self._quick is not None
        return self._quick[1]

    @torch.inference_mode()
    def forward(self, images: Tensor, rectangles: Tensor, most: int) -> Proposed:
        """Propose boxes.

        Args:
            images: (B, 3, S, S) on letterboxes, in [0, 1].
            rectangles: (B, 4) the images' outlines, normalised.
            most: boxes of an image.

        Returns:
            Boxes of each image, best first.
        """
        network = self._ready()
        corners = pixel_corners(rectangles, images.shape[-1])
        pictures = [image[:, y1:y2, x1:x2] for image, (x1, y1, x2, y2) in zip(images, corners, strict=True)]
        return _padded(propose(network, pictures, most=most), rectangles)


def pixel_corners(rectangles: Tensor, side: int) -> list[tuple[int, int, int, int]]:
    """The whole pixels that images cover on their letterboxes, at least one each way: a panorama may be thinner.

    Args:
        rectangles: (B, 4) the images' outlines, normalised.
        side: of the letterboxes, pixels.

    Returns:
        x1, y1, x2, y2 of each.

    >>> pixel_corners(torch.tensor([[-1.0, -0.5, 1.0, 0.5]]), 8)
    [(0, 2, 8, 6)]
    """
    rows = ((rectangles + 1) * (side / 2)).round().long().clamp(0, side).tolist()
    low = [(min(x1, side - 1), min(y1, side - 1), x2, y2) for x1, y1, x2, y2 in rows]
    return [(x1, y1, max(x2, x1 + 1), max(y2, y1 + 1)) for x1, y1, x2, y2 in low]


def _padded(found: list[Proposals], rectangles: Tensor) -> Proposed:
    """Proposals of images, side by side, on their letterboxes."""
    count = max((len(own.boxes) for own in found), default=0)
    boxes, means = (rectangles.new_zeros((len(found), count, 4)) for _ in range(2))
    odds = rectangles.new_full((len(found), count), -torch.inf)
    looks = rectangles.new_zeros((len(found), count, LOOKS))
    for i, own in enumerate(found):
        low, high = rectangles[i, :2].repeat(2), rectangles[i, 2:].repeat(2)
        for into, of in ((boxes, own.boxes), (means, own.means)):
            into[i, : len(of)] = low + of.to(low) * (high - low)
        odds[i, : len(own.boxes)] = own.scores.to(low).logit(1e-4)
        looks[i, : len(own.boxes)] = own.looks
    return Proposed(boxes, odds, looks, means)
