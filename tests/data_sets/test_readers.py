"""Each format is read back by a program that is not this one, and its boxes are looked at in the pictures as that program opens them."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
import yaml
from PIL import Image

from stn_cli.data_sets.layouts import FORMS
from stn_cli.jobs.export import ExportOptions, ExportSummary, export_boxes
from tests.data_sets import odd

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # in pycocotools' masks
PARTS = ("train", "val", "test")
OBJECTS = sum(len(picture.boxes) for picture in odd.PICTURES.values())


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of images, boxes.json without masks, and masks.json with them."""
    folder = tmp_path_factory.mktemp("given")
    odd.write_images(folder / "images")
    odd.write_boxes(folder / "boxes.json", odd.records(), source=str(folder / "images"))
    odd.write_boxes(folder / "masks.json", odd.records(masks=True), source=str(folder / "images"))
    return folder


def made(given: Path, out: Path, form: str, **more: Any) -> ExportSummary:
    boxes = given / ("masks.json" if form in ("yolo-segment", "parquet") or more.pop("masks", False) else "boxes.json")
    shares = None if form in ("label-studio", "csv", "parquet") else (0.5, 0.3, 0.2)
    return export_boxes(boxes, out, ExportOptions(form, split=more.pop("split", shares), **more))


def listing(out: Path) -> dict[str, dict[str, str]]:
    with open(out / "images.csv", newline="", encoding="utf-8") as file:
        return {row["file"].removeprefix("'"): row for row in csv.DictReader(file)}


def rgb(path: Path) -> np.ndarray:
    """As Pillow opens it, without looking at EXIF: what torchvision's loaders do."""
    return np.asarray(Image.open(path).convert("RGB"))


def test_every_image_is_somewhere_once_and_every_reader_opens_it_upright(given: Path, tmp_path: Path) -> None:
    summary = made(given, tmp_path / "o", "coco")
    rows = listing(tmp_path / "o")
    assert set(rows) == set(odd.PICTURES)
    assert not summary.skipped
    assert len({row["picture"] for row in rows.values()}) == len(rows)
    for name, row in rows.items():
        path = tmp_path / "o" / row["picture"]
        assert row["picture"].startswith(f"images/{row['split']}/")
        assert rgb(path).shape[:2] == odd.upright(name).shape[:2]
        by_cv2 = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
        assert np.abs(by_cv2.astype(int) - rgb(path)).max() <= 3
        assert np.abs(rgb(path).astype(int) - odd.upright(name)).mean() < 4
    assert summary.rewritten == 2  # turned.jpg and mirrored.jpg; all others are the files themselves
    same = [
        name
        for name, row in rows.items()
        if (tmp_path / "o" / row["picture"]).read_bytes() == (given / "images" / name).read_bytes()
    ]
    assert len(same) == len(rows) - 2


