"""The figures of README and docs are those of the result files; these say where they come from; every script runs both ways."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from benchmarks import check, decoding, masks, provenance, scale, trackers, video_reading
from benchmarks.claims import ANY, CLAIMS, Claim
from benchmarks.markdown import Figure, markdown
from benchmarks.pages import BLOCK, PAGES, filled
from benchmarks.tables import TABLES
from stn_cli.coloc.model.masked import with_masks
from stn_cli.formats.coco import CocoWriter
from stn_cli.records import ImageRecord, Localisation, corners
from tests.conftest import ROOT

RESULTS = sorted((ROOT / "benchmarks" / "results").glob("*.json"))
SCRIPTS = sorted(
    path.relative_to(ROOT / "benchmarks").as_posix()
    for path in (ROOT / "benchmarks").rglob("*.py")
    if '__name__ == "__main__"' in path.read_text("utf-8") and path.name not in ("worker.py", "process.py")
)
MEASURED = re.compile(
    r"\b(CorLoc|IoU|AUC|AUROC|HOTA|images/s|frames/s|times|GB|MB|ms|seconds|minutes|percent|precision|recall)\b|%"
)
"""A sentence of the README that speaks of what was measured."""
GROUPS = ("SAMPLER", "LEARNING", "TRACKING", "LOCALISING", "STARTING", "REVIEWING", "WHOLE")
NO_MEASUREMENT = {
    "docs/benchmarks.md": (
        "84x84", "16 pieces", "IoU > 0.5", "100 images", "100 new images", "appendix A.2", "ViT-S/16", "60,000 small pictures",
        "score at least .5", "in 10 bins", "from 0 to 1", "on 8 photographs",
        "score at least 0.5", "160 images", "2,000 cluttered", "100 of them", "12 megapixels", "200 to 500 pixels", "0.8 GFLOP",
        "seeds 0, 1 and 2", "off by 2 pixels", "within 2 pixels", "6 x 19 pixels", "for 20 frames", "1280x720", "H100", "48 and 60 pictures",
        "72 to 150 pictures",
    ),
    "README.md": (),
}  # fmt: skip
"""Numbers that say how something was measured, or what it is; every other one must be bound to a result file."""


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_the_figures_of_a_page_are_those_that_were_measured(page: Path) -> None:
    assert filled(page) == page.read_text("utf-8"), "python -m benchmarks.pages brings it up to date"


def test_every_table_stands_on_a_page() -> None:
    shown = {name for page in PAGES for _, name, _ in BLOCK.findall(page.read_text("utf-8"))}
    assert shown == set(TABLES)


def unbound(page: str) -> list[str]:
    """Sentences with numbers that neither a table nor a claim nor a setting accounts for."""
    text = (ROOT / page).read_text("utf-8")
    for claim in (c for c in CLAIMS if c.page in (ANY, page)):
        text = claim.pattern.sub("", text)
    text = BLOCK.sub("", text)
    text = re.sub(r"```.*?```|<!--.*?-->", "", text, flags=re.S)
    text = re.sub(r"^    .*$|`[^`]*`|\]\([^)]*\)|https?://\S+", "", text, flags=re.M)
    text = re.sub(r"\s+", " ", text)
    for phrase in NO_MEASUREMENT[page]:
        text = text.replace(phrase, "")
    sentences = re.split(r"(?<=[.:;]) ", text)
    return [s for s in sentences if re.search(r"(?<![\w-])\d", s) and (page != "README.md" or MEASURED.search(s))]


@pytest.mark.parametrize("page", NO_MEASUREMENT)
def test_every_figure_in_a_sentence_is_bound_to_a_result_file(page: str) -> None:
    assert not unbound(page)


def test_a_wrong_figure_is_put_right_and_a_lost_sentence_is_an_error() -> None:
    claim = Claim("README.md", "takes {seconds:.1f} s, {share:.0f} %", lambda: {"seconds": 2.25, "share": 40.5})
    assert claim.put_into("It takes 9.9\ns, 1 % of it.") == "It takes 2.3\ns, 41 % of it."
    with pytest.raises(ValueError, match="not 0 times"):
        claim.put_into("It takes long.")


def test_halves_are_rounded_away_from_zero() -> None:
    assert f"{Figure(72.5):.0f} {Figure(99.85):.1f} {Figure(1234.5):,.0f} {Figure(0.25)}" == "73 99.9 1,235 0.25"


def test_a_table_in_markdown() -> None:
    assert markdown(["", "a"], [["x", None]]) == "|  | a |\n|---|---|\n| x |  |"


@pytest.mark.parametrize("path", RESULTS, ids=lambda p: p.stem)
def test_a_result_file_says_where_its_figures_come_from(path: Path) -> None:
    data = json.loads(path.read_text("utf-8"))
    named = Counter(row for run in data["runs"] for row in run["rows"])
    assert max(named.values(), default=1) == 1
    rows: dict[str, Any] = next((data[key] for key in ("sets", "parts", "rows") if key in data), {})
    if named:
        assert set(named) == set(rows)
    else:
        assert len(data["runs"]) == 1
    for run in data["runs"]:
        assert run["provenance"] in ("written by the run", "from the history")
        assert re.fullmatch(r"[0-9a-f]{7,12}", run["commit"])
        assert re.match(r"\d{4}-\d\d-\d\d", run["date"])
        assert run["command"].startswith("python ")
        assert run["measures"]
        assert {"cpu", "cores", "threads", "gpu", "system", "load"} == set(run["machine"])
        assert {"python", *provenance.PACKAGES} <= set(run["versions"])
        assert isinstance(run["seeds"], list)
        if run["provenance"] == "written by the run":
            assert run["versions"]["torch"]
            assert run["dirty"] is not None


@pytest.mark.parametrize("group", GROUPS)
def test_what_is_measured_exists(group: str) -> None:
    for path in getattr(provenance, group):
        assert (ROOT / path).exists(), path


def test_rows_measured_again_are_no_longer_an_earlier_runs() -> None:
    def run(date: str, *rows: str) -> dict[str, Any]:
        return {"date": date, "command": "c", "rows": list(rows)}

    first, second = run("1", "a", "b"), run("2", "b")
    assert provenance.merged([first], second) == [run("1", "a"), second]
    assert provenance.merged([first, second], run("2", "b", "c")) == [run("1", "a"), run("2", "b", "c")]
    assert provenance.merged([first, second], run("3", "a", "b")) == [run("3", "a", "b")]
    assert provenance.merged([first], run("3")) == [run("3")]


def test_saving_says_commit_machine_and_versions(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "r.json"
    provenance.save("r", {"sets": {"a": 1}}, provenance.SAMPLER, rows=["a"], seeds=(1, 2), versions={"x": "1"}, out=out)
    provenance.save("r", {"sets": {"a": 1, "b": 2}}, provenance.SAMPLER, rows=["a", "b"], out=out)
    data = json.loads(out.read_text())
    (run,) = data["runs"]
    assert data["sets"] == {"a": 1, "b": 2}
    assert run["rows"] == ["a", "b"]
    assert run["measures"] == list(provenance.SAMPLER)
    assert run["versions"]["numpy"] == np.__version__
    assert run["machine"]["cores"] >= 1


def git(folder: Path, *words: str) -> None:
    settings = ("-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *settings, *words], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for module in (provenance, check):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(check, "RESULTS", tmp_path)
    for cached in (check.changes_since, check.blobs, check.code):
        cached.cache_clear()
    run = {
        "rows": [],
        "provenance": "written by the run",
        "commit": None,
        "code": None,
        "date": "2026-01-02T00:00:00Z",
        "measures": ["stn_cli/a"],
    }
    (tmp_path / "figures.json").write_text(json.dumps({"runs": [run]}))
    (tmp_path / "stn_cli" / "a").mkdir(parents=True)
    (tmp_path / "stn_cli" / "a" / "b.py").write_text(
        '"""Says."""\nimport os\n\n\ndef f():\n    return 1  # one\n' + "# long\n" * 20
    )
    return tmp_path


def commit(folder: Path) -> None:
    git(folder, "add", "-A")
    git(folder, "commit", "-m", "m")
    for cached in (check.changes_since, check.blobs, check.code):
        cached.cache_clear()


def last_words(folder: Path) -> str:
    return check.table([folder / "figures.json"])[-1]


def test_figures_older_than_their_code_are_told_through_renames(place: Path) -> None:
    git(place, "init", "-q")
    commit(place)
    assert last_words(place).endswith("current")
    (place / "stn_cli" / "c").mkdir()
    text = (place / "stn_cli" / "a" / "b.py").read_text()
    (place / "stn_cli" / "a" / "b.py").unlink()
    (place / "stn_cli" / "c" / "d.py").write_text(
        text.replace("import os", "import sys").replace("Says", "Tells").replace("# one", "")
    )
    commit(place)
    assert last_words(place).endswith("current")  # moved, said otherwise: the same code
    (place / "stn_cli" / "c" / "other.py").write_text("x = 1\n")
    commit(place)
    assert last_words(place).endswith("current")
    (place / "stn_cli" / "c" / "d.py").write_text(text.replace("return 1", "return 2"))
    commit(place)
    assert "OLDER: 1 of 1 files changed since" in last_words(place)


def test_without_history_and_in_a_shallow_clone_it_says_so(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "argv", ["check"])
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(place.parent))
    check.main()
    assert "no git history" in capsys.readouterr().out
    git(place, "init", "-q")
    commit(place)
    (place / "stn_cli" / "a" / "b.py").write_text("x = 2\n")
    commit(place)
    git(place, "clone", "-q", "--depth", "1", place.as_uri(), "shallow")
    monkeypatch.setattr(provenance, "ROOT", place / "shallow")
    check.main()
    assert "This clone is shallow" in capsys.readouterr().out


def test_bench_check_works_here(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["check", "aliasing"])
    check.main()
    out = capsys.readouterr().out
    assert "aliasing" in out or "no git history" in out


def test_every_script_shows_its_help_as_a_module_and_as_a_file() -> None:
    assert len(SCRIPTS) > 15
    done = subprocess.run(
        [sys.executable, "-c", HELP, str(ROOT), *SCRIPTS], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [f"{how}:{script}" for script in SCRIPTS for how in ("file", "module")]


HELP = """
import contextlib, io, os, runpy, sys
import stn_cli, torch, cv2, kornia
root, *scripts = sys.argv[1:]
outside = [p for p in sys.path if p and os.path.realpath(p) != os.path.realpath(root)]
for script in scripts:
    path = os.path.join(root, "benchmarks", script)
    for how in ("file", "module"):
        for name in [n for n in sys.modules if n.split(".")[0] == "benchmarks"]:
            del sys.modules[name]
        sys.path[:] = [root if how == "module" else os.path.dirname(path), *outside]
        said = io.StringIO()
        sys.argv = [path, "--help"]
        try:
            with contextlib.redirect_stdout(said):
                if how == "file":
                    runpy.run_path(path, run_name="__main__")
                else:
                    name = "benchmarks." + script.removesuffix(".py").removesuffix("/__main__").replace("/", ".")
                    runpy.run_module(name, run_name="__main__")
        except SystemExit as end:
            assert end.code == 0, (script, how, end.code)
        assert "usage:" in said.getvalue(), (script, how)
        print(f"{how}:{script}")
