"""What a person said of images, in every form that is read, and what is refused: nothing that was said is dropped in silence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stn_cli.errors import InputError
from stn_cli.formats.annotations import plain_annotations, read_annotations
from tests.review.sets import write_boxes


def written(folder: Path, data: Any) -> Path:
    path = folder / "annotations.json"
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return path


def coco(*images: dict[str, Any], boxes: tuple[tuple[int, list[float], int], ...] = (), **info: Any) -> dict[str, Any]:
    return {
        "info": info,
        "images": [{"id": n, "width": 60, "height": 48, **image} for n, image in enumerate(images, 1)],
        "categories": [{"id": 7, "name": "cup"}, {"id": 9, "name": "mug"}],
        "annotations": [{"id": n, "image_id": i, "bbox": box, "category_id": c} for n, (i, box, c) in enumerate(boxes, 1)],
    }


def test_boxes_by_file_name(tmp_path: Path) -> None:
    found = read_annotations(written(tmp_path, {"a.png": [[1, 2, 3.5, 4]], "none.png": []}))
    assert [(i.file, i.boxes, i.width) for i in found.images] == [("a.png", (((1, 2, 3.5, 4), 0),), 0), ("none.png", (), 0)]
    assert plain_annotations({"a.png": [(1, 2, 3.5, 4)], "none.png": []}) == found


def test_coco_of_another_tool_with_kinds_and_crowds(tmp_path: Path) -> None:
    data = coco({"file_name": "a.png"}, {"file_name": "b.png"}, boxes=((1, [1, 2, 3, 4], 9), (1, [5, 6, 7, 8], 7)))
    data["annotations"].append({"id": 9, "image_id": 2, "bbox": [0, 0, 9, 9], "category_id": 7, "iscrowd": 1})
    found = read_annotations(written(tmp_path, data))
    assert found.images[0].boxes == (((1, 2, 4, 6), 1), ((5, 6, 12, 14), 0))
    assert found.images[1].boxes == ()
    assert found.kinds == ("cup", "mug")
    assert "crowd" in found.notes[0]


def test_of_a_review_only_what_was_looked_at_counts(tmp_path: Path) -> None:
    rows = (
        {"file_name": "a.png", "reviewed": True, "status": "corrected", "rejected": [[1, 1, 2, 2]]},
        {"file_name": "b.png", "reviewed": True, "status": "none", "rejected": [[3, 3, 4, 4]]},
        {"file_name": "c.png", "reviewed": False},
    )
    boxes = ((1, [1, 2, 3, 4], 7), (3, [5, 6, 7, 8], 7))
    found = read_annotations(written(tmp_path, coco(*rows, boxes=boxes, reviewed=True, tool="stn-coloc")))
    assert [(i.file, len(i.boxes), i.rejected) for i in found.images] == [
        ("a.png", 1, ((1, 1, 3, 3),)),
        ("b.png", 0, ((3, 3, 7, 7),)),
    ]


def task(image: str, *results: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"id": 5, "data": {"image": image}, "annotations": [{"result": list(results)}], **more}


def rectangle(x: float, y: float, w: float, h: float, rotation: float = 0, label: str = "cup", **more: Any) -> dict[str, Any]:
    value = {"x": x, "y": y, "width": w, "height": h, "rotation": rotation, "rectanglelabels": [label]}
    return {"type": "rectanglelabels", "original_width": 200, "original_height": 100, "value": value, **more}


def test_label_studios_export(tmp_path: Path) -> None:
    tasks = [
        task("/data/local-files/?d=set/a%20b.png", rectangle(10, 20, 30, 40), rectangle(50, 10, 10, 20, 90, "mug")),
        task("/data/upload/3/1234abcd-empty.png"),
        task("s3://bucket/sub/skipped.png", annotations=[{"was_cancelled": True, "result": []}]),
        {"data": {"image": "/data/upload/1/never.png"}, "annotations": []},
    ]
    found = read_annotations(written(tmp_path, tasks))
    assert [image.file for image in found.images] == ["set/a b.png", "empty.png"]
    (one, first), (two, second) = found.images[0].boxes
    assert one == pytest.approx((20, 20, 80, 60))
    assert two == pytest.approx((80, 10, 100, 30))
    assert (first, second, found.kinds) == (0, 1, ("cup", "mug"))
    assert (found.images[0].width, found.images[0].height) == (200, 100)
    assert found.images[1].boxes == ()


def test_a_rectangle_and_its_label_may_be_two_rows(tmp_path: Path) -> None:
    value = {"x": 0, "y": 0, "width": 50, "height": 50, "rotation": 0}
    sizes = {"original_width": 20, "original_height": 10, "id": "r"}
    rows = [{"type": "rectangle", "value": value, **sizes}, {"type": "labels", "value": {**value, "labels": ["mug"]}, **sizes}]
    found = read_annotations(written(tmp_path, [task("a.png", *rows)]))
    assert (found.images[0].boxes, found.kinds) == ((((0, 0, 10, 5), 0),), ("mug",))


BOX = {"a.png": [[1, 2, 3, 4]]}
REFUSED = [
    ('{"a.png": [], "a.png": [[1, 2, 3, 4]]}', "'a.png' stands in it twice"),  # json would keep the last one
    ({"a.png": [[1, 2, float("nan"), 4]]}, "not a number"),
    ({"a.png": [[3, 2, 1, 4]]}, "wrong order"),
    ({"../a.png": [[1, 2, 3, 4]]}, "outside the set"),
    ({}, "says nothing of any image"),
    ([1, 2], "neither COCO"),
    (coco({"file_name": "a.png"}, {"file_name": "a.png"}, boxes=((1, [1, 2, 3, 4], 7),)), "contradicts itself"),
    (
        coco({"file_name": "a.png", "reviewed": True, "status": "none"}, boxes=((1, [1, 2, 3, 4], 7),), reviewed=True),
        "contradicts itself",
    ),
    (coco({"file_name": "a.png"}, boxes=((1, [1, 2, 3, 4], 8),)), "category 8 is not listed"),
    (coco({"file_name": "a.png", "reviewed": True, "rejected": [[1, 2, -3, 4]]}, reviewed=True), "negative side"),
    (coco({"file_name": "a.png", "reviewed": False}, reviewed=True), "nobody has looked at an image yet"),
    ([task("a.png", {"type": "polygonlabels", "value": {}})], "polygonlabels, which are no boxes"),
    ([task("a.png", rectangle(1, 2, 3, 4, image_rotation=90))], "was turned in Label Studio"),
    ([task("a.png", annotations=[])], "nobody has annotated a task yet"),
]


@pytest.mark.parametrize(("data", "why"), REFUSED, ids=[why for _, why in REFUSED])
def test_what_is_refused(tmp_path: Path, data: Any, why: str) -> None:
    with pytest.raises(InputError, match=why):
        read_annotations(written(tmp_path, data))


def test_a_models_own_boxes_are_not_what_a_person_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nobody has looked at them"):
        read_annotations(write_boxes(tmp_path, 3))
