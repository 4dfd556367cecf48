from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from stn_cli.coloc.model.localiser import Localiser
from stn_cli.coloc.train.augment import Augmenter, draw_generator
from stn_cli.coloc.train.regress import read_bilinear
from stn_cli.coloc.train.run import train
from stn_cli.errors import CheckpointError, DivergedError, Interrupted, OutputError, UsageError
from stn_cli.evaluate import score_boxes
from stn_cli.media.scan import scan
from stn_cli.records import ImageRecord
from stn_cli.runs import checkpoint
from stn_cli.runs.config import TrainConfig
from stn_cli.runs.folder import read_skipped
from stn_cli.runtime.progress import Silent
from stn_cli.stn import TRANSFORMS
from tests.conftest import QUICK, QUICK_FLAGS, Trained, make_folder


class StopAt(Silent):
    """Raises a signal in this process when a stage has come so far."""

    def __init__(self, stage: str, count: int, signum: int = signal.SIGINT) -> None:
        self.wanted, self.count, self.signum = stage, count, signum
        self.now = ""

    def stage(self, name: str, total: int | None) -> None:
        self.now = name

    def advance(self, count: int = 1, note: str = "") -> None:
        if self.now == self.wanted:
            self.count -= count
            if self.count <= 0 < self.count + count:
                os.kill(os.getpid(), self.signum)


def weights(run: Path) -> dict[str, torch.Tensor]:
    return checkpoint.load_model(run)[0]


def test_the_transformer_finds_the_thing_on_new_images(trained: Trained, tmp_path: Path) -> None:
    truth = make_folder(tmp_path, 10, start=500)
    localiser = Localiser.load(trained.run)
    records = list(localiser.localise_files(scan(tmp_path / "images").images))
    assert (
        score_boxes(
            [r for r in records if isinstance(r, ImageRecord)], {k: [tuple(b) for b in v] for k, v in truth.items()}
        ).corloc
        >= 70
    )  # type: ignore[misc]


@pytest.mark.parametrize(("stage", "count"), [("search", 3), ("regression", 17), ("fine-tuning", 2)])
def test_a_resumed_run_ends_bit_equal(trained: Trained, tmp_path: Path, stage: str, count: int) -> None:
    """FAULTS 41, 42: stopped in every stage by SIGINT, saved, gone on with."""
    run = tmp_path / "run"
    with pytest.raises(Interrupted) as caught:
        train(trained.images, run, TrainConfig(**QUICK), reporter=StopAt(stage, count))
    assert caught.value.exit_code == 130
    train(None, run, resume=True)
    a, b = weights(trained.run), weights(run)
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name
    logs = [(r / "metrics.jsonl").read_text().splitlines() for r in (trained.run, run)]
    assert logs[0] == logs[1]


# where a run was stopped at first, where it is stopped once more, and whether the search is lost by that
STOPPED = [
    ("in the search", ("search", 3), None, True),
    ("in the regression", ("regression", 3), None, False),
    ("twice in the search", ("search", 3), ("search", 2), True),
    ("twice in the regression", ("regression", 3), ("regression", 6), False),
]


@pytest.mark.parametrize(("first", "second", "anew"), [row[1:] for row in STOPPED], ids=[row[0] for row in STOPPED])
def test_what_is_said_of_a_stopped_run_is_true(
    trained: Trained, tmp_path: Path, first: tuple[str, int], second: tuple[str, int] | None, anew: bool
) -> None:
    run = tmp_path / "run"
    with pytest.raises(Interrupted) as caught:
        train(trained.images, run, TrainConfig(**QUICK), reporter=StopAt(*first))
    if second:
        with pytest.raises(Interrupted) as caught:
            train(None, run, resume=True, reporter=StopAt(*second))
    assert f"--resume -o {run}" in str(caught.value)
    assert ("the search begins anew" in str(caught.value)) is anew


def test_sigterm_ends_with_143(trained: Trained, tmp_path: Path) -> None:
    with pytest.raises(Interrupted) as caught:
        train(trained.images, tmp_path / "run", TrainConfig(**QUICK), reporter=StopAt("regression", 3, signal.SIGTERM))
    assert caught.value.exit_code == 143


