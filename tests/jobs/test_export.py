"""From boxes to data sets: what comes in, what is left out and said, what is never touched."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_masks

from stn_cli.errors import ColocError, InputError, OutputError, UsageError
from stn_cli.formats.annotations import read_annotations
from stn_cli.jobs.export import ExportOptions, export_boxes
from stn_cli.records import ImageRecord, Localisation, corners
from tests.conftest import Trained, write_image
from tests.data_sets import odd

Call = Callable[..., tuple[int, str, str]]
ALL = (1.0,)


def image(seed: int) -> np.ndarray:
    return cv2.resize(
        np.random.default_rng(seed).integers(0, 255, (6, 6, 3), np.uint8), (60, 40), interpolation=cv2.INTER_CUBIC
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve images beside a COCO file as other tools write it: no info, no scores, ids of their own."""
    for n in range(12):
        write_image(tmp_path / "set" / f"{n:02d}.png", image(n))
    write_coco(tmp_path / "set/coco.json", [[n + 100, 7, [5, 6, 20, 10]] for n in range(12)])
    return tmp_path / "set"


def write_coco(path: Path, rows: list[list[object]], **more: object) -> Path:
    images = [{"id": n + 100, "file_name": f"{n:02d}.png", "width": 60, "height": 40} for n in range(12)]
    annotations = [{"id": k, "image_id": i, "category_id": c, "bbox": box} for k, (i, c, box) in enumerate(rows)]
    data = {"images": images, "annotations": annotations, "categories": [{"id": 7, "name": "cat"}, {"id": 3, "name": "dog"}]}
    path.write_text(json.dumps(data | more))
    return path


def skipped(out: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in (out / "skipped.jsonl").read_text().splitlines()]


def labels(out: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted((out / "labels").rglob("*.txt"))}


def test_coco_of_another_tool_beside_its_images(folder: Path, tmp_path: Path) -> None:
    write_coco(folder / "coco.json", [[100, 7, [6, 4, 30, 20]], [100, 3, [0, 0, 6, 40]], [103, 3, [54, 0, 6, 40]]])
    export_boxes(folder / "coco.json", tmp_path / "o", ExportOptions("yolo", split=ALL))
    found = labels(tmp_path / "o")
    assert found["00.txt"].splitlines() == ["0 0.35 0.35 0.5 0.5", "1 0.05 0.5 0.1 1"]
    assert found["03.txt"].splitlines() == ["1 0.95 0.5 0.1 1"]
    assert sum(not text for text in found.values()) == 10
    assert '0: "cat"\n  1: "dog"' in (tmp_path / "o/data.yaml").read_text()


def test_boxes_by_file_name_and_voc(folder: Path, tmp_path: Path) -> None:
    (folder / "boxes.json").write_text(json.dumps({"00.png": [[6, 4, 36, 24]], "01.png": []}))
    export_boxes(folder / "boxes.json", tmp_path / "voc", ExportOptions("voc", split=ALL, labels=("a cat",)))
    export_boxes(tmp_path / "voc/Annotations", tmp_path / "o", ExportOptions("yolo", split=ALL))
    assert labels(tmp_path / "o") == {"00.txt": "0 0.35 0.35 0.5 0.5\n", "01.txt": ""}
    assert '0: "a cat"' in (tmp_path / "o/data.yaml").read_text()


