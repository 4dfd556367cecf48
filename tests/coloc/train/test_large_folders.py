"""Folders of more images than the search looks at: all are labelled and learnt from, and figures are over what is there."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from stn_cli.coloc.model.finder import ImageLocalisation, options_for, predict
from stn_cli.coloc.scene import sample_indices
from stn_cli.coloc.score.kinds import Kind, find_kinds
from stn_cli.coloc.score.scorers import RigidScorer
from stn_cli.coloc.search import outlined as module
from stn_cli.coloc.train import agreement as agreeing
from stn_cli.coloc.train import finetune as tuning
from stn_cli.coloc.train import start
from stn_cli.coloc.train.augment import Augmenter, draw_generator, turning
from stn_cli.coloc.train.decode import decode_images
from stn_cli.coloc.train.run import train
from stn_cli.coloc.train.settings import REGRESSION
from stn_cli.encoders import GradientEncoder, make_encoder
from stn_cli.geometry import box_iou
from stn_cli.media.cache import Cache, build_cache
from stn_cli.media.many_names import ManyNames
from stn_cli.media.scan import scan
from stn_cli.runs import checkpoint
from stn_cli.runs.config import TrainConfig
from stn_cli.runs.folder import read_images
from stn_cli.runtime.progress import Silent
from stn_cli.runtime.stopping import StopRequest
from stn_cli.stn import by_name
from tests.coloc.search.test_search import planted_glyphs
from tests.coloc.test_photos import scene as photo
from tests.conftest import QUICK, make_folder, write_image

CPU = torch.device("cpu")
SEARCHED = 12


def unsearched(count: int, searched: int, seed: int = 0) -> torch.Tensor:
    """The images that a search does not look at."""
    chosen = torch.randperm(count, generator=torch.Generator().manual_seed(seed))[:searched]
    return torch.ones(count, dtype=torch.bool).index_fill(0, chosen, False)


@pytest.fixture(scope="module")
def rings(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Cache, torch.Tensor]:
    """40 rings on noise: folder, cache, true boxes on the letterbox."""
    folder = tmp_path_factory.mktemp("rings")
    truth = make_folder(folder, 40)
    cache = build_cache(scan(folder / "images").images, 60)
    boxes = [f.boxes_to_letterbox(torch.tensor(truth[n][0]).float()) for f, n in zip(cache.frames, cache.names, strict=True)]
    return folder, cache, torch.stack(boxes)


@pytest.fixture(scope="module")
def discs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Cache, torch.Tensor]:
    """40 red discs with a bar on noise, at the size that a network's features see them."""
    folder = tmp_path_factory.mktemp("discs")
    places = []
    for n in range(40):
        image, truth = photo(n, "r")
        write_image(folder / "images" / f"{n:03d}.png", image)
        places.append(truth["r"])
    cache = build_cache(scan(folder / "images").images, 128)
    boxes = [f.boxes_to_letterbox(torch.tensor(b).float()) for f, b in zip(cache.frames, places, strict=True)]
    return folder, cache, torch.stack(boxes)


@pytest.fixture(scope="module")
def searched_discs(discs: tuple[Path, Cache, torch.Tensor]) -> tuple[Kind, torch.Tensor]:
    """What a search of 12 of the discs gives, and how well the rules' boxes of those 12 overlap the search's windows."""
    own = []
    real = module.label_by_rules

    def spy(seen, found, index):  # type: ignore[no-untyped-def]
        if not own:
            own.append(box_iou(real(seen, found, seen.chosen), found.boxes))
        return real(seen, found, index)

    with pytest.MonkeyPatch.context() as patch, torch.no_grad():
        patch.setattr(module, "label_by_rules", spy)
        (kind,) = find_kinds(discs[1], make_encoder("small"), TrainConfig(search="deformable", search_images=SEARCHED), CPU)
    return kind, own[0]


