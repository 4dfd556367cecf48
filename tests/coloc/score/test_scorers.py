"""Scorers as one type: what is stored of each makes the same one again."""

from __future__ import annotations

import pytest
import torch

from stn_cli.coloc.crops import Crops
from stn_cli.coloc.scene import Scene
from stn_cli.coloc.score.scorers import (
    DenseScorer,
    RigidScorer,
    Scorer,
    WordsScorer,
    dimensions,
    encoder_state,
    make_scorer,
    own_state,
)
from stn_cli.encoders import GradientEncoder, SmallEncoder


def filled(scorer: Scorer) -> Scorer:
    """A scorer with numbers in it."""
    g = torch.Generator().manual_seed(1)
    for name, value in own_state(scorer).items():
        if value.is_floating_point():
            value.copy_(torch.rand(value.shape, generator=g) + 0.1)
        else:
            assert name == "guided"
    return scorer


SMALL = SmallEncoder(loaded=False)
SCORERS: list[Scorer] = [
    filled(RigidScorer(GradientEncoder(), 192)),
    filled(WordsScorer(GradientEncoder(), 5, 14)),
    filled(DenseScorer(SMALL, 256, True, dimensions=8, examples=3)),
]


@pytest.mark.parametrize("scorer", SCORERS, ids=[s.kind for s in SCORERS])
def test_a_stored_scorer_gives_the_same_margins(scorer: Scorer) -> None:
    again = make_scorer(scorer.kind, dimensions(scorer), scorer.encoder)
    again.load_state_dict(own_state(scorer), strict=isinstance(scorer.encoder, GradientEncoder))
    assert type(again) is type(scorer)
    scene = Scene(
        torch.rand((2, 3, 64, 64), generator=torch.Generator().manual_seed(0)), torch.tensor([[-1.0, -1, 1, 1]]).repeat(2, 1)
    )
    crops = Crops.of_boxes(torch.tensor([[[-0.5, -0.5, 0.5, 0.5], [-0.2, -0.4, 0.9, 0.3]]]).repeat(2, 1, 1))
    margins = scorer.margins(scene, crops, crops[:, :1])
    assert margins.shape == (2, 3)
    torch.testing.assert_close(again.margins(scene, crops, crops[:, :1]), margins)
    torch.testing.assert_close(margins[:, 0], margins[:, 2])


def test_weights_of_an_encoder_are_stored_once() -> None:
    assert encoder_state(GradientEncoder()) == {}
    state = encoder_state(SMALL)
    assert state
    assert all(name.startswith("encoder.") for name in state)
    assert not set(own_state(SCORERS[2])) & set(state)
