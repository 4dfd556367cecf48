"""The spatial transformer: f_loc -> theta -> T_theta(G) -> sampler."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from stn_cli.stn.grids import Transformation
from stn_cli.stn.lattice import affine_grid
from stn_cli.stn.sampler import Pyramid, sample, sample_reduced


class SpatialTransformer(nn.Module):
    """Cut a pose-normalised crop out of each image, at a place that the network chooses itself.

    Args:
        localisation: f_loc, a module (B, C, H, W) -> theta (B, theta_dim); it may take more tensors.
        grid: the transformation T_theta.
        size: (H', W') of the crop.
        kernel: sampling kernel, `bilinear` or `integer`.
        padding: what lies outside the image, `zeros` or `border`.
        antialias: read crops larger than their output from a pyramid (bilinear only).

    Example:
        >>> from stn_cli.stn import CnnLocalisation, SpatialTransformer, by_name
        >>> grid = by_name("affine")
        >>> transformer = SpatialTransformer(CnnLocalisation(grid, channels=1), grid, (28, 28))
    """

    def __init__(
        self,
        localisation: nn.Module,
        grid: Transformation,
        size: tuple[int, int],
        *,
        kernel: str = "bilinear",
        padding: str = "zeros",
        antialias: bool = True,
    ) -> None:
        super().__init__()
        self.localisation = localisation
        self.grid = grid
        self.size = size
        self.kernel = kernel
        self.padding = padding
        self.antialias = antialias and kernel == "bilinear"

    def forward(self, U: Tensor, *context: Tensor) -> tuple[Tensor, Tensor]:
        """Images (B, C, H, W) -> crops (B, C, H', W') and theta (B, theta_dim); `context` is handed on to f_loc."""
        theta = self.localisation(U, *context)
        points = affine_grid(self.grid.matrix(theta), self.size)  # (B, H', W', 2)
        if self.antialias:
            V = sample_reduced(Pyramid(U), points[:, None], padding=self.padding)[:, 0]
        else:
            V = sample(U, points, kernel=self.kernel, padding=self.padding)
        return V, theta

    def parameter_groups(self, lr: float, localisation_share: float = 0.1) -> list[dict[str, Any]]:
        """Optimiser groups in which f_loc learns at `localisation_share` of the base rate.

        The paper's networks needed a tenth of the base rate for f_loc or less; larger steps throw the crop off the image.
        """
        return [{"params": list(self.localisation.parameters()), "lr": lr * localisation_share}]
