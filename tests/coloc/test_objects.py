"""Several objects, levels from coarse to fine, and crops at any angle: the search, the training and what comes out of the command line."""

from __future__ import annotations

import json
import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from stn_cli.coloc.crops import Crops, turned_crops
from stn_cli.coloc.model.finder import Finder
from stn_cli.coloc.model.found import best_apart
from stn_cli.coloc.model.localiser import Localiser
from stn_cli.coloc.scene import Scene
from stn_cli.coloc.score.kinds import find_kinds
from stn_cli.coloc.search.choose import centred
from stn_cli.coloc.search.rotation import evidence_centre, learn_alignment, shifted
from stn_cli.coloc.train.run import train
from stn_cli.encoders import GradientEncoder
from stn_cli.errors import Interrupted
from stn_cli.geometry import Frame, box_iou
from stn_cli.media.cache import Cache
from stn_cli.media.decode import load
from stn_cli.records import Localisation
from stn_cli.report.page import write_report
from stn_cli.runs import checkpoint
from stn_cli.runs.config import TrainConfig
from stn_cli.stn import TRANSFORMS, by_name
from tests.coloc.train.test_run import StopAt
from tests.conftest import QUICK, write_image

CPU = torch.device("cpu")


def glyph(angle: float = 0.0, letter: str = "F", side: int = 26) -> np.ndarray:
    """A letter that has no symmetry, turned clockwise."""
    out = np.zeros((side, side), np.uint8)
    cv2.putText(out, letter, (4, side - 4), cv2.FONT_HERSHEY_DUPLEX, 0.85, 255, 3)
    matrix = cv2.getRotationMatrix2D(((side - 1) / 2, (side - 1) / 2), -math.degrees(angle), 1.0)
    return np.asarray(cv2.warpAffine(out, matrix, (side, side)), np.uint8)


def scene(rng: np.random.Generator, parts: list[np.ndarray], side: int) -> tuple[np.ndarray, list[list[int]]]:
    """Parts that do not overlap, among strokes; RGB, and the parts' boxes."""
    letterbox = np.zeros((side, side), np.uint8)
    for _ in range(8):
        p, q = rng.integers(0, side, 2), rng.integers(-4, 5, 2)
        cv2.line(letterbox, tuple(map(int, p)), tuple(map(int, p + q)), 255, 2)
    boxes: list[list[int]] = []
    for part in parts:
        n = len(part)
        while True:
            x, y = (int(v) for v in rng.integers(0, side - n + 1, 2))
            if all(abs(x - b[0]) >= n or abs(y - b[1]) >= n for b in boxes):
                break
        np.maximum(letterbox[y : y + n, x : x + n], part, out=letterbox[y : y + n, x : x + n])
        boxes.append([x, y, x + n, y + n])
    return letterbox[..., None].repeat(3, 2), boxes


def as_cache(pictures: list[np.ndarray]) -> Cache:
    s = len(pictures[0])
    return Cache(np.stack(pictures), [Frame(s, s, s)] * len(pictures), [f"{i:03d}.png" for i in range(len(pictures))], [], [])


def folder_of(path: Path, letters: str, count: int = 24, side: int = 80, size: int = 26) -> list[list[list[int]]]:
    rng = np.random.default_rng(1)
    truth = []
    for i in range(count):
        picture, boxes = scene(rng, [cv2.resize(glyph(letter=c), (size, size)) for c in letters], side)
        write_image(path / f"{i:03d}.png", picture)
        truth.append(boxes)
    return truth


def found_share(boxes: torch.Tensor, truth: list[list[list[int]]], side: int) -> float:
    """Share of true boxes (of all images) that one of the boxes (N, R, 4) on the letterbox meets."""
    wanted = torch.tensor(truth) * (2 / side) - 1
    return float((box_iou(wanted[:, :, None], boxes[:, None]).amax(-1) > 0.5).float().mean())


