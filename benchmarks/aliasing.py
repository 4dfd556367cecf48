"""Aliasing of reduction, measured: a zone plate of 512 pixels read at 128 and at 64, by the sampler alone and by the pyramid.

    python -m benchmarks.aliasing

A zone plate holds every frequency. What the small picture can show should be there; what it cannot show should be grey: whatever
is seen there is false. The number is the false contrast: its root mean square where the pattern is finer than 1.2 times the
output's limit, as a share of the pattern's own. Beside it, what is lost where the pattern is coarser than half the limit.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that it also runs as a file

from benchmarks.common import parser
from benchmarks.provenance import ROOT, SAMPLER, begin, save
from stn_cli.stn import Pyramid, by_name, sample, sample_reduced

SIDE = 512
PICTURE = ROOT / "docs" / "figures" / "zone_plate.png"


def zone_plate() -> tuple[Tensor, Tensor]:
    """cos of a phase whose frequency grows with the distance from the middle, up to the limit at the border.

    Returns:
        The picture (1, 1, S, S) in [0, 1], and its cycles per pixel (S, S).
    """
    at = torch.arange(SIDE) - (SIDE - 1) / 2
    r2 = at[:, None] ** 2 + at**2
    frequency = r2.sqrt() / SIDE  # 0.5 at the middle of a side
    return (0.5 + 0.5 * torch.cos(torch.pi * r2 / SIDE))[None, None], frequency


def main() -> None:
    parser(__doc__).parse_args()
    U, frequency = zone_plate()
    affine = by_name("affine")
    rows, panels = {}, []
    begin()
    print(f"{'read as':34} {'false, %':>9} {'lost, %':>8}")
    for small in (128, 64):
        grid = affine.grid(affine.identity()[None], (small, small))
        seen = sample(frequency[None, None], grid)[0, 0] * SIDE / small  # cycles per output pixel
        fine, coarse = (seen > 0.6) & (seen < 0.5 * SIDE / small), seen < 0.25
        ways = {
            "bilinear": sample(U, grid),
            "bicubic": sample(U, grid, kernel="bicubic"),
            "pyramid": sample_reduced(Pyramid(U), grid[:, None])[:, 0],
            "OpenCV INTER_AREA": torch.from_numpy(cv2.resize(U[0, 0].numpy(), (small, small), interpolation=cv2.INTER_AREA))[
                None, None
            ],
        }
        own = sample(U - 0.5, grid, kernel="integer")[0, 0]
        for name, V in ways.items():
            v = V[0, 0] - 0.5
            false = float(v[fine].square().mean().sqrt() / own[fine].square().mean().sqrt())
            kept = float(v[coarse].square().mean().sqrt() / own[coarse].square().mean().sqrt())
            rows[f"{small}, {name}"] = {"false": round(100 * false, 1), "lost": round(100 * (1 - kept), 1)}
            print(f"{SIDE} -> {small:3}, {name:22} {100 * false:9.1f} {100 * (1 - kept):8.1f}")
            if small == 128 and name in ("bilinear", "pyramid"):
                panels.append(np.kron(V[0, 0].clamp(0, 1).numpy(), np.ones((2, 2))))
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    gap = np.ones((256, 8))
    cv2.imwrite(str(PICTURE), (255 * np.concatenate([panels[0], gap, panels[1]], 1)).astype(np.uint8))
    save("aliasing", {"rows": rows}, SAMPLER, seeds=())


if __name__ == "__main__":
    main()
