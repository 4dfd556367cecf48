"""The table of photographs: what is right, calibration error, results of separate calls that come together, means, contact sheets."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
import torch

from benchmarks import detections, failures, markdown, photo_sheets, photo_table, photos, vit
from benchmarks.common import CHOSEN, SCORER, spread
from benchmarks.tables import TABLES
from stn_cli.records import ImageRecord, Localisation

Box = tuple[float, float, float, float]
Measured = dict[str, Any]
SCORED = pytest.mark.skipif(not SCORER.is_file(), reason="the independent scorer is not here")

# scores, which are right, the error
CALIBRATIONS = [
    ([0.75, 0.75, 0.75, 0.75], [True, True, True, False], 0.0),  # what is said is so
    ([1.0, 1.0], [False, False], 1.0),  # 1 is in the last bin
    ([0.0], [True], 1.0),
    ([0.95, 0.95, 0.15], [True, True, True], (0.05 + 0.05 + 0.85) / 3),  # bins are weighted by their boxes
    ([0.61, 0.69], [True, False], 0.15),  # within a bin only means count
    ([0.59, 0.61], [True, False], (0.41 + 0.61) / 2),  # across bins errors do not cancel
]


@pytest.mark.parametrize(("scores", "right", "error"), CALIBRATIONS)
def test_calibration_error(scores: list[float], right: list[bool], error: float) -> None:
    assert detections.calibration_error(scores, right) == pytest.approx(error)


def test_no_box_has_no_calibration_error() -> None:
    assert detections.calibration_error([], []) is None


def write_boxes(
    folder: Path, found: dict[str, Sequence[tuple[float, Box]]], true: dict[str, Sequence[Box]]
) -> tuple[Path, Path]:
    """A COCO file of scored boxes on images of 100 x 80, and the truth."""
    images, rows = [], []
    for number, (name, boxes) in enumerate(found.items(), 1):
        images.append({"id": number, "file_name": name, "width": 100, "height": 80})
        for score, (x1, y1, x2, y2) in boxes:
            box = [x1, y1, x2 - x1, y2 - y1]
            rows.append({"id": len(rows) + 1, "image_id": number, "category_id": 1, "bbox": box, "score": score})
    coco = {"images": images, "annotations": rows, "categories": [{"id": 1, "name": "object"}]}
    (folder / "found.json").write_text(json.dumps(coco))
    (folder / "true.json").write_text(json.dumps(true))
    return folder / "found.json", folder / "true.json"


LEFT, RIGHT, MIDDLE = (0.0, 0.0, 40.0, 40.0), (50.0, 20.0, 90.0, 70.0), (25.0, 20.0, 75.0, 60.0)
FOUND = {
    "a": [(0.9, LEFT), (0.8, (1.0, 1.0, 41.0, 41.0)), (0.4, RIGHT)],  # the second is on an object that is taken
    "b": [(0.7, LEFT)],
    "c": [],
}
TRUE = {"a": [LEFT, RIGHT], "b": [MIDDLE], "c": [MIDDLE]}


def test_a_second_box_on_an_object_is_wrong(tmp_path: Path) -> None:
    assert detections.scored(*write_boxes(tmp_path, FOUND, TRUE)) == ([0.9, 0.8, 0.4, 0.7], [True, False, True, False])


def test_the_best_centred_box(tmp_path: Path) -> None:
    assert detections.best_centred_box(*write_boxes(tmp_path, FOUND, TRUE)) == pytest.approx(100 * 2 / 3)


@SCORED
def test_a_row_has_what_the_independent_scorers_say(tmp_path: Path) -> None:
    row = photos.accuracy(*write_boxes(tmp_path, FOUND, TRUE))
    assert row == {
        "images": 3,
        "corloc": 33.33,
        "centred": pytest.approx(100 * 2 / 3),
        "ap50": 37.5,  # precision 1 up to recall 1/4, then 1/2 up to 1/2
        "auroc": 0.5,
        "calibration": pytest.approx((0.1 + 0.8 + 0.6 + 0.7) / 4),
        "recall": 25.0,
        "precision": 33.3,
        "found": 1.0,
        "objects": pytest.approx(4 / 3),
    }


@SCORED
def test_what_is_right_is_so_for_the_independent_scorer(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)

    def box() -> Box:
        x, y, w, h = rng.uniform(0, 50), rng.uniform(0, 40), rng.uniform(20, 50), rng.uniform(20, 40)
        return float(x), float(y), float(x + w), float(y + h)

    names = [f"{i:02d}" for i in range(40)]
    found = {name: [(float(rng.uniform()), box()) for _ in range(6)] for name in names}
    boxes, truth = write_boxes(tmp_path, found, {name: [box(), box()] for name in names})
    scores, right = detections.scored(boxes, truth)
    said = photos.all_objects(boxes, truth)
    assert 0 < sum(right) < len(right)
    assert said["detections"] == len(scores)
    assert said["precision"] == pytest.approx(100 * sum(right) / len(right), abs=0.051)
    sure = [hit for score, hit in zip(scores, right, strict=True) if score >= 0.5]
    assert said["precision_at_half"] == pytest.approx(100 * sum(sure) / len(sure), abs=0.051)


def test_training_and_localising_have_default_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []

    def timed(command: list[str]) -> tuple[float, float]:
        commands.append(command)
        return 10.0 * len(commands), 3.0 / len(commands)

    monkeypatch.setattr(photos, "timed", timed)
    done = photos.run(Path("images"), tmp_path, "--seed", "2")
    model, out = str(tmp_path / "run"), str(tmp_path / "boxes")
    assert commands == [
        [sys.executable, "-m", "stn_cli", "train", "images", "-q", "-o", model, "--overwrite", "--seed", "2"],
        [sys.executable, "-m", "stn_cli", "localise", "-q", "-m", model, "-o", out, "--overwrite"],
    ]
    assert (done.train_seconds, done.localise_seconds, done.gigabytes) == (10.0, 20.0, 3.0)
    row = photos.cost(done, images=60, forward=0.25)
    assert (row["per_100"], row["vits_per_100"], row["ratio"]) == (50.0, 50.0, 1.0)


def test_the_first_images_of_a_set_with_their_truth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "photos/s/images").mkdir(parents=True)
    for name in ("b", "a", "c"):
        (tmp_path / "photos/s/images" / name).write_text(name)
    (tmp_path / "photos/s/boxes.json").write_text(json.dumps(TRUE))
    monkeypatch.setattr(photos, "PHOTOS", tmp_path / "photos")
    images, truth = photos.part_of("s", 2, tmp_path)
    assert sorted(path.name for path in images.iterdir()) == ["a", "b"]
    assert json.loads(truth.read_text()).keys() == {"a", "b"}
    assert photos.part_of("s", None, tmp_path) == (tmp_path / "photos/s/images", tmp_path / "photos/s/boxes.json")


def row(name: str, seed: int, **figures: float | None) -> Measured:
    return {photo_table.key_of(name, seed): {"set": name, "seed": seed, **figures}}


def test_results_of_separate_calls_come_together_by_set_and_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "photos.json"
    photos.merge(out, {**row("raccoon", 0, corloc=50), **row("bccd_wbc", 0, corloc=90)}, [0])
    started = photos_started("another call", monkeypatch)
    photos.merge(out, row("raccoon", 1, corloc=70), [1, 2])
    photos.merge(out, {**row("raccoon", 1, corloc=70), **row("raccoon", 0, corloc=60)}, [1, 0])
    data = json.loads(out.read_text())
    keys = ["bccd_wbc seed 0", "raccoon seed 0", "raccoon seed 1"]
    assert list(data["sets"]) == keys
    assert [data["sets"][key]["corloc"] for key in keys] == [90, 60, 70]
    assert [(run["command"] == started, sorted(run["rows"])) for run in data["runs"]] == [(False, keys[:1]), (True, keys[1:])]


def photos_started(command: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """As if another process went on."""
    from benchmarks import provenance

    first = provenance._started()
    monkeypatch.setattr(provenance, "_started", lambda: {**first, "command": command})
    return command


def cell(rows: Measured, name: str, key: str) -> str:
    columns = (*photo_table.ACCURACY, *photo_table.COST)
    line = next(line for line in photo_table.cells(rows, columns) if line[0] == name)
    return line[2 + [c.key for c in columns].index(key)]


def test_a_set_is_the_mean_of_its_seeds_and_what_was_not_measured_a_dash() -> None:
    rows = {**row("raccoon", 0, corloc=70, gigabytes=1.25), **row("raccoon", 1, corloc=75.5, auroc=None)}
    assert cell(rows, "raccoon", "corloc") == "72.8"
    assert cell(rows, "raccoon", "gigabytes") == "1.3"
    assert cell(rows, "raccoon", "auroc") == "-"
    assert cell(rows, "kangaroo", "corloc") == "-"
    assert cell(rows, "voc07_boat", "lost") == "39.3"
    seeds = {line[0]: line[1] for line in photo_table.cells(rows, photo_table.COST)}
    assert (seeds["raccoon"], seeds["kangaroo"]) == ("0, 1", "-")


def test_a_mean_of_a_group_needs_each_of_its_sets() -> None:
    rows: Measured = {}
    for place, name in enumerate(photo_table.SETS):
        if name != "fedex_cctv":
            rows |= row(name, 0, corloc=place, auroc=None if name == "bccd_wbc" else 0.9)
    assert cell(rows, "mean of the old eight", "corloc") == "3.5"
    assert cell(rows, "mean of the old eight", "auroc") == "0.90"  # where all boxes are right there is none
    assert cell(rows, "mean of the new eight", "corloc") == cell(rows, "mean of all", "corloc") == "-"
    assert cell(rows, "mean of the half for constants", "corloc") != "-"
    rows |= row("fedex_cctv", 0, corloc=15, auroc=0.1)
    assert cell(rows, "mean of all", "corloc") == "7.5"
    assert cell(rows, "mean of those with LOST's figure", "lost") == "62.3"
    assert cell(rows, "mean of all", "lost") == "-"


def test_the_groups_are_halves_of_the_sixteen_sets() -> None:
    groups = photo_table.GROUPS
    assert len(set(photo_table.SETS)) == 16
    for one, other in (("the old eight", "the new eight"), ("the half for constants", "the other half")):
        first, second = (set(groups[f"mean of {name}"]) for name in (one, other))
        assert len(first) == len(second) == 8
        assert first | second == set(photo_table.SETS)
    assert set(CHOSEN) == set(groups["mean of the half for constants"])


def test_the_terminals_table_is_aligned() -> None:
    lines = photo_table.text(row("raccoon", 0, corloc=70)).splitlines()
    assert len(lines) == 1 + 16 + len(photo_table.GROUPS)
    assert len({len(line) for line in lines}) == 1


@pytest.mark.parametrize("name", ["photos", "photos_cost", "front"])
def test_pages_are_made_of_new_results_too(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in markdown.RESULTS.glob("*.json"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    new = row("voc07_boat", 0, **{c.key: 45.678 for c in (*photo_table.ACCURACY, *photo_table.COST)})
    photos.merge(tmp_path / "photos.json", {**new, **row("voc07_boat", 1, corloc=50.0)}, [0, 1])
    monkeypatch.setattr(markdown, "RESULTS", tmp_path)
    said = TABLES[name]()
    expected = {
        "photos": "| voc07_boat | 0, 1 | **47.8** | 46 | 39.3 | 45.7 | 45.68 | 45.68 | 46 | 46 | 45.68 | 45.68 |",
        "photos_cost": "| voc07_boat | 0, 1 | 46 | 45.7 | 45.7 GB | 45.7 | 45.7 | 45.68 |",
        "front": "| boxes on boats (VOC 2007), CorLoc | LOST, DINO ViT-S/16 | 47.8 / 39.3 = 1.22 |",
    }
    assert expected[name] in said


@pytest.fixture
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, int | None, Path | None]]:
    """Calls of `measure`, which takes no time; results go below the test's folder."""
    calls: list[tuple[str, int, int | None, Path | None]] = []

    def measure(name: str, seed: int, count: int | None, sheets: Path | None) -> dict[str, Any]:
        calls.append((name, seed, count, sheets))
        return {"set": name, "seed": seed, "corloc": 50.0}

    monkeypatch.setattr(photos, "measure", measure)
    monkeypatch.setattr(photos, "need", lambda path: None)
    monkeypatch.setattr(photos, "RESULTS", tmp_path / "results")
    return calls


