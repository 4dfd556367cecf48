"""e() of crops of things that change their form: what an encoder's cells hold, in the places where they lie.

A mean over a crop cannot tell a whole from a part, since both are of the same stuff; cells in their places can. The sampler reads the
encoder's maps and not pixels that the encoder sees afterwards: through the strides of a network the gradient at a point says little of where
the loss falls (docs/experiments.md, "The triplet objective of laid-out crops").
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from stn_cli.coloc.crops import Crops
from stn_cli.coloc.score.maps import read_under
from stn_cli.coloc.score.settings import LAYOUT


def lay_out_crops(cells: Tensor, crops: Crops) -> Tensor:
    """e of crops: T_theta(G) reads the cells of an encoder, each of length 1, before all are divided by their number.

    Args:
        cells: (B, C, h, w) of the images.
        crops: R of each.

    Returns:
        (B, R, D) of length 1; gradients reach the crops' matrices.
    """
    return F.normalize(read_under(cells, crops, LAYOUT.cells), dim=1).movedim(2, 1).flatten(2) / LAYOUT.cells
