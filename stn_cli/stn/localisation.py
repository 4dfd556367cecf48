"""f_loc: networks that look at an image and end in a regression layer (paper, section 3.1).

Every network's last layer starts at zero weights, so that training begins at a stated pose: the identity
unless told otherwise.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stn_cli.geometry import index_to_normalised
from stn_cli.stn.grids import Transformation
from stn_cli.stn.grids.transformation import identity


def regression_layer(inputs: int, start: Tensor) -> nn.Linear:
    """A linear layer that returns `start` (theta_dim,) whatever comes in, until it is trained."""
    layer = nn.Linear(inputs, start.numel())
    nn.init.zeros_(layer.weight)
    with torch.no_grad():
        layer.bias.copy_(start)
    return layer


class FcnLocalisation(nn.Module):
    """Fully connected f_loc of the paper's appendix A.4: three hidden layers of `width` units.

    Args:
        grid: the transformation whose theta is regressed.
        inputs: values per image, C * H * W.
        width: units per hidden layer; 32 in the paper.
        start: theta at the start, (theta_dim,); the identity when left out.
    """

    def __init__(self, grid: Transformation, inputs: int, width: int = 32, start: Tensor | None = None) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Flatten()]
        for n in (inputs, width, width):
            layers += [nn.Linear(n, width), nn.ReLU()]
        self.body = nn.Sequential(*layers)
        self.head = regression_layer(width, identity(grid) if start is None else start)

    def forward(self, U: Tensor) -> Tensor:
        """(B, C, H, W) -> theta (B, theta_dim)."""
        theta: Tensor = self.head(self.body(U))
        return theta


class CnnLocalisation(nn.Module):
    """Convolutional f_loc of the paper's appendix A.4: two 5x5 convolutions of 20 filters, pooled, then a layer of 20 units.

    Args:
        grid: the transformation whose theta is regressed.
        channels: of the input.
        width: filters per convolution and units of the hidden layer; 20 in the paper.
        start: theta at the start, (theta_dim,); the identity when left out.
    """

    def __init__(self, grid: Transformation, channels: int, width: int = 20, start: Tensor | None = None) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.MaxPool2d(2),
            nn.Conv2d(channels, width, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(width, width, 5, padding=2),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(4),
            nn.Flatten(),
            nn.Linear(width * 16, width),
            nn.ReLU(),
        )
        self.head = regression_layer(width, identity(grid) if start is None else start)

    def forward(self, U: Tensor) -> Tensor:
        """(B, C, H, W) -> theta (B, theta_dim)."""
        theta: Tensor = self.head(self.body(U))
        return theta


class HeatmapLocalisation(nn.Module):
    """A translation-equivariant f_loc: a heatmap, whose spatial soft-argmax is the crop's centre.

    Where a fully connected f_loc must see an object at every place to find it there, this one finds it anywhere after seeing it
    once. The crop's shape (log sides, angle) is regressed at every cell and averaged under the heatmap.
    The last layer starts at zero: the heatmap is flat, the centre is the image's middle, the shape is `start`.

    Args:
        grid: the transformation whose theta is regressed.
        channels: of the input map.
        width: channels of the body.
        start: half sides (sx, sy) of the crop at the start, as shares of the image.
        depth: dilated 3x3 layers; the receptive field grows with 2^depth.
    """

    start: Tensor

    def __init__(
        self,
        grid: Transformation,
        channels: int,
        width: int = 48,
        start: tuple[float, float] = (1.0, 1.0),
        depth: int = 4,
    ) -> None:
        super().__init__()
        self.grid = grid
        self.stem = nn.Conv2d(channels, width, 3, padding=1)
        dilations = [2**i for i in range(depth)]
        self.body = nn.ModuleList(nn.Conv2d(width, width, 3, padding=d, dilation=d) for d in dilations)
        self.norms = nn.ModuleList(nn.GroupNorm(4, width) for _ in dilations)
        self.head = nn.Conv2d(width, 1 + grid.shape_dim, 1)
        for parameter in self.head.parameters():
            nn.init.zeros_(parameter)
        self.register_buffer("start", grid.shape_of_box(torch.tensor(start)))

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """Map (B, C, h, w), cells that belong to the image (B, h, w) -> theta (B, theta_dim)."""
        centre, shape, _ = self.look(x, valid)
        return self.grid.theta(centre, shape)

    def look(self, x: Tensor, valid: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """As `forward`, but returns (centre (B, 2), shape (B, shape_dim), log of the heatmap (B, h, w))."""
        x = F.relu(self.stem(x))
        for conv, norm in zip(self.body, self.norms, strict=True):
            x = x + F.relu(norm(conv(x)))
        out = self.head(x)  # (B, 1 + shape_dim, h, w)
        logits = out[:, 0]
        if valid is not None:
            logits = logits.masked_fill(~valid, -1e4)
        h, w = logits.shape[-2:]
        log_heat = logits.flatten(1).log_softmax(1)
        heat = log_heat.exp().view_as(logits)  # (B, h, w)
        xs = index_to_normalised(torch.arange(w, device=x.device, dtype=x.dtype), w)
        ys = index_to_normalised(torch.arange(h, device=x.device, dtype=x.dtype), h)
        centre = torch.stack([(heat.sum(1) * xs).sum(1), (heat.sum(2) * ys).sum(1)], -1)  # (B, 2)
        shape = (out[:, 1:] * heat[:, None]).sum((-2, -1)) + self.start
        return centre, shape, log_heat.view_as(logits)
