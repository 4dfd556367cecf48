"""The sample data is whole, licensed, and of use: the real photographs among it are found by a short training from file to score."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from stn_cli.geometry import box_iou
from tests.conftest import ROOT

SAMPLES = ROOT / "sample_data"
FOLDERS = ["digits", "cups", "fish", "pelicans", "colony"]
PHOTOGRAPHS = ["fish", "pelicans", "colony"]

Truth = dict[str, list[list[float]]]


def truth_of(name: str) -> Truth:
    return json.loads((SAMPLES / name / "boxes.json").read_text())


def sizes_of(name: str) -> dict[str, tuple[int, int]]:
    sizes = {}
    for path in sorted((SAMPLES / name / "images").iterdir()):
        with Image.open(path) as image:
            image.load()
            sizes[path.name] = image.size
    return sizes


def centred(truth: Truth, sizes: dict[str, tuple[int, int]]) -> float:
    """CorLoc, percent, of a box in the middle whose size (a share of the image) suits the truth best."""
    shares = torch.arange(0.1, 1.01, 0.05)
    half = torch.stack(torch.meshgrid(shares, shares, indexing="ij"), -1).reshape(-1, 1, 2) / 2
    right = torch.zeros(len(half))
    for name, size in sizes.items():
        boxes = torch.cat([0.5 - half, 0.5 + half], -1) * torch.tensor(size).repeat(2)
        right += (box_iou(boxes, torch.tensor(truth[name]).float()[None]) > 0.5).any(1)
    return 100 * float(right.max()) / len(sizes)


@pytest.mark.parametrize("name", FOLDERS)
def test_truth_and_images_go_together(name: str) -> None:
    truth, sizes = truth_of(name), sizes_of(name)
    assert list(truth) == sorted(sizes)
    assert len(truth) >= 28
    for file, (w, h) in sizes.items():
        assert truth[file], file
        assert all(0 <= x1 < x2 <= w and 0 <= y1 < y2 <= h for x1, y1, x2, y2 in truth[file]), file


def test_a_folder_has_several_objects_in_most_images() -> None:
    counts = [len(boxes) for boxes in truth_of("colony").values()]
    assert sum(n > 1 for n in counts) >= 0.7 * len(counts)


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_photographs_have_a_licence(name: str) -> None:
    text = (SAMPLES / name / "LICENCE.md").read_text()
    if name == "fish":
        assert all(f"| {file} |" in text for file in truth_of(name))
    else:
        assert "MIT License" in text


def test_photographs_are_small_enough_for_a_clone() -> None:
    assert sum(p.stat().st_size for name in PHOTOGRAPHS for p in (SAMPLES / name).rglob("*") if p.is_file()) < 2.5e6


def test_a_short_training_finds_pelicans(tmp_path: Path, cli: Callable[..., tuple[int, str, str]]) -> None:
    """From photographs to a score: well above what a box in the middle has by luck."""
    source, run, boxes = SAMPLES / "pelicans", tmp_path / "run", tmp_path / "boxes"
    flags = ("--steps", 160, "--finetune", 4, "--imgsz", 64, "--batch", 8, "--no-report")
    assert cli("train", source / "images", "-o", run, *flags)[0] == 0
    assert cli("localise", "-m", run, "-o", boxes)[0] == 0
    code, out, _ = cli("evaluate", boxes / "boxes.json", source / "boxes.json", "--json")
    assert code == 0
    assert json.loads(out)["corloc"] > centred(truth_of("pelicans"), sizes_of("pelicans")) + 8