def test_what_a_run_found_needs_no_source(trained: Trained, cli: Call, tmp_path: Path) -> None:
    code, _, err = cli(
        "localise", "-m", trained.run, "-o", tmp_path / "b", "--label", "ring", "--format", "csv,label-studio,parquet", "-q"
    )
    assert code == 0, err
    data = json.loads((tmp_path / "b/boxes.json").read_text())
    assert data["categories"] == [{"id": 1, "name": "ring", "supercategory": "ring"}]
    assert data["info"]["source"] == str(trained.images)
    assert (tmp_path / "b/boxes.csv").read_text().splitlines()[1].endswith(",ring")
    tasks = json.loads((tmp_path / "b/boxes.label-studio.json").read_text())
    assert tasks[0]["predictions"][0]["result"][0]["value"]["rectanglelabels"] == ["ring"]
    code, out, err = cli("export", tmp_path / "b/boxes.json", "--format", "yolo", "--split", "60,40", "-o", tmp_path / "d")
    assert code == 0, err
    assert out == f"{tmp_path / 'd'}\n"
    assert len(list((tmp_path / "d/images").rglob("*.png"))) == 20
    assert '0: "ring"' in (tmp_path / "d/data.yaml").read_text()
    for path in (tmp_path / "d/images").rglob("*.png"):
        assert path.read_bytes() == (trained.images / path.name).read_bytes()


def test_names_of_kinds_and_kinds_of_a_run(trained: Trained, cli: Call, tmp_path: Path) -> None:
    code, _, err = cli("localise", "-m", trained.run, "-o", tmp_path / "b", "--labels", "ring,cross")
    assert (code, "the run looks for 1 kind of objects" in err) == (2, True)
    assert cli("localise", "-m", trained.run, "-o", tmp_path / "b", "--labels", "a,b", "--label", "c")[0] == 2
    for bad in ("", "a,,b", "a,a", "x\x07", "y" * 101):
        assert cli("export", "x.json", "--labels", bad)[0] == 2, bad


def test_kinds_that_a_model_finds_have_their_categories(tmp_path: Path) -> None:
    """Two kinds come out of the network's side; results tell them apart, also after a stop."""
    from stn_cli.evaluate.predicted import from_json, read_predicted
    from stn_cli.formats.coco import read_coco
    from stn_cli.formats.journal import Journal
    from stn_cli.formats.labels import names_of_kinds
    from stn_cli.formats.truth import read_truth

    names = names_of_kinds((), 2)
    assert names == ("object 1", "object 2")
    path = odd.write_boxes(tmp_path / "b.json", odd.records(), names)
    assert {a["category_id"] for a in json.loads(path.read_text())["annotations"]} == {1, 2}
    assert [o.kind for r in read_coco(path) for o in r.objects] == [o.kind for r in odd.records() for o in r.objects]
    (tmp_path / "truth.json").write_text(path.read_text().replace('"object 1"', '"thing"'))
    predicted = from_json(read_predicted(path), path, read_truth(tmp_path / "truth.json", "thing"))
    assert sum(map(len, predicted.images.values())) == 12  # what nobody named may be of the category that is asked for
    journal = Journal(tmp_path / "records.jsonl", {})
    for record in odd.records():
        journal.add(record)
    assert list(journal.items()) == odd.records()
    journal.close()


def test_names_for_kinds_of_a_file(folder: Path, tmp_path: Path) -> None:
    write_coco(folder / "coco.json", [[100, 7, [6, 4, 30, 20]], [101, 3, [6, 4, 30, 20]]])
    export_boxes(folder / "coco.json", tmp_path / "o", ExportOptions("csv", labels=("Katze", "Hund")))
    assert [line.rsplit(",", 1)[1] for line in (tmp_path / "o/boxes.csv").read_text().splitlines()] == [
        "label",
        "Katze",
        "Hund",
    ]
    with pytest.raises(UsageError, match="has 2 kinds: cat, dog"):
        export_boxes(folder / "coco.json", tmp_path / "p", ExportOptions("csv", labels=("a", "b", "c")))


