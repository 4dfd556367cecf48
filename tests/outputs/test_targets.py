"""Single files that a person names as targets: the page of `report` and the CSV of `evaluate`."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from stn_cli.coloc.model.localiser import Localiser
from stn_cli.outputs.manifest import MANIFEST, Facts, write_manifest
from tests.conftest import Trained, write_image
from tests.conftest import make_image as made

Call = Callable[..., tuple[int, str, str]]
CSV = "file,iou,correct,score\n"
PAGE = '<!doctype html>\n<html lang="en">\n<head>\n<title>stn-coloc report</title>\n'


def content(*folders: Path) -> dict[Path, bytes]:
    return {p: p.read_bytes() for folder in folders for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def run(trained: Trained, tmp_path: Path) -> Path:
    """A run of its own, with pictures of its own."""
    shutil.copytree(trained.run, tmp_path / "run")
    shutil.copytree(trained.images, tmp_path / "images")
    listed = (trained.run / "images.txt").read_bytes()
    (tmp_path / "run" / "images.txt").write_bytes(listed.replace(os.fsencode(trained.folder), os.fsencode(tmp_path)))
    return tmp_path / "run"


def test_a_page_takes_the_place_of_nothing_but_a_page(
    run: Path, tmp_path: Path, cli: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.html").write_text("<!doctype html>\n<title>my holidays</title>")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "report.html").write_text(PAGE)
    write_manifest(tmp_path / "other" / MANIFEST, "train", {"report.html": Facts.of(tmp_path / "other" / "report.html")})
    (tmp_path / "folder").mkdir()
    if os.name != "nt":
        (tmp_path / "link.html").symlink_to(tmp_path / "other" / "report.html")
    os.link(tmp_path / "images" / "001.png", tmp_path / "same.html")
    (run / "unfinished").mkdir()
    (run / "unfinished" / "state.pt").write_bytes(b"hours of work")
    before = content(tmp_path)
    monkeypatch.setattr(Localiser, "localise_files", lambda *_, **__: pytest.fail("an image was decoded"))
    targets = [
        "images/000.png",  # a picture of the run
        "same.html",  # the same, by another name
        *(f"run/{name}" for name in ("model.safetensors", "state.pt", "config.toml", "images.txt", MANIFEST)),
        "run/page.html",  # nothing is there, but the run's folder is no place for it
        "run/unfinished/state.pt",
        "mine.html",  # a person's
        "other/report.html",  # of another run
        "folder",
        "folder/",
        "new/",
        "nowhere/page.html",
        *(["link.html"] if os.name != "nt" else []),
    ]
    for name in targets:
        for flags in ([], ["--overwrite"]):
            code, out, err = cli("report", run, "--out", f"{tmp_path}/{name}", *flags)
            assert (code, out, err.count("\n")) == (4, "", 1), (name, err)
    assert content(tmp_path) == before


def test_a_page_is_replaced_by_a_newer_one_with_overwrite(run: Path, tmp_path: Path, cli: Call) -> None:
    target = tmp_path / "page.html"
    assert cli("report", run, "-o", target, "-q")[0] == 0
    first = target.read_bytes()
    code, _, err = cli("report", run, "-o", target, "-q")
    assert code == 4
    assert "Use --overwrite" in err
    target.write_text(PAGE)
    assert cli("report", run, "-o", target, "-q", "--overwrite")[0] == 0
    assert target.read_bytes() == first


def test_a_runs_own_page_needs_no_overwrite_where_the_manifest_lists_it(run: Path, cli: Call) -> None:
    (run / MANIFEST).unlink(missing_ok=True)
    assert (run / "report.html").is_file()
    assert cli("report", run, "-q")[0] == 4
    write_manifest(run / MANIFEST, "train", {"report.html": Facts.of(run / "report.html")})
    for out in ([], ["-o", run / "report.html"]):
        (run / "report.html").write_text("old")
        assert cli("report", run, "-q", *out)[0] == 0
        assert (run / "report.html").read_text().startswith(PAGE[:15])
    (run / "report.html").unlink()
    write_manifest(run / MANIFEST, "train", {"state.pt": Facts.of(run / "state.pt")})
    assert [cli("report", run, "-q")[0] for _ in range(2)] == [0, 0]


def test_rows_take_the_place_of_nothing_but_rows(tmp_path: Path, cli: Call) -> None:
    predicted, truth, folder = tmp_path / "boxes.json", tmp_path / "truth.json", tmp_path / "results"
    predicted.write_text('[{"image_id": 1, "category_id": 1, "bbox": [1, 1, 5, 5], "score": 1}]')
    picture = {"id": 1, "file_name": "a.png", "width": 60, "height": 48}
    box = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 5, 5], "area": 25, "iscrowd": 0}
    truth.write_text(json.dumps({"images": [picture], "categories": [{"id": 1, "name": "a"}], "annotations": [box]}))
    folder.mkdir()
    for name in ("boxes.csv", "rows.csv"):
        (folder / name).write_text(CSV)
    write_manifest(folder / MANIFEST, "localise", {"boxes.csv": Facts.of(folder / "boxes.csv")})
    (folder / "boxes.json").write_text('{"images": []}')
    (folder / "longer.csv").write_text(CSV.strip() + ",mine\n1,2,3,4,5\n")
    write_image(folder / "a.png", made(0)[0])
    before = content(tmp_path)
    for name in ("results/boxes.json", "results/a.png", "results/boxes.csv", "results/longer.csv", "results/", "truth.json"):
        for flags in ([], ["--overwrite"]):
            assert cli("evaluate", predicted, truth, "--csv", f"{tmp_path}/{name}", *flags)[0] == 4, name
    assert cli("evaluate", predicted, truth, "--csv", folder / "rows.csv")[0] == 4  # a person's, perhaps
    assert content(tmp_path) == before
    assert cli("evaluate", predicted, truth, "--csv", folder / "rows.csv", "--overwrite")[0] == 0
    assert (folder / "rows.csv").read_text() == CSV + "a.png,1.0000,1,1.0000\n"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_no_target_and_nobody_waits_for_it(run: Path, tmp_path: Path, cli: Call) -> None:
    os.mkfifo(tmp_path / "page.html")
    assert cli("report", run, "-o", tmp_path / "page.html", "--overwrite")[0] == 4
    for name in ("boxes.json", "truth.json"):
        (tmp_path / name).write_text('{"a.png": [[1, 1, 5, 5]]}')
    (tmp_path / "boxes.json").write_text('{"images": [], "annotations": [], "categories": []}')
    assert cli("evaluate", tmp_path / "boxes.json", tmp_path / "truth.json", "--csv", tmp_path / "page.html")[0] == 4
