"""docs/transformers.md is run, and names what there is."""

from __future__ import annotations

import re

import torch

from stn_cli.cli import train_flags as command
from stn_cli.stn import KERNELS, TRANSFORMS, TRANSFORMS_3D
from tests.conftest import ROOT

TEXT = (ROOT / "docs" / "transformers.md").read_text()


def test_help_names_every_transformation() -> None:
    assert set(command.TRANSFORMS) == set(TRANSFORMS)


def test_every_transformation_and_kernel_is_shown() -> None:
    for name in TRANSFORMS | TRANSFORMS_3D:
        assert f"`{name}`" in TEXT
        assert f"figures/{name}.png" in TEXT
    for name in KERNELS:
        assert f"`{name}`" in TEXT
    for picture in re.findall(r"\((figures/\w+\.png)\)", TEXT):
        assert (ROOT / "docs" / picture).is_file(), picture


def test_the_five_lines_run() -> None:
    (block,) = re.findall(r"```python\n(.*?)```", TEXT, re.S)
    scope: dict[str, object] = {}
    exec(compile(block, "transformers.md", "exec"), scope)
    crops, theta = scope["crops"], scope["theta"]
    assert isinstance(crops, torch.Tensor)
    assert isinstance(theta, torch.Tensor)
    assert crops.shape == (8, 1, 28, 28)
    assert theta.shape == (8, 32)
