from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from stn_cli.errors import UsageError
from stn_cli.stn import (
    Bicubic,
    Bilinear,
    Custom,
    Gaussian,
    Integer,
    Kernel,
    Lanczos,
    Pyramid,
    affine_grid,
    base_grid,
    by_name,
    sample,
    sample_reduced,
)

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


@pytest.mark.parametrize("kernel", ["bilinear", "integer", "bicubic"])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
def test_torch_is_the_same_function(case: tuple[torch.Tensor, torch.Tensor], padding: str, kernel: str) -> None:
    U, grid = (t.clone().requires_grad_() for t in case)
    direct = sample(U, grid, kernel=kernel, padding=padding, backend="direct")
    fast = sample(U, grid, kernel=kernel, padding=padding, backend="torch")
    torch.testing.assert_close(direct, fast)
    weights = torch.rand_like(direct)
    wanted = (U, grid) if kernel != "integer" else (U,)
    for a, b in zip(
        torch.autograd.grad((direct * weights).sum(), wanted),
        torch.autograd.grad((fast * weights).sum(), wanted),
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
    grid = base_grid((6, 8), dtype=D)[None] + torch.tensor([2 * 2 / 8, 0.0], dtype=D)
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
        ({"padding": "mirror"}, "unknown padding: 'mirror' .known: zeros, border, reflection"),
        ({"backend": "cuda"}, "unknown sampler backend"),
        ({"kernel": "lanczos", "backend": "torch"}, "cannot sample with this kernel"),
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


KERNEL_OBJECTS = [
    Integer(),
    Bilinear(),
    Bicubic(),
    Bicubic(-0.5),
    Lanczos(2),
    Lanczos(3),
    Gaussian(0.8, 3),
    Custom(lambda d: (1 - d.abs()).clamp(min=0) ** 2, 2, normalised=True),
]


def weights_at(kernel: Kernel, x: float) -> list[float]:
    """The weights of ten pixels for a place x in the middle of them, by sampling ten unit pictures."""
    U = torch.eye(10, dtype=D).view(10, 1, 1, 10)
    grid = torch.tensor([(x + 0.5) / 5 - 1, 0.0], dtype=D).expand(10, 1, 1, 2)
    return sample(U, grid, kernel=kernel, padding="border", backend="direct").flatten().tolist()


@pytest.mark.parametrize("kernel", KERNEL_OBJECTS, ids=lambda k: k.name)
def test_every_kernel_keeps_constants_and_whole_shifts(kernel: Kernel) -> None:
    for x in (4.0, 4.2, 4.5, 4.9):
        assert sum(weights_at(kernel, x)) == pytest.approx(1)
    if kernel.name not in ("gaussian",):
        assert weights_at(kernel, 4.0) == pytest.approx([0] * 4 + [1] + [0] * 5)


# k at a place between pixels, from the formulas of its source
WEIGHTS = [
    (Integer(), 4.5, {5: 1.0}),  # a half goes upward (equation 4)
    (Bilinear(), 4.25, {4: 0.75, 5: 0.25}),
    (Bicubic(-0.5), 4.5, {3: -1 / 16, 4: 9 / 16, 5: 9 / 16, 6: -1 / 16}),  # Catmull-Rom
    (Bicubic(), 4.5, {3: -3 / 32, 4: 19 / 32, 5: 19 / 32, 6: -3 / 32}),  # a = -3/4
]


@pytest.mark.parametrize(("kernel", "x", "expected"), WEIGHTS, ids=lambda v: getattr(v, "name", ""))
def test_weights_closed_form(kernel: Kernel, x: float, expected: dict[int, float]) -> None:
    assert weights_at(kernel, x) == pytest.approx([expected.get(m, 0.0) for m in range(10)])


@pytest.mark.parametrize("dtype", [torch.float32, D], ids=str)
@pytest.mark.parametrize("side", [10, 37, 1000])
def test_halves_go_upward_everywhere(side: int, dtype: torch.dtype) -> None:
    """Half-way between every two pixels the right one is read, by both backends (torch's own rule is the even one)."""
    U = torch.arange(side, dtype=dtype).view(1, 1, 1, side)
    x = torch.arange(side - 1, dtype=dtype) + 0.5
    grid = torch.stack([(x + 0.5) * (2 / side) - 1, torch.zeros_like(x)], -1).view(1, 1, -1, 2)
    for backend in ("direct", "torch"):
        out = sample(U, grid, kernel="integer", backend=backend).flatten()
        exact = (grid[0, 0, :, 0] + 1) * (side / 2) - 0.5 == x  # where the coordinate itself could be written down exactly
        assert bool(exact.any())
        torch.testing.assert_close(out[exact], x[exact] + 0.5)


def test_catmull_rom_is_exact_for_quadratics() -> None:
    x = torch.arange(12, dtype=D)
    U = (x**2 - 3 * x).view(1, 1, 1, 12)
    at = torch.linspace(2.1, 8.9, 7, dtype=D)
    grid = torch.stack([(at + 0.5) / 6 - 1, torch.zeros_like(at)], -1).view(1, 1, 7, 2)
    torch.testing.assert_close(sample(U, grid, kernel=Bicubic(-0.5)).flatten(), at**2 - 3 * at)


@pytest.mark.parametrize("kernel", KERNEL_OBJECTS, ids=lambda k: k.name)
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
def test_gradients_of_every_kernel(kernel: Kernel, padding: str) -> None:
    torch.manual_seed(5)
    U = torch.rand(1, 2, 6, 7, dtype=D, requires_grad=True)
    grid = (torch.rand(1, 3, 4, 2, dtype=D) * 2.4 - 1.2).requires_grad_()
    if kernel.name == "integer":
        assert torch.autograd.gradcheck(lambda u: sample(u, grid.detach(), kernel=kernel, padding=padding, backend="direct"), U)
        return
    assert torch.autograd.gradcheck(lambda u, g: sample(u, g, kernel=kernel, padding=padding, backend="direct"), (U, grid))


def test_a_learned_kernel_width_gets_a_gradient() -> None:
    torch.manual_seed(6)
    U, grid = torch.rand(1, 1, 8, 8, dtype=D), torch.rand(1, 3, 3, 2, dtype=D) - 0.5

    def blurred(log_sigma: torch.Tensor) -> torch.Tensor:
        kernel = Gaussian(1.0, 3)
        return sample(
            U, grid, kernel=Custom(lambda d: torch.exp(-0.5 * (d / log_sigma.exp()) ** 2), kernel.taps, normalised=True)
        )

    assert torch.autograd.gradcheck(blurred, torch.tensor(0.1, dtype=D, requires_grad=True))
    kernel = Gaussian(1.0, 3)
    sample(U, grid, kernel=kernel).sum().backward()
    assert kernel.log_sigma.grad is not None
    assert not list(Gaussian(learned=False).parameters())


def test_sub_gradients_at_the_kinks_are_those_of_equation_7() -> None:
    """On a pixel's centre: +1 from the pixel itself (m >= x), 0 from its neighbours (|m - x| >= 1); torch's is the slope to the right."""
    U = torch.tensor([1.0, 4.0, 9.0, 16.0], dtype=D).view(1, 1, 1, 4)
    for backend, expected in (("direct", 4.0), ("torch", 9.0 - 4.0)):
        grid = torch.tensor([(1 + 0.5) / 2 - 1, 0.0], dtype=D).view(1, 1, 1, 2).requires_grad_()
        (g,) = torch.autograd.grad(sample(U, grid, backend=backend).sum(), grid)
        assert float(g[..., 0]) == pytest.approx(expected * 2)  # d x_pixels / d x_normalised = W / 2


@pytest.mark.parametrize("backend", ["direct", "torch"])
@pytest.mark.parametrize("kernel", ["integer", "trilinear"])
def test_flat_volumes_agree_with_pictures(kernel: str, backend: str) -> None:
    torch.manual_seed(7)
    U = torch.rand(2, 3, 5, 6, dtype=D)
    grid = torch.rand(2, 4, 3, 2, dtype=D) * 2.2 - 1.1
    flat = sample(U, grid, kernel=kernel.replace("tri", "bi"), backend=backend)
    deep = torch.cat([grid, torch.zeros_like(grid[..., :1])], -1)[:, None]
    torch.testing.assert_close(sample(U[:, :, None], deep, kernel=kernel, backend=backend)[:, :, 0], flat)


@pytest.mark.parametrize("kernel", ["bicubic", "lanczos", "gaussian"])
def test_wide_kernels_work_in_volumes(kernel: str) -> None:
    U = torch.rand(1, 1, 9, 9, 9, dtype=D)
    grid = base_grid((9, 9, 9), dtype=D)[None]
    out = sample(U, grid, kernel=kernel)
    if kernel != "gaussian":  # at the pixels' centres the others return the pixels
        torch.testing.assert_close(out, U)
    assert bool(out.isfinite().all())


@pytest.mark.parametrize("name", ["similarity", "affine", "projective", "thin_plate_spline"])
def test_a_warp_and_its_inverse_return_the_image(name: str) -> None:
    """Away from the border, for a smooth picture."""
    y, x = torch.meshgrid(torch.arange(96, dtype=D), torch.arange(96, dtype=D), indexing="ij")
    U = (torch.sin(x / 9) * torch.cos(y / 7))[None, None]
    transform = by_name(name)
    torch.manual_seed(8)
    theta = transform.identity(D) + 0.06 * torch.randn(1, transform.theta_dim, dtype=D)
    there = sample(U, transform.grid(theta, (96, 96)), kernel=Bicubic(-0.5))
    back = transform.targets(theta, base_grid((96, 96), dtype=D).view(1, -1, 2)).view(1, 96, 96, 2)
    again = sample(there, back, kernel=Bicubic(-0.5))
    torch.testing.assert_close(again[..., 24:72, 24:72], U[..., 24:72, 24:72], atol=3e-3, rtol=0)


def test_not_finite_coordinates_are_refused(case: tuple[torch.Tensor, torch.Tensor]) -> None:
    U, grid = case[0], case[1].clone()
    grid[1, 0, 0, 0] = float("nan")
    for read in (lambda: sample(U, grid), lambda: sample_reduced(Pyramid(U), grid[:, None])):
        with pytest.raises(UsageError, match="grid holds coordinates that are not finite"):
            read()
    huge = torch.full((2, 1, 1, 2), 1e30, dtype=D)
    for backend in ("direct", "torch"):
        assert not bool(sample(U, huge, backend=backend).any())  # far outside: zeros
        torch.testing.assert_close(sample(U, huge, padding="border", backend=backend)[..., 0, 0], U[..., -1, -1])


@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("kernel", ["integer", "bilinear", "bicubic", "lanczos", "gaussian"])
def test_sizes_of_one_and_empty_batches(kernel: str, padding: str) -> None:
    U = torch.full((2, 1, 1, 1), 3.0)
    middle = torch.zeros(2, 1, 1, 2)
    out = sample(U, middle, kernel=kernel, padding=padding)
    if padding != "zeros" or kernel in ("integer", "bilinear", "bicubic"):
        torch.testing.assert_close(out, U)
    assert sample(U[:0], middle[:0], kernel=kernel, padding=padding).shape == (0, 1, 1, 1)
    with pytest.raises(UsageError, match="sides of at least 1"):
        sample(U[..., :0], middle, kernel=kernel)


# the largest difference from float64 that is allowed, for pictures in [0, 1]
TOLERANCE = {torch.float32: 2e-5, torch.float16: 2e-3, torch.bfloat16: 1e-2}


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("kernel", ["integer", "bilinear", "bicubic", "lanczos"])
def test_precision_of_every_type(dtype: torch.dtype, kernel: str) -> None:
    torch.manual_seed(9)
    U = torch.rand(2, 3, 16, 16, dtype=D)
    grid = affine_grid(torch.tensor([[0.5, 0.1, 0.013], [-0.1, 0.4, 0.017]], dtype=D).expand(2, 2, 3), (8, 8))
    out = sample(U.to(dtype), grid.float(), kernel=kernel)
    assert out.dtype == dtype
    assert float((out.double() - sample(U, grid, kernel=kernel)).abs().max()) < TOLERANCE[dtype]
    reduced = sample_reduced(Pyramid(U.to(dtype)), 1.9 * grid.float()[:, None])
    assert reduced.dtype == dtype
    assert float((reduced.double() - sample_reduced(Pyramid(U), 1.9 * grid[:, None])).abs().max()) < TOLERANCE[dtype]
