"""The triplet objective of the transformer's own crops: where its gradients lead, and on which images it is measured."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from stn_cli.coloc.crops import Crops
from stn_cli.coloc.scene import Scene
from stn_cli.coloc.score.dense import DenseScorer
from stn_cli.coloc.score.scorers import Scorer
from stn_cli.coloc.score.words import WordsScorer
from stn_cli.coloc.train.finetune import finetune_loss, hold_out, triplets
from stn_cli.coloc.train.run import train
from stn_cli.coloc.train.settings import FINETUNING
from stn_cli.encoders import make_encoder
from stn_cli.runs import checkpoint
from stn_cli.runs.config import TrainConfig
from stn_cli.runs.metrics import read_metrics
from stn_cli.stn import by_name
from tests.conftest import QUICK, Trained, make_folder

WHOLE = torch.tensor([[-1.0, -1.0, 1.0, 1.0]])


def crosses(count: int) -> tuple[Scene, torch.Tensor]:
    """Grey noise with one bright cross each, and the boxes (count, 4) of the crosses."""
    g = torch.Generator().manual_seed(0)
    images = 0.4 + 0.1 * torch.rand((count, 3, 96, 96), generator=g)
    corner = torch.randint(16, 48, (count, 2), generator=g)
    boxes = []
    for image, (x, y) in zip(images, corner.tolist(), strict=True):
        image[0, y + 12 : y + 20, x : x + 32] = 1
        image[0, y : y + 32, x + 12 : x + 20] = 1
        boxes.append([x, y, x + 32, y + 32])
    return Scene(images, WHOLE.repeat(count, 1)), torch.tensor(boxes) / 48 - 1


def scorer_of(name: str) -> Scorer:
    encoder = make_encoder(name)
    return DenseScorer(encoder, 256, True) if name == "small" else WordsScorer(encoder, 2, 14)


@pytest.mark.parametrize("name", ["small", "gradient"])
def test_the_objective_is_lower_on_the_objects_than_beside_them(name: str) -> None:
    scene, boxes = crosses(6)
    off = boxes + torch.tensor([0.3, 0.0, 0.3, 0.0])

    def at(where: torch.Tensor) -> float:
        g = torch.Generator().manual_seed(1)
        return float(triplets(scorer_of(name), scene, Crops.of_boxes(where[:, None]), g, 1.0))

    assert at(boxes) < at(off) - 0.01


@pytest.mark.parametrize("name", ["small", "gradient"])
def test_gradients_through_the_sampler_move_a_crop_towards_its_object(name: str) -> None:
    scene, boxes = crosses(6)
    shift = torch.zeros((6, 1, 2))
    shift[0, 0, 0] = 0.08  # the others lie right
    shift.requires_grad_(True)
    crops = Crops.of_boxes(boxes[:, None] + torch.cat([shift, shift], -1))
    triplets(scorer_of(name), scene, crops, torch.Generator().manual_seed(1), 1.0).backward()
    assert shift.grad is not None
    assert float(shift.grad[0, 0, 0]) > 0  # downhill is back to the left


def test_sides_get_no_gradient_of_the_triplets(monkeypatch: pytest.MonkeyPatch) -> None:
    """A crop's size is the anchor's alone: the margin would shrink it."""
    scene, boxes = crosses(4)
    transform = by_name("box")
    centre = ((boxes[:, :2] + boxes[:, 2:]) / 2).requires_grad_(True)
    shape = transform.shape_of_box((boxes[:, 2:] - boxes[:, :2]) / 2).requires_grad_(True)
    body = SimpleNamespace(transform=transform, read=lambda _seen, _where: (centre, shape, None))
    f_loc: Any = SimpleNamespace(body=body, look=lambda _scene, _shown: None)
    sample: Any = SimpleNamespace(scene=scene, shown=None, centre=centre[:, None])
    monkeypatch.setattr("stn_cli.coloc.train.finetune.regression_loss", lambda *_: torch.zeros(()))
    finetune_loss(f_loc, scorer_of("small"), sample, torch.Generator().manual_seed(1), 1.0).backward()
    assert centre.grad is not None
    assert bool((centre.grad != 0).any())
    assert shape.grad is None or not bool(shape.grad[:, : transform.log_sides].any())


def test_images_that_are_held_out_are_not_learnt_from() -> None:
    context: Any = SimpleNamespace(cache=range(100), config=SimpleNamespace(search_images=160, seed=0))
    held_out, learnt = hold_out(context, None)  # type: ignore[arg-type]
    assert len(held_out) == 100 // FINETUNING.one_of
    assert sorted([*held_out.tolist(), *learnt.tolist()]) == list(range(100))


def test_a_small_set_is_measured_on_all_of_its_images() -> None:
    context: Any = SimpleNamespace(cache=range(20), config=SimpleNamespace(search_images=160, seed=0))
    held_out, learnt = hold_out(context, None)  # type: ignore[arg-type]
    assert held_out.tolist() == learnt.tolist() == list(range(20))


def test_the_log_says_what_became_of_it(trained: Trained) -> None:
    row = next(row for row in read_metrics(trained.run / "metrics.jsonl") if "objective_after" in row)
    assert row["kept"] is (row["objective_after"] < row["objective_before"])


def test_steps_that_gain_nothing_are_not_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An objective of 0 cannot fall: a few steps at a fresh optimiser's rate would still have changed the sides."""
    make_folder(tmp_path, 8)
    monkeypatch.setattr("stn_cli.coloc.train.finetune.objective", lambda *_: 0.0)
    ends = []
    for finetune in (1, 3):
        run = tmp_path / str(finetune)
        train(tmp_path / "images", run, TrainConfig(**{**QUICK, "steps": 4, "finetune": finetune, "imgsz": 32}, search="rigid"))
        assert not next(row for row in read_metrics(run / "metrics.jsonl") if "kept" in row)["kept"]
        ends.append(checkpoint.load_model(run)[0])
    moved = [name for name in ends[0] if "levels" in name and not torch.equal(ends[0][name], ends[1][name])]
    assert not moved
    assert any("levels" in name for name in ends[0])