@pytest.mark.parametrize("masks", [False, True])
def test_coco_by_torchvision_and_pycocotools(
    given: Path, tmp_path: Path, masks: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    from torchvision.datasets import CocoDetection

    made(given, tmp_path / "o", "coco", masks=masks)
    seen = 0
    for part in PARTS:
        read = CocoDetection(str(tmp_path / "o/images" / part), str(tmp_path / "o/annotations" / f"instances_{part}.json"))
        names = {c["id"]: c["name"] for c in read.coco.loadCats(read.coco.getCatIds())}
        assert names == {1: odd.NAMES[0], 2: odd.NAMES[1]}
        for image, rows in read:
            for row in rows:
                x, y, w, h = row["bbox"]
                assert odd.shows(np.asarray(image), (x, y, x + w, y + h), row["category_id"] - 1)
                if masks:
                    box = round(x), round(y), round(x + w), round(y + h)
                    assert (read.coco.annToMask(row) == odd.pixels_of(box, image.size[::-1])).all()
                seen += 1
    assert seen == OBJECTS
    capsys.readouterr()


def test_results_by_pycocotools(given: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from pycocotools.coco import COCO

    made(given, tmp_path / "o", "coco-results", split=(1.0,))
    truth = COCO(str(tmp_path / "o/annotations/instances_train.json"))
    found = truth.loadRes(str(tmp_path / "o/results/train.json"))
    assert len(found.anns) == OBJECTS
    for image in truth.getImgIds():
        ours, theirs = (coco.loadAnns(coco.getAnnIds(imgIds=image)) for coco in (truth, found))
        assert [(a["bbox"], a["score"], a["category_id"]) for a in ours] == [
            (a["bbox"], a["score"], a["category_id"]) for a in theirs
        ]
    capsys.readouterr()


def yolo(out: Path, **more: Any) -> Iterator[tuple[np.ndarray, Any]]:
    """Pictures and detections as supervision reads them, through data.yaml."""
    import supervision as sv

    data = yaml.safe_load((out / "data.yaml").read_text("utf-8"))
    assert list(data["names"].values()) == list(odd.NAMES)
    for part in PARTS:
        folder = Path(data["path"]) / data[part]
        labels = str(folder).replace("/images/", "/labels/")
        read = sv.DetectionDataset.from_yolo(str(folder), labels, str(out / "data.yaml"), **more)
        assert len(read) == len(list(folder.iterdir()))
        for path, image, found in read:
            assert Path(path).is_file()
            yield image[..., ::-1], found


def test_yolo_by_supervision(given: Path, tmp_path: Path) -> None:
    made(given, tmp_path / "o", "yolo")
    seen = [
        odd.shows(image, tuple(box), kind)
        for image, found in yolo(tmp_path / "o")
        for box, kind in zip(found.xyxy, found.class_id, strict=True)
    ]
    assert seen == [True] * OBJECTS


def test_yolo_labels_lie_where_trainers_look_for_them(given: Path, tmp_path: Path) -> None:
    """Ultralytics and its relatives put `labels` for the last `images` of a path, and `.txt` for what stands behind its last dot."""
    made(given, tmp_path / "o", "yolo")
    rows = listing(tmp_path / "o")
    for name, row in rows.items():
        head, tail = str(tmp_path / "o" / row["picture"]).rsplit("/images/", 1)
        label = Path(f"{head}/labels/{tail}".rsplit(".", 1)[0] + ".txt")
        lines = label.read_text().splitlines()
        assert len(lines) == len(odd.PICTURES[name].boxes)
        for line in lines:
            assert len(line.split()) == 5
            assert all(0 <= float(v) <= 1 for v in line.split()[1:])
    assert len(list((tmp_path / "o/labels").rglob("*.txt"))) == len(rows)
    assert rows["same.jpg"]["picture"].rsplit(".", 1)[0] != rows["same.png"]["picture"].rsplit(".", 1)[0]


def test_yolo_segments_by_supervision_are_the_masks(given: Path, tmp_path: Path) -> None:
    made(given, tmp_path / "o", "yolo-segment")
    seen = 0
    for image, found in yolo(tmp_path / "o", force_masks=True):
        for box, mask, kind in zip(found.xyxy, [] if found.mask is None else found.mask, found.class_id, strict=True):
            x1, y1, x2, y2 = (round(float(v)) for v in box)
            rectangle = next(
                b for k, b in boxes_of(image.shape[:2]) if k == kind and abs(b[0] - x1) <= 1 and abs(b[3] - y2) <= 1
            )
            assert (mask == odd.pixels_of(rectangle, mask.shape)).all(), (x1, y1, x2, y2)
            seen += 1
    assert seen == OBJECTS


def boxes_of(size: tuple[int, ...]) -> list[tuple[int, odd.Box]]:
    return [pair for picture in odd.PICTURES.values() if picture.size == (size[1], size[0]) for pair in picture.boxes]


def test_oriented_boxes_by_supervision(given: Path, tmp_path: Path) -> None:
    made(given, tmp_path / "o", "yolo-obb")
    seen = [
        odd.shows(image, tuple(box), kind)
        for image, found in yolo(tmp_path / "o", is_obb=True)
        for box, kind in zip(found.xyxy, found.class_id, strict=True)
    ]
    assert seen == [True] * OBJECTS
    for label in (tmp_path / "o/labels").rglob("*.txt"):
        assert all(len(line.split()) == 9 for line in label.read_text().splitlines())


def test_voc_by_torchvision_and_supervision(given: Path, tmp_path: Path) -> None:
    import supervision as sv
    from torchvision.datasets import VOCDetection

    out = tmp_path / "VOCdevkit/VOC2007"
    made(given, out, "voc")
    seen = 0
    for part in PARTS:
        for image, annotation in VOCDetection(str(tmp_path), "2007", part):
            size = annotation["annotation"]["size"]
            assert (int(size["width"]), int(size["height"])) == image.size
            for item in annotation["annotation"].get("object", []):
                x1, y1, x2, y2 = (int(item["bndbox"][key]) for key in ("xmin", "ymin", "xmax", "ymax"))
                assert odd.shows(np.asarray(image), (x1 - 1, y1 - 1, x2, y2), odd.NAMES.index(item["name"]))
                seen += 1
    assert seen == OBJECTS
    assert len((out / "ImageSets/Main/trainval.txt").read_text("utf-8").splitlines()) == sum(
        row["split"] != "test" for row in listing(out).values()
    )
    read = sv.DetectionDataset.from_pascal_voc(str(out / "JPEGImages"), str(out / "Annotations"))
    assert sum(len(found) for _, _, found in read) == OBJECTS
    assert all(path.suffix == ".jpg" for path in (out / "JPEGImages").iterdir())


def test_label_studio_shows_percents_of_the_upright_picture(given: Path, tmp_path: Path) -> None:
    """What its importer does: a task per row, the picture by its URL, rectangles in percent; names must be those of the interface."""
    made(given, tmp_path / "o", "label-studio", images="copy")
    tasks = json.loads((tmp_path / "o/tasks.json").read_text("utf-8"))
    root = ElementTree.parse(tmp_path / "o/labelling.xml").getroot()
    assert [label.get("value") for label in root.iter("Label")] == list(odd.NAMES)
    tools = {tool.get("name"): tool.get("toName") for tool in root.iter("RectangleLabels")}
    assert len(tasks) == len(odd.PICTURES)
    seen = 0
    for task in tasks:
        (prediction,) = task["predictions"]
        path = tmp_path / "o" / unquote(task["data"]["image"].removeprefix("/data/local-files/?d="))
        image = rgb(path)
        assert root.find("Image").get("value").removeprefix("$") in task["data"]  # type: ignore[union-attr]
        for item in prediction["result"]:
            assert tools[item["from_name"]] == item["to_name"] == "image"
            assert (item["original_height"], item["original_width"]) == image.shape[:2]
            assert item["value"]["x"] + item["value"]["width"] <= 100
            assert item["value"]["y"] + item["value"]["height"] <= 100  # its importer refuses a hair more
            x, y, w, h = (item["value"][key] / 100 for key in ("x", "y", "width", "height"))
            box = x * image.shape[1], y * image.shape[0], (x + w) * image.shape[1], (y + h) * image.shape[0]
            assert odd.shows(image, box, odd.NAMES.index(item["value"]["rectanglelabels"][0]))
            seen += 1
        assert prediction["score"] == min((item["score"] for item in prediction["result"]), default=0)
        assert len({item["id"] for item in prediction["result"]}) == len(prediction["result"])
    assert seen == OBJECTS


def test_csv(given: Path, tmp_path: Path) -> None:
    made(given, tmp_path / "o", "csv", split=(0.5, 0.5))
    with open(tmp_path / "o/boxes.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == OBJECTS
    parts = {name: row["split"] for name, row in listing(tmp_path / "o").items()}
    for row in rows:
        name = row["file"].removeprefix("'")
        box = tuple(float(row[key]) for key in ("x1", "y1", "x2", "y2"))
        assert odd.shows(odd.upright(name), box, odd.NAMES.index(row["label"]))
        assert row["split"] == parts[name]
    assert any(row["file"].startswith("'=1+1") for row in rows)
    assert not (tmp_path / "o/images").exists()


def test_parquet_by_pyarrow(given: Path, tmp_path: Path) -> None:
    import pyarrow.parquet
    from pycocotools import mask as coco_masks

    made(given, tmp_path / "o", "parquet")
    rows = pyarrow.parquet.read_table(tmp_path / "o/boxes.parquet").to_pylist()
    assert {row["file"] for row in rows} == set(odd.PICTURES)
    found = [row for row in rows if row["x1"] is not None]
    assert len(found) == OBJECTS
    for row in found:
        box = tuple(round(row[key]) for key in ("x1", "y1", "x2", "y2"))
        assert odd.shows(odd.upright(row["file"]), box, odd.NAMES.index(row["kind"]))
        size = row["height"], row["width"]
        assert (coco_masks.decode({"size": size, "counts": row["mask"]}) == odd.pixels_of(box, size)).all()  # type: ignore[arg-type]
        assert row["quad"][:4] == [row["x1"], row["y1"], row["x2"], row["y1"]]
    assert [row["score"] for row in rows if row["x1"] is None] == [None]


def test_crops_by_torchvision(given: Path, tmp_path: Path) -> None:
    from torchvision.datasets import ImageFolder

    made(given, tmp_path / "o", "crops", crop_size=32)
    seen = 0
    for part in PARTS:
        read = ImageFolder(str(tmp_path / "o" / part), allow_empty=True)
        assert read.classes == sorted(("red one", "blue & _b_"))
        for image, kind in read:
            assert image.size == (32, 32)
            colour = odd.COLOURS[("blue & _b_", "red one").index(read.classes[kind]) ^ 1]
            assert np.abs(np.asarray(image).astype(int)[14:18, 14:18] - colour).max() < 60
            seen += 1
    assert seen == OBJECTS


@pytest.mark.parametrize("form", [name for name in FORMS if name != "crops"])
def test_one_name_for_all_is_everywhere(given: Path, tmp_path: Path, form: str) -> None:
    made(given, tmp_path / "o", form, labels=("Bürste",), split=(1.0,))
    texts = [
        path.read_bytes()
        for path in (tmp_path / "o").rglob("*")
        if path.suffix in (".json", ".yaml", ".xml", ".csv", ".parquet")
    ]
    assert any("Bürste".encode() in text or b"B\\u00fcrste" in text or b"B&#252;rste" in text for text in texts)
    assert not any(name.encode() in text for text in texts for name in ("red one", "blue &"))


@pytest.mark.parametrize("form", [name for name in FORMS if name != "crops"])
def test_what_is_a_link_or_not_there_is_labelled_the_same(given: Path, tmp_path: Path, form: str) -> None:
    made(given, tmp_path / "copy", form, images="copy")
    made(given, tmp_path / "link", form, images="link")
    summary = made(given, tmp_path / "none", form, images="none")
    assert sum(summary.images.values()) == len(odd.PICTURES)
    linked = listing(tmp_path / "link")
    for row in linked.values():
        a, b = (tmp_path / way / row["picture"] for way in ("copy", "link"))
        assert a.read_bytes() == b.read_bytes()
        assert b.is_symlink() == (
            row["file"] not in ("turned.jpg", "mirrored.jpg") and (form != "voc" or row["file"].endswith(("jpg", "jpeg")))
        )
    assert all(not row["picture"] for row in listing(tmp_path / "none").values())
    for path in (tmp_path / "copy/labels").rglob("*.txt"):
        assert path.read_bytes() == (tmp_path / "none" / path.relative_to(tmp_path / "copy")).read_bytes()
