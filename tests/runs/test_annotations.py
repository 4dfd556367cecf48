"""annotations.json of a run: what was said comes back as it was, and what a stranger wrote is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stn_cli.errors import CheckpointError
from stn_cli.records import AnnotatedImage
from stn_cli.runs.annotations import ANNOTATIONS, annotations_digest, read_run_annotations, write_run_annotations

ROW = {"file": "a.png", "size": [60, 48], "boxes": [[1, 2, 3, 4]], "kinds": [0], "rejected": []}


def test_what_was_said_comes_back(tmp_path: Path) -> None:
    assert (read_run_annotations(tmp_path), annotations_digest(tmp_path)) == ([], "")
    images = [
        AnnotatedImage("a\nb/\udcff.png", 60, 48, (((0.125, 2, 3.5, 4), 1),), ((5, 6, 7, 8),)),
        AnnotatedImage("none.png", 10, 10, ()),
    ]
    write_run_annotations(tmp_path, images)
    assert read_run_annotations(tmp_path) == images
    assert len(annotations_digest(tmp_path)) == 64


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
    (tmp_path / ANNOTATIONS).write_text(json.dumps([ROW | change]))
    with pytest.raises(CheckpointError, match="damaged"):
        read_run_annotations(tmp_path)


def test_a_truncated_file_is_damaged(tmp_path: Path) -> None:
    (tmp_path / ANNOTATIONS).write_text('[{"file"')
    with pytest.raises(CheckpointError, match="damaged"):
        read_run_annotations(tmp_path)
