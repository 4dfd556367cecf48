"""What bounds, checks and inverses promise at the edges: degenerate thetas, gradients at a bound, no autograd, points without an answer."""

from __future__ import annotations

import pytest
import torch

from stn_cli.errors import UsageError
from stn_cli.stn import TRANSFORMS, base_grid, by_name, spread_starts
from tests.stn.test_transforms import ALL, BENDING, D, make, some

SCALED = [n for n in ALL if n not in ("fixed_attention", "euclidean")]


@pytest.mark.parametrize("bounds", [{"inside": True}, {"sides": (0.1, 0.8)}], ids=str)
def test_a_size_at_its_bound_stays_there_under_outward_steps(bounds: dict[str, object]) -> None:
    """Nothing is stored up beyond the bound: from there the first inward step counts."""
    transform = make("attention")
    s = torch.tensor([1.2, 0.0, 0.0], dtype=D)
    for _ in range(200):
        theta = s.clone().requires_grad_()
        (g,) = torch.autograd.grad(-transform.bound(theta, **bounds)[0], theta)  # type: ignore[arg-type]
        s = s - 0.02 * g
    assert float(s[0]) == pytest.approx(1.2)
    theta = s.clone().requires_grad_()
    (g,) = torch.autograd.grad(transform.bound(theta, **bounds)[0], theta)  # type: ignore[arg-type]
    assert float(g[0]) == pytest.approx(1)


@pytest.mark.parametrize("name", ALL)
def test_inside_the_bounds_gradients_are_those_of_the_identity(name: str) -> None:
    transform = make(name)
    theta = 0.6 * some(transform, 1, spread=0.02)[0] if name not in ("fixed_attention", "euclidean") else transform.identity(D)
    slopes = torch.autograd.functional.jacobian(lambda t: transform.bound(t, sides=(0.05, 0.9), inside=True), theta)
    torch.testing.assert_close(slopes, torch.eye(transform.theta_dim, dtype=D), atol=1e-6, rtol=0)


@pytest.mark.parametrize("tiny", [0.0, 1e-30, 1e-8, 1e-3])
@pytest.mark.parametrize("name", SCALED)
def test_the_least_side_holds_for_vanished_crops(name: str, tiny: float) -> None:
    """Also of exactly no size, in one direction or in both; theta stays finite and small, and its gradient finite."""
    transform = make(name)
    theta = tiny * some(transform, 3, spread=0.0)
    if name == "box":
        theta[1, 1] = 0.5  # of a width that has vanished and a height that has not
    theta.requires_grad_()
    bounded = transform.bound(theta, sides=(0.1, 0.8))
    sides = transform.sides(bounded).detach()
    assert float(sides.min()) >= 0.1 - 1e-9
    assert float(sides.max()) <= 0.8
    assert float(bounded.detach().abs().max()) < 1
    (g,) = torch.autograd.grad(bounded.sum(), theta)
    assert bool(g.isfinite().all())


def test_a_lattice_that_lies_across_is_not_blown_up() -> None:
    """Turned by a quarter the best upright box has no sides: what is missing is added, as a factor it would be without end."""
    spline = make("thin_plate_spline")
    c = spline.control_points(torch.zeros(1, dtype=D))  # type: ignore[attr-defined]
    quarter = torch.stack([-c[:, 1], c[:, 0]]).flatten() / 2
    bounded = spline.bound(quarter, sides=(0.1, 0.8))
    torch.testing.assert_close(spline.sides(bounded), torch.full((2,), 0.1, dtype=D))
    assert float(bounded.abs().max()) < 0.7


@pytest.mark.parametrize("name", ALL)
def test_everything_works_without_autograd(name: str) -> None:
    transform = make(name)
    theta = transform.identity(D)[None].repeat(2, 1) * 0.9
    with torch.inference_mode():
        assert transform.check(theta) is theta
        assert not bool(transform.folds(theta).any())
        transform.area(theta)
        transform.bound(theta, sides=(0.1, 0.8), inside=True, fold=False)
        transform.targets(theta, transform.points(theta, torch.zeros(1, transform.dims, dtype=D)))
        bad = torch.full_like(theta, torch.nan)
        with pytest.raises(UsageError, match="not finite"):
            transform.check(bad)


def test_targets_of_perspectives_are_exact() -> None:
    """Strong ones, near their horizon: Newton's method leaves the plane there."""
    transform = make("projective")
    g = torch.Generator().manual_seed(0)
    theta = transform.theta(
        torch.rand(100, 2, dtype=D, generator=g) - 0.5,
        torch.cat([torch.full((100, 2), -0.5, dtype=D), 0.97 * (torch.rand(100, 4, dtype=D, generator=g) - 0.5)], 1),
    )
    x = base_grid((9, 9), dtype=D).view(-1, 2)
    torch.testing.assert_close(transform.targets(theta, transform.points(theta, x)), x.expand(100, -1, -1))


@pytest.mark.parametrize("name", [n for n in ALL if n not in BENDING])
def test_targets_of_matrices_are_inverted_ones(name: str) -> None:
    """Also where the inverse is of another kind, and far off the crop."""
    transform = make(name)
    theta = some(transform)
    x = (
        7 * base_grid((4,) * transform.dims, dtype=D).view(-1, transform.dims)
        if name != "projective"
        else torch.zeros(1, 2, dtype=D)
    )
    torch.testing.assert_close(transform.targets(theta, transform.points(theta, x)), x.expand(5, -1, -1))


@pytest.mark.parametrize("name", BENDING)
def test_a_target_is_exact_or_nan(name: str) -> None:
    """Crops that fold have points with several targets, and points with none."""
    transform = make(name)
    torch.manual_seed(0)
    theta = some(transform, 20, spread=0.0)
    theta = theta + 0.4 * torch.randn_like(theta)
    sources = base_grid((9, 9), dtype=D).view(-1, 2)
    found = transform.targets(theta, sources)
    miss = (transform.points(theta, found) - sources).norm(dim=-1)
    assert bool((miss.isnan() | (miss < 1e-7)).all())
    assert 0.02 < float(miss.isnan().double().mean()) < 0.9
    assert bool((found.isnan().all(-1) == found.isnan().any(-1)).all())
    flat = torch.zeros(1, transform.theta_dim, dtype=D)  # singular: no target at all, and no error
    assert not bool(transform.targets(flat, sources + 0.05).isfinite().any())


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("name", [*TRANSFORMS, "attention3d", "affine3d"])
def test_starts_are_spread_in_pictures_and_volumes(name: str, count: int) -> None:
    transform = by_name(name)
    starts = spread_starts(transform, count)
    assert starts.shape == (count, transform.theta_dim)
    centres = transform.points(starts, torch.zeros(1, transform.dims))[:, 0].detach()
    if count == 1:
        torch.testing.assert_close(centres, torch.zeros(1, transform.dims), atol=1e-6, rtol=0)
    else:
        torch.testing.assert_close(centres.norm(dim=-1), torch.full((count,), 0.3), atol=1e-5, rtol=0)
        assert float(torch.pdist(centres).min()) > 0.3
