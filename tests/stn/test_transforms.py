from __future__ import annotations

import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stn_cli.errors import UsageError
from stn_cli.stn import (
    TRANSFORMS,
    TRANSFORMS_3D,
    Euclidean,
    FixedAttention,
    PiecewiseAffine,
    Structured,
    ThinPlateSpline,
    Transformation,
    affine_grid,
    base_grid,
    by_name,
)

D = torch.float64
ALL = [*TRANSFORMS, *TRANSFORMS_3D]
BENDING = ["piecewise_affine", "thin_plate_spline", "structured"]
GROUPS = [n for n in ALL if n not in BENDING and n != "fixed_attention"]


def make(name: str) -> Transformation:
    transform = by_name(name)
    return transform.double().requires_grad_(False) if isinstance(transform, Structured) else transform


def some(transform: Transformation, count: int = 5, spread: float = 0.1, seed: int = 0) -> torch.Tensor:
    """Thetas around a crop of two thirds of the image."""
    g = torch.Generator().manual_seed(seed)
    centre = (torch.rand(count, transform.dims, dtype=D, generator=g) - 0.5) * 4 * spread
    shape = (torch.rand(count, transform.shape_dim, dtype=D, generator=g) - 0.5) * 2 * spread
    return transform.theta(centre, transform.shape_of_box(torch.full((count, transform.dims), 0.7, dtype=D)) + shape)


