"""A machine on which a package of ours cannot be loaded: one line that says what to install, and code 7."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from stn_cli.cli.app import _of_an_import
from tests.conftest import ROOT

NO_DISPLAY = "libGL.so.1: cannot open shared object file: No such file or directory"


def start(package: str, source: str, tmp_path: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """A command that finds another `package`, which does what `source` says."""
    (tmp_path / "broken").mkdir(exist_ok=True)
    (tmp_path / "broken" / f"{package}.py").write_text(source)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path / "broken"), str(ROOT)])}
    command = [sys.executable, "-m", "stn_cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=env, cwd=tmp_path)


@pytest.mark.parametrize(
    "command", [("train", "a.png"), ("localise", "a.png"), ("track", "a.mp4"), ("doctor",)], ids=lambda c: c[0]
)
def test_opencv_without_a_displays_libraries_says_what_to_install(tmp_path: Path, command: tuple[str, ...]) -> None:
    done = start("cv2", f"raise ImportError({NO_DISPLAY!r}, name='cv2')", tmp_path, *command)
    assert done.returncode == 7, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: a library cannot be loaded: 'libGL.so.1' (cannot open shared object file")
    assert "libgl1" in line
    assert "opencv-python-headless" in line


def test_a_package_that_is_missing_is_named(tmp_path: Path) -> None:
    source = "raise ModuleNotFoundError(\"No module named 'cv2'\", name='cv2')"
    done = start("cv2", source, tmp_path, "train", "a.png")
    assert done.returncode == 7
    assert done.stderr.startswith("error: a package is missing: 'cv2'. pip install stn-coloc again")


@pytest.mark.parametrize(
    "error",
    [
        ImportError("cannot import name 'x' from 'stn_cli.files'", name="stn_cli.files"),  # ours: a bug, said as one
        ModuleNotFoundError("No module named 'stn_cli.x'", name="stn_cli.x"),
        ImportError("nothing known of it"),
    ],
    ids=str,
)
def test_our_own_faults_are_bugs(error: ImportError) -> None:
    assert _of_an_import(error) is None
