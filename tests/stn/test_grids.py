from __future__ import annotations

import math

import pytest
import torch

from stn_cli.errors import UsageError
from stn_cli.stn import GRIDS, affine_grid, by_name, regular_lattice
from stn_cli.stn.grids.transformation import identity

D = torch.float64


@pytest.mark.parametrize("name", GRIDS)
def test_identity_reads_every_pixel_where_it_is(name: str) -> None:
    grid = by_name(name)
    points = affine_grid(grid.matrix(identity(grid)), (5, 7))
    torch.testing.assert_close(points, regular_lattice((5, 7)), atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", GRIDS)
def test_pose_and_theta_are_inverse(name: str) -> None:
    grid = by_name(name)
    torch.manual_seed(0)
    centre, shape = torch.rand(9, 2, dtype=D) - 0.5, torch.rand(9, grid.shape_dim, dtype=D) - 0.5
    theta = grid.theta(centre, shape)
    assert theta.shape == (9, grid.theta_dim)
    again = grid.pose(theta)
    torch.testing.assert_close(again[0], centre)
    torch.testing.assert_close(again[1], shape)


@pytest.mark.parametrize("name", GRIDS)
def test_shape_begins_with_log_sides(name: str) -> None:
    grid = by_name(name)
    small = grid.matrix(grid.theta(torch.zeros(2, dtype=D), grid.shape_of_box(torch.tensor([0.5, 0.5], dtype=D))))
    torch.testing.assert_close(small, torch.tensor([[0.5, 0, 0], [0, 0.5, 0]], dtype=D))
    shape = grid.shape_of_box(torch.tensor([0.5, 0.5], dtype=D))
    torch.testing.assert_close(shape[: grid.log_sides], torch.full((grid.log_sides,), math.log(0.5), dtype=D))
    assert bool((shape[grid.log_sides :] == 0).all())


# theta and the matrix that the paper, or a textbook, writes for it
CLOSED = [
    ("attention", [0.5, 0.1, -0.2], [[0.5, 0, 0.1], [0, 0.5, -0.2]]),
    ("box", [0.5, 0.25, 0.1, -0.2], [[0.5, 0, 0.1], [0, 0.25, -0.2]]),
    ("similarity", [0.0, 0.5, 0.1, -0.2], [[0, -0.5, 0.1], [0.5, 0, -0.2]]),  # a quarter turn
    ("affine", [1, 2, 3, 4, 5, 6], [[1, 2, 3], [4, 5, 6]]),
]


@pytest.mark.parametrize(("name", "theta", "matrix"), CLOSED)
def test_matrix_closed_form(name: str, theta: list[float], matrix: list[list[float]]) -> None:
    out = by_name(name).matrix(torch.tensor([theta], dtype=D))[0]
    torch.testing.assert_close(out, torch.tensor(matrix, dtype=D))


def test_affine_pose_is_rotation_shear_scale() -> None:
    a, k = 0.3, 0.4
    rotation = torch.tensor([[math.cos(a), -math.sin(a)], [math.sin(a), math.cos(a)]], dtype=D)
    linear = rotation @ torch.tensor([[1, k], [0, 1]], dtype=D) @ torch.diag(torch.tensor([0.5, 0.7], dtype=D))
    shape = torch.tensor([math.log(0.5), math.log(0.7), a, k], dtype=D)
    torch.testing.assert_close(by_name("affine").matrix(by_name("affine").theta(torch.zeros(2, dtype=D), shape))[:, :2], linear)


@pytest.mark.parametrize("name", GRIDS)
def test_gradients(name: str) -> None:
    grid = by_name(name)
    theta = grid.theta(torch.rand(2, 2, dtype=D), torch.rand(2, grid.shape_dim, dtype=D)).requires_grad_()
    assert torch.autograd.gradcheck(lambda t: affine_grid(grid.matrix(t), (2, 3)), theta)


def test_lattice_is_pixel_centres() -> None:
    lattice = regular_lattice((2, 4), dtype=D)
    assert lattice[0, :, 0].tolist() == [-0.75, -0.25, 0.25, 0.75]
    assert lattice[:, 0, 1].tolist() == [-0.5, 0.5]


def test_wrong_names_and_sizes_are_usage_errors() -> None:
    with pytest.raises(UsageError, match="unknown transform: 'bow'"):
        by_name("bow")
    with pytest.raises(UsageError, match="at least 1 x 1"):
        regular_lattice((0, 3))
