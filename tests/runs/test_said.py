"""said.json of a run: what was said comes back as it was, and what a stranger wrote is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stn_cli.errors import CheckpointError
from stn_cli.records import SaidImage
from stn_cli.runs.said import SAID, read_said_of_run, said_digest, write_said

ROW = {"file": "a.png", "size": [60, 48], "boxes": [[1, 2, 3, 4]], "kinds": [0], "rejected": []}


def test_what_was_said_comes_back(tmp_path: Path) -> None:
    assert (read_said_of_run(tmp_path), said_digest(tmp_path)) == ([], "")
    images = [
        SaidImage("a\nb/\udcff.png", 60, 48, (((0.125, 2, 3.5, 4), 1),), ((5, 6, 7, 8),)),
        SaidImage("none.png", 10, 10, ()),
    ]
    write_said(tmp_path, images)
    assert read_said_of_run(tmp_path) == images
    assert len(said_digest(tmp_path)) == 64


@pytest.mark.parametrize(
    "change",
    [
        {"boxes": [[1, 2, float("nan"), 4]]},
        {"boxes": [[1, 2, 1, 4]]},
        {"boxes": [[1, 2, 3]]},
        {"kinds": [-1]},
        {"kinds": [0, 0]},
        {"kinds": [True]},
        {"size": [0, 48]},
        {"size": 60},
        {"file": 3},
        {"rejected": [["a", 2, 3, 4]]},
        {"rejected": None},
    ],
    ids=str,
)
def test_damage_is_found(tmp_path: Path, change: dict[str, Any]) -> None:
    (tmp_path / SAID).write_text(json.dumps([ROW | change]))
    with pytest.raises(CheckpointError, match="damaged"):
        read_said_of_run(tmp_path)


def test_a_truncated_file_is_damaged(tmp_path: Path) -> None:
    (tmp_path / SAID).write_text('[{"file"')
    with pytest.raises(CheckpointError, match="damaged"):
        read_said_of_run(tmp_path)
