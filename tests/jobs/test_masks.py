"""`stn-coloc localise --masks`, from pictures to files; and masks from Python."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from stn_cli import Localiser, decode_mask, with_masks
from stn_cli.errors import UsageError
from stn_cli.formats.coco import read_coco
from stn_cli.jobs.localise_options import LocaliseOptions
from stn_cli.records import ImageRecord, Localisation, corners
from stn_cli.report.figures import draw
from tests.conftest import Trained, make_folder, make_image, write_image

Call = Callable[..., tuple[int, str, str]]


def files_of(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def rows_of(folder: Path) -> list[dict[str, Any]]:
    data = json.loads((folder / "boxes.json").read_text())
    return list(data["annotations"])


def test_masks_are_in_the_file_and_in_pictures(trained: Trained, tmp_path: Path, cli: Call) -> None:
    code, _, err = cli("localise", trained.images, "-m", trained.run, "-o", tmp_path / "o", "--masks")
    assert code == 0, err
    records = read_coco(tmp_path / "o/boxes.json")
    assert len(records) == 20
    good = 0
    for record in records:
        (found,) = record.objects
        assert found.mask is not None
        mask = decode_mask(found.mask, (record.height, record.width))
        picture = cv2.imread(str(tmp_path / f"o/masks/{record.file}.png"), cv2.IMREAD_UNCHANGED)
        assert picture.dtype == np.uint8
        np.testing.assert_array_equal(picture, mask)
        x1, y1, x2, y2 = found.box
        mask[int(y1) : int(np.ceil(y2)), int(x1) : int(np.ceil(x2))] = False
        assert not mask.any()
        true = disc(trained.truth[record.file][0], picture.shape)
        good += (picture.astype(bool) & true).sum() > 0.7 * (picture.astype(bool) | true).sum()
    assert good >= 15  # where the box is right
    assert all(row["area"] == row_area(row) for row in rows_of(tmp_path / "o"))


def disc(box: list[int], size: tuple[int, ...]) -> np.ndarray:
    """The pixels of the ring that `make_image` draws."""
    out = np.zeros(size, np.uint8)
    side = box[2] - box[0]
    cv2.circle(out, (box[0] + side // 2, box[1] + side // 2), side // 2 - 1, 1, -1)
    return out > 0


def row_area(row: dict[str, Any]) -> int:
    runs = row["segmentation"]
    return int(decode_mask(runs["counts"], (runs["size"][0], runs["size"][1])).sum())


def test_without_the_flag_nothing_is_different(trained: Trained, tmp_path: Path, cli: Call) -> None:
    for name, flags in (("plain", []), ("masks", ["--masks"])):
        assert cli("localise", trained.images, "-m", trained.run, "-o", tmp_path / name, *flags)[0] == 0
    assert not (tmp_path / "plain/masks").exists()
    plain, masks = rows_of(tmp_path / "plain"), rows_of(tmp_path / "masks")
    assert all(row["segmentation"] == [] for row in plain)
    for row in (*plain, *masks):
        row.pop("segmentation"), row.pop("area")
    assert plain == masks
    assert "masks" not in LocaliseOptions().of_records()
    assert LocaliseOptions(masks=True).of_records()["masks"] is True


def test_a_picture_that_exif_turns_has_its_mask_upright(trained: Trained, tmp_path: Path, cli: Call) -> None:
    image, _ = make_image(3)
    (tmp_path / "in").mkdir()
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(image).transpose(Image.Transpose.ROTATE_90).save(tmp_path / "in/turned.png", exif=exif)
    write_image(tmp_path / "in/upright.png", image)
    assert cli("localise", tmp_path / "in", "-m", trained.run, "-o", tmp_path / "o", "--masks")[0] == 0
    turned, upright = (cv2.imread(str(tmp_path / f"o/masks/{n}.png.png"), -1) for n in ("turned", "upright"))
    assert turned.shape == (48, 60)
    assert turned.any()
    np.testing.assert_array_equal(turned, upright)


@pytest.mark.parametrize("workers", [1, 3])
def test_a_stopped_call_goes_on_to_the_same_bytes(
    trained: Trained, tmp_path: Path, cli: Call, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    from stn_cli.formats.journal import Journal

    call = ["localise", trained.images, "-m", trained.run, "--masks", "--overlay", "--batch", 4, "-o"]
    assert cli(*call, tmp_path / "whole")[0] == 0
    real = Journal.add

    def stopped(self: Journal, item: Any) -> None:
        real(self, item)
        if len(self.names) == 10:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "add", stopped)
        assert cli(*call, tmp_path / "o")[0] == 130
    assert rows_of(tmp_path / "o/unfinished")[0]["segmentation"]
    assert cli(*call[:-1], "--resume", "--workers", workers, "-o", tmp_path / "o")[0] == 0
    assert files_of(tmp_path / "o") == files_of(tmp_path / "whole")


def test_a_call_with_masks_does_not_go_on_from_one_without(
    trained: Trained, tmp_path: Path, cli: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stn_cli.formats.journal import Journal

    real = Journal.add

    def stopped(self: Journal, item: Any) -> None:
        real(self, item)
        if len(self.names) == 10:
            raise KeyboardInterrupt

    call = ["localise", trained.images, "-m", trained.run, "--batch", 4, "-o", tmp_path / "o"]
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "add", stopped)
        assert cli(*call)[0] == 130
    code, _, err = cli(*call, "--resume", "--masks")
    assert code == 5
    assert "masks: None, now True" in err
    assert cli(*call, "--resume")[0] == 0


def test_masks_are_replaced_with_the_results_and_nothing_else_is(trained: Trained, tmp_path: Path, cli: Call) -> None:
    call = ["localise", trained.images, "-m", trained.run, "-o", tmp_path / "o"]
    assert cli(*call, "--masks")[0] == 0
    (tmp_path / "o/masks/mine.txt").write_text("mine")
    code, _, err = cli(*call, "--masks", "--overwrite")
    assert code == 4  # a file of somebody else lies where masks go
    assert "mine.txt" in err
    (tmp_path / "o/masks/mine.txt").rename(tmp_path / "o/mine.txt")
    assert cli(*call, "--overwrite")[0] == 0
    assert not (tmp_path / "o/masks").exists()
    assert (tmp_path / "o/mine.txt").read_text() == "mine"


def test_masks_are_no_images_of_the_next_call(trained: Trained, tmp_path: Path, cli: Call) -> None:
    shutil.copytree(trained.images, tmp_path / "x/in")
    assert cli("localise", tmp_path / "x/in", "-m", trained.run, "-o", tmp_path / "x/o", "--masks")[0] == 0
    assert cli("localise", tmp_path / "x", "-m", trained.run, "-o", tmp_path / "o", "--masks")[0] == 0
    assert len(read_coco(tmp_path / "o/boxes.json")) == 20


def test_an_image_without_an_object_has_an_empty_picture(trained: Trained, tmp_path: Path, cli: Call) -> None:
    make_folder(tmp_path / "set", 2)
    code, _, err = cli(
        "localise", tmp_path / "set/images", "-m", trained.run, "-o", tmp_path / "o", "--masks", "--min-score", 1
    )
    assert code == 0, err
    left = {record.file: len(record.objects) for record in read_coco(tmp_path / "o/boxes.json")}
    for name, objects in left.items():
        assert cv2.imread(str(tmp_path / f"o/masks/{name}.png"), -1).max() == objects


def test_an_image_that_changes_meanwhile_is_skipped(
    trained: Trained, tmp_path: Path, cli: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stn_cli.coloc.model.localiser import Localiser as Model

    make_folder(tmp_path / "set", 3)
    real = Model.localise_files

    def changing(self: Model, files: Any, **options: Any) -> Any:
        for number, record in enumerate(real(self, files, **options)):
            if number == 0:  # before 001 is read for its mask: a file that is being written is another fault
                write_image(tmp_path / "set/images/001.png", make_image(1, (30, 30))[0])
            yield record

    monkeypatch.setattr(Model, "localise_files", changing)
    assert cli("localise", tmp_path / "set/images", "-m", trained.run, "-o", tmp_path / "o", "--masks")[0] == 0
    assert json.loads((tmp_path / "o/skipped.jsonl").read_text()) == {
        "file": "001.png", "reason": "changed while it was read",
    }  # fmt: skip
    assert sorted(p.name for p in (tmp_path / "o/masks").iterdir()) == ["000.png.png", "002.png.png"]


def test_masks_from_python(trained: Trained) -> None:
    localiser = Localiser.load(trained.run)
    path = trained.images / "000.png"
    record = localiser.localise_all(path)
    assert record.objects[0].mask is None
    found = with_masks(path, record)
    assert replace(found.objects[0], mask=None) == record.objects[0]
    mask = decode_mask(found.objects[0].mask or "", (record.height, record.width))
    assert mask.any()
    with pytest.raises(UsageError, match=r"the image is not the one of the record.*30 x 20 pixels, the record 60 x 48"):
        with_masks(np.zeros((20, 30, 3), np.uint8), record)


def test_more_than_255_objects_have_numbers_of_sixteen_bits(tmp_path: Path) -> None:
    from stn_cli.report.figures import write_picture
    from stn_cli.run_lengths import instance_map

    boxes = [(10.0 * x, 10.0 * y, 10.0 * x + 9, 10.0 * y + 9) for y in range(15) for x in range(20)]
    image = np.full((150, 200, 3), 90, np.uint8)
    objects = tuple(Localisation("a.png", 200, 150, box, corners(box), (), 0.5) for box in boxes)
    record = with_masks(image, ImageRecord("a.png", 200, 150, objects))
    write_picture(tmp_path / "masks/a.png", instance_map([o.mask or "" for o in record.objects], (150, 200)))
    picture = cv2.imread(str(tmp_path / "masks/a.png"), cv2.IMREAD_UNCHANGED)
    assert picture.dtype == np.uint16
    assert picture.max() == 300
    assert picture[145, 195] == 300
    with Image.open(tmp_path / "masks/a.png") as read:
        np.testing.assert_array_equal(np.asarray(read), picture)


def test_overlays_show_the_outline(trained: Trained) -> None:
    image, _ = make_image(0)
    record = Localiser.load(trained.run).localise_all(image)
    (plain,), (masked,) = record.objects, with_masks(image, record).objects
    without, outlined = draw(image, plain, label=False), draw(image, masked, label=False)
    assert not np.array_equal(without, outlined)
    mask = decode_mask(masked.mask or "", (48, 60)).astype(np.uint8)
    inside = cv2.erode(mask, np.ones((7, 7))) > 0
    np.testing.assert_array_equal(outlined[inside], without[inside])
    half = cv2.resize(image, (30, 24))
    assert not np.array_equal(draw(half, plain, label=False), draw(half, masked, label=False))
