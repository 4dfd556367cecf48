"""The transformations T_theta, one file each, by the names of the field."""

from __future__ import annotations

from stn_cli.errors import UsageError
from stn_cli.stn.grids.affine import Affine
from stn_cli.stn.grids.attention import Attention
from stn_cli.stn.grids.box import Box
from stn_cli.stn.grids.similarity import Similarity
from stn_cli.stn.grids.transformation import Transformation

GRIDS: dict[str, Transformation] = {grid.name: grid for grid in (Attention(), Box(), Similarity(), Affine())}


def by_name(name: str) -> Transformation:
    """The transformation called `name`.

    Raises:
        UsageError: no transformation has that name.
    """
    if name not in GRIDS:
        raise UsageError("unknown transform", name, f"known: {', '.join(GRIDS)}")
    return GRIDS[name]


__all__ = ["GRIDS", "Affine", "Attention", "Box", "Similarity", "Transformation", "by_name"]
