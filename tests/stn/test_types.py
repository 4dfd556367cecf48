"""Half precision, copies, and accelerators: the same numbers, as far as the type can hold them."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from stn_cli.coloc.score.calibration import Calibration
from stn_cli.encoders import PretrainedEncoder, make_encoder
from stn_cli.stn import (
    KERNELS,
    Cascade,
    CnnLocalisation,
    FcnLocalisation,
    HeatmapLocalisation,
    ParallelTransformers,
    Pyramid,
    SpatialTransformer,
    TransformerPool,
    TrunkLocalisation,
    by_name,
    sample,
    sample_reduced,
)
from tests.stn.test_transforms import ALL, D, some

ROUNDING = {torch.float32: 3e-7, torch.float16: 1e-3, torch.bfloat16: 8e-3}
"""Of one number near 1, as a share."""
OPERATORS: dict[str, tuple[Callable[..., Tensor], float]] = {  # and how many roundings of theta the result may be off by
    "grid": (lambda f, t: f.grid(t, (3,) * f.dims), 8),
    "corners": (lambda f, t: f.corners(t), 8),
    "jacobian": (lambda f, t: f.jacobian(t), 16),
    "area": (lambda f, t: f.area(t), 32),
    "orientation": (lambda f, t: f.orientation(t), 32),
    "targets": (lambda f, t: f.targets(t, f.points(t, t.new_zeros(1, f.dims))), 64),
    "bound": (lambda f, t: f.bound(t, sides=(0.1, 0.9), inside=True), 16),
}
HALF = [torch.float16, torch.bfloat16]


@pytest.mark.parametrize("dtype", ROUNDING, ids=str)
@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("name", ALL)
def test_transformations_in_every_type(name: str, operator: str, dtype: torch.dtype) -> None:
    """theta is rounded to the type; what is made of it is not: coordinates come in float32 at least, theta in its own type."""
    if (name, operator) == ("piecewise_affine", "area"):
        pytest.skip("the points that are looked at lie on edges of triangles: which side is a matter of rounding")
    f, roundings = OPERATORS[operator]
    transform = by_name(name)
    if isinstance(transform, nn.Module):
        transform.requires_grad_(False)
    theta = some(transform, 4, spread=0.05).to(dtype)
    out = f(transform, theta)
    assert out.dtype == (dtype if operator == "bound" else torch.float32)
    wanted = f(copy.deepcopy(transform).double() if isinstance(transform, nn.Module) else transform, theta.to(D))
    assert float((out.to(D) - wanted).abs().max()) < roundings * (ROUNDING[dtype] if operator == "bound" else 1e-5)


@pytest.mark.parametrize("dtype", HALF, ids=str)
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("kernel", KERNELS)
def test_samplers_in_half_precision(kernel: str, padding: str, dtype: torch.dtype) -> None:
    """Pictures of half precision at coordinates of full precision, and at those of half: they are not rounded again."""
    torch.manual_seed(0)
    U, grid = torch.rand(1, 2, 9, 11), torch.rand(1, 4, 5, 2) * 2.4 - 1.2
    for points in (grid, grid.to(dtype)):
        out = sample(U.to(dtype), points, kernel=kernel, padding=padding)
        assert out.dtype == dtype
        wanted = sample(U.to(dtype).float(), points.float(), kernel=kernel, padding=padding)
        assert float((out.float() - wanted).detach().abs().max()) < 4 * ROUNDING[dtype]


@pytest.mark.parametrize("dtype", HALF, ids=str)
@pytest.mark.parametrize("padding", ["zeros", "border"])
def test_pyramids_in_half_precision(padding: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    U = torch.rand(1, 2, 40, 50)
    grid = by_name("projective").grid(torch.tensor([[0.9, 0.1, 0, 0, 0.3, 0, 0.3, 0.1]]), (8, 9))[None]
    out = sample_reduced(Pyramid(U.to(dtype)), grid, padding=padding)
    assert out.dtype == dtype
    assert float((out.float() - sample_reduced(Pyramid(U), grid, padding=padding)).abs().max()) < 4 * ROUNDING[dtype]


@pytest.mark.parametrize("name", ALL)
def test_autocast_leaves_coordinates_exact(name: str) -> None:
    transform = by_name(name)
    theta = some(transform, 2).float()
    wanted = transform.grid(theta, (5,) * transform.dims), transform.jacobian(theta)
    with torch.autocast("cpu", torch.bfloat16):
        seen = transform.grid(theta, (5,) * transform.dims), transform.jacobian(theta)
    for a, b in zip(seen, wanted, strict=True):
        assert a.dtype == torch.float32
        torch.testing.assert_close(a, b)


def transformer(name: str, f_loc: str = "cnn", **options: object) -> SpatialTransformer:
    transform = by_name(name)
    localisation: nn.Module = {
        "cnn": lambda: CnnLocalisation(transform, 1, width=4),
        "fcn": lambda: FcnLocalisation(transform, 400, width=4),
        "heatmap": lambda: HeatmapLocalisation(transform, 1, width=4, depth=1),
        "trunk": lambda: TrunkLocalisation(transform, nn.Conv2d(1, 4, 3), 4),
    }[f_loc]()
    return SpatialTransformer(localisation, transform, (8, 8), **options)  # type: ignore[arg-type]


MODULES: dict[str, Callable[[], nn.Module]] = {
    **{name: lambda name=name: transformer(name) for name in ALL if not name.endswith("3d")},
    **{f_loc: lambda f=f_loc: transformer("affine", f) for f_loc in ("fcn", "heatmap", "trunk")},
    "heatmap, structured": lambda: transformer("structured", "heatmap"),
    "gaussian": lambda: transformer("affine", kernel="gaussian"),
    "bounded": lambda: transformer("thin_plate_spline", sides=(0.1, 0.9), inside=True, fold=False),
    "parallel": lambda: ParallelTransformers([transformer("box"), transformer("box")]),
    "cascade": lambda: Cascade([transformer("attention"), transformer("structured")]),
    "pool": lambda: TransformerPool(CnnLocalisation(by_name("affine"), 1, width=4), by_name("affine")),
}


@pytest.mark.parametrize("how", [copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module))], ids=["copied", "pickled"])
@pytest.mark.parametrize("kind", MODULES)
def test_copies_do_the_same_and_share_nothing(kind: str, how: Callable[[nn.Module], nn.Module]) -> None:
    torch.manual_seed(0)
    module = MODULES[kind]()
    for p in module.parameters():
        nn.init.normal_(p, std=0.1)
    twin, U = how(module), torch.rand(2, 1, 20, 20)
    first, second = ((out if isinstance(out, Tensor) else out[0]).detach().clone() for out in (module(U), twin(U)))
    torch.testing.assert_close(second, first)
    for p in twin.parameters():
        nn.init.normal_(p, std=0.3)
    again, other = ((out if isinstance(out, Tensor) else out[0]).detach() for out in (module(U), twin(U)))
    torch.testing.assert_close(again, first)
    assert not torch.equal(other, first)


@pytest.mark.parametrize("how", [copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module))], ids=["copied", "pickled"])
@pytest.mark.parametrize("name", ["resnet18", "small", "gradient"])
def test_encoders_are_copied_with_their_hooks(name: str, how: Callable[[nn.Module], nn.Module]) -> None:
    """A copy's hook must fill the copy's list: the original's is what it was made with."""
    encoder = make_encoder(name, pretrained=False) if name == "resnet18" else make_encoder(name)
    assert isinstance(encoder, nn.Module)
    twin, U = how(encoder), torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(twin.structure(U), encoder.structure(U))  # type: ignore[operator]
        if isinstance(encoder, PretrainedEncoder):
            assert twin._taken is not encoder._taken
            for p in twin.parameters():
                p.zero_()
            assert float(encoder.structure(U).abs().max()) > 0
    how(Calibration())