def test_low_scores_are_left_out_and_their_images_are_not_taught_as_empty(folder: Path, tmp_path: Path, cli: Call) -> None:
    data = json.loads((folder / "coco.json").read_text())
    for row in data["annotations"]:
        row["score"] = row["id"] / 12
    data["annotations"].pop()  # an image where nothing was found
    data["annotations"].append({"id": 99, "image_id": 110, "category_id": 7, "bbox": [1, 1, 9, 9], "score": 0.1})
    (folder / "coco.json").write_text(json.dumps(data))
    code, out, err = cli(
        "export", folder / "coco.json", "--format", "yolo", "--min-score", 0.5, "-o", tmp_path / "o", "--json", "--split", 100
    )
    assert code == 0, err
    facts = json.loads(out)
    assert (facts["images"], facts["objects"], facts["below"], facts["doubtful"], facts["skipped"]) == (6, 5, 7, 6, 0)
    assert "6 images left out: all of their objects are below --min-score" in err
    assert "1 image without a box: trainers are taught that the thing is not there" in err
    assert labels(tmp_path / "o").keys() == {f"{n:02d}.txt" for n in range(6, 12)}
    assert labels(tmp_path / "o")["11.txt"] == ""
    assert labels(tmp_path / "o")["10.txt"].count("\n") == 1


def test_the_split_is_stable_and_copies_stay_together(folder: Path, tmp_path: Path) -> None:
    def parts(out: str) -> dict[str, str]:
        export_boxes(folder / "boxes.json", tmp_path / out, ExportOptions("yolo", split=(0.5, 0.5)))
        return {p.stem: p.parent.name for p in (tmp_path / out / "labels").rglob("*.txt")}

    there = {f"{n:02d}.png": [[6, 4, 36, 24]] for n in range(12)}
    (folder / "boxes.json").write_text(json.dumps(there))
    before = parts("before")
    assert set(before.values()) == {"train", "val"}
    for n in range(12):  # a resized copy of each, and as many others
        write_image(folder / f"{n:02d}_small.jpg", cv2.resize(image(n), (30, 20), interpolation=cv2.INTER_AREA))
        write_image(folder / f"new{n}.png", image(n + 50))
        there |= {f"{n:02d}_small.jpg": [[3, 2, 18, 12]], f"new{n}.png": [[6, 4, 36, 24]]}
    (folder / "boxes.json").write_text(json.dumps(dict(sorted(there.items(), reverse=True))))
    after = parts("after")
    assert len(after) == 36
    assert all(after[f"{n:02d}_small"] == after[f"{n:02d}"] for n in range(12))
    assert {name: after[name] for name in before} == before  # a group's first name decides, and theirs are the first
    by_file = ExportOptions("yolo", split=(0.5, 0.5), group_by="file")
    export_boxes(folder / "boxes.json", tmp_path / "file", by_file)
    files = {p.stem: p.parent.name for p in (tmp_path / "file/labels").rglob("*.txt")}
    assert all(files[name] == before[name] for name in before)
    assert any(files[f"{n:02d}_small"] != files[f"{n:02d}"] for n in range(12))


def test_images_of_a_folder_can_be_kept_together(tmp_path: Path) -> None:
    boxes = {}
    for clip in range(8):
        for n in range(4):
            write_image(tmp_path / f"set/clip{clip}/{n}.png", image(10 * clip + n))
            boxes[f"clip{clip}/{n}.png"] = [[6, 4, 36, 24]]
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    options = ExportOptions("voc", split=(0.5, 0.5), source=tmp_path / "set", group_by="folder")
    assert export_boxes(tmp_path / "boxes.json", tmp_path / "o", options).groups == 8
    parts = {part: (tmp_path / f"o/ImageSets/Main/{part}.txt").read_text().split() for part in ("train", "val")}
    clips = {part: {name.split("_")[0] for name in names} for part, names in parts.items()}
    assert clips["train"]
    assert clips["val"]
    assert not clips["train"] & clips["val"]


