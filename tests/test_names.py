"""Names of images in results: each image has its own, whatever bytes it is made of."""

from __future__ import annotations

import csv
import json
import os
import re
import sys
import unicodedata
from collections.abc import Callable
from itertools import chain
from pathlib import Path, PurePosixPath

import cv2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stn_cli.coloc.train.run import train
from stn_cli.errors import OutputError
from stn_cli.evaluate import score_boxes
from stn_cli.evaluate.names import pair_names
from stn_cli.files import PictureNames, name_from_results, name_in_results
from stn_cli.formats.csv import neutral
from stn_cli.formats.truth import is_outside
from stn_cli.report.figures import write_picture
from stn_cli.runs.config import TrainConfig
from stn_cli.runs.folder import read_skipped
from tests.conftest import QUICK, Trained, make_image, write_image

Call = Callable[..., tuple[int, str, str]]
FF = os.fsdecode(b"\xff.png")
ANY_BYTES = pytest.mark.skipif(sys.platform != "linux", reason="names there are text")


# a name, and what results call it
CALLED = [
    ("a.png", "a.png"),
    ("100%.png", "100%.png"),
    ("a%20b.png", "a%20b.png"),  # a download's name: no escape of ours begins with %2
    ("%25.png", "%25.png"),
    ("%c3.png", "%c3.png"),  # ours are in capitals
    ("a\\b.png", "a\\b.png"),
    (FF, "%FF.png"),
    ("%FF.png", "%25FF.png"),
    ("%25FF.png", "%2525FF.png"),
    ("a\nb.png", "a\\nb.png"),
    ("a\\nb.png", "a\\x5cnb.png"),
    ("a\\x5cnb.png", "a\\x5cx5cnb.png"),
    ("a\\\nb.png", "a\\\\nb.png"),
    ("a\u200bb.png", "a\\u200bb.png"),
    ("a\\u200bb.png", "a\\x5cu200bb.png"),
    ("\ud800.png", "\\ud800.png"),
    ("\ufffd.png", "\ufffd.png"),
]


@pytest.mark.parametrize(("name", "called"), CALLED)
def test_names_in_results_and_back(name: str, called: str) -> None:
    assert name_in_results(name) == called
    assert name_from_results(called) == name


@given(st.text(st.sampled_from(list("%25FAc\\nxu0\n\x1b\u200b\udcff\udc85\ud800é=.")), max_size=14))
def test_every_name_has_its_own(name: str) -> None:
    called = name_in_results(name)
    assert called.isprintable()
    assert name_from_results(called) == name


def test_a_code_that_no_character_has_is_left() -> None:
    assert name_from_results("\\Uffffffff.png") == "\\Uffffffff.png"


def test_cells_that_look_neutral_already_are_told_apart() -> None:
    cells = ["=a.png", "'=a.png", "''=a.png", "'a.png", "a.png"]
    assert [neutral(cell) for cell in cells] == ["'=a.png", "''=a.png", "'''=a.png", "'a.png", "a.png"]


# names of the predictions, of the truth, and which is which
PAIRED = [
    (["%FF.png", "%25FF.png"], {FF: "%FF.png", "%FF.png": "%25FF.png"}),  # names of files, as results have them
    (["%FF.png", "%25FF.png"], {"%FF.png": "%FF.png", "%25FF.png": "%25FF.png"}),  # truth that was made from results
    (["a\\nb.png", "a\\x5cnb.png"], {"a\nb.png": "a\\nb.png", "a\\nb.png": "a\\x5cnb.png"}),
    (["%FF.png"], {"%FF.png": "%FF.png"}),  # another program's
    (["%FF.png"], {FF: "%FF.png", "%FF.png": None}),  # one prediction is not two images
    (["a\\x5cnew.png"], {"x/a\\new.png": "a\\x5cnew.png"}),  # by its end
]


@pytest.mark.parametrize(("predicted", "truth"), PAIRED)
def test_no_prediction_is_paired_twice(predicted: list[str], truth: dict[str, str | None]) -> None:
    wanted = {name: other for name, other in truth.items() if other is not None}
    assert pair_names(predicted, list(truth)).predicted == wanted


