"""Every grid and sampler beside torch's and kornia's, in one run on one machine: microseconds, and ours as a ratio to the faster rival.

    python -m benchmarks.sampler [--device cpu] [--quick]

A grid is theta -> source coordinates; a sampler reads a picture at given coordinates; forward, and forward with backward. Where no rival has the
operation its column is empty.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kornia
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.benchmark import Timer

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that it also runs as a file

from benchmarks.common import parser
from benchmarks.provenance import SAMPLER, begin, save, version
from stn_cli.stn import TRANSFORMS, TRANSFORMS_3D, Pyramid, ThinPlateSpline, base_grid, by_name, sample, sample_reduced
from stn_cli.stn.transforms.thin_plate_spline import radial

B, C, H, W = 32, 3, 64, 64


def microseconds(f: Callable[[], Any], least: float) -> float:
    """Median over blocks; the first call warms up."""
    f()
    timer = Timer("f()", globals={"f": f}, num_threads=torch.get_num_threads())
    return timer.blocked_autorange(min_run_time=least).median * 1e6


def with_backward(f: Callable[..., Tensor], *inputs: Tensor) -> Callable[[], Any]:
    """The call and its gradients."""
    leaves = [x.clone().requires_grad_() for x in inputs]

    def both() -> None:
        torch.autograd.grad(f(*leaves).sum(), leaves, allow_unused=True)

    return both


def grid_cases(device: str) -> dict[str, tuple[Callable[[Tensor], Tensor], dict[str, Callable[[Tensor], Tensor]], Tensor]]:
    """name -> (ours, rivals, theta)."""
    cases = {}
    lattice = base_grid((H, W), device=device)
    for name in TRANSFORMS | TRANSFORMS_3D:
        transform = by_name(name)
        transform = transform.to(device) if isinstance(transform, torch.nn.Module) else transform
        size = (H, W) if transform.dims == 2 else (16, 16, 16)
        theta = transform.identity().to(device).repeat(B, 1) + 0.01 * torch.randn(B, transform.theta_dim, device=device)
        rivals: dict[str, Callable[[Tensor], Tensor]] = {}
        if transform.matrix(theta).shape[-2:] == (transform.dims, transform.dims + 1):
            rivals["torch"] = lambda t, g=transform, s=size: F.affine_grid(g.matrix(t), [B, 1, *s], align_corners=False)
        if name in ("affine", "projective"):

            def by_kornia(t: Tensor, name: str = name) -> Tensor:
                h = torch.cat([t, t.new_tensor([0, 0, 1]).expand(B, 3) if name == "affine" else t.new_ones(B, 1)], 1).view(
                    B, 3, 3
                )
                points = lattice.view(1, -1, 2).expand(B, -1, -1)
                return kornia.geometry.linalg.transform_points(h, points).view(B, H, W, 2)

            rivals["kornia"] = by_kornia
        if name == "thin_plate_spline":
            rivals["kornia"] = _kornia_spline(device, lattice)
        cases[name] = (lambda t, g=transform, s=size: g.grid(t, s), rivals, theta)
    return cases


def _kornia_spline(device: str, lattice: Tensor) -> Callable[[Tensor], Tensor]:
    spline = ThinPlateSpline()
    c = spline.control_points(lattice)
    n = len(c)
    top = torch.cat([radial(c, c), torch.ones(n, 1, device=device), c], 1)
    bottom = torch.cat([torch.ones(1, n, device=device), c.T]).new_zeros(3, n + 3)
    bottom[:, :n] = top[:, n:].T
    inverse = torch.linalg.inv(torch.cat([top, bottom]))[:, :n]  # solved once, outside of the measured call

    def spline_grid(t: Tensor) -> Tensor:
        solved = (inverse @ t.view(B, 2, n).transpose(1, 2)).contiguous()
        points = lattice.view(1, -1, 2).expand(B, -1, -1)
        out = kornia.geometry.transform.warp_points_tps(points, c.expand(B, -1, -1), 2 * solved[:, :n], solved[:, n:])
        return out.view(B, H, W, 2)

    return spline_grid


def sampler_cases(device: str) -> dict[str, tuple[Callable[..., Tensor], dict[str, Callable[..., Tensor]], tuple[Tensor, ...]]]:
    """name -> (ours, rivals, inputs)."""
    U = torch.rand(B, C, H, W, device=device)
    theta = torch.tensor([0.8, 0.1, 0.01, -0.1, 0.8, 0.02], device=device).repeat(B, 1)
    grid = by_name("affine").grid(theta, (H, W)).contiguous()
    volume = torch.rand(8, 2, 24, 24, 24, device=device)
    deep = by_name("affine3d").grid(by_name("affine3d").identity().to(device).repeat(8, 1) * 0.9, (24, 24, 24)).contiguous()
    cases: dict[str, Any] = {}
    for kernel, mode in (
        ("bilinear", "bilinear"),
        ("integer", "nearest"),
        ("bicubic", "bicubic"),
        ("lanczos", ""),
        ("gaussian", ""),
    ):
        for padding in ("zeros", "border", "reflection"):
            rivals = {}
            if mode:
                rivals["torch"] = lambda u, g, m=mode, p=padding: F.grid_sample(
                    u, g, mode=m, padding_mode=p, align_corners=False
                )
            if mode in ("bilinear", "nearest"):
                rivals["kornia"] = lambda u, g, m=mode, p=padding: _kornia_remap(u, g, m, p)
            ours = lambda u, g, k=kernel, p=padding: sample(u, g, kernel=k, padding=p)  # noqa: E731
            cases[f"{kernel}, {padding}"] = (ours, rivals, (U, grid))
    maps = torch.rand(B, 16, H, W, device=device)
    for kernel, mode in (("bilinear", "bilinear"), ("integer", "nearest")):
        rivals = {"torch": lambda u, g, m=mode: F.grid_sample(u, g, mode=m, align_corners=False)}
        cases[f"{kernel}, 16 channels"] = (lambda u, g, k=kernel: sample(u, g, kernel=k), rivals, (maps, grid))
    for kernel, mode in (("trilinear", "bilinear"), ("integer", "nearest")):
        rivals = {"torch": lambda u, g, m=mode: F.grid_sample(u, g, mode=m, align_corners=False)}
        cases[f"{kernel}, volume"] = (lambda u, g, k=kernel: sample(u, g, kernel=k), rivals, (volume, deep))
    cases["reduced 4 x"] = (lambda u, g: sample_reduced(Pyramid(u), g[:, None, ::4, ::4], padding="border"), {}, (U, grid))
    return cases


def _kornia_remap(u: Tensor, g: Tensor, mode: str, padding: str) -> Tensor:
    x, y = (g[..., 0] + 1) * (W / 2) - 0.5, (g[..., 1] + 1) * (H / 2) - 0.5
    return kornia.geometry.transform.remap(u, x, y, mode=mode, padding_mode=padding, align_corners=True)


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--device", default="cpu")
    arguments.add_argument("--quick", action="store_true")
    options = arguments.parse_args()
    least = 0.02 if options.quick else 0.4
    torch.manual_seed(0)
    rows: dict[str, dict[str, float | None]] = {}
    begin()
    print(f"{'':34} {'ours':>9} {'torch':>9} {'kornia':>9} {'ratio':>6}   {'+backward':>9} {'rival':>9} {'ratio':>6}")
    cases: dict[str, Any] = {f"grid {k}": (o, r, (t,)) for k, (o, r, t) in grid_cases(options.device).items()}
    cases |= {f"sample {k}": v for k, v in sampler_cases(options.device).items()}
    for name, (ours, rivals, inputs) in cases.items():
        with torch.no_grad():
            mine = microseconds(lambda f=ours, x=inputs: f(*x), least)
            others = {k: microseconds(lambda f=f, x=inputs: f(*x), least) for k, f in rivals.items()}
        mine_back = microseconds(with_backward(ours, *inputs), least)
        others_back = {k: microseconds(with_backward(f, *inputs), least) for k, f in rivals.items()}
        row: dict[str, float | None] = {"ours": mine, "torch": others.get("torch"), "kornia": others.get("kornia")}
        row["ratio"] = mine / min(others.values()) if others else None
        row["ours_backward"], row["rival_backward"] = mine_back, min(others_back.values(), default=None)
        row["ratio_backward"] = mine_back / min(others_back.values()) if others_back else None
        rows[name] = {k: None if v is None else round(v, 2) for k, v in row.items()}
        cells = [f"{v:9.0f}" if v is not None else " " * 9 for v in (mine, row["torch"], row["kornia"])]
        ratio, ratio_back = (f"{v:6.2f}" if v else " " * 6 for v in (row["ratio"], row["ratio_backward"]))
        rival = f"{row['rival_backward']:9.0f}" if row["rival_backward"] else " " * 9
        print(f"{name:34} {' '.join(cells)} {ratio}   {mine_back:9.0f} {rival} {ratio_back}", flush=True)
    if not options.quick:
        versions = {"kornia": version("kornia")}
        save("sampler", {"device": options.device, "batch": [B, C, H, W], "microseconds": rows}, SAMPLER, versions=versions)


if __name__ == "__main__":
    main()
