"""Of a folder of more images than the steps of a training draw, as many are learnt from, and all stay the run's."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from stn_cli.coloc.train import decode, sample
from stn_cli.coloc.train.resume import sides_of
from stn_cli.coloc.train.run import train
from stn_cli.coloc.train.sample import compacted, learnt_from, most_learnt
from stn_cli.errors import CheckpointError, InputError, Interrupted
from stn_cli.media.scan import ImageFile
from stn_cli.runs import checkpoint
from stn_cli.runs.annotations import read_run_annotations
from stn_cli.runs.config import TrainConfig
from stn_cli.runs.folder import leave_out, read_images, read_skipped, write_images
from tests.coloc.train.test_run import StopAt, weights
from tests.conftest import QUICK, make_folder

Call = Callable[..., tuple[int, str, str]]
FEW = TrainConfig(**{**QUICK, "steps": 3, "finetune": 1, "batch": 4, "search_images": 10, "encoder": "gradient"})
"""16 images are drawn: 3 steps of 4, and one more."""


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 images, two of which cannot be read."""
    folder = tmp_path_factory.mktemp("many")
    make_folder(folder, 40)
    for name in ("007.png", "031.png"):
        (folder / "images" / name).write_bytes(b"\x89PNG\r\n\x1a\n nothing")
    return folder / "images"


def learnt(run: Path) -> list[str]:
    return list(checkpoint.load_state(run)["names"])


def test_more_steps_learn_from_more_images() -> None:
    usual = TrainConfig()
    assert most_learnt(usual, dense=True) == 25 * 32 + 10 * 32  # a quarter of the steps, four of them on the same images
    assert most_learnt(usual, dense=False) == most_learnt(replace(usual, search="rigid"), dense=True) == 440 * 32
    assert most_learnt(replace(usual, steps=4000), dense=True) == 250 * 32 + 10 * 32
    assert most_learnt(replace(usual, cascade=2), dense=True) == 2 * 25 * 32 + 10 * 32
    assert most_learnt(replace(usual, search_images=5000), dense=True) == 5000


def test_few_are_all_and_many_are_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample, "header_of", lambda file: None if file.name.startswith("broken") else object())
    files = [ImageFile(f"/x/{n}.png", f"{n}.png") for n in range(1000)]
    assert learnt_from(files[:16], FEW, dense=False) == files[:16]
    some = learnt_from(files, FEW, dense=False, always={"999.png", "none.png"})
    assert len(some) in (16, 17)
    assert some[-1].name == "999.png"
    assert [file for file in files if file in some] == some  # in their order
    assert sum(int(file.name[:-4]) < 500 for file in some) in range(4, 13)
    assert learnt_from(files, replace(FEW, seed=1), dense=False) != some
    known = [file.name for file in files[300:310]]
    again = [file.name for file in learnt_from(files, FEW, dense=False, first=known)]
    assert set(known) <= set(again)
    assert len(again) == 16


def test_others_are_drawn_in_the_place_of_what_is_no_image(tmp_path: Path) -> None:
    make_folder(tmp_path, 20)
    for n in range(300):
        (tmp_path / "images" / f"broken{n}.png").write_bytes(b"nothing")
    result = train(tmp_path / "images", tmp_path / "run", FEW)
    assert result.images == 16
    assert len(result.skipped) > 100
    assert len(read_images(tmp_path / "run")) == 320 - len(result.skipped)


def test_images_that_are_away_for_a_while_do_not_end_a_run(many: Path, tmp_path: Path) -> None:
    """A drive that was not there when a training was gone on with."""
    shutil.copytree(many, tmp_path / "images")
    with pytest.raises(Interrupted):
        train(tmp_path / "images", tmp_path / "run", FEW, reporter=StopAt("regression", 1))
    kept = next((tmp_path / "run").rglob("images.txt"))
    before = kept.read_bytes(), (kept.parent / "skipped.jsonl").read_bytes()
    (tmp_path / "images").rename(tmp_path / "away")
    with pytest.raises(InputError):
        train(None, tmp_path / "run", resume=True)
    (tmp_path / "images").mkdir()
    for path in sorted((tmp_path / "away").iterdir())[::2]:  # half of it is there again
        shutil.copy(path, tmp_path / "images")
    with pytest.raises(CheckpointError, match="images are not those that the run began with"):
        train(None, tmp_path / "run", resume=True)
    assert (kept.read_bytes(), (kept.parent / "skipped.jsonl").read_bytes()) == before
    shutil.rmtree(tmp_path / "images")
    (tmp_path / "away").rename(tmp_path / "images")
    train(None, tmp_path / "run", resume=True)


def test_what_was_said_of_other_files_of_the_same_names_is_left_out(many: Path, tmp_path: Path, cli: Call) -> None:
    numbers = ("--imgsz", FEW.imgsz, "--steps", 3, "--finetune", 1, "--batch", 4, "--search-images", 10, "--no-report")
    (tmp_path / "boxes.json").write_text(json.dumps({"000.png": [[5, 5, 40, 40]]}))
    gradient = ("--encoder", "gradient")
    assert cli("train", many, "--boxes", tmp_path / "boxes.json", "-o", tmp_path / "a", *numbers, *gradient)[0] == 0
    assert cli("train", "--from", tmp_path / "a", "-o", tmp_path / "b", "--no-report")[0] == 0
    assert [image.file for image in read_run_annotations(tmp_path / "b")] == ["000.png"]
    assert set(learnt(tmp_path / "a")) == set(learnt(tmp_path / "b"))  # also with another seed: what it knows is of these
    make_folder(tmp_path / "others", 20)
    code, _, err = cli("train", tmp_path / "others" / "images", "--from", tmp_path / "a", "-o", tmp_path / "c", "--no-report")
    assert code == 0, err
    assert "1 annotation of the earlier run left out: the images of these names are other files" in err
    assert not (tmp_path / "c" / "annotations.json").exists()


