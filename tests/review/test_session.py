"""What is said of images: states, undo, several windows, and the corrected file."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from stn_cli.errors import InputError, OutputError
from stn_cli.formats.coco import read_coco
from stn_cli.formats.coco_file import parse_coco
from stn_cli.formats.json_file import read_json
from stn_cli.geometry import box_iou
from stn_cli.review.places import ReviewFiles, place_images
from stn_cli.review.result import check_result
from stn_cli.review.session import Conflict, ReviewSession
from tests.review.sets import reviewed, write_boxes

PAGE = "page-1"
DRAWN = [10.25, 5.5, 30.125, 40.0625]


def opened(boxes: Path) -> ReviewSession:
    data = read_json(boxes, "boxes")
    return ReviewSession(parse_coco(data, boxes), data, ReviewFiles.of(boxes))


@pytest.fixture
def boxes(tmp_path: Path) -> Path:
    return write_boxes(tmp_path / "boxes", 6)


def say(session: ReviewSession, place: int, status: str, page: str = PAGE, **more: Any) -> list[int]:
    base = session.state.images[place].mark.seq
    return session.act(page, [{"i": place, "base": base, "status": status, **more}])


def correct(session: ReviewSession, place: int, *found: list[float], page: str = PAGE) -> None:
    say(session, place, "corrected", page, objects=[{"box": box, "kind": 1} for box in found])


def states(session: ReviewSession) -> list[tuple[str, list[tuple[float, ...]]]]:
    return [(i.mark.status, [o.box for o in i.mark.objects]) for i in session.state.images]


def test_all_that_was_said_is_there_after_a_start(boxes: Path) -> None:
    session = opened(boxes)
    say(session, 0, "accepted")
    correct(session, 1, DRAWN, [0, 0, 10, 10])
    say(session, 2, "none")
    say(session, 5, "none")
    say(session, 5, "unreviewed")
    assert [status for status, _ in states(session)] == [
        "accepted",
        "corrected",
        "none",
        "unreviewed",
        "unreviewed",
        "unreviewed",
    ]
    again = opened(boxes)  # nothing was closed: as after a kill
    assert states(again) == states(session)
    assert again.notes == []
    assert states(again)[1][1] == [tuple(DRAWN), (0, 0, 10, 10)]  # to the last bit


def test_the_corrected_file_says_who_said_what(boxes: Path) -> None:
    session = opened(boxes)
    before = boxes.read_bytes()
    model = [image.model for image in session.state.images]
    say(session, 0, "accepted")
    correct(session, 1, DRAWN)
    say(session, 2, "none")
    correct(session, 3, list(model[3][0].box), [v + 1 for v in model[3][1].box])
    assert session.save()
    assert not session.save()  # there is nothing new
    assert boxes.read_bytes() == before
    found = reviewed(boxes)

    image, (accepted,) = found["000.png"]
    assert (image["reviewed"], image["status"]) == (True, "accepted")
    assert (accepted["reviewed"], accepted["source"], accepted["score"]) == (True, "model", 1.0)
    assert accepted["model_score"] == model[0][0].score
    assert accepted["quad"] == json.loads(before)["annotations"][0]["quad"]

    image, (drawn,) = found["001.png"]
    overlap = box_iou(torch.tensor(DRAWN), torch.tensor(model[1][0].box))
    assert image["rejected"] == ([] if overlap >= 0.5 else [_sides(model[1][0].box)])
    assert (drawn["source"], drawn["bbox"], drawn["score"]) == ("human", [10.25, 5.5, 19.875, 34.5625], 1.0)
    assert "model_score" not in drawn
    assert "quad" not in drawn

    image, none = found["002.png"]
    assert (image["status"], none) == ("none", [])
    assert image["rejected"] == [_sides(model[2][0].box)]

    image, both = found["003.png"]
    assert [row["source"] for row in both] == ["model", "human"]
    assert image["rejected"] == []  # it was moved by a pixel, not rejected

    image, (left,) = found["005.png"]
    assert (image["reviewed"], left["reviewed"], left["source"], left["score"]) == (False, False, "model", model[5][0].score)
    info = json.loads((boxes.parent / "reviewed.json").read_text())["info"]
    assert (info["images_reviewed"], info["orientation"]) == (4, "exif-applied")


def _sides(box: tuple[float, float, float, float]) -> list[float]:
    return [box[0], box[1], box[2] - box[0], box[3] - box[1]]


def test_other_readers_read_the_corrected_file(boxes: Path) -> None:
    from pycocotools.coco import COCO

    session = opened(boxes)
    correct(session, 1, DRAWN, [0, 0, 10, 10])
    session.save()
    result = boxes.parent / "reviewed.json"
    records = {record.file: record for record in read_coco(result)}
    assert [found.box for found in records["001.png"].objects] == [tuple(DRAWN), (0, 0, 10, 10)]
    coco = COCO(str(result))
    ids = coco.getAnnIds()
    assert len(ids) == len(set(ids)) == 1 + 2 + 1 + 2 + 0 + 1
    assert len(coco.getImgIds()) == 6


def test_states_are_what_they_are_called(boxes: Path) -> None:
    session = opened(boxes)
    own = [list(o.box) for o in session.state.images[3].model]
    correct(session, 3, *own)
    assert session.state.images[3].mark.status == "accepted"  # nothing was changed
    correct(session, 3)
    assert session.state.images[3].mark.status == "none"  # nothing is left
    say(session, 4, "accepted")
    assert session.state.images[4].mark.status == "none"  # the model found nothing, and that is right
    correct(session, 0, [-5, -5, 300, 20.5])
    assert states(session)[0][1] == [(0, 0, 60, 20.5)]  # cut to the image


@pytest.mark.parametrize(
    "asked",
    [
        {"status": "corrected", "objects": [{"box": [1, 1, 1.5, 40], "kind": 1}]},  # too thin
        {"status": "corrected", "objects": [{"box": [70, 1, 90, 40], "kind": 1}]},  # outside
        {"status": "corrected", "objects": [{"box": [9, 9, 1, 1], "kind": 1}]},  # corners the wrong way round
        {"status": "corrected", "objects": [{"box": [float("nan"), 1, 9, 9], "kind": 1}]},
        {"status": "corrected", "objects": [{"box": [1, 1, 9, 9], "kind": 5}]},  # no such kind
        {"status": "corrected"},
        {"status": "good"},
        {"status": "none", "i": 6},
        {"status": "none", "i": -1},
    ],
)
def test_nonsense_is_refused_and_writes_nothing(boxes: Path, asked: dict[str, Any]) -> None:
    session = opened(boxes)
    with pytest.raises((ValueError, KeyError)):
        session.act(PAGE, [{"i": 0, "base": 0, "status": "none"}, {"i": 1, "base": 0, **asked}])
    assert session.journal.path.read_bytes() == b""


def test_undo_goes_back_step_by_step_and_is_an_action_itself(boxes: Path) -> None:
    session = opened(boxes)
    seen = [states(session)]
    for do in (
        lambda: say(session, 0, "accepted"),
        lambda: correct(session, 0, DRAWN),
        lambda: session.act(PAGE, [{"i": i, "base": session.state.images[i].mark.seq, "status": "none"} for i in range(6)]),
        lambda: say(session, 2, "accepted"),
    ):
        do()
        seen.append(states(session))
    for expected in reversed(seen[:-1]):
        session = opened(boxes) if len(expected) % 2 else session
        session.undo(PAGE)
        assert states(session) == expected
        assert states(opened(boxes)) == expected
    with pytest.raises(Conflict, match="nothing to undo"):
        session.undo(PAGE)
    assert len(session.journal.path.read_bytes().splitlines()) == 8  # nothing was taken out of the journal


def test_windows_see_each_other_and_overwrite_nothing(boxes: Path) -> None:
    first, second = opened(boxes), opened(boxes)
    correct(first, 0, DRAWN, page="one")
    asked = {"i": 0, "base": 0, "status": "none"}
    with pytest.raises(Conflict) as caught:
        second.act("two", [{**asked, "i": 1}, asked])
    assert caught.value.places == [0]
    assert states(second)[0] == ("corrected", [tuple(DRAWN)])  # it knows now
    assert states(second)[1][0] == "unreviewed"  # an action is done as a whole, or not at all
    say(second, 0, "none", page="two")
    first.catch_up()
    assert states(first) == states(second)
    assert first.changed_since(1) == [0]
    with pytest.raises(Conflict, match="another window has changed it"):
        first.undo("one")
    second.undo("two")
    first.undo("one")  # what came in between was undone
    assert states(first)[0][0] == "unreviewed"
    first.save()
    second.catch_up()
    assert states(first) == states(second)


def test_an_undo_leaves_what_other_windows_did(boxes: Path) -> None:
    session = opened(boxes)
    say(session, 0, "none", page="one")
    say(session, 1, "none", page="two")
    assert session.undo("one") == [0]
    assert [status for status, _ in states(session)[:2]] == ["unreviewed", "none"]


def test_corrections_hold_for_boxes_that_were_found_anew(boxes: Path) -> None:
    session = opened(boxes)
    correct(session, 1, DRAWN)
    say(session, 2, "accepted")
    accepted = states(session)[2]
    write_boxes(boxes.parent, 4, seed=9)  # another model, and two images less
    again = opened(boxes)
    assert states(again)[1] == ("corrected", [tuple(DRAWN)])
    assert states(again)[2] == accepted
    say(session, 5, "none")
    third = opened(boxes)
    assert third.notes == ["review.jsonl speaks of 1 image that cannot be used (not in the boxes): 005.png"]


def test_an_image_of_another_size_is_told(boxes: Path) -> None:
    session = opened(boxes)
    correct(session, 1, DRAWN)
    data = json.loads(boxes.read_text())
    data["images"][1]["width"] = 600
    boxes.write_text(json.dumps(data))
    again = opened(boxes)
    assert again.notes == ["review.jsonl speaks of 1 image that cannot be used (another size now): 001.png"]
    assert states(again)[1][0] == "unreviewed"


def test_a_journal_that_was_changed_by_hand_is_told(boxes: Path) -> None:
    session = opened(boxes)
    say(session, 0, "accepted")
    with open(session.journal.path, "ab") as file:
        file.write(
            b'{"seq": 2, "images": [{"file": "001.png", "size": [60, 48], "status": "great"}]}\n{"seq": 3}\nno json\n{"se'
        )
    again = opened(boxes)
    assert again.notes == [
        "the last line of review.jsonl was cut short when a review was killed: that action was never confirmed, and is left out",
        "3 lines of review.jsonl cannot be read as an action: left out",
    ]
    assert [status for status, _ in states(again)[:2]] == ["accepted", "unreviewed"]
    say(again, 1, "none")
    assert states(opened(boxes)) == states(again)


def test_what_other_tools_say_of_boxes_is_kept_while_they_stay(boxes: Path) -> None:
    data = json.loads(boxes.read_text())
    data["info"] = {"description": "of another tool"}
    data["images"][0] |= {"license": 3}
    data["categories"] = [{"id": 90, "name": "cup", "supercategory": "kitchen", "keypoints": ["rim"]}]
    for row in data["annotations"]:
        row["category_id"] = 90
    polygon = [[1.0, 1.0, 9.0, 1.0, 9.0, 9.0]]
    data["annotations"][0] |= {"segmentation": polygon, "iscrowd": 1}
    boxes.write_text(json.dumps(data))
    session = opened(boxes)
    say(session, 0, "accepted")
    session.save()
    (row,) = reviewed(boxes)["000.png"][1]
    assert (row["segmentation"], row["iscrowd"], row["category_id"]) == (polygon, 1, 90)
    written = json.loads(boxes.with_name("reviewed.json").read_text())
    assert written["info"]["description"] == "of another tool"
    assert "tool" not in written["info"]  # whose names would be escaped
    assert written["images"][0]["license"] == 3
    assert written["categories"] == data["categories"]


def test_kinds_can_be_named_and_added(boxes: Path) -> None:
    session = opened(boxes)
    session.name_kinds(["cup", "mug"])
    session.name_kinds(["cup", "mug"])  # says nothing new
    session.act(PAGE, [{"i": 0, "base": 0, "status": "corrected", "objects": [{"box": DRAWN, "kind": 2}]}])
    again = opened(boxes)
    assert again.state.categories == {1: "cup", 2: "mug"}
    assert len(again.journal.path.read_bytes().splitlines()) == 2
    again.save()
    data = json.loads((boxes.parent / "reviewed.json").read_text())
    assert [(kind["id"], kind["name"]) for kind in data["categories"]] == [(1, "cup"), (2, "mug")]
    assert reviewed(boxes)["000.png"][1][0]["category_id"] == 2


def test_a_box_whose_kind_alone_was_changed_is_a_persons(boxes: Path) -> None:
    session = opened(boxes)
    session.name_kinds(["cup", "mug"])
    box = list(session.state.images[0].model[0].box)
    session.act(PAGE, [{"i": 0, "base": 0, "status": "corrected", "objects": [{"box": box, "kind": 2}]}])
    mark = session.state.images[0].mark
    assert (mark.status, mark.objects[0].human, mark.rejected) == ("corrected", True, ())


def test_files_of_other_boxes_have_other_names(tmp_path: Path) -> None:
    files = ReviewFiles.of(write_boxes(tmp_path, 2, name="cups.json"))
    assert (files.journal.name, files.result.name) == ("cups.review.jsonl", "cups.reviewed.json")


def test_a_result_is_not_reviewed_and_a_strangers_file_not_written_over(boxes: Path) -> None:
    session = opened(boxes)
    say(session, 0, "accepted")
    session.save()
    check_result(session.result)
    with pytest.raises(InputError, match="result of a review"):
        ReviewFiles.of(session.result)
    session.result.write_text('{"info": {}, "images": []}')
    with pytest.raises(OutputError, match="a file is in the way"):
        check_result(session.result)


def test_images_are_found_where_they_are(tmp_path: Path) -> None:
    boxes = write_boxes(tmp_path / "out", 3)
    names = ["000.png", "001.png", "002.png"]
    with pytest.raises(InputError, match=r"images are not found: '000.png'.*Name their folder with --source"):
        place_images(boxes, names, {}, None)
    for folder in (tmp_path / "out" / "images", tmp_path / "elsewhere"):
        folder.mkdir()
        for name in names:
            (folder / name).write_bytes(b"x")
    assert place_images(boxes, names, {}, None)["000.png"] == tmp_path / "out" / "images" / "000.png"
    assert place_images(boxes, names, {}, tmp_path / "elsewhere")["000.png"] == tmp_path / "elsewhere" / "000.png"
    run = tmp_path / "run"
    run.mkdir()
    root = str(tmp_path / "elsewhere").encode()
    (run / "images.txt").write_bytes(
        b"# relative to " + root + b"/\n" + b"".join(root + b"/" + n.encode() + b"\n" for n in names)
    )
    assert place_images(boxes, names, {"run": str(run)}, None)["000.png"] == tmp_path / "elsewhere" / "000.png"


@pytest.mark.skipif(sys.platform != "linux", reason="names there are text")
def test_names_that_are_no_text_are_found(tmp_path: Path) -> None:
    """FAULTS 15: boxes.json has them escaped."""
    (tmp_path / os.fsdecode(b"\xff.png")).write_bytes(b"x")
    boxes = tmp_path / "boxes.json"
    assert place_images(boxes, ["%FF.png"], {"tool": "stn-coloc"}, None)["%FF.png"].is_file()
    (tmp_path / "%FF.png").write_bytes(b"of another tool, which escapes nothing")
    assert place_images(boxes, ["%FF.png"], {}, None)["%FF.png"] == tmp_path / "%FF.png"


@pytest.mark.parametrize("name", ["../000.png", "/etc/passwd", "a/../../b.png", "C:\\x.png"])
def test_names_that_lead_out_are_refused(tmp_path: Path, name: str) -> None:
    """FAULTS 30."""
    with pytest.raises(InputError, match="leads out"):
        place_images(tmp_path / "boxes.json", [name], {}, tmp_path)
