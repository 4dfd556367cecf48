"""What reduction loses, measured: twenty warps of three pictures, against 16 x 16 samples of each output pixel.

    python -m benchmarks.warps

The error is the root mean square difference from the mean of 256 bilinear samples, spread evenly over the output pixel, as a share of the
pictures' range. Beside the pyramid stand the sampler alone, and what the pyramid did before: one level for a whole crop (trilinear filtering by
its longer axis). Times are of single calls on eight pictures, one thread: one crop of each with the making of the
pyramid, and fifty crops of each out of a pyramid that is there.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import fmean, median

import cv2
import torch
import torch.nn.functional as F
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that it also runs as a file

from benchmarks.common import parser
from benchmarks.provenance import ROOT, SAMPLER, begin, save
from stn_cli.stn import Pyramid, Transformation, by_name, sample, sample_reduced

SIDE, OUT = 256, (32, 32)
SAMPLES = 16
"""Along a side of an output pixel, of the reference."""
CROPS = 50
"""Of each picture, in the times of many."""
PHOTOGRAPH = ROOT / "sample_data" / "colony" / "images"
AFFINE = {  # half sides, angle in degrees, shear
    "whole image": (1.0, 1.0, 0, 0.0),
    "three quarters": (0.75, 0.75, 0, 0.0),
    "a half": (0.5, 0.5, 0, 0.0),
    "a sixth": (0.16, 0.16, 0, 0.0),
    "turned by 30": (0.7, 0.7, 30, 0.0),
    "turned by 45": (0.6, 0.6, 45, 0.0),
    "1 x 0.1": (0.95, 0.1, 0, 0.0),
    "0.1 x 1": (0.1, 0.95, 0, 0.0),
    "1 x 0.25": (0.95, 0.25, 0, 0.0),
    "0.5 x 1": (0.5, 0.95, 0, 0.0),
    "thin, turned by 30": (0.9, 0.15, 30, 0.0),
    "thin, turned by 45": (0.9, 0.2, 45, 0.0),
    "sheared by 0.5": (0.7, 0.5, 0, 0.5),
    "sheared by 1, turned": (0.6, 0.6, 17, 1.0),
}
PERSPECTIVE = {"perspective 0.3": (0.7, 0.3, 0.0), "perspective 0.7": (0.4, 0.6, 0.1), "perspective 0.9": (0.25, 0.2, 0.7)}
BENT = {
    "spline, little": ("thin_plate_spline", 0.1),
    "spline, much": ("thin_plate_spline", 0.3),
    "triangles": ("piecewise_affine", 0.25),
}


def warps() -> dict[str, tuple[Transformation, Tensor]]:
    """Name -> transformation and theta (theta_dim,)."""
    g = torch.Generator().manual_seed(0)
    out: dict[str, tuple[Transformation, Tensor]] = {}
    affine, projective = by_name("affine"), by_name("projective")
    for name, (sx, sy, angle, shear) in AFFINE.items():
        shape = torch.tensor([math.log(sx), math.log(sy), math.radians(angle), shear])
        out[name] = affine, affine.theta(torch.tensor([0.03, -0.02]), shape)
    for name, (side, p, q) in PERSPECTIVE.items():
        out[name] = projective, projective.theta(torch.zeros(2), torch.tensor([math.log(side)] * 2 + [0.1, 0.0, p, q]))
    for name, (kind, bend) in BENT.items():
        bending = by_name(kind)
        out[name] = bending, 0.8 * bending.unfolded(bending.identity() + bend * torch.randn(32, generator=g))
    return out


def pictures() -> dict[str, Tensor]:
    """Name -> picture (1, 3, SIDE, SIDE) in [0, 1]: a photograph, every frequency, and noise."""
    photograph = cv2.imread(str(sorted(PHOTOGRAPH.iterdir())[0]))
    assert photograph is not None
    small = cv2.resize(photograph, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    at = torch.arange(SIDE) - (SIDE - 1) / 2
    plate = 0.5 + 0.5 * torch.cos(torch.pi * (at[:, None] ** 2 + at**2) / SIDE)
    return {
        "photograph": torch.from_numpy(small).movedim(-1, 0)[None] / 255,
        "zone plate": plate.expand(1, 3, -1, -1),
        "noise": torch.rand(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0)),
    }


def supersampled(U: Tensor, transform: Transformation, theta: Tensor) -> Tensor:
    """The reference (B, C, *OUT)."""
    grid = transform.grid(theta, (OUT[0] * SAMPLES, OUT[1] * SAMPLES))
    return F.avg_pool2d(sample(U, grid.expand(len(U), -1, -1, -1), padding="border"), SAMPLES)


def halvings(U: Tensor) -> list[Tensor]:
    """The pyramid as pictures."""
    levels = [U]
    while min(levels[-1].shape[-2:]) >= 2:
        levels.append(F.avg_pool2d(levels[-1], 2, ceil_mode=True, count_include_pad=False))
    return levels


def one_level(U: Tensor, grid: Tensor) -> Tensor:
    """Trilinear filtering with one level for a whole crop, by the longer of its two mean steps: (B, C, h, w)."""
    levels = halvings(U)
    return between(levels, grid, level_of(levels, grid))


def level_of(levels: list[Tensor], grid: Tensor) -> float:
    """Of a whole crop, the same of each picture."""
    scale = grid.new_tensor([levels[0].shape[-1], levels[0].shape[-2]]) / 2
    steps = [(scale * (grid.select(axis, -1) - grid.select(axis, 0))).norm(dim=-1).mean() for axis in (-2, -3)]
    rho = max(float(s) / (n - 1) for s, n in zip(steps, (grid.shape[-2], grid.shape[-3]), strict=True))
    return min(max(math.log2(max(rho, 1.0)), 0.0), len(levels) - 1.0)


def between(levels: list[Tensor], grid: Tensor, height: float) -> Tensor:
    """Read from the two levels around a height."""
    low = int(height)
    near, far = (sample(levels[min(k, len(levels) - 1)], grid, padding="border") for k in (low, low + 1))
    return torch.lerp(near, far, height - low)


def reduced(U: Tensor, grid: Tensor) -> Tensor:
    """Ours, with the making of the pyramid: (B, C, h, w)."""
    return sample_reduced(Pyramid(U), grid[:, None])[:, 0]


WAYS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "bilinear": lambda U, grid: sample(U, grid, padding="border"),
    "one level": one_level,
    "footprints": reduced,
}


def errors() -> dict[str, dict[str, dict[str, float]]]:
    """Picture -> warp -> way -> error."""
    out: dict[str, dict[str, dict[str, float]]] = {}
    for picture, U in pictures().items():
        out[picture] = {}
        for name, (transform, theta) in warps().items():
            wanted, grid = supersampled(U, transform, theta), transform.grid(theta, OUT)[None]
            out[picture][name] = {way: float((f(U, grid) - wanted).square().mean().sqrt()) for way, f in WAYS.items()}
    return out


def milliseconds(f: Callable[[], object], rounds: int = 15) -> float:
    """Median of the processor's time."""
    times = []
    for _ in range(rounds + 1):
        begun = time.process_time()
        f()
        times.append(1e3 * (time.process_time() - begun))
    return median(times[1:])