def test_a_part_without_an_image_is_said(folder: Path, tmp_path: Path, cli: Call) -> None:
    for n in range(12):
        write_image(folder / f"{n:02d}.png", image(0))
    code, _, err = cli("export", folder / "coco.json", "--format", "yolo", "-o", tmp_path / "o")
    assert code == 0
    assert "has no image: 1 group of images that are kept together" in err
    for part in ("train", "val"):  # data.yaml leads to folders that are there
        assert (tmp_path / "o/images" / part).is_dir()


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        ([70, 5, 10, 10], "a box outside the image of 60 x 40: 70, 5, 80, 15"),
        ([5, 40, 10, 10], "a box outside the image of 60 x 40: 5, 40, 15, 50"),
        ([5, 5, 0, 10], "a box without area: 5, 5, 5, 15"),
    ],
)
def test_boxes_that_cannot_be_used_are_listed(folder: Path, tmp_path: Path, cli: Call, box: list[int], reason: str) -> None:
    write_coco(folder / "coco.json", [[100, 7, box], [100, 7, [5, 6, 20, 10]]])
    code, _, err = cli("export", folder / "coco.json", "--format", "yolo", "--split", 100, "-o", tmp_path / "o")
    assert code == 0
    assert skipped(tmp_path / "o") == [{"file": "00.png", "reason": reason}]
    assert "1 skipped" in err
    assert labels(tmp_path / "o")["00.txt"].count("\n") == 1
    assert cli("export", folder / "coco.json", "--format", "csv", "-o", tmp_path / "p", "--strict")[0] == 3


def test_boxes_that_reach_out_are_cut_and_counted(folder: Path, tmp_path: Path, cli: Call) -> None:
    write_coco(folder / "coco.json", [[100, 7, [-12, -8, 24, 28]], [101, 7, [0, 0, 60.4, 40]]])
    code, _, err = cli("export", folder / "coco.json", "--format", "yolo", "--split", 100, "-o", tmp_path / "o")
    assert code == 0
    assert "1 box reached out of the image, cut to it" in err
    assert labels(tmp_path / "o")["00.txt"] == "0 0.1 0.25 0.2 0.5\n"
    assert labels(tmp_path / "o")["01.txt"] == "0 0.5 0.5 1 1\n"


def test_images_that_are_not_there_or_of_another_size_are_listed(folder: Path, tmp_path: Path, cli: Call) -> None:
    (folder / "03.png").unlink()
    (folder / "04.png").write_bytes(b"no picture")
    write_image(folder / "05.png", cv2.resize(image(5), (30, 20)))
    code, _, err = cli("export", folder / "coco.json", "--format", "coco", "-o", tmp_path / "o")
    assert code == 0
    assert {row["file"]: row["reason"] for row in skipped(tmp_path / "o")} == {
        "03.png": "the image is not there",
        "04.png": "not an image",
        "05.png": "boxes of another size: of 60 x 40, the image is 30 x 20",
    }
    assert "3 skipped" in err
    names = [
        i["file_name"]
        for part in ("train", "val")
        for i in json.loads((tmp_path / f"o/annotations/instances_{part}.json").read_text())["images"]
    ]
    assert sorted(names) == [f"{n:02d}.png" for n in (0, 1, 2, 6, 7, 8, 9, 10, 11)]


def test_boxes_of_a_picture_that_exif_turns_afterwards_are_not_taken(tmp_path: Path) -> None:
    odd.write_images(tmp_path / "images")
    w, h = odd.PICTURES["turned.jpg"].size
    stored = Localisation("turned.jpg", h, w, (1, 2, 30, 20), corners((1, 2, 30, 20)), (), 0.9)
    right = odd.records()[0]
    path = odd.write_boxes(tmp_path / "b.json", [ImageRecord("turned.jpg", h, w, (stored,)), right])
    export_boxes(path, tmp_path / "o", ExportOptions("yolo", source=tmp_path / "images"))
    (row,) = skipped(tmp_path / "o")
    assert row["reason"] == "boxes of another size: of 72 x 40, the image is 40 x 72, which EXIF turns"


