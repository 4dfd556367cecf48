"""Truth in every form, which of its objects count, and which image is which."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stn_cli.errors import InputError, UsageError
from stn_cli.evaluate import score_boxes
from stn_cli.evaluate.names import name_parts, pair_names
from stn_cli.formats.truth import Truth, is_outside, read_truth
from stn_cli.records import ImageRecord, Localisation, PixelBox, corners

Call = Callable[..., tuple[int, str, str]]


def record(name: str, *scored: tuple[PixelBox, float]) -> ImageRecord:
    objects = [Localisation(name, 100, 100, box, corners(box), (), score) for box, score in scored]
    return ImageRecord(name, 100, 100, tuple(sorted(objects, key=lambda o: -o.score)))


def write(path: Path, value: Any, encoding: str = "utf-8") -> Path:
    path.write_bytes(json.dumps(value).encode(encoding))
    return path


def boxes(truth: Truth) -> dict[str, list[PixelBox]]:
    return {name: [o.box for o in objects] for name, objects in truth.images.items()}


def coco(*annotations: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Two images, categories cat (3) and dog (7)."""
    return {
        "images": [{"id": 10, "file_name": "a.png"}, {"id": "second", "file_name": "b.png"}],
        "categories": [{"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}],
        "annotations": list(annotations),
        **more,
    }


CAT = {"image_id": 10, "category_id": 3, "bbox": [0, 0, 10, 10]}
DOG = {"image_id": 10, "category_id": 7, "bbox": [50, 50, 10, 10]}
OTHER_DOG = {"image_id": "second", "category_id": 7, "bbox": [20, 20, 10, 10]}
CROWD = {"image_id": 10, "category_id": 7, "bbox": [50, 50, 40, 40], "iscrowd": 1}


def voc(name: str, *objects: str) -> str:
    return f"<annotation><filename>{name}</filename>{''.join(objects)}</annotation>"


def marked(x: int, name: str = "person", more: str = "") -> str:
    """An object of 10 pixels from (x, x) on, counted from 0."""
    return (
        f"<object><name>{name}</name>{more}<bndbox><xmin>{x + 1}</xmin><ymin>{x + 1}</ymin><xmax>{x + 10}</xmax>"
        f"<ymax>{x + 10}</ymax></bndbox></object>"
    )


HEAD = "<part><name>head</name><bndbox><xmin>2</xmin><ymin>2</ymin><xmax>4</xmax><ymax>4</ymax></bndbox></part>"


def test_parts_of_a_body_are_no_objects_of_voc(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(voc("a.png", marked(0, more=HEAD), marked(40)))
    assert boxes(read_truth(tmp_path)) == {"a.png": [(0, 0, 10, 10), (40, 40, 50, 50)]}


def test_difficult_objects_of_voc_are_neither_to_be_found_nor_missed(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(voc("a.png", marked(0), marked(40, more="<difficult>1</difficult>")))
    (tmp_path / "b.xml").write_text(voc("b.png", marked(0, more="<difficult> 1 </difficult>")))
    (tmp_path / "c.xml").write_text(voc("c.png", marked(0, more="<difficult>0</difficult>")))
    found = [
        record("a.png", ((40, 40, 50, 50), 0.9), ((0, 0, 10, 10), 0.8)),
        record("b.png", ((0, 0, 10, 10), 0.9)),
        record("c.png"),
    ]
    result = score_boxes(found, tmp_path)
    assert result.difficult == 2
    assert [row.file for row in result.images] == ["a.png", "c.png"]  # b has nothing that is to be found
    assert (result.counts.objects, result.counts.right, result.counts.wrong) == (
        2,
        1,
        0,
    )  # boxes on difficult ones are not wrong
    assert any("2 difficult" in note for note in result.notes)
    assert result.ap50 == pytest.approx(100 * 51 / 101)  # precision 1 up to recall .5, at 101 recalls


def test_voc_in_folders_names_images_in_those_folders_and_leaves_out_leftovers(tmp_path: Path) -> None:
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "1.xml").write_text(voc("1.png", marked(0 if folder == "x" else 40)))
    (tmp_path / "x" / "._1.xml").write_bytes(b"\x00\x05\x16\x07")
    (tmp_path / "y" / "2.XML").write_text(f"<annotation>{marked(0)}</annotation>")  # no name: that of the file
    assert boxes(read_truth(tmp_path)) == {"x/1.png": [(0, 0, 10, 10)], "y/1.png": [(40, 40, 50, 50)], "y/2": [(0, 0, 10, 10)]}


@pytest.mark.parametrize("category", ["dog", "DOG", "7"])  # a name, in any case, or an id
def test_category_takes_the_objects_of_one(tmp_path: Path, category: str) -> None:
    path = write(tmp_path / "t.json", coco(CAT, DOG))
    truth = read_truth(path, category)
    assert boxes(truth) == {"a.png": [(50, 50, 60, 60)], "b.png": []}
    assert not any("categories" in note for note in truth.notes)


@pytest.mark.parametrize(("error", "refused"), [(FileNotFoundError, False), (PermissionError, True)])
def test_a_folder_that_goes_while_voc_is_read_is_none_of_the_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[OSError], refused: bool
) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "a.xml").write_text(voc("a.png", marked(0)))
    scandir = os.scandir

    def failing(path: str) -> Any:
        if Path(path).name == "below":
            raise error(2, "it is so", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", failing)
    if refused:
        with pytest.raises(InputError, match=r"cannot read truth.*below.*it is so"):
            read_truth(tmp_path)
    else:
        assert list(read_truth(tmp_path).images) == ["a.png"]


def test_category_takes_the_objects_of_one_of_voc(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(voc("a.png", marked(0), marked(40, "horse")))
    assert boxes(read_truth(tmp_path, "horse")) == {"a.png": [(40, 40, 50, 50)]}


def test_without_category_all_count_and_it_is_said(tmp_path: Path) -> None:
    truth = read_truth(write(tmp_path / "t.json", coco(CAT, DOG)))
    assert len(truth.images["a.png"]) == 2
    assert truth.notes == ("truth has 2 categories (cat, dog): objects of all of them count; --category takes one",)
    assert read_truth(write(tmp_path / "t.json", coco(DOG))).notes == ()  # listed, but of one kind


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (coco(CAT), "cat (3), dog (7)"),
        ({"a.png": [[0, 0, 1, 1]]}, "no categories"),
    ],
)
def test_a_category_that_is_not_there_ends_with_2_and_names_those_that_are(
    tmp_path: Path, cli: Call, value: Any, message: str
) -> None:
    path = write(tmp_path / "t.json", value)
    with pytest.raises(UsageError):
        read_truth(path, "horse")
    code, _, err = cli("evaluate", write(tmp_path / "b.json", coco(CAT)), path, "--category", "horse")
    assert code == 2
    assert message in err


def test_crowds_of_coco_are_ignored(tmp_path: Path) -> None:
    path = write(tmp_path / "t.json", coco(CAT, CROWD))
    inside: PixelBox = (60, 60, 65, 65)  # IoU with the crowd is .02, but all of it lies there
    result = score_boxes(
        [record("a.png", ((0, 0, 10, 10), 0.9), (inside, 0.8), ((62, 62, 70, 70), 0.7)), record("b.png")], path
    )
    assert (result.corloc, result.crowd) == (100, 1)
    assert (result.counts.objects, result.counts.right, result.counts.wrong) == (1, 1, 0)
    assert result.ap50 == pytest.approx(100)
    outside = score_boxes([record("a.png", ((0, 0, 10, 10), 0.9), ((10, 10, 20, 20), 0.95)), record("b.png")], path)
    assert (outside.corloc, outside.counts.wrong) == (0, 1)


def test_case_J3_coco_without_sizes_with_a_mark_and_with_orphans(tmp_path: Path, cli: Call) -> None:
    path = tmp_path / "t.json"
    write(path, coco(CAT, OTHER_DOG, {**DOG, "image_id": 99}, {**DOG, "image_id": 98}), "utf-8-sig")
    truth = read_truth(path)
    assert boxes(truth) == {"a.png": [(0, 0, 10, 10)], "b.png": [(20, 20, 30, 30)]}
    assert "truth: 2 annotations of images that are not listed (image_id 99), not counted" in truth.notes
    code, out, err = cli("evaluate", path, path, "--json")  # as predictions they are read too
    assert code == 0
    assert json.loads(out)["corloc"] == 100
    assert "predictions: 2 annotations of images that are not listed" in err


def test_case_J1_images_without_an_object_are_left_out_of_corloc_and_are_false_alarms_of_ap() -> None:
    names = [f"{n}.png" for n in range(5)]
    box: PixelBox = (0, 0, 10, 10)
    truth: dict[str, list[PixelBox]] = {name: [box] for name in names[:4]} | {names[4]: []}
    found = [record(name, (box, 0.6)) for name in names[:4]] + [record(names[4], (box, 0.9))]
    result = score_boxes(found, truth)
    assert result.corloc == 100  # was 80
    assert (len(result.images), len(result.empty), result.missing) == (4, 1, 0)
    assert result.ap50 == pytest.approx(
        80
    )  # the false alarm has the best score: precision ends at 4 of 5, and so do all before
    assert result.counts.precision == 80
    assert any("1 image without an object" in note for note in result.notes)
    quiet = score_boxes([*found[:4], record(names[4])], truth)
    assert (quiet.corloc, quiet.ap50) == (100, pytest.approx(100))


def test_truth_without_any_object_ends_with_3() -> None:
    with pytest.raises(InputError, match="no object"):
        score_boxes([record("a.png")], {"a.png": []})


PREDICTED = ["x/1.jpg", "x/2.jpg", "y/1.jpg", "y/3.JPG"]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("x/1.jpg", "x/1.jpg"),
        ("./x/1.jpg", "x/1.jpg"),
        ("x\\1.jpg", "x/1.jpg"),  # written on Windows
        ("photos\\x\\1.jpg", "x/1.jpg"),
        ("images/x/1.jpg", "x/1.jpg"),  # from a folder above
        ("https://host.org/set/x/1.jpg?token=7#top", "x/1.jpg"),
        ("s3://bucket/2%2Ejpg", "x/2.jpg"),  # percent escapes
        ("file:///home/me/2.jpg", "x/2.jpg"),
        ("2.jpg", "x/2.jpg"),  # base name, unique on both sides
        ("elsewhere/2.jpg", "x/2.jpg"),
        ("Y/1.JPG", "y/1.jpg"),  # another case
        ("3.jpg", "y/3.JPG"),
        ("y/3", "y/3.JPG"),  # no extension
        ("3", "y/3.JPG"),
        ("Y\\3", "y/3.JPG"),
        ("1.jpg", None),  # two have that base name
        ("z/1.jpg", None),
        ("3.png", None),  # another file: x.png is not x.jpg
        ("33.jpg", None),
        ("https://[half/a.jpg", None),
    ],
)
def test_case_J2_names_are_matched_where_they_are_unique(name: str, meant: str | None) -> None:
    pairs = pair_names(PREDICTED, [name, "other/thing.jpg"])
    assert pairs.predicted.get(name) == meant