@pytest.mark.parametrize("name", ALL)
def test_training_starts_at_the_identity(name: str) -> None:
    transform = make(name)
    size = (5, 7) if transform.dims == 2 else (3, 4, 5)
    assert transform.identity().shape == (transform.theta_dim,)
    expected = base_grid(size, dtype=D) * (0.5 if name == "fixed_attention" else 1)
    torch.testing.assert_close(transform.grid(transform.identity(D), size), expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("name", ALL)
def test_pose_and_theta_are_inverse(name: str) -> None:
    transform = make(name)
    theta = some(transform)
    assert theta.shape == (5, transform.theta_dim)
    centre, shape = transform.pose(theta)
    assert (centre.shape, shape.shape) == ((5, transform.dims), (5, transform.shape_dim))
    torch.testing.assert_close(transform.theta(centre, shape), theta)


@pytest.mark.parametrize("name", [n for n in TRANSFORMS if n not in ("fixed_attention", "euclidean")])
def test_shape_of_a_box_is_that_box(name: str) -> None:
    transform = make(name)
    shape = transform.shape_of_box(torch.tensor([0.5, 0.5], dtype=D))
    torch.testing.assert_close(shape[: transform.log_sides], torch.full((transform.log_sides,), math.log(0.5), dtype=D))
    assert not bool(shape[transform.log_sides :].any())
    theta = transform.theta(torch.tensor([0.1, -0.2], dtype=D), shape)
    corners = torch.tensor([[-0.4, -0.7], [0.6, -0.7], [0.6, 0.3], [-0.4, 0.3]], dtype=D)
    torch.testing.assert_close(transform.corners(theta), corners)


# theta and what the paper, or a textbook, writes for M_theta
CLOSED = [
    ("attention", [0.5, 0.1, -0.2], [[0.5, 0, 0.1], [0, 0.5, -0.2]]),
    ("fixed_attention", [0.1, -0.2], [[0.5, 0, 0.1], [0, 0.5, -0.2]]),
    ("box", [0.5, 0.25, 0.1, -0.2], [[0.5, 0, 0.1], [0, 0.25, -0.2]]),
    ("euclidean", [math.pi / 2, 0.1, -0.2], [[0, -1, 0.1], [1, 0, -0.2]]),
    ("similarity", [0.0, 0.5, 0.1, -0.2], [[0, -0.5, 0.1], [0.5, 0, -0.2]]),  # a quarter turn
    ("affine", [1, 2, 3, 4, 5, 6], [[1, 2, 3], [4, 5, 6]]),
    ("projective", [1, 2, 3, 4, 5, 6, 7, 8], [[1, 2, 3], [4, 5, 6], [7, 8, 1]]),
    ("attention3d", [0.5, 1, 2, 3], [[0.5, 0, 0, 1], [0, 0.5, 0, 2], [0, 0, 0.5, 3]]),
    ("affine3d", list(range(12)), [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]),
]


@pytest.mark.parametrize(("name", "theta", "matrix"), CLOSED)
def test_matrix_closed_form(name: str, theta: list[float], matrix: list[list[float]]) -> None:
    out = make(name).matrix(torch.tensor([theta], dtype=D))[0]
    torch.testing.assert_close(out, torch.tensor(matrix, dtype=D), atol=1e-12, rtol=0)


def test_affine_pose_is_rotation_shear_scale() -> None:
    a, k = 0.3, 0.4
    rotation = torch.tensor([[math.cos(a), -math.sin(a)], [math.sin(a), math.cos(a)]], dtype=D)
    linear = rotation @ torch.tensor([[1, k], [0, 1]], dtype=D) @ torch.diag(torch.tensor([0.5, 0.7], dtype=D))
    shape = torch.tensor([math.log(0.5), math.log(0.7), a, k], dtype=D)
    affine = make("affine")
    torch.testing.assert_close(affine.matrix(affine.theta(torch.zeros(2, dtype=D), shape))[:, :2], linear)


def test_projective_takes_four_corners_anywhere() -> None:
    """x -> H x / (H x)_3 against the division written out."""
    transform, x = make("projective"), torch.tensor([0.3, -0.6], dtype=D)
    a, b, tx, c, d, ty, p, q = theta = torch.tensor([0.7, 0.1, 0.05, -0.1, 0.6, 0.02, 0.2, -0.1], dtype=D)
    w = p * x[0] + q * x[1] + 1
    expected = torch.stack([(a * x[0] + b * x[1] + tx) / w, (c * x[0] + d * x[1] + ty) / w])
    torch.testing.assert_close(transform.points(theta, x[None])[0], expected)


def test_a_point_on_the_horizon_is_far_and_not_nan() -> None:
    theta = torch.tensor([1.0, 0, 0, 0, 1, 0, 1, 0], dtype=D)
    out = make("projective").points(theta, torch.tensor([[-1.0, 0.5]], dtype=D))
    assert bool(out.isfinite().all())
    assert float(out.abs().max()) > 1e6


@pytest.mark.parametrize("name", GROUPS)
def test_groups_compose_and_invert_exactly(name: str) -> None:
    transform = make(name)
    a, b = some(transform), some(transform, seed=1)
    x = base_grid((7,) * transform.dims, dtype=D).view(-1, transform.dims)
    torch.testing.assert_close(transform.points(transform.compose(a, b), x), transform.points(a, transform.points(b, x)))
    torch.testing.assert_close(transform.points(a, transform.points(transform.inverse(a), x)), x.expand(5, -1, -1))


@pytest.mark.parametrize("name", BENDING)
def test_bending_ones_invert_in_least_squares(name: str) -> None:
    """Exact where the bend is an affine map, and better than the affine inverse where it is not."""
    transform = make(name)
    x = base_grid((9, 9), dtype=D).view(-1, 2) * 0.8
    for spread, most in ((0.0, 1e-9), (0.05, 0.05)):
        theta = some(transform, spread=spread)
        there = transform.points(theta, x)
        back = transform.points(transform.inverse(theta), there)
        assert float((back - x).detach().abs().max()) < most
        torch.testing.assert_close(transform.targets(theta, there), x.expand(5, -1, -1))  # Newton's is exact
    flat = some(transform, spread=0.0)
    composed = transform.points(transform.compose(flat, flat), x)
    torch.testing.assert_close(composed, transform.points(flat, transform.points(flat, x)))


@pytest.mark.parametrize("name", ["piecewise_affine", "thin_plate_spline"])
def test_composition_is_exact_at_the_control_points(name: str) -> None:
    transform = make(name)
    a, b = some(transform), some(transform, seed=1)
    c = transform.control_points(a)  # type: ignore[attr-defined]
    torch.testing.assert_close(transform.points(transform.compose(a, b), c), transform.points(a, transform.points(b, c)))


@pytest.mark.parametrize("name", ["fixed_attention", "euclidean"])
def test_a_fixed_scale_is_closed_only_at_one(name: str) -> None:
    transform = by_name(name, scale=0.4)
    theta = transform.identity()
    with pytest.raises(UsageError, match=r"scale 0\.4 is not closed"):
        transform.inverse(theta)
    with pytest.raises(UsageError, match="not closed"):
        transform.compose(theta, theta)
    whole = by_name(name, scale=1.0)
    shift = whole.shifted(whole.identity(D), torch.tensor([0.2, 0.1], dtype=D))
    torch.testing.assert_close(whole.compose(shift, whole.inverse(shift)), whole.identity(D))
    assert isinstance(transform, (FixedAttention, Euclidean))
    torch.testing.assert_close(transform.sides(theta), torch.tensor([0.4, 0.4]))


@pytest.mark.parametrize("name", [n for n in ALL if n not in ("fixed_attention", "euclidean")])
def test_crops_scale_and_shift(name: str) -> None:
    transform = make(name)
    theta = some(transform)
    moved = transform.shifted(theta, torch.full((transform.dims,), 0.25, dtype=D))
    x = base_grid((4,) * transform.dims, dtype=D).view(-1, transform.dims)
    torch.testing.assert_close(transform.points(moved, x), transform.points(theta, x) + 0.25)
    half = transform.scaled(theta, torch.full((5, transform.dims), 0.5, dtype=D))
    torch.testing.assert_close(transform.sides(half), transform.sides(theta) / 2)
    torch.testing.assert_close(transform.area(half), transform.area(theta) / 2**transform.dims)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_an_affine_map_after_is_again_of_the_form(name: str) -> None:
    transform, affine = make(name), torch.tensor([[0.5, 0.1, 0.2], [-0.2, 0.8, -0.1]], dtype=D)
    theta, x = some(transform), base_grid((4, 5), dtype=D).view(-1, 2)
    out = transform.combine(transform.after(affine, transform.matrix(theta)), transform.basis(x))
    torch.testing.assert_close(out, transform.points(theta, x) @ affine[:, :2].T + affine[:, 2])


@pytest.mark.parametrize("name", ALL)
def test_jacobian_is_the_derivative(name: str) -> None:
    transform, step = make(name), 1e-6
    theta = some(transform)
    x = (torch.rand(6, transform.dims, dtype=D) - 0.5) * 1.7
    jacobian = transform.jacobian(theta, x)
    for axis in range(transform.dims):
        shift = torch.zeros(transform.dims, dtype=D)
        shift[axis] = step
        slope = (transform.points(theta, x + shift) - transform.points(theta, x - shift)) / (2 * step)
        torch.testing.assert_close(jacobian[..., axis], slope, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(
        transform.jacobian(theta), transform.jacobian(theta, torch.zeros(1, transform.dims, dtype=D))[:, 0]
    )


def test_area_and_orientation() -> None:
    transform = make("similarity")
    theta = transform.theta(torch.zeros(2, dtype=D), torch.tensor([math.log(0.5), 0.3], dtype=D))
    assert float(transform.area(theta)) == pytest.approx(0.25)
    assert float(transform.orientation(theta)) == pytest.approx(0.3)
    mirrored = torch.tensor([-1.0, 0, 0, 0, 1, 0], dtype=D)
    assert float(make("affine").area(mirrored)) == pytest.approx(-1)
    assert not bool(make("affine").folds(mirrored))  # a mirror image is one to one


@pytest.mark.parametrize("name", ALL)
def test_gradients_of_every_operator(name: str) -> None:
    transform = make(name)
    theta = some(transform, 2).requires_grad_()
    x = (torch.rand(3, transform.dims, dtype=D) - 0.5) * 1.3
    assert torch.autograd.gradcheck(lambda t: transform.points(t, x), theta)
    assert torch.autograd.gradcheck(lambda p: transform.points(theta.detach(), p), x.clone().requires_grad_())
    assert torch.autograd.gradcheck(lambda t: transform.jacobian(t, x), theta)
    assert torch.autograd.gradcheck(lambda t: transform.grid(t, (2,) * transform.dims), theta)


def test_the_learned_basis_gets_a_gradient() -> None:
    transform = Structured(3).double()
    theta = some(transform, 2)
    assert torch.autograd.gradcheck(
        lambda v: torch.func.functional_call(_Call(transform, theta), {"transform.values": v}, ()),
        transform.values.detach().requires_grad_(),
    )
    fixed = Structured(3, learned=False)
    assert not list(fixed.parameters())
    torch.testing.assert_close(copy.deepcopy(transform).values, transform.values)


class _Call(torch.nn.Module):
    def __init__(self, transform: Structured, theta: torch.Tensor) -> None:
        super().__init__()
        self.transform, self.theta = transform, theta

    def forward(self) -> torch.Tensor:
        return self.transform.grid(self.theta, (2, 3))


def test_the_whole_set_of_bends_is_the_thin_plate_spline() -> None:
    structured, spline = Structured(13).double(), ThinPlateSpline(4)
    theta = some(spline)
    x = base_grid((6, 6), dtype=D).view(-1, 2)
    sources = spline.points(theta, x)
    fitted = structured.fit(x.expand(5, -1, -1), sources)
    torch.testing.assert_close(structured.points(fitted, x), sources, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("control", [2, 3, 4, 7])
@pytest.mark.parametrize("kind", [ThinPlateSpline, PiecewiseAffine])
def test_control_points_are_interpolated_and_affine_maps_reproduced(kind: type, control: int) -> None:
    transform = kind(control)
    torch.manual_seed(0)
    places = torch.rand(3, 2, control**2, dtype=D)
    c = transform.control_points(places)
    torch.testing.assert_close(transform.points(places.flatten(1), c), places.transpose(1, 2))
    affine = torch.rand(2, 3, dtype=D)
    theta = (affine[:, :2] @ c.T + affine[:, 2:]).flatten()
    x = torch.rand(50, 2, dtype=D) * 3 - 1.5  # also outside of the lattice
    torch.testing.assert_close(transform.points(theta, x), x @ affine[:, :2].T + affine[:, 2])


def test_regularisation_bends_less_and_keeps_affine_maps() -> None:
    torch.manual_seed(0)
    theta = ThinPlateSpline().identity(D) + 0.2 * torch.rand(32, dtype=D)
    energies = []
    for regularisation in (0.0, 0.1, 10.0, 1e6):
        transform = ThinPlateSpline(4, regularisation)
        places = transform.points(theta, transform.control_points(theta)).T  # (2, 16)
        energies.append(float((places @ ThinPlateSpline().bending() @ places.T).diagonal().sum().detach()))
        c = transform.control_points(theta)
        flat = (c @ torch.tensor([[0.5, 0.1], [0.2, 0.7]], dtype=D)).T.flatten()
        torch.testing.assert_close(transform.points(flat, c), flat.view(2, 16).T)
    assert energies == sorted(energies, reverse=True)
    assert energies[-1] < 1e-6 < energies[0]


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(ALL), st.floats(0.05, 3.0), st.integers(0, 10_000))
def test_bounds_hold_and_leave_good_thetas_alone(name: str, wildness: float, seed: int) -> None:
    """However wild theta is: inside the image, of a stated size, not folded; and a second call changes nothing."""
    transform = make(name)
    g = torch.Generator().manual_seed(seed)
    theta = transform.identity(D) + wildness * torch.randn(4, transform.theta_dim, dtype=D, generator=g)
    bounded = transform.bound(theta, sides=(0.1, 0.8), inside=True, fold=False)
    if name != "euclidean":  # at scale 1 a turned crop cannot stay inside
        assert not bool(transform.leaves(bounded).any())
    if name not in ("fixed_attention", "euclidean"):
        assert float(transform.sides(bounded).max()) <= 0.8 + 1e-9
    assert not bool(transform.folds(bounded).any())
    again = transform.bound(bounded, sides=(0.0, 0.8), inside=True, fold=False)
    torch.testing.assert_close(again, bounded, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("name", ["projective", *BENDING])
def test_what_folds_is_drawn_back(name: str) -> None:
    transform = make(name)
    torch.manual_seed(0)
    wild = some(transform, 200, spread=0.0)
    bend = torch.zeros_like(wild)
    bend[:, 6 if name == "projective" else 0 :] = (
        0.8 * torch.randn(200, transform.theta_dim, dtype=D)[:, 6 if name == "projective" else 0 :]
    )
    wild = wild + bend
    assert bool(transform.folds(wild).any())
    assert not bool(transform.folds(transform.unfolded(wild)).any())
    calm = some(transform, 20, spread=0.01)
    torch.testing.assert_close(transform.unfolded(calm), calm)


def test_gradients_lead_back_inside_the_bounds() -> None:
    transform = make("attention")
    theta = torch.tensor([[0.5, 3.0, 0.0]], dtype=D, requires_grad=True)  # far off on the right
    for sign, passes in ((1.0, True), (-1.0, False)):  # descent leads left: back in; or further out
        (g,) = torch.autograd.grad(sign * transform.bound(theta, inside=True)[0, 1], theta)
        assert bool(g[0, 1] != 0) is passes


BAD = [
    ([[0.5, float("nan"), 0.0]], "not finite"),
    ([[0.0, 0.1, 0.0]], "singular or folds"),
    ([[0.5, 0.9, 0.0]], "leaves the image"),
]


@pytest.mark.parametrize(("theta", "message"), BAD)
def test_unusable_thetas_are_named(theta: list[list[float]], message: str) -> None:
    good = [[0.4, 0.1, 0.1]]
    with pytest.raises(UsageError, match=rf"theta of attention .*{message}.*item 1"):
        make("attention").check(torch.tensor(good + theta), inside=True)
    assert make("attention").check(torch.tensor(good), inside=True) is not None


def test_wrong_shapes_types_and_names_are_usage_errors() -> None:
    transform = make("affine")
    with pytest.raises(UsageError, match=r"theta of affine must be floating point \(\.\.\., 6\)"):
        transform.grid(torch.zeros(2, 5), (4, 4))
    with pytest.raises(UsageError, match="int64"):
        transform.grid(torch.zeros(2, 6, dtype=torch.long), (4, 4))
    with pytest.raises(UsageError, match=r"target points must be floating point \(\.\.\., N, 2\)"):
        transform.points(torch.zeros(2, 6), torch.zeros(4, 3))
    with pytest.raises(UsageError, match="needs a size of 2 sides"):
        transform.grid(torch.zeros(2, 6), (4, 4, 4))
    with pytest.raises(UsageError, match="unknown transform: 'bow'"):
        by_name("bow")
    with pytest.raises(UsageError, match="has no such option: 'colour'"):
        by_name("box", colour=1)
    with pytest.raises(UsageError, match="control points along a side"):
        by_name("thin_plate_spline", control=1)
    with pytest.raises(UsageError, match="regularisation"):
        by_name("thin_plate_spline", regularisation=-1.0)
    with pytest.raises(UsageError, match="bends must be 1 to 13"):
        by_name("structured", terms=14)
    with pytest.raises(UsageError, match="at least 1 x 1"):
        base_grid((0, 3))


@pytest.mark.parametrize("name", ["similarity", "affine", "projective", "affine3d"])
def test_a_singular_theta_has_no_inverse(name: str) -> None:
    transform = make(name)
    with pytest.raises(UsageError, match=f"theta of {name} is singular"):
        transform.inverse(torch.zeros(1, transform.theta_dim, dtype=D))


@pytest.mark.parametrize("name", ALL)
def test_empty_batches_and_size_one(name: str) -> None:
    transform = make(name)
    size = (1,) * transform.dims
    assert transform.grid(torch.zeros(0, transform.theta_dim, dtype=D), (3,) * transform.dims).shape == (
        0,
        *(3,) * transform.dims,
        transform.dims,
    )
    centre = transform.points(some(transform), torch.zeros(1, transform.dims, dtype=D))
    torch.testing.assert_close(transform.grid(some(transform), size).view(5, 1, transform.dims), centre)


def test_half_precision_thetas_give_full_precision_coordinates() -> None:
    theta = make("affine").identity().to(torch.bfloat16)
    grid = make("affine").grid(theta[None], (300, 300))
    assert grid.dtype == torch.float32
    torch.testing.assert_close(grid[0], base_grid((300, 300)))


def test_lattice_is_pixel_centres() -> None:
    lattice = base_grid((2, 4), dtype=D)
    assert lattice[0, :, 0].tolist() == [-0.75, -0.25, 0.25, 0.75]
    assert lattice[:, 0, 1].tolist() == [-0.5, 0.5]
    volume = base_grid((2, 3, 4), dtype=D)
    assert volume[1, 2, 3].tolist() == pytest.approx([0.75, 2 / 3, 0.5])  # x, y, z


def test_affine_grid_is_the_affine_transformation() -> None:
    matrix = torch.rand(3, 2, 3, dtype=D)
    torch.testing.assert_close(affine_grid(matrix, (4, 5)), make("affine").grid(matrix.flatten(1), (4, 5)))
