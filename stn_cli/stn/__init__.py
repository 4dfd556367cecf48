"""Spatial transformers (Jaderberg et al. 2015, arXiv 1506.02025, section 3) in pure torch."""

from stn_cli.stn.base_grid import base_grid
from stn_cli.stn.cascade import Cascade
from stn_cli.stn.kernels import KERNELS, Bicubic, Bilinear, Custom, Gaussian, Integer, Kernel, Lanczos
from stn_cli.stn.localisation import CnnLocalisation, FcnLocalisation, HeatmapLocalisation, TrunkLocalisation
from stn_cli.stn.parallel import ParallelTransformers, diversity_loss, spread_starts
from stn_cli.stn.reduction import Pyramid, sample_reduced
from stn_cli.stn.sampler import sample, splat
from stn_cli.stn.transformer import SpatialTransformer, TransformerPool, append_theta
from stn_cli.stn.transforms import (
    TRANSFORMS,
    TRANSFORMS_3D,
    Affine,
    Affine3d,
    Attention,
    Attention3d,
    Box,
    Euclidean,
    FixedAttention,
    PiecewiseAffine,
    Projective,
    Similarity,
    Structured,
    ThinPlateSpline,
    Transformation,
    by_name,
)
from stn_cli.stn.transforms.affine import affine_grid
from stn_cli.stn.unwarping import unwarp
from stn_cli.stn.volume import flatten_volume

__all__ = [
    "KERNELS",
    "TRANSFORMS",
    "TRANSFORMS_3D",
    "Affine",
    "Affine3d",
    "Attention",
    "Attention3d",
    "Bicubic",
    "Bilinear",
    "Box",
    "Cascade",
    "CnnLocalisation",
    "Custom",
    "Euclidean",
    "FcnLocalisation",
    "FixedAttention",
    "Gaussian",
    "HeatmapLocalisation",
    "Integer",
    "Kernel",
    "Lanczos",
    "ParallelTransformers",
    "PiecewiseAffine",
    "Projective",
    "Pyramid",
    "Similarity",
    "SpatialTransformer",
    "Structured",
    "ThinPlateSpline",
    "Transformation",
    "TransformerPool",
    "TrunkLocalisation",
    "affine_grid",
    "append_theta",
    "base_grid",
    "by_name",
    "diversity_loss",
    "flatten_volume",
    "sample",
    "sample_reduced",
    "splat",
    "spread_starts",
    "unwarp",
]