def test_case_J2_base_names_must_be_unique_on_both_sides() -> None:
    assert pair_names(["a.jpg"], ["x/a.jpg", "y/a.jpg"]).predicted == {}
    assert pair_names(["a.jpg", "b.jpg"], ["x/a.jpg", "y/a.jpg", "y/b.jpg"]).predicted == {"y/b.jpg": "b.jpg"}
    # one of two of the same name is taken by its whole name: the other must not get what is left
    assert pair_names(["x/a.jpg", "z/a.jpg"], ["x/a.jpg", "y/a.jpg"]).predicted == {"x/a.jpg": "x/a.jpg"}


def test_case_J2_a_folder_above_all_images_of_one_side_is_taken_off() -> None:
    below = ["a.jpg", "deep/a.jpg", "deep/b.jpg"]
    pairs = pair_names(below, [f"set/images/{name}" for name in below])  # a.jpg is not unique
    assert pairs.predicted == {f"set/images/{name}": name for name in below}
    assert pairs.by_end == []
    assert pair_names(["x/a.jpg", "x/b.jpg"], ["y/a.jpg", "y/b.jpg"]).by_end == ["y/a.jpg", "y/b.jpg"]  # worth a note


def test_case_J2_names_that_localise_escapes_are_found() -> None:
    assert pair_names(["a\\nb.jpg"], ["a\nb.jpg"]).predicted == {"a\nb.jpg": "a\\nb.jpg"}
    assert pair_names(["u\u0308.jpg"], ["\u00fc.jpg"]).predicted == {"\u00fc.jpg": "u\u0308.jpg"}  # composed or not


