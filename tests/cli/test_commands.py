from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from stn_cli.cli.console import Progress
from stn_cli.cli.doctor import NEEDED, OPTIONAL
from stn_cli.cli.train import parse_size
from stn_cli.errors import UsageError, counted
from tests.conftest import QUICK_FLAGS, ROOT, Trained, make_folder, make_image, write_image

Call = Callable[..., tuple[int, str, str]]


def test_help_loads_neither_torch_nor_cv2() -> None:
    code = (
        "import sys; from stn_cli.cli.app import run; run(['--help']); import stn_cli; "
        "print([m for m in ('torch', 'cv2', 'numpy', 'rich') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == "[]"
    assert "train" in out


def test_the_program_says_everything_before_it_leaves() -> None:
    code = "import sys; from stn_cli.cli import app; app.run = lambda: (print('said'), sys.stderr.write('warned'), 3)[-1]; app.main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr, done.returncode) == ("said", "warned", 3)


def test_every_command_has_help(cli: Call) -> None:
    for command in ("train", "localise", "export", "evaluate", "report", "doctor"):
        code, out, _ = cli(command, "--help")
        assert code == 0
        assert "Usage: stn-coloc " + command in out


def test_help_cuts_no_summary(cli: Call) -> None:
    _, out, _ = cli("--help")
    summaries = out[out.index("Commands:") :].splitlines()[1:]
    assert len(summaries) == 9
    assert all(line.endswith(".") and not line.endswith("...") for line in summaries)


# what the help of a command says of where results go
DEFAULTS = {
    "train": "stn-coloc-run",
    "localise": "stn-coloc-boxes",
    "track": "stn-coloc-tracks",
    "pretrain": "stn-coloc-encoder",
    "report": "report.html in the run",
}


@pytest.mark.parametrize("command", DEFAULTS)
def test_help_says_where_results_go(cli: Call, command: str) -> None:
    text = "".join(cli(command, "--help")[1].split())
    out = text[text.index("--out") :]
    assert f"[default:({DEFAULTS[command]})]".replace(" ", "") in out[: out.index("]") + 1]


def test_help_of_track_says_how_objects_are_counted(cli: Call) -> None:
    assert "at the same time, at most" in " ".join(cli("track", "--help")[1].split())


def test_one_is_said_in_the_singular(cli: Call, trained: Trained, tmp_path: Path) -> None:
    make_folder(tmp_path, 1)
    (tmp_path / "images/bad.jpg").write_text("no image")
    code, _, err = cli("localise", tmp_path / "images", "-m", trained.run, "-o", tmp_path / "a", "--strict")
    assert code == 3
    assert "1 image, 1 object, " in err
    assert "error: 1 file skipped: " in err
    for n in range(2):
        write_image(tmp_path / f"frames/{n}.png", make_image(3)[0])
    flags = ["--init", "30,20,18,18", "--encoder", "gradient", "-o", tmp_path / "t"]
    code, _, err = cli("track", tmp_path / "frames", *flags, "--vid-stride", "2")
    assert code == 0, err
    assert "1 frame, 1 track, an object in 1 frame, 0 boxes put into gaps" in err
    (tmp_path / "frames/1.png").unlink()
    assert "(1 frame read)" in cli("track", tmp_path / "frames", "--init", "1,1,18,18@7", "-o", tmp_path / "u")[2]
    assert [counted(n, what) for n, what in ((0, "file"), (1, "box"), (2, "box"))] == ["0 files", "1 box", "2 boxes"]


def test_train_localise_evaluate_in_defaults(cli: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_folder(tmp_path, 12)
    monkeypatch.chdir(tmp_path)
    code, out, err = cli("train", "images", *QUICK_FLAGS)
    assert code == 0, err
    assert out.splitlines()[-1] == "stn-coloc-run"
    assert {p.name for p in Path("stn-coloc-run").iterdir()} >= {
        "config.toml", "model.safetensors", "state.pt", "metrics.jsonl", "images.txt", "skipped.jsonl", "report.html",
    }  # fmt: skip
    code, out, err = cli("localise", "--overlay", "--crops", "--format", "csv,coco-results")
    assert code == 0, err
    assert out.splitlines()[-1] == "stn-coloc-boxes/boxes.json"
    folder = Path("stn-coloc-boxes")
    data = json.loads((folder / "boxes.json").read_text())
    assert data["info"]["orientation"] == "exif-applied"
    assert [i["file_name"] for i in data["images"]] == [f"{n:03d}.png" for n in range(12)]
    assert cv2.imread(str(folder / "overlay/003.png.jpg")).shape == (48, 60, 3)
    assert max(cv2.imread(str(folder / "crops/003.png.png")).shape) == 256
    assert len((folder / "boxes.csv").read_text().splitlines()) == 13
    kept = [{key: row[key] for key in ("image_id", "category_id", "bbox", "score")} for row in data["annotations"]]
    assert json.loads((folder / "boxes.results.json").read_text()) == kept
    code, out, _ = cli("evaluate", folder / "boxes.json", "boxes.json", "--csv", "rows.csv")
    assert code == 0
    assert "CorLoc" in out
    assert len(Path("rows.csv").read_text().splitlines()) == 13
    code, out, _ = cli("evaluate", folder / "boxes.json", "boxes.json", "--json")
    assert json.loads(out)["images"] == 12


@pytest.mark.parametrize("count", [2, 9, 10])
def test_train_says_in_plain_words_what_came_of_it(count: int, cli: Call, tmp_path: Path) -> None:
    make_folder(tmp_path, count)
    code, _, err = cli("train", tmp_path / "images", "-o", tmp_path / "run", "--json", *QUICK_FLAGS)
    assert code == 0, err
    few = f"warning: {count} images are too few to learn from well: ten are few, a hundred are comfortable\n"
    assert err.count(few) == err.count("too few") == (count < 10)
    last = err.splitlines()[-1]
    assert re.fullmatch(
        rf"{count} images in \d+ s. The object is taken for (rigid|deformable) \(.*\). The boxes that were learnt overlap those that the search "
        r"found by [01]\.\d\d on average \(1 is the same\). Look at .*report.html",
        last,
    ), last
    page = (tmp_path / "run" / "report.html").read_text()
    assert ("too few to learn from" in page) == (count < 10)
    assert "overlap those that the search found by" in page


def test_results_are_not_overwritten_unasked(cli: Call, trained: Trained, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert cli("localise", "-m", trained.run, "-o", out, "--crops", "-q")[0] == 0
    assert (out / "crops/000.png.png").is_file()
    code, _, err = cli("localise", "-m", trained.run, "-o", out, "-q")
    assert code == 4
    assert "not empty" in err
    assert "--overwrite" in err
    assert cli("localise", "-m", trained.run, "-o", out, "--overwrite", "-q")[0] == 0
    assert not (out / "crops").exists()  # old crops do not stay among new results
    assert cli("train", trained.images, "-o", trained.run, "-q")[0] == 4


def test_json_results_and_silence(cli: Call, trained: Trained, tmp_path: Path) -> None:
    code, out, err = cli("localise", trained.images, "-m", trained.run, "-o", tmp_path / "o", "--json", "-q")
    assert code == 0
    assert err == ""
    assert json.loads(out)["images"] == 20


def test_configuration_round_trip(cli: Call, tmp_path: Path) -> None:
    code, out, _ = cli("train", "--print-config", "--steps", "77", "--size", "0.2-0.5")
    assert code == 0
    (tmp_path / "c.toml").write_text(out)
    code, again, _ = cli("train", "--print-config", "--config", tmp_path / "c.toml")
    assert again == out
    assert "steps = 77" in out
    assert tomllib.loads(out)["size"] == [0.2, 0.5]
    assert "steps = 5" in cli("train", "--print-config", "--config", tmp_path / "c.toml", "--steps", "5")[1]  # flags win


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["train", "--stepz", "3", "x"], 2, ["--stepz", "--steps"]),
        (["trian", "x"], 2, ["trian", "train"]),
        (["train"], 2, ["SOURCE"]),
        (["train", "x", "--imgsz", "3"], 2, ["--imgsz must be 32 to 2,048", "'3'"]),
        (["train", "x", "--transform", "bow"], 2, ["unknown --transform", "attention, box"]),
        (["train", "x", "--search", "hard"], 2, ["unknown --search"]),
        (["train", "x", "--steps", "-1"], 2, [" to 10,000,000", "'-1'"]),
        (["train", "x", "--objects", "0"], 2, ["--objects must be auto or a number", "'0'"]),
        (["train", "x", "--objects", "many"], 2, ["--objects must be auto or a number", "'many'"]),
        (["train", "x", "--objects", "400"], 2, ["--objects must be 0 to 300", "400"]),
        (["train", "x", "--kinds", "0"], 2, ["--kinds must be 1 to 16", "'0'"]),
        (["train", "x", "--transform", "structured", "--kinds", "2"], 2, ["finds one kind", "'--kinds 2'"]),
        (["train", "x", "--cascade", "9"], 2, ["--cascade must be 1 to 4", "'9'"]),
        (["train", "x", "--size", "big"], 2, ["--size must be LO-HI"]),
        (["train", "x", "--size", "0.9-0.2"], 2, ["--size must be LO-HI with"]),
        (["train", "x", "--lr", "lots"], 2, ["--lr"]),
        (["train", "nowhere"], 3, ["no such file or folder", "'nowhere'"]),
        (["train", "x", "--device", "cuda:99"], 7, ["no such device", "doctor"]),
        (["train", "x", "--device", "gpu"], 2, ["unknown --device"]),
        (["train", "--resume", "-o", "nowhere"], 5, ["nothing to resume"]),
        (["train", "--resume", "--steps", "3"], 5, ["nothing to resume"]),
        (["localise", "-m", "nowhere"], 5, ["no trained model"]),
        (["localise", "--format", "cubism"], 2, ["unknown --format"]),
        (["localise", "--min-score", "7"], 2, ["--min-score"]),
        (["evaluate", "nowhere.json", "nowhere.json"], 3, ["cannot read"]),
        (["evaluate", "a", "b", "--iou", "3"], 2, ["--iou"]),
        (["report", "nowhere"], 5, ["no trained model"]),
    ],
)
def test_mistakes_are_one_line_with_the_right_code(
    cli: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, words: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    got, out, err = cli(*arguments)
    assert got == code, err
    assert err.startswith("error: ")
    assert len(err.splitlines()) == 1
    assert "Traceback" not in err
    assert out == ""
    for word in words:
        assert word in err


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "stn_cli", "train", str(tmp_path / "no"), "--debug"]
    assert "Traceback" in subprocess.run(command, capture_output=True, text=True, check=False).stderr


