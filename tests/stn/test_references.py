"""The same numbers as kornia and scipy.ndimage, which were written by others."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stn_cli.geometry import pixel_index
from stn_cli.stn import Affine3d, Projective, ThinPlateSpline, base_grid, sample
from stn_cli.stn.transforms.thin_plate_spline import radial

kornia = pytest.importorskip("kornia", reason="kornia is a test dependency")
interpolate = pytest.importorskip("scipy.interpolate", reason="scipy is a test dependency")
ndimage = pytest.importorskip("scipy.ndimage", reason="scipy is a test dependency")
D = torch.float64


def homography(count: int) -> torch.Tensor:
    torch.manual_seed(0)
    return torch.tensor([0.7, 0.1, 0.05, -0.1, 0.6, 0.02, 0.1, -0.1], dtype=D) + 0.05 * torch.randn(count, 8, dtype=D)


def test_projective_points_are_kornias() -> None:
    theta = homography(4)
    x = torch.rand(4, 9, 2, dtype=D) * 2 - 1
    ours = Projective().points(theta, x)
    theirs = kornia.geometry.linalg.transform_points(Projective().matrix(theta), x)
    torch.testing.assert_close(ours, theirs)


def test_a_projective_warp_is_kornias() -> None:
    """kornia's homography_warp with a grid of pixel centres and the same sampler."""
    torch.manual_seed(1)
    U = torch.rand(3, 2, 17, 21, dtype=D)
    theta = homography(3)
    ours = sample(U, Projective().grid(theta, (12, 15)))
    grid = base_grid((12, 15), dtype=D).expand(3, -1, -1, -1)
    warped = kornia.geometry.linalg.transform_points(Projective().matrix(theta)[:, None], grid)
    torch.testing.assert_close(ours, torch.nn.functional.grid_sample(U, warped, align_corners=False))


@pytest.mark.parametrize("regularisation", [0.0, 0.3])
def test_thin_plate_spline_is_scipys(regularisation: float) -> None:
    """scipy's kernel is r^2 log r, half of ours, and so is its smoothing."""
    torch.manual_seed(2)
    spline = ThinPlateSpline(4, regularisation)
    theta = spline.identity(D) + 0.1 * torch.randn(32, dtype=D)
    places, x = spline.matrix(theta).T, torch.rand(40, 2, dtype=D) * 3 - 1.5
    theirs = interpolate.RBFInterpolator(
        spline.control_points(theta).numpy(), places.numpy(), kernel="thin_plate_spline", degree=1, smoothing=regularisation / 2
    )
    torch.testing.assert_close(spline.points(theta, x), torch.from_numpy(theirs(x.numpy())))


def test_thin_plate_spline_is_evaluated_as_kornia_does() -> None:
    """kornia fits its splines around the places and not around the control points: its evaluation with our coefficients."""
    torch.manual_seed(2)
    spline = ThinPlateSpline(4)
    theta = spline.identity(D) + 0.1 * torch.randn(1, 32, dtype=D)
    x = torch.rand(1, 40, 2, dtype=D) * 2 - 1
    c = spline.control_points(theta)
    system = torch.cat([radial(c, c), torch.ones(16, 1, dtype=D), c], 1)
    system = torch.cat([system, torch.cat([torch.ones(1, 16, dtype=D), c.T]).new_zeros(3, 19)])
    system[16:, :16] = system[:16, 16:].T
    solved = torch.linalg.solve(system, torch.cat([spline.matrix(theta)[0].T, torch.zeros(3, 2, dtype=D)]))
    theirs = kornia.geometry.transform.warp_points_tps(x, c[None], 2 * solved[None, :16], solved[None, 16:])
    torch.testing.assert_close(spline.points(theta, x), theirs, atol=1e-5, rtol=1e-5)  # kornia adds 1e-8 under its logarithm


@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize(("padding", "mode"), [("zeros", "constant"), ("border", "nearest"), ("reflection", "reflect")])
def test_samples_are_scipys(padding: str, mode: str, order: int) -> None:
    torch.manual_seed(3)
    U = torch.rand(1, 1, 9, 11, dtype=D)
    grid = torch.rand(1, 40, 50, 2, dtype=D) * 3 - 1.5
    y, x = pixel_index(grid[0, ..., 1], 9), pixel_index(grid[0, ..., 0], 11)
    inside = (x >= 0) & (x <= 10) & (y >= 0) & (y <= 8)  # beyond the outermost centres scipy does not fade zeros in
    inside |= torch.tensor(mode != "constant")
    theirs = ndimage.map_coordinates(U[0, 0].numpy(), np.stack([y.numpy(), x.numpy()]), order=order, mode=mode)
    for backend in ("direct", "torch"):
        ours = sample(U, grid, kernel=("integer", "bilinear")[order], padding=padding, backend=backend)[0, 0]
        torch.testing.assert_close(ours[inside], torch.from_numpy(theirs)[inside])


@pytest.mark.parametrize("backend", ["direct", "torch"])
def test_volumes_are_scipys(backend: str) -> None:
    torch.manual_seed(4)
    U = torch.rand(1, 1, 6, 7, 8, dtype=D)
    theta = torch.tensor([0.5, 0.1, 0.2, 0.05, -0.1, 0.4, 0.1, 0, 0.2, -0.1, 0.6, 0.1], dtype=D)[None]
    grid = Affine3d().grid(theta, (4, 5, 6))
    at = [pixel_index(grid[0, ..., a], n) for a, n in ((2, 6), (1, 7), (0, 8))]
    theirs = ndimage.map_coordinates(U[0, 0].numpy(), np.stack([t.numpy() for t in at]), order=1, mode="nearest")
    ours = sample(U, grid, kernel="trilinear", padding="border", backend=backend)[0, 0]
    torch.testing.assert_close(ours, torch.from_numpy(theirs))
