"""A run used from Python: what pictures it takes, and that it works in a child process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import stn_cli
from stn_cli.coloc.model.localiser import Localiser
from stn_cli.errors import InputError, UsageError
from stn_cli.media.decode import load
from tests.conftest import QUICK, ROOT, Trained, make_folder


@pytest.fixture(scope="module")
def localiser(trained: Trained) -> Localiser:
    return Localiser.load(trained.run, "cpu")


def test_case_Z_a_pillow_image_is_as_good_as_its_file(trained: Trained, localiser: Localiser, tmp_path: Path) -> None:
    path = trained.images / "003.png"
    wanted = localiser.localise(path, "x")
    assert localiser.localise(Image.open(path), "x") == wanted
    assert localiser.localise(load(path), "x") == wanted
    bgr = np.ascontiguousarray(load(path)[..., ::-1])
    assert localiser.localise(bgr[..., ::-1], "x") == wanted  # as what OpenCV reads is given
    turned = Image.open(path).transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[274] = 6
    turned.save(tmp_path / "turned.png", exif=exif)
    assert localiser.localise(Image.open(tmp_path / "turned.png"), "x") == wanted
    assert localiser.localise_batch([load(path), Image.open(path)])[1].objects[0].box == pytest.approx(wanted.box, abs=1e-3)
    assert localiser.localise_batch([]) == []


def test_a_file_that_cannot_be_used_is_named(localiser: Localiser, tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_text("no image")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "folder").mkdir()
    for name, why in [("nope.jpg", "no such file"), ("bad.jpg", "not an image"), ("empty.jpg", "empty"), ("folder", "folder")]:
        for call in (localiser.localise, localiser.localise_all, lambda path: localiser.localise_batch([path])):
            with pytest.raises(InputError, match=why) as caught:
                call(tmp_path / name)
            assert f"image cannot be used: '{tmp_path / name}'" in str(caught.value)
    with pytest.raises(InputError, match="NUL"):
        localiser.localise(f"{tmp_path}/a\0b.jpg")


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGBA", "LA", "CMYK", "I;16"])
def test_pillow_images_of_all_modes(localiser: Localiser, mode: str) -> None:
    assert localiser.localise(Image.new("L", (60, 48), 1).convert(mode) if mode != "I;16" else Image.new(mode, (60, 48)))


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (np.zeros((48, 60), np.uint8), "(48, 60)"),
        (np.zeros((48, 60, 4), np.uint8), "(48, 60, 4)"),
        (np.zeros((3, 48, 60), np.uint8), "(3, 48, 60)"),
        (np.zeros((48, 60, 3), np.float32), "float32"),
        (np.zeros((48, 60, 3), np.int64), "int64"),
        (np.zeros((0, 60, 3), np.uint8), "(0, 60, 3)"),
        (np.zeros((48, 60, 3), object), "object"),
        (None, "NoneType"),
        (3, "int"),
        ([[0, 0]], "list"),
    ],
)
def test_what_is_no_picture_is_said(localiser: Localiser, image: object, said: str) -> None:
    with pytest.raises(UsageError, match="an array \\(H, W, 3\\) of uint8, RGB") as caught:
        localiser.localise(image)  # type: ignore[arg-type]
    assert said in str(caught.value)


def test_case_Z_completion_shows_the_names() -> None:
    assert set(stn_cli.__all__) <= set(dir(stn_cli))
    code = "import sys, stn_cli; assert set(stn_cli.__all__) <= set(dir(stn_cli)); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})


def test_case_Z_train_from_python_writes_its_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_folder(tmp_path, 8)
    settings = stn_cli.TrainConfig(**QUICK, encoder="gradient", device="cpu")
    result = stn_cli.train(tmp_path / "images", tmp_path / "run", settings)
    assert result.images == 8
    assert (tmp_path / "run" / "report.html").is_file()
    assert "\r" not in capsys.readouterr().err  # bars are for terminals
    stn_cli.train(tmp_path / "images", tmp_path / "plain", settings, report=False, progress=False)
    assert not (tmp_path / "plain" / "report.html").exists()


def test_case_Z_bars_on_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from stn_cli.runtime.progress import Bar

    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    bar = Bar()
    bar.stage("search", 3)
    bar.advance(3, "loss 1")
    bar.warn("odd\n\x1b")
    bar.close()
    said = capsys.readouterr().err
    assert "search" in said
    assert "3/3" in said
    assert "warning: odd\\n\\x1b" in said


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.parametrize("threads", ["1", "4"])
def test_case_N_a_forked_child_localises(trained: Trained, tmp_path: Path, threads: str) -> None:
    """OpenMP's threads do not live on in the child, and it would wait for them for ever."""
    code = """
import os, sys
import numpy as np
import torch
torch.set_num_threads(int(sys.argv[3]))
from stn_cli import Localiser
localiser = Localiser.load(sys.argv[1], "cpu")
image = sys.argv[2]
mine = localiser.localise(image)
child = os.fork()
if child == 0:
    same = np.allclose(localiser.localise(image).box, mine.box, atol=0.01)
    torch.randn(500, 500) @ torch.randn(500, 500)
    Localiser.load(sys.argv[1], "cpu").localise(image)
    os._exit(0 if same else 9)
_, status = os.waitpid(child, 0)
localiser.localise(image)
sys.exit(os.waitstatus_to_exitcode(status))
"""
    env = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"} | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "ignore", "-c", code, str(trained.run), str(trained.images / "003.png"), threads]
    subprocess.run(command, check=True, timeout=100, env=env, cwd=tmp_path)
