"""The regression's batches: images serve several steps, the same ones whether the training was stopped in between or not."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from stn_cli.coloc.scene import Scene
from stn_cli.coloc.train import regress
from stn_cli.coloc.train.augment import EVERY, TrainingBatch
from stn_cli.coloc.train.settings import REGRESSION


@dataclass
class Images:
    """An augmenter whose images say which random numbers they came by."""

    hideable: int
    drawn: list[float] = field(default_factory=list)

    def augment(self, g: torch.Generator, jitter: float, *, own: slice) -> TrainingBatch:
        image = torch.rand((2, 3, 4, 4), generator=g)
        self.drawn.append(jitter)
        nothing = torch.zeros(2)
        return TrainingBatch(Scene(image, nothing), nothing, nothing, nothing, nothing, self.shown(g, own), ["a", "b"])

    def shown(self, g: torch.Generator, own: slice) -> torch.Tensor:
        return torch.rand((2, 5), generator=g)


def batches(images: Images, steps: range, total: int = 16) -> list[TrainingBatch]:
    team = SimpleNamespace(share=lambda count: EVERY)
    context: Any = SimpleNamespace(config=SimpleNamespace(seed=3, batch=2), team=team, cache=None, device=torch.device("cpu"))
    out, last = [], None
    for step in steps:
        state: Any = SimpleNamespace(
            step=step, number=0, level=0, steps=lambda config: total, augmenter=lambda *arguments: images
        )
        last = regress._drawn(context, state, last)
        out.append(last)
    return out


def test_images_serve_several_steps_with_other_components_hidden() -> None:
    images, each = Images(hideable=5), REGRESSION.echoes
    found = batches(images, range(2 * each))
    assert len(images.drawn) == 2
    assert [batch.scene is found[0].scene for batch in found] == [True] * each + [False] * each
    assert len({tuple(batch.shown.flatten().tolist()) for batch in found}) == len(found)


@pytest.mark.parametrize("stopped", range(1, 2 * REGRESSION.echoes))
def test_a_training_that_goes_on_in_between_sees_the_same(stopped: int) -> None:
    steps = 2 * REGRESSION.echoes
    whole, rest = batches(Images(hideable=5), range(steps)), batches(Images(hideable=5), range(stopped, steps))
    for a, b in zip(whole[stopped:], rest, strict=True):
        assert torch.equal(a.scene.images, b.scene.images)
        assert torch.equal(a.shown, b.shown)


def test_where_no_network_is_asked_each_step_has_images_of_its_own() -> None:
    images = Images(hideable=0)
    batches(images, range(5))
    assert len(images.drawn) == 5