@pytest.mark.parametrize(
    ("encoder", "how"),
    [
        ("small", "deformable"),  # a network's features: projection, margin, threshold, outline
        ("gradient", "deformable"),  # words
        ("gradient", "rigid"),  # a layout of edges
    ],
)
def test_images_that_were_not_searched_are_labelled_as_well(
    rings: tuple[Path, Cache, torch.Tensor],
    discs: tuple[Path, Cache, torch.Tensor],
    searched_discs: tuple[Kind, torch.Tensor],
    encoder: str,
    how: str,
) -> None:
    cache, truth = rings[1:]
    if how == "rigid":
        cache, truth = planted_glyphs(40)
    if encoder == "small":
        kind, truth = searched_discs[0], discs[2]
    else:
        with torch.no_grad():
            (kind,) = find_kinds(cache, make_encoder(encoder), TrainConfig(search=how, search_images=SEARCHED), CPU)
    rest = unsearched(40, SEARCHED)
    right = box_iou(kind.boxes[:, 0], truth) > 0.5
    assert float(right[rest].float().mean()) >= 0.85, float(right[~rest].float().mean())
    assert bool((kind.boxes[:, 0, 2:] - kind.boxes[:, 0, :2] > 0.1).all())
    assert float(kind.present.float().mean()) > 0.9


def test_dense_labels_come_about_as_those_of_the_sample(searched_discs: tuple[Kind, torch.Tensor]) -> None:
    """The sample's own images, labelled by the rules, get the sample's windows up to a last round."""
    assert float(searched_discs[1].mean()) > 0.9


def test_further_kinds_are_found_where_nobody_searched(tmp_path: Path) -> None:
    places = []
    for n in range(24):
        image, truth = photo(n, "rb")
        write_image(tmp_path / f"{n:03d}.png", image)
        places.append([truth["r"], truth["b"]])
    cache = build_cache(scan(tmp_path).images, 128)
    config = TrainConfig(kinds=2, search="deformable", search_images=12, steps=40)
    with torch.no_grad():
        kinds = find_kinds(cache, make_encoder("small"), config, CPU)
    rest = unsearched(24, 12)
    boxes = torch.cat([k.boxes for k in kinds], 1)[rest]
    wanted = torch.stack([f.boxes_to_letterbox(torch.tensor(b).float()) for f, b in zip(cache.frames, places, strict=True)])[
        rest
    ]
    assert boxes.shape[1] == 2
    assert bool((boxes[..., 2:] > boxes[..., :2]).all())
    assert float(box_iou(boxes[:, 0], boxes[:, 1]).mean()) < 0.3  # not the same one twice
    met = (box_iou(wanted[:, :, None], boxes[:, None]).amax(-1) > 0.5).float()
    assert float(met.mean()) > 0.6


@pytest.mark.parametrize("transform", ["fixed_attention", "euclidean"])
def test_a_thing_of_fixed_size_is_found_in_all_when_a_third_was_searched(
    discs: tuple[Path, Cache, torch.Tensor],
    searched_discs: tuple[Kind, torch.Tensor],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    transform: str,
) -> None:
    """Boxes of zeros for the rest made the one scale that all crops share a tenth of what it is, and the agreement not a number."""
    folder, _, truth = discs
    monkeypatch.setattr(start, "find_kinds", lambda *_: [replace(searched_discs[0])])
    config = TrainConfig(**{**QUICK, "imgsz": 128, "steps": 100}, transform=transform, search_images=SEARCHED)
    result = train(folder / "images", tmp_path / "run", config)
    assert math.isfinite(result.agreement)
    assert result.agreement > 0.3
    (options,) = [k["options"] for k in checkpoint.load_state(tmp_path / "run")["kinds"]]
    half = float((truth[:, 2:] - truth[:, :2]).mean()) / 2
    assert options["scale"] == pytest.approx(half, rel=0.3)
    for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines():
        assert "NaN" not in line
        assert json.loads(line).get("agreement", 0.0) is not None


def a_kind(present: list[bool]) -> Kind:
    """A kind whose absent objects have boxes of zeros, and lie at other angles."""
    here = torch.tensor(present)
    boxes = torch.tensor([[-0.5, -0.4, 0.3, 0.4]]).repeat(len(present), 1) * here[:, None]
    angles = torch.where(here, 0.0, torch.arange(len(present)) * 2.0)
    scorer = RigidScorer(GradientEncoder(), 4)
    return Kind("rigid", scorer, boxes[:, None], angles[:, None], here[:, None], [], None, None)


def test_sizes_and_angles_are_over_the_objects_that_are_there() -> None:
    kind = a_kind([True, False, False, True, False, False])
    assert options_for("euclidean", kind.placed())["scale"] == pytest.approx(0.4)
    assert kind.placed(0).shape == (2, 4)
    assert turning(kind) < 1  # upright
    kind.present[:] = False
    assert len(kind.placed()) == 6


