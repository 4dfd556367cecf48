from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from stn_cli.errors import InputError
from stn_cli.evaluate import read_truth, score_boxes, write_per_image
from stn_cli.evaluate.precision import average_precision
from stn_cli.formats.coco import CocoWriter, read_coco
from stn_cli.formats.csv import CsvWriter
from stn_cli.records import ImageRecord, Localisation, PixelBox, TrueObject
from tests.conftest import SHARED
from tests.formats.test_truth import boxes

Call = Callable[..., tuple[int, str, str]]


def record(name: str, *scored: tuple[PixelBox, float]) -> ImageRecord:
    quad = ((0.0, 0.0),) * 4
    objects = [Localisation(name, 100, 100, box, quad, (1, 0, 0, 0, 1, 0), s) for box, s in scored]
    return ImageRecord(name, 100, 100, tuple(sorted(objects, key=lambda o: -o.score)))


RECORDS = [
    record("a.png", ((0, 0, 10, 10), 0.9), ((50, 50, 60, 60), 0.95)),  # the better-scored box is the wrong one
    record("b.png", ((0, 0, 10, 10), 0.8)),
    record("c.png"),
]
TRUTH: dict[str, list[PixelBox]] = {
    "a.png": [(0, 0, 10, 10)],
    "b.png": [(90, 90, 99, 99), (0, 0, 10, 20)],
    "c.png": [(1, 1, 5, 5)],
}


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
    same = {"a.png": [(0, 0, 10, 10)]}
    assert boxes(read_truth(tmp_path / "coco.json")) == same
    (tmp_path / "truth.json").write_text(json.dumps(same))
    assert boxes(read_truth(tmp_path / "truth.json")) == same
    (tmp_path / "voc").mkdir()
    (tmp_path / "voc/a.xml").write_text(
        "<annotation><filename>a.png</filename><object><bndbox><xmin>1</xmin><ymin>1</ymin>"
        "<xmax>10</xmax><ymax>10</ymax></bndbox></object></annotation>"
    )
    assert boxes(read_truth(tmp_path / "voc")) == same  # 1-based inclusive -> 0-based continuous


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
    write_per_image(tmp_path / "rows.csv", score_boxes(RECORDS, {**TRUTH, "=cmd.png": [(0, 0, 1, 1)], "d.png": []}, 0.4))
    lines = (tmp_path / "rows.csv").read_text().splitlines()
    assert lines[0] == "file,iou,correct,score"
    assert lines[2] == "b.png,0.5000,1,0.8000"
    assert lines[4] == "'=cmd.png,0.0000,0,"
    assert lines[5] == "d.png,,,"  # no object: neither right nor wrong


SIDE = 400