def test_wrong_setting_in_a_file_names_the_nearest(cli: Call, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text("step = 3\n")
    code, _, err = cli("train", "x", "--config", tmp_path / "c.toml")
    assert code == 2
    assert "nearest: steps" in err
    (tmp_path / "c.toml").write_text('steps = "many"\n')
    assert "must be a int" in cli("train", "x", "--config", tmp_path / "c.toml")[2]
    (tmp_path / "c.toml").write_text("steps = = 3\n")
    assert cli("train", "x", "--config", tmp_path / "c.toml")[0] == 3


def test_the_same_command_and_resume_goes_on(cli: Call, trained: Trained, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained.run, run)
    (run / "model.safetensors").unlink()
    before = {p.name: p.read_bytes() for p in run.iterdir()}
    same = ["train", trained.images, "--out", run, "--resume", "--no-report", "-q", *QUICK_FLAGS]
    (tmp_path / "c.toml").write_text("steps = 41\nlr = 0.03\n")
    for flags, words in [
        (["--steps", "41"], ["steps: 40 in the run, 41 given"]),
        (["--seed", "1", "--size", "0.2-0.5"], ["seed: 0 in the run, 1 given", "size: (0.0, 0.0) in the run"]),
        (["--encoder", "gradient"], ["encoder: 'small' in the run, 'gradient' given"]),
    ]:
        code, _, err = cli(*same, *flags)
        assert code == 2
        assert all(word in err for word in words), err
    code, _, err = cli("train", "--out", run, "--resume", "--config", tmp_path / "c.toml")
    assert code == 2
    assert "steps: 40 in the run" in err
    assert "lr" not in err
    assert {p.name: p.read_bytes() for p in run.iterdir()} == before
    (run / "unfinished").mkdir()  # settings of the call that was stopped, not those of the run before
    (run / "unfinished/.stn-coloc-unfinished").write_text("train\n")
    shutil.copyfile(run / "state.pt", run / "unfinished/state.pt")
    (run / "unfinished/config.toml").write_text("steps = 7\n")
    code, _, err = cli(*same)
    assert code == 2
    assert "steps: 7 in the run, 40 given" in err
    shutil.rmtree(run / "unfinished")
    assert cli(*same, "--config", run / "config.toml")[0] == 0
    assert (run / "model.safetensors").is_file()


def test_settings_are_not_read_from_the_run_that_is_replaced(cli: Call, trained: Trained, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained.run, run)
    before = {p.name: p.read_bytes() for p in run.iterdir()}
    code, _, err = cli("train", trained.images, "--config", run / "config.toml", "-o", run, "--overwrite", *QUICK_FLAGS)
    assert code == 4
    assert "config.toml" in err
    assert {p.name: p.read_bytes() for p in run.iterdir()} == before


def test_strict_ends_with_three_when_something_was_skipped(cli: Call, trained: Trained, tmp_path: Path) -> None:
    make_folder(tmp_path, 2)
    (tmp_path / "images/bad.jpg").write_text("no image")
    arguments = ["localise", tmp_path / "images", "-m", trained.run, "-o"]
    assert cli(*arguments, tmp_path / "a")[0] == 0
    code, _, err = cli(*arguments, tmp_path / "b", "--strict")
    assert code == 3
    assert "1 skipped: 1 not an image" in err
    assert (tmp_path / "b/boxes.json").is_file()


def test_no_bars_and_no_colours_in_a_pipe(trained: Trained, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "stn_cli", "localise", "-m", str(trained.run), "-o", str(tmp_path / "o")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert "\x1b" not in done.stderr + done.stdout
    assert "\r" not in done.stderr
    assert done.stdout.splitlines() == [str(tmp_path / "o/boxes.json")]


def test_work_without_a_known_end_has_no_bar(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    progress = Progress()
    progress.stage("search", 4)
    progress.advance(1, "crops")
    progress.stage("calibration", None)
    progress.stage("learn", None)
    progress.advance(12, "looked")
    progress.close()
    search, rest = capsys.readouterr().err.split("calibration...")
    assert "1/4" in search
    assert "25%" in search
    assert "learn..." in rest
    assert "12 [" in rest
    assert not re.search(r"%|\d/\d|\|", rest)  # a number that grows, and nothing that seems to fill up


def test_doctor(cli: Call) -> None:
    code, out, _ = cli("doctor")
    assert code == 0
    for word in ("torch", "opencv-python", "cpu", "jpeg decoder"):
        assert word in out
    assert json.loads(cli("doctor", "--json")[1])["stn-coloc"]


def test_doctor_looks_at_all_that_is_required() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    names = [re.match(r"[\w-]+", line) for line in project["dependencies"]]
    extras = [
        re.match(r"[\w-]+", line)
        for name in ("track", "parquet", "onnx", "heif", "review", "ray")
        for line in project["optional-dependencies"][name]
    ]
    assert {name[0] for name in names if name} == set(NEEDED)
    assert {name[0] for name in extras if name} == set(OPTIONAL)


@pytest.mark.parametrize(("text", "size"), [("0.2-0.5", (0.2, 0.5)), (".3", (0.3, 0.3)), (" 0.1 - 1 ", (0.1, 1.0))])
def test_size(text: str, size: tuple[float, float]) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "a-b", "1-2-3", "-0.1"])
def test_no_size(text: str) -> None:
    with pytest.raises(UsageError):
        parse_size(text)


def test_overlay_shows_the_box(trained: Trained, tmp_path: Path, cli: Call) -> None:
    cli("localise", trained.images / "000.png", "-m", trained.run, "-o", tmp_path / "o", "--overlay", "-q")
    plain = cv2.imread(str(trained.images / "000.png")).astype(int)
    drawn = cv2.imread(str(tmp_path / "o/overlay/000.png.jpg")).astype(int)
    changed = np.abs(plain - drawn).max(2) > 90
    assert 30 < changed.sum() < 0.6 * changed.size


def test_the_package_is_typed_and_carries_its_page() -> None:
    assert (ROOT / "stn_cli/py.typed").is_file()
    assert (ROOT / "stn_cli/report/page.html.j2").is_file()


def test_evaluate_says_its_notes_unless_it_is_quiet(cli: Call, tmp_path: Path) -> None:
    boxes, truth = tmp_path / "boxes.json", tmp_path / "truth.json"
    images = [{"id": number, "file_name": name, "width": 9, "height": 9} for number, name in enumerate(("a.jpg", "b.jpg"), 1)]
    found = [{"id": n, "image_id": n, "category_id": 1, "bbox": [0, 0, 4, 4], "score": 1.0} for n in (1, 2)]
    kinds = [{"id": 1, "name": "object"}]
    boxes.write_text(json.dumps({"images": images, "annotations": found, "categories": kinds}))
    truth.write_text(json.dumps({"a.jpg": [[0, 0, 4, 4]]}))
    code, said, heard = cli("evaluate", boxes, truth)
    assert code == 0
    assert "note: " in heard
    assert cli("evaluate", boxes, truth, "-q") == (0, said, "")
    truth.write_text(json.dumps({"a.jpg": [[0, 0, 4, 4]], "c.jpg": [[0, 0, 4, 4]]}))
    assert re.search(r"of these not among the predictions +1 *\n", cli("evaluate", boxes, truth, "-q")[1])
