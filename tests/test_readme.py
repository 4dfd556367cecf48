"""The README is read from top to bottom by doing it: its commands and its Python, one after the other, in one folder."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import QUICK, QUICK_FLAGS, ROOT

TEXT = (ROOT / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", TEXT, re.S | re.M)
SHORTER = {"train": QUICK_FLAGS, "pretrain": ["--steps", "10", "--batch", "8"]}
"""What is added to a command so that it takes seconds; all else is as it is typed."""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the README takes for given: images, many images, a photograph, truth, a video."""
    for name, count in (("images", 14), ("many-images", 16)):
        (tmp_path / name).mkdir()
        for path in sorted((ROOT / "sample_data/cups/images").iterdir())[:count]:
            shutil.copy(path, tmp_path / name)  # copies: other tools follow no link out of the folder
    (tmp_path / "truth.json").write_bytes((ROOT / "sample_data/cups/boxes.json").read_bytes())
    (tmp_path / "clip.mp4").symlink_to(ROOT / "sample_data/clip/cup.mp4")
    (tmp_path / "photo.jpg").symlink_to(ROOT / "sample_data/cups/images/000.jpg")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_it_can_be_done_from_top_to_bottom(
    place: Path, cli: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    import stn_cli

    real = stn_cli.train

    def quick(source: str, out: str, config: stn_cli.TrainConfig | None = None) -> object:
        return real(source, out, replace(config or stn_cli.TrainConfig(), **QUICK))

    monkeypatch.setattr(stn_cli, "train", quick)
    commands, scope = 0, dict[str, Any]()
    for kind, block in BLOCKS:
        if kind == "console":
            for line in block.splitlines():
                program, *words = shlex.split(line, comments=True)
                assert program == "stn-coloc", line
                code, _, err = cli(*words, *SHORTER.get(words[0], []))
                assert code == 0, f"{line}: {err}"
                commands += 1
        if kind == "python":
            exec(compile(block, "README.md", "exec"), scope)
    assert commands >= 10
    assert scope["crops"].shape == (4, 1, 28, 28)
    assert scope["theta"].shape == (4, 6)
    assert 0 <= scope["found"].score <= 1
    labels = sorted((place / "dataset" / "labels").rglob("*.txt"))
    assert len(labels) == 14
    assert all(len(line.split()) == 5 for path in labels for line in path.read_text().splitlines())
    for name in ("stn-coloc-run/report.html", "stn-coloc-boxes/boxes.json", "stn-coloc-boxes/overlay"):
        assert (place / name).exists(), name
        assert f"`{name.removesuffix('overlay')}" in TEXT


def test_what_it_shows_of_their_print_is_what_they_print(place: Path, cli: Callable[..., tuple[int, str, str]]) -> None:
    """Each line is one that is printed, in this order; numbers and times differ, and progress is left out."""
    (shown,) = (block for kind, block in BLOCKS if kind == "text")
    printed = iter(forms("".join(part for line in ("train images", "localise --overlay") for part in said(cli, line))))
    assert len(forms(shown)) == 4
    for line in forms(shown):
        assert line in printed, line  # goes on from the line that was found last


def said(cli: Callable[..., tuple[int, str, str]], line: str) -> tuple[str, str]:
    words = line.split()
    code, out, err = cli(*words, *SHORTER.get(words[0], []))
    assert code == 0, err
    return err, out


def forms(text: str) -> list[str]:
    return [re.sub(r"\d+(\.\d+)?", "N", line) for line in text.splitlines()]


def test_it_is_short() -> None:
    assert len(TEXT.splitlines()) <= 150


def test_the_two_commands_of_a_fresh_machine_are_targets_of_make() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for target in ("demo", "test", "docs"):
        assert f"make {target}" in TEXT
        assert re.search(rf"^{target}: ", makefile, re.M)


def test_what_it_says_of_the_default_encoder_is_so() -> None:
    from stn_cli.encoders import small
    from stn_cli.runs.config import TrainConfig

    weights = next(Path(small.__file__).parent.glob("small.safetensors"))
    assert TrainConfig().encoder == "small"
    assert f"{weights.stat().st_size / 1e6:.1f} MB" in TEXT
