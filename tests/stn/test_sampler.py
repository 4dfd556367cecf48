from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from stn_cli.errors import UsageError
from stn_cli.stn import Pyramid, affine_grid, regular_lattice, sample, sample_reduced

D = torch.float64


def equation_3(U: torch.Tensor, grid: torch.Tensor, kernel: str) -> torch.Tensor:
    """The double sum over every pixel, as the paper writes it, with loops."""
    B, C, H, W = U.shape
    V = torch.zeros(B, C, *grid.shape[1:3], dtype=U.dtype)
    for b in range(B):
        for i in range(grid.shape[1]):
            for j in range(grid.shape[2]):
                x = (grid[b, i, j, 0] + 1) * W / 2 - 0.5
                y = (grid[b, i, j, 1] + 1) * H / 2 - 0.5
                for n in range(H):
                    for m in range(W):
                        if kernel == "bilinear":  # equation 5
                            k = max(0.0, 1 - abs(float(x) - m)) * max(0.0, 1 - abs(float(y) - n))
                        else:  # equation 4
                            k = float(math.floor(float(x) + 0.5) == m and math.floor(float(y) + 0.5) == n)
                        V[b, :, i, j] += U[b, :, n, m] * k
    return V


@pytest.fixture
def case() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(3)
    return torch.rand(2, 3, 5, 6, dtype=D), torch.rand(2, 4, 3, 2, dtype=D) * 2.4 - 1.2  # some points lie outside


@pytest.mark.parametrize("kernel", ["bilinear", "integer"])
def test_equals_the_double_sum(case: tuple[torch.Tensor, torch.Tensor], kernel: str) -> None:
    U, grid = case
    torch.testing.assert_close(sample(U, grid, kernel=kernel, backend="direct"), equation_3(U, grid, kernel))


