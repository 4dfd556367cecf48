"""How long annotations are learnt."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest
import torch
from torch import Tensor

from stn_cli.coloc.annotations import Annotations
from stn_cli.coloc.score.annotated_search import AnnotatedSearch
from stn_cli.coloc.score.dense import DenseScorer
from stn_cli.coloc.search.searched import SearchedSet
from stn_cli.encoders import Appearance
from stn_cli.instances.proposer import Proposer
from stn_cli.runs.config import TrainConfig

TOLD: list[int] = []


class Counting(AnnotatedSearch):
    """Tells how many steps were asked for."""

    def scorer(self, boxes: Tensor) -> DenseScorer:
        return cast(DenseScorer, None)

    def learn(self, proposer: Proposer, steps: int) -> Proposer:
        TOLD.append(steps)
        return proposer

    def calibrated(self, proposer: Proposer, scorer: DenseScorer, windows: Tensor) -> Proposer:
        return proposer


@pytest.mark.parametrize(
    ("images", "known", "steps"), [(1, True, 6), (4, True, 24), (10, True, 60), (30, True, 60), (1, False, 60)]
)
def test_one_image_does_not_make_a_run_forget_the_others(images: int, known: bool, steps: int) -> None:
    seen = cast(SearchedSet, SimpleNamespace(config=TrainConfig(steps=400)))
    annotations = Annotations({i: torch.tensor([[-0.5, -0.5, 0.5, 0.5]]) for i in range(images)}, {})
    Counting(seen, annotations, cast(Appearance, None), None, None, known=known).learn_all(
        cast(Proposer, None), torch.zeros(9, 4)
    )
    assert TOLD.pop() == steps
