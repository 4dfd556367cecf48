"""Spatial transformers (Jaderberg et al. 2015, arXiv 1506.02025, section 3) in pure torch."""

from stn_cli.stn.grids import GRIDS, Affine, Attention, Box, Similarity, Transformation, by_name
from stn_cli.stn.lattice import affine_grid, regular_lattice
from stn_cli.stn.localisation import CnnLocalisation, FcnLocalisation, HeatmapLocalisation
from stn_cli.stn.sampler import Pyramid, sample, sample_reduced
from stn_cli.stn.transformer import SpatialTransformer

__all__ = [
    "GRIDS",
    "Affine",
    "Attention",
    "Box",
    "CnnLocalisation",
    "FcnLocalisation",
    "HeatmapLocalisation",
    "Pyramid",
    "Similarity",
    "SpatialTransformer",
    "Transformation",
    "affine_grid",
    "by_name",
    "regular_lattice",
    "sample",
    "sample_reduced",
]