def test_two_of_one_kind_share_what_was_learnt() -> None:
    rng = np.random.default_rng(2)
    pairs = [scene(rng, [glyph(), glyph()], 80) for _ in range(24)]
    (kind,) = find_kinds(as_cache([p for p, _ in pairs]), GradientEncoder(), TrainConfig(objects=2, search="rigid"), CPU)
    assert kind.boxes.shape == (24, 2, 4)
    assert float(kind.present.float().mean()) > 0.9
    assert found_share(kind.boxes, [b for _, b in pairs], 80) > 0.9


def test_two_kinds_are_two_searches() -> None:
    rng = np.random.default_rng(3)
    disc = np.zeros((26, 26), np.uint8)
    cv2.circle(disc, (13, 13), 11, 255, 3)
    pairs = [scene(rng, [glyph(letter="K"), disc], 84) for _ in range(30)]
    kinds = find_kinds(as_cache([p for p, _ in pairs]), GradientEncoder(), TrainConfig(kinds=2, objects=1, search="rigid"), CPU)
    boxes = torch.cat([k.boxes for k in kinds], 1)
    assert boxes.shape[1] == 2
    assert found_share(boxes, [b for _, b in pairs], 84) > 0.85


def test_turned_things_are_found_and_brought_upright() -> None:
    rng = np.random.default_rng(4)
    angles = rng.uniform(-math.pi, math.pi, 32)
    pairs = [scene(rng, [glyph(a)], 72) for a in angles]
    config = TrainConfig(transform="similarity", search="rigid", size=(0.3, 0.45))
    (kind,) = find_kinds(as_cache([p for p, _ in pairs]), GradientEncoder(), config, CPU)
    assert found_share(kind.crops().boxes(), [b for _, b in pairs], 72) > 0.9
    off = torch.exp(1j * (kind.angles[:, 0].double() - torch.from_numpy(angles)))
    assert float(off.mean().abs()) > 0.8  # all off by one common angle, which nobody can know


def test_upright_things_stay_upright() -> None:
    rng = np.random.default_rng(5)
    pairs = [scene(rng, [glyph(a)], 72) for a in rng.uniform(-0.3, 0.3, 24)]
    config = TrainConfig(transform="similarity", search="rigid", size=(0.3, 0.45))
    (kind,) = find_kinds(as_cache([p for p, _ in pairs]), GradientEncoder(), config, CPU)
    assert float(kind.angles.abs().median()) < 0.35


def test_angles_are_centred_unless_they_point_everywhere() -> None:
    turned = centred(torch.tensor([1.0, 1.2, 0.8, 1.0]))
    torch.testing.assert_close(turned, torch.tensor([0.0, 0.2, -0.2, 0.0]), atol=1e-5, rtol=0)
    everywhere = torch.arange(8) * (math.pi / 4)
    torch.testing.assert_close(centred(everywhere).cos(), everywhere.cos())
    assert float(centred(torch.tensor([3.0, -3.0])).abs().max()) < 0.2  # across the seam


def test_alignment_centres_turns_and_repeats_itself_on_other_images() -> None:
    """Crops of the thing off their centres by one common shift and turned by up to 40 degrees come into line."""
    rng = np.random.default_rng(6)
    n = 24
    angles = rng.uniform(-math.pi, math.pi, n)
    pairs = [scene(rng, [glyph(a)], 72) for a in angles]
    images = torch.from_numpy(np.stack([p for p, _ in pairs])).permute(0, 3, 1, 2).float() / 255
    truth = torch.tensor([b[0] for _, b in pairs]) * (2 / 72) - 1
    start = torch.from_numpy(angles + rng.uniform(-0.7, 0.7, n)).float()
    boxes = shifted(truth.float(), start, torch.tensor([0.3, -0.25]))
    whole = torch.tensor([[-1.0, -1, 1, 1]]).expand(n, 4)
    alignment = learn_alignment(
        GradientEncoder(), images[:16], whole[:16], boxes[:16], start[:16], torch.Generator().manual_seed(0)
    )
    after, turned = alignment.apply(images, boxes, start)
    for rows in (slice(0, 16), slice(16, n)):  # learnt from, and new
        off = torch.exp(1j * (turned[rows].double() - torch.from_numpy(angles)[rows]))
        assert float(off.mean().abs()) > 0.9
        assert float(box_iou(turned_crops(after[:, None], turned[:, None]).boxes()[rows, 0], truth[rows]).mean()) > 0.7
    ground = torch.zeros(12)
    left = evidence_centre(GradientEncoder(), images, turned_crops(after[:, None], turned[:, None]), ground)
    assert float(left.abs().max()) < 0.15


