"""Reduction pixel by pixel: against 16 x 16 samples of each, against one level for a whole crop, and what it must leave alone."""

from __future__ import annotations

import math

import pytest
import torch

from benchmarks import warps
from stn_cli.errors import UsageError
from stn_cli.stn import Pyramid, affine_grid, base_grid, by_name, sample, sample_reduced
from stn_cli.stn.footprint import are_affine, footprints

D = torch.float64


def turned(sx: float, sy: float, degrees: float) -> torch.Tensor:
    """(1, 2, 3)."""
    affine = by_name("affine")
    shape = torch.tensor([math.log(sx), math.log(sy), math.radians(degrees), 0], dtype=D)
    return affine.matrix(affine.theta(torch.tensor([0.02, -0.01], dtype=D), shape))[None]  # type: ignore[no-any-return]


def test_errors_are_a_third_of_those_of_one_level_for_a_crop() -> None:
    """Over twenty warps: of a photograph and of a picture with every frequency; and in none is it worse by more than a fifth."""
    found = warps.errors()
    assert all(len(said) == 20 for said in found.values())
    for picture, most in (("photograph", 0.2), ("zone plate", 1 / 3), ("noise", 0.45)):
        ours, before = (sum(row[way] for row in found[picture].values()) for way in ("footprints", "one level"))
        assert ours < most * before
        assert all(row["footprints"] < 1.2 * row["one level"] for row in found[picture].values())


def test_a_thin_crop_keeps_its_detail() -> None:
    """1.0 x 0.1 of noise, 256 pixels read at 32 x 32: lengthwise it is reduced by 8, across not at all."""
    U = torch.rand(1, 1, 256, 256, dtype=D, generator=torch.Generator().manual_seed(0))
    grid = affine_grid(turned(1.0, 0.1, 0), (32, 32))
    ours = float(sample_reduced(Pyramid(U), grid[:, None]).std())
    assert ours > 1.4 * float(warps.one_level(U, grid).std())


# half sides, degrees; longer and shorter axis of a pixel of 1/32 of the crop, source pixels of 256; places along, across; level
ELLIPSES = [
    ((0.125, 0.125, 0), (1.0, 1.0), (1, 1), 0),
    ((0.25, 0.25, 30), (2.0, 2.0), (2, 2), 0),
    ((1.0, 1.0, 0), (8.0, 8.0), (2, 2), 2),
    ((1.0, 0.125, 0), (8.0, 1.0), (7, 1), 0),
    ((0.125, 1.0, 20), (8.0, 1.0), (7, 1), 0),
    ((0.5, 0.3, 60), (4.0, 2.4), (4, 2), 0),
]


@pytest.mark.parametrize("each", [False, True])
@pytest.mark.parametrize(("crop", "axes", "count", "level"), ELLIPSES)
def test_footprints_closed_form(
    crop: tuple[float, float, float], axes: tuple[float, float], count: tuple[int, int], level: int, each: bool
) -> None:
    prints = footprints(affine_grid(turned(*crop), (32, 32))[:, None], (256, 256), 9, each=each)
    assert prints.level.unique().tolist() == [level]
    assert prints.count[0].unique().tolist() == [count[0]]
    assert prints.count[1].unique().tolist() == [count[1]]
    for steps, n, length in ((prints.along, count[0], axes[0]), (prints.across, count[1], axes[1])):
        torch.testing.assert_close((128 * n * steps).norm(dim=0), torch.full_like(prints.reach[0], length))
    if crop[0] != crop[1]:
        angle = math.radians(crop[2]) + (math.pi / 2 if crop[1] > crop[0] else 0)
        along = prints.along[:, 0, 0, 0, 0]
        assert abs(float(along[0] * math.sin(angle) - along[1] * math.cos(angle))) < 1e-9


def test_one_footprint_for_a_crop_is_that_of_each_pixel(monkeypatch: pytest.MonkeyPatch) -> None:
    U = torch.rand(2, 3, 90, 70, dtype=D, generator=torch.Generator().manual_seed(0))
    grid = affine_grid(torch.cat([turned(0.9, 0.3, 25), turned(0.5, 0.6, 0)]), (12, 10))[:, None]
    assert are_affine(grid, (90, 70))
    bent = by_name("projective").grid(torch.tensor([[0.8, 0, 0, 0, 0.8, 0, 0.3, 0]], dtype=D), (12, 10))[None]
    assert not are_affine(bent, (90, 70))
    once = sample_reduced(Pyramid(U), grid, padding="zeros")
    monkeypatch.setattr("stn_cli.stn.footprint.are_affine", lambda *_: torch.tensor(False))
    torch.testing.assert_close(sample_reduced(Pyramid(U), grid, padding="zeros"), once)


def test_reduction_is_local() -> None:
    """A perspective that enlarges on one side and reduces on the other: the near side is read as `sample` reads it."""
    U = torch.rand(1, 1, 128, 128, dtype=D, generator=torch.Generator().manual_seed(0))
    grid = by_name("projective").grid(torch.tensor([[0.2, 0, 0, 0, 0.1, 0, 0, 0.8]], dtype=D), (40, 40))
    prints = footprints(grid[:, None], (128, 128), 8, each=True)
    alone = prints.count.amax(0)[0, 0] == 1
    assert 0.2 < float(alone.double().mean()) < 0.8
    ours, plain = sample_reduced(Pyramid(U), grid[:, None])[0, 0, 0], sample(U, grid, padding="border")[0, 0]
    torch.testing.assert_close(ours[alone], plain[alone])
    assert float((ours - plain)[~alone].abs().max()) > 0.05


