"""From margins to scores, and what is said of boxes that make no sense."""

from __future__ import annotations

import pytest
import torch

from stn_cli.coloc.score.calibration import Calibration, collapse, little_in_common
from stn_cli.coloc.score.settings import CALIBRATION


@pytest.mark.parametrize(("gap", "offset"), [(1.0, 0.0), (5.0, -3.0), (0.2, 100.0)])
def test_half_is_as_likely_object_as_patch(gap: float, offset: float) -> None:
    torch.manual_seed(0)
    positive, random = torch.randn(400) * gap / 3 + gap + offset, torch.randn(3000) * gap / 3 - gap + offset
    curve = Calibration()
    curve.fit(positive, random)
    assert float(curve(torch.tensor(offset))) == pytest.approx(0.5, abs=0.1)
    scores = curve(torch.linspace(-3 * gap, 3 * gap, 20) + offset)
    assert bool((scores.diff() >= 0).all())
    assert float(scores[0]) < 0.1
    assert float(scores[-1]) > 0.9


def test_indistinguishable_margins_give_doubt() -> None:
    curve = Calibration()
    curve.fit(torch.linspace(-1, 1, 50), torch.linspace(-1, 1, 50))
    assert float((curve(torch.linspace(-1, 1, 5)) - 0.5).abs().max()) < 0.05


def test_a_further_kind_must_have_in_common_what_the_first_has() -> None:
    assert little_in_common([CALIBRATION.least_common - 0.01]) == [True]
    assert little_in_common([0.68, CALIBRATION.least_common + 0.01]) == [False, True]  # what lies around the apples
    assert little_in_common([0.68, CALIBRATION.further_common * 0.68 + 0.01, 0.1]) == [False, False, True]
    assert little_in_common([0.4, 0.38]) == [False, False]
    assert little_in_common([None, 0.3, 0.5]) == [False, True, False]


def test_collapse_is_noticed() -> None:
    """FAULTS 46."""
    whole = torch.tensor([[-1.0, -1.0, 1.0, 1.0]]).repeat(20, 1)
    torch.manual_seed(0)
    places = torch.rand(20, 2) * 1.2 - 0.9
    good = torch.cat([places, places + 0.5], 1)
    assert collapse(good, whole) == ""
    assert "alike" in collapse(torch.tensor([[-0.2, -0.2, 0.3, 0.3]]).repeat(20, 1), whole)
    assert "half off" in collapse(torch.cat([places + 1.5, places + 2.0], 1), whole)
    edge = good.clone()
    edge[:, 0], edge[:, 2] = -1, -0.5
    assert "border" in collapse(edge, whole)
    assert collapse(good[:3], whole) == ""  # too few to tell
