"""The fused kernel of an accelerator, read by Triton's interpreter on the CPU, against the reads that it replaces."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from stn_cli.stn.reduction import has_triton

CHECK = """
import torch
from stn_cli.stn import Pyramid, affine_grid, reduction
torch.manual_seed(0)
worst = {}
for dtype, bar in ((torch.float32, 1e-5), (torch.float16, 2e-3), (torch.bfloat16, 2e-2)):
    U = torch.rand(2, 3, 21, 30).to(dtype)
    scale = torch.tensor([[0.15, 0.5, 1.0], [0.3, 0.8, 1.3]])  # one level, two levels, the last level, outside
    matrix = torch.cat([torch.diag_embed(scale[..., None].expand(2, 3, 2)), 0.2 * torch.rand(2, 3, 2, 1)], -1)
    given = torch.randn(2, 3, 3, 5, 7).to(dtype)
    seen = []
    for read in (reduction._read, reduction._read_fused):
        u, grid = U.clone().requires_grad_(), affine_grid(matrix, (5, 7))
        grid = (grid if dtype == torch.float32 else grid.contiguous()).requires_grad_()  # coordinates apart, and together
        pyramid = Pyramid(u)
        V = read(pyramid, grid)
        assert V.dtype == dtype and V.shape == (2, 3, 3, 5, 7)
        seen.append((V.detach(), *torch.autograd.grad(V, (u, grid), given)))
    rho = reduction._source_pixels_per_step(grid.detach(), pyramid.size)
    assert float(rho.max()) >= 4 and float(rho.min()) < 2 and float(seen[0][2].abs().max()) > 1
    for name, mine, theirs in zip(("values", "of the images", "of the grid"), seen[1], seen[0]):
        off = float((mine.float() - theirs.float()).abs().max() / theirs.float().abs().max())
        assert off < bar, (dtype, name, off)
"""


@pytest.mark.skipif(not has_triton(), reason="Triton is not installed")
def test_fused_reading_equals_the_reads_it_replaces() -> None:
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    done = subprocess.run(
        [sys.executable, "-c", CHECK], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
