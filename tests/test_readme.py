"""The README is run: every `stn-coloc` command and every Python block, in a folder with the sample data."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import QUICK_FLAGS, ROOT

TEXT = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", TEXT, re.S)


def commands() -> list[list[str]]:
    lines = [line for kind, block in BLOCKS if kind == "console" for line in block.splitlines()]
    return [shlex.split(line, comments=True) for line in lines if line.startswith("stn-coloc ")]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    images = tmp_path / "images"
    images.mkdir()
    for path in sorted((ROOT / "sample_data/cups/images").iterdir())[:14]:
        (images / path.name).symlink_to(path)
    (tmp_path / "truth.json").write_bytes((ROOT / "sample_data/cups/boxes.json").read_bytes())
    (tmp_path / "clip.mp4").symlink_to(ROOT / "sample_data/clip/cup.mp4")
    (tmp_path / "photo.jpg").symlink_to(ROOT / "sample_data/cups/images/000.jpg")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_command_of_the_readme_works(place: Path, cli: Callable[..., tuple[int, str, str]]) -> None:
    found = commands()
    assert len(found) >= 5
    for words in found:
        quick = [*QUICK_FLAGS, "--overwrite"] if words[1] == "train" and "--resume" not in words else []
        quick = ["--overwrite"] if words[1] in ("localise", "track") else quick
        code, _, err = cli(*words[1:], *quick)
        assert code == 0, f"{' '.join(words)}: {err}"


def test_every_python_block_of_the_readme_runs(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import stn_cli

    blocks = [block for kind, block in BLOCKS if kind == "python"]
    assert blocks
    real = stn_cli.train

    encoders = []

    def quick(source: str, out: str, config: stn_cli.TrainConfig | None = None) -> object:
        config = replace(config or stn_cli.TrainConfig(), steps=20, finetune=2, imgsz=48, batch=8)
        encoders.append(config.encoder)
        return real(source, out, config)

    monkeypatch.setattr(stn_cli, "train", quick)
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})
    assert encoders == ["small", "gradient"]  # settings are shown, too


def test_the_two_commands_of_a_fresh_machine_are_targets_of_make() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in ("demo", "test"):
        assert f"make {target}" in TEXT
        assert re.search(rf"^{target}: ", makefile, re.M)


def test_every_benchmark_that_is_named_exists() -> None:
    for module in re.findall(r"python -m (benchmarks\.[\w.]+)", TEXT):
        assert (ROOT / (module.replace(".", "/") + ".py")).is_file(), module
    for path in re.findall(r"python (benchmarks/[\w/]+\.py)", TEXT):
        assert (ROOT / path).is_file(), path
