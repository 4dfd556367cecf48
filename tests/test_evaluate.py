from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from stn_cli.errors import InputError
from stn_cli.evaluate import read_truth, score_boxes, write_per_image
from stn_cli.formats.coco import CocoWriter, read_coco
from stn_cli.records import Box, ImageRecord, Localisation
from tests.conftest import SHARED


def record(name: str, *scored: tuple[Box, float]) -> ImageRecord:
    quad = ((0.0, 0.0),) * 4
    objects = [Localisation(name, 100, 100, box, quad, (1, 0, 0, 0, 1, 0), s) for box, s in scored]
    return ImageRecord(name, 100, 100, tuple(sorted(objects, key=lambda o: -o.score)))


RECORDS = [
    record("a.png", ((0, 0, 10, 10), 0.9), ((50, 50, 60, 60), 0.95)),  # the better-scored box is the wrong one
    record("b.png", ((0, 0, 10, 10), 0.8)),
    record("c.png"),
]
TRUTH: dict[str, list[Box]] = {"a.png": [(0, 0, 10, 10)], "b.png": [(90, 90, 99, 99), (0, 0, 10, 20)], "c.png": [(1, 1, 5, 5)]}


def test_closed_form() -> None:
    result = score_boxes(RECORDS, TRUTH, 0.49)
    assert [round(i.iou, 4) for i in result.images] == [0.0, 0.5, 0.0]
    assert result.corloc == pytest.approx(100 / 3)
    assert result.mean_iou == pytest.approx(0.5 / 3)
    assert result.missing == 1
    assert score_boxes(RECORDS, TRUTH).corloc == 0  # 0.5 is not above 0.5
    assert result.best_half() == (50.0, 0.0)


@pytest.mark.skipif(not (SHARED / "score/corloc.py").is_file(), reason="the independent scorer is not here")
def test_agrees_with_the_independent_scorer(tmp_path: Path) -> None:
    writer = CocoWriter(tmp_path / "boxes.json", {})
    for r in RECORDS:
        writer.add(r)
    writer.close()
    (tmp_path / "truth.json").write_text(json.dumps(TRUTH))
    command = [sys.executable, str(SHARED / "score/corloc.py"), str(tmp_path / "boxes.json"), str(tmp_path / "truth.json")]
    other = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
    ours = score_boxes(tmp_path / "boxes.json", tmp_path / "truth.json")
    assert other == {"corloc": round(ours.corloc, 2), "mean_iou": round(ours.mean_iou, 4), "images": 3, "missing": 1}


def test_truth_as_json_coco_and_voc(tmp_path: Path) -> None:
    writer = CocoWriter(tmp_path / "coco.json", {})
    writer.add(record("a.png", ((0, 0, 10, 10), 1.0)))
    writer.close()
    assert read_truth(tmp_path / "coco.json") == {"a.png": [(0, 0, 10, 10)]}
    (tmp_path / "voc").mkdir()
    (tmp_path / "voc/a.xml").write_text(
        "<annotation><filename>a.png</filename><object><bndbox><xmin>1</xmin><ymin>1</ymin>"
        "<xmax>10</xmax><ymax>10</ymax></bndbox></object></annotation>"
    )
    assert read_truth(tmp_path / "voc") == {"a.png": [(0, 0, 10, 10)]}  # 1-based inclusive -> 0-based continuous


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "truth is not JSON"),
        ("[]", "must be an object"),
        ("{}", "has no image"),
        ('{"a": [[1, 2]]}', r"no list of \[x1, y1, x2, y2\]"),
        ('{"../a": [[1, 2, 3, 4]]}', "outside the set"),  # FAULTS 30
        ('{"/etc/a": [[1, 2, 3, 4]]}', "outside the set"),
        ('{"z.png": [[1, 2, 3, 4]]}', "no file in common"),
    ],
)
def test_bad_truth(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "truth.json"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        score_boxes(RECORDS, path)
    assert caught.value.exit_code == 3


BOMB = '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;">]><annotation>&c;</annotation>'
EXTERNAL = '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><annotation>&b;</annotation>'


@pytest.mark.parametrize("text", [BOMB, EXTERNAL])
def test_xml_entities_are_refused(tmp_path: Path, text: str) -> None:
    """FAULTS 34."""
    (tmp_path / "a.xml").write_text(text)
    with pytest.raises(InputError, match="refused"):
        read_truth(tmp_path)


@pytest.mark.parametrize("text", ["<annotation>", "<annotation><object><bndbox><xmin>5</xmin></bndbox></object></annotation>"])
def test_broken_voc(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.xml").write_text(text)
    with pytest.raises(InputError, match="not a Pascal VOC file"):
        read_truth(tmp_path)


def test_broken_coco(tmp_path: Path) -> None:
    path = tmp_path / "boxes.json"
    path.write_text('{"images": [{"id": 1}], "annotations": []}')
    with pytest.raises(InputError, match="not a COCO detection file"):
        read_coco(path)


def test_rows_per_image(tmp_path: Path) -> None:
    write_per_image(tmp_path / "rows.csv", score_boxes(RECORDS, {**TRUTH, "=cmd.png": [(0, 0, 1, 1)]}, 0.4))
    lines = (tmp_path / "rows.csv").read_text().splitlines()
    assert lines[0] == "file,iou,correct,score"
    assert lines[2] == "b.png,0.5000,1,0.8000"
    assert lines[4] == "'=cmd.png,0.0000,0,"
