"""The bar of a search: its total is known before it begins, it is never passed, and in the end the bar is full."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from stn_cli.coloc.score.kinds import find_kinds
from stn_cli.coloc.train.outlook import WEIGHTS, Outlook, expected_work
from stn_cli.encoders import make_encoder
from stn_cli.media.cache import build_cache
from stn_cli.media.scan import scan
from stn_cli.runs.config import TrainConfig
from tests.conftest import QUICK, make_folder


class Bar:
    """What a reporter hears."""

    def __init__(self) -> None:
        self.units, self.notes = list[int](), list[str]()

    def advance(self, count: int, note: str) -> None:
        self.units.append(count)
        self.notes.append(note)


# settings of a search, and the first words of the notes that it gives, in the order in which they begin
SEARCHES: list[tuple[dict[str, Any], list[str]]] = [
    ({"search": "rigid"}, ["kind", "crops", "labelled"]),
    ({"search": "deformable", "steps": 44}, ["kind", "windows", "outlines", "background", "objects", "scored"]),
    (
        {"search": "deformable", "search_images": 4, "steps": 44},
        ["kind", "windows", "outlines", "labelled", "background", "objects", "scored"],
    ),
    ({"search": "deformable", "encoder": "gradient"}, ["kind", "windows", "labelled"]),
]


@pytest.mark.parametrize(("settings", "words"), SEARCHES)
def test_a_search_is_as_much_work_as_was_said(settings: dict[str, Any], words: list[str], tmp_path: Path) -> None:
    make_folder(tmp_path, 8)
    config = TrainConfig(**{**QUICK, **settings})
    cache = build_cache(scan(tmp_path / "images").images, config.imgsz, tmp_path)
    encoder, bar = make_encoder(config.encoder), Bar()
    total = expected_work(config, len(cache), encoder.dense)
    outlook = Outlook(total, bar.advance)
    with torch.no_grad():
        find_kinds(cache, encoder, config, torch.device("cpu"), outlook.hear)
    assert sum(bar.units) == total  # nothing is left over, and no note came beyond it
    assert list(dict.fromkeys(note.split()[0] for note in bar.notes)) == words
    outlook.finish()
    assert sum(bar.units) == total


def test_what_was_not_expected_does_not_go_beyond_the_end() -> None:
    bar = Bar()
    outlook = Outlook(10, bar.advance)
    for note in ("outlines", "crops of 0.20: loss 1.2", "odd"):
        outlook.hear(note)
    assert bar.units == [10, 0, 0]
    outlook = Outlook(10, bar.advance)
    outlook.hear("crops of 0.20: loss 1.2")
    outlook.finish()
    assert bar.units[3:] == [WEIGHTS["crops"], 9]


def test_kinds_are_as_many_searches() -> None:
    one, three = (expected_work(TrainConfig(kinds=kinds), 50, dense=True) for kinds in (1, 3))
    assert three == 3 * one
