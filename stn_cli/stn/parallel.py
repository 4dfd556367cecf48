"""Several spatial transformers side by side, for several objects in one image (paper, sections 3.4 and 4.3)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from stn_cli.errors import UsageError
from stn_cli.stn.transformer import SpatialTransformer
from stn_cli.stn.transforms import Transformation


class ParallelTransformers(nn.Module):
    """K transformers that look at the same images.

    Args:
        transformers: of one kind of transform and one crop size.
    """

    def __init__(self, transformers: Sequence[SpatialTransformer]) -> None:
        super().__init__()
        if not transformers or len({(t.size, t.transform.name) for t in transformers}) != 1:
            raise UsageError("parallel transformers must be one or more, of one transform and one crop size", len(transformers))
        self.transformers = nn.ModuleList(transformers)

    def forward(self, U: Tensor, *context: Tensor) -> tuple[Tensor, Tensor]:
        """Cut K crops out of each image.

        Args:
            U: (B, C, H, W) images.
            context: more tensors for every f_loc.

        Returns:
            crops (B, K, C, H', W'), thetas (B, K, theta_dim).
        """
        pairs = [transformer(U, *context) for transformer in self.transformers]
        return torch.stack([crop for crop, _ in pairs], 1), torch.stack([theta for _, theta in pairs], 1)


def diversity_loss(transform: Transformation, theta: Tensor) -> Tensor:
    """How much K crops of an image take the same thing.

    exp(-distance of the centres / their mean half side), averaged over pairs. Its slope is steepest where crops meet; exactly
    on top of each other they have no direction to part in, so start them at different places (`spread_starts`).

    Args:
        transform: T_theta of the crops.
        theta: (B, K, theta_dim); one crop gives 0.

    Returns:
        A scalar from 0 (apart) to 1 (all at one place).

    Example:
        >>> from stn_cli.stn import by_name, diversity_loss
        >>> round(float(diversity_loss(by_name("box"), torch.tensor([[[0.5, 0.5, 0, 0], [0.5, 0.5, 0, 0]]]))), 3)
        1.0
    """
    k = theta.shape[1]
    if k < 2 or theta.shape[0] == 0:
        return theta.sum() * 0
    centre = transform.points(theta, theta.new_zeros(1, transform.dims))[..., 0, :]  # (B, K, dims)
    reach = transform.sides(theta).mean(-1)  # (B, K)
    first, second = torch.triu_indices(k, k, 1, device=theta.device)
    apart = ((centre[:, first] - centre[:, second]).square().sum(-1) + 1e-12).sqrt()
    return torch.exp(-2 * apart / (reach[:, first] + reach[:, second]).clamp(min=1e-6)).mean()


def spread_starts(transform: Transformation, count: int, side: float = 0.5) -> Tensor:
    """Where K crops may begin: spread evenly on a circle around the image's middle, in a volume on a sphere.

    Args:
        transform: T_theta of the crops.
        count: K.
        side: half side of each, as a share of the image's.

    Returns:
        (count, theta_dim).

    Example:
        >>> from stn_cli.stn import by_name, spread_starts
        >>> spread_starts(by_name("box"), 3).shape
        torch.Size([3, 4])
    """
    at = torch.arange(count)
    if transform.dims == 2:
        angle = at * (2 * torch.pi / count)
        directions = torch.stack([angle.cos(), angle.sin()], -1)
    else:  # a spiral from pole to pole, turned by the golden angle from point to point (Swinbank and Purser 2006)
        z, angle = 1 - (2 * at + 1) / count, at * (torch.pi * (3 - 5**0.5))
        directions = torch.stack([(1 - z * z).sqrt() * angle.cos(), (1 - z * z).sqrt() * angle.sin(), z], -1)
    reach = 0.0 if count == 1 else max(0.0, 1 - side) / 2 + 0.05
    return transform.theta(reach * directions, transform.shape_of_box(torch.full((count, transform.dims), side)))
