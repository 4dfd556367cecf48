"""Which boxes are taken for objects: those go everywhere, the others are in boxes.json, marked, and nowhere else."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stn_cli.coloc.model.localiser import Localiser
from stn_cli.evaluate import score_boxes
from stn_cli.formats.coco import read_coco
from stn_cli.formats.coco_file import parse_coco
from stn_cli.formats.journal import Journal
from stn_cli.records import ImageRecord, Localisation, corners
from stn_cli.review.state import ReviewState
from tests.conftest import Trained

Call = Callable[..., tuple[int, str, str]]
SCORES = (0.9, 0.6, 0.4, 0.1)
"""Of the objects of each image but the first, which is in doubt as a whole."""


@pytest.fixture
def several(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that finds four objects in each image: the first, really, and three in other places."""
    real = Localiser.records

    def more(self: Localiser, letterboxes: list[Any]) -> list[ImageRecord]:
        return [
            replace(r, objects=spread(r.objects[0], 0.3 if r.file == "000.png" else 1.0)).doubted()
            for r in real(self, letterboxes)
        ]

    monkeypatch.setattr(Localiser, "records", more)


def spread(best: Localisation, share: float) -> tuple[Localisation, ...]:
    boxes = [best.box, *((float(x), 30.0, x + 9.0, 40.0) for x in (0, 20, 40))]
    return tuple(replace(best, box=b, quad=corners(b), score=share * s) for b, s in zip(boxes, SCORES, strict=True))


def per_image(boxes: Path) -> list[tuple[int, int]]:
    """Of each image how many boxes there are, and how many are believed."""
    return [(len(record.objects), len(record.with_believed().objects)) for record in read_coco(boxes)]


@pytest.mark.usefixtures("several")
def test_what_is_not_believed_is_in_boxes_json_alone(trained: Trained, tmp_path: Path, cli: Call) -> None:
    out = tmp_path / "o"
    call = ["localise", trained.images, "-m", trained.run, "-o", out, "--crops", "--report", "--format", "csv,coco-results"]
    code, _, err = cli(*call)
    assert code == 0, err
    assert "20 images, 39 objects, 1 of them below 0.5, 41 less likely boxes left out (they are in boxes.json, marked), " in err
    assert per_image(out / "boxes.json") == [(4, 1)] + 19 * [(4, 2)]
    rows = json.loads((out / "boxes.json").read_text())["annotations"]
    assert all("believed" not in row or row["believed"] is False for row in rows)
    assert len((out / "boxes.csv").read_text().splitlines()) == 1 + 39
    assert len(list((out / "crops").iterdir())) == 39
    assert len(json.loads((out / "boxes.results.json").read_text())) == 80  # for average precision all of them count
    assert (out / "report.html").read_text().count('class="box ') == 39 + 11  # and the six that the page begins with
    state = ReviewState(parse_coco(json.loads((out / "boxes.json").read_text()), out))
    assert [len(image.model) for image in state.images] == [1] + 19 * [2]
    assert state.images[0].doubt_score == pytest.approx(0.27)
    assert state.images[1].doubt_score == 0.6


@pytest.mark.usefixtures("several")
def test_precision_is_averaged_over_all_that_was_found(trained: Trained, tmp_path: Path, cli: Call) -> None:
    for name, flags in (("default", []), ("all", ["--min-score", 0]), ("some", ["--min-score", 0.5])):
        assert cli("localise", trained.images, "-m", trained.run, "-o", tmp_path / name, "-q", *flags)[0] == 0
    assert per_image(tmp_path / "all/boxes.json") == 20 * [(4, 4)]  # who names a score believes what has it
    assert per_image(tmp_path / "some/boxes.json") == [(0, 0)] + 19 * [(2, 2)]
    truth = trained.folder / "boxes.json"
    ours, every, some = (score_boxes(tmp_path / name / "boxes.json", truth) for name in ("default", "all", "some"))
    assert (ours.corloc, ours.ap50, ours.ap) == (every.corloc, every.ap50, every.ap)
    assert some.ap50 is not None
    assert every.ap50 is not None
    assert some.ap50 < every.ap50  # the first image's object is missed


@pytest.mark.usefixtures("several")
def test_a_data_set_holds_what_is_believed(trained: Trained, tmp_path: Path, cli: Call) -> None:
    assert cli("localise", trained.images, "-m", trained.run, "-o", tmp_path / "b", "-q")[0] == 0
    boxes = tmp_path / "b/boxes.json"
    code, out, err = cli("export", boxes, "--format", "csv", "-o", tmp_path / "o", "--json")
    facts = json.loads(out)
    assert code == 0
    assert (facts["images"], facts["objects"], facts["below"]) == (20, 39, 41)
    assert "39 objects, 41 objects not believed left out" in err
    _, out, err = cli("export", boxes, "--format", "csv", "-o", tmp_path / "p", "--json", "--min-score", 0.3)
    assert json.loads(out)["objects"] == 19 * 3
    assert "objects below --min-score left out" in err


def test_of_each_kind_the_best_one_is_believed() -> None:
    one = Localisation("a.jpg", 60, 40, (0, 0, 9, 9), corners((0, 0, 9, 9)), (), 0.45)
    record = ImageRecord(
        "a.jpg", 60, 40, (one, replace(one, score=0.4), replace(one, score=0.3, kind=1), replace(one, score=0.2, kind=1))
    )
    assert [o.believed for o in record.doubted().objects] == [True, False, True, False]
    assert ImageRecord("a.jpg", 60, 40, ()).doubted().objects == ()


def test_a_call_that_is_gone_on_with_knows_what_is_believed(tmp_path: Path) -> None:
    one = Localisation("a.jpg", 60, 40, (0, 0, 9, 9), corners((0, 0, 9, 9)), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0), 0.6)
    record = ImageRecord("a.jpg", 60, 40, (one, replace(one, score=0.2))).doubted()
    journal = Journal(tmp_path / "records.jsonl", {})
    journal.add(record)
    assert list(journal.items()) == [record]
    journal.close()
