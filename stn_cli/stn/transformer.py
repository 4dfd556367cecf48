"""The spatial transformer: f_loc -> theta -> T_theta(G) -> sampler; at the input, or on a feature map at any depth."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from stn_cli.errors import UsageError
from stn_cli.stn.kernels import Bilinear, Kernel, kernel_by_name
from stn_cli.stn.reduction import Pyramid, sample_reduced
from stn_cli.stn.sampler import PADDINGS, sample
from stn_cli.stn.transforms import Transformation


class SpatialTransformer(nn.Module):
    """Cut a pose-normalised crop out of each image, at a place that the network chooses itself.

    Args:
        localisation: f_loc, a module (B, C, H, W) -> theta (B, theta_dim); it may take more tensors.
        transform: the transformation T_theta; a 3-D one makes this a transformer of volumes (B, C, D, H, W).
        size: (H', W') of the crop, or (D', H', W').
        kernel: sampling kernel, by name or an object of the Kernel kind (one with parameters is learned too).
        padding: what lies outside the image, `zeros`, `border` or `reflection`.
        antialias: read crops larger than their output from a pyramid; bilinear pictures with `zeros` or `border` only,
            where it is the default.
        sides, inside, fold: bounds of theta, see `Transformation.bound`; none unless given.

    Example:
        >>> from stn_cli.stn import CnnLocalisation, SpatialTransformer, by_name
        >>> transform = by_name("thin_plate_spline")
        >>> transformer = SpatialTransformer(CnnLocalisation(transform, channels=1), transform, (28, 28))
        >>> crops, theta = transformer(torch.rand(8, 1, 60, 60))
    """

    def __init__(
        self,
        localisation: nn.Module,
        transform: Transformation,
        size: tuple[int, ...],
        *,
        kernel: str | Kernel = "bilinear",
        padding: str = "zeros",
        antialias: bool | None = None,
        sides: tuple[float, float] | None = None,
        inside: bool = False,
        fold: bool = True,
    ) -> None:
        super().__init__()
        if len(size) != transform.dims or min(size) < 1:
            raise UsageError(f"size of a crop of {transform.name} must be {transform.dims} sides of at least 1", size)
        if padding not in PADDINGS:
            raise UsageError("unknown padding", padding, f"known: {', '.join(PADDINGS)}")
        self.localisation = localisation
        self.transform = transform
        self.size = size
        self.kernel = kernel_by_name(kernel) if isinstance(kernel, str) else kernel
        self.padding = padding
        can_reduce = isinstance(self.kernel, Bilinear) and transform.dims == 2 and padding != "reflection"
        if antialias and not can_reduce:
            raise UsageError(
                "antialias needs the bilinear kernel, a picture, and padding zeros or border", f"{self.kernel.name}, {padding}"
            )
        self.antialias = can_reduce if antialias is None else antialias
        self.sides, self.inside, self.fold = sides, inside, fold

    def forward(self, U: Tensor, *context: Tensor) -> tuple[Tensor, Tensor]:
        """Images (B, C, H, W) -> crops (B, C, H', W') and theta (B, theta_dim); `context` is handed on to f_loc."""
        theta = self.regress(U, *context)
        return self.read(U, self.transform.grid(theta, self.size)), theta

    def regress(self, U: Tensor, *context: Tensor) -> Tensor:
        """f_loc and the bounds: theta (B, theta_dim)."""
        theta: Tensor = self.localisation(U, *context)
        if self.sides is not None or self.inside or not self.fold:
            theta = self.transform.bound(theta, sides=self.sides, inside=self.inside, fold=self.fold)
        return theta

    def read(self, U: Tensor, points: Tensor) -> Tensor:
        """Sample U (B, C, H, W) at points (B, H', W', 2) as this transformer does."""
        if self.antialias:
            return sample_reduced(Pyramid(U), points[:, None], padding=self.padding)[:, 0]
        return sample(U, points, kernel=self.kernel, padding=self.padding)

    def parameter_groups(
        self, lr: float, localisation_share: float = 0.1, shared: nn.Module | None = None
    ) -> list[dict[str, Any]]:
        """Optimiser groups in which f_loc learns at `localisation_share` of the base rate.

        The paper's networks needed a tenth of the base rate for f_loc or less; larger steps throw the crop off the image.

        Args:
            lr: the base rate; a learned basis or kernel takes it.
            localisation_share: see above.
            shared: a part of f_loc that also serves the network behind it; left out here.
        """
        held = set() if shared is None else {id(p) for p in shared.parameters()}
        slow = [p for p in self.localisation.parameters() if id(p) not in held]
        known = held | {id(p) for p in slow}
        other = [p for p in self.parameters() if id(p) not in known]
        groups: list[dict[str, Any]] = [{"params": slow, "lr": lr * localisation_share}]
        return [*groups, {"params": other, "lr": lr}] if other else groups


class TransformerPool(nn.Module):
    """A spatial transformer as learned down-sampling, in place of max-pooling (paper, section 3.4).

    It starts as the mean over factor x factor cells and may learn to look closer.

    Args:
        localisation: f_loc on the feature map.
        transform: the transformation.
        factor: how many times smaller the output's sides are, rounded down.
    """

    def __init__(self, localisation: nn.Module, transform: Transformation, factor: int = 2) -> None:
        super().__init__()
        if factor < 1:
            raise UsageError("factor of a pooling transformer must be 1 or more", factor)
        self.localisation, self.transform, self.factor = localisation, transform, factor

    def forward(self, U: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H / factor, W / factor)."""
        size = max(1, U.shape[-2] // self.factor), max(1, U.shape[-1] // self.factor)
        points = self.transform.grid(self.localisation(U), size)
        return sample_reduced(Pyramid(U), points[:, None])[:, 0]


def append_theta(features: Tensor, theta: Tensor) -> Tensor:
    """theta fed forward to later layers: it says explicitly how the crop was transformed (paper, section 3.4).

    Args:
        features: (B, F) or maps (B, C, h, w).
        theta: (B, theta_dim).

    Returns:
        (B, F + theta_dim), or (B, C + theta_dim, h, w) with theta the same in every cell.
    """
    wide = theta.to(features.dtype).view(*theta.shape, *[1] * (features.ndim - 2))
    return torch.cat([features, wide.expand(*theta.shape, *features.shape[2:])], 1)