def made(seed: int, images: int = 40) -> tuple[list[ImageRecord], dict[str, list[PixelBox]]]:
    """Several objects an image, found with some error, some missed, some made up; true boxes lie apart, so that matching is plain."""
    rng = np.random.default_rng(seed)
    records, truth = [], {}
    for n in range(images):
        corner = 100 * rng.permutation(16)[: rng.integers(1, 7)]
        true = [(float(c % SIDE), float(c // SIDE * 100), float(c % SIDE) + 60, float(c // SIDE * 100) + 60) for c in corner]
        found = []
        for x1, y1, x2, y2 in true:
            if rng.random() < 0.8:
                dx, dy = rng.normal(0, 9, 2)
                found.append(((x1 + dx, y1 + dy, x2 + dx, y2 + dy), float(rng.beta(4, 2))))
        found += [((0.0, 0.0, 390.0, float(rng.integers(300, 390))), float(rng.beta(2, 3))) for _ in range(rng.integers(0, 3))]
        truth[f"{n}.png"] = true
        records.append(record(f"{n}.png", *found))
    return records, truth


def independent(scorer: str, folder: Path, records: list[ImageRecord], truth: dict[str, list[PixelBox]]) -> dict[str, float]:
    writer = CocoWriter(folder / "boxes.json", {})
    for r in records:
        writer.add(r)
    writer.close()
    (folder / "truth.json").write_text(json.dumps(truth))
    command = [sys.executable, str(SHARED / "score" / scorer), str(folder / "boxes.json"), str(folder / "truth.json")]
    return json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)


@pytest.mark.skipif(not (SHARED / "score/ap.py").is_file(), reason="the independent scorer is not here")
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_average_precision_agrees_with_the_independent_scorer(tmp_path: Path, seed: int) -> None:
    records, truth = made(seed)
    other = independent("ap.py", tmp_path, records, truth)
    ours = score_boxes(records, truth)
    assert ours.ap50 == pytest.approx(other["ap"], abs=1)  # 101 recalls here, all of them there
    assert ours.counts.objects == other["objects"]
    assert ours.counts.recall == pytest.approx(other["recall_at_half"], abs=0.051)
    assert ours.counts.precision == pytest.approx(other["precision_at_half"], abs=0.051)
    assert ours.corloc == pytest.approx(independent("corloc.py", tmp_path, records, truth)["corloc"], abs=0.0051)


def test_average_precision_in_closed_form() -> None:
    box: PixelBox = (0, 0, 100, 100)
    half: PixelBox = (0, 0, 100, 72)  # IoU .72: right up to .7, the fifth of ten thresholds
    truth = {"a.png": [box], "b.png": [box]}
    perfect = score_boxes([record("a.png", (box, 0.9)), record("b.png", (box, 0.8))], truth)
    assert (perfect.ap50, perfect.ap) == (pytest.approx(100), pytest.approx(100))
    loose = score_boxes([record("a.png", (half, 0.9)), record("b.png", (half, 0.8))], truth)
    assert (loose.ap50, loose.ap) == (pytest.approx(100), pytest.approx(50))
    one = score_boxes([record("a.png", (box, 0.9)), record("b.png")], truth)
    assert one.ap50 == pytest.approx(100 * 51 / 101)  # precision 1 up to recall .5
    assert score_boxes([record("a.png"), record("b.png")], truth).ap50 == 0
    twice = score_boxes([record("a.png", (box, 0.9), (box, 0.8)), record("b.png", (box, 0.7))], truth)
    assert (twice.counts.right, twice.counts.wrong) == (2, 1)  # a second box on the same object is wrong


def test_more_than_a_hundred_boxes_of_an_image_count() -> None:
    boxes = [(float(n), 0.0, n + 0.9, 1.0) for n in range(250)]
    result = score_boxes([record("a.png", *((box, 0.9) for box in boxes))], {"a.png": boxes})
    assert (result.ap50, result.ap, result.counts.recall) == (pytest.approx(100), pytest.approx(100), 100)


def test_recall_and_precision_at_a_score() -> None:
    true: list[PixelBox] = [(0, 0, 10, 10), (50, 50, 60, 60)]
    records = [record("a.png", (true[0], 0.9), (true[1], 0.4), ((80, 80, 90, 90), 0.45), ((70, 70, 80, 80), 0.2))]
    assert [score_boxes(records, {"a.png": true}, score=s).counts.recall for s in (0.95, 0.5, 0.4)] == [0, 50, 100]
    assert score_boxes(records, {"a.png": true}, score=0.95).counts.precision is None
    assert score_boxes(records, {"a.png": true}, score=0.4).counts.precision == pytest.approx(100 * 2 / 3)  # .4 itself counts


Marked = list[tuple[list[tuple[float, PixelBox]], list[TrueObject]]]


def by_pycocotools(images: Marked) -> tuple[float, float]:
    """AP50 and AP as its scorer counts them."""
    truth, found = COCO(), COCO()
    listed = {"images": [{"id": n} for n in range(len(images))], "categories": [{"id": 1}]}
    rows: list[list[dict[str, Any]]] = [[], []]
    for n, (scored, objects) in enumerate(images):
        for (x1, y1, x2, y2), score, o in [(o.box, 1.0, o) for o in objects] + [(box, s, None) for s, box in scored]:
            row = {"image_id": n, "category_id": 1, "bbox": [x1, y1, x2 - x1, y2 - y1], "score": score, "iscrowd": 0}
            row["area"] = -1.0 if o is not None and o.difficult else (x2 - x1) * (y2 - y1)  # out of range: left out
            row["iscrowd"] = int(o is not None and o.crowd)
            rows[o is None].append(row | {"id": 1 + len(rows[o is None])})
    for coco, listing in zip((truth, found), rows, strict=True):
        coco.dataset = {**listed, "annotations": listing}
        coco.createIndex()
    scorer = COCOeval(truth, found, "bbox")
    scorer.params.areaRng, scorer.params.areaRngLbl = [[0, float("inf")]], ["all"]
    scorer.params.maxDets = [max(len(scored) for scored, _ in images)]
    scorer.evaluate()
    scorer.accumulate()
    precision = scorer.eval["precision"]
    return 100 * float(precision[0].mean()), 100 * float(precision.mean())


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # in pycocotools' masks
@pytest.mark.parametrize("seed", range(8))
def test_average_precision_is_that_of_pycocotools(seed: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Objects that overlap, that are difficult or a crowd, scores that are equal, images without either."""
    rng = np.random.default_rng(seed)
    images: Marked = []
    for _ in range(60):
        corners = rng.integers(0, 60, (rng.integers(0, 7), 2)).astype(float)
        true = [TrueObject((x, y, x + 50, y + 40), None, rng.random() < 0.15, rng.random() < 0.15) for x, y in corners]
        near = [tuple(np.array(o.box) + rng.normal(0, 4, 4)) for o in true for _ in range(rng.integers(0, 3))]
        near += [(x, y, x + 45, y + 45) for x, y in rng.integers(0, 60, (rng.integers(0, 4), 2)).astype(float)]
        boxes = sorted(((round(float(rng.random()), 1), tuple(map(float, box))) for box in near), key=lambda f: -f[0])
        images.append((boxes, true))  # type: ignore[arg-type]
    assert average_precision(images) == pytest.approx(by_pycocotools(images), rel=1e-12)


def files(folder: Path) -> tuple[Path, Path]:
    """RECORDS and TRUTH as files."""
    writer = CocoWriter(folder / "boxes.json", {})
    for r in RECORDS:
        writer.add(r)
    writer.close()
    (folder / "truth.json").write_text(json.dumps(TRUTH))
    return folder / "boxes.json", folder / "truth.json"


def test_what_is_printed(tmp_path: Path, cli: Call) -> None:
    pair = files(tmp_path)
    code, out, err = cli("evaluate", *pair, "--iou", "0.4", "--score", "0.7")
    assert (code, err) == (0, "")
    rows = dict(re.split(r"  +", line.strip(), maxsplit=1) for line in out.splitlines())
    assert rows["CorLoc (IoU > 0.4)"] == "33.3 %"
    assert rows["AP (IoU .5)"].endswith(" %")
    assert rows["recall (score >= 0.7, IoU > 0.4)"] == "50.0 %"  # 2 of 4: a and one of b
    assert rows["precision (score >= 0.7, IoU > 0.4)"] == "66.7 %"
    assert rows["objects"] == "4"
    said = json.loads(cli("evaluate", *pair, "--json")[1])
    old = ["corloc", "mean_iou", "images", "missing", "corloc_best_half", "corloc_rest"]
    assert list(said)[:6] == old
    assert {"ap50", "ap", "recall", "precision", "images_without_object", "not_predicted", "without_truth"} <= said.keys()


@pytest.mark.parametrize("flags", [("--score", "nan"), ("--score", "inf"), ("--iou", "nan"), ("--iou", "1"), ("--score", "x")])
def test_flags_that_cannot_be_used_end_with_2(tmp_path: Path, cli: Call, flags: tuple[str, str]) -> None:
    assert cli("evaluate", *files(tmp_path), *flags)[0] == 2


def test_csv_never_replaces_what_is_read_or_what_a_person_wrote(tmp_path: Path, cli: Call) -> None:
    predicted, truth = files(tmp_path)
    (tmp_path / "mine.csv").write_text("my,own\n1,2\n")
    (tmp_path / "sub").mkdir()
    links = hasattr(os, "symlink") and os.name != "nt"
    if links:
        (tmp_path / "link.csv").symlink_to("mine.csv")
        (tmp_path / "dangling.csv").symlink_to("nowhere.csv")
    before = {p: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()}
    targets = ["boxes.json", "truth.json", "mine.csv", "sub", "no/rows.csv", *(["link.csv", "dangling.csv"] if links else [])]
    for name in targets:
        code, out, err = cli("evaluate", predicted, truth, "--csv", tmp_path / name)
        assert (code, out) == (4, ""), name
        assert err.count("\n") == 1
        assert cli("evaluate", predicted, truth, "--csv", tmp_path / name, "--overwrite")[0] == 4, name
    assert {p: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()} == before


def test_csv_replaces_its_own(tmp_path: Path, cli: Call) -> None:
    pair = files(tmp_path)
    assert cli("evaluate", *pair, "--csv", tmp_path / "rows.csv")[0] == 0
    assert cli("evaluate", *pair, "--csv", tmp_path / "rows.csv")[0] == 4  # a person may have gone on with it
    assert cli("evaluate", *pair, "--csv", tmp_path / "rows.csv", "--overwrite")[0] == 0
    writer = CsvWriter(tmp_path / "boxes.csv")  # of this tool, but of another command
    writer.close()
    assert cli("evaluate", *pair, "--csv", tmp_path / "boxes.csv", "--overwrite")[0] == 4


def test_csv_does_not_go_into_the_truth_folder_over_an_annotation(tmp_path: Path, cli: Call) -> None:
    predicted, _ = files(tmp_path)
    (tmp_path / "voc").mkdir()
    target = tmp_path / "voc" / "a.xml"
    target.write_text("<annotation><filename>a.png</filename></annotation>")
    assert cli("evaluate", predicted, tmp_path / "voc", "--csv", target, "--overwrite")[0] == 4


def test_csv_of_tracks_never_replaces_what_is_read_or_what_a_person_wrote(tmp_path: Path, cli: Call) -> None:
    (tmp_path / "t.txt").write_text("1,1,1,1,5,5,0.9,1,1,-1\n")
    (tmp_path / "b.json").write_text("[[0, 0, 5, 5], null]")
    (tmp_path / "mine.csv").write_text("mine")
    for name in ("t.txt", "b.json", "mine.csv"):
        assert cli("evaluate", tmp_path / "t.txt", tmp_path / "b.json", "--csv", tmp_path / name)[0] == 4
    for again in ([], ["--overwrite"]):
        assert cli("evaluate", tmp_path / "t.txt", tmp_path / "b.json", "--csv", tmp_path / "rows.csv", *again)[0] == 0
    assert cli("evaluate", tmp_path / "t.txt", tmp_path / "b.json", "--category", "x")[0] == 2


def test_without_a_temporary_folder_several_tracks_end_with_7(
    tmp_path: Path, cli: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "t.txt").write_text("1,1,1,1,5,5,0.9,1,1,-1\n")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    code, _, err = cli("evaluate", tmp_path / "t.txt", tmp_path / "t.txt")
    assert code == 7
    assert "TMPDIR" in err


def test_a_track_with_a_frame_number_beyond_reason_is_scored_at_once(tmp_path: Path, cli: Call) -> None:
    (tmp_path / "t.txt").write_text("1,1,1,1,5,5,0.9,1,1,-1\n999999999,1,1,1,5,5,0.9,1,1,-1\n")
    code, out, _ = cli("evaluate", tmp_path / "t.txt", tmp_path / "t.txt", "--json")
    assert (code, json.loads(out)["hota"]) == (0, 1)


def test_an_empty_truth_of_tracks_ends_with_3(tmp_path: Path, cli: Call) -> None:
    (tmp_path / "t.txt").write_text("1,1,1,1,5,5,0.9,1,1,-1\n")
    for name, text in (("e.txt", ""), ("e.json", "[]")):
        (tmp_path / name).write_text(text)
        assert cli("evaluate", tmp_path / "t.txt", tmp_path / name)[0] == 3
