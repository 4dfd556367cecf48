"""The search as a training meets it: kinds with their scorers, sizes and labels."""

from __future__ import annotations

from pathlib import Path

import torch

from stn_cli.coloc.score.kinds import find_kinds
from stn_cli.coloc.score.scorers import RigidScorer, WordsScorer
from stn_cli.encoders import GradientEncoder
from stn_cli.geometry import box_iou
from stn_cli.media.cache import build_cache, letterbox_side
from stn_cli.media.scan import scan
from stn_cli.runs.config import TrainConfig
from tests.coloc.search.test_search import planted_glyphs
from tests.conftest import make_folder

CPU = torch.device("cpu")


def test_a_rigid_thing_is_found_with_its_size() -> None:
    cache, truth = planted_glyphs()
    (result,) = find_kinds(cache, GradientEncoder(), TrainConfig(), CPU)
    assert result.kind == "rigid"
    assert isinstance(result.scorer, RigidScorer)
    right = (box_iou(result.boxes[:, 0], truth) > 0.5).float().mean()
    assert float(right) >= 0.9
    assert len(result.curve) > 10


def test_a_deformable_thing_is_found_with_its_size(tmp_path: Path) -> None:
    truth = make_folder(tmp_path, 24)
    files = scan(tmp_path / "images").images
    cache = build_cache(files, letterbox_side(files, 128))
    (result,) = find_kinds(cache, GradientEncoder(), TrainConfig(search="deformable"), CPU)
    assert isinstance(result.scorer, WordsScorer)
    boxes = torch.stack(
        [f.boxes_to_letterbox(torch.tensor(truth[n][0]).float()) for f, n in zip(cache.frames, cache.names, strict=True)]
    )
    assert float((box_iou(result.boxes[:, 0], boxes) > 0.5).float().mean()) >= 0.9


def test_search_is_the_same_every_time_and_labels_images_it_did_not_see() -> None:
    cache, truth = planted_glyphs(30)
    config = TrainConfig(search="rigid", search_images=18)
    a, b = (find_kinds(cache, GradientEncoder(), config, CPU)[0] for _ in range(2))
    assert torch.equal(a.boxes, b.boxes)
    assert len(a.boxes) == 30
    assert float((box_iou(a.boxes[:, 0], truth) > 0.5).float().mean()) >= 0.85


def test_a_stated_size_is_kept() -> None:
    cache, _ = planted_glyphs(16)
    config = TrainConfig(size=(0.5, 0.6))
    boxes = find_kinds(cache, GradientEncoder(), config, CPU)[0].boxes[:, 0]
    longest = ((boxes[:, 2:] - boxes[:, :2]) / 2).amax(1)
    assert float(longest.min()) > 0.43
    assert float(longest.max()) < 0.64
