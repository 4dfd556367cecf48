"""The deformable search on dense features as users meet it: scenes, several kinds, odd images; and on real photographs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from stn_cli.coloc.model.finder import Finder, predict
from stn_cli.coloc.score.kinds import Kind, find_kinds
from stn_cli.coloc.score.scorers import make_scorer
from stn_cli.coloc.score.settings import CALIBRATION
from stn_cli.coloc.train.finetune import match_sizes
from stn_cli.encoders import make_encoder
from stn_cli.evaluate import score_boxes
from stn_cli.formats.coco import read_coco
from stn_cli.geometry import box_iou
from stn_cli.jobs.localise import localise_source
from stn_cli.jobs.train import train
from stn_cli.media.cache import build_cache, letterbox_side
from stn_cli.media.scan import scan
from stn_cli.records import ImageRecord
from stn_cli.runs.checkpoint import load_model
from stn_cli.runs.config import TrainConfig
from stn_cli.stn import by_name
from tests.conftest import ROOT, SHARED, write_image

CPU = torch.device("cpu")


def found(folder: Path, config: TrainConfig) -> tuple[list[Kind], dict[str, list[list[float]]]]:
    """Kinds that a search finds, and the boxes of all of them in pixels, first ones first."""
    files = scan(folder).images
    large = build_cache(files, letterbox_side(files, 208))
    cache = large.reduced(letterbox_side(files, config.imgsz))
    with torch.no_grad():
        kinds = find_kinds(cache, make_encoder("small"), config, CPU, large=large)
    boxes = {
        name: [frame.boxes_from_letterbox(box).tolist() for kind in kinds for box in kind.boxes[i]]
        for i, (name, frame) in enumerate(zip(cache.names, cache.frames, strict=True))
    }
    return kinds, boxes


def right(boxes: dict[str, list[list[float]]], truth: dict[str, list[list[float]]]) -> float:
    hits = [
        float(box_iou(torch.tensor(boxes[n])[:1, None], torch.tensor(t).float()[None]).max()) > 0.5
        for n, t in truth.items()
        if n in boxes
    ]
    return sum(hits) / len(hits)


@pytest.mark.parametrize("which", [pytest.param("deformable", marks=pytest.mark.slow), "auto"])
def test_cups_on_any_ground(which: str, tmp_path: Path) -> None:
    """The same cup in every image is nearly rigid, but its saucer belongs to it: the deformable hypothesis must win."""
    source = ROOT / "sample_data/cups"
    for path in sorted((source / "images").iterdir())[::2]:
        (tmp_path / path.name).symlink_to(path)
    kinds, boxes = found(tmp_path, TrainConfig(search=which))
    assert [k.kind for k in kinds] == ["dense"]
    assert bool(kinds[0].present.all())
    truth = json.loads((source / "boxes.json").read_text())
    assert right(boxes, {n: truth[n] for n in boxes}) >= 0.8


def scene(seed: int, shapes: str, size: tuple[int, int] = (96, 128)) -> tuple[np.ndarray, dict[str, list[int]]]:
    """Things of their own colours on noisy ground: r a red disc with a bar, b a blue chequered square."""
    rng = np.random.default_rng(seed)
    h, w = size
    image = cv2.GaussianBlur(rng.integers(70, 150, (h, w, 3), np.uint8), (0, 0), 2)
    places = {}
    for shape in shapes:
        left = w // 2 if shape == "b" else 0  # each in its own half: they do not cover each other
        x, y = left + int(rng.integers(3, w // 2 - 33)), int(rng.integers(3, h - 33))
        patch = image[y : y + 30, x : x + 30]
        if shape == "r":
            cv2.circle(patch, (15, 15), 14, (210, 40, 30), -1)
            cv2.rectangle(patch, (4, 12), (26, 17), (240, 230, 60), -1)
        else:
            patch[:] = (30, 60, 190)
            patch[::6] = patch[:, ::6] = (220, 230, 240)
        places[shape] = [x, y, x + 30, y + 30]
    return image, places


@pytest.mark.slow
def test_two_common_objects_are_both_found(tmp_path: Path) -> None:
    truth = {}
    for n in range(20):
        image, truth[f"{n:02d}.png"] = scene(n, "rb")
        write_image(tmp_path / f"{n:02d}.png", image)
    _kinds, boxes = found(tmp_path, TrainConfig(search="deformable", kinds=2))
    both = [
        {max(places, key=lambda s: float(box_iou(torch.tensor(box), torch.tensor(places[s]).float()))) for box in boxes[n]}
        == {"r", "b"}
        for n, places in truth.items()
    ]
    hits = [
        max(float(box_iou(torch.tensor(box), torch.tensor(place).float())) for box in boxes[n]) > 0.5
        for n, places in truth.items()
        for place in places.values()
    ]
    assert sum(both) >= 16
    assert sum(hits) >= 30


def learnt(cli: Callable[..., tuple[int, str, str]], folder: Path, *flags: object) -> tuple[list[ImageRecord], str]:
    """Records of folder/images after a whole, short training of the deformable hypothesis into folder/run, and what training said."""
    flags = ("--search", "deformable", "--imgsz", 64, "--batch", 8, "--no-report", *flags)
    code, _, said = cli("train", folder / "images", "-o", folder / "run", *flags)
    assert code == 0, said
    code, _, err = cli("localise", "-m", folder / "run", "-o", folder / "boxes")
    assert code == 0, err
    return read_coco(folder / "boxes/boxes.json"), said


def test_two_kinds_share_their_encoder_in_the_model(tmp_path: Path, cli: Callable[..., tuple[int, str, str]]) -> None:
    """Weights that two scorers share cannot be stored twice: the run must still be written, and be usable."""
    for n in range(16):
        image, _ = scene(n, "rb")
        write_image(tmp_path / "images" / f"{n:02d}.png", image)
    records, _ = learnt(cli, tmp_path, "--kinds", 2, "--steps", 20, "--finetune", 2)
    tensors, facts = load_model(tmp_path / "run")
    assert len(facts["kinds"]) == 2
    assert sum(name == "encoder.network.stem.0.weight" for name in tensors) == 1
    assert not any(".scorer.encoder." in name for name in tensors)
    assert all(r.objects for r in records)
    assert {found.kind for r in records for found in r.objects} == {0, 1}
    code, _, err = cli("localise", "-m", tmp_path / "run", "-o", tmp_path / "named", "--labels", "ball,box", "--format", "csv")
    assert code == 0, err
    rows = (tmp_path / "named/boxes.csv").read_text().splitlines()[1:]
    named = [found.kind for r in records for found in r.objects if found.believed]
    assert named
    assert [row.rsplit(",", 1)[1] for row in rows] == [("ball", "box")[kind] for kind in named]


@pytest.mark.parametrize("instead", ["", "b"])
def test_images_without_the_object_score_low(instead: str, tmp_path: Path, cli: Callable[..., tuple[int, str, str]]) -> None:
    """A quarter of the images that are learnt from show nothing, or something else."""
    for n in range(24):
        image, _ = scene(n, "r" if n < 18 else instead)
        write_image(tmp_path / "images" / f"{'has' if n < 18 else 'lacks'}{n:02d}.png", image)
    records, _ = learnt(cli, tmp_path, "--steps", 60, "--finetune", 2)
    scores = {r.file: max((o.score for o in r.objects), default=0.0) for r in records}
    has = [v for k, v in scores.items() if k.startswith("has")]
    lacks = [v for k, v in scores.items() if k.startswith("lacks")]
    assert sum(a > b for a in has for b in lacks) >= 0.85 * len(has) * len(lacks)


def test_crops_become_as_large_as_the_searchs(tmp_path: Path) -> None:
    """Boxes that are all too small by a common factor are not after `match_sizes`."""
    for n in range(6):
        write_image(tmp_path / f"{n}.png", scene(n, "r")[0])
    cache = build_cache(scan(tmp_path).images, 64)
    torch.manual_seed(0)
    finder = Finder(by_name("box"))
    finder.localisation().begin_at(torch.tensor([0.2, 0.3]))
    boxes = torch.tensor([[[-0.5, -0.4, 0.3, 0.4]]]).expand(6, 1, 4)
    none = torch.zeros(6, 1)
    scorer = make_scorer("dense", [256, 1, 64, 6], make_encoder("small"))
    kind = Kind("dense", scorer, boxes, none, none == 0, [], None, None)
    match_sizes(finder, kind, cache, CPU)
    found = predict(finder, cache, CPU, torch.arange(6)).boxes()[:, 0]
    torch.testing.assert_close((found[:, 2:] - found[:, :2]).mean(0), torch.tensor([0.8, 0.8]), rtol=1e-3, atol=0)


def texture(rng: np.random.Generator, pattern: int, h: int, w: int) -> np.ndarray:
    """One of six patterns in two colours of its own."""
    y, x = np.mgrid[0:h, 0:w]
    step = int(rng.integers(3, 9))
    patterns = (
        lambda: x // step % 2,
        lambda: y // step % 2,
        lambda: (x // step + y // step) % 2,
        lambda: cv2.GaussianBlur(rng.random((h, w)), (0, 0), step / 3) * 3 % 1,
        lambda: x / w,
        lambda: np.hypot(x - w / 2, y - h / 2) // step % 2,
    )
    share = patterns[pattern]()[..., None]
    first, second = rng.integers(0, 256, (2, 3))
    return (share * first + (1 - share) * second).astype(np.uint8)


@pytest.mark.parametrize("common", [True, False])
def test_a_folder_without_a_common_object_is_doubted(
    common: bool, tmp_path: Path, cli: Callable[..., tuple[int, str, str]]
) -> None:
    """Every image has a ground of its own; with a thing of its own too, training says so, and no score is above 0.5."""
    rng = np.random.default_rng(5)
    for n in range(36):
        image, places = scene(n, "r")
        x1, y1, x2, y2 = places["r"]
        thing = image[y1:y2, x1:x2] if common else texture(rng, n // 6, y2 - y1, x2 - x1)
        image = texture(rng, n % 6, *image.shape[:2])
        image[y1:y2, x1:x2] = thing
        write_image(tmp_path / "images" / f"{n}.png", image)
    records, said = learnt(cli, tmp_path, "--steps", 20, "--finetune", 1)
    assert ("may be no common object" in said) is not common
    assert common or max(o.score for r in records for o in r.objects) <= CALIBRATION.doubtful


def test_odd_images_are_no_fault(tmp_path: Path, cli: Callable[..., tuple[int, str, str]]) -> None:
    """Greyscale, a panorama of 10:1, a tower of 1:10, 16 pixels, and a large one, among ordinary ones."""
    folder = tmp_path / "images"
    for n in range(8):
        write_image(folder / f"{n}.png", scene(n, "r")[0])
    write_image(folder / "grey.png", cv2.cvtColor(scene(8, "r")[0], cv2.COLOR_RGB2GRAY)[..., None].repeat(3, 2))
    write_image(folder / "panorama.jpg", scene(9, "r", (100, 1000))[0])
    write_image(folder / "tower.jpg", scene(10, "r", (1000, 100))[0])
    write_image(folder / "tiny.png", cv2.resize(scene(11, "r")[0], (16, 16)))
    write_image(folder / "large.jpg", cv2.resize(scene(12, "r")[0], (4000, 3000)))
    flags = ["--imgsz", 64, "--steps", 6, "--finetune", 1, "--batch", 8]
    code, _, err = cli("train", folder, "-o", tmp_path / "run", *flags)
    assert code == 0, err
    code, _, err = cli("localise", "-m", tmp_path / "run", "-o", tmp_path / "boxes", "--crops")
    assert code == 0, err
    records = read_coco(tmp_path / "boxes/boxes.json")
    assert len(records) == 13
    assert any(record.objects for record in records)
    for record in records:
        for found in record.objects:
            x1, y1, x2, y2 = found.box
            assert 0 <= x1 < x2 <= record.width
            assert 0 <= y1 < y2 <= record.height


def test_fish_of_many_photographers() -> None:
    """28 photographs that have nothing in common but fish, some of them whole shoals: the search alone."""
    source = ROOT / "sample_data/fish"
    _, boxes = found(source / "images", TrainConfig(search="deformable"))
    assert right(boxes, json.loads((source / "boxes.json").read_text())) >= 0.6


@pytest.mark.skipif(not (SHARED / "data/photos").is_dir(), reason="the photo sets for measuring are not here")
@pytest.mark.parametrize(
    ("name", "least"), [pytest.param("foda_clamp", 0.85, marks=pytest.mark.slow), ("voc07_motorbike", 0.65)]
)
def test_real_photographs(name: str, least: float) -> None:
    """The search alone; the figures of whole trainings are those of benchmarks/photos.py."""
    source = SHARED / "data/photos" / name
    _, boxes = found(source / "images", TrainConfig(search="deformable"))
    assert right(boxes, json.loads((source / "boxes.json").read_text())) >= least


@pytest.mark.slow
@pytest.mark.skipif(not (SHARED / "data/photos").is_dir(), reason="the photo sets for measuring are not here")
@pytest.mark.parametrize(("name", "least"), [("fruit_orange", 38.0), ("kangaroo", 35.0)])
def test_groups_get_a_box_for_each(name: str, least: float, tmp_path: Path) -> None:
    """AP50 over all objects of sets in which half of them have company: 44 and 41 where they were measured, 18 with one box around all."""
    source = SHARED / "data/photos" / name
    train(source / "images", tmp_path / "run", TrainConfig(), report=False, progress=False)
    localise_source(source / "images", tmp_path / "run", tmp_path / "boxes")
    precision = score_boxes(tmp_path / "boxes" / "boxes.json", source / "boxes.json").ap50
    assert precision is not None
    assert precision >= least
