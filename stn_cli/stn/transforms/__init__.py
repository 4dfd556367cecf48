"""The transformations T_theta, one file each, by the names of the field."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from stn_cli.errors import UsageError
from stn_cli.stn.transforms.affine import Affine, Affine3d
from stn_cli.stn.transforms.attention import Attention, Attention3d, FixedAttention
from stn_cli.stn.transforms.box import Box
from stn_cli.stn.transforms.piecewise_affine import PiecewiseAffine
from stn_cli.stn.transforms.projective import Projective
from stn_cli.stn.transforms.similarity import Euclidean, Similarity
from stn_cli.stn.transforms.structured import Structured
from stn_cli.stn.transforms.thin_plate_spline import ThinPlateSpline
from stn_cli.stn.transforms.transformation import Transformation

TRANSFORMS: dict[str, Callable[..., Transformation]] = {
    "attention": Attention,
    "fixed_attention": FixedAttention,
    "box": Box,
    "euclidean": Euclidean,
    "similarity": Similarity,
    "affine": Affine,
    "projective": Projective,
    "piecewise_affine": PiecewiseAffine,
    "thin_plate_spline": ThinPlateSpline,
    "structured": Structured,
}
TRANSFORMS_3D: dict[str, Callable[..., Transformation]] = {"attention3d": Attention3d, "affine3d": Affine3d}


def by_name(name: str, **options: Any) -> Transformation:
    """The transformation called `name`.

    Args:
        name: of TRANSFORMS or TRANSFORMS_3D.
        options: of its class: `scale` of fixed_attention and euclidean, `control` of piecewise_affine and thin_plate_spline,
            `regularisation` of thin_plate_spline, `terms`, `control` and `learned` of structured.

    Raises:
        UsageError: no transformation has that name, or it has no such option.
    """
    known = TRANSFORMS | TRANSFORMS_3D
    if name not in known:
        raise UsageError("unknown transform", name, f"known: {', '.join(known)}")
    try:
        return known[name](**options)
    except TypeError as error:
        raise UsageError(f"transform {name} has no such option", ", ".join(options), None) from error


__all__ = [
    "TRANSFORMS",
    "TRANSFORMS_3D",
    "Affine",
    "Affine3d",
    "Attention",
    "Attention3d",
    "Box",
    "Euclidean",
    "FixedAttention",
    "PiecewiseAffine",
    "Projective",
    "Similarity",
    "Structured",
    "ThinPlateSpline",
    "Transformation",
    "by_name",
]