def call(monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    monkeypatch.setattr(sys, "argv", ["photos", *words])
    photos.main()


def test_all_sets_and_three_seeds_when_nothing_is_said(
    measured: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    call(monkeypatch)
    assert [c[:2] for c in measured] == [(name, seed) for seed in (0, 1, 2) for name in photo_table.SETS]
    data = json.loads((tmp_path / "results/photos.json").read_text())
    assert len(data["sets"]) == 48
    assert data["runs"][0]["seeds"] == [0, 1, 2]
    assert capsys.readouterr().out.splitlines()[-1].startswith("mean of all")


def test_a_quick_look_is_not_among_the_results(measured: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("--sets", "raccoon", "--images", "5", "--seeds", "3", "4", "--sheets", str(tmp_path / "s"))
    call(monkeypatch, *words)
    assert measured == [("raccoon", 3, 5, tmp_path / "s"), ("raccoon", 4, 5, None)]
    assert not (tmp_path / "results").exists()
    call(monkeypatch, *words, "--out", str(tmp_path / "mine.json"))
    assert list(json.loads((tmp_path / "mine.json").read_text())["sets"]) == ["raccoon seed 3", "raccoon seed 4"]


@pytest.mark.parametrize("words", [("--sets", "unicorn"), ("--images", "0"), ("--seeds", "-1"), ("--seeds", "one")])
def test_bad_options_end_with_what_is_wrong(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        call(monkeypatch, *words)
    assert end.value.code == 2
    assert words[0] in capsys.readouterr().err.splitlines()[-1]


def test_images_for_a_transformer_are_padded_to_whole_patches(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.full((33, 64, 3), 255, np.uint8))
    image = vit.padded(tmp_path / "a.png")
    assert image.shape == (1, 3, 48, 64)
    assert image[..., :33, :].eq(1).all()
    assert image[..., 33:, :].eq(0).all()
    assert vit.seconds_per_image([image, torch.zeros(1, 3, 16, 16)]) > 0


def test_items_are_spread_over_the_whole() -> None:
    assert spread(range(10), 5) == [1, 3, 5, 7, 9]
    assert spread(range(3), 24) == [0, 1, 2]


def test_a_contact_sheet(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    names = [f"{i:02d}.png" for i in range(30)]
    for name in names:
        cv2.imwrite(str(images / name), np.zeros((80, 100, 3), np.uint8))
    found = {name: [(0.9, LEFT), (0.2, MIDDLE)] for name in names}
    picture = photo_sheets.sheet(images, *write_boxes(tmp_path, found, {name: [RIGHT] for name in names}), "title")
    cells = 6 * (300 + photo_sheets.STRIP)
    assert picture.shape == (photo_sheets.STRIP + cells, 1500, 3)
    first = picture[photo_sheets.STRIP :, :375]
    assert tuple(first[round(3.75 * 45), round(3.75 * 90)]) == photo_sheets.GREEN  # the truth's right side
    assert tuple(first[round(3.75 * 30), round(3.75 * 40)]) == photo_sheets.RED
    assert tuple(first[round(3.75 * 60), round(3.75 * 48)]) == photo_sheets.GREY


def test_failures_are_drawn_as_outlines_in_the_scale_of_the_image() -> None:
    found = Localisation(
        "a<b.jpg",
        400,
        200,
        (40.0, 20.0, 200.0, 100.0),
        ((40.0, 20.0), (200.0, 20.0), (200.0, 100.0), (40.0, 100.0)),
        (1.0,),
        0.81,
    )
    text = failures.drawn([ImageRecord("a<b.jpg", 400, 200, (found,))], {"a<b.jpg": [(0.0, 0.0, 400.0, 200.0)]})
    rectangles = [element.attrib for element in ElementTree.fromstring(text).iter() if element.tag.endswith("rect")]
    assert [rectangle["width"] for rectangle in rectangles] == ["220.0", "88.0", "220.0"]
    assert rectangles[1]["x"] == "22.0"
    assert "0.81" in text
