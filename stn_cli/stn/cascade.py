"""Cascades: each spatial transformer looks at the last one's crop, and the composed theta samples the original once."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from stn_cli.errors import UsageError
from stn_cli.stn.base_grid import base_grid
from stn_cli.stn.precision import at_least_single
from stn_cli.stn.transformer import SpatialTransformer


class Cascade(nn.Module):
    """D transformers, coarse to fine. What a level sees is read from the original image through all levels before it: nothing is
    interpolated twice, and detail that the coarse levels never saw is there for the fine ones.

    Args:
        levels: transformers of any kinds of one dimension; the last one's size, kernel and padding make the crop.
    """

    def __init__(self, levels: Sequence[SpatialTransformer]) -> None:
        super().__init__()
        if not levels or len({t.transform.dims for t in levels}) != 1:
            raise UsageError("a cascade needs one or more transformers, all of 2 or all of 3 dimensions", len(levels))
        self.levels = nn.ModuleList(levels)

    def forward(self, U: Tensor, *context: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Cut a crop out of each image.

        Args:
            U: (B, C, H, W) images.
            context: more tensors for the f_loc of the first level.

        Returns:
            crops (B, C, H', W'), and each level's own theta (B, theta_dim).
        """
        seen = U
        thetas: list[Tensor] = []
        for level in self._each():
            thetas.append(level.regress(seen, *(context if not thetas else ())))
            seen = level.read(U, self.points(thetas, level.size))
        return seen, thetas

    def points(self, thetas: Sequence[Tensor], size: tuple[int, ...]) -> Tensor:
        """T_1(T_2(... T_d(G))) of the first d levels.

        Args:
            thetas: of the levels, (B, theta_dim) each; as many as are composed.
            size: (H', W') of the last crop.

        Returns:
            (B, H', W', 2) points of the original image.
        """
        first = thetas[0]
        dtype = at_least_single(first.dtype)
        targets = base_grid(size, device=first.device, dtype=dtype).flatten(0, -2)
        return self.through(thetas, targets).unflatten(-2, size)

    def through(self, thetas: Sequence[Tensor], targets: Tensor) -> Tensor:
        """Where points of the last crop lie in the original.

        Args:
            thetas: of the levels, (B, theta_dim) each.
            targets: (N, dims).

        Returns:
            (B, N, dims).
        """
        for level, theta in reversed(list(zip(self._each(), thetas, strict=False))):
            targets = level.transform.points(theta, targets)
        return targets

    def _each(self) -> list[SpatialTransformer]:
        return list(self.levels)  # type: ignore[arg-type]
