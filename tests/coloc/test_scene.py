"""Scenes: what is seen in images is computed once, and kept for a small set."""

from __future__ import annotations

import pytest
import torch

from stn_cli.coloc import scene as module
from stn_cli.coloc.scene import Scene
from tests.coloc.search.test_search import CPU, planted_glyphs


def test_scenes_of_a_small_set_are_kept_where_they_will_be_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what was seen in them; of a set of more images none are."""
    cache, _ = planted_glyphs(4)
    some = torch.arange(2)
    plain, kept = Scene.of(cache, some, CPU), Scene.of(cache, some, CPU, keep=True)
    assert kept is not plain
    assert torch.equal(kept.images, plain.images)
    assert kept.once("looker", lambda: 1) == Scene.of(cache, some.clone(), CPU, keep=True).once("looker", lambda: 2)
    assert Scene.of(cache, torch.arange(3), CPU, keep=True) is not kept
    monkeypatch.setattr(module, "KEPT", 3)
    many, _ = planted_glyphs(4)
    assert Scene.of(many, some, CPU, keep=True) is not Scene.of(many, some, CPU, keep=True)
