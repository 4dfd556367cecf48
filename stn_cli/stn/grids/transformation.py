"""What every transformation can do."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor


class Transformation(Protocol):
    """T_theta: where each target point is read from in the source.

    A transformation has two parameterisations. `theta` is the paper's, what a localisation network regresses and what
    is stored. The *pose* splits it into a `centre` (B, 2) and a `shape` (B, shape_dim) in logarithms and
    angles, in which averages, differences and random jitter mean the same at every size.
    """

    name: str
    theta_dim: int
    shape_dim: int
    log_sides: int
    """How many of the shape's first entries are logs of sides; the others are angles and shears."""

    def matrix(self, theta: Tensor) -> Tensor:
        """theta (..., theta_dim) -> A_theta (..., 2, 3)."""

    def theta(self, centre: Tensor, shape: Tensor) -> Tensor:
        """Pose (..., 2), (..., shape_dim) -> theta (..., theta_dim)."""

    def pose(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """theta -> (centre, shape); the inverse of `theta`."""

    def shape_of_box(self, sides: Tensor) -> Tensor:
        """The shape (..., shape_dim) of an upright crop with half sides (..., 2) = (sx, sy)."""


def identity(grid: Transformation) -> Tensor:
    """The theta (theta_dim,) that returns the whole image unchanged."""
    return grid.theta(torch.zeros(2), grid.shape_of_box(torch.ones(2)))


def matrix_from_rows(a: Tensor, b: Tensor, tx: Tensor, c: Tensor, d: Tensor, ty: Tensor) -> Tensor:
    """[[a, b, tx], [c, d, ty]] from six tensors of one shape: (...) -> (..., 2, 3)."""
    return torch.stack([torch.stack([a, b, tx], -1), torch.stack([c, d, ty], -1)], -2)
