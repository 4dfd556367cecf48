"""Runs of the version before this one: other words, the same results."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

import stn_cli
from stn_cli.coloc.model.finder import Finder
from stn_cli.coloc.train.run import train
from stn_cli.errors import CheckpointError
from stn_cli.files import write_bytes
from stn_cli.runs import checkpoint, older
from stn_cli.runs.config import TrainConfig
from stn_cli.runs.container import pack
from stn_cli.stn import by_name
from tests.conftest import Trained

OLD_KINDS = {new: old for old, new in older.KINDS.items()}


def as_before(run: Path, out: Path) -> Path:
    """The run as the version before wrote it."""
    tensors, facts = checkpoint.load_model(run)
    facts["canvas"] = facts.pop("letterbox")
    for kind in facts["kinds"]:
        kind["kind"] = OLD_KINDS.get(kind["kind"], kind["kind"])
        kind["judge"], kind["in_each_image"] = kind.pop("scorer"), kind.pop("objects")
    out.mkdir()
    renamed = {name.replace(".scorer.", ".judge.").replace(".transform.", ".grid."): value for name, value in tensors.items()}
    write_bytes(out / checkpoint.MODEL, pack(renamed, {**facts, "format": older.FORMAT}))
    return out


def test_a_run_of_the_format_before_finds_the_same(trained: Trained, tmp_path: Path) -> None:
    picture = sorted(trained.images.iterdir())[0]
    now = stn_cli.Localiser.load(trained.run).localise(picture)
    before = stn_cli.Localiser.load(as_before(trained.run, tmp_path / "old")).localise(picture)
    assert before == now


def test_a_learned_basis_of_the_format_before_has_the_name_of_today() -> None:
    """`structured` is the one transformation with tensors of its own."""
    tensors, _ = older.renewed({"parts.0.finder.levels.0.grid.values": torch.zeros(4, 16)}, {})
    assert list(tensors) == ["parts.0.finder.levels.0.transform.values"]
    assert any(name.endswith("levels.0.transform.values") for name in Finder(by_name("structured")).state_dict())


def test_a_training_of_the_version_before_is_gone_on_with(trained: Trained, tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "unfinished").mkdir(parents=True)
    (run / "unfinished/.stn-coloc-unfinished").write_text("train\n")
    for name in ("config.toml", "images.txt", "metrics.jsonl", "skipped.jsonl"):
        shutil.copy(trained.run / name, run / "unfinished" / name)
    state = checkpoint.load_state(trained.run)
    for kind in state["kinds"]:
        kind["kind"], kind["judge"] = OLD_KINDS.get(kind["kind"], kind["kind"]), kind.pop("scorer")
    assert any(kind["kind"] == "template" for kind in state["kinds"])  # a word that today has not
    checkpoint.save_state(run / "unfinished", state)
    train(None, run, resume=True)
    before, now = checkpoint.load_model(trained.run)[0], checkpoint.load_model(run)[0]
    assert before.keys() == now.keys()
    assert all(torch.equal(before[name], now[name]) for name in now)


def test_a_learned_basis_in_a_state_of_the_version_before_has_the_name_of_today() -> None:
    basis = torch.zeros(4, 16)
    state = older.renewed_state(
        {
            "kinds": [{"kind": "region", "finder": {"levels.0.grid.values": basis}}],
            "before": {"weights": {"grid.values": basis}, "objective": 0.5},
        }
    )
    assert state == {
        "kinds": [{"kind": "words", "finder": {"levels.0.transform.values": basis}}],
        "before": {"weights": {"transform.values": basis}, "objective": 0.5},
    }


@pytest.mark.parametrize("kinds", [None, "x", [], [3], [{}], [{"kind": 3}]], ids=repr)
def test_a_strangers_model_of_that_format_is_refused_in_one_line(trained: Trained, tmp_path: Path, kinds: object) -> None:
    tensors, facts = checkpoint.load_model(trained.run)
    write_bytes(tmp_path / checkpoint.MODEL, pack(tensors, {**facts, "kinds": kinds, "format": older.FORMAT}))
    with pytest.raises(CheckpointError, match="model of another architecture"):
        stn_cli.Localiser.load(tmp_path)


@pytest.mark.parametrize(("old", "new"), older.SEARCHES.items())
def test_settings_with_the_earlier_names_of_searches_are_read(tmp_path: Path, old: str, new: str) -> None:
    (tmp_path / "a.toml").write_text(f"search = {json.dumps(old)}\n")
    assert TrainConfig.from_toml(tmp_path / "a.toml").search == new
