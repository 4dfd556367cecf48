"""Compiled and exported as users build them: every f_loc with every transformation, default options, then bounds, pools, cascades, in parallel.

The whole matrix takes minutes (`make test-slow`). A slice of it, in which every f_loc, every transformation and every module has its turn, is
always run.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from stn_cli.stn import (
    TRANSFORMS,
    Cascade,
    CnnLocalisation,
    FcnLocalisation,
    HeatmapLocalisation,
    ParallelTransformers,
    SpatialTransformer,
    Transformation,
    TransformerPool,
    TrunkLocalisation,
    by_name,
)

onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is a test dependency")

HEIGHT, WIDTH = 30, 40
BOUNDS: dict[str, Any] = {"inside": True, "sides": (0.1, 0.9), "fold": False}
F_LOCS: dict[str, Callable[[Transformation], nn.Module]] = {
    "fcn": lambda transform: FcnLocalisation(transform, 3 * HEIGHT * WIDTH),
    "cnn": lambda transform: CnnLocalisation(transform, 3),
    "heatmap": lambda transform: HeatmapLocalisation(transform, 3, width=8, depth=2),
    "trunk": lambda transform: TrunkLocalisation(transform, nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), 4),
}


def f_loc(kind: str, transform: Transformation) -> nn.Module:
    """One that has learnt something, so that theta depends on what it sees and nothing is folded into constants."""
    torch.manual_seed(0)
    out = F_LOCS[kind](transform)
    nn.init.normal_(out.head.weight, std=0.1)  # type: ignore[union-attr, arg-type]
    return out


def transformer(kind: str, name: str, **options: Any) -> SpatialTransformer:
    transform = by_name(name)
    return SpatialTransformer(f_loc(kind, transform), transform, (12, 14), **options).eval()


def pool(kind: str, name: str) -> TransformerPool:
    transform = by_name(name)
    return TransformerPool(f_loc(kind, transform), transform).eval()


def parallel(kind: str, name: str) -> ParallelTransformers:
    return ParallelTransformers([transformer(kind, name) for _ in range(2)]).eval()


def cascade(kind: str, name: str) -> Cascade:
    coarse = by_name("attention")
    levels = [SpatialTransformer(f_loc("cnn", coarse), coarse, (HEIGHT, WIDTH)), transformer(kind, name)]
    return Cascade(levels).eval()


MODULES: dict[str, Callable[[str, str], nn.Module]] = {
    "transformer": transformer,
    "bounded": lambda kind, name: transformer(kind, name, **BOUNDS),
    "pool": pool,
    "parallel": parallel,
    "cascade": cascade,
}
MATRIX = [("transformer", kind, name) for kind in F_LOCS for name in TRANSFORMS]
MATRIX += [
    (module, kind, name)
    for module, kind in (("bounded", "trunk"), ("pool", "cnn"), ("parallel", "fcn"), ("cascade", "heatmap"))
    for name in TRANSFORMS
]
EXPORTED = {
    ("transformer", "trunk", "similarity"),
    ("transformer", "fcn", "affine"),
    ("pool", "cnn", "thin_plate_spline"),
    ("transformer", "heatmap", "attention"),
}
"""What is exported in every run of the tests: a second or two each."""
COMPILED = {
    *zip(["transformer"] * 10, ["fcn", "cnn", "heatmap", "trunk"] * 3, TRANSFORMS, strict=False),
    ("bounded", "trunk", "projective"),
    ("pool", "cnn", "box"),
    ("parallel", "fcn", "affine"),
    ("cascade", "heatmap", "thin_plate_spline"),
}


def chosen(always: set[tuple[str, str, str]]) -> list[Any]:
    return [pytest.param(*case, id="-".join(case), marks=() if case in always else pytest.mark.slow) for case in MATRIX]


def tensors(out: Any) -> list[Tensor]:
    """What a module returns, side by side."""
    return [out] if isinstance(out, Tensor) else [part for each in out for part in tensors(each)]


@pytest.mark.parametrize(("module", "kind", "name"), chosen(COMPILED))
def test_one_graph_without_breaks(module: str, kind: str, name: str) -> None:
    """fullgraph: nothing in it falls back to Python; gradients flow as in eager mode."""
    torch._dynamo.reset()
    model, U = MODULES[module](kind, name), torch.rand(2, 3, HEIGHT, WIDTH)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    got, expected = tensors(compiled(U)), tensors(model(U))
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)
    parameters = [p for p in model.parameters() if p.requires_grad]
    for a, b in zip(
        *(torch.autograd.grad(out[0].square().sum(), parameters, allow_unused=True) for out in (got, expected)), strict=True
    ):
        torch.testing.assert_close(a, b, atol=1e-3, rtol=1e-3)


@pytest.mark.skipif(shutil.which("g++") is None, reason="the inductor needs a C++ compiler")
def test_the_default_compiler_gives_the_same_crops() -> None:
    torch._dynamo.reset()
    model, U = transformer("cnn", "thin_plate_spline"), torch.rand(2, 3, HEIGHT, WIDTH)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the compiler's own
        V, _ = torch.compile(model)(U)
    off = (V - model(U)[0]).detach().abs().amax(1)
    # it rounds otherwise: a footprint at the limit between two numbers of places may have the other one
    assert float((off > 1e-5).float().mean()) < 0.01
    assert float(off.max()) < 0.02


@pytest.mark.parametrize(("module", "kind", "name"), chosen(EXPORTED))
def test_onnx_gives_the_same_crops(module: str, kind: str, name: str, tmp_path: Path) -> None:
    """For any number of images, another than it was exported with."""
    model, U = MODULES[module](kind, name), torch.rand(2, 3, HEIGHT, WIDTH)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter's own
        batch = ({0: torch.export.Dim.DYNAMIC},)
        torch.onnx.export(model, (U,), tmp_path / "model.onnx", dynamo=True, dynamic_shapes=batch, verbose=False)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    other = torch.rand(3, 3, HEIGHT, WIDTH)
    got = session.run(None, {session.get_inputs()[0].name: other.numpy()})
    with torch.no_grad():
        expected = tensors(model(other))
    assert len({tuple(theta.tolist()) for theta in expected[-1].flatten(0, -2)}) > 1  # it looks at the images
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, b.numpy(), atol=1e-4)


def test_every_part_has_its_turn_in_every_run() -> None:
    for cases in (EXPORTED, COMPILED):
        assert cases <= set(MATRIX)
        assert {kind for _, kind, _ in cases} == set(F_LOCS)
    assert {name for _, _, name in COMPILED} == set(TRANSFORMS)
    assert {module for module, _, _ in COMPILED} == set(MODULES)


def test_a_transformer_in_five_lines() -> None:
    transform = by_name("thin_plate_spline")
    model = SpatialTransformer(CnnLocalisation(transform, channels=1), transform, (28, 28))
    crops, theta = model(torch.rand(8, 1, 60, 60))
    assert (crops.shape, theta.shape) == ((8, 1, 28, 28), (8, 32))