def test_case_J2_many_names_are_matched_in_time() -> None:
    names = [f"{n % 100}/{n}.jpg" for n in range(20_000)]
    assert len(pair_names(names, [f"set\\{name}" for name in names] + ["none.jpg"]).predicted) == 20_000


def test_case_J2_one_name_of_each_side_is_shown_where_none_fits(tmp_path: Path, cli: Call) -> None:
    code, _, err = cli("evaluate", write(tmp_path / "b.json", coco(CAT)), write(tmp_path / "t.json", {"z.png": [[0, 0, 1, 1]]}))
    assert code == 3
    assert "truth has 'z.png', predictions have 'a.png'" in err


def test_parts_of_names() -> None:
    assert name_parts("https://h/a/b.jpg?x=/y") == ("a", "b.jpg")
    assert name_parts("/a//./b.jpg") == ("a", "b.jpg")


@pytest.mark.parametrize(
    "name",
    [
        "/etc/a",
        "../a",
        "a/../../b",
        "..\\a",
        "a\\..\\..\\b",
        "C:\\a",
        "c:/a",
        "\\\\server\\a",
        "\\a",
        "http://h/../a",
        "",
        "a\0b",
    ],
)
def test_names_that_lead_out_of_the_set_are_refused(tmp_path: Path, name: str) -> None:
    """FAULTS 30."""
    assert is_outside(name)
    for value in ({name: [[0, 0, 1, 1]]}, coco(CAT, images=[{"id": 10, "file_name": name}])):
        with pytest.raises(InputError, match="outside the set" if name else None):
            read_truth(write(tmp_path / "t.json", value))


