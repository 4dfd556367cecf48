"""Maps of crops put back: the inverse keeps values, the adjoint keeps sums."""

from __future__ import annotations

import pytest
import torch

from stn_cli.errors import UsageError
from stn_cli.stn import Gaussian, base_grid, by_name, sample, splat, unwarp
from tests.stn.test_transforms import ALL, D, make, some

GENTLE = [n for n in ALL if n not in ("fixed_attention", "euclidean")]


@pytest.mark.parametrize("kernel", ["bilinear", "integer", "bicubic", "lanczos", Gaussian(0.8, learned=False)])
@pytest.mark.parametrize("sizes", [(6, 7), (3, 4, 5)])
def test_splat_is_the_adjoint_of_sample(kernel: object, sizes: tuple[int, ...]) -> None:
    """<A U, V> = <U, A^T V>, also for points outside; and what autograd says the gradient in U is."""
    torch.manual_seed(0)
    U = torch.rand(2, 3, *sizes, dtype=D, requires_grad=True)
    lattice = (4, 5, 3)[: len(sizes)]
    grid, V = torch.rand(2, *lattice, len(sizes), dtype=D) * 2.4 - 1.2, torch.rand(2, 3, *lattice, dtype=D)
    read, back = sample(U, grid, kernel=kernel), splat(V, grid, sizes, kernel=kernel)  # type: ignore[arg-type]
    assert float((read * V).sum().detach()) == pytest.approx(float((U * back).sum().detach()))
    torch.testing.assert_close(back, torch.autograd.grad(read, U, V)[0])


@pytest.mark.parametrize("name", GENTLE)
def test_the_inverse_puts_a_smooth_map_back(name: str) -> None:
    """Cut out of an image and put back: the same where the crop was, nothing elsewhere."""
    transform = make(name)
    theta = some(transform, 2, spread=0.03)
    size = (48, 40) if transform.dims == 2 else (16, 20, 18)
    at = base_grid(size, dtype=D).movedim(-1, 0)
    U = (2 + torch.sin(3 * at[0]) * torch.cos(2 * at[1])).expand(2, 1, *size)
    crop = sample(U, transform.grid(theta, (60,) * transform.dims if transform.dims == 2 else (24,) * 3), padding="border")
    back = unwarp(transform, crop, theta, size)
    assert back.shape == U.shape
    targets = (
        transform.targets(theta, base_grid(size, dtype=D).flatten(0, -2).expand(2, -1, -1)).view(2, *size, -1).abs().amax(-1)
    )
    inside, outside = targets < 0.92, ~(targets < 1.1)
    assert 0.2 < float(inside.double().mean()) < 0.8
    torch.testing.assert_close(back[:, 0][inside], U[:, 0][inside], atol=0.03, rtol=0)
    assert not bool(back[:, 0][outside].any())


@pytest.mark.parametrize("name", ALL)
def test_the_adjoint_keeps_sums_of_what_lies_on_the_image(name: str) -> None:
    transform = make(name)
    theta = transform.shifted(transform.scaled(transform.identity(D), torch.full((transform.dims,), 0.5, dtype=D)),
                              torch.full((transform.dims,), 0.02, dtype=D))[None]  # fmt: skip
    if name == "euclidean":
        transform, theta = by_name(name, scale=0.5), theta
    crop = torch.rand(1, 2, *(5,) * transform.dims, dtype=D)
    back = unwarp(transform, crop, theta, (12,) * transform.dims, how="adjoint")
    torch.testing.assert_close(back.flatten(2).sum(-1), crop.flatten(2).sum(-1))


def test_they_differ_as_values_and_amounts_do() -> None:
    """A crop of ones, a quarter of the image at twice the resolution: ones, or four to a pixel."""
    transform, theta = by_name("box"), torch.tensor([[0.5, 0.5, 0.0, 0.0]])
    ones = torch.ones(1, 1, 16, 16)
    values, amounts = (unwarp(transform, ones, theta, (16, 16), how=how)[0, 0] for how in ("inverse", "adjoint"))
    torch.testing.assert_close(values[5:11, 5:11], torch.ones(6, 6))
    torch.testing.assert_close(amounts[5:11, 5:11], torch.full((6, 6), 4.0))
    assert float(amounts.sum()) == pytest.approx(256)


@pytest.mark.parametrize("how", ["inverse", "adjoint"])
def test_gradients_reach_the_prediction_and_theta(how: str) -> None:
    torch.manual_seed(0)
    transform = by_name("similarity")
    theta = torch.tensor([[0.51, 0.12, 0.03, -0.02]], dtype=D, requires_grad=True)
    prediction = torch.rand(1, 1, 3, 4, dtype=D, requires_grad=True)
    assert torch.autograd.gradcheck(lambda p, t: unwarp(transform, p, t, (9, 8), how=how), (prediction, theta), fast_mode=True)


def test_points_without_a_target_are_empty() -> None:
    """A spline that folds: no NaN comes out."""
    spline = by_name("thin_plate_spline")
    torch.manual_seed(0)
    theta = spline.identity()[None] + 0.5 * torch.randn(1, 32)
    assert bool(unwarp(spline, torch.ones(1, 1, 8, 8), theta, (20, 20)).isfinite().all())


def test_wrong_arguments() -> None:
    transform, theta = by_name("box"), torch.tensor([[0.5, 0.5, 0.0, 0.0]])
    with pytest.raises(UsageError, match=r"unknown way to put crops back: 'transpose' .known: inverse, adjoint"):
        unwarp(transform, torch.ones(1, 1, 4, 4), theta, (8, 8), how="transpose")
    with pytest.raises(UsageError, match="a prediction for box must be floating point of 4 dimensions, the size of 2"):
        unwarp(transform, torch.ones(1, 1, 4, 4, 4), theta, (8, 8))
    with pytest.raises(UsageError, match="V and grid must be of one lattice"):
        splat(torch.ones(1, 1, 4, 4), torch.zeros(1, 3, 4, 2), (8, 8))


def test_a_fine_map_is_reduced_on_its_way_back() -> None:
    """A crop an eighth of the image's side, of stripes too fine for the image: their mean comes back, and no false stripes."""
    transform, theta = by_name("box"), torch.tensor([[0.125, 0.125, 0.3, -0.2]])
    stripes = (torch.arange(128) % 2).float().expand(1, 1, 128, 128)
    back = unwarp(transform, stripes, theta, (64, 64))[0, 0]
    at = transform.targets(theta, base_grid((64, 64)).view(1, -1, 2)).view(64, 64, 2).abs().amax(-1)
    inside = back[at <= 7 / 8]  # a whole pixel of the image, of which there are eight along a side
    assert len(inside) >= 36
    torch.testing.assert_close(inside, torch.full_like(inside, 0.5), atol=0.1, rtol=0)
    assert not bool(back[at > 9 / 8].any())
