"""Memory that is used up ends every command with 7 and what to do, whichever library says so."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Trained

TORCH = RuntimeError(
    "[enforce fail at alloc_cpu.cpp:119] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"
)


@pytest.mark.parametrize("error", [TORCH, MemoryError()], ids=["torch", "python"])
@pytest.mark.parametrize(
    ("command", "where"),
    [
        (("train", "IMAGES", "-o", "OUT"), "stn_cli.coloc.trainer.search"),
        (("localise", "IMAGES", "-m", "RUN", "-o", "OUT"), "stn_cli.coloc.localiser.Localiser.look"),
        (("localise", "IMAGES", "-m", "RUN", "-o", "OUT"), "stn_cli.coloc.localiser.load_canvas"),  # in a decoding thread
        (("report", "RUN"), "stn_cli.report.page.write_report"),
        (("pretrain", "IMAGES", "-o", "OUT"), "stn_cli.pretrain.folder.pretrain_folder"),
        (("track", "IMAGES", "-m", "RUN", "-o", "OUT"), "stn_cli.track.track_source"),
        (("evaluate", "TRUTH", "TRUTH"), "stn_cli.evaluate.read_truth"),
    ],
)
def test_out_of_memory_ends_with_7(
    trained: Trained, tmp_path: Path, cli: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch,
    command: tuple[str, ...], where: str, error: Exception,
) -> None:  # fmt: skip
    def full(*_: object, **__: object) -> None:
        raise error

    owner, name = where.rsplit(".", 1)
    try:
        target: object = importlib.import_module(owner)
    except ModuleNotFoundError:
        module, inner = owner.rsplit(".", 1)
        target = getattr(importlib.import_module(module), inner)
    monkeypatch.setattr(target, name, full)
    places = {"IMAGES": trained.images, "RUN": trained.run, "OUT": tmp_path / "out", "TRUTH": trained.folder / "boxes.json"}
    code, _, err = cli(*(places.get(part, part) for part in command))
    assert code == 7
    last = err.strip().splitlines()[-1]
    assert last.startswith("error: out of memory. ")
    assert "bug" not in err
