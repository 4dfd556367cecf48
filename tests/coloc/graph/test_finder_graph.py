"""A run as one graph: what it finds is what `Localiser` finds, in torch and in onnxruntime."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torchvision.ops import nms

from stn_cli.coloc.graph import write
from stn_cli.coloc.graph.choosing import best
from stn_cli.coloc.graph.finder_graph import FinderGraph
from stn_cli.coloc.graph.resizing import OnLetterbox, place_all, reducing, sized
from stn_cli.coloc.graph.suppression import apart
from stn_cli.coloc.model.finder import make_finder
from stn_cli.coloc.model.found import scored_at_least
from stn_cli.coloc.model.kind_model import KindModel
from stn_cli.coloc.model.localiser import Localiser
from stn_cli.coloc.score.calibration import Calibration
from stn_cli.coloc.score.scorers import make_scorer
from stn_cli.coloc.search.background import Background
from stn_cli.encoders import GradientEncoder, PretrainedEncoder, SmallEncoder
from stn_cli.encoders.pretrained import standardise
from stn_cli.errors import InputError, ResourceError
from stn_cli.geometry import Frame
from stn_cli.instances.proposer import Proposer
from stn_cli.media.cache import Letterbox, place
from stn_cli.media.decode import Pixels, load
from stn_cli.media.scan import ImageFile
from stn_cli.records import ImageRecord
from tests.conftest import ROOT, Trained

onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is a test dependency")

Call = Callable[..., tuple[int, str, str]]
CUPS = sorted((ROOT / "sample_data/cups/images").iterdir())
PIXEL = 1e-4
"""Times the scale: how far boxes may lie apart."""


@pytest.fixture(autouse=True)
def single_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """Graphs are in single precision; torch is in halves where the processor has them."""
    for module in ("encoders.small", "instances.weights"):
        monkeypatch.setattr(f"stn_cli.{module}.quick_halves", lambda _: False)


def made(kind: str, transform: str = "box", objects: int = 1, levels: int = 1) -> KindModel:
    """A model of random weights; its proposer is the package's own."""
    torch.manual_seed(3)
    encoder = SmallEncoder() if kind == "dense" else GradientEncoder()
    scorer = make_scorer(kind, {"dense": [256, 1, 16, 5], "words": [20, 14], "rigid": [192]}[kind], encoder)
    for name, value in scorer.named_buffers():
        if not name.startswith("encoder.") and value.is_floating_point():
            value.copy_(torch.rand(value.shape) + (0.0 if value.ndim else 0.5))
    proposer = Proposer() if kind == "dense" else None
    finder = make_finder(transform, {}, 1 if proposer else objects, levels, scorer)
    for level in finder.levels:
        torch.nn.init.normal_(level.localisation.body.head.weight, std=0.3)  # type: ignore[union-attr]
    calibration = Calibration()
    calibration.slope.fill_(0.05)  # scores that are told apart
    return KindModel(finder, scorer, calibration, objects, proposer)


def localiser(*parts: KindModel, letterbox: int = 64, coarse: int = 64) -> Localiser:
    out = Localiser(Path("run"), letterbox, coarse, {}, torch.device("cpu"), list(parts))
    out._settle()
    return out


def graph_of(run: Localiser) -> FinderGraph:
    return FinderGraph(run.parts, run.letterbox, run.coarse, run.least).eval()


def on_letterbox(image: Pixels, side: int) -> Letterbox:
    """As the graph resizes it, so that both look at the same values."""
    height, width = image.shape[:2]
    pixels = place_all(torch.from_numpy(image)[None], OnLetterbox.of(height, width, side))[0]
    return Letterbox(ImageFile("", ""), Frame(width, height, side), pixels.permute(1, 2, 0).byte().numpy())


def assert_same(found: list[np.ndarray], number: int, record: ImageRecord, scale: float) -> None:
    """Boxes, scores, kinds and corners of one image of a batch, against a record."""
    boxes, scores, kinds, quads = (out[number] for out in found)
    there = scores >= 0
    assert int(there.sum()) == len(record.objects)
    assert not boxes[~there].any()
    assert (scores[~there] == -1).all()
    for name, rows in (("box", boxes), ("quad", quads)):
        expected = np.array([getattr(o, name) for o in record.objects])
        np.testing.assert_allclose(rows[there], expected, atol=PIXEL * max(1.0, scale), rtol=5e-6)
    np.testing.assert_allclose(scores[there], [o.score for o in record.objects], atol=1e-5)
    assert kinds[there].tolist() == [o.kind for o in record.objects]