def test_the_first_size_is_over_the_objects_that_are_there(
    rings: tuple[Path, Cache, torch.Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _, truth = rings
    starts = []
    real = ImageLocalisation.begin_at
    monkeypatch.setattr(ImageLocalisation, "begin_at", lambda self, sides: (starts.append(sides), real(self, sides))[1])
    there = torch.arange(40) % 4 == 0

    def partly(*_: object) -> list[Kind]:
        boxes = torch.where(there[:, None], truth, torch.zeros(4))
        scorer = RigidScorer(GradientEncoder(), 192)
        return [Kind("rigid", scorer, boxes[:, None], torch.zeros(40, 1), there[:, None], [], None, None)]

    monkeypatch.setattr(start, "find_kinds", partly)
    train(folder / "images", tmp_path / "run", TrainConfig(**{**QUICK, "steps": 2, "finetune": 1}))
    assert starts[0].tolist() == pytest.approx([float((truth[:, 2] - truth[:, 0]).mean()) / 2] * 2, rel=0.05)


def test_agreement_is_over_a_random_sample_and_always_a_number(
    rings: tuple[Path, Cache, torch.Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _, truth = rings
    looked: list[list[int]] = []
    for stage in (agreeing, tuning):
        monkeypatch.setattr(
            stage, "predict", lambda f, c, d, index, *rest: (looked.append(index.tolist()), predict(f, c, d, index, *rest))[1]
        )
    monkeypatch.setattr(agreeing, "REGRESSION", replace(REGRESSION, probed=8))
    there = torch.arange(40) >= 20
    nowhere = torch.zeros(40, dtype=torch.bool)
    for number, present in enumerate((there, nowhere)):
        scorer = RigidScorer(GradientEncoder(), 192)
        kind = Kind("rigid", scorer, truth[:, None], torch.zeros(40, 1), present[:, None], [], None, None)
        monkeypatch.setattr(start, "find_kinds", lambda *_, kind=kind: [kind])
        config = TrainConfig(**{**QUICK, "steps": 25, "finetune": 1}, search_images=10, search="rigid")
        result = train(folder / "images", tmp_path / str(number), config)
        assert math.isfinite(result.agreement)
        assert all(len(i) == 8 for i in looked)
    assert set(looked[0]) <= set(range(20, 40))  # only where there is an object
    assert looked[0] != list(range(20, 28))  # not the first of them
    assert len({tuple(i) for i in looked[:2]}) == 1  # the same ones every time


def test_a_sample_is_all_of_few_and_the_same_each_time() -> None:
    assert sample_indices(5, 8, 0).tolist() == [0, 1, 2, 3, 4]
    a, b = sample_indices(1000, 8, 3), sample_indices(1000, 8, 3)
    assert torch.equal(a, b)
    assert len(set(a.tolist())) == 8
    assert torch.equal(a, a.sort().values)


@pytest.mark.parametrize("transform", ["box", "affine"])
def test_a_jitter_of_exactly_a_half_leaves_a_picture(
    rings: tuple[Path, Cache, torch.Tensor], monkeypatch: pytest.MonkeyPatch, transform: str
) -> None:
    """The sign of nought is nought: pictures were drawn from a line, and poses were divided by it."""
    _, cache, truth = rings
    kind = Kind(
        "words", RigidScorer(GradientEncoder(), 4), truth[:, None], torch.zeros(40, 1), torch.ones(40, 1) > 0, [], None, None
    )
    monkeypatch.setattr(torch, "rand", lambda shape, generator=None: torch.full(shape, 0.5))
    sample = Augmenter(cache, kind, by_name(transform), 1, False, 8).augment(draw_generator(0, 0))
    assert bool(sample.scene.images.flatten(1).std(1).gt(0.01).all())
    assert bool(sample.half_sides.gt(0.05).all() and sample.half_sides.lt(2).all())
    assert bool(sample.centre.isfinite().all())


def test_paths_of_a_large_folder_are_let_go(tmp_path: Path) -> None:
    make_folder(tmp_path / "set")
    found = scan(tmp_path / "set" / "images")
    count = len(found.images)
    cache, large = decode_images(found, found.images, TrainConfig(imgsz=32), True, tmp_path, Silent(), StopRequest())
    assert found.images == []
    assert isinstance(cache.names, ManyNames)
    assert large.names is cache.names
    assert len(cache.names) == count == len(read_images(tmp_path))
    assert list(cache.names) == [file.name for file in read_images(tmp_path)]