def test_a_cascade_finds_what_one_level_cannot_see(tmp_path: Path) -> None:
    truth = folder_of(tmp_path / "images", "F", count=24, side=256, size=22)
    config = TrainConfig(cascade=3, imgsz=64, search="rigid", size=(0.06, 0.14), steps=120, finetune=5, batch=16)
    train(tmp_path / "images", tmp_path / "run", config)
    localiser = Localiser.load(tmp_path / "run")
    assert localiser.letterbox == 256
    finder = localiser.parts[0].finder
    assert [level.transform.name for level in finder.levels] == ["attention", "attention", "box"]
    right = coarse = 0
    off: tuple[list[torch.Tensor], list[torch.Tensor]] = ([], [])  # pixels from the truth, of all levels and of the first alone
    for i, ((box,)) in enumerate(truth):
        image = load(tmp_path / "images" / f"{i:03d}.png")
        found = localiser.localise(image)
        right += float(box_iou(torch.tensor(found.box), torch.tensor(box).float())) > 0.5
        pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
        first = (finder(Scene(pixels, torch.tensor([[-1.0, -1, 1, 1]])), 1).boxes()[0, 0] + 1) * 128
        coarse += float(box_iou(first, torch.tensor(box).float())) > 0.5
        for pixels_off, seen in zip(off, (torch.tensor(found.box), first.detach()), strict=True):
            pixels_off.append((seen - torch.tensor(box)).view(2, 2).mean(0))
    assert right >= 18
    assert right > coarse
    # the search says where on the object the crop lies; the finder must lay it there every time
    fine, blurred = (torch.stack(each).std(0).norm() for each in off)
    assert float(fine) < 1
    assert float(fine) < float(blurred) / 2


@pytest.mark.parametrize("stage", ["regression, level 1 of 2", "regression, level 2 of 2", "fine-tuning, level 2 of 2"])
def test_a_cascade_of_several_is_resumed_bit_equal(stage: str, tmp_path: Path, whole: Path) -> None:
    run = tmp_path / "run"
    config = TrainConfig.from_toml(whole / "config.toml")
    with pytest.raises(Interrupted):
        train(whole.parent / "images", run, config, reporter=StopAt(stage, 3))
    train(None, run, resume=True)
    (a, facts), (b, again) = (checkpoint.load_model(r) for r in (whole, run))
    assert facts == again
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert (whole / "metrics.jsonl").read_text() == (run / "metrics.jsonl").read_text()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("several")
    folder_of(folder / "images", "FF", count=8, side=64, size=20)
    config = {**QUICK, "steps": 8, "finetune": 4, "imgsz": 32, "size": (0.3, 0.35), "search": "rigid"}
    train(folder / "images", folder / "run", TrainConfig(**config, objects=2, cascade=2))
    return folder / "run"


def test_several_objects_are_trained_and_written(tmp_path: Path) -> None:
    truth = folder_of(tmp_path / "images", "FF")
    config = TrainConfig(**{**QUICK, "steps": 80, "imgsz": 80}, objects=2, search="rigid", size=(0.25, 0.4))
    result = train(tmp_path / "images", tmp_path / "run", config)
    assert result.kind == "rigid"  # two of one kind
    localiser = Localiser.load(tmp_path / "run")
    assert localiser.facts["kinds"][0]["objects"] == 2
    page = write_report(tmp_path / "run").read_text()
    assert ", 2 in each image" in page
    met = 0
    for i, boxes in enumerate(truth):
        record = localiser.localise_all(load(tmp_path / "images" / f"{i:03d}.png"), "x.png")
        scores = [o.score for o in record.objects]
        assert scores == sorted(scores, reverse=True)
        met += sum(
            any(float(box_iou(torch.tensor(o.box), torch.tensor(b).float())) > 0.5 for o in record.objects) for b in boxes
        )
    assert met >= 0.75 * 2 * len(truth)


