"""The instance network: what cells of an image say of the whole object that they are part of, whatever its class.

The small network's stages, one more that sees far, and a top-down path (Lin et al. 2017, arXiv 1612.03144) to maps of stride 4. Each cell
says how far away the four sides of its object are (as FCOS, Tian et al. 2019, arXiv 1904.01355), how well its box would fit (as
VarifocalNet's score, Zhang et al. 2021, arXiv 2008.13367), whether it is on an object at all, and how its object looks.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stn_cli.encoders.small_network import WIDTHS, Convolution, Residual, SmallNetwork

STRIDE = 4
"""Pixels to a cell of the maps."""
WIDTH = 128
"""Channels of the top-down path from stride 8 upwards."""
FINE = 64
"""Channels of the top-down path, and of the maps of stride 4."""
LOOKS = 64
"""Numbers that say how a cell's object looks."""
UNIT = 16.0
"""Pixels that a distance of exp(0) means."""
COARSEST = 32
"""Sides of images are multiples of this."""


@dataclass(frozen=True, slots=True)
class Maps:
    """What the network says of each cell of 4 x 4 pixels.

    Attributes:
        fit: (B, h, w) log odds that the cell's box is right; its probability is the IoU to be expected.
        inside: (B, h, w) log odds that the cell is on an object.
        sides: (B, 4, h, w) distances to left, top, right, bottom of its object, pixels.
        looks: (B, 64, h, w) how its object looks.
    """

    fit: Tensor
    inside: Tensor
    sides: Tensor
    looks: Tensor

    def boxes(self) -> Tensor:
        """The box that each cell speaks for: (B, h, w, 4) x1, y1, x2, y2, pixels."""
        return boxes_of_cells(self.sides)


def boxes_of_cells(sides: Tensor) -> Tensor:
    """The box that each cell of 4 x 4 pixels speaks for.

    Args:
        sides: (..., 4, h, w) distances to left, top, right, bottom, pixels.

    Returns:
        (..., h, w, 4) x1, y1, x2, y2, pixels.
    """
    h, w = sides.shape[-2:]
    y = (torch.arange(h, device=sides.device, dtype=sides.dtype) + 0.5)[:, None] * STRIDE
    x = (torch.arange(w, device=sides.device, dtype=sides.dtype) + 0.5)[None] * STRIDE
    left, top, right, bottom = sides.unbind(-3)
    return torch.stack([x - left, y - top, x + right, y + bottom], -1)


class TopDown(nn.Module):
    """Stages that go down, one more that sees far, and a top-down path (Lin et al. 2017) back to cells of 4 x 4 pixels, which are read.

    Args:
        stem: reduces by 2.
        stages: the last three of them reduce by 4, 8 and 16.
        far: sees what is reduced by 32.
        outputs: numbers that are read of each cell.
    """

    def __init__(self, stem: nn.Module, stages: nn.ModuleList, far: nn.Module, outputs: int) -> None:
        super().__init__()
        self.stem, self.stages, self.far = stem, stages, far
        self.reduce = nn.AvgPool2d(2, ceil_mode=True)
        self.lateral = nn.ModuleList(Convolution(width, WIDTH, 1) for width in (WIDTHS[2], WIDTHS[3], WIDTHS[3]))
        self.middle = Convolution(WIDTH, WIDTH, 3)
        self.narrow = Convolution(WIDTH, FINE, 1)
        self.fine = Convolution(WIDTHS[1], FINE, 1)
        self.tower = nn.ModuleList([Convolution(FINE, FINE, 3), Convolution(FINE, FINE, 3)])
        self.read = nn.Conv2d(FINE, outputs, 1)

    def climb(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Down the stages and up again.

        Args:
            images: (B, 3, H, W), standardised.

        Returns:
            What cells say, (B, outputs, H / 4, W / 4) in single precision, and the path where it is one step below, (B, 128, H / 8, W / 8).
        """
        x, seen = self.stem(images, relu=True), []
        for stage in self.stages:
            x = stage(x)
            seen.append(x)
        two, *deeper = [*seen[-3:], self.far(self.reduce(x))]
        top = None
        for lateral, x in zip(reversed(list(self.lateral)), reversed(deeper), strict=True):
            wide = None if top is None else F.interpolate(top, x.shape[-2:], mode="bilinear", align_corners=False)
            top = lateral(x, wide, relu=True)
        top = self.middle(top, relu=True)
        x = self.fine(two, F.interpolate(self.narrow(top), two.shape[-2:], mode="bilinear", align_corners=False), relu=True)
        for convolution in self.tower:
            x = convolution(x, relu=True)
        return self.read(x).float(), top


class InstanceNetwork(TopDown):
    """3.1 million parameters, half of them begun with the small network's."""

    def __init__(self) -> None:
        small = SmallNetwork()
        super().__init__(small.stem, small.stages, Residual(WIDTHS[3], WIDTHS[3], 1), 6)
        self.looks = nn.Conv2d(WIDTH, LOOKS, 1)
        nn.init.normal_(self.read.weight, std=0.01)
        assert self.read.bias is not None
        with torch.no_grad():
            self.read.bias.zero_()
            self.read.bias[0] = -4.0  # nearly all cells are of no box

    def begin_with(self, network: SmallNetwork) -> InstanceNetwork:
        """Take over the weights of the stages."""
        self.stem.load_state_dict(network.stem.state_dict())
        self.stages.load_state_dict(network.stages.state_dict())
        return self

    def forward(self, images: Tensor) -> Maps:
        """Standardised images (B, 3, H, W), sides multiples of 32 -> maps of H / 4 x W / 4 cells."""
        read, top = self.climb(images)
        looks = F.interpolate(self.looks(top).float(), read.shape[-2:], mode="bilinear", align_corners=False)
        return Maps(read[:, 0], read[:, 1], read[:, 2:].clamp(-4, 3).exp() * UNIT, looks)
