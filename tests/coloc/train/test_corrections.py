"""Training with what a person said of some images: from the beginning, from a finished run, and resumed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from stn_cli.coloc.annotations import fitting
from stn_cli.coloc.score.annotated_search import matched, offset_of
from stn_cli.coloc.score.dense import Anchors
from stn_cli.coloc.train.run import train as learn
from stn_cli.errors import CheckpointError, Interrupted, UsageError
from stn_cli.geometry import Frame, box_iou
from stn_cli.instances.proposer import Proposer
from stn_cli.jobs.train import train
from stn_cli.records import AnnotatedImage, Skipped
from stn_cli.runs import checkpoint
from stn_cli.runs.annotations import ANNOTATIONS, read_run_annotations
from stn_cli.runs.config import TrainConfig
from stn_cli.runs.folder import read_skipped
from tests.coloc.train.test_run import StopAt, weights
from tests.conftest import QUICK, Trained, write_image

Call = Callable[..., tuple[int, str, str]]


def places(run: Path) -> tuple[list[str], torch.Tensor, torch.Tensor]:
    """Names, and of the first kind its boxes and whether they are believed to be there."""
    saved = checkpoint.load_state(run)
    boxes, _, present = saved["kinds"][0]["places"]
    return saved["names"], boxes, present


def test_a_run_is_gone_on_from_with_what_was_said(trained: Trained, tmp_path: Path, cli: Call) -> None:
    before = {file.name: file.read_bytes() for file in trained.run.iterdir()}
    boxes = {"003.png": [[1.5, 2, 30, 20]], "007.png": []}
    (tmp_path / "annotations.json").write_text(json.dumps(boxes))
    new = tmp_path / "new"
    code, out, err = cli("train", "--from", trained.run, "--boxes", tmp_path / "annotations.json", "-o", new, "--no-report")
    assert (code, out.strip()) == (0, str(new)), err
    assert {file.name: file.read_bytes() for file in trained.run.iterdir()} == before  # stays as it is
    names, found, present = places(new)
    wanted = Frame(60, 48, 48).boxes_to_letterbox(torch.tensor(boxes["003.png"][0]))
    torch.testing.assert_close(found[names.index("003.png"), 0], wanted)  # a fixed crop
    assert bool(present[names.index("003.png"), 0])
    assert not bool(present[names.index("007.png")].any())
    assert [(i.file, len(i.boxes)) for i in read_run_annotations(new)] == [("003.png", 1), ("007.png", 0)]
    assert TrainConfig.of_run(new) == TrainConfig.of_run(trained.run)
    # what was said before is known to the next one, and what is said anew wins
    (tmp_path / "more.json").write_text(json.dumps({"003.png": [[2, 2, 30, 20], [31, 3, 40, 12]]}))
    code, _, err = cli("train", "--from", new, "--boxes", tmp_path / "more.json", "-o", tmp_path / "third", "--no-report")
    assert code == 0, err
    assert {i.file: len(i.boxes) for i in read_run_annotations(tmp_path / "third")} == {"003.png": 2, "007.png": 0}


@pytest.mark.parametrize(("stage", "count"), [("corrections", 1), ("regression", 3)])
def test_a_stopped_one_keeps_what_was_said(trained: Trained, tmp_path: Path, stage: str, count: int) -> None:
    boxes = {"003.png": [(1.5, 2.0, 30.0, 20.0)]}
    whole, run = tmp_path / "whole", tmp_path / "run"
    train(None, whole, boxes=boxes, start=trained.run, report=False, progress=False)
    with pytest.raises(Interrupted):
        train(None, run, boxes=boxes, start=trained.run, report=False, reporter=StopAt(stage, count))
    other = tmp_path / "other"
    shutil.copytree(run, other)
    train(None, run, resume=True, report=False, progress=False)
    first, second = weights(whole), weights(run)
    assert first.keys() == second.keys()
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    (other / "unfinished" / ANNOTATIONS).unlink()
    with pytest.raises(CheckpointError, match="the annotations are not those that the run began with"):
        train(None, other, resume=True, report=False, progress=False)


def test_a_training_begins_with_what_was_said(trained: Trained, tmp_path: Path) -> None:
    boxes = {name: [tuple(map(float, own[0]))] for name, own in list(trained.truth.items())[:3]}
    train(trained.images, tmp_path / "run", TrainConfig(**QUICK), boxes=boxes, report=False, progress=False)
    names, found, _ = places(tmp_path / "run")
    for name, own in boxes.items():
        wanted = Frame(60, 48, 48).boxes_to_letterbox(torch.tensor(own[0]))
        torch.testing.assert_close(found[names.index(name), 0], wanted)


BAD = [
    ({"nowhere.png": [[1, 2, 9, 9]]}, "names none of the images"),
    ({"003.png": [[70, 2, 90, 20]]}, "lies outside"),
    ({"003.png": [[1, 2, 1.5, 20]]}, "less than a pixel"),
    ({"003.png": [[1, 2, float("nan"), 20]]}, "not a number"),
    ('{"003.png": [], "003.png": [[1, 2, 9, 9]]}', "stands in it twice"),
]


@pytest.mark.parametrize(("boxes", "why"), BAD, ids=[why for _, why in BAD])
def test_boxes_that_cannot_be_used_end_in_one_line(
    trained: Trained, tmp_path: Path, cli: Call, boxes: object, why: str
) -> None:
    (tmp_path / "annotations.json").write_text(boxes if isinstance(boxes, str) else json.dumps(boxes))
    code, out, err = cli("train", "--from", trained.run, "--boxes", tmp_path / "annotations.json", "-o", tmp_path / "new", "-q")
    assert (code, out) == (3, "")
    assert why in err.splitlines()[-1]
    assert err.splitlines()[-1].startswith("error: ")
    assert not (tmp_path / "new" / checkpoint.MODEL).exists()


def test_a_part_that_cannot_be_used_is_listed(trained: Trained, tmp_path: Path, cli: Call) -> None:
    boxes = {"003.png": [[1, 2, 30, 20]], "004.png": [[1, 2, 30, 20], [99, 2, 120, 20]], "gone.png": []}
    (tmp_path / "annotations.json").write_text(json.dumps(boxes))
    new = tmp_path / "new"
    words = ("train", "--from", trained.run, "--boxes", tmp_path / "annotations.json", "-o", new, "--no-report", "--strict")
    code, _, err = cli(*words)
    assert code == 3  # --strict
    assert "1 image of the file of boxes not among the images, left out: gone.png" in err
    assert [i.file for i in read_run_annotations(new)] == ["003.png"]
    assert [(r.file, r.reason.split(":")[0]) for r in read_skipped(new)] == [("004.png", "boxes not used")]


def test_boxes_of_another_orientation_are_not_used(tmp_path: Path) -> None:
    frame = Frame(48, 60, 48)  # upright
    turned = fitting(AnnotatedImage("a.jpg", 60, 48, (((1, 2, 30, 20), 0),)), frame)
    assert isinstance(turned, Skipped)
    assert "boxes are of the upright image" in turned.reason
    halved = fitting(AnnotatedImage("a.jpg", 24, 30, (((1, 2, 20, 20), 0),), ((0, 0, 5, 5),)), frame)
    assert halved == AnnotatedImage("a.jpg", 48, 60, (((2, 4, 40, 40), 0),), ((0, 0, 10, 10),))


def test_boxes_are_of_the_upright_frame(trained: Trained, tmp_path: Path) -> None:
    """An image that EXIF turns by a quarter: its box is told as it is seen."""
    images = tmp_path / "images"
    shutil.copytree(trained.images, images)
    with Image.open(images / "003.png") as picture:
        exif = Image.Exif()
        exif[0x0112] = 6
        picture.transpose(Image.Transpose.ROTATE_90).save(images / "003.jpg", exif=exif)
    (images / "003.png").unlink()
    box = (1.5, 2.0, 30.0, 20.0)
    train(images, tmp_path / "new", boxes={"003.jpg": [box]}, start=trained.run, report=False, progress=False)
    names, found, _ = places(tmp_path / "new")
    torch.testing.assert_close(found[names.index("003.jpg"), 0], Frame(60, 48, 48).boxes_to_letterbox(torch.tensor(box)))


def test_from_takes_a_finished_run_and_its_own_settings(trained: Trained, tmp_path: Path, cli: Call) -> None:
    code, _, err = cli("train", "--from", trained.run, "--imgsz", 64, "-o", tmp_path / "new")
    assert code == 2
    assert "imgsz: 48 in the run, 64 given" in err
    code, _, err = cli("train", "--from", tmp_path, "-o", tmp_path / "new")
    assert code == 5, err
    code, _, err = cli("train", "--from", trained.run, "--resume", "-o", tmp_path / "new")
    assert code == 2
    assert "Leave out --boxes and --from" in err
    code, _, err = cli("train", "--from", trained.run, "-o", trained.run, "--overwrite")
    assert code == 4, err
    with pytest.raises(UsageError, match="kinds: 1 in the run, 2 given"):
        learn(None, tmp_path / "new", TrainConfig(**QUICK, kinds=2), start=trained.run)


def test_anchors_say_what_cells_are(tmp_path: Path) -> None:
    found = torch.zeros((3, 4, 4), dtype=torch.bool)
    found[:, 0, 0] = True
    half = torch.tensor([[-1.0, -1.0, 0.0, 1.0]])
    anchors = Anchors({0: half, 2: torch.zeros((0, 4))}, {0: torch.zeros((0, 4)), 2: half}, 0.5)
    inside, counts, hard = anchors.cells(found)
    assert inside[0].sum() == 8
    assert inside[1].sum() == 1
    assert inside[2].sum() == 0
    assert counts.tolist() == [0.75, 1.5, 0.75]  # the two together as much as the other
    assert hard[0].sum() == 0
    assert (hard[2] > 0).sum() == 8


def test_scores_are_moved_to_how_often_they_are_right() -> None:
    odds, right = torch.full((400,), 3.0), torch.arange(400) < 200
    assert offset_of(odds, right) == pytest.approx(-3, abs=0.05)
    assert -2 < offset_of(odds[:2], right[-2:]) < -1  # two say less
    known = torch.tensor([[0.0, 0, 1, 1], [2, 2, 3, 3]])
    boxes = torch.tensor([[0.0, 0, 1, 1], [0, 0, 1, 1.1], [5, 5, 6, 6], [2, 2, 3, 3.2]])
    assert matched(boxes, known) == [True, False, False, True]
    assert matched(boxes, known[:0]) == [False] * 4
    proposer = Proposer()
    images, rectangles = torch.rand((1, 3, 48, 48)), torch.tensor([[-1.0, -1, 1, 1]])
    before = proposer(images, rectangles, 5)
    proposer.shift(-1.5)
    after = proposer(images, rectangles, 5)
    torch.testing.assert_close(after.odds, before.odds - 1.5, atol=0.05, rtol=0)
    torch.testing.assert_close(after.boxes, before.boxes)


def test_one_example_says_what_is_looked_for(tmp_path: Path) -> None:
    """Each image holds an F and a much larger ring of the same form everywhere: one box around an F finds all of them."""
    rng = np.random.default_rng(0)
    truth = {}
    for n in range(12):
        picture = rng.integers(0, 40, (80, 80, 1), np.uint8).repeat(3, 2)
        x, y = int(rng.integers(2, 14)), int(rng.integers(2, 14))
        cv2.circle(picture, (x + 44, y + 44), 18, (255, 255, 255), 3)
        cv2.putText(picture, "F", (x, y + 20), cv2.FONT_HERSHEY_DUPLEX, 0.8, (255, 255, 255), 2)
        write_image(tmp_path / "images" / f"{n:02d}.png", picture)
        truth[f"{n:02d}.png"] = [(x, y, x + 18, y + 22)]
    config = TrainConfig(**QUICK | {"imgsz": 80, "search": "rigid", "transform": "box", "steps": 1, "finetune": 0})
    hits = {}
    for name, boxes in (("alone", None), ("shown", {"03.png": truth["03.png"]})):
        train(tmp_path / "images", tmp_path / name, config, boxes=boxes, report=False, progress=False)
        names, found, _ = places(tmp_path / name)
        wanted = torch.stack(
            [Frame(80, 80, 80).boxes_to_letterbox(torch.tensor(truth[n][0], dtype=torch.float32)) for n in names]
        )
        hits[name] = int((box_iou(found[:, 0], wanted) > 0.4).sum())
    assert hits["alone"] <= 2
    assert hits["shown"] >= 10