RUNS: dict[str, Callable[[], Localiser]] = {
    "proposals": lambda: localiser(made("dense"), letterbox=104),
    "proposals that look more closely, few": lambda: localiser(made("dense", "similarity", 2), letterbox=104),
    "words": lambda: localiser(made("words", "thin_plate_spline")),
    "three rigid objects": lambda: localiser(made("rigid", "affine", 3)),
    "a cascade": lambda: localiser(made("rigid", "projective", 1, 2)),
    "two kinds": lambda: localiser(made("rigid", "box"), made("words", "similarity", 2)),
}


@pytest.mark.parametrize("run", RUNS)
def test_the_graph_finds_what_the_localiser_finds(run: str) -> None:
    """Wide and high pictures, a batch of two and one of one."""
    ours = RUNS[run]()
    graph = graph_of(ours)
    pictures = [np.ascontiguousarray(load(path)) for path in CUPS[:2]]
    for batch in (pictures, [np.ascontiguousarray(pictures[0].swapaxes(0, 1))]):
        with torch.no_grad():
            found = [out.numpy() for out in graph(torch.from_numpy(np.stack(batch)))]
        for number, image in enumerate(batch):
            record = scored_at_least(ours.record(on_letterbox(image, ours.letterbox)), ours.least)
            assert record.objects
            assert_same(found, number, record, max(image.shape) / ours.letterbox)


def exported(run: Localiser, path: Path) -> Any:
    path.write_bytes(write.finder_as_onnx(run, ["object"] * len(run.parts), run.least))
    return onnxruntime.InferenceSession(path)


@pytest.mark.slow
@pytest.mark.parametrize("run", RUNS)
def test_onnxruntime_finds_what_the_localiser_finds(run: str, tmp_path: Path) -> None:
    ours = RUNS[run]()
    session = exported(ours, tmp_path / "finder.onnx")
    images = [np.ascontiguousarray(load(path)) for path in CUPS[:3]]
    for batch in (images, [np.ascontiguousarray(images[0].swapaxes(0, 1))], [np.ascontiguousarray(images[1][:40, :200])]):
        found = session.run(None, {"images": np.stack(batch)})
        for number, image in enumerate(batch):
            record = scored_at_least(ours.record(on_letterbox(image, ours.letterbox)), ours.least)
            assert_same(found, number, record, max(image.shape) / ours.letterbox)


def test_a_run_becomes_a_file_that_the_script_of_the_docs_runs(trained: Trained, cli: Call, tmp_path: Path) -> None:
    """The whole way: the command, the file, twenty lines of Python; a second call, and what it must not write over."""
    file = tmp_path / "finder.onnx"
    code, out, err = cli("export", trained.run, "--format", "onnx", "-o", file, "--label", "ring", "--json")
    assert (code, err.count("error")) == (0, 0)
    assert json.loads(out) | {"seconds": 0} == {
        "onnx": str(file),
        "bytes": file.stat().st_size,
        "names": ["ring"],
        "seconds": 0,
    }
    images = sorted(trained.images.iterdir())[:4]
    done = subprocess.run(
        [sys.executable, ROOT / "docs/onnx_run.py", file, *images], capture_output=True, text=True, check=True
    )
    ours = Localiser.load(trained.run, "cpu")
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [(line[0], line[1]) for line in lines] == [(str(path), "ring") for path in images]
    for path, line in zip(images, lines, strict=True):
        record = ours.record(on_letterbox(np.ascontiguousarray(load(path)), ours.letterbox))
        np.testing.assert_allclose([float(v) for v in line[3:]], record.objects[0].box, atol=0.006)  # two digits are printed
        assert float(line[2]) == pytest.approx(record.objects[0].score, abs=1e-4)
    session = onnxruntime.InferenceSession(file)
    batch = [np.ascontiguousarray(load(path)) for path in images]
    found = session.run(None, {"images": np.stack(batch)})
    for number, image in enumerate(batch):
        assert_same(found, number, ours.record(on_letterbox(image, ours.letterbox)), max(image.shape) / ours.letterbox)
    assert cli("export", trained.run, "--format", "onnx", "-o", file)[0] == 4  # it is there already
    (tmp_path / "notes.onnx").write_text("mine")
    code, _, err = cli("export", trained.run, "--format", "onnx", "-o", tmp_path / "notes.onnx", "--overwrite")
    assert (code, (tmp_path / "notes.onnx").read_text()) == (4, "mine")
    assert "it is not a file of stn-coloc export" in err
    assert cli("export", trained.run, "--format", "onnx", "-o", trained.run / "new.onnx")[0] == 4
    assert not (trained.run / "new.onnx").exists()


# arguments, exit code, what is said
MISFITS = [
    (["RUN", "--format", "yolo"], 2, "a run has no boxes to make a data set of"),
    (["BOXES", "--format", "onnx"], 2, "--format onnx is for a run folder, and this is a file"),
    (["BOXES", "--format", "yolo", "-o", "a.onnx"], 2, "an ONNX file is written with --format onnx"),
    (["RUN", "--format", "onnx", "--split", "80,20"], 2, "--split is for data sets, not for --format onnx"),
    (["RUN", "--format", "onnx", "--labels", "a,b"], 2, "there must be a name for each kind"),
    (["nothing", "--format", "onnx"], 5, "no trained model"),
]


