"""One gradient check for each operator in every argument, against differences in double precision; and derivatives by torch.func."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from stn_cli.stn import Structured, append_theta, diversity_loss, flatten_volume, sample
from tests.stn.test_transforms import ALL, BENDING, D, make, some

INVERTIBLE = [n for n in ALL if n not in ("fixed_attention", "euclidean")]


def check(f: Callable[..., Tensor | tuple[Tensor, ...]], *arguments: Tensor) -> None:
    assert torch.autograd.gradcheck(f, tuple(a.detach().clone().requires_grad_() for a in arguments), fast_mode=True)


@pytest.mark.parametrize("name", ALL)
def test_transformations(name: str) -> None:
    transform, dims = make(name), make(name).dims
    torch.manual_seed(0)
    theta = some(transform, 2)
    x = (torch.rand(3, dims, dtype=D) - 0.5) * 1.3
    centre, shape = transform.pose(theta)
    check(transform.points, theta, x)
    check(transform.jacobian, theta, x)
    check(transform.basis, x)
    check(lambda m, p: transform.slopes(m, p), transform.matrix(theta), x)
    check(lambda t: transform.grid(t, (2,) * dims), theta)
    check(transform.corners, theta)
    check(transform.area, theta)
    check(transform.orientation, theta)
    check(transform.theta, centre, shape)
    check(transform.pose, theta)
    check(transform.targets, theta, transform.points(theta, x))
    check(transform.shifted, theta, 0.1 * torch.rand(2, dims, dtype=D))
    if name in INVERTIBLE:
        check(transform.sides, theta)
        check(transform.scaled, theta, 0.5 + torch.rand(2, dims, dtype=D))
        check(transform.inverse, theta)
        check(transform.compose, theta, theta.flip(0))
    if dims == 2 and name in INVERTIBLE:
        check(lambda sides: transform.shape_of_box(sides), 0.2 + torch.rand(2, 2, dtype=D))
        check(transform.after, torch.rand(2, 2, 3, dtype=D), transform.matrix(theta))


@pytest.mark.parametrize("name", BENDING)
def test_fits(name: str) -> None:
    transform = make(name)
    torch.manual_seed(1)
    x = torch.rand(1, 40, 2, dtype=D) * 2 - 1
    check(transform.fit, x, x + 0.05 * torch.rand_like(x))  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["projective", *BENDING])
def test_unfolding(name: str) -> None:
    """Within the limits it is the identity; what is drawn back follows the direction of the bend at a held factor."""
    transform = make(name)
    check(transform.unfolded, some(transform, 2, spread=0.02))


@pytest.mark.parametrize("kernel", ["bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize("backend", ["direct", "auto"])
def test_samplers_of_pictures_and_volumes(kernel: str, backend: str) -> None:
    torch.manual_seed(3)
    for sizes in ((5, 6), (3, 4, 5)):
        U = torch.rand(1, 2, *sizes, dtype=D)
        grid = torch.rand(1, *(2,) * len(sizes), len(sizes), dtype=D) * 2.2 - 1.1
        check(lambda u, g: sample(u, g, kernel=kernel, backend=backend), U, grid)


def test_what_stands_around_the_transformer() -> None:
    torch.manual_seed(4)
    check(lambda t: diversity_loss(make("box"), t), torch.rand(2, 3, 4, dtype=D) + 0.2)
    check(append_theta, torch.rand(2, 3, 2, 2, dtype=D), torch.rand(2, 4, dtype=D))
    check(lambda v: flatten_volume(v, "y", how="mean"), torch.rand(1, 1, 2, 3, 4, dtype=D))


@pytest.mark.parametrize("name", ALL)
def test_torch_func_maps_and_differentiates_grids(name: str) -> None:
    transform = make(name)
    theta, size = some(transform, 3), (2, 3) if transform.dims == 2 else (2, 1, 2)
    mapped = torch.func.vmap(lambda t: transform.grid(t, size))(theta)
    torch.testing.assert_close(mapped, transform.grid(theta, size))
    slopes = torch.func.jacrev(lambda t: transform.grid(t, size))(theta[0])
    assert slopes.shape == (*size, transform.dims, transform.theta_dim)
    for i in range(transform.theta_dim):
        step = torch.zeros_like(theta[0])
        step[i] = 1e-6
        difference = (transform.grid(theta[0] + step, size) - transform.grid(theta[0] - step, size)) / 2e-6
        torch.testing.assert_close(slopes[..., i], difference, atol=1e-7, rtol=1e-6)
    each = torch.func.vmap(torch.func.jacrev(lambda t: transform.grid(t, size)))(theta)
    torch.testing.assert_close(each[0], slopes)
    x = torch.zeros(1, transform.dims, dtype=D)
    torch.testing.assert_close(torch.func.vmap(lambda t: transform.jacobian(t, x))(theta), transform.jacobian(theta, x))


def test_torch_func_reaches_the_learned_basis() -> None:
    transform = Structured(3).double()
    values = dict(transform.named_parameters())["values"].detach()

    class Grid(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.transform = transform

        def forward(self, theta: Tensor) -> Tensor:
            return self.transform.grid(theta, (2, 2))

    theta = some(transform, 1)[0]
    slopes = torch.func.jacrev(lambda v: torch.func.functional_call(Grid(), {"transform.values": v}, (theta,)))(values)
    assert slopes.shape == (2, 2, 2, *values.shape)
    assert float(slopes.abs().max()) > 0.01
