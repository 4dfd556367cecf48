"""The paper's experiments run, quickly; their full tables are in benchmarks/results."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.conftest import ROOT, SHARED

needs_mnist = pytest.mark.skipif(not (SHARED / "data" / "mnist").is_dir(), reason="MNIST is not part of the project")

# module, arguments, and a word of each row that its table must have
QUICK = [
    ("benchmarks.paper.table1", ["R", "TC", "--device", "cpu"], ["ST-CNN affine", "ST-FCN thin_plate_spline"]),
    ("benchmarks.paper.table4", ["ST-FCN affine", "2 x ST-FCN thin_plate_spline", "--device", "cpu"], ["2 x ST-FCN"]),
    ("benchmarks.paper.volume", ["--device", "cpu"], ["flattened only", "found, turned and flattened"]),
    pytest.param("benchmarks.paper.rotated", ["3"], ["similarity", "box"], marks=pytest.mark.slow),
]


@needs_mnist
@pytest.mark.parametrize(("module", "arguments", "rows"), QUICK, ids=lambda v: v if isinstance(v, str) else "")
def test_quick(module: str, arguments: list[str], rows: list[str]) -> None:
    command = [sys.executable, "-m", module, *arguments, "--quick"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=None)
    assert done.returncode == 0, done.stderr
    for row in rows:
        assert row in done.stdout


def test_the_sampler_benchmark_runs() -> None:
    command = [sys.executable, "-m", "benchmarks.sampler", "--quick"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "grid thin_plate_spline" in done.stdout