@ANY_BYTES
def test_names_that_print_alike_are_scored_apart(trained: Trained, tmp_path: Path, cli: Call) -> None:
    """From the pictures through boxes.json to the scores: boxes of one must not become the other's."""
    names = [FF, "%FF.png", "a\nb.png", "a\\nb.png", "=1.png", "'=1.png"]
    for n, name in enumerate(names):
        image, _ = make_image(n)
        write_image(tmp_path / "in" / "x.png", image).rename(tmp_path / "in" / name)
    (tmp_path / "in" / "%AA.png").write_bytes(b"")
    assert cli("localise", tmp_path / "in", "-m", trained.run, "-o", tmp_path / "out", "--format", "csv")[0] == 0
    data = json.loads((tmp_path / "out/boxes.json").read_text())
    called = {row["file_name"]: row["id"] for row in data["images"]}
    assert len(called) == len(names)
    with open(tmp_path / "out/boxes.csv", newline="") as file:
        assert len({row["file"] for row in csv.DictReader(file)}) == len(names)
    assert json.loads((tmp_path / "out/skipped.jsonl").read_text())["file"] == "%25AA.png"
    boxes = {row["image_id"]: row["bbox"] for row in data["annotations"]}
    truth = {}
    for name in names:  # each image's own box: every image is right, and only if none is taken for another
        x, y, w, h = boxes[called[name_in_results(name)]]
        truth[name] = [[x, y, x + w, y + h]]
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    code, out, err = cli(
        "evaluate", tmp_path / "out/boxes.json", tmp_path / "truth.json", "--json", "--csv", tmp_path / "s.csv"
    )
    assert (code, json.loads(out)["mean_iou"], json.loads(out)["not_predicted"]) == (0, 1.0, 0), err
    assert "matched by the end" not in err
    with open(tmp_path / "s.csv", newline="") as file:
        assert len({row["file"] for row in csv.DictReader(file)}) == len(names)


@ANY_BYTES
def test_a_training_goes_on_with_left_out_images_of_such_names(tmp_path: Path) -> None:
    """What it left out is read from skipped.jsonl and compared with the names of SOURCE."""
    for n in range(6):
        write_image(tmp_path / "in" / f"{n}.png", make_image(n)[0])
    for name in (FF, "a\\nb.png"):
        (tmp_path / "in" / name).write_bytes(b"")
    settings = TrainConfig(**{**QUICK, "steps": 4, "finetune": 2})
    train(tmp_path / "in", tmp_path / "run", settings)
    assert {row.file for row in read_skipped(tmp_path / "run")} == {FF, "a\\nb.png"}
    train(tmp_path / "in", tmp_path / "run", settings, resume=True)  # SOURCE is compared with what the run knows, or refused


def test_predictions_with_one_name_twice_are_said(tmp_path: Path) -> None:
    images = [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "a.png"}]
    rows = [{"image_id": n, "bbox": [0, 0, 10, 10], "score": 0.5} for n in (1, 2)]
    path = tmp_path / "p.json"
    path.write_text(json.dumps({"images": images, "annotations": rows}))
    notes = score_boxes(path, path).notes
    for side in ("predictions", "truth"):
        assert f"{side}: 1 name of several images (a.png), whose objects are taken together" in notes


@pytest.mark.skipif(sys.platform == "win32", reason="a drive there")
def test_an_image_with_a_colon_goes_round(trained: Trained, tmp_path: Path, cli: Call) -> None:
    """`C:foo.png` is a plain name, which localise takes and evaluate reads."""
    image, box = make_image(0)
    done, data = cv2.imencode(".png", image[..., ::-1])
    assert done
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "C:foo.png").write_bytes(data.tobytes())
    assert cli("localise", tmp_path / "in", "-m", trained.run, "-o", tmp_path / "out", "--crops")[0] == 0
    (tmp_path / "truth.json").write_text(json.dumps({"C:foo.png": [box]}))
    code, out, _ = cli("evaluate", tmp_path / "out/boxes.json", tmp_path / "truth.json", "--json")
    assert (code, json.loads(out)["images"], json.loads(out)["not_predicted"]) == (0, 1, 0)
    for name in ("C:\\x.png", "C:/x.png", "C:", "C:../x.png", "C:a/../../x.png"):
        assert is_outside(name)


# ---- pictures

# names of a set, and those whose pictures get a hash
SETS = [
    (["a.png", "b/a.png", "a.jpg", "a", "a.1", "a.02", "100%.png"], []),
    (["000.png", "000.png.2", "000.png.2.3", "000.png.12", "001.png.2"], ["000.png.2", "000.png.2.3", "000.png.12"]),
    (["x.png", "x.png.png/y.png", "z/x.png"], ["x.png"]),
    (["x.png", "x.png.2.png/deep/y.png", "X.PNG.JPG"], ["x.png"]),
    (["A.jpg", "a.jpg", "b.jpg"], ["A.jpg", "a.jpg"]),
    (["D/a.jpg", "d/a.jpg", "D/b.jpg"], ["D/a.jpg", "d/a.jpg"]),  # one folder where capitals are small letters
    (["\u00e9.png", "e\u0301.png"], ["\u00e9.png", "e\u0301.png"]),  # composed or not
    (["C:x.png", "C_x.png"], ["C:x.png", "C_x.png"]),
    (["x~0123456789ab.png", "x~0123456789ab"], ["x~0123456789ab.png", "x~0123456789ab"]),  # as if they had one
]