@pytest.mark.parametrize("name", ["a..b/c", "...", "a/b.jpg", "https://host/a.jpg", "a/C:/b"])
def test_names_that_stay_inside_are_taken(name: str) -> None:
    assert not is_outside(name)


def test_truth_that_was_not_predicted_is_missed_and_the_rest_is_said(cli: Call, tmp_path: Path) -> None:
    truth = {"a.png": [[0, 0, 10, 10]], "b.png": [[0, 0, 10, 10]], "c.png": [[0, 0, 10, 10]], "e.png": []}
    images = [{"id": n, "file_name": name} for n, name in enumerate(("a.png", "b.png", "x.png"), 1)]
    rows = [{"image_id": n, "bbox": [0, 0, 10, 10], "score": 0.9} for n in (1, 3)]
    predicted = write(tmp_path / "b.json", {"images": images, "annotations": rows})
    code, out, err = cli("evaluate", predicted, write(tmp_path / "t.json", truth), "--json")
    assert code == 0
    said = json.loads(out)
    assert said["corloc"] == pytest.approx(33.33)
    assert (said["images"], said["missing"], said["not_predicted"], said["without_truth"]) == (3, 2, 1, 1)
    assert (said["images_without_object"], said["objects"], said["recall"], said["precision"]) == (1, 3, 33.33, 100)
    assert "1 image of the truth not among the predictions, counted as missed" in err
    assert "1 predicted image without truth, not counted" in err


def test_lists_of_results_take_their_images_from_the_truth(tmp_path: Path, cli: Call) -> None:
    truth = write(tmp_path / "t.json", coco(CAT, OTHER_DOG))
    rows = [{**CAT, "score": 0.9}, {**OTHER_DOG, "score": 0.8}]
    code, out, _ = cli("evaluate", write(tmp_path / "r.json", rows), truth, "--json")
    assert (code, json.loads(out)["corloc"]) == (0, 100)
    code, out, err = cli("evaluate", tmp_path / "r.json", truth, "--category", "cat", "--json")
    assert (code, json.loads(out)["images"]) == (0, 1)
    assert "1 predicted object of other categories, not counted" in err
    plain = write(tmp_path / "p.json", {"a.png": [[0, 0, 1, 1]]})
    code, _, err = cli("evaluate", tmp_path / "r.json", plain)
    assert code == 3
    assert "its truth must be a COCO file" in err
    code, _, err = cli("evaluate", write(tmp_path / "r.json", [{**CAT, "image_id": 5, "score": 1}]), truth)
    assert code == 3
    assert "image_id 5" in err


def test_what_a_person_should_know_is_said(tmp_path: Path, cli: Call) -> None:
    predicted = write(tmp_path / "b.json", coco(CAT, OTHER_DOG))  # of another tool: no scores
    truth = write(tmp_path / "t.json", {"A.PNG": [[0, 0, 10, 10]], "x\\b.png": [[20, 20, 30, 30]]})
    code, out, err = cli("evaluate", predicted, truth, "--json")
    assert (code, json.loads(out)["corloc"]) == (0, 100)
    assert "2 names of the truth matched by the end: 'x\\b.png' with 'b.png'" in err
    assert "the predicted boxes have no scores" in err
    assert all(line.startswith("note: ") for line in err.splitlines())


def test_an_image_that_is_listed_twice_has_the_objects_of_both(tmp_path: Path) -> None:
    images = [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "a.png"}]
    rows = [{"image_id": n, "bbox": [0, 0, 10 * n, 10]} for n in (1, 2)]
    path = write(tmp_path / "t.json", {"images": images, "annotations": rows})
    assert boxes(read_truth(path)) == {"a.png": [(0, 0, 10, 10), (0, 0, 20, 10)]}
    assert score_boxes(path, path).counts.right == 2


def test_two_images_of_one_id_end_with_3(tmp_path: Path) -> None:
    images = [{"id": 1, "file_name": "a.png"}, {"id": 1, "file_name": "b.png"}]
    with pytest.raises(InputError, match="two images have the id 1"):
        read_truth(write(tmp_path / "t.json", {"images": images, "annotations": []}))