def test_of_many_images_as_many_are_learnt_from_as_the_steps_draw(many: Path, tmp_path: Path) -> None:
    result = train(many, tmp_path / "run", FEW)
    names, lost = learnt(tmp_path / "run"), {row.file for row in read_skipped(tmp_path / "run")}
    assert result.images == len(names) == 16 - len(lost)
    assert result.images + len(lost) + result.unused == 40
    assert lost <= {"007.png", "031.png"}
    own = [file.name for file in read_images(tmp_path / "run")]
    assert own == sorted({f"{n:03d}.png" for n in range(40)} - lost)  # what localise looks at without a SOURCE
    assert [name for name in own if name in names] == names


@pytest.mark.parametrize("stage", ["search", "regression"])
def test_one_that_was_stopped_goes_on_with_the_same_images(many: Path, tmp_path: Path, stage: str) -> None:
    train(many, tmp_path / "whole", FEW)
    with pytest.raises(Interrupted):
        train(many, tmp_path / "run", FEW, reporter=StopAt(stage, 1))
    train(many, tmp_path / "run", resume=True)
    assert learnt(tmp_path / "run") == learnt(tmp_path / "whole")
    whole = weights(tmp_path / "whole")
    assert all(bool((value == whole[name]).all()) for name, value in weights(tmp_path / "run").items())
    assert read_images(tmp_path / "run") == read_images(tmp_path / "whole")


def test_images_that_are_gone_end_a_resume_in_one_line(many: Path, tmp_path: Path) -> None:
    shutil.copytree(many, tmp_path / "images")
    with pytest.raises(Interrupted):
        train(tmp_path / "images", tmp_path / "run", FEW, reporter=StopAt("regression", 1))
    state = next((tmp_path / "run").rglob(checkpoint.STATE))
    name = checkpoint.load_state(state.parent)["names"][3]
    listed = state.parent / "images.txt"
    listed.write_text("".join(line for line in listed.read_text().splitlines(True) if not line.endswith(f"/{name}\n")))
    with pytest.raises(CheckpointError, match="images are not those that the run began with"):
        train(None, tmp_path / "run", resume=True)


def test_annotated_images_are_among_them(many: Path, tmp_path: Path, cli: Call) -> None:
    train(many, tmp_path / "run", FEW)
    others = [name for name in ("000.png", "001.png", "002.png", "003.png") if name not in learnt(tmp_path / "run")]
    assert others
    boxes = {name: [[5, 5, 40, 40]] for name in others} | {"007.png": [[5, 5, 40, 40]]}
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    words = ("train", many, "--boxes", tmp_path / "boxes.json", "-o", tmp_path / "new", "--no-report", "--encoder", "gradient")
    numbers = ("--imgsz", FEW.imgsz, "--steps", 3, "--finetune", 1, "--batch", 4, "--search-images", 10)
    code, out, err = cli(*words, *numbers, "--json")
    assert code == 0, err
    assert set(others) <= set(learnt(tmp_path / "new"))
    assert "007.png: its annotation is not used: the image was skipped" in err
    facts = json.loads(out)
    assert facts["images"] + facts["unused"] + facts["skipped"] == 40
    assert facts["annotated"] == len(others)
    whole = facts["images"] + facts["unused"]
    assert re.search(rf"{facts['images']} images in \d+ s, drawn at random of {whole}: as many as the steps draw", err)
    assert f"{len(others)} images of them annotated" in err


def test_images_that_cannot_be_read_leave_the_list(tmp_path: Path) -> None:
    files = [ImageFile(str(tmp_path / name), name) for name in ("a.png", "b\n.png", "c.png")]
    write_images(tmp_path, files)
    leave_out(tmp_path, [])
    assert read_images(tmp_path) == files
    leave_out(tmp_path, [files[1].path])
    assert read_images(tmp_path) == [files[0], files[2]]
    assert compacted(files) == files
    assert compacted(files)[0].path is not files[0].path


def test_one_that_goes_on_looks_at_images_of_the_size_that_it_began_with(
    many: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which images tell the size is not the same once unreadable ones are left out."""
    with pytest.raises(Interrupted):
        train(many, tmp_path / "run", FEW, reporter=StopAt("regression", 1))
    state = checkpoint.load_state(next((tmp_path / "run").rglob(checkpoint.STATE)).parent)
    looked_at, closely = state["letterboxes"]
    assert 8 <= looked_at <= closely <= FEW.imgsz

    def asked(*_: object, **__: object) -> int:
        raise AssertionError("sizes were asked for")

    monkeypatch.setattr(decode, "letterbox_side", asked)
    train(many, tmp_path / "run", resume=True)
    for sides in (None, [8], [8, "8"], [8, 10**6], [7, 8], "88", [True, 8]):
        assert sides_of({"letterboxes": sides}, FEW) is None
    assert sides_of({"letterboxes": [24, 48]}, FEW) == [24, 48]