@pytest.mark.parametrize(("arguments", "code", "said"), MISFITS, ids=[said for _, _, said in MISFITS])
def test_what_does_not_fit_is_one_line(
    arguments: list[str], code: int, said: str, trained: Trained, cli: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    places = {"RUN": str(trained.run), "BOXES": str(trained.folder / "boxes.json")}
    got, out, err = cli("export", *(places.get(a, a) for a in arguments))
    assert (got, out) == (code, "")
    assert err.startswith(f"error: {said}")
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_what_no_graph_can_hold_is_said() -> None:
    cameras = made("rigid")
    cameras.background = Background(1)
    with pytest.raises(InputError, match=r"cannot be exported as ONNX.*backgrounds of fixed cameras"):
        write.finder_as_onnx(localiser(cameras), ["object"], 0.0)
    foreign = made("rigid")
    foreign.scorer.encoder = PretrainedEncoder("resnet18", None, "", pretrained=False)
    with pytest.raises(InputError, match="its encoder is another project's network"):
        write.finder_as_onnx(localiser(foreign), ["object"], 0.0)


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write, "find_spec", lambda name: None if name == "onnxscript" else object())
    with pytest.raises(ResourceError, match=r"not installed: 'onnxscript'. pip install 'stn-coloc\[onnx\]'"):
        write.finder_as_onnx(localiser(made("rigid")), ["object"], 0.0)


# height, width, side of the letterbox
PICTURES = [
    (48, 64, 64),
    (480, 640, 208),
    (416, 416, 208),
    (832, 610, 208),
    (100, 80, 208),
    (208, 100, 208),
    (3, 500, 96),
    (500, 1, 96),
]


@pytest.mark.parametrize(("height", "width", "side"), PICTURES)
def test_letterboxes_are_those_of_opencv(height: int, width: int, side: int) -> None:
    """But for values that lie on a half, which OpenCV rounds by chance: one grey level."""
    rough = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    image = cv2.GaussianBlur(rough, (0, 0), 1.0).reshape(height, width, 3)
    frame, placed = Frame(width, height, side), OnLetterbox.of(height, width, side)
    expected = torch.from_numpy(place(image, frame)).movedim(-1, 0).float()
    off = (place_all(torch.from_numpy(image)[None], placed)[0] - expected).abs()
    assert float(off.max()) <= 1
    assert float((off > 0).float().mean()) < 2e-3
    assert placed.rectangle().tolist() == pytest.approx(frame.rectangle, abs=1e-12)
    torch.testing.assert_close(placed.letterbox_to_image(), frame.letterbox_to_image())


@pytest.mark.parametrize(("height", "width"), [(480, 640), (640, 480), (100, 640)])
def test_the_proposers_sizes_are_torchs(height: int, width: int) -> None:
    x = torch.rand(2, 3, 104, 104, generator=torch.Generator().manual_seed(0))
    left, top, w, h = Frame(width, height, 104).content
    placed = OnLetterbox.of(height, width, 104)
    for side in (32, 72, 160):
        size = max(4, round(h * side / max(h, w))), max(4, round(w * side / max(h, w)))
        part = x[..., top : top + h, left : left + w]
        small = F.interpolate(part, size, mode="bilinear", align_corners=False, antialias=True)
        expected = F.pad(standardise(small), (0, -size[1] % 32, 0, -size[0] % 32), mode="replicate")
        got, now = sized(x, placed.begin, placed.length, side, 32)
        assert now.tolist() == list(size)
        torch.testing.assert_close(got, expected, atol=1e-5, rtol=0)
    matrix = reducing(104, 64)
    torch.testing.assert_close(matrix @ x @ matrix.T, F.interpolate(x, (64, 64), mode="area"), atol=1e-6, rtol=0)


def test_suppression_keeps_what_torchvision_keeps() -> None:
    generator = torch.Generator().manual_seed(0)
    corner = torch.rand(3, 60, 2, generator=generator)
    boxes = torch.cat([corner, corner + 0.3 * torch.rand(3, 60, 2, generator=generator)], -1)
    scores = torch.rand(3, 60, generator=generator)
    scores[0, 10:], boxes[0, 10:] = -1, 0  # no boxes
    found = best(boxes, scores, 0.4, 20)
    for number in range(3):
        kept = nms(boxes[number], scores[number], 0.4)
        kept = kept[scores[number, kept] >= 0][:20]
        there = found.scores[number] >= 0
        assert found.index[number, there].tolist() == kept.tolist()
        torch.testing.assert_close(found.of(boxes)[number, there], boxes[number, kept])
    assert apart(boxes[:0], 0.4).shape == (0, 60)