@pytest.mark.parametrize("transform", sorted(TRANSFORMS))
def test_records_hold_any_transformation(transform: str, tmp_path: Path, trained_by: dict[str, Path]) -> None:
    """theta in boxes.json cuts the crop again: its corners are the quad, from the JSON alone."""
    localiser = Localiser.load(trained_by[transform])
    image = np.random.default_rng(0).integers(0, 255, (50, 70, 3), np.uint8)
    found = localiser.localise(image, "a.png")
    built = by_name(transform, **localiser.facts["kinds"][0]["options"])
    matrix = localiser.transform.matrix(localiser.transform.identity())
    theta = torch.tensor(found.theta).view(matrix.shape)
    corners = localiser.transform.combine(
        theta, localiser.transform.basis(torch.tensor([[-1.0, -1], [1, -1], [1, 1], [-1, 1]]))
    )
    expected = (torch.tensor(found.quad) / torch.tensor([35.0, 25.0]) - 1).float()
    torch.testing.assert_close(corners, expected, atol=1e-4, rtol=1e-4)
    assert built.name == localiser.transform.name
    crop = localiser.crop(image, found, 32)
    assert max(crop.shape[:2]) == 32
    assert json.dumps(found.theta)


@pytest.fixture(scope="module")
def trained_by(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A very short run with each transformation."""
    folder = tmp_path_factory.mktemp("by")
    folder_of(folder / "images", "F", count=8, side=48, size=20)
    config = {**QUICK, "steps": 4, "finetune": 2, "size": (0.4, 0.45), "search": "rigid"}
    for name in TRANSFORMS:
        train(folder / "images", folder / name, TrainConfig(**config, transform=name))
    return {name: folder / name for name in TRANSFORMS}


def record(box: tuple[float, float, float, float], score: float) -> Localisation:
    return Localisation("a", 100, 100, box, ((0, 0),) * 4, (1, 0, 0, 0, 1, 0), score)


def test_crops_on_one_object_become_one() -> None:
    kept = best_apart([record((0, 0, 10, 10), 0.4), record((1, 0, 11, 10), 0.9), record((50, 50, 60, 60), 0.6)])
    assert [o.score for o in kept] == [0.9, 0.6]


def test_boxes_of_crops_are_around_their_ellipses() -> None:
    upright = Crops.of_boxes(torch.tensor([[[-0.5, -0.25, 0.5, 0.75]]]))
    torch.testing.assert_close(upright.boxes(), torch.tensor([[[-0.5, -0.25, 0.5, 0.75]]]))
    assert float(upright.log_area().exp()) == pytest.approx(0.25, rel=1e-5)
    turned = turned_crops(torch.tensor([[[-0.5, -0.5, 0.5, 0.5]]]), torch.tensor([[math.pi / 4]]))
    torch.testing.assert_close(
        turned.boxes(), torch.tensor([[[-0.5, -0.5, 0.5, 0.5]]]), atol=2e-3, rtol=0
    )  # a circle is a circle
    assert float(turned.log_area().exp()) == pytest.approx(0.25, rel=1e-5)


def test_a_finder_of_several_reads_several_crops() -> None:
    torch.manual_seed(0)
    finder = Finder(by_name("box"), objects=3, levels=2).eval()
    scene = Scene(torch.rand(2, 3, 64, 64), torch.tensor([[-1.0, -1, 1, 1]]).expand(2, 4))
    crops = finder(scene)
    assert crops.matrix.shape == (2, 3, 2, 3)
    assert finder(scene, 1).transform.name == "attention"
