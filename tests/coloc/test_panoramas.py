"""Pictures that are thinner than a cell of the maps they are searched on."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from stn_cli.coloc.model.finder import cells_inside
from stn_cli.coloc.model.localiser import Localiser
from stn_cli.coloc.search.layout import lay_out
from stn_cli.coloc.train.run import train
from stn_cli.geometry import Frame
from stn_cli.runs.config import TrainConfig
from tests.conftest import QUICK, make_image, write_image


def strip(seed: int, width: int, height: int) -> np.ndarray:
    """A yellow disc somewhere along a strip of noise, lying or standing."""
    rng = np.random.default_rng(seed)
    long, short = max(width, height), min(width, height)
    image = rng.integers(60, 150, (short, long, 1), np.uint8).repeat(3, 2)
    cv2.circle(image, (int(rng.integers(short, long - short)), short // 2), max(1, short // 2 - 1), (220, 200, 20), -1)
    return image if width > height else image.transpose(1, 0, 2)


@pytest.mark.parametrize("encoder", ["small", "gradient"])
@pytest.mark.parametrize(
    ("width", "height"),
    [
        (1500, 60),  # from a phone
        (60, 1500),
        (1080, 60),  # 18 to 1
        (2500, 10),  # a line of pixels on the letterbox
    ],
)
def test_case_R_very_wide_and_tall_pictures_train(tmp_path: Path, encoder: str, width: int, height: int) -> None:
    for n in range(5):
        write_image(tmp_path / "images" / f"{n}.png", strip(n, width, height))
    config = TrainConfig(**{**QUICK, "steps": 4, "finetune": 2, "imgsz": 128}, encoder=encoder)
    result = train(tmp_path / "images", tmp_path / "run", config)
    assert result.images == 5
    found = Localiser.load(tmp_path / "run").localise(tmp_path / "images/0.png")
    x1, y1, x2, y2 = found.box
    assert 0 <= x1 < x2 <= width
    assert 0 <= y1 < y2 <= height


def test_case_R_a_panorama_among_other_pictures(tmp_path: Path) -> None:
    for n in range(8):
        write_image(tmp_path / "images" / f"{n}.png", strip(n, 1500, 60) if n < 2 else make_image(n)[0])
    train(tmp_path / "images", tmp_path / "run", TrainConfig(**{**QUICK, "steps": 4, "finetune": 2}))


@pytest.mark.parametrize("size", [(1500, 60), (60, 1500), (10_000, 3), (9_000, 12_000)])
@pytest.mark.parametrize("cells", [16, 24, 26])
def test_every_picture_has_cells(size: tuple[int, int], cells: int) -> None:
    rectangle = torch.tensor([Frame(*size, 208).rectangle])
    layout = lay_out((cells, cells), rectangle)
    assert bool(layout.valid.any())
    assert float(layout.off_centre.max()) <= 2
    inside = cells_inside(rectangle, (cells, cells))
    assert bool(inside.any())
    along = -1 if size[0] > size[1] else -2
    assert int(layout.valid.any(along - 1 if along == -1 else -1).sum()) == cells  # its whole length counts