@pytest.mark.parametrize("padding", ["zeros", "border"])
def test_torch_is_the_same_function(case: tuple[torch.Tensor, torch.Tensor], padding: str) -> None:
    U, grid = (t.clone().requires_grad_() for t in case)
    direct = sample(U, grid, padding=padding, backend="direct")
    fast = sample(U, grid, padding=padding, backend="torch")
    torch.testing.assert_close(direct, fast)
    weights = torch.rand_like(direct)
    for a, b in zip(
        torch.autograd.grad((direct * weights).sum(), (U, grid)),
        torch.autograd.grad((fast * weights).sum(), (U, grid)),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


def test_gradients_are_those_of_equations_6_and_7(case: tuple[torch.Tensor, torch.Tensor]) -> None:
    U, grid = (t.clone().requires_grad_() for t in case)
    assert torch.autograd.gradcheck(lambda u, g: sample(u, g, backend="direct"), (U, grid))
    V = sample(U, grid, backend="direct")
    (dx,) = torch.autograd.grad(V[0, 0, 0, 0], grid, retain_graph=True)
    x, y = ((case[1][0, 0, 0] + 1) * torch.tensor([3.0, 2.5], dtype=D) - 0.5).tolist()
    total = 0.0  # equation 7, times dx_pixels / dx_normalised = W / 2
    for n in range(5):
        for m in range(6):
            slope = 0.0 if abs(m - x) >= 1 else (1.0 if m >= x else -1.0)
            total += float(case[0][0, 0, n, m]) * max(0.0, 1 - abs(y - n)) * slope
    assert float(dx[0, 0, 0, 0]) == pytest.approx(total * 3.0)


def test_integer_kernel_has_a_gradient_to_the_image_only(case: tuple[torch.Tensor, torch.Tensor]) -> None:
    U, grid = (t.clone().requires_grad_() for t in case)
    dU, dgrid = torch.autograd.grad(sample(U, grid, kernel="integer").sum(), (U, grid), allow_unused=True)
    assert float(dU.sum()) > 0
    assert dgrid is None or not bool(dgrid.any())


@pytest.mark.parametrize("kernel", ["bilinear", "integer"])
def test_whole_shifts_are_exact(kernel: str) -> None:
    U = torch.rand(1, 1, 6, 8, dtype=D)
    grid = regular_lattice((6, 8), dtype=D)[None] + torch.tensor([2 * 2 / 8, 0.0], dtype=D)
    out = sample(U, grid, kernel=kernel)
    torch.testing.assert_close(out[..., :6], U[..., 2:])
    assert not bool(out[..., 6:].any())  # zeros outside


def test_same_warp_for_every_channel(case: tuple[torch.Tensor, torch.Tensor]) -> None:
    U, grid = case
    alone = torch.cat([sample(U[:, c : c + 1], grid) for c in range(3)], 1)
    torch.testing.assert_close(sample(U, grid), alone)


@pytest.mark.parametrize("padding", ["zeros", "border"])
def test_small_crops_need_no_pyramid(case: tuple[torch.Tensor, torch.Tensor], padding: str) -> None:
    U, _ = case
    matrix = torch.tensor([[0.3, 0, 0.9], [0, 0.3, 0.1]], dtype=D).expand(2, 2, 3)  # reaches outside on the right
    grid = affine_grid(matrix, (4, 4))
    out = sample_reduced(Pyramid(U), grid[:, None], padding=padding)[:, 0]
    torch.testing.assert_close(out, sample(U, grid, padding=padding))


@pytest.mark.parametrize("size", [(16, 16), (17, 23)])
def test_halving_is_the_mean_of_four(size: tuple[int, int]) -> None:
    U = torch.rand(1, 2, *size, dtype=D)
    side = 8
    h, w = size
    # a crop of 16 x 16 pixels read at 8 x 8: exactly level 1
    matrix = torch.tensor([[16 / w, 0, 16 / w - 1], [0, 16 / h, 16 / h - 1]], dtype=D)[None]
    out = sample_reduced(Pyramid(U), affine_grid(matrix, (side, side))[:, None])[:, 0]
    torch.testing.assert_close(out, F.avg_pool2d(U[..., :16, :16], 2))


def test_reduction_does_not_alias() -> None:
    """Stripes finer than the output can show become grey; read point by point they become false stripes."""
    x = torch.arange(128, dtype=D)
    stripes = (0.5 + 0.5 * torch.sin(2 * math.pi * x * 0.4)).expand(1, 1, 128, 128)
    grid = affine_grid(torch.eye(2, 3, dtype=D)[None], (24, 24))
    plain = sample(stripes, grid)
    reduced = sample_reduced(Pyramid(stripes), grid[:, None])[:, 0]
    assert float(plain.std()) > 0.2
    assert float(reduced.std()) < 0.05
    assert float(reduced.mean()) == pytest.approx(0.5, abs=0.02)


def test_crops_of_many_sizes_in_one_call_equal_each_alone() -> None:
    torch.manual_seed(0)
    U = torch.rand(2, 3, 40, 56, dtype=D)
    scale = torch.tensor([[0.1, 0.4, 1.0], [0.2, 0.7, 0.9]], dtype=D)
    matrix = torch.diag_embed(scale[..., None].expand(2, 3, 2))
    matrix = torch.cat([matrix, torch.zeros(2, 3, 2, 1, dtype=D)], -1)
    pyramid = Pyramid(U)
    together = sample_reduced(pyramid, affine_grid(matrix, (8, 8)))
    for r in range(3):
        alone = sample_reduced(pyramid, affine_grid(matrix[:, r : r + 1], (8, 8)))
        torch.testing.assert_close(together[:, r], alone[:, 0])


def test_gradients_of_the_pyramid() -> None:
    torch.manual_seed(1)
    U = torch.rand(1, 1, 12, 12, dtype=D, requires_grad=True)
    matrix = torch.tensor([[0.63, 0.05, 0.02], [-0.04, 0.6, 0.03]], dtype=D)[None, None].requires_grad_()
    level = 3  # rho is about 2.5: between two levels; its fraction is held, as it is in training

    def crop(u: torch.Tensor, m: torch.Tensor) -> torch.Tensor:
        return sample_reduced(Pyramid(u), affine_grid(m, (level, level)))

    assert torch.autograd.gradcheck(lambda u: crop(u, matrix.detach()), U)
    (g,) = torch.autograd.grad(crop(U, matrix).sum(), matrix)
    assert bool(g.isfinite().all())
    assert float(g.abs().max()) > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kernel": "cubist"}, "unknown sampling kernel"),
        ({"padding": "mirror"}, "unknown padding"),
        ({"backend": "cuda"}, "unknown sampler backend"),
        ({"kernel": "integer", "backend": "torch"}, "bilinearly only"),
    ],
)
def test_wrong_arguments(case: tuple[torch.Tensor, torch.Tensor], change: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        sample(*case, **change)  # type: ignore[arg-type]


def test_wrong_shapes(case: tuple[torch.Tensor, torch.Tensor]) -> None:
    U, grid = case
    with pytest.raises(UsageError, match="U must be"):
        sample(U[0], grid)
    with pytest.raises(UsageError, match="grid must be"):
        sample(U, grid[:1])
    with pytest.raises(UsageError, match="floating-point"):
        sample(U.long(), grid)
