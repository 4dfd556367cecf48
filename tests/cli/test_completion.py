"""Tab completion as a shell asks for it, and how it is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from stn_cli.cli.completion import DEVICES, ENCODERS, SEARCHES
from stn_cli.cli.localise import FORMAT_NAMES
from stn_cli.formats.writer import FORMATS
from stn_cli.runs.config import TrainConfig
from stn_cli.runtime.device import pick_device
from tests.conftest import ROOT

Call = Callable[..., tuple[int, str, str]]
BASH = shutil.which("bash")
PROGRAM = f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m stn_cli "$@"\n'


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/stn-coloc").write_text(PROGRAM)
    (tmp_path / "bin/stn-coloc").chmod(0o755)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


def installed(home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(BASH), "-c", "stn-coloc --install-completion; exit $?"], capture_output=True, text=True, check=False
    )


@pytest.mark.skipif(BASH is None, reason="no bash here")
def test_bash_completes_commands_flags_and_names_once_it_is_installed(home: Path) -> None:
    done = installed(home)
    assert done.returncode == 0, done.stderr
    (script,) = (home / ".bash_completions").iterdir()
    assert str(script) in (home / ".bashrc").read_text()
    asked = {
        "stn-coloc tr": ["train", "track"],
        "stn-coloc localise --min": ["--min-score"],
        "stn-coloc train --transform si": ["similarity"],
        "stn-coloc localise --format csv,pa": ["csv,parquet"],
        "stn-coloc train ./im": [],  # then bash offers files
    }
    lines = [f"source {script}"]
    for words in asked:
        lines.append(f"COMP_WORDS=({words}); COMP_CWORD={len(words.split()) - 1}; _stn_coloc_completion stn-coloc")
        lines.append('echo "${COMPREPLY[@]}"')
    typed = subprocess.run([str(BASH), "--norc", "-c", "\n".join(lines)], capture_output=True, text=True, check=True)
    assert [line.split() for line in typed.stdout.splitlines()] == list(asked.values())


@pytest.mark.skipif(BASH is None, reason="no bash here")
def test_a_home_that_cannot_be_written_is_said(home: Path) -> None:
    (home / ".bash_completions").write_text("a file where the folder would be")
    done = installed(home)
    assert done.returncode == 4
    assert done.stderr.startswith("error: cannot install the completion")
    assert "--show-completion" in done.stderr


def test_a_shell_that_is_not_known_is_said(cli: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("typer.completion.install", lambda **_: (_ for _ in ()).throw(SystemExit(0)))
    assert cli("--install-completion")[0] == 0  # where it goes well Typer leaves so
    monkeypatch.undo()
    monkeypatch.setattr("typer._completion_shared._get_shell_name", lambda: "tcsh")
    code, _, err = cli("--install-completion")
    assert code == 7
    assert (
        err == "error: no completion for this shell (known: bash, zsh, fish and PowerShell). Start the command in one of them\n"
    )


def test_what_is_offered_is_there() -> None:
    assert set(FORMAT_NAMES) == set(FORMATS)
    for name in SEARCHES:
        assert TrainConfig(search=name).search == name
    assert {"small", "gradient"} < set(ENCODERS)
    assert {str(pick_device(name)) for name in DEVICES if name == "cpu"} == {"cpu"}
