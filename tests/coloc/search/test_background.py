"""Fixed cameras: they are noticed where the place is the same, and only there; what moves is what differs, in any light."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from stn_cli.coloc.search import background as module
from stn_cli.coloc.search.background import Background, find_background, regions, relight
from stn_cli.coloc.search.camera_settings import CAMERAS
from stn_cli.coloc.search.cameras import Textures, groups
from stn_cli.geometry import Frame, box_iou

SIDE, RADIUS = 96, 10
FRAME = Frame(160, 120, SIDE)


def place(seed: int) -> Tensor:
    """A textured place (3, S, S) that no other seed has."""
    rough = torch.rand((1, 3, 16, 16), generator=torch.Generator().manual_seed(seed))
    return F.interpolate(rough, (SIDE, SIDE), mode="bicubic", align_corners=False)[0].clamp(0, 1) * 0.6 + 0.1


def frames(places: list[Tensor], seed: int = 0, noise: float = 0.01) -> tuple[Tensor, Tensor, Tensor]:
    """A yellow disc somewhere in each place, in a light of its own, with noise: letterboxes, outlines, and the disc's boxes."""
    draw = torch.Generator().manual_seed(seed)
    left, top, width, height = FRAME.content
    xs, ys = torch.meshgrid(torch.arange(SIDE) + 0.5, torch.arange(SIDE) + 0.5, indexing="xy")
    images, boxes = [], []
    for behind in places:
        x = left + RADIUS + float(torch.rand((), generator=draw)) * (width - 2 * RADIUS)
        y = top + RADIUS + float(torch.rand((), generator=draw)) * (height - 2 * RADIUS)
        disc = (xs - x).square() + (ys - y).square() < RADIUS**2
        image = torch.where(disc, torch.tensor([0.9, 0.8, 0.1])[:, None, None], behind)
        light = 0.7 + 0.4 * torch.rand((3, 1, 1), generator=draw)
        image = (image * light + noise * torch.randn(image.shape, generator=draw)).clamp(0, 1)
        image[:, :top] = image[:, top + height :] = 0
        images.append(image)
        boxes.append(torch.tensor([x - RADIUS, y - RADIUS, x + RADIUS, y + RADIUS]) * (2 / SIDE) - 1)
    return torch.stack(images), torch.tensor([FRAME.rectangle]).repeat(len(images), 1), torch.stack(boxes)


def best_region(maps: Tensor, truth: Tensor) -> Tensor:
    """The IoU of the best region of each image with the truth (B,)."""
    boxes, there = regions(maps)
    return (box_iou(boxes, truth[:, None]) * there).amax(1)


def test_a_disc_in_front_of_a_fixed_camera_is_what_differs() -> None:
    images, rectangles, truth = frames([place(1)] * 24)
    background = find_background(images, rectangles)
    assert background is not None
    assert float(background.share) == 1
    maps, known = background.difference(images, rectangles)
    assert bool(known.all())
    assert bool((best_region(maps, truth) > 0.6).all())
    again = find_background(images, rectangles)
    assert again is not None
    assert torch.equal(again.difference(images, rectangles)[0], maps)


def test_frames_that_were_not_there_are_known_and_another_place_is_not() -> None:
    background = find_background(*frames([place(1)] * 24)[:2])
    assert background is not None
    images, rectangles, truth = frames([place(1), place(2), place(1)], seed=7)
    maps, known = background.difference(images, rectangles)
    assert known.tolist() == [True, False, True]
    assert float(background.agreement(images, rectangles)[1]) < CAMERAS.known
    assert not maps[1].any()
    assert bool((best_region(maps, truth)[[0, 2]] > 0.6).all())


def test_different_photographs_have_no_background() -> None:
    assert find_background(*frames([place(i) for i in range(24)])[:2]) is None


def test_a_few_frames_of_a_camera_among_photographs_are_no_fixed_camera() -> None:
    assert find_background(*frames([place(0)] * 10 + [place(i) for i in range(1, 15)])[:2]) is None


def test_copies_of_one_image_have_nothing_that_moves() -> None:
    images, rectangles, _ = frames([place(1)])
    assert find_background(images.repeat(12, 1, 1, 1), rectangles.repeat(12, 1)) is None