"""


def test_nine_starts_within_two_pixels_the_true_one_first() -> None:
    starts = trackers.starts([1.0, 50.0, 31.0, 90.0])
    assert starts[0] == [1.0, 50.0, 31.0, 90.0]
    assert len(starts) == 9
    for x, y, right, bottom in starts:
        assert x >= 0
        assert abs(x - 1) <= 2
        assert abs(y - 50) <= 2
        assert (right - x, bottom - y) == (30.0, 40.0)


def test_the_best_loop_reduces_as_far_as_the_size_allows(tmp_path: Path) -> None:
    files = []
    for name, side in (("large", 1600), ("middling", 520), ("small", 90)):
        files.append(tmp_path / f"{name}.jpg")
        cv2.imwrite(str(files[-1]), np.zeros((side // 2, side, 3), np.uint8))
    flags = decoding.best_flags(files, 128)
    assert flags == [cv2.IMREAD_REDUCED_COLOR_8, cv2.IMREAD_REDUCED_COLOR_4, cv2.IMREAD_COLOR]
    row = decoding.beside(files, 128, lambda: 10.0, rounds=1)
    assert row["ours"] == 10.0
    assert row["ratio_full"] == pytest.approx(10.0 / row["full_loop"], abs=0.01)


def test_made_videos_are_read_alike_and_frames_carry_their_numbers(tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    stamps = [0, 20, 120, 400, 440]
    video_reading.write(path, "mpeg4", frames=5, size=(640, 360), stamps=stamps)
    for read in (video_reading.by_opencv, video_reading.by_pyav):
        seen = [(round(1000 * t), video_reading.number_of(image)) for t, image in read(path)]
        assert seen == list(zip(stamps, range(5), strict=True))


@pytest.fixture
def instances(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[masks.Photo]:
    """Two images with two discs each, their boxes, and their instances in an order of their own."""
    boxes = {}
    for name in ("a", "b"):
        image, numbers = np.full((60, 90, 3), 90, np.uint8), np.zeros((60, 90), np.uint8)
        for number, (x, y, r) in enumerate([(60, 30, 18), (20, 30, 12)], 1):
            cv2.circle(image, (x, y), r, (30, 30, 200), -1)
            cv2.circle(numbers, (x, y), r, number, -1)
        for folder, extension, picture in (("images", "jpg", image), ("masks", "png", numbers)):
            (tmp_path / folder).mkdir(exist_ok=True)
            cv2.imwrite(str(tmp_path / folder / f"{name}.{extension}"), picture)
        boxes[f"{name}.jpg"] = [[8, 18, 33, 43], [42, 12, 79, 49]]
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    monkeypatch.setattr(masks, "FOLDER", tmp_path)
    return masks.photos(0)


def test_masks_are_compared_with_those_of_their_own_objects(instances: list[masks.Photo]) -> None:
    assert [mask.sum() for mask in instances[0].masks] == sorted(mask.sum() for mask in instances[0].masks)
    rows = masks.rows_of(instances)
    assert masks.measure(rows["masks"], instances)[:2] == (pytest.approx(0.97, abs=0.03), 0)
    filled = [mask.sum() / side**2 for mask, side in zip(instances[0].masks, (25, 37), strict=True)]
    assert masks.measure(rows["the box itself"], instances)[0] == pytest.approx(np.mean(filled))
    off = [masks.moved(photo, np.random.default_rng(0)) for photo in instances]
    assert masks.measure(rows["GrabCut, 3 iterations"], off)[0] > 0.5
    assert not np.array_equal(off[0].boxes, instances[0].boxes)


def test_masks_of_a_file_are_scored_by_the_objects_that_their_boxes_match(
    instances: list[masks.Photo], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    writer = CocoWriter(tmp_path / "found.json", {})
    for photo in instances[:1]:
        found = [
            (*box, score)
            for box, score in zip([*photo.boxes, photo.boxes[0] + 1, [0, 0, 9, 9]], (0.9, 0.8, 0.7, 0.6), strict=True)
        ]
        objects = tuple(Localisation(photo.name, 90, 60, row[:4], corners(row[:4]), (), row[4]) for row in found)
        writer.add(with_masks(photo.pixels, ImageRecord(photo.name, 90, 60, objects)))
    writer.close()
    masks.score_file(tmp_path / "found.json", instances)
    said = capsys.readouterr().out
    assert said.startswith("2 of 4 objects have a box with an IoU above 0.5, 2 of these a mask")
    assert float(re.findall(r"mean IoU of masks ([\d.]+)", said)[0]) > 0.9
    (tmp_path / "none.json").write_text('{"images": [], "annotations": []}')
    with pytest.raises(SystemExit, match="no box"):
        masks.score_file(tmp_path / "none.json", instances)


@pytest.mark.parametrize(
    ("workers", "seconds", "images"),
    [
        ([[(0, 1, 10, 0.5), (1, 2, 10, 0.5), (2, 3, 10, 0.5)]], 2, 20),  # one, that never waits: its first chunk is left out
        ([[(0, 1, 10, 0.5), (2, 3, 10, 0.5)]], 2, 10),  # it waits for half of the time
        (
            [[(0, 1, 10, 0.5), (1, 2, 10, 0.5), (2, 3, 10, 0.5)], [(0.5, 1.5, 10, 0.5), (1.5, 2.5, 10, 0.5)]],
            1,
            20,
        ),  # parts of chunks
        ([[(0, 1, 10, 0.5), (1, 9, 80, 4)], [(0, 1, 10, 0.5), (1, 2, 10, 0.5)]], 1, 20),  # the second has nothing more to do
    ],
)
def test_workers_are_counted_while_all_are_at_work(workers: list[list[scale.Chunk]], seconds: float, images: float) -> None:
    first, last, done, busy = scale.all_at_work(workers)
    assert (last - first, done, busy) == pytest.approx((seconds, images, images / 20))
