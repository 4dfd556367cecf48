"""The fused kernel of an accelerator, read by Triton's interpreter on the CPU, against the reads that it replaces."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from stn_cli.stn.reduction import has_triton

CHECK = """
import torch
from stn_cli.stn import Pyramid, affine_grid, by_name, reduction
from stn_cli.stn.footprint import reaches, footprints
torch.manual_seed(0)
matrix = torch.zeros(2, 3, 8)  # homographies: small, thin and turned, large and in perspective, outside
scale = torch.tensor([[0.15, 0.5, 1.0], [0.3, 0.8, 1.3]])
matrix[..., 0], matrix[..., 4], matrix[..., 1], matrix[..., 3] = scale, 0.4 * scale, -0.2 * scale, 0.5 * scale
matrix[..., 2::3] = 0.2 * torch.rand(2, 3, 2)
matrix[:, 1, 6], matrix[:, 2, 7] = 0.4, -0.3
given = torch.randn(2, 3, 3, 5, 7)
for dtype, bar in ((torch.float32, 1e-5), (torch.float16, 2e-3), (torch.bfloat16, 2e-2)):
    U, seen = torch.rand(2, 3, 61, 90).to(dtype), []
    for read in (lambda p, g: reduction._read(p, g, "border"), reduction._read_fused):
        u, grid = U.clone().requires_grad_(), by_name("projective").grid(matrix, (5, 7))
        grid = (grid if dtype == torch.float32 else grid.contiguous()).requires_grad_()  # coordinates apart, and together
        pyramid = Pyramid(u)
        V = read(pyramid, grid)
        assert V.dtype == dtype and V.shape == (2, 3, 3, 5, 7)
        seen.append((V.detach(), *torch.autograd.grad(V, (u, grid), given.to(dtype))))
    prints = footprints(grid, pyramid.size, pyramid.count, each=True)
    assert len(prints.level.unique()) >= 3 and len(prints.count[0].unique()) >= 5 and len(prints.count[1].unique()) == 2
    assert torch.equal(reaches(grid, pyramid.size), prints.reach) and float(seen[0][2].abs().max()) > 1
    for name, mine, theirs in zip(("values", "of the images", "of the grid"), seen[1], seen[0]):
        off = float((mine.float() - theirs.float()).abs().max() / theirs.float().abs().max())
        print(dtype, name, off)
        assert off < bar, (dtype, name, off)
"""


@pytest.mark.skipif(not has_triton(), reason="Triton is not installed")
def test_fused_reading_equals_the_reads_it_replaces() -> None:
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    done = subprocess.run(
        [sys.executable, "-c", CHECK], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
