from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from stn_cli.coloc.crops import cut, random_boxes, turned_crops
from stn_cli.coloc.score.kinds import find_kinds
from stn_cli.coloc.search.choose import tighten
from stn_cli.coloc.search.rigid import search_rigid
from stn_cli.coloc.search.square_windows import square_windows
from stn_cli.coloc.search.visual_words import search_words
from stn_cli.coloc.search.windows import inside_mask, largest_windows, lay_out, otsu, quantile
from stn_cli.encoders import GradientEncoder, embed_crops
from stn_cli.geometry import Frame, box_iou
from stn_cli.media.cache import Cache, build_cache, letterbox_side
from stn_cli.media.scan import scan
from stn_cli.runs.config import TrainConfig
from tests.conftest import SHARED, make_folder

CPU = torch.device("cpu")


def as_cache(pictures: list[np.ndarray]) -> Cache:
    h, w = pictures[0].shape[:2]
    assert h == w
    return Cache(np.stack(pictures), [Frame(w, h, w)] * len(pictures), [str(i) for i in range(len(pictures))], [], [])


def planted_glyphs(count: int = 24, side: int = 64) -> tuple[Cache, torch.Tensor]:
    """A grey glyph of 22 pixels among strokes: colourless, so that only its layout tells it."""
    rng = np.random.default_rng(0)
    pictures, boxes = [], []
    for _ in range(count):
        letterbox = np.zeros((side, side), np.uint8)
        for _ in range(8):
            p, q = rng.integers(0, side, 2), rng.integers(-6, 7, 2)
            cv2.line(letterbox, tuple(map(int, p)), tuple(map(int, p + q)), 255, 2)
        x, y = (int(v) for v in rng.integers(0, side - 22, 2))
        cv2.putText(letterbox, "S", (x + 2, y + 20), cv2.FONT_HERSHEY_DUPLEX, 0.8, 255, 2)
        pictures.append(letterbox[..., None].repeat(3, 2))
        boxes.append([x, y, x + 22, y + 22])
    return as_cache(pictures), torch.tensor(boxes) * (2 / side) - 1


def test_a_rigid_thing_is_found_with_its_size() -> None:
    cache, truth = planted_glyphs()
    (result,) = find_kinds(cache, GradientEncoder(), TrainConfig(), CPU)
    assert result.kind == "rigid"
    right = (box_iou(result.boxes[:, 0], truth) > 0.5).float().mean()
    assert float(right) >= 0.9
    assert len(result.curve) > 10


def test_a_deformable_thing_is_found_with_its_size(tmp_path: Path) -> None:
    truth = make_folder(tmp_path, 24)
    files = scan(tmp_path / "images").images
    cache = build_cache(files, letterbox_side(files, 128))
    (result,) = find_kinds(cache, GradientEncoder(), TrainConfig(search="deformable"), CPU)
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


def test_windows_keep_to_the_image_on_its_letterbox() -> None:
    image = torch.rand(1, 3, 64, 64)
    rectangle = torch.tensor([[-1.0, -0.5, 1.0, 0.5]])
    found = square_windows(GradientEncoder(), image, rectangle, 0.3)
    boxes, angles = found.poses(found.inside[0].nonzero()[:, 0])
    assert not bool(angles.any())
    assert len(boxes) > 0
    assert float(boxes[:, 1].min()) >= -0.54
    assert float(boxes[:, 3].max()) <= 0.54
    assert not bool(square_windows(GradientEncoder(), image, rectangle, 0.8).inside.any())  # no such window fits


def test_turned_windows_embed_as_turned_crops() -> None:
    """The quick way (turn the image, take every window) and the plain one (cut a turned crop) agree."""
    torch.manual_seed(0)
    image = torch.nn.functional.interpolate(torch.rand(1, 3, 12, 12), size=(96, 96), mode="bicubic").clamp(0, 1)
    rectangle = torch.tensor([[-1.0, -1, 1, 1]])
    encoder = GradientEncoder()
    found = square_windows(encoder, image, rectangle, 32 / 96, scale=1.0, angles=(0.0, math.pi / 2, 0.7))
    chosen = found.inside[0].nonzero()[::9, 0]
    assert len(set(found.angles[chosen].tolist())) == 3
    boxes, angles = found.poses(chosen)
    crops = turned_crops(boxes[None], angles[None])
    plain = embed_crops(encoder, cut(image, crops, encoder.patch)[0])
    match = torch.cosine_similarity(plain, found.take(torch.zeros_like(chosen), chosen))
    assert float(match.min()) > 0.97


