"""Which hypothesis is believed, and where it places the common thing and a further one."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from stn_cli.coloc.search import choose as module
from stn_cli.coloc.search.choose import centred, choose, choose_stretches, is_rigid, least_believed
from stn_cli.coloc.search.rigid import RigidResult, search_rigid
from stn_cli.coloc.search.searched import SearchedSet
from stn_cli.coloc.search.settings import CHOICE
from stn_cli.coloc.search.visual_words import WordsResult
from stn_cli.encoders import GradientEncoder
from stn_cli.geometry import box_iou
from stn_cli.media.cache import Cache
from stn_cli.runs.config import TrainConfig
from tests.coloc.search.test_search import CPU, planted_glyphs


def searched(cache: Cache, **settings: object) -> SearchedSet:
    return SearchedSet.of(cache, cache, GradientEncoder(), TrainConfig(**settings), CPU, lambda _: None)  # type: ignore[arg-type]


def test_a_rigid_hypothesis_places_the_thing_everywhere_and_the_next_one_elsewhere() -> None:
    cache, truth = planted_glyphs(20)
    found = choose(searched(cache, search="rigid", search_images=12), None)
    assert isinstance(found.evidence, RigidResult)
    assert found.rigid is found.evidence
    assert found.contrast is None
    assert float((box_iou(found.boxes, truth) > 0.5).float().mean()) >= 0.85
    further, angles = found.place(found.boxes[:, None])
    assert float(box_iou(further, found.boxes).max()) < 0.5
    assert not bool(angles.any())


def test_the_deformable_hypothesis_of_plain_cells_is_by_words() -> None:
    cache, _ = planted_glyphs(12)
    found = choose(searched(cache, search="deformable"), None)
    assert isinstance(found.evidence, WordsResult)
    assert found.rigid is None
    assert found.contrast == found.evidence.contrast


def rigid_of(side: float, loss: float) -> RigidResult:
    return RigidResult(side, loss, torch.zeros(4), 1.0, (0.0,), [])


# side, loss, contrast, believed: the bar is CHOICE.rigid_below
BELIEVED = [
    (0.33, 0.05, 2.7, True),  # a digit
    (0.18, 0.5, 1.8, False),  # a part of something
    (0.33, 0.05, 6.0, False),  # the deformable one stands out more clearly
]


@pytest.mark.parametrize(("side", "loss", "contrast", "believed"), BELIEVED)
def test_the_rigid_hypothesis_must_agree_well_enough(side: float, loss: float, contrast: float, believed: bool) -> None:
    assert is_rigid(rigid_of(side, loss), contrast) is believed
    objective = loss - 0.22 * 2 * math.log(side)
    assert believed is (objective + CHOICE.contrast_weight * contrast < CHOICE.rigid_below)


def test_a_side_below_the_least_is_not_believed_without_any_loss() -> None:
    for contrast in (0.5, 2.0, 4.0):
        least = least_believed(contrast, CHOICE.rigid_below)
        assert is_rigid(rigid_of(least * 1.001, 0.0), contrast)
        assert not is_rigid(rigid_of(least * 0.999, 0.0), contrast)


@pytest.mark.parametrize("holds_a_glyph", [True, False])
def test_a_few_images_are_searched_for_a_rigid_thing_before_all(monkeypatch: pytest.MonkeyPatch, holds_a_glyph: bool) -> None:
    """All of them only where the few agree; what comes of it is then the search's of all."""
    cache, truth = planted_glyphs(40)
    if not holds_a_glyph:
        cache.pixels[:] = torch.randint(0, 255, cache.pixels.shape, generator=torch.Generator().manual_seed(0)).numpy()
    looked = list[int]()

    def counted(encoder: GradientEncoder, images: torch.Tensor, *rest: Any, **named: Any) -> RigidResult | None:
        looked.append(len(images))
        return search_rigid(encoder, images, *rest, **named)

    monkeypatch.setattr(module, "search_rigid", counted)
    monkeypatch.setattr(module, "CHOICE", replace(CHOICE, tried_images=10))
    found = choose(searched(cache), None)
    assert looked == ([10, 40] if holds_a_glyph else [10])
    assert isinstance(found.evidence, RigidResult) is holds_a_glyph
    if holds_a_glyph:
        assert float((box_iou(found.boxes, truth) > 0.5).float().mean()) >= 0.85


def test_a_stated_side_leaves_no_other_ones_to_try() -> None:
    cache, _ = planted_glyphs(12)
    seen = searched(cache, size=(0.34, 0.34))
    rigid = search_rigid(seen.encoder, seen.scene.images, seen.scene.rectangles, seed=0, sides=seen.sides)
    assert rigid is not None
    assert rigid.side == pytest.approx(0.34)
    assert choose_stretches(seen, rigid, None) == (1.0,)


def test_angles_without_a_direction_stay() -> None:
    around = torch.tensor([0.0, math.pi / 2, math.pi, -math.pi / 2])
    torch.testing.assert_close(centred(around).cos(), around.cos(), atol=1e-6, rtol=0)
    assert float(centred(torch.tensor([3.0, -3.0])).abs().max()) < 0.2  # across the cut