def test_one_seed_gives_one_result(trained: Trained, tmp_path: Path) -> None:
    train(trained.images, tmp_path / "run", TrainConfig(**QUICK))
    a, b = weights(trained.run), weights(tmp_path / "run")
    assert all(torch.equal(a[k], b[k]) for k in a)


def test_a_kill_at_any_moment_leaves_a_checkpoint_that_loads(trained: Trained, tmp_path: Path) -> None:
    """FAULTS 35, a few of the fifty."""
    rng = random.Random(0)
    run = tmp_path / "run"
    program = [sys.executable, "-m", "stn_cli", "train"]
    begin, go_on = (
        [*program, str(trained.images), "-o", str(run), "-q", *QUICK_FLAGS],
        [*program, "--resume", "-o", str(run), "-q"],
    )
    killed = 0
    for command in (begin, go_on, go_on):
        process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"})
        deadline = time.monotonic() + 60
        while not (run / "unfinished/state.pt").exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(rng.uniform(0, 2))
        process.send_signal(signal.SIGKILL)
        if process.wait() == 0:  # it was done before
            break
        killed += 1
        assert checkpoint.load_state(run / "unfinished")["progress"]
    assert killed
    train(None, run, resume=True)
    assert all(torch.equal(v, weights(trained.run)[k]) for k, v in weights(run).items())
    assert not list(run.glob(".tmp*"))


def test_changed_images_are_not_resumed(trained: Trained, tmp_path: Path) -> None:
    make_folder(tmp_path, 12)
    run = tmp_path / "run"
    with pytest.raises(Interrupted):
        train(tmp_path / "images", run, TrainConfig(**QUICK), reporter=StopAt("regression", 3))
    (tmp_path / "images/003.png").unlink()
    with pytest.raises(CheckpointError, match="not those that the run began with"):
        train(None, run, resume=True)


