"""What is held at once: memory that goes back, and libraries that are not loaded."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from stn_cli.coloc.search.discriminant import Projection
from stn_cli.runtime.suppression import nms


@pytest.fixture(scope="module")
def measured() -> dict[str, Any]:
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("the peak is told by Linux only")
    env = os.environ | {"MALLOC_MMAP_THRESHOLD_": "1000000"}
    command = [sys.executable, "-m", "tests.runtime.peaks"]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True, env=env).stdout)


def test_suppression_loads_neither_torchvision_nor_the_compiler(measured: dict[str, Any]) -> None:
    assert measured["loaded"] == []


def test_features_of_a_set_are_held_twice_at_most(measured: dict[str, Any]) -> None:
    assert measured["features"] < 2.8  # with their views, which are a twelfth each; it was 5


def test_windows_of_a_set_are_held_once(measured: dict[str, Any]) -> None:
    assert measured["windows"] < 1.5  # with those of 8 images; it was 2


def test_projections_are_the_same_together_and_one_by_one() -> None:
    cells = torch.rand(500, 24, generator=torch.Generator().manual_seed(0))
    each = [Projection.of(cells, whiten, 6) for whiten in (0.0, 0.7)]
    for one, own in zip(Projection.several(cells.clone(), (0.0, 0.7), 6), each, strict=True):
        assert torch.equal(one.centre, own.centre)
        assert torch.equal(one.basis, own.basis)


def test_suppression_is_that_of_torchvision() -> None:
    from torchvision.ops import nms as whole

    generator = torch.Generator().manual_seed(0)
    corner, scores = 50 * torch.rand(300, 2, generator=generator), torch.rand(300, generator=generator)
    boxes = torch.cat([corner, corner + 5 + 20 * torch.rand(300, 2, generator=generator)], 1)
    for alike in (0.2, 0.5, 0.8):
        assert torch.equal(nms(boxes, scores, alike), whole(boxes, scores, alike))
