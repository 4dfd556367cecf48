"""The encoder without weights: orientation energies and colour."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from stn_cli.encoders.gradient_maps import CELL_BLUR, lab, opponent, orientation_bins, orientation_harmonics, pool_cells
from stn_cli.encoders.interface import Appearance


class GradientEncoder(nn.Module):
    """No weights, any machine: orientation energies and colour over cells of 8 pixels.

    Structure: 8 orientations and 4 opponent colours, root of the mean over a cell. The root keeps one strong edge from
    outweighing the rest. Appearance: mean and spread of Lab colour, and the 8 orientations.
    """

    name = "gradient"
    dense = False
    patch = 32
    stride = 4
    spread = 2
    colour_weight = 0.5

    def structure(self, images: Tensor) -> Tensor:
        """Edges and colours: (B, 3, H, W) -> (B, 12, (H - 8) / 4 + 1, (W - 8) / 4 + 1)."""
        energy = orientation_bins(pool_cells(orientation_harmonics(images.mean(1, keepdim=True)), 8, 4))
        colour = pool_cells(opponent(images), 8, 4)
        return torch.cat([(energy + 1e-9).sqrt(), self.colour_weight * (colour + 1e-9).sqrt()], 1)

    def appearance(self, images: Tensor, pad: int = 0, objectness: bool = True) -> Appearance:
        """(B, 3, H, W) -> cells (B, 14, H / 4, W / 4); they are local, and need no padding."""
        del pad, objectness
        return Appearance(self.maps(images))

    def maps(self, images: Tensor) -> Tensor:
        """The cells alone: (B, 3, H, W) -> (B, 14, H / 4, W / 4)."""
        colour = lab(images)
        mean = pool_cells(colour, 8, 4, pad=True)
        spread = (pool_cells(colour.square(), 8, 4, pad=True) - mean.square()).clamp(min=1e-6).sqrt()
        energy = orientation_bins(pool_cells(orientation_harmonics(images.mean(1, keepdim=True), CELL_BLUR), 8, 4, pad=True))
        return torch.cat([mean, spread, (energy + 1e-9).sqrt()], 1)

    def groups(self, cells: Tensor) -> Tensor:
        """What each channel of the cells is divided by: colour, its spread and the orientations as a whole; colour counts twice.

        Args:
            cells: (M, 14).

        Returns:
            (14,).
        """
        parts = ((slice(0, 3), 2.0), (slice(3, 6), 1.0), (slice(6, 14), 1.0))
        out = cells.new_empty(cells.shape[1])
        for part, weight in parts:
            out[part] = cells[:, part].std().clamp(min=1e-6) / weight
        return out
