"""The fast way: what a student learns, how it looks, what is kept of it, and when a run's own path is kept."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from stn_cli.coloc.model import fast, fast_file, fast_learning
from stn_cli.coloc.model.accord import Accord, calibrate_student
from stn_cli.coloc.model.fast import FastLook, best_of
from stn_cli.coloc.model.fast_file import FAST_FILE, Fast, load_fast, save_fast
from stn_cli.coloc.model.localiser import Localiser
from stn_cli.coloc.model.settings import FAST
from stn_cli.errors import CheckpointError, Interrupted
from stn_cli.formats.coco import read_coco
from stn_cli.instances import distil
from stn_cli.instances.distil import Lesson, closer, learn_lessons, lesson_loss
from stn_cli.instances.network import InstanceNetwork
from stn_cli.instances.student import Glance, StudentNetwork
from stn_cli.records import ImageRecord, Localisation, corners, overlap

Cli = Callable[..., tuple[int, str, str]]
DISC, WIDE, HIGH = 14, 128, 96


def boxes(*rows: tuple[float, ...]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float32)


def lesson(seed: int) -> Lesson:
    """A red disc on grey, its score 0.9, and a blue one of another kind, its score 0.3."""
    rng = np.random.default_rng(seed)
    image = cv2.GaussianBlur(rng.integers(70, 150, (HIGH, WIDE, 3), np.uint8), (0, 0), 2)
    places = [(int(rng.integers(20, 44)), int(rng.integers(20, 76))), (int(rng.integers(80, 108)), int(rng.integers(20, 76)))]
    for (x, y), colour in zip(places, ((210, 40, 30), (30, 60, 210)), strict=True):
        cv2.circle(image, (x, y), DISC, colour, -1)
    own = boxes(*((x - DISC, y - DISC, x + DISC, y + DISC) for x, y in places)) / torch.tensor([WIDE, HIGH, WIDE, HIGH])
    return Lesson(torch.from_numpy(image).permute(2, 0, 1), own, torch.tensor([0.9, 0.3]), torch.tensor([0, 1]))


def glance_of(box: tuple[float, ...], fit: float, h: int = 8, w: int = 8) -> Glance:
    """Every cell says the same box; those in the middle with these log odds, the others with hardly any."""
    fits = torch.full((1, 1, h, w), -9.0)
    fits[..., 3 : h - 3, 3 : w - 3] = fit
    empty = Glance(fits, torch.zeros(1, 1, 4, h, w)).boxes()
    x, y = empty[..., 0], empty[..., 1]
    return Glance(fits, torch.stack([x - box[0], y - box[1], box[2] - x, box[3] - y], 2))


def test_a_student_begins_with_what_weighs_most_in_the_network() -> None:
    network = InstanceNetwork().eval()
    block = network.stages[2][0]  # type: ignore[index]
    with torch.no_grad():
        block.first[1].weight[64:] = 0.0  # half of what is between the convolutions comes to nothing
    student = StudentNetwork(2).begin_with(network).eval()
    x = torch.rand((1, 64, 8, 8), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        block.first[1].bias[64:] = 0.0
        assert torch.allclose(student.stages[1](x), block(x), atol=1e-5)  # so nothing is lost
        glance = student(torch.zeros(3, 3, 48, 80))
    assert (glance.fit.shape, glance.sides.shape) == ((3, 2, 12, 20), (3, 2, 4, 12, 20))


def test_the_cell_that_fits_best_is_to_have_the_objects_score_and_the_smaller_box_goes_first() -> None:
    one, score = boxes((0, 0, 32, 32))[None, None], torch.tensor([[[0.7]]])
    said = float(torch.tensor(0.7).logit())
    right, high, low = (float(lesson_loss(glance_of((0, 0, 32, 32), fit), one, score)) for fit in (said, said + 2, said - 2))
    assert right < min(high, low)
    assert float(lesson_loss(glance_of((0, 0, 20, 20), said), one, score)) > right
    both = boxes((0, 0, 32, 32), (4, 4, 20, 20))[None, None]
    for scores, first in (((0.9, 0.8), 1), ((0.9, 0.1), 0)):  # a part that is unlikely does not hide the whole
        owned, owner = distil._owners(both[0], torch.tensor([scores]), 8, 8)
        assert bool(owned[0, 3, 3])
        assert int(owner[0, 3, 3]) == first
    assert float(lesson_loss(glance_of((0, 0, 9, 9), -9.0), torch.zeros(1, 1, 1, 4), torch.zeros(1, 1, 1))) < 1e-3


def test_a_part_of_an_image_has_the_boxes_that_it_shows() -> None:
    whole, draw = lesson(0), random.Random(0)
    parts = [part for part in (closer(whole, draw) for _ in range(40)) if part is not whole]
    assert len(parts) > 5
    for part in parts:
        h, w = part.image.shape[1:]
        x1, y1, x2, y2 = (part.boxes[0] * torch.tensor([w, h, w, h])).round().int().tolist()
        inner = part.image[:, (y1 + y2) // 2, (x1 + x2) // 2]
        assert inner[0] > inner[2]  # the red disc is where its box is
        assert part.kinds[0] == 0


def test_lessons_are_learnt_the_same_way_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distil, "DISTILLING", replace(distil.DISTILLING, canvases=4))
    torch.manual_seed(0)
    network, lessons, heard = StudentNetwork(2), [lesson(n) for n in range(6)], list[str]()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    first, again = (learn_lessons(network, lessons, 64, 12, 0, check=heard.append) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert heard[:2] == ["step 0 of 12", "step 10 of 12"]


def test_the_best_boxes_of_each_image_are_apart_and_the_mean_of_their_likes() -> None:
    own = boxes((-0.5, -0.5, 0.5, 0.5), (-0.5, -0.5, 0.5, 0.7), (0.6, 0.6, 0.9, 0.9), (0, 0, 0, 0)).repeat(3, 1, 1)
    scores = torch.tensor([[0.8, 0.4, 0.6, -1], [0.02, 0.01, 0.03, -1], [-1, -1, -1, -1]])
    found, of = best_of(own, scores, 9)
    assert of.tolist() == [list(map(pytest.approx, row)) for row in ([0.8, 0.6], [0.03, -1], [-1, -1])]
    assert found[0, 0].tolist() == pytest.approx([-0.5, -0.5, 0.5, 0.5 + 0.2 / 3])
    assert found[0, 1].tolist() == found[1, 0].tolist() == pytest.approx([0.6, 0.6, 0.9, 0.9])
    assert best_of(own, scores, 1)[1].shape == (3, 1)


class Heard:
    """A reporter that keeps what it is told."""

    def __init__(self) -> None:
        self.stages, self.warnings = list[str](), list[str]()

    def stage(self, name: str, total: int | None) -> None:
        self.stages.append(name)

    def advance(self, count: int = 1, note: str = "") -> None: ...

    def warn(self, text: str) -> None:
        self.warnings.append(text)


def record(*scored: tuple[tuple[float, float, float, float], float]) -> ImageRecord:
    found = tuple(Localisation("a", 100, 100, box, corners(box), (), score) for box, score in scored)
    return ImageRecord("a", 100, 100, found).doubted()


def test_agreement_is_with_any_box_that_the_run_believes() -> None:
    one, other = (0.0, 0.0, 40.0, 40.0), (50.0, 50.0, 90.0, 90.0)
    theirs = [record((one, 0.9), (other, 0.8)), record((one, 0.9), (other, 0.2))]
    mine = [record((other, 0.7)), record((other, 0.6))]
    accord = Accord.of(mine, theirs)
    assert (accord.images, accord.same, accord.iou, accord.believed, accord.wanted) == (2, 0.5, 0.5, 2, 3)
    assert "50% of 2 images" in accord.words()
    assert Accord.of([], []).same == 0


def test_careful_scores_are_stretched_until_they_are_the_runs() -> None:
    network, box = StudentNetwork(1).requires_grad_(False), (0.0, 0.0, 40.0, 40.0)
    weight, bias = network.read.weight[0].clone(), float(network.read.bias[0])  # type: ignore[index]
    mine = [record((box, score)) for score in (0.6, 0.55, 0.4) * 20]
    theirs = [record((box, score)) for score in (0.95, 0.9, 0.1) * 20]
    calibrate_student(network, mine, theirs)
    slope = float((network.read.weight[0] / weight).mean())
    assert slope > 2
    said, wanted = torch.tensor([0.6, 0.55, 0.4]), torch.tensor([0.95, 0.9, 0.1])
    after = (slope * said.logit() + network.read.bias[0] - slope * bias).sigmoid()  # type: ignore[index]
    assert float((after - wanted).abs().sum()) < 0.5 * float((said - wanted).abs().sum())


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with proposals, trained for a moment on discs; its images lie beside it."""
    from stn_cli.coloc.train.run import train
    from stn_cli.runs.config import TrainConfig

    folder = tmp_path_factory.mktemp("discs")
    rng = np.random.default_rng(5)
    (folder / "images").mkdir()
    for n in range(16):
        image = cv2.GaussianBlur(rng.integers(40, 200, (HIGH, WIDE - 32 * (n % 2), 3), np.uint8), (0, 0), 2)
        cv2.circle(image, (int(rng.integers(20, 76)), int(rng.integers(20, 76))), DISC, (30, 60, 220), -1)
        cv2.imwrite(str(folder / f"images/{n:02d}.png"), image)
    train(folder / "images", folder / "run", TrainConfig(search="deformable", steps=8, finetune=1, batch=4))
    return folder / "run"


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Learn from few images in few steps."""

    def change(**settings: object) -> None:
        few = {"sides": (64,), "object_pixels": 8, "least_images": 8, "steps_first": 24, "steps_last": 6, "least_same": 0.5}
        for module in (fast, fast_file, fast_learning):
            monkeypatch.setattr(module, "FAST", replace(FAST, **{**few, **settings}))  # type: ignore[arg-type]
        monkeypatch.setattr(distil, "DISTILLING", replace(distil.DISTILLING, canvases=4))

    change()
    return change


def test_the_first_call_learns_and_the_second_finds_the_same(
    run: Path, tmp_path: Path, cli: Cli, soon: Callable[..., None]
) -> None:
    (run / FAST_FILE).unlink(missing_ok=True)
    for out, learns in (("first", True), ("second", False)):
        code, _, err = cli("localise", "-m", run, "-o", tmp_path / out, "--fast")
        assert code == 0, err
        assert ("learn fast" in err) == learns
        assert "fast: 64 pixels, the same box in" in err
    first, second = (json.loads((tmp_path / out / "boxes.json").read_text()) for out in ("first", "second"))
    assert first == second
    assert (first["info"]["way"], first["info"]["fast"]["side"]) == ("fast", 64)
    assert cli("localise", "-m", run, "-o", tmp_path / "own", "-q")[0] == 0
    assert json.loads((tmp_path / "own/boxes.json").read_text())["info"]["way"] == "exact"
    pairs = zip(read_coco(tmp_path / "first/boxes.json"), read_coco(tmp_path / "own/boxes.json"), strict=True)
    assert sum(overlap(a.objects[0].box, b.objects[0].box) > 0.5 for a, b in pairs) >= 12
    from stn_cli.outputs.manifest import read_manifest

    assert FAST_FILE in read_manifest(run).files  # so that --overwrite takes it away


def test_a_fast_look_is_the_same_alone_and_among_others(run: Path, soon: Callable[..., None]) -> None:
    localiser = Localiser.load(run, "cpu").fast()
    assert localiser.letterbox == 64
    pictures = [np.zeros(shape, np.uint8) + 90 for shape in ((40, 300, 3), (300, 5, 3), (64, 64, 3))]
    together, alone = localiser.localise_batch(pictures), [localiser.localise_all(picture) for picture in pictures]
    for a, b in zip(together, alone, strict=True):
        assert len(a.objects) == len(b.objects)
        for one, other in zip(a.objects, b.objects, strict=True):
            assert one.box == pytest.approx(other.box, abs=1.0)


def test_a_students_model_is_its_own_and_damage_is_told(run: Path, tmp_path: Path) -> None:
    own = tmp_path / "run"
    own.mkdir()
    (own / "model.safetensors").write_bytes(b"one model")
    network = StudentNetwork(1).eval()
    save_fast(own, Fast(FastLook(network, FAST.sides[0], "said"), "said"))
    kept = load_fast(own, 1)
    assert kept is not None
    assert kept.look is not None
    assert (kept.look.side, kept.said) == (FAST.sides[0], "said")
    with pytest.raises(CheckpointError, match="damaged fast network"):
        load_fast(own, 2)
    whole = (own / FAST_FILE).read_bytes()
    (own / FAST_FILE).write_bytes(whole[:-9] + bytes(9))
    with pytest.raises(CheckpointError, match=r"damaged fast network.*Remove the file"):
        load_fast(own, 1)
    (own / FAST_FILE).write_bytes(whole)
    (own / "model.safetensors").write_bytes(b"another model")
    assert load_fast(own, 1) is None
    save_fast(own, Fast(None, "of no use"))
    assert load_fast(own, 1) == Fast(None, "of no use")


def test_where_the_student_is_not_believed_the_own_path_is_taken(
    run: Path, tmp_path: Path, cli: Cli, soon: Callable[..., None]
) -> None:
    (run / FAST_FILE).unlink(missing_ok=True)
    soon(least_same=1.1, steps_first=1)
    for _ in range(2):  # what was found out is kept, too
        code, _, err = cli("localise", "-m", run, "-o", tmp_path / "out", "--fast", "--overwrite")
        assert code == 0
        assert "the run's own path is taken (the same box in" in err
        assert "are asked; more images may bring that" in err
    assert json.loads((tmp_path / "out/boxes.json").read_text())["info"]["way"] == "exact"
    (run / FAST_FILE).unlink()
    soon(least_images=17)
    assert (
        "only 16 images of those that the run was trained on" in cli("localise", "-m", run, "-o", tmp_path / "o", "--fast")[2]
    )
    (run / FAST_FILE).unlink()


def test_a_run_without_proposals_says_that_it_has_nothing_to_save(trained, tmp_path: Path, cli: Cli) -> None:  # type: ignore[no-untyped-def]
    code, _, err = cli("localise", "-m", trained.run, "-o", tmp_path / "out", "--fast")
    assert code == 0
    assert "--fast has nothing to save here" in err
    assert not (trained.run / FAST_FILE).exists()


def test_a_call_that_was_stopped_goes_on_in_its_own_way_only(
    run: Path, tmp_path: Path, cli: Cli, soon: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    from stn_cli.formats.journal import Journal

    add, out = Journal.add, tmp_path / "out"

    def stopping(journal: Journal, item: ImageRecord) -> None:
        add(journal, item)
        if len(journal.names) == 9:
            raise Interrupted(2)

    with monkeypatch.context() as once:
        once.setattr(Journal, "add", stopping)
        assert cli("localise", "-m", run, "-o", out, "--fast", "--batch", 4)[0] == 130
    code, _, err = cli("localise", "-m", run, "-o", out, "--batch", 4, "--resume")
    assert code == 5
    assert "way: 'fast', now 'exact'" in err
    assert cli("localise", "-m", run, "-o", out, "--fast", "--batch", 4, "--resume")[0] == 0
    assert len(read_coco(out / "boxes.json")) == 16


def test_an_actor_of_a_cluster_looks_fast_with_the_student_that_it_is_sent(run: Path, soon: Callable[..., None]) -> None:
    ray = pytest.importorskip("ray")
    from stn_cli.jobs.cluster.finding import Finding, FindingActor

    localiser = Localiser.load(run, "cpu").fast()
    assert localiser.fast_look is not None
    with pytest.MonkeyPatch.context() as here:
        here.setattr(ray, "get", lambda content: content)
        here.setattr(torch, "set_num_threads", lambda _: None)
        files = [(run / name).read_bytes() for name in ("model.safetensors", FAST_FILE)]
        actor = FindingActor(files, ("model.safetensors", FAST_FILE), Finding(None, 4, "cpu", ("object",)))
        alone = FindingActor(files[:1], ("model.safetensors",), Finding(None, 4, "cpu", ("object",)))
    assert actor._localiser.way() == localiser.way()
    assert alone._localiser.way() == {"way": "exact"}


def test_new_images_are_learnt_from_and_held_out_first(tmp_path: Path) -> None:
    from stn_cli.media.scan import ImageFile

    own, new = ([ImageFile(f"/{which}/{n}", f"{n}") for n in range(60)] for which in ("own", "new"))
    drawn = fast_learning._drawn(own, new)
    assert sorted(file.path for file in drawn) == sorted(file.path for file in (*own, *new))
    assert all(file.path.startswith("/new") for file in drawn[: round(FAST.held * len(drawn))])
    assert len(fast_learning._drawn(own * 20, new * 20)) == FAST.images
    assert fast_learning._drawn(own, []) != own  # what is held out of them is drawn by lot
    assert fast_learning._others(own, [*new, *own[:5]]) == new
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert fast_learning._others([ImageFile(f"{tmp_path}/real/a", "a")], [ImageFile(f"{tmp_path}/link/a", "a")]) == []