def test_no_pyramid_is_made_where_nothing_is_reduced() -> None:
    U = torch.rand(2, 3, 40, 40)
    pyramid = Pyramid(U)
    grid = affine_grid(turned(0.9, 0.8, 10).float().expand(2, 2, 3), (40, 40))
    for padding in ("border", "zeros"):
        torch.testing.assert_close(
            sample_reduced(pyramid, grid[:, None], padding=padding)[:, 0], sample(U, grid, padding=padding)
        )
    assert pyramid._atlas is None
    sample_reduced(pyramid, 3 * grid[:, None])
    assert pyramid._atlas is not None


def test_zeros_fade_in_over_a_footprint() -> None:
    """A white picture in zeros, reduced: every pixel is the share of it that lies on the picture."""
    U = torch.ones(1, 1, 64, 64, dtype=D)
    grid = base_grid((16, 16), dtype=D)[None, None] * 1.5  # 6 source pixels a pixel
    wanted = torch.nn.functional.avg_pool2d(sample(U, base_grid((256, 256), dtype=D)[None] * 1.5), 16)
    torch.testing.assert_close(sample_reduced(Pyramid(U), grid, padding="zeros")[:, 0], wanted, atol=0.03, rtol=0)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (2, 3), (65, 33)])
@pytest.mark.parametrize("out", [(1, 1), (1, 7), (6, 1), (5, 9)])
def test_odd_sizes_keep_constants(size: tuple[int, int], out: tuple[int, int]) -> None:
    U = torch.full((2, 1, *size), 0.7, dtype=D)
    grid = by_name("projective").grid(torch.tensor([1.4, 0.2, 0.1, 0.3, 1.2, 0, 0.3, -0.2], dtype=D), out).expand(2, 3, *out, 2)
    torch.testing.assert_close(sample_reduced(Pyramid(U), grid), torch.full((2, 3, 1, *out), 0.7, dtype=D))


def test_many_crops_in_pieces_are_as_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    U = torch.rand(2, 1, 50, 50, dtype=D, generator=torch.Generator().manual_seed(0))
    grid = base_grid((8, 8), dtype=D) * torch.linspace(0.1, 1, 7, dtype=D).view(7, 1, 1, 1)
    whole = sample_reduced(Pyramid(U), grid.expand(2, -1, -1, -1, -1))
    monkeypatch.setattr("stn_cli.stn.reduction.POINTS", 300)
    torch.testing.assert_close(sample_reduced(Pyramid(U), grid.expand(2, -1, -1, -1, -1)), whole)


def test_a_pyramid_first_read_without_gradients_still_has_them() -> None:
    U = torch.rand(1, 1, 32, 32, requires_grad=True)
    grid = base_grid((8, 8))[None, None]
    for mode in (torch.no_grad, torch.inference_mode):
        pyramid = Pyramid(U)
        with mode():
            before = sample_reduced(pyramid, grid)
        after = sample_reduced(pyramid, grid.clone().requires_grad_())
        torch.testing.assert_close(after, before.clone())
        (g,) = torch.autograd.grad(after.sum(), U)
        assert float(g.sum()) == pytest.approx(64, rel=1e-4)


def test_gradients_in_the_images_and_in_the_grid() -> None:
    """Footprints are held, as they are in training: both arguments of the reading itself, on thin, bent and small pixels."""
    torch.manual_seed(2)
    U = torch.rand(1, 2, 17, 21, dtype=D, requires_grad=True)
    theta = torch.tensor([[0.7, 0.3, 0.02, -0.2, 0.4, 0.03, 0.4, 0.1]], dtype=D)
    grid = by_name("projective").grid(theta, (3, 4))[None]
    pyramid = Pyramid(U)
    prints = footprints(grid, pyramid.size, pyramid.count, each=True)
    assert len(prints.count[0].unique()) > 2
    read = grid.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda g: pyramid.read(g, prints), read, fast_mode=True)
    assert torch.autograd.gradcheck(lambda u: sample_reduced(Pyramid(u), grid, padding="zeros"), U, fast_mode=True)
    # moves keep footprints: through the whole of it, along x and along y
    assert torch.autograd.gradcheck(
        lambda shift: sample_reduced(Pyramid(U.detach()), grid + shift),
        torch.tensor([0.011, -0.007], dtype=D, requires_grad=True),
        fast_mode=True,
    )


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        (torch.zeros(2, 4, 4, 2), r"grid must be floating point \(2, R, H', W', 2\): '\(2, 4, 4, 2\) float32'"),
        (torch.zeros(3, 1, 4, 4, 2), r"floating point \(2, R"),
        (torch.zeros(2, 1, 4, 4, 3), r"floating point \(2, R"),
        (torch.zeros(2, 1, 4, 4, 2, dtype=torch.long), "int64"),
    ],
)
def test_wrong_grids_are_usage_errors(grid: torch.Tensor, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        sample_reduced(Pyramid(torch.rand(2, 1, 8, 8)), grid)


def test_wrong_pictures_and_paddings_are_usage_errors() -> None:
    for U in (torch.rand(1, 8, 8), torch.zeros(1, 1, 8, 8, dtype=torch.uint8), torch.rand(1, 1, 0, 8)):
        with pytest.raises(UsageError, match="U of a pyramid must be"):
            Pyramid(U)
    with pytest.raises(UsageError, match="unknown padding: 'reflection'"):
        sample_reduced(Pyramid(torch.rand(1, 1, 8, 8)), torch.zeros(1, 1, 2, 2, 2), padding="reflection")
