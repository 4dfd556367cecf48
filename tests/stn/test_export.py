"""torch.compile and ONNX export of every transformer, and the modules in five lines."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from stn_cli.stn import TRANSFORMS, Cascade, CnnLocalisation, ParallelTransformers, SpatialTransformer, by_name

onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is a test dependency")


class Theta(nn.Module):
    """An f_loc that depends on its input, so that nothing is folded into constants."""

    def __init__(self, name: str) -> None:
        super().__init__()
        transform = by_name(name)
        self.start = nn.Parameter(transform.identity())
        self.slope = nn.Parameter(0.05 * torch.randn(transform.theta_dim, generator=torch.Generator().manual_seed(0)))

    def forward(self, U: Tensor) -> Tensor:
        return self.start + U.mean((1, 2, 3))[:, None] * self.slope


def transformer(name: str, **options: object) -> SpatialTransformer:
    return SpatialTransformer(Theta(name), by_name(name), (12, 14), **options).eval()  # type: ignore[arg-type]


@pytest.mark.parametrize("options", [{}, {"antialias": False}, {"inside": True, "sides": (0.1, 0.9), "fold": False}], ids=str)
@pytest.mark.parametrize("name", TRANSFORMS)
def test_one_graph_without_breaks(name: str, options: dict[str, object]) -> None:
    """fullgraph: nothing in it falls back to Python; gradients flow as in eager mode."""
    if name == "structured" and "fold" in options:
        options = {k: v for k, v in options.items() if k != "fold"}  # its bound looks at slopes, which needs autograd inside
    torch._dynamo.reset()
    model, U = transformer(name, **options), torch.rand(2, 3, 30, 40)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    V, theta = compiled(U)
    torch.testing.assert_close(V, model(U)[0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(theta, model(U)[1])
    (a,), (b,) = (torch.autograd.grad(f(U)[0].square().sum(), [model.localisation.slope]) for f in (compiled, model))  # type: ignore[list-item]
    torch.testing.assert_close(a, b, atol=1e-3, rtol=1e-3)


@pytest.mark.skipif(shutil.which("g++") is None, reason="the inductor needs a C++ compiler")
def test_the_default_compiler_gives_the_same_crops() -> None:
    torch._dynamo.reset()
    model, U = transformer("thin_plate_spline"), torch.rand(2, 3, 30, 40)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the compiler's own
        V, _ = torch.compile(model)(U)
    torch.testing.assert_close(V, model(U)[0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_onnx_gives_the_same_crops(name: str, tmp_path: Path) -> None:
    model, U = transformer(name, antialias=False), torch.rand(2, 3, 30, 40)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter's own
        torch.onnx.export(model, (U,), tmp_path / "model.onnx", dynamo=True, verbose=False)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    other = torch.rand(2, 3, 30, 40)
    V, theta = session.run(None, {session.get_inputs()[0].name: other.numpy()})
    expected = model(other)
    np.testing.assert_allclose(V, expected[0].detach().numpy(), atol=1e-4)
    np.testing.assert_allclose(theta, expected[1].detach().numpy(), atol=1e-5)


def test_parallel_and_cascade_compile() -> None:
    torch._dynamo.reset()
    U = torch.rand(2, 3, 30, 40)
    parallel = ParallelTransformers([transformer("affine") for _ in range(2)])
    cascade = Cascade([transformer("attention"), transformer("projective")])
    for model in (parallel, cascade):
        V, _ = torch.compile(model, backend="aot_eager", fullgraph=True)(U)
        torch.testing.assert_close(V, model(U)[0], atol=1e-5, rtol=1e-5)


def test_a_transformer_in_five_lines() -> None:
    transform = by_name("thin_plate_spline")
    model = SpatialTransformer(CnnLocalisation(transform, channels=1), transform, (28, 28))
    crops, theta = model(torch.rand(8, 1, 60, 60))
    assert (crops.shape, theta.shape) == ((8, 1, 28, 28), (8, 32))
