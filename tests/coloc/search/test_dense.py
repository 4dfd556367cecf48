"""The search on dense features: its parts against closed forms, the whole on a made set with a known object."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from stn_cli.coloc.score.settings import CALIBRATION
from stn_cli.coloc.search.dense import DenseResult, DenseSearch, believed
from stn_cli.coloc.search.discriminant import LinearMargin, Projection, likeness, unlikeness
from stn_cli.coloc.search.layout import inside_mask, lay_out
from stn_cli.coloc.search.statistics import contrast_beyond_place, contrast_of
from stn_cli.coloc.search.windows import exact_windows, largest_windows, score_map_of
from stn_cli.encoders import Appearance
from stn_cli.geometry import box_iou

WHOLE = torch.tensor([[-1.0, -1.0, 1.0, 1.0]])


def made_set(count: int = 24, seed: int = 0, absent: int = 0) -> tuple[Appearance, torch.Tensor, torch.Tensor]:
    """Features with an object of 6 x 8 cells anywhere, in directions of its own: appearance, rectangles, boxes in cells."""
    g = torch.Generator().manual_seed(seed)
    cells = 0.3 * torch.randn((count, 16, 24, 24), generator=g)
    boxes = torch.zeros((count, 4), dtype=torch.long)
    for n in range(count):
        x, y = (int(torch.randint(1, 24 - s - 1, (1,), generator=g)) for s in (6, 8))
        boxes[n] = torch.tensor([x, y, x + 6, y + 8])
        if n >= absent:
            cells[n, :3, y : y + 8, x : x + 6] += torch.tensor([1.0, 0.7, -0.8])[:, None, None]
    return Appearance(cells), WHOLE.expand(count, 4), boxes


def normalised(boxes: torch.Tensor) -> torch.Tensor:
    return boxes / 12.0 - 1


def test_projection_is_of_principal_components() -> None:
    g = torch.Generator().manual_seed(0)
    scales = torch.tensor([5.0, 2.0, 1.0, 0.1])
    cells = torch.randn((4000, 4), generator=g) * scales + 3
    plain = (cells - cells.mean(0)) @ Projection.of(cells, 0.0, 4).basis
    torch.testing.assert_close(plain.std(0), cells.std(0), rtol=0.02, atol=0)
    covariance = plain.T @ plain / len(plain)
    assert float((covariance - covariance.diag().diag()).abs().max()) < 1e-3
    white = (cells - cells.mean(0)) @ Projection.of(cells, 1.0, 3).basis
    torch.testing.assert_close(white.std(0), white.std(0)[:1].expand(3), rtol=0.05, atol=0)
    maps = cells[:24].view(1, 4, 6, 4).movedim(-1, 1)
    assert Projection.of(cells, 0.0, 2)(maps).shape == (1, 4, 6, 2)


def test_the_discriminant_is_fishers() -> None:
    """Against the closed form on cells of two Gaussian classes with one covariance."""
    g = torch.Generator().manual_seed(1)
    mixing = torch.tensor([[2.0, 0.0], [1.5, 0.5]], dtype=torch.float64)
    z = torch.randn((40, 8, 8, 2), generator=g, dtype=torch.float64) @ mixing.T
    inside = torch.zeros((40, 8, 8), dtype=torch.bool)
    inside[:, 2:6, 2:6] = True
    shift = torch.tensor([1.0, -0.5], dtype=torch.float64)
    z[inside] += shift
    layout = lay_out((8, 8), WHOLE.expand(40, 4))
    layout.border[:] = False
    found = LinearMargin.fit(z, inside, layout, 0.0)
    wanted = torch.linalg.solve(mixing @ mixing.T, shift)
    assert float(F.cosine_similarity(found.direction, wanted, dim=0)) > 0.995
    margins = z @ found.direction - found.offset
    assert float(margins[inside].mean()) == pytest.approx(-float(margins[~inside].mean()), rel=1e-6)
    means = LinearMargin.fit(z, inside, layout, None).direction
    assert float((means - shift).abs().max()) < 0.15


def test_what_is_unlike_the_borders() -> None:
    appearance, rectangles, boxes = made_set()
    layout = lay_out((24, 24), rectangles)
    unlike = unlikeness(appearance.cells.movedim(1, -1), layout, 0.7)
    inside = inside_mask(boxes, (24, 24))
    assert float(unlike[inside].mean()) > float(unlike[~inside].mean()) + 0.2


def test_contrast_beyond_place_is_nothing_for_a_place() -> None:
    boxes = torch.tensor([[8, 8, 16, 16]]).expand(10, 4)
    inside = inside_mask(boxes, (24, 24))
    valid = torch.ones_like(inside)
    g = torch.Generator().manual_seed(0)
    margins = inside.float() + 0.01 * torch.randn((10, 24, 24), generator=g)
    assert contrast_of(margins, inside, valid) > 2
    assert abs(contrast_beyond_place(margins, inside, valid)) < 0.05
    appearance, _, places = made_set()
    moving = inside_mask(places, (24, 24))
    assert contrast_beyond_place(moving.float(), moving, torch.ones_like(moving)) > 1.5
    assert len(appearance.cells) == 24


def best(search: DenseSearch) -> DenseResult:
    candidates = search.candidates()
    return candidates[believed(candidates)]


def test_the_means_must_be_worth_more_to_be_believed() -> None:
    appearance, rectangles, _ = made_set()
    means, discriminant = DenseSearch.of(appearance, rectangles).candidates()
    assert (means.variant, discriminant.variant) == (0, 1)
    assert believed([replace(means, worth=1.2), replace(discriminant, worth=1.0)]) == 1
    assert believed([replace(means, worth=1.4), replace(discriminant, worth=1.0)]) == 0


def test_the_search_finds_the_object() -> None:
    appearance, rectangles, boxes = made_set()
    found = best(DenseSearch.of(appearance, rectangles))
    overlap = box_iou(found.boxes, normalised(boxes))
    assert float((overlap > 0.5).float().mean()) > 0.9
    assert found.contrast > 1.5
    assert found.worth > 0
    assert found.name.startswith("unlike borders")


def test_objectness_is_one_more_start() -> None:
    appearance, rectangles, boxes = made_set()
    odds = inside_mask(boxes, (24, 24)).float() * 4 - 2
    found = best(DenseSearch.of(Appearance(appearance.cells, odds), rectangles))
    assert float((box_iou(found.boxes, normalised(boxes)) > 0.5).float().mean()) > 0.9


def test_taken_places_stay_closed() -> None:
    appearance, rectangles, boxes = made_set()
    taken = normalised(boxes)[:, None]
    again = best(DenseSearch.of(appearance, rectangles, taken=taken))
    assert float(box_iou(again.boxes, taken[:, 0]).mean()) < 0.3


def test_windows_lie_between_the_cells() -> None:
    """A blob whose sides no window of whole cells can have is framed to a quarter of a cell."""
    size, true = 24, torch.tensor([[5.5, 7.25, 12.75, 17.5]])
    fine = (torch.arange(size * 8) + 0.5) / 8
    x, y = fine[None], fine[:, None]
    inside = (x > true[0, 0]) & (x < true[0, 2]) & (y > true[0, 1]) & (y < true[0, 3])
    margins = F.avg_pool2d(inside.float()[None, None], 8)[0]  # each cell's share of the blob
    layout = lay_out((size, size), torch.tensor([[-1.0, -1, 1, 1]]))
    score_map = score_map_of(margins, layout, 0.5, 0.5, 0.0)
    whole = largest_windows(score_map)[0]
    exact = exact_windows(whole, score_map, None)
    assert float((exact - true).abs().max()) <= 0.5
    assert float(box_iou(exact, true)) > float(box_iou(whole.float(), true))
    assert exact_windows(whole, score_map, (0.1, 0.3)).tolist() == whole.tolist()  # it would become longer than was asked for
    ground = score_map_of(torch.full((1, size, size), -1.0), layout, 0.5, 0.5, 0.0)
    x1, y1, x2, y2 = exact_windows(torch.tensor([[3, 3, 9, 9]]), ground, None)[0].tolist()
    assert min(x2 - x1, y2 - y1) >= 2


def test_a_minority_of_something_else_is_unlike() -> None:
    rng = torch.Generator().manual_seed(0)
    things = 0.3 * torch.randn((40, 6), generator=rng)
    things[:, 0] += 1
    things[:9] = 0.05 * torch.randn((9, 6), generator=rng)  # hardly differs within itself
    things[:9, 1] += 1
    alike = likeness(things, things)
    assert float(alike[:9].max()) < 0.3 < float(alike[9:].min())
    assert likeness(things[None, :5], things).shape == (1, 5)


@pytest.mark.parametrize(("kinds", "common"), [(1, True), (8, False)])
def test_windows_of_many_kinds_have_little_in_common(kinds: int, common: bool) -> None:
    rng = torch.Generator().manual_seed(1)
    cells = 0.3 * torch.randn((24, 16, 12, 12), generator=rng)
    for n in range(24):
        cells[n, n % kinds, 4:8, 4:8] += 4
    cells[:8, 9] += 4  # another ground makes no other thing
    search = DenseSearch.of(Appearance(cells), torch.tensor([[-1.0, -1, 1, 1]]).expand(24, 4))
    boxes = torch.tensor([[-1 / 3, -1 / 3, 1 / 3, 1 / 3]]).expand(24, 4)
    assert (search.common(boxes) > CALIBRATION.least_common) is common
