"""f_loc: networks that look at an image and end in a regression layer (paper, section 3.1).

Every network's last layer starts at zero weights, so that training begins at a stated pose: the identity
unless told otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stn_cli.geometry import index_to_normalised
from stn_cli.stn.transforms import Transformation

NOWHERE = -1e4
"""Logit of a cell where nothing may be found."""


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
        transform: the transformation whose theta is regressed.
        inputs: values per image, C * H * W.
        width: units per hidden layer; 32 in the paper.
        start: theta at the start, (theta_dim,); the identity when left out.
    """

    def __init__(self, transform: Transformation, inputs: int, width: int = 32, start: Tensor | None = None) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Flatten()]
        for n in (inputs, width, width):
            layers += [nn.Linear(n, width), nn.ReLU()]
        self.body = nn.Sequential(*layers)
        self.head = regression_layer(width, transform.identity() if start is None else start)

    def forward(self, U: Tensor) -> Tensor:
        """(B, C, H, W) -> theta (B, theta_dim)."""
        theta: Tensor = self.head(self.body(U))
        return theta


class CnnLocalisation(nn.Module):
    """Convolutional f_loc of the paper's appendix A.4: two 5x5 convolutions of 20 filters, pooled, then a layer of 20 units.

    Args:
        transform: the transformation whose theta is regressed.
        channels: of the input.
        width: filters per convolution and units of the hidden layer; 20 in the paper.
        start: theta at the start, (theta_dim,); the identity when left out.
        cells: the last map is pooled to cells x cells; more of them place small things more exactly.
    """

    def __init__(
        self, transform: Transformation, channels: int, width: int = 20, start: Tensor | None = None, cells: int = 4
    ) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.MaxPool2d(2),
            nn.Conv2d(channels, width, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(width, width, 5, padding=2),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(cells),
            nn.Flatten(),
            nn.Linear(width * cells**2, width),
            nn.ReLU(),
        )
        self.head = regression_layer(width, transform.identity() if start is None else start)

    def forward(self, U: Tensor) -> Tensor:
        """(B, C, H, W) -> theta (B, theta_dim)."""
        theta: Tensor = self.head(self.body(U))
        return theta


class TrunkLocalisation(nn.Module):
    """f_loc that shares its weights with the network behind the transformer: theta = head(trunk(U)).

    Give the same `trunk` to the network behind, and to `SpatialTransformer.parameter_groups` as `shared`. It works on pictures and on volumes.

    Args:
        transform: the transformation whose theta is regressed.
        trunk: (B, C, H, W) -> maps (B, F, h, w).
        channels: F.
        cells: the maps are pooled to cells x cells before the head.
        start: theta at the start, (theta_dim,); the identity when left out.
    """

    def __init__(
        self, transform: Transformation, trunk: nn.Module, channels: int, cells: int = 4, start: Tensor | None = None
    ) -> None:
        super().__init__()
        self.trunk = trunk
        self.cells = cells
        self.head = regression_layer(channels * cells**transform.dims, transform.identity() if start is None else start)

    def forward(self, U: Tensor) -> Tensor:
        """(B, C, H, W) -> theta (B, theta_dim)."""
        maps = self.trunk(U)
        pool = F.adaptive_avg_pool2d if maps.ndim == 4 else F.adaptive_avg_pool3d
        theta: Tensor = self.head(pool(maps, self.cells).flatten(1))
        return theta


@dataclass(frozen=True, slots=True)
class Seen:
    """What a heatmap localisation sees before it decides.

    Attributes:
        logits: (B, h, w) of the heatmap; very low where nothing may be found.
        shapes: (B, n, h, w) the crop's shape, cell by cell.
    """

    logits: Tensor
    shapes: Tensor