@pytest.mark.parametrize(("names", "hashed"), SETS)
def test_pictures_keep_ordinary_names(names: list[str], hashed: list[str]) -> None:
    for order in (names, names[::-1]):
        made = PictureNames(order)
        plain = [name for name in names if made.of(name, ".png") == f"{name}.png"]
        assert plain == [name for name in names if name not in hashed]
        assert all(made.of(name, ".png", 2) == f"{name}.2.png" for name in plain)
    assert all(re.search(r"~[0-9a-f]{12}\.3\.png$", made.of(name, ".png", 3)) for name in hashed)


def nested(name: str) -> list[str]:
    """A name that only somebody who knows the rule would give: what the rule made of another."""
    made = PictureNames([name, f"{name}.png/q"]).of(name, ".png")
    return [name, f"{name}.png/q", made, made.removesuffix(".png"), f"{made}/q", f"{made}~/q", f"{made}~"]


PART = st.text(st.sampled_from(list("aA.2")), min_size=1, max_size=3).filter(lambda part: part not in (".", ".."))
ENDED = st.tuples(PART, st.sampled_from(["", ".png", ".jpg", ".2", ".2.png", ".png.png", ".12", "C:"])).map("".join)
PATH = st.lists(ENDED, min_size=1, max_size=3).map("/".join)


@given(st.lists(st.one_of(PATH.map(lambda p: [p]), PATH.map(nested)), max_size=8).map(lambda found: sorted({*chain(*found)})))
def test_no_picture_is_another_or_a_folder_of_another(names: list[str]) -> None:
    made = PictureNames(names)
    for extension in (".png", ".jpg"):
        out = [unicodedata.normalize("NFC", made.of(n, extension, k)).casefold() for n in names for k in (1, 2, 3, 12, 22)]
        assert len(set(out)) == len(out)
        folders = {parent.as_posix() for name in out for parent in PurePosixPath(name).parents}
        assert not folders & set(out)


@pytest.mark.skipif(sys.platform != "linux", reason="names that differ by capitals, colons")
def test_crops_of_names_that_collide_are_all_there(trained: Trained, tmp_path: Path, cli: Call) -> None:
    names = ["x.png", "x.png.png/y.png", "A.png", "a.png", "0.png", "0.png.2", "C:0.png", "plain.png"]
    for n, name in enumerate(names):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        write_image(tmp_path / "made.png", make_image(n)[0]).rename(tmp_path / "in" / name)
    code, _, err = cli("localise", tmp_path / "in", "-m", trained.run, "-o", tmp_path / "out", "--crops", "--overlay")
    assert code == 0, err
    for folder, extension in (("crops", ".png"), ("overlay", ".jpg")):
        written = {
            p.relative_to(tmp_path / "out" / folder).as_posix() for p in (tmp_path / "out" / folder).rglob("*") if p.is_file()
        }
        assert written == {PictureNames(names).of(name, extension) for name in names}
        assert f"plain.png{extension}" in written
        assert len(written) == len(names)


@pytest.mark.skipif(sys.platform == "win32", reason="names that differ by capitals")
def test_a_call_that_goes_on_gives_pictures_the_same_names(
    trained: Trained, tmp_path: Path, cli: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What clashes is found in the whole set, not in what is left of it."""
    names = ["0.png", "0.png.2", "1.png", "2.png", "3.png", "3.png.2", "4.png"]
    for n, name in enumerate(names):
        write_image(tmp_path / "in" / "made.png", make_image(n)[0]).rename(tmp_path / "in" / name)
    call = ("localise", tmp_path / "in", "-m", trained.run, "--crops", "--batch", 1, "--workers", 1, "-o")
    assert cli(*call, tmp_path / "whole")[0] == 0

    def full(path: Path, pixels: object) -> None:
        if path.name.startswith("0.png.2"):
            raise OutputError("cannot write", path)
        write_picture(path, pixels)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr("stn_cli.jobs.object_pictures.write_picture", full)
        assert cli(*call, tmp_path / "out")[0] == 4
    assert cli(*call, tmp_path / "out", "--resume")[0] == 0
    whole, out = (sorted(p.name for p in (tmp_path / folder / "crops").iterdir()) for folder in ("whole", "out"))
    assert out == whole
    assert len(out) == len(names)
