"""What is said at the end of a training."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from stn_cli.cli.train import _summary
from stn_cli.coloc.score.calibration import Calibration
from stn_cli.coloc.train import finish
from stn_cli.coloc.train.run import TrainResult


@pytest.mark.parametrize(
    ("common", "said"),
    [
        ([0.17], ["all boxes are alike", "the crops have little in common (0.17)"]),
        (
            [0.6, 0.17],
            ["kind 1: all boxes are alike", "kind 2: all boxes are alike", "kind 2: the crops have little in common (0.17)"],
        ),
    ],
)
def test_a_warning_says_which_kind_it_is_about(monkeypatch: pytest.MonkeyPatch, common: list[float], said: list[str]) -> None:
    monkeypatch.setattr(finish, "calibrate", lambda *_: (Calibration(), "all boxes are alike"))
    reporter = SimpleNamespace(stage=lambda *_: None, warn=lambda _: None)
    context = SimpleNamespace(
        reporter=reporter,
        metrics=SimpleNamespace(log=lambda _: None),
        cache=range(20),
        device=None,
        config=SimpleNamespace(seed=0),
    )
    kinds = [SimpleNamespace(common=value, scorer=None) for value in common]
    state = SimpleNamespace(finders=[None] * len(kinds), kinds=kinds, warnings=[])
    finish.calibrate_scores(cast(Any, context), cast(Any, state))
    assert [text.partition(": there")[0] for text in state.warnings] == said


@pytest.mark.parametrize(("kind", "times"), [("dense", 1), ("dense, dense", 1), ("dense, words", 1), ("rigid, dense", 2)])
def test_what_several_kinds_are_taken_for_alike_is_said_once(kind: str, times: int, tmp_path: Any) -> None:
    text = _summary(TrainResult(tmp_path, 20, 0, 0, [], kind, 0.9, [], 1.0))
    assert text.count("rigid (") + text.count("deformable (") == times
    assert text.count(" and ") == times - 1