FAULTS = {
    "NaN": ('{"a.png": [[0, 0, NaN, 3]]}', "not a number that can be used"),
    "NaN in COCO": (
        '{"images": [{"id": 1, "file_name": "a.png"}], "annotations": [{"image_id": 1, "bbox": [1, NaN, 3, 4]}]}',
        "image a.png: not a number that can be used",
    ),
    "corners": ('{"a.png": [[9, 0, 3, 3]]}', "corners in the wrong order"),
    "outside": ('{"../a.png": [[0, 0, 3, 3]]}', "names a file outside the set"),
    "absolute": ('{"/etc/passwd": [[0, 0, 3, 3]]}', "names a file outside the set"),
    "no image": ("{}", "has no image"),
    "no JSON": ("boxes", "is not JSON"),
    "results": ('[{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 1}]', "names images by id only"),
    "text": ('"boxes"', "no boxes of images"),
    "category": (
        '{"images": [{"id": 1, "file_name": "a.png"}], "categories": [{"id": 1, "name": "x"}], '
        '"annotations": [{"image_id": 1, "category_id": 2, "bbox": [1, 2, 3, 4]}]}',
        "its category 2 is not listed",
    ),
    "segmentation": (
        '{"images": [{"id": 1, "file_name": "a.png", "width": 60, "height": 40}], "annotations": '
        '[{"image_id": 1, "bbox": [1, 2, 3, 4], "segmentation": {"size": [40, 61], "counts": "0"}}]}',
        "a mask is not as large as its image",
    ),
    "not there": ('{"a.png": [[0, 0, 3, 3]]}', "none of the images is there"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_file_that_cannot_be_used_is_one_line_and_3(name: str, tmp_path: Path, cli: Call) -> None:
    text, why = FAULTS[name]
    (tmp_path / "b.json").write_text(text)
    code, out, err = cli("export", tmp_path / "b.json", "--format", "yolo", "-o", tmp_path / "o")
    assert code == 3
    assert why in err
    assert err.count("\n") == 1
    assert out == ""
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    "flags",
    [
        ("--format", "yolo9"),
        ("--images", "move"),
        ("--group-by", "x"),
        ("--min-score", "2"),
        ("--format", "crops", "--images", "copy"),
    ],
)
def test_flags_that_are_not_there(flags: tuple[str, ...], folder: Path, cli: Call, tmp_path: Path) -> None:
    code, _, err = cli("export", folder / "coco.json", *flags, "-o", tmp_path / "o")
    assert code == 2
    assert err.count("\n") == 1


def test_an_image_that_is_listed_twice_once_with_nothing_keeps_its_boxes(folder: Path, tmp_path: Path) -> None:
    data = json.loads((folder / "coco.json").read_text())
    data["images"].append({"id": 999, "file_name": "00.png", "width": 60, "height": 40})
    (folder / "coco.json").write_text(json.dumps(data))
    said = list[str]()
    export_boxes(folder / "coco.json", tmp_path / "o", ExportOptions("yolo", split=ALL), reporter=Noted(said))
    assert labels(tmp_path / "o")["00.txt"].count("\n") == 1
    assert "boxes: 1 name of several images (00.png), whose objects are taken together" in said


def test_masks_of_other_tools(folder: Path, tmp_path: Path) -> None:
    """Polygons, and run lengths as a list; a crowd is left out."""
    square = np.zeros((40, 60), np.uint8)
    square[10:20, 5:25] = 1
    flat = square.T.ravel()
    ends = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff([0, *ends, flat.size]).tolist()
    write_coco(folder / "coco.json", [[100, 7, [5, 10, 20, 10]], [101, 7, [5, 10, 20, 10]], [102, 7, [5, 10, 20, 10]]])
    data = json.loads((folder / "coco.json").read_text())
    data["annotations"][0]["segmentation"] = [[5, 10, 25, 10, 25, 20, 5, 20]]
    data["annotations"][1]["segmentation"] = {"size": [40, 60], "counts": counts}
    data["annotations"][2] |= {"segmentation": {"size": [40, 60], "counts": counts}, "iscrowd": 1}
    (folder / "coco.json").write_text(json.dumps(data))
    said = list[str]()
    export_boxes(folder / "coco.json", tmp_path / "o", ExportOptions("coco", split=ALL), reporter=Noted(said))
    rows = json.loads((tmp_path / "o/annotations/instances_train.json").read_text())["annotations"]
    assert len(rows) == 2
    for row in rows:
        assert (coco_masks.decode({**row["segmentation"], "counts": row["segmentation"]["counts"].encode()}) == square).all()
        assert row["area"] == 200
    assert "1 region marked as a crowd, left out" in said


test_masks_of_other_tools = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")(
    test_masks_of_other_tools
)


