"""Several processes that learn together: the same numbers as one, and what becomes of the others when one goes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import nn

from stn_cli.coloc.train.run import train
from stn_cli.errors import ResourceError
from stn_cli.pretrain.folder import PretrainOptions, pretrain_folder
from stn_cli.pretrain.selfsupervised import SelfSupervisedRecipe
from stn_cli.pretrain.state import load_pretraining
from stn_cli.runtime.distributed import ALONE, Team, share_norms, team_of, watched
from stn_cli.runtime.launch import Launch, launched
from stn_cli.runtime.progress import Silent
from tests.conftest import QUICK_FLAGS, Trained

ROOT = Path(__file__).parents[2]
CLOSE = 2e-3
"""Largest relative difference of losses: two processes add up in another order, and the network computes in bfloat16."""


def torchrun(*arguments: object) -> subprocess.Popen[str]:
    """Two processes of the command line on this machine's processor."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "stn_cli"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.Popen(
        [*command, *map(str, arguments)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def losses(run: Path) -> list[float]:
    return [row["loss"] for row in map(json.loads, (run / "metrics.jsonl").read_text().splitlines()) if "step" in row]


class StopsAt(Silent):
    """Sends SIGTERM to this process after some steps of a stage."""

    def __init__(self, stage: str, steps: int) -> None:
        self.wanted, self.left, self.now = stage, steps, ""

    def stage(self, name: str, total: int | None) -> None:
        self.now = name

    def advance(self, count: int = 1, note: str = "") -> None:
        if self.now == self.wanted:
            self.left -= count
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGTERM)


def test_two_processes_pretrain_as_one_does_and_go_on_with_its_state(trained: Trained, tmp_path: Path) -> None:
    recipe = SelfSupervisedRecipe(14, 8, 32, seed=3)
    options = PretrainOptions(imgsz=48, device="cpu")
    pretrain_folder(trained.images, tmp_path / "one", recipe, options)
    with pytest.raises(Exception, match="stopped"):
        pretrain_folder(trained.images, tmp_path / "two", recipe, options, reporter=StopsAt("pretraining", 4))
    flags = ("--steps", 14, "--batch", 8, "--view", 32, "--imgsz", 48, "--seed", 3, "--device", "cpu", "--json")
    said, heard = (process := torchrun("pretrain", trained.images, "-o", tmp_path / "two", *flags, "--resume")).communicate()
    assert process.returncode == 0, heard
    facts = json.loads(said)  # one process speaks
    assert facts["images"] == 20
    first, log = load_pretraining(tmp_path / "one", {})
    then, other = load_pretraining(tmp_path / "two", {})
    assert (first, then) == (14, 14)
    assert other[-1]["loss"] == pytest.approx(log[-1]["loss"], rel=CLOSE)
    assert (tmp_path / "two" / "encoder.safetensors").is_file()


def test_two_processes_train_as_one_does(trained: Trained, tmp_path: Path) -> None:
    said, heard = (
        process := torchrun("train", trained.images, "-o", tmp_path / "two", *QUICK_FLAGS, "--device", "cpu", "--no-report")
    ).communicate()
    assert process.returncode == 0, heard
    assert said == f"{tmp_path / 'two'}\n"
    assert losses(tmp_path / "two") == pytest.approx(losses(trained.run), rel=CLOSE, abs=1e-4)
    assert (tmp_path / "two" / "images.txt").read_text() == (trained.run / "images.txt").read_text()


def test_a_process_that_dies_ends_the_job_and_one_process_goes_on(trained: Trained, tmp_path: Path) -> None:
    run = tmp_path / "run"
    flags = ["--steps", 5000, "--finetune", 0, "--imgsz", 48, "--batch", 8, "--device", "cpu", "--no-report"]
    process = torchrun("train", trained.images, "-o", run, *flags)
    log = run / "unfinished" / "metrics.jsonl"
    while process.poll() is None and not (log.is_file() and log.read_text().count('"regression"') > 60):
        time.sleep(0.1)
    os.kill(_rank_one(process.pid), signal.SIGKILL)
    _, heard = process.communicate()
    assert process.returncode != 0
    assert "error: another process of the training has ended. " in heard
    with pytest.raises(Exception, match=r"Go on with stn-coloc train --resume"):
        train(None, run, resume=True, reporter=StopsAt("regression", 52))  # 50 steps are on the disk


def _rank_one(torchrun: int) -> int:
    """The process that torchrun started as rank 1."""
    for found in Path("/proc").iterdir():
        try:
            status, environment = (found / "status").read_text(), (found / "environ").read_bytes()
        except OSError:
            continue
        if f"\nPPid:\t{torchrun}\n" in status and b"\0RANK=1\0" in b"\0" + environment:
            return int(found.name)
    raise AssertionError("no rank 1")


def test_a_process_by_itself_is_a_team(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    assert launched() == Launch(0, 1, 0)
    with team_of("cpu") as (team, device):
        assert (team, device) == (ALONE, "cpu")
    x = torch.arange(3.0)
    assert team.sum(x) is x
    assert team.gather(x, 3) is x
    assert (team.largest(7), team.told("a"), team.all_of(2)) == (7, "a", [2])


def test_shares_follow_each_other() -> None:
    for size in (1, 2, 3, 7):
        parts = [range(20)[Team(rank, size).share(20)] for rank in range(size)]
        assert [n for part in parts for n in part] == list(range(20))
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_shared_norms_are_batch_norms() -> None:
    """In one process they must be torch's own, to the last parameter's name."""
    x = torch.randn(6, 4, 5, 5, generator=torch.Generator().manual_seed(0))
    mine, own = (nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)) for _ in range(2))
    mine.load_state_dict(own.state_dict())
    share_norms(mine, ALONE)
    torch.testing.assert_close(mine(x), own(x))
    for name, value in own.state_dict().items():
        torch.testing.assert_close(mine.state_dict()[name], value)
    torch.testing.assert_close(mine.eval()(x), own.eval()(x))


def test_a_process_without_a_gpu_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "MASTER_ADDR": "here"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ResourceError, match="a process has no GPU: 'rank 1'"), team_of("cuda"):
        pass


@pytest.mark.parametrize("text", ["[gloo] Connection closed by peer [127.0.0.1]:1", "NCCL error: remote process exited"])
def test_what_torch_says_of_a_lost_process_becomes_one_line(text: str) -> None:
    with pytest.raises(ResourceError, match="another process of the training has ended"), watched():
        raise RuntimeError(text)
    with pytest.raises(RuntimeError, match="shapes"), watched():
        raise RuntimeError("shapes do not fit")