class HeatmapLocalisation(nn.Module):
    """A translation-equivariant f_loc: a heatmap, whose spatial soft-argmax is the crop's centre.

    Where a fully connected f_loc must see an object at every place to find it there, this one finds it anywhere after seeing it
    once. The crop's shape (log sides, angle) is regressed at every cell and averaged under the heatmap; an angle as
    a vector (cos, sin), because angles do not average.
    The last layer starts at zero: the heatmap is flat, the centre is the image's middle, the shape is `start`.

    Args:
        transform: the transformation whose theta is regressed.
        channels: of the input map.
        width: channels of the body.
        start: half sides (sx, sy) of the crop at the start, as shares of the image.
        depth: dilated 3x3 layers; the receptive field grows with 2^depth.
    """

    start: Tensor
    transform: Transformation

    def __init__(
        self,
        transform: Transformation,
        channels: int,
        width: int = 48,
        start: tuple[float, float] = (1.0, 1.0),
        depth: int = 4,
    ) -> None:
        super().__init__()
        object.__setattr__(self, "transform", transform)  # not as a part: a learned basis belongs to the transformer alone
        self.stem = nn.Conv2d(channels, width, 3, padding=1)
        dilations = [2**i for i in range(depth)]
        self.body = nn.ModuleList(nn.Conv2d(width, width, 3, padding=d, dilation=d) for d in dilations)
        self.norms = nn.ModuleList(nn.GroupNorm(4, width) for _ in dilations)
        self.head = nn.Conv2d(width, 1 + transform.shape_dim + (transform.angle is not None), 1)
        for parameter in self.head.parameters():
            nn.init.zeros_(parameter)
        self.register_buffer("start", transform.shape_of_box(torch.tensor(start)))

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """Map (B, C, h, w), cells that belong to the image (B, h, w) -> theta (B, theta_dim)."""
        centre, shape, _ = self.read(self.see(x, valid))
        return self.transform.theta(centre, shape)

    def see(self, x: Tensor, valid: Tensor | None = None) -> Seen:
        """Map (B, C, h, w), cells that belong to the image (B, h, w) -> heatmap and shapes."""
        x = F.relu(self.stem(x))
        for conv, norm in zip(self.body, self.norms, strict=True):
            x = x + F.relu(norm(conv(x)))
        out = self.head(x)  # (B, 1 + n, h, w)
        logits = out[:, 0]
        return Seen(logits if valid is None else logits.masked_fill(~valid, NOWHERE), out[:, 1:])

    def read(self, seen: Seen, where: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """The soft-argmax.

        Args:
            seen: from `see`.
            where: (B, h, w) cells that may be averaged over; all when left out.

        Returns:
            centre (B, 2), shape (B, shape_dim), log of the heatmap (B, h, w).
        """
        log_heat = self._log_heat(seen, where)
        heat = log_heat.exp()
        xs, ys = self._cells(heat)
        centre = torch.stack([(heat.sum(1) * xs).sum(1), (heat.sum(2) * ys).sum(1)], -1)  # (B, 2)
        shape = (seen.shapes[:, : self.transform.shape_dim] * heat[:, None]).sum((-2, -1)) + self.start
        if self.transform.angle is not None:
            at, turn = self.transform.angle, self._turn(seen, heat)
            shape = torch.cat([shape[:, :at], torch.atan2(turn[:, 1:], turn[:, :1]), shape[:, at + 1 :]], 1)
        return centre, shape, log_heat

    def turn(self, seen: Seen, where: Tensor | None = None) -> Tensor:
        """The vector (B, 2) whose direction is the angle that `read` gives; its length says how far the cells agree."""
        return self._turn(seen, self._log_heat(seen, where).exp())

    def _turn(self, seen: Seen, heat: Tensor) -> Tensor:
        at = self.transform.angle
        assert at is not None
        x, y = ((seen.shapes[:, i] * heat).sum((-2, -1)) for i in (at, -1))
        return torch.stack([x + 1, y], -1)  # starts at the angle 0

    def _log_heat(self, seen: Seen, where: Tensor | None) -> Tensor:
        logits = seen.logits if where is None else seen.logits.masked_fill(~where, NOWHERE)
        return logits.flatten(1).log_softmax(1).view_as(logits)

    def peaks(self, seen: Seen, count: int) -> list[tuple[Tensor, Tensor]]:
        """The `count` highest peaks, highest first: (centre (B, 2), shape (B, shape_dim)) each.

        Around a peak the soft-argmax runs over a crop's extent; then the crop's core is closed to the next peak.
        """
        free = torch.ones_like(seen.logits, dtype=torch.bool)
        reach = self._reach()
        poses = []
        for _ in range(count):
            logits = seen.logits.masked_fill(~free, NOWHERE)
            top = logits.flatten(1).argmax(1)
            _h, w = logits.shape[-2:]
            xs, ys = self._cells(logits)
            peak = torch.stack([xs[top % w], ys[top // w]], -1)
            centre, shape, _ = self.read(seen, self.around(peak, seen.logits, 0.5 * reach) & free)
            poses.append((centre, shape))
            free = free & ~self.around(centre, seen.logits, reach)
        return poses

    def around(self, centre: Tensor, like: Tensor, reach: float | None = None) -> Tensor:
        """Cells of maps `like` (B, h, w) within `reach` of a centre (B, 2) along both axes; half a crop unless given."""
        reach = 0.5 * self._reach() if reach is None else reach
        xs, ys = self._cells(like)
        reach = max(reach, 1.5 * 2 / min(like.shape[-2:]))
        across = (xs - centre[:, :1]).abs() <= reach  # (B, w)
        down = (ys - centre[:, 1:]).abs() <= reach
        return down[:, :, None] & across[:, None, :]

    def _reach(self) -> float:
        sides = self.transform.sides(self.transform.theta(torch.zeros(2).to(self.start), self.start))
        return float(sides.mean())

    def _cells(self, like: Tensor) -> tuple[Tensor, Tensor]:
        h, w = like.shape[-2:]
        xs = index_to_normalised(torch.arange(w, device=like.device, dtype=like.dtype), w)
        return xs, index_to_normalised(torch.arange(h, device=like.device, dtype=like.dtype), h)