class Noted:
    """Keeps warnings."""

    def __init__(self, said: list[str]) -> None:
        self._said = said

    def stage(self, name: str, total: int | None) -> None: ...

    def advance(self, count: int = 1, note: str = "") -> None: ...

    def warn(self, text: str) -> None:
        self._said.append(text)


def test_outlines_need_masks(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no object has a mask.*localise --masks"):
        export_boxes(folder / "coco.json", tmp_path / "o", ExportOptions("yolo-segment"))


def test_turned_crops_are_upright(tmp_path: Path) -> None:
    """A quad of a thing that stands on its head and leans: its own upper left is red in the crop."""
    square = np.full((64, 64, 3), 90, np.uint8)
    square[16:48, 16:48] = (20, 20, 230)
    square[16:32, 16:32] = (230, 20, 20)
    turn = cv2.getRotationMatrix2D((31.5, 31.5), 150, 1.0)
    write_image(tmp_path / "images/a.png", cv2.warpAffine(square, turn, (64, 64), borderValue=(90, 90, 90)))
    corner = np.array([[15.5, 15.5, 1], [47.5, 15.5, 1], [47.5, 47.5, 1], [15.5, 47.5, 1]]) @ turn.T + 0.5
    quad = tuple((float(x), float(y)) for x, y in corner)
    found = Localisation("a.png", 64, 64, (5, 5, 59, 59), quad, (), 1.0)  # type: ignore[arg-type]
    path = odd.write_boxes(
        tmp_path / "b.json", [ImageRecord("a.png", 64, 64, (found,))], ("thing",), source=str(tmp_path / "images")
    )
    export_boxes(path, tmp_path / "o", ExportOptions("crops", split=ALL, crop_size=40))
    crop = cv2.imread(str(tmp_path / "o/train/thing/a.png"))[..., ::-1]
    assert crop.shape == (40, 40, 3)
    assert np.abs(crop[3:17, 3:17].astype(int) - (230, 20, 20)).mean() < 25
    assert np.abs(crop[23:37, 3:37].astype(int) - (20, 20, 230)).mean() < 25


def test_large_objects_are_averaged_and_flat_ones_not_squashed(tmp_path: Path) -> None:
    stripes = np.zeros((400, 800, 3), np.uint8)
    stripes[:, ::2] = 255
    stripes[:100] = (255, 0, 0)
    write_image(tmp_path / "images/a.png", stripes)
    (tmp_path / "b.json").write_text(json.dumps({"a.png": [[0, 100, 800, 300]]}))
    export_boxes(
        tmp_path / "b.json", tmp_path / "o", ExportOptions("crops", split=ALL, crop_size=50, source=tmp_path / "images")
    )
    crop = cv2.imread(str(tmp_path / "o/train/object/a.png"))[..., ::-1].astype(int)
    assert np.abs(crop[30:45] - 127).max() < 20  # neither black nor white
    assert (crop[:5] - (255, 0, 0)).max() < 20  # what is above: the crop is square, the thing is not stretched


def test_links_can_be_replaced_and_images_are_never_touched(folder: Path, tmp_path: Path) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    options = ExportOptions("yolo", images="link", split=ALL)
    export_boxes(folder / "coco.json", tmp_path / "o", options)
    with pytest.raises(OutputError, match="not empty"):
        export_boxes(folder / "coco.json", tmp_path / "o", options)
    export_boxes(folder / "coco.json", tmp_path / "o", ExportOptions("voc", images="link"), overwrite=True)
    assert not (tmp_path / "o/images").exists()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    shutil.rmtree(folder / "none", ignore_errors=True)
    export_boxes(folder / "coco.json", tmp_path / "o", options, overwrite=True)
    (tmp_path / "o/images/train/00.png").unlink()
    (tmp_path / "o/images/train/00.png").symlink_to(folder / "01.png")  # somebody's own
    with pytest.raises(OutputError, match="was changed since this tool wrote it"):
        export_boxes(folder / "coco.json", tmp_path / "o", options, overwrite=True)


def test_what_a_trainer_leaves_in_a_data_set_stays_and_corrected_labels_are_not_lost(folder: Path, tmp_path: Path) -> None:
    options = ExportOptions("yolo", split=ALL)
    export_boxes(folder / "coco.json", tmp_path / "o", options)
    (tmp_path / "o/labels/train.cache").write_text("of the trainer")
    (tmp_path / "o/runs").mkdir()
    export_boxes(folder / "coco.json", tmp_path / "o", options, overwrite=True)
    assert (tmp_path / "o/labels/train.cache").read_text() == "of the trainer"
    (tmp_path / "o/labels/train/03.txt").write_text("0 .5 .5 .1 .1\n")
    with pytest.raises(OutputError, match=r"03\.txt.*was changed since this tool wrote it"):
        export_boxes(folder / "coco.json", tmp_path / "o", options, overwrite=True)
    assert (tmp_path / "o/labels/train/03.txt").read_text() == "0 .5 .5 .1 .1\n"
    assert not (tmp_path / "o/unfinished").exists()


def test_results_may_not_lie_among_the_images(folder: Path) -> None:
    with pytest.raises(OutputError, match="among what they are made from"):
        export_boxes(folder / "coco.json", folder / "o", ExportOptions("yolo"))


def test_corrected_boxes_in_other_folders_are_matched_by_their_ends(folder: Path, tmp_path: Path) -> None:
    data = json.loads((folder / "coco.json").read_text())
    for row in data["images"]:
        row["file_name"] = f"upload/7/{row['file_name']}"
    (tmp_path / "fixed.json").write_text(json.dumps(data))
    with pytest.raises(ColocError, match="none of the images is there"):
        export_boxes(tmp_path / "fixed.json", tmp_path / "o", ExportOptions("yolo", split=ALL))
    export_boxes(tmp_path / "fixed.json", tmp_path / "o", ExportOptions("yolo", split=ALL, source=folder))
    assert len(labels(tmp_path / "o")) == 12
    with pytest.raises(InputError, match="--source is no folder"):
        export_boxes(tmp_path / "fixed.json", tmp_path / "p", ExportOptions("yolo", source=tmp_path / "no"))


def test_a_table_needs_no_images(tmp_path: Path) -> None:
    path = odd.write_boxes(tmp_path / "b.json", odd.records(), source="/nowhere")
    summary = export_boxes(path, tmp_path / "o", ExportOptions("csv"))
    assert sum(summary.images.values()) == len(odd.PICTURES)
    assert (tmp_path / "o/boxes.csv").read_text().splitlines()[0] == "file,width,height,x1,y1,x2,y2,score,label"


def test_parquet_without_its_package_is_said_before_anything_is_read(
    monkeypatch: pytest.MonkeyPatch, cli: Call, tmp_path: Path
) -> None:
    monkeypatch.setattr("stn_cli.formats.parquet.find_spec", lambda name: None)
    for words in (("export", "x.json"), ("localise", "x")):
        code, _, err = cli(*words, "--format", "parquet", "-o", tmp_path / "o")
        assert code == 7
        assert "pip install 'stn-coloc[parquet]'" in err


def test_names_that_are_not_utf8_come_back(tmp_path: Path) -> None:
    name = "b\udcff%.png"
    write_image(tmp_path / "images" / name, image(1))
    found = Localisation(name, 60, 40, (6, 4, 36, 24), corners((6, 4, 36, 24)), (), 0.9)
    path = odd.write_boxes(tmp_path / "b.json", [ImageRecord(name, 60, 40, (found,))], ("x",), source=str(tmp_path / "images"))
    export_boxes(path, tmp_path / "o", ExportOptions("yolo", split=ALL))
    (picture,) = (tmp_path / "o/images/train").iterdir()
    picture.name.encode("ascii")
    assert (tmp_path / "o/labels/train" / f"{picture.stem}.txt").read_text() == "0 0.35 0.35 0.5 0.5\n"
    export_boxes(path, tmp_path / "p", ExportOptions("coco", split=ALL, images="none"))
    again = json.loads((tmp_path / "p/annotations/instances_train.json").read_text())["images"][0]["file_name"]
    assert again == json.loads(path.read_text())["images"][0]["file_name"]


def test_who_said_so_goes_along_where_a_format_has_a_place_for_it(folder: Path, tmp_path: Path) -> None:
    rows = [[100, 7, [6, 4, 30, 20]], [101, 7, [0, 0, 6, 30]]]
    path = write_coco(folder / "reviewed.json", rows, info={"reviewed": True})
    data = json.loads(path.read_text())
    data["images"][0] |= {"reviewed": True, "status": "corrected", "rejected": []}
    data["annotations"][0] |= {"reviewed": True, "source": "human", "score": 1.0}
    data["annotations"][1] |= {"reviewed": False, "source": "model", "score": 0.4}
    path.write_text(json.dumps(data))
    export_boxes(path, tmp_path / "coco", ExportOptions("coco", split=ALL, images="none"))
    written = tmp_path / "coco/annotations/instances_train.json"
    again = json.loads(written.read_text())
    assert [row.get("reviewed") for row in again["images"]] == [True] + [None] * 11
    assert [(row.get("reviewed"), row.get("source")) for row in again["annotations"]] == [(True, "human"), (None, None)]
    assert [image.file for image in read_annotations(written).images] == [
        "00.png"
    ]  # what a person said can still be learnt from
    export_boxes(path, tmp_path / "studio", ExportOptions("label-studio", images="none"))
    first, second = json.loads(next((tmp_path / "studio").glob("*.json")).read_text())[:2]
    assert "predictions" not in first
    assert len(first["annotations"][0]["result"]) == 1
    assert "annotations" not in second
    assert second["predictions"][0]["score"] == 0.4
    assert [image.file for image in read_annotations(next((tmp_path / "studio").glob("*.json"))).images] == ["00.png"]


def test_parts_far_from_their_shares_are_told(tmp_path: Path, cli: Call) -> None:
    """Whole folders go into one part: nine of ten images lie in one of them."""
    names = [f"a/{n:02d}.png" for n in range(54)] + [f"{n}/00.png" for n in range(10)]
    for number, name in enumerate(names):
        write_image(tmp_path / "images" / name, np.full((40, 40, 3), 3 * number, np.uint8))
    file = tmp_path / "boxes.json"
    file.write_text(json.dumps({name: [[4, 4, 30, 30]] for name in names}))
    words = ("export", file, "--source", tmp_path / "images", "--format", "coco", "-o", tmp_path / "out", "--overwrite")
    for by, told in (("folder", True), ("file", False)):
        code, _, err = cli(*words, "--group-by", by)
        assert code == 0, err
        assert ("were asked for: 11 groups of images that are kept together; --group-by file parts them evenly" in err) == told