NEEDS_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")


@NEEDS_CUDA
@pytest.mark.cuda
@pytest.mark.parametrize("dtype", [torch.float32, *HALF], ids=str)
@pytest.mark.parametrize("name", ALL)
def test_grids_on_cuda(name: str, dtype: torch.dtype) -> None:
    transform = by_name(name)
    theta, size = some(transform).to(dtype), (5,) * transform.dims
    wanted = (
        transform.grid(theta, size),
        transform.jacobian(theta),
        transform.bound(theta.float(), sides=(0.1, 0.9), inside=True),
    )
    moved = transform.cuda() if isinstance(transform, nn.Module) else transform
    theta = theta.cuda()
    seen = moved.grid(theta, size), moved.jacobian(theta), moved.bound(theta.float(), sides=(0.1, 0.9), inside=True)
    for a, b in zip(seen, wanted, strict=True):
        torch.testing.assert_close(a.cpu(), b, atol=1e-4, rtol=1e-4)


@NEEDS_CUDA
@pytest.mark.cuda
@pytest.mark.parametrize("dtype", [torch.float32, *HALF], ids=str)
@pytest.mark.parametrize("padding", ["zeros", "border"])
def test_pyramids_on_cuda(padding: str, dtype: torch.dtype) -> None:
    """By the fused kernel, and its gradients."""
    torch.manual_seed(0)
    U = torch.rand(2, 3, 70, 90).to(dtype)
    theta = torch.tensor([[0.9, 0.1, 0, 0, 0.3, 0, 0.3, 0.1], [0.1, 0, 0.2, 0, 0.1, 0, 0, 0]])
    grid = by_name("projective").grid(theta, (8, 9))[:, None]
    seen = []
    for device in ("cpu", "cuda"):
        u, g = U.detach().to(device).requires_grad_(), grid.detach().to(device).requires_grad_()
        V = sample_reduced(Pyramid(u), g, padding=padding)
        seen.append([x.detach().cpu().float() for x in (V, *torch.autograd.grad(V.float().square().sum(), (u, g)))])
    for mine, theirs in zip(seen[1], seen[0], strict=True):
        assert float((mine - theirs).abs().max() / theirs.abs().max()) < 8 * ROUNDING[dtype] + 1e-4


@NEEDS_CUDA
@pytest.mark.cuda
@pytest.mark.parametrize("kernel", KERNELS)
def test_samplers_on_cuda(kernel: str) -> None:
    torch.manual_seed(0)
    U, grid = torch.rand(1, 2, 9, 11), torch.rand(1, 4, 5, 2) * 2.4 - 1.2
    moved = SpatialTransformer(nn.Identity(), by_name("affine"), (4, 5), kernel=kernel, antialias=False).cuda()
    torch.testing.assert_close(moved.read(U.cuda(), grid.cuda()).cpu(), sample(U, grid, kernel=kernel), atol=1e-4, rtol=1e-4)
