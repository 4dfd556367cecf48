"""Objects among proposals: what is evidence for them, what the instance network learns of a folder, and what a model keeps of it."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from stn_cli.coloc.scene import Scene
from stn_cli.coloc.score.changes import Changes
from stn_cli.coloc.score.dense import DenseScorer
from stn_cli.coloc.score.object_search import label, outside
from stn_cli.coloc.score.objects import object_odds, separate, with_windows
from stn_cli.coloc.score.settings import TAUGHT, UNTAUGHT, Evidence
from stn_cli.instances.folder import folder_loss, learn_folder
from stn_cli.instances.labels import CellTargets, Labels
from stn_cli.instances.proposer import Proposed, Proposer

CPU = torch.device("cpu")
WHOLE = torch.ones(1, 3, 8, 8)
RECTANGLE = torch.tensor([[-1.0, -1.0, 1.0, 1.0]])


def boxes(*rows: tuple[float, float, float, float]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float32)


def scorer_of(score_map: Tensor, alike: float = 0.6) -> DenseScorer:
    """A scorer with a map of its own, to which everything is equally alike."""
    seen = SimpleNamespace(
        seen=lambda scene: (None, score_map), alike=lambda scene, crops: torch.full(crops.matrix.shape[:2], alike)
    )
    return cast(DenseScorer, seen)


def two_things() -> Tensor:
    """A map (1, 24, 24) that is 2 on two squares side by side, -1 around them and in the gap between."""
    out = torch.full((1, 24, 24), -1.0)
    out[:, 8:16, 3:11] = 2.0
    out[:, 8:16, 13:21] = 2.0
    return out


def at(x1: int, y1: int, x2: int, y2: int) -> tuple[float, float, float, float]:
    """Cells of a map of 24 as a normalised box."""
    return x1 / 12 - 1, y1 / 12 - 1, x2 / 12 - 1, y2 / 12 - 1


def test_a_whole_object_beats_its_parts_and_a_group_where_the_network_cannot_tell() -> None:
    whole, part, group = at(3, 8, 11, 16), at(3, 8, 7, 12), at(3, 8, 21, 16)
    proposed = Proposed(boxes(whole, part, group)[None], torch.zeros(1, 3))
    nowhere = boxes((0.9, 0.9, 1.0, 1.0))
    odds = object_odds(proposed, scorer_of(two_things()), Scene(WHOLE, RECTANGLE), nowhere, None, UNTAUGHT)[0]
    assert float(odds[0]) > float(odds[1]) + 1
    assert float(odds[0]) > float(odds[2])


def test_the_window_and_likeness_are_evidence_but_not_of_what_stands_before_a_background() -> None:
    whole = boxes(at(3, 8, 11, 16))
    proposed, scene, flat = Proposed(whole[None], torch.zeros(1, 1)), Scene(WHOLE, RECTANGLE), torch.zeros(1, 24, 24)
    off = boxes((0.9, 0.9, 1.0, 1.0))

    def odds(window: Tensor, alike: float = 0.6, changes: Changes | None = None, evidence: Evidence = UNTAUGHT) -> float:
        return float(object_odds(proposed, scorer_of(flat, alike), scene, window, changes, evidence))

    plain = odds(off)
    assert odds(whole) == pytest.approx(plain + UNTAUGHT.agreement)
    assert odds(off, 0.3) == pytest.approx(plain - UNTAUGHT.likeness * math.log(2))
    changes = Changes(two_things(), torch.tensor([True]), boxes(at(3, 8, 11, 16))[None], torch.tensor([[True]]))
    for evidence in (UNTAUGHT, TAUGHT):
        assert odds(off, 0.6, changes, evidence) == odds(whole, 0.3, changes, evidence) > plain + 2
    elsewhere = Changes(two_things(), torch.tensor([False]), changes.boxes, torch.tensor([[False]]))
    assert odds(off, 0.6, elsewhere) == pytest.approx(plain)


def test_of_a_proposer_that_has_learnt_the_map_is_asked_less_and_the_window_not() -> None:
    """They are in what it learnt; the likeness still tells the object from other whole ones."""
    whole, gap = boxes(at(3, 8, 11, 16)), boxes(at(11, 8, 13, 16))
    scene = Scene(WHOLE, RECTANGLE)
    off = boxes((0.9, 0.9, 1.0, 1.0))

    def odds(evidence: Evidence, box: Tensor, alike: float = 0.6, window: Tensor = off) -> float:
        proposed = Proposed(box[None], torch.zeros(1, 1))
        return float(object_odds(proposed, scorer_of(two_things(), alike), scene, window, None, evidence))

    assert odds(TAUGHT, whole, window=whole) == odds(TAUGHT, whole)
    by_map = [odds(evidence, whole) - odds(evidence, gap) for evidence in (TAUGHT, UNTAUGHT)]
    assert 0 < by_map[0] < by_map[1] / 2
    assert odds(TAUGHT, whole) - odds(TAUGHT, whole, 0.3) >= TAUGHT.likeness * math.log(2) - 1e-4


def test_the_window_and_what_changed_are_proposals_too() -> None:
    one, other = at(3, 8, 11, 16), at(13, 8, 21, 16)
    proposed = Proposed(boxes(one)[None], torch.tensor([[2.0]]))
    changes = Changes(two_things(), torch.tensor([True]), boxes(other, one)[None], torch.tensor([[True, False]]))
    out = with_windows(proposed, boxes(one), changes)
    assert out.boxes[0].tolist() == [list(map(pytest.approx, b)) for b in (one, other, one, one)]
    assert float(out.odds[0, 0]) == pytest.approx(2.0, abs=1e-3)  # as likely as the proposal that it is
    assert float(out.odds[0, 1]) < -5  # unlike every proposal
    assert float(out.odds[0, 2]) == -torch.inf  # no such region
    assert with_windows(Proposed(torch.zeros(1, 0, 4), torch.zeros(1, 0)), boxes(one), None).boxes.shape == (1, 1, 4)


def test_objects_are_apart_at_most_so_many_and_the_best_one_is_always_there() -> None:
    some = boxes((0, 0, 4, 4), (0, 0, 4, 5), (6, 0, 9, 4), (20, 0, 24, 4)).repeat(2, 1, 1)
    odds = torch.tensor([[2.0, 1.0, 0.0, -5.0], [-6.0, -7.0, -8.0, -torch.inf]])
    index, there = separate(some, odds, 9, 0.05)
    assert index[0][there[0]].tolist() == [0, 2]
    assert index[1][there[1]].tolist() == [0]
    index, there = separate(some, odds, 1, 0.0)
    assert index.shape == (2, 1)
    assert index[:, 0].tolist() == [0, 0]


def test_boxes_that_are_taken_are_no_objects_but_the_window_stays() -> None:
    one, other = at(3, 8, 11, 16), at(13, 8, 21, 16)
    proposed = Proposed(boxes(one, one, other)[None], torch.zeros(1, 3))
    out = outside(proposed, boxes(one)[None])
    assert out.odds.tolist() == [[0.0, -torch.inf, 0.0]]
    assert outside(proposed, None) is proposed


def test_parts_and_groups_of_what_is_believed_are_labelled_as_nothing() -> None:
    given = boxes(
        (0, 0, 0.4, 0.4), (0.5, 0, 0.9, 0.4), (0, 0, 0.2, 0.15), (0, 0, 0.9, 0.4), (0, 0.6, 0.3, 0.9), (0.6, 0.6, 0.9, 0.9)
    )
    scores = torch.tensor([0.8, 0.7, 0.5, 0.6, 0.3, 0.1])
    labels = label(given, scores)
    assert labels.boxes[labels.known].tolist() == pytest.approx(given[:2])
    assert labels.boxes[~labels.known].tolist() == pytest.approx(given[4:5])  # unsure: neither an object nor none
    assert labels.weights[0] == 1


def test_cells_speak_for_the_object_in_front_and_nothing_is_asked_where_it_is_unsure() -> None:
    labels = Labels(
        boxes((0, 0, 32, 32), (8, 8, 24, 24), (40, 40, 56, 56), (60, 0, 63, 3)), torch.ones(4), torch.tensor([1, 1, 0, 1]) > 0
    )
    cells = CellTargets.of([labels], 64)
    assert cells.owned.shape == (1, 16, 16)
    assert cells.boxes[0, 4, 4].tolist() == [8, 8, 24, 24]
    assert cells.boxes[0, 4, 2].tolist() == [0, 0, 32, 32]
    assert float(cells.asked[0, 12, 12]) == 0
    assert float(cells.asked[0, 15, 0]) == 1
    assert not bool(cells.owned[0, 0, 15])  # too small to be seen at this size
    assert cells.objects == 2
    assert float((cells.box_weight * cells.owned).sum()) == pytest.approx(2)


def discs(count: int) -> tuple[list[Tensor], list[Labels]]:
    rng = np.random.default_rng(3)
    images, labels = [], []
    for _ in range(count):
        image = cv2.GaussianBlur(rng.integers(70, 150, (72, 96, 3), np.uint8), (0, 0), 2)
        x, y = int(rng.integers(20, 76)), int(rng.integers(20, 52))
        cv2.circle(image, (x, y), 16, (210, 40, 30), -1)
        images.append(torch.from_numpy(image).permute(2, 0, 1).float() / 255)
        box = boxes(((x - 16) / 96, (y - 16) / 72, (x + 16) / 96, (y + 16) / 72))
        labels.append(Labels(box, torch.ones(1), torch.ones(1) > 0))
    return images, labels


def test_a_folder_is_learnt_the_same_way_each_time_and_what_is_given_stays_as_it_was() -> None:
    images, labels = discs(6)
    proposer = Proposer()
    before = {name: value.clone() for name, value in proposer.weights().items()}
    heard: list[str] = []
    first, again = (learn_folder(proposer.network, images, labels, 12, 0, CPU, heard.append) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert all(torch.equal(before[name], value) for name, value in proposer.weights().items())
    assert heard[:2] == ["objects learnt, step 0 of 12", "objects learnt, step 10 of 12"]
    side = 96
    canvases = torch.nn.functional.pad(torch.stack(images), (0, 0, 0, side - 72), mode="replicate")
    truth = [Labels(own.boxes * torch.tensor([96.0, 72, 96, 72]), own.weights, own.known) for own in labels]
    targets = CellTargets.of(truth, side)
    from stn_cli.encoders.pretrained import standardise

    with torch.no_grad():
        losses = [float(folder_loss(n.float()(standardise(canvases)), targets)) for n in (proposer.network, first)]
    assert losses[1] < losses[0]


def test_a_proposer_survives_being_stored_and_looks_at_images_of_any_shape() -> None:
    proposer = Proposer()
    stored = Proposer(loaded=False)
    stored.load_weights(proposer.weights())
    images = torch.rand((3, 3, 64, 64), generator=torch.Generator().manual_seed(0))
    rectangles = torch.tensor([[-1.0, -1, 1, 1], [-1, -0.5, 1, 0.5], [-1, -0.001, 1, 0.001]])
    a, b = (p(images, rectangles, 20) for p in (proposer, stored))
    assert torch.equal(a.boxes, b.boxes)
    assert torch.equal(a.odds, b.odds)
    assert a.boxes.shape[:2] == a.odds.shape
    assert a.boxes.shape[1] <= 20
    inner = a.boxes[1][a.odds[1] > -torch.inf]
    assert float(inner[:, 1].min()) >= -0.5 - 1e-5
    assert float(inner[:, 3].max()) <= 0.5 + 1e-5
    with pytest.raises(RuntimeError):
        stored.load_weights({"network.read.weight": torch.zeros(1)})


def test_frames_of_a_fixed_camera_keep_their_background(tmp_path: Path, cli) -> None:  # type: ignore[no-untyped-def]
    """A disc moves before a still, textured place: the disc is found, and the model knows the place when it looks at a new frame."""
    rng = np.random.default_rng(5)
    place = cv2.GaussianBlur(rng.integers(0, 256, (96, 128, 3), np.uint8), (0, 0), 2)
    place = cv2.normalize(place, None, 30, 220, cv2.NORM_MINMAX)
    truth = {}
    (tmp_path / "images").mkdir()
    for n in range(14):
        frame = np.clip(place + rng.normal(0, 3, place.shape), 0, 255).astype(np.uint8)
        x, y = int(rng.integers(20, 108)), int(rng.integers(20, 76))
        cv2.circle(frame, (x, y), 14, (30, 60, 200), -1)
        cv2.imwrite(str(tmp_path / f"images/{n:02d}.png"), frame)
        truth[f"{n:02d}.png"] = [x - 14, y - 14, x + 14, y + 14]
    flags = ("--search", "deformable", "--steps", 8, "--finetune", 1, "--batch", 4, "--no-report", "--quiet")
    assert cli("train", tmp_path / "images", "-o", tmp_path / "run", *flags)[0] == 0
    assert cli("localise", "-m", tmp_path / "run", "-o", tmp_path / "out", "--quiet")[0] == 0
    from stn_cli.formats.coco import read_coco
    from stn_cli.records import overlap
    from stn_cli.runs.checkpoint import load_model

    facts = load_model(tmp_path / "run")[1]
    assert facts["kinds"][0]["cameras"] >= 1
    assert not any("little in common" in warning for warning in facts["warnings"])  # that is said of the place
    found = {r.file: r.objects for r in read_coco(tmp_path / "out/boxes.json")}
    right = sum(bool(found[name]) and overlap(found[name][0].box, tuple(box)) > 0.5 for name, box in truth.items())
    assert right >= 10
