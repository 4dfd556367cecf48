"""The student: the instance network cut down to one look at one size, which learns to say what a run finds.

What is left out is what costs most and can be learnt again soonest: all blocks of a stage but the one that reduces, and half of the channels
between the two convolutions of a block. The top-down path and what reads it stay as they are. It begins with a run's own network, which
knows the objects already.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from stn_cli.encoders.small_network import WIDTHS, Convolution, Residual
from stn_cli.instances.network import UNIT, InstanceNetwork, TopDown, boxes_of_cells

EVEN_SIDES = 16
"""Sides of the images that it looks at are multiples of this."""
KEPT = 2
"""By what the channels inside of blocks are divided."""


@dataclass(frozen=True, slots=True)
class Glance:
    """What the student says of each cell of 4 x 4 pixels, for each of K kinds of objects.

    Attributes:
        fit: (B, K, h, w) log odds of the score of the cell's object.
        sides: (B, K, 4, h, w) distances to left, top, right, bottom of its object, pixels.
    """

    fit: Tensor
    sides: Tensor

    def boxes(self) -> Tensor:
        """The box that each cell speaks for: (B, K, h, w, 4) x1, y1, x2, y2, pixels."""
        return boxes_of_cells(self.sides)


class StudentNetwork(TopDown):
    """1.7 million parameters; two fifths of the instance network's arithmetic, for each pixel.

    Args:
        kinds: K, of objects.
    """

    def __init__(self, kinds: int = 1) -> None:
        stem = Convolution(3, WIDTHS[0], 3, 2)
        stages = [Residual(before, width, 2, width // KEPT) for before, width in pairwise(WIDTHS)]
        far = Residual(WIDTHS[3], WIDTHS[3], 1, WIDTHS[3] // KEPT)
        super().__init__(stem, nn.ModuleList(stages), far, 5 * kinds)
        self.kinds = kinds

    def begin_with(self, network: InstanceNetwork) -> StudentNetwork:
        """Take over what is kept of a network: of the channels inside of a block those that weigh most in what comes out of it."""
        self.stem.load_state_dict(network.stem.state_dict())
        blocks = [stage[0] for stage in list(network.stages)[1:]]  # type: ignore[index]
        for own, other in zip([*self.stages, self.far], [*blocks, network.far], strict=True):
            _take_over(own, other)
        for name in ("lateral", "middle", "narrow", "fine", "tower"):
            getattr(self, name).load_state_dict(getattr(network, name).state_dict())
        with torch.no_grad():
            for own, other in ((self.read.weight, network.read.weight), (self.read.bias, network.read.bias)):
                assert own is not None
                assert other is not None
                own.copy_(torch.cat([other[:1]] * self.kinds + [other[2:]] * self.kinds))
        return self

    def stretch(self, kind: int, slope: float, offset: float) -> None:
        """Multiply the log odds of a kind by a slope, and add an offset."""
        assert self.read.bias is not None
        with torch.no_grad():
            self.read.weight[kind] *= slope
            self.read.bias[kind] = slope * self.read.bias[kind] + offset

    def forward(self, images: Tensor) -> Glance:
        """Standardised images (B, 3, H, W), sides multiples of 16 -> what H / 4 x W / 4 cells say."""
        read, _ = self.climb(images)
        sides = read[:, self.kinds :].unflatten(1, (self.kinds, 4))
        return Glance(read[:, : self.kinds], sides.clamp(-4, 3).exp() * UNIT)


def _take_over(own: Residual, other: Residual) -> None:
    """A block's weights, with the channels between its convolutions that weigh most."""
    norm, state = other.first[1], other.state_dict()
    weight = state["first.1.weight"].abs() * state["second.0.weight"].abs().sum((0, 2, 3))
    kept = weight.argsort(descending=True)[: len(own.state_dict()["first.0.weight"])].sort().values
    assert isinstance(norm, nn.BatchNorm2d)
    between = {f"first.1.{name}": value[kept] for name, value in norm.state_dict().items() if value.ndim}
    first, second = state["first.0.weight"][kept], state["second.0.weight"][:, kept]
    own.load_state_dict(state | between | {"first.0.weight": first, "second.0.weight": second})
