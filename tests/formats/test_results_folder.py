"""A folder of results stands for its file, whichever command is given it; and messages name what they are about."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Trained
from tests.review.sets import write_set

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def boxes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    found = write_set(tmp_path / "set", 8)
    monkeypatch.chdir(tmp_path)
    return found


def correct(boxes: Path) -> None:
    """What a review leaves beside the boxes: here of one image."""
    data = json.loads(boxes.read_text())
    data["info"]["reviewed"] = True
    data["images"][0].update(reviewed=True, status="none")
    data["annotations"] = [row for row in data["annotations"] if row["image_id"] != 1]
    boxes.with_name("reviewed.json").write_text(json.dumps(data))
    boxes.with_name("review.jsonl").write_text('{"seq": 1}\n')


def test_a_folder_of_localise_is_exported_and_evaluated(boxes: Path, cli: Call) -> None:
    assert cli("export", boxes.parent, "--source", boxes.parent / "images", "-o", "data", "-q") == (0, "data\n", "")
    assert cli("evaluate", boxes.parent, boxes, "--json")[:2] == cli("evaluate", boxes, boxes, "--json")[:2]


def test_who_exports_hears_what_a_group_is(boxes: Path, cli: Call) -> None:
    err = cli("export", boxes.parent, "--source", boxes.parent / "images", "-o", "data")[2]
    assert "8 images in 8 groups that are not split (train 7, val 1), 8 objects" in err


def test_a_folder_of_track_is_evaluated(tmp_path: Path, cli: Call) -> None:
    frame = {"frame": 0, "time": 0.0, "objects": [{"id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}]}
    (tmp_path / "tracks.json").write_text(json.dumps({"video": {}, "frames": [frame]}))
    (tmp_path / "truth.json").write_text("[[1, 2, 3, 4]]")
    code, out, _ = cli("evaluate", tmp_path, tmp_path / "truth.json")
    assert (code, "success" in out) == (0, True), out


def test_who_exports_boxes_that_were_corrected_hears_of_it(boxes: Path, cli: Call) -> None:
    words = ("--source", boxes.parent / "images", "-q")
    assert "corrected" not in cli("export", boxes, *words, "-o", "one")[2]
    correct(boxes)
    assert (
        f"{boxes.with_name('reviewed.json')} has the corrected ones, name it to export them"
        in cli("export", boxes, *words[:2], "-o", "two")[2]
    )
    assert "name it to export" not in cli("export", boxes.with_name("reviewed.json"), *words[:2], "-o", "three")[2]


def test_a_folder_that_was_reviewed_is_learnt_from(trained: Trained, tmp_path: Path, cli: Call) -> None:
    folder = tmp_path / "boxes"
    assert cli("localise", trained.images, "-m", trained.run, "-o", folder, "-q")[0] == 0
    code, _, err = cli("train", trained.images, "--boxes", folder, "-o", tmp_path / "run")
    assert (code, "nobody has looked at them" in err) == (3, True)
    correct(folder / "boxes.json")
    shutil.move(folder / "boxes.json", tmp_path)
    from stn_cli.formats.annotations import read_annotations

    assert [image.boxes for image in read_annotations(folder).images] == [()]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("export images", "error: the file of boxes is a folder without Pascal VOC XML: 'images'"),
        ("train images --boxes images", "error: the file of boxes is a folder without Pascal VOC XML: 'images'"),
        (
            "train images --boxes nan.json",
            "error: the file of boxes has a value that is no list of [x1, y1, x2, y2]: 'nan.json'",
        ),
        ("evaluate boxes.json images", "error: truth is a folder without Pascal VOC XML: 'images'"),
        ("evaluate boxes.json nan.json", "error: truth has a value that is no list of [x1, y1, x2, y2]: 'nan.json'"),
        (
            "train --from images -o run",
            "error: no run there: 'images' (it has no config.toml). Name a folder that stn-coloc train wrote",
        ),
        (
            "train images -o images",
            "error: results would take the place of what they are made from: 'images' (--out is the same). Choose another --out",
        ),
    ],
)
def test_messages_say_what_is_wrong_with_what(
    boxes: Path, cli: Call, monkeypatch: pytest.MonkeyPatch, words: str, message: str
) -> None:
    monkeypatch.chdir(boxes.parent)
    Path("nan.json").write_text('{"000.png": [[NaN, 1, 2, 3]]}')
    assert cli(*words.split())[2].startswith(message)