def test_divergence_is_an_error_that_keeps_the_checkpoint(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FAULTS 45."""
    from stn_cli.coloc.train import regress as trainer

    real = trainer.regression_loss
    calls = []

    def poisoned(*arguments: object) -> torch.Tensor:
        calls.append(1)
        loss = real(*arguments)  # type: ignore[arg-type]
        return loss * float("nan") if len(calls) == 7 else loss

    monkeypatch.setattr(trainer, "regression_loss", poisoned)
    with pytest.raises(DivergedError, match="step 6 is not finite") as caught:
        train(trained.images, tmp_path / "run", TrainConfig(**QUICK))
    assert caught.value.exit_code == 6
    assert "images of the batch" in str(caught.value)
    checkpoint.load_state(tmp_path / "run" / "unfinished")


@pytest.mark.parametrize("fine", [False, True])
@pytest.mark.parametrize("transform", ["box", "affine"])  # affine: pictures are turned too
def test_augmented_poses_still_hold_the_object(trained: Trained, transform: str, fine: bool) -> None:
    """The crop at the moved pose of the moved image is the crop at the old pose of the old one."""
    from stn_cli.coloc.crops import Crops, cut
    from stn_cli.coloc.score.kinds import Kind
    from stn_cli.media.cache import build_cache
    from stn_cli.stn import by_name

    localiser = Localiser.load(trained.run)
    cache = build_cache(scan(trained.images).images, localiser.letterbox)
    boxes = torch.stack(
        [
            f.boxes_to_letterbox(torch.tensor(trained.truth[n][0]).float())
            for f, n in zip(cache.frames, cache.names, strict=True)
        ]
    )
    n = len(cache)
    kind = Kind(
        "words",
        localiser.parts[0].scorer,
        boxes[:, None],
        torch.zeros(n, 1),
        torch.ones(n, 1, dtype=torch.bool),
        [],
        None,
        None,
    )
    built = by_name(transform)
    sample = Augmenter(cache, kind, built, 1, fine, 16).augment(draw_generator(0, 5))
    index = torch.randint(n, (16,), generator=draw_generator(0, 5))
    before = cut(cache.batch(index, torch.device("cpu")), Crops.of_boxes(boxes[index][:, None]), 12)[:, 0]
    after = cut(sample.scene.images, Crops(built, built.matrix(built.theta(sample.centre, sample.shape))), 12)[:, 0]

    def red(x: torch.Tensor) -> torch.Tensor:
        return (x[:, 0] - x[:, 1]).flatten(1)

    a, b = red(before), red(after)
    match = torch.maximum(torch.cosine_similarity(a, b), torch.cosine_similarity(a, red(after.flip(-1))))
    assert float(match.min()) > 0.9
    if not fine and built.angle is None:  # without jitter the pictures are the images themselves, or their mirror images
        still = Augmenter(cache, kind, built, 1, fine, 16).augment(draw_generator(0, 5), 0.0).scene.images
        images = cache.batch(index, torch.device("cpu"))
        off = torch.minimum((still - images).abs().amax((1, 2, 3)), (still - images.flip(-1)).abs().amax((1, 2, 3)))
        assert float(off.max()) < 1e-3
    forms = sample.half_sides[:, 0, 0] / sample.half_sides[:, 0, 1]
    assert (float(forms.log().std()) > 0.05) == (built.log_sides == 2 and built.angle is None)


def test_half_of_the_components_are_hidden_and_the_rest_count_twice(trained: Trained) -> None:
    from stn_cli.coloc.model.finder import ImageLocalisation
    from stn_cli.coloc.model.localiser import Localiser
    from stn_cli.coloc.scene import Scene
    from stn_cli.coloc.score.kinds import Kind
    from stn_cli.media.cache import build_cache
    from stn_cli.stn import by_name

    class Reader:
        channels = 5
        hideable = 4

        def maps(self, scene: Scene) -> torch.Tensor:
            return scene.images.mean(1, keepdim=True) * torch.arange(1.0, 6.0)[:, None, None]

    localiser = Localiser.load(trained.run)
    cache = build_cache(scan(trained.images).images, localiser.letterbox)
    n = len(cache)
    boxes = torch.tensor([[[-0.4, -0.4, 0.4, 0.4]]]).repeat(n, 1, 1)
    kind = Kind(
        "dense", localiser.parts[0].scorer, boxes, torch.zeros(n, 1), torch.ones(n, 1, dtype=torch.bool), [], None, None
    )
    shown = Augmenter(cache, kind, by_name("box"), 1, False, 64, 4).augment(draw_generator(0, 1)).shown
    assert shown.shape == (64, 4)
    assert set(shown.unique().tolist()) == {0.0, 2.0}
    assert 0.35 < float(shown.mean()) / 2 < 0.65
    assert len(shown.unique(dim=0)) > 8  # other components for each image
    torch.manual_seed(0)
    network = ImageLocalisation(by_name("box"), Reader()).requires_grad_(False)
    torch.nn.init.normal_(network.body.head.weight)
    scene = Scene.of(cache, torch.arange(2), torch.device("cpu"))
    plain = network.look(scene).logits
    torch.testing.assert_close(network.look(scene, torch.ones(2, 4)).logits, plain)
    network.body.stem.weight.data[:, :4] += 1  # what reads hidden components does not matter
    hidden = network.look(scene, torch.zeros(2, 4)).logits
    network.body.stem.weight.data[:, :4] += 1
    torch.testing.assert_close(network.look(scene, torch.zeros(2, 4)).logits, hidden)
    assert float((network.look(scene).logits - plain).abs().max()) > 1e-3


def test_reading_a_point_of_a_map() -> None:
    maps = torch.arange(12.0).view(1, 3, 4)
    assert float(read_bilinear(maps, torch.tensor([[0.0, 0.0]]))) == pytest.approx(5.5)
    assert float(read_bilinear(maps, torch.tensor([[-5.0, -5.0]]))) == 0
    masked = maps.clone()
    masked[0, :, :2] = -1e4
    assert float(read_bilinear(masked, torch.tensor([[0.0, 0.0]]))) == pytest.approx(6.0)


def test_metrics_are_valid_json_and_hold_every_stage(trained: Trained) -> None:
    records = [json.loads(line) for line in (trained.run / "metrics.jsonl").read_text().splitlines()]
    assert {r["stage"] for r in records} == {"search", "regression", "finetune", "done"}


LIKE_OTHERS = ("euclidean", "projective", "structured")
"""Transformations whose training goes the way of another one's, step by step."""


@pytest.mark.parametrize(
    "transform", [pytest.param(name, marks=pytest.mark.slow if name in LIKE_OTHERS else ()) for name in sorted(TRANSFORMS)]
)
def test_every_transform_trains(trained: Trained, tmp_path: Path, transform: str) -> None:
    result = train(trained.images, tmp_path / "run", TrainConfig(**{**QUICK, "steps": 8, "finetune": 2}, transform=transform))
    assert result.images == 20
    found = Localiser.load(tmp_path / "run").localise(trained.images / "000.png")
    assert len(found.quad) == 4
    assert 0 <= found.score <= 1


# what is said after `train --resume -o run`, and whether it is the run's own source
SOURCES = [
    ("its own", lambda d: d / "images", True),
    ("its own through a glob", lambda d: str(d / "images/*"), True),
    ("another folder", lambda d: d / "other", False),
    ("a part of it", lambda d: str(d / "images/00[0-4].png"), False),
]


@pytest.mark.parametrize(("source", "same"), [row[1:] for row in SOURCES], ids=[row[0] for row in SOURCES])
def test_case_U_a_source_that_is_not_the_runs_own_is_refused(
    tmp_path: Path, source: Callable[[Path], Path | str], same: bool
) -> None:
    make_folder(tmp_path, 8)
    (tmp_path / "images/bad.png").write_text("no image")  # was skipped, and still belongs to the source
    make_folder(tmp_path / "x", 8, start=20)
    (tmp_path / "x/images").rename(tmp_path / "other")
    run = tmp_path / "run"
    with pytest.raises(Interrupted):
        train(tmp_path / "images", run, TrainConfig(**QUICK), reporter=StopAt("regression", 3))
    if same:
        assert train(source(tmp_path), run, resume=True).images == 8
        assert [row.file for row in read_skipped(run)] == ["bad.png"]  # what was left out at first is still listed
        return
    with pytest.raises(UsageError, match="the run's own images"):
        train(source(tmp_path), run, resume=True)
    assert checkpoint.load_state(run / "unfinished")  # still there to be gone on with


def test_an_earlier_run_stays_until_the_new_one_is_whole(trained: Trained, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained.run, run)
    before = {p.name: p.read_bytes() for p in run.iterdir()}
    with pytest.raises(Interrupted):
        train(trained.images, run, TrainConfig(**QUICK, seed=1), overwrite=True, reporter=StopAt("regression", 3))
    assert {p.name: p.read_bytes() for p in run.iterdir() if p.is_file()} == before
    with pytest.raises(OutputError, match="unfinished train is there"):
        train(trained.images, run, TrainConfig(**QUICK))
    train(None, run, resume=True)
    assert not (run / "unfinished").exists()
    assert TrainConfig.from_toml(run / "config.toml").seed == 1
    assert any(not torch.equal(v, weights(trained.run)[k]) for k, v in weights(run).items())


def test_case_V_a_start_that_was_stopped_while_decoding_is_as_good_as_none(trained: Trained, tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        train(trained.images, tmp_path / "run", TrainConfig(**QUICK), reporter=StopAt("decode", 3))
    assert not (tmp_path / "run").exists()
    train(trained.images, tmp_path / "run", TrainConfig(**QUICK))


def test_a_finished_run_is_rebuilt_from_its_state(trained: Trained, tmp_path: Path) -> None:
    """FAULTS 36: the way back that the message names."""
    run = tmp_path / "run"
    shutil.copytree(trained.run, run)
    (run / "model.safetensors").write_bytes(b"garbage")
    train(None, run, resume=True)
    assert all(torch.equal(v, weights(trained.run)[k]) for k, v in weights(run).items())
    assert {p.name for p in run.iterdir()} >= {"model.safetensors", "state.pt", "report.html"}