def timed(U: Tensor, grid: Tensor) -> dict[str, float]:
    """Milliseconds of one crop of each picture in each way, and of many out of a pyramid that is there."""
    out = {f"ms, {way}": milliseconds(lambda f=f: f(U, grid)) for way, f in WAYS.items()}  # type: ignore[misc]
    levels, pyramid, many = halvings(U), Pyramid(U), grid[:, None].expand(-1, CROPS, -1, -1, -1)
    rows, height = many.flatten(1, 2), level_of(levels, grid)
    out["ms of many, bilinear"] = milliseconds(lambda: sample(U, rows, padding="border"))
    out["ms of many, one level"] = milliseconds(lambda: between(levels, rows, height))
    out["ms of many, footprints"] = milliseconds(lambda: sample_reduced(pyramid, many))
    return out


def main() -> None:
    parser(__doc__).parse_args()
    torch.set_num_threads(1)
    begin()
    found, U = errors(), torch.rand(8, 3, SIDE, SIDE)
    rows: dict[str, dict[str, float]] = {}
    print(f"{'':22}" + "".join(f"{p:>18}" for p in found) + f"{'one level':>12}{'footprints':>12}  ms")
    for name, (transform, theta) in warps().items():
        grid = transform.grid(theta, OUT).expand(8, -1, -1, -1)
        row = {f"{picture}, {way}": 100 * e for picture, said in found.items() for way, e in said[name].items()}
        row |= timed(U, grid)
        rows[name] = row
        print(f"{name:22}" + "".join(f"{row[f'{p}, one level']:9.2f}{row[f'{p}, footprints']:9.2f}" for p in found)
              + f"{row['ms, one level']:12.2f}{row['ms, footprints']:12.2f}", flush=True)  # fmt: skip
    mean = {key: fmean(row[key] for row in rows.values()) for key in next(iter(rows.values()))}
    ratios = {p: mean[f"{p}, footprints"] / mean[f"{p}, one level"] for p in found}
    print(f"mean: {mean}\nas shares of one level's: {ratios}, time {mean['ms, footprints'] / mean['ms, one level']:.2f}, "
          f"of many {mean['ms of many, footprints'] / mean['ms of many, one level']:.2f}")  # fmt: skip
    rounded = {name: {key: round(value, 3) for key, value in row.items()} for name, row in (rows | {"mean": mean}).items()}
    save("warps", {"rows": rounded}, SAMPLER)


if __name__ == "__main__":
    main()
