"""Masks in our files, as other programs read them and as we read them back."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stn_cli.errors import CheckpointError, InputError
from stn_cli.formats.coco import CocoResultsWriter, CocoWriter, read_coco
from stn_cli.formats.journal import Journal
from stn_cli.records import ImageRecord, Localisation, corners
from stn_cli.run_lengths import encode_mask

BOX = (2.0, 3.5, 12.0, 17.0)


def ring() -> np.ndarray:
    """A mask with a hole and a part apart, as no single polygon has it."""
    mask = np.zeros((20, 30), bool)
    mask[4:14, 3:12] = True
    mask[7:11, 6:9] = False
    mask[16, 2:5] = True
    return mask


def records() -> list[ImageRecord]:
    plain = Localisation("a.png", 30, 20, BOX, corners(BOX), (0.2, 0.0, 0.1, 0.0, 0.9, 0.0), 0.75)
    masked = replace(plain, mask=encode_mask(ring(), (0, 0), (20, 30)))
    empty = replace(plain, mask=encode_mask(ring() & False, (0, 0), (20, 30)), score=0.5)
    return [ImageRecord("a.png", 30, 20, (masked, empty)), ImageRecord("b.png", 30, 20, ())]


@pytest.fixture
def boxes(tmp_path: Path) -> Path:
    writer = CocoWriter(tmp_path / "boxes.json", {})
    results = CocoResultsWriter(tmp_path / "boxes.results.json")
    for record in records():
        writer.add(record)
        results.add(record)
    writer.close()
    results.close()
    return tmp_path / "boxes.json"


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # in pycocotools' masks
def test_pycocotools_reads_masks(boxes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    data = COCO(str(boxes))
    found, empty = data.loadAnns(data.getAnnIds(imgIds=[1]))
    np.testing.assert_array_equal(data.annToMask(found), ring())
    assert not data.annToMask(empty).any()
    assert found["area"] == ring().sum()
    assert found["bbox"] == [2.0, 3.5, 10.0, 13.5]  # the box that was found, not the mask's
    result = data.loadRes(str(boxes.with_name("boxes.results.json")))
    np.testing.assert_array_equal(result.annToMask(result.anns[1]), ring())
    score = COCOeval(data, result, "segm")
    score.evaluate()
    score.accumulate()
    score.summarize()
    capsys.readouterr()
    assert score.ious[1, 1].max() == 1


def test_supervision_reads_masks(boxes: Path, tmp_path: Path) -> None:
    import supervision as sv

    from tests.conftest import write_image

    for name in ("a.png", "b.png"):
        write_image(tmp_path / name, np.zeros((20, 30, 3), np.uint8))
    dataset = sv.DetectionDataset.from_coco(images_directory_path=str(tmp_path), annotations_path=str(boxes), force_masks=True)
    masks = {Path(path).name: found.mask for path, _, found in dataset}
    np.testing.assert_array_equal(masks["a.png"][0], ring())


def test_masks_read_back(boxes: Path, tmp_path: Path) -> None:
    assert read_coco(boxes) == records()
    journal = Journal(tmp_path / "records.jsonl", {"version": "1"})
    for record in records():
        journal.add(record)
    journal.close()
    again = Journal.go_on(tmp_path / "records.jsonl", {"version": "1"}, 1)
    assert list(again.items()) == records()
    again.close()


# what stands as a segmentation, and what it is read as
OTHERS: list[object] = [
    [[1, 1, 5, 1, 5, 5]],
    {"size": [20, 30], "counts": [3, 10, 587]},
    {"size": [2, 3], "counts": "06"},  # of an image of another size
    {"counts": "06"},
    {},
    None,
    "polygon",
]


@pytest.mark.parametrize("value", OTHERS, ids=str)
def test_segmentations_of_other_tools_do_no_harm(boxes: Path, value: object) -> None:
    data = json.loads(boxes.read_text())
    data["annotations"][0]["segmentation"] = value
    boxes.write_text(json.dumps(data))
    assert read_coco(boxes)[0].objects[0].mask is None
    del data["annotations"][0]["segmentation"]
    boxes.write_text(json.dumps(data))
    assert read_coco(boxes)[0].objects[0].mask is None


def test_a_damaged_mask_is_told_with_its_image(boxes: Path) -> None:
    data = json.loads(boxes.read_text())
    data["annotations"][0]["segmentation"]["counts"] = "06"
    boxes.write_text(json.dumps(data))
    with pytest.raises(InputError, match=r"not a COCO detection file: .*image a\.png: a mask is not as large as its image"):
        read_coco(boxes)


@pytest.mark.parametrize("value", [None, 3, "06", "", "é"])
def test_a_damaged_mask_in_a_journal_is_told(tmp_path: Path, value: object) -> None:
    journal = Journal(tmp_path / "records.jsonl", {})
    journal.add(records()[0])
    journal.close()
    head, line = (tmp_path / "records.jsonl").read_text().splitlines()
    row = json.loads(line)
    row["objects"][0]["mask"] = value
    (tmp_path / "records.jsonl").write_text(f"{head}\n{json.dumps(row)}\n")
    with pytest.raises(CheckpointError, match="damaged records"):
        Journal.go_on(tmp_path / "records.jsonl", {}, 1)


def test_without_masks_files_are_what_they_were(tmp_path: Path) -> None:
    plain = replace(records()[0].objects[0], mask=None)
    journal = Journal(tmp_path / "records.jsonl", {})
    journal.add(ImageRecord("a.png", 30, 20, (plain,)))
    journal.close()
    row = json.loads((tmp_path / "records.jsonl").read_text().splitlines()[1])
    assert set(row["objects"][0]) == {"box", "quad", "theta", "score"}
    results = CocoResultsWriter(tmp_path / "r.json")
    results.add(ImageRecord("a.png", 30, 20, (plain,)))
    results.close()
    assert set(json.loads((tmp_path / "r.json").read_text())[0]) == {"image_id", "category_id", "bbox", "score"}