def test_two_cameras_in_one_folder_have_a_background_each() -> None:
    images, rectangles, truth = frames([place(1 + i % 2) for i in range(30)])
    background = find_background(images, rectangles)
    assert background is not None
    assert len(background.pictures) == 2
    maps, known = background.difference(images, rectangles)
    assert bool(known.all())
    assert bool((best_region(maps, truth) > 0.6).all())


def test_images_of_another_shape_are_of_another_place() -> None:
    images, rectangles, _ = frames([place(1)] * 24)
    background = find_background(images, rectangles)
    assert background is not None
    upright = torch.tensor([Frame(120, 160, SIDE).rectangle])
    assert not background.difference(images[:1], upright)[1].any()


def test_a_background_is_stored_and_read() -> None:
    images, rectangles, _ = frames([place(1)] * 24)
    background = find_background(images, rectangles)
    assert background is not None
    other = Background(len(background.pictures))
    other.load_state_dict(background.state_dict())
    assert torch.equal(other.difference(images, rectangles)[0], background.difference(images, rectangles)[0])


def test_of_a_large_set_some_images_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CAMERAS", replace(CAMERAS, images=12))
    images, rectangles, truth = frames([place(1)] * 40)
    background = find_background(images, rectangles)
    assert background is not None
    assert bool((best_region(background.difference(images, rectangles)[0], truth) > 0.5).all())


def test_few_images_and_panoramas_do_no_harm() -> None:
    images, rectangles, _ = frames([place(1)] * 3)
    assert find_background(images, rectangles) is None
    assert find_background(images[:0], rectangles[:0]) is None
    thin = torch.tensor([[-1.0, -0.002, 1.0, 0.002]]).repeat(12, 1)
    assert find_background(torch.rand((12, 3, SIDE, SIDE)), thin) is None


def test_frames_that_are_all_border_give_a_background_or_none() -> None:
    """Panoramas of one place, one row of the letterbox high."""
    images, _, _ = frames([place(1)] * 24)
    line = torch.tensor([[-1.0, -0.01, 1.0, 0.01]])
    background = Background(1)
    background.learn(F.interpolate(images, (CAMERAS.side, CAMERAS.side)), line[0], 0)
    assert bool(background.pictures.isfinite().all() & background.spreads.isfinite().all())
    find_background(images, line.repeat(24, 1))


def test_light_is_fitted_to_what_agrees() -> None:
    behind = place(1)[None]
    light = torch.tensor([0.6, 1.2, 0.9])[None, :, None, None]
    image = (behind * light + 0.05).clone()
    image[..., 20:50, 20:60] = 0.95
    inside = torch.ones((SIDE, SIDE), dtype=torch.bool)
    inside[:10] = False
    lit = relight(behind, image, inside)
    assert not lit[..., :10, :].any()
    torch.testing.assert_close(lit[..., 60:, :], image[..., 60:, :], atol=0.02, rtol=0)


def test_images_that_agree_on_the_average_are_a_group() -> None:
    agreement = torch.zeros((25, 25))
    agreement[:10, :10] = agreement[10:22, 10:22] = 0.9
    found = groups(agreement)
    assert [own.tolist() for own in found] == [list(range(10, 22)), list(range(10))]
    assert groups(agreement * 0.5) == []


def test_plain_images_agree_with_none() -> None:
    grey, rectangles = torch.full((2, 3, 64, 64), 0.5), torch.tensor([[-1.0, -1.0, 1.0, 1.0]] * 2)
    seen = Textures.of(grey, rectangles)
    assert not seen.agreement(seen).any()


def test_regions_are_boxes_around_connected_cells() -> None:
    maps = torch.full((2, 10, 10), -1.0)
    maps[0, 2:4, 1:6] = 0.7
    maps[0, 8, 8] = 2.0  # a speck
    boxes, there = regions(maps)
    assert there.sum(1).tolist() == [2, 0]  # at two levels
    torch.testing.assert_close(boxes[0, 0], torch.tensor([-0.8, -0.6, 0.2, -0.2]))
    assert regions(maps[:0])[0].shape == (0, 0, 4)
