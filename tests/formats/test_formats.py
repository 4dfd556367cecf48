"""What other programs read back from our files."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest
import torch

from stn_cli.errors import InputError, OutputError
from stn_cli.formats import text_target
from stn_cli.formats.coco import CocoResultsWriter, CocoWriter, read_coco
from stn_cli.formats.csv import CsvWriter, neutral
from stn_cli.formats.writer import FORMATS
from stn_cli.records import ImageRecord, Localisation

NAMES = ["plain.jpg", 'sub/ü, "quoted".png', "=cmd|' /C calc'!A0.jpg", "empty.png"]


def records() -> list[ImageRecord]:
    out = []
    for n, name in enumerate(NAMES):
        box = (0.0, 1.25, 10.5 + n, 40.0)
        quad = ((0.0, 1.25), (10.5 + n, 1.25), (10.5 + n, 40.0), (0.0, 40.0))
        found = Localisation(name, 60 + n, 40, box, quad, (0.2, 0, 0.1, 0, 0.9, 0), 0.25 * (n + 1))
        out.append(ImageRecord(name, 60 + n, 40, () if name == "empty.png" else (found,)))
    return out


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    writer = CocoWriter(tmp_path / "boxes.json", {"tool": "stn-coloc", "orientation": "exif-applied"})
    for r in records():
        writer.add(r)
    writer.close()
    return tmp_path / "boxes.json"


def test_pycocotools_reads_it(coco: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from pycocotools.coco import COCO

    data = COCO(str(coco))
    capsys.readouterr()
    assert data.getImgIds() == [1, 2, 3, 4]
    assert data.getCatIds() == [1]
    found = data.loadAnns(data.getAnnIds(imgIds=[1]))[0]
    assert found["bbox"] == [0.0, 1.25, 10.5, 38.75]
    assert found["area"] == pytest.approx(10.5 * 38.75)
    assert found["score"] == 0.25
    assert found["iscrowd"] == 0
    assert data.getAnnIds(imgIds=[4]) == []  # the image without an object is still there
    result = data.loadRes([{k: a[k] for k in ("image_id", "category_id", "bbox", "score")} for a in data.anns.values()])
    assert len(result.anns) == 3


def test_case_O_keys_that_other_tools_ask_for(coco: Path) -> None:
    data = json.loads(coco.read_text())
    assert data["categories"] == [{"id": 1, "name": "object", "supercategory": "object"}]
    assert all(
        row["segmentation"] == [] for row in data["annotations"]
    )  # not left out; an outline would be imported as a polygon


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # in pycocotools' masks
def test_case_O_pycocotools_takes_the_bare_list_by_its_path(
    coco: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from pycocotools.coco import COCO

    writer = CocoResultsWriter(tmp_path / "boxes.results.json")
    for r in records():
        writer.add(r)
    writer.close()
    rows = json.loads((tmp_path / "boxes.results.json").read_text())
    assert rows[0] == {"image_id": 1, "category_id": 1, "bbox": [0.0, 1.25, 10.5, 38.75], "score": 0.25}
    data = COCO(str(coco))
    result = data.loadRes(str(tmp_path / "boxes.results.json"))
    capsys.readouterr()
    for image in data.getImgIds():  # the same ids as in boxes.json
        ours, theirs = data.loadAnns(data.getAnnIds(imgIds=image)), result.loadAnns(result.getAnnIds(imgIds=image))
        assert [(a["bbox"], a["score"]) for a in ours] == [(a["bbox"], a["score"]) for a in theirs]
    mask = result.annToMask(result.anns[1])
    assert mask.shape == (40, 60)
    assert (mask[2:39, :10] == 1).all()
    assert not mask[:, 12:].any()


def test_case_O_a_list_of_results_without_any_object_is_a_list(tmp_path: Path) -> None:
    writer = CocoResultsWriter(tmp_path / "r.json")
    writer.add(records()[3])
    writer.close()
    assert json.loads((tmp_path / "r.json").read_text()) == []


def test_case_O_tracks_have_their_ids_in_coco(tmp_path: Path) -> None:
    import supervision as sv

    writer = CocoWriter(tmp_path / "t.json", {})
    first, second = records()[0], records()[1]
    writer.add(ImageRecord("f/0.jpg", 60, 40, (*first.objects, *second.objects)), [7, 3])
    writer.add(ImageRecord("f/1.jpg", 60, 40, second.objects), [3])
    writer.close()
    rows = json.loads((tmp_path / "t.json").read_text())["annotations"]
    assert [row["track_id"] for row in rows] == [7, 3, 3]
    assert [row["attributes"] for row in rows] == [{"track_id": 7}, {"track_id": 3}, {"track_id": 3}]
    read = sv.DetectionDataset.from_coco(images_directory_path=str(tmp_path), annotations_path=str(tmp_path / "t.json"))
    assert {Path(path).name: len(a) for path, _, a in _lazily(read)} == {"0.jpg": 2, "1.jpg": 1}
    assert all(a.mask is None for _, _, a in _lazily(read))


def test_supervision_reads_it(coco: Path, tmp_path: Path) -> None:
    import supervision as sv

    dataset = sv.DetectionDataset.from_coco(images_directory_path=str(tmp_path), annotations_path=str(coco))
    assert len(dataset) == 4
    boxes = {Path(path).name: a.xyxy.tolist() for path, _, a in _lazily(dataset)}
    assert boxes["plain.jpg"] == [[0.0, 1.25, 10.5, 40.0]]


def _lazily(dataset: object) -> list[tuple[str, None, object]]:
    """Its boxes without reading the pictures, which are not there."""
    return [(path, None, dataset.annotations[path]) for path in dataset.image_paths]  # type: ignore[attr-defined]


def test_it_reads_back_as_the_same_records(coco: Path) -> None:
    assert read_coco(coco) == records()


def test_case_J3_a_file_without_sizes_is_read(tmp_path: Path) -> None:
    rows = [{"image_id": "x", "bbox": [1, 2, 3, 4], "score": 0.5}]
    (tmp_path / "b.json").write_text(
        json.dumps({"images": [{"id": "x", "file_name": "a.png"}], "annotations": rows}), "utf-8-sig"
    )
    (found,) = read_coco(tmp_path / "b.json")
    assert (found.file, found.width, found.height) == ("a.png", 0, 0)
    assert found.objects[0].box == (1, 2, 4, 6)
    assert found.objects[0].theta == ()  # it is in units of the image's sides


def test_not_a_number_is_never_written(tmp_path: Path) -> None:
    """FAULTS 31."""
    writer = CocoWriter(tmp_path / "boxes.json", {})
    bad = Localisation("a", 1, 1, (0, 0, float("nan"), 1), ((0, 0),) * 4, (1, 0, 0, 0, 1, 0), 0.5)
    with pytest.raises(ValueError, match="not JSON compliant"):
        writer.add(ImageRecord("a", 1, 1, (bad,)))
    writer.abandon()
    assert list(tmp_path.iterdir()) == []


def test_abandoned_files_leave_nothing(tmp_path: Path) -> None:
    for writer in (CocoWriter(tmp_path / "a.json", {}), *(make(tmp_path / name) for name, make in FORMATS.values())):
        writer.add(records()[0])
        writer.abandon()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OutputError):
        CocoWriter(tmp_path / "no" / "boxes.json", {})
    for name, make in FORMATS.values():
        with pytest.raises(OutputError):
            make(tmp_path / "no" / name)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("name", FORMATS)
def test_a_full_disk_ends_every_format_with_4(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    @contextmanager
    def full(path: Path, mode: str) -> Iterator[IO[str]]:
        try:  # as the real one does
            with open("/dev/full", mode) as file:
                yield file
        except OSError as error:
            raise OutputError("cannot write", path, error.strerror, "Free some space") from error

    monkeypatch.setattr(text_target, "atomic", full)
    writer = FORMATS[name][1](tmp_path / FORMATS[name][0])
    with pytest.raises(OutputError, match="Free some space"):
        for _ in range(10_000):
            writer.add(records()[0])
        writer.close()  # of a format that packs so well that nothing was written yet
    writer.abandon()


def test_csv_is_inert_in_a_spreadsheet_and_keeps_commas_and_quotes(tmp_path: Path) -> None:
    """FAULTS 33."""
    writer = CsvWriter(tmp_path / "boxes.csv")
    for r in records():
        writer.add(r)
    writer.close()
    with open(tmp_path / "boxes.csv", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["file", "width", "height", "x1", "y1", "x2", "y2", "score"]
    assert rows[2][0] == 'sub/ü, "quoted".png'
    assert rows[3][0].startswith("'=cmd")
    assert len(rows) == 4
    assert [neutral(c) for c in ("+1", "-1", "@a", "a=b")] == ["'+1", "'-1", "'@a", "a=b"]


def test_many_images_stream(tmp_path: Path) -> None:
    writer = CocoWriter(tmp_path / "boxes.json", {})
    for n in range(3000):
        writer.add(ImageRecord(f"{n}.png", 10, 10, records()[0].objects))
    writer.close()
    data = json.loads((tmp_path / "boxes.json").read_text())
    assert [a["id"] for a in data["annotations"]] == list(range(1, 3001))
    assert torch.tensor([i["id"] for i in data["images"]]).unique().numel() == 3000


def test_the_spools_are_gone_when_the_disk_is_full_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else Python writes what they still hold when it ends, and from 3.13 on prints a traceback for each."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    writer = CocoWriter(tmp_path / "boxes.json", {})
    writer.add(records()[0])
    monkeypatch.setattr("stn_cli.formats.coco._copy", full)
    with pytest.raises(OutputError):
        writer.close()
    assert writer._images.closed
    assert writer._annotations.closed


def test_a_folder_in_the_place_of_a_file_is_told_what_to_name(tmp_path: Path) -> None:
    from stn_cli.formats.json_file import read_json
    from stn_cli.formats.json_rows import read_long_json

    for reading in (read_json, read_long_json):
        with pytest.raises(InputError, match=r"cannot read the boxes: .* \(it is a folder\)\. Name a file in it"):
            reading(tmp_path, "the boxes")
