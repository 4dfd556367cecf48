"""Outlines in pixels: a blurred score map and an image with a clear edge give the edge."""

from __future__ import annotations

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from stn_cli.coloc.search.outline import outline, without_specks
from stn_cli.geometry import Frame, box_iou


def scene(x: int, y: int, side: int = 96) -> tuple[np.ndarray, torch.Tensor, torch.Tensor]:
    """A green rectangle of 30 x 40 on grey noise; its box, normalised, and a score map of 12 x 12 cells that is much too wide."""
    rng = np.random.default_rng(x * 100 + y)
    image = rng.integers(90, 130, (side, side, 3), np.uint8)
    image[y : y + 40, x : x + 30] = (30, 180, 60)
    box = torch.tensor([x, y, x + 30, y + 40]) * (2.0 / side) - 1
    mask = np.zeros((side, side), np.float32)
    mask[y - 6 : y + 46, x - 6 : x + 36] = 1
    blurred = cv2.GaussianBlur(mask, (0, 0), 6)
    return image, box, F.adaptive_avg_pool2d(torch.from_numpy(blurred)[None], 12)[0]


def test_an_outline_ends_where_the_colour_does() -> None:
    parts = [scene(20, 24), scene(44, 30), scene(30, 40)]
    pixels = np.stack([p[0] for p in parts])
    truth, margins = torch.stack([p[1] for p in parts]), torch.stack([p[2] for p in parts])
    windows = truth + torch.tensor([-0.15, -0.15, 0.15, 0.15])
    found = outline(pixels, [Frame(96, 96, 96)] * 3, windows, margins, 0.3)
    before, after = box_iou(windows, truth), box_iou(found, truth)
    assert bool((after > before + 0.15).all())
    again = outline(pixels, [Frame(96, 96, 96)] * 3, windows, margins, 0.3, workers=1)
    assert torch.equal(again, found)  # the same on any number of threads


def test_where_nothing_can_be_outlined_the_window_stays() -> None:
    grey = np.full((1, 64, 64, 3), 128, np.uint8)
    window = torch.tensor([[-0.5, -0.5, 0.5, 0.5]])
    maps = torch.zeros((1, 8, 8))
    found = outline(grey, [Frame(64, 64, 64)], window, maps, 0.5)
    assert torch.equal(found, window)
    maps[:, 2:6, 2:6] = 1
    assert bool(outline(grey, [Frame(64, 64, 64)], window, maps, 0.5).isfinite().all())


def test_the_part_beside_a_panorama_is_not_looked_at() -> None:
    letterbox = np.zeros((1, 64, 64, 3), np.uint8)
    rng = np.random.default_rng(0)
    letterbox[0, 24:40] = rng.integers(100, 120, (16, 64, 3))
    letterbox[0, 28:36, 20:30] = (200, 40, 40)
    truth = torch.tensor([[20, 28, 30, 36]]) / 32.0 - 1
    window = torch.tensor([[18, 26, 32, 38]]) / 32.0 - 1
    maps = torch.zeros((1, 16, 16))
    maps[:, 6:10, 4:8] = 1
    found = outline(letterbox, [Frame(400, 100, 64)], window, maps, 0.5)
    assert float(box_iou(found, truth)) > float(box_iou(window, truth))


def test_specks_go_and_parts_stay() -> None:
    mask = np.zeros((40, 40), np.uint8)
    mask[5:20, 5:20] = 1
    mask[25:33, 25:33] = 1
    mask[36:39, 2:5] = 1
    mask[1, 30] = 1
    kept = without_specks(mask)
    assert kept is not None
    assert int(kept.sum()) == 15 * 15 + 8 * 8
    assert without_specks(np.zeros((10, 10), np.uint8)) is None