def test_no_window_fits_gives_nothing() -> None:
    rectangle = torch.tensor([[-1.0, -0.05, 1.0, 0.05]]).repeat(3, 1)
    assert search_rigid(GradientEncoder(), torch.rand(3, 3, 64, 64), rectangle, seed=0, sides=(0.5, 0.5)) is None


def test_largest_window_is_the_brute_force_one() -> None:
    torch.manual_seed(0)
    score_map = torch.randn(3, 12, 12) - 0.3
    score_map[:, 3:7, 4:9] += 2
    boxes, sums = largest_windows(score_map)
    for n in range(3):
        x1, y1, x2, y2 = boxes[n].tolist()
        assert float(sums[n]) == pytest.approx(float(score_map[n, y1:y2, x1:x2].sum()), abs=1e-3)
        h, w = y2 - y1, x2 - x1
        for y in range(12 - h + 1):
            for x in range(12 - w + 1):
                assert float(score_map[n, y : y + h, x : x + w].sum()) <= float(sums[n]) + 1e-3


def test_otsu_splits_two_groups() -> None:
    values = torch.cat([torch.randn(500) * 0.1, torch.randn(300) * 0.1 + 3])
    threshold = float(otsu(values))
    assert 0.2 < threshold < 2.8


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("count", [1, 7, 12])
def test_quantiles_are_torchs(share: float, count: int) -> None:
    values = torch.randn((3, count), generator=torch.Generator().manual_seed(count))
    torch.testing.assert_close(quantile(values, share), values.quantile(share, -1))


def test_border_band_and_validity() -> None:
    cells = lay_out((16, 16), torch.tensor([[-1.0, -0.5, 1.0, 0.5]]))
    assert int(cells.valid.sum()) == 16 * 8
    assert bool(cells.border[0, 4].all())
    assert not bool(cells.border[0, 8, 8])
    assert bool(inside_mask(torch.tensor([[2, 3, 5, 9]]), (16, 16))[0, 3:9, 2:5].all())


def test_random_boxes_lie_inside_and_have_the_asked_size() -> None:
    rectangles = torch.tensor([[-1.0, -0.5, 1.0, 0.5], [-0.2, -1.0, 0.2, 1.0]])
    boxes = random_boxes(rectangles, 200, torch.tensor([0.6, 0.6]), torch.Generator().manual_seed(0))
    assert bool((boxes[..., :2] >= rectangles[:, None, :2] - 1e-6).all())
    assert bool((boxes[..., 2:] <= rectangles[:, None, 2:] + 1e-6).all())
    torch.testing.assert_close(boxes[0, :, 2:] - boxes[0, :, :2], torch.full((200, 2), 0.6))
    torch.testing.assert_close(boxes[1, :, 2] - boxes[1, :, 0], torch.full((200,), 0.4))  # cut down to the image


def test_tightened_boxes_keep_their_centres() -> None:
    out = tighten(torch.tensor([[-1.0, -0.5, 1.0, 0.5]]), 0.5)
    assert out.tolist() == [[-0.5, -0.25, 0.5, 0.25]]


@pytest.mark.skipif(not (SHARED / "data/photos").is_dir(), reason="the photo sets for measuring are not here")
@pytest.mark.parametrize(("name", "least"), [("bccd_wbc", 85), ("foda_hammer", 45)])
def test_photographs(name: str, least: float) -> None:
    """The search by words on real photographs; the figures of the whole training are those of benchmarks/gradient_photos.py."""
    import json

    folder = SHARED / "data/photos" / name
    truth = json.loads((folder / "boxes.json").read_text())
    files = scan(folder / "images").images
    cache = build_cache(files, letterbox_side(files, 128))
    encoder = GradientEncoder()
    appearance = encoder.maps(cache.batch(torch.arange(len(cache)), CPU))
    found = search_words(encoder, appearance, cache.rectangles(), seed=0)
    right = 0
    for box, frame, file in zip(found.boxes, cache.frames, cache.names, strict=True):
        true = frame.boxes_to_letterbox(torch.tensor(truth[file]).float())
        right += float(box_iou(box, true).max()) > 0.5
    assert 100 * right / len(cache) >= least
